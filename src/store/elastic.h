/* A store that is an index of Elasticsearch: what the calls of a store do then. */
#ifndef KIN_STORE_ELASTIC_H
#define KIN_STORE_ELASTIC_H

#include "store/store.h"

struct kin_catalogue;
struct kin_finder;

kin_status kin_remote_open(kin_store *store, const char *path, const kin_elastic_options *options, kin_error *err);
void kin_remote_close(struct kin_remote *remote);
/* Read the mapping. */
kin_status kin_remote_refresh(kin_store *store, kin_error *err);
kin_status kin_remote_read_collections(kin_store *store, kin_collection **out, size_t *n, kin_error *err);
kin_status kin_remote_open_collection(kin_store *store, const kin_store_encoder *encoder, kin_error *err);
/* NULL, NULL: its own again. */
kin_status kin_remote_set_text_model(kin_store *store, const char *id, const char *path, kin_precision precision,
                                     kin_error *err);
kin_status kin_remote_drop_collection(kin_store *store, kin_error *err);
kin_status kin_remote_count(kin_store *store, size_t *items, size_t *vectors, kin_error *err);
kin_status kin_remote_find_item(kin_store *store, const char *path, int64_t *out, kin_error *err);
/* kin_store_each. */
kin_status kin_remote_visit(kin_store *store, bool (*visit)(void *user, const kin_stored *item), void *user,
                            kin_error *err);
/* Captions and metadata of items: gathered, and written by kin_remote_send_given. */
kin_status kin_remote_set_caption(kin_store *store, int64_t item, const char *text, kin_error *err);
kin_status kin_remote_clear_key(kin_store *store, int64_t item, const char *key, kin_error *err);
kin_status kin_remote_add_value(kin_store *store, int64_t item, const char *key, const char *value, bool number,
                                kin_error *err);
kin_status kin_remote_send_given(kin_store *store, kin_error *err);
/* Take back what isn't sent yet. */
void kin_remote_rollback(struct kin_remote *remote);
/* kin_store_rebuild. */
kin_status kin_remote_rebuild(kin_store *store, bool (*on_progress)(void *user, uint64_t done, uint64_t total),
                              void *user, kin_error *err);
/* What such a store can't do. */
kin_status kin_remote_cant(const kin_store *store, const char *what, kin_error *err);

extern const struct kin_catalogue kin_remote_catalogue; /* update.h */
extern const struct kin_finder kin_remote_finder;       /* find.h */

#endif
