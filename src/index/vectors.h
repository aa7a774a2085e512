/* The vector file: a header and fixed-size checksummed records, written once and never changed
 * (docs/store-format.md). Which rows count is for the caller to know: it commits a number of rows after
 * kin_vectors_sync, and what lies beyond that number doesn't exist. */
#ifndef KIN_VECTORS_H
#define KIN_VECTORS_H

#include "base/base.h"

#define KIN_UUID_SIZE 16

typedef struct kin_vectors kin_vectors;

/* What ties a vector file to its store; checked against the header on opening. */
typedef struct kin_vectors_key {
  uint8_t uuid[KIN_UUID_SIZE];
  int64_t collection;
  size_t dim; /* floats in a vector, at least 1 */
} kin_vectors_key;

/* Write an empty vector file at `path`, replacing what is there, and make it durable. */
kin_status kin_vectors_create(const char *path, const kin_vectors_key *key, kin_error *err);

/* Whether the file is a vector file of the store with this uuid, or so short that it can't hold any vector. */
bool kin_vectors_is_of(const char *path, const uint8_t uuid[KIN_UUID_SIZE]);

/* KIN_ERR_IO, KIN_ERR_FORMAT (damaged header), KIN_ERR_MISMATCH (another store's or of another size). */
kin_status kin_vectors_open(const char *path, bool writable, const kin_vectors_key *key, kin_vectors **out,
                            kin_error *err);
void kin_vectors_close(kin_vectors *file);

/* The committed state: the file must hold `rows` records (KIN_ERR_FORMAT otherwise); a writable one is cut
 * there, which takes away what a killed writer left. */
kin_status kin_vectors_set_rows(kin_vectors *file, uint64_t rows, kin_error *err);
uint64_t kin_vectors_rows(const kin_vectors *file);
size_t kin_vectors_dim(const kin_vectors *file);
uint64_t kin_vectors_bytes(const kin_vectors *file); /* header and rows */
/* The same of a file that holds `rows` vectors of `dim` floats; 0 if there can be none. */
uint64_t kin_vectors_bytes_of(size_t dim, uint64_t rows);
const char *kin_vectors_path(const kin_vectors *file);

/* Write one record after the last row; its number goes to *row. */
kin_status kin_vectors_append(kin_vectors *file, int64_t id, const float *vector, uint64_t *row, kin_error *err);
/* Make everything appended durable. */
kin_status kin_vectors_sync(kin_vectors *file, kin_error *err);
/* Read and check one record. KIN_ERR_FORMAT names file and row, also if it isn't `id`'s. */
kin_status kin_vectors_read(kin_vectors *file, uint64_t row, int64_t id, float *out, kin_error *err);

/* Whether a row can be read and its checksum is right, and whose vector it says it is. */
bool kin_vectors_inspect(kin_vectors *file, uint64_t row, int64_t *id);

/* Read and check rows [row, row + n) into out[n][dim]; *digest (may be NULL) gets a number that depends on all of their
 * records. Safe to call from several threads. */
kin_status kin_vectors_read_many(const kin_vectors *file, uint64_t row, size_t n, float *out, uint64_t *digest,
                                 kin_error *err);
/* That number from the checksums alone, which aren't checked. */
kin_status kin_vectors_digest(const kin_vectors *file, uint64_t row, size_t n, uint64_t *digest, kin_error *err);

/* Map all rows for scanning; the pointers below hold until the next set_rows, append or close. */
kin_status kin_vectors_map(kin_vectors *file, kin_error *err);
const float *kin_vectors_at(const kin_vectors *file, uint64_t row); /* 64-byte aligned */
int64_t kin_vectors_id(const kin_vectors *file, uint64_t row);
/* Ask for a mapped row, to be read soon: its pages and lines are far from those of others. */
void kin_vectors_prefetch(const kin_vectors *file, uint64_t row);
/* Whether a mapped row's checksum is right. */
bool kin_vectors_check(const kin_vectors *file, uint64_t row);
kin_status kin_vectors_fail_row(const kin_vectors *file, uint64_t row, kin_error *err);

#endif
