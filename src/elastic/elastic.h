/* Elasticsearch's REST interface: requests to any of a cluster's hosts, several at once, tried again where that helps.
 */
#ifndef KIN_ELASTIC_H
#define KIN_ELASTIC_H

#include "base/json.h"

/* ---- address.c */

/* elasticsearch://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]]...[/PREFIX]/INDEX; elasticsearchs:// or
 * elasticsearch+https:// over TLS. */
typedef struct kin_elastic_address {
  char **hosts; /* "http://HOST:PORT/PREFIX" */
  size_t n_hosts;
  char *user, *password; /* NULL: none */
  char *index;
  char *name; /* the address without user and password, for messages */
} kin_elastic_address;

bool kin_elastic_is_address(const char *text);
/* KIN_ERR_ARGUMENT says what is wrong with it, without its password. */
kin_status kin_elastic_address_parse(const char *text, kin_elastic_address *out, kin_error *err);
void kin_elastic_address_free(kin_elastic_address *address);

/* ---- client.c */

typedef struct kin_elastic kin_elastic;

/* How often something is sent to a cluster that is too busy for it, or was lost. */
enum { KIN_ELASTIC_TRIES = 12 };

typedef struct kin_elastic_request {
  const char *method, *path; /* path and query: "photos/_search" */
  const char *body;          /* JSON; NULL: none */
  size_t size;
  bool lines;    /* the body is lines of JSON */
  bool may_miss; /* 404 is an answer, not a failure */
  /* The answer: */
  long code;
  json_t *answer; /* released by the caller */
  kin_status status;
  kin_error error;
  unsigned failures; /* in a row; the client's, like the next */
  double due;
} kin_elastic_request;

/* `address` must outlive the client; of `options` nothing is kept. */
kin_status kin_elastic_open(const kin_elastic_address *address, const kin_elastic_options *options, kin_elastic **out,
                            kin_error *err);
void kin_elastic_close(kin_elastic *elastic);
/* Asked while a request waits to be tried again: false ends it with KIN_ERR_CANCELLED. NULL: nobody is. */
void kin_elastic_set_alive(kin_elastic *elastic, bool (*alive)(void *user), void *user);

/* Send them, several at once, each until it is answered or has failed for good; the first failure is returned. */
kin_status kin_elastic_send(kin_elastic *elastic, kin_elastic_request *requests, size_t n, kin_error *err);
/* One request with `body` (NULL: none), which is released. *answer is NULL for a 404 that `miss` allows. */
kin_status kin_elastic_call(kin_elastic *elastic, const char *method, const char *path, json_t *body, bool miss,
                            json_t **answer, kin_error *err);

/* Wait before the `failures`-th retry (from 0) of something that a busy cluster turned away. KIN_ERR_CANCELLED. */
kin_status kin_elastic_pause(kin_elastic *elastic, int failures, kin_error *err);

/* What an answer's "error" says. */
const char *kin_elastic_reason(const json_t *error);

#endif
