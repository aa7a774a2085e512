/* One HTTP request at a time over libcurl: redirects followed by hand so that the token stays with its host. */
#ifndef KIN_HTTP_H
#define KIN_HTTP_H

#include "base/base.h"

typedef struct kin_http kin_http;

typedef struct kin_http_options {
  const char *endpoint; /* checked; a trailing slash is dropped */
  const char *token;    /* NULL or "": none */
  unsigned connect_timeout_s, stall_timeout_s, retries, backoff_ms;
  /* Called at least once a second while a request or a wait is under way; false: stop. `note` may be NULL. */
  bool (*alive)(void *user, const char *note);
  void *user;
} kin_http_options;

kin_status kin_http_open(const kin_http_options *options, kin_http **out, kin_error *err);
void kin_http_close(kin_http *http);
const char *kin_http_endpoint(const kin_http *http); /* without a trailing slash */

/* What an answer's headers told; "" and -1 where absent. */
typedef struct kin_http_answer {
  long status;    /* 0: none came */
  bool transient; /* worth another try: dropped, timed out, 408, 429, 5xx */
  int64_t wait_s; /* Retry-After */
  int64_t length; /* Content-Length */
  bool encoded;   /* ... which is that of a compressed body */
  int64_t range_from;
  int64_t linked_size;
  char etag[129], linked_etag[129]; /* quotes and W/ stripped */
  char commit[65];
  char error_code[65];
  char error_message[257];
} kin_http_answer;

typedef struct kin_http_request {
  const char *url;
  bool head;     /* a redirect to another host is the answer, if it names the file's ETag */
  uint64_t from; /* > 0: ask for the bytes from here on */
  /* Takes the body of a 2xx answer; on failure fills err. Unused for head. */
  kin_status (*body)(void *arg, const kin_http_answer *answer, const void *data, size_t size, kin_error *err);
  void *arg;
} kin_http_request;

/* One attempt. KIN_OK: a 2xx answer came whole (for head also a redirect to another host). Otherwise the
 * message says what happened; answer->transient whether to try again. `what` is for messages. */
kin_status kin_http_try(kin_http *http, const kin_http_request *request, const char *what, kin_http_answer *answer,
                        kin_error *err);

/* After a failed attempt, with its message in err: wait as the answer asks (or back off) and return KIN_OK for
 * another go, or the failure itself if it is final. *failures counts those in a row. */
kin_status kin_http_again(kin_http *http, const kin_http_answer *answer, unsigned *failures, kin_status failure,
                          kin_error *err);

/* HEAD, tried until it succeeds or fails for good. */
kin_status kin_http_head(kin_http *http, const char *url, const char *what, kin_http_answer *answer, kin_error *err);
/* GET a text of at most `limit` bytes, tried likewise; free with free(). */
kin_status kin_http_get_text(kin_http *http, const char *url, size_t limit, const char *what, char **out, size_t *size,
                             kin_http_answer *answer, kin_error *err);
/* Percent-encode a path, keeping slashes if `keep_slashes`; NULL without memory. */
char *kin_http_quote(const char *s, bool keep_slashes);

#endif
