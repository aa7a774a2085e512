/* The HTTP client: one request at a time over libcurl, its redirects, its failures, and the waits between tries. */
#include "hub/http.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MAX_REDIRECTS 10
#define MAX_BACKOFF_MS 30000
#define MAX_RETRY_AFTER_S 600 /* a server that asks for more is not waited for */

struct kin_http {
  CURL *curl;
  kin_http_options options;
  char *endpoint;
  struct curl_slist *token_header;
  bool has_token;
  bool answered; /* some server has answered: from then on a failing connection is worth a retry */
  char curl_error[CURL_ERROR_SIZE];
  /* The request under way. */
  const kin_http_request *request;
  kin_http_answer *answer;
  bool stopped;
  kin_status body_status;
  kin_error *err;
};

/* ---- callbacks */

static void copy_value(char *out, size_t room, const char *value, size_t length) {
  if (length >= room) return; /* no header of use is that long */
  memcpy(out, value, length);
  out[length] = '\0';
}

/* An entity tag without W/ and quotes. */
static void copy_etag(char *out, size_t room, const char *value, size_t length) {
  if (length >= 2 && memcmp(value, "W/", 2) == 0) value += 2, length -= 2;
  if (length >= 2 && value[0] == '"' && value[length - 1] == '"') value++, length -= 2;
  copy_value(out, room, value, length);
}

static int64_t number_in(const char *value, size_t length) {
  char digits[24] = "";
  copy_value(digits, sizeof digits, value, length);
  char *end;
  long long n = strtoll(digits, &end, 10);
  return digits[0] != '\0' && *end == '\0' && n >= 0 ? (int64_t)n : -1;
}

/* The first number of "bytes FROM-TO/SIZE". */
static int64_t range_start(const char *value, size_t length) {
  if (length < 6 || strncasecmp(value, "bytes ", 6) != 0) return -1;
  const char *dash = memchr(value, '-', length);
  return dash ? number_in(value + 6, (size_t)(dash - value) - 6) : -1;
}

/* The reset time of the `RateLimit: "api";r=0;t=55` header. */
static int64_t ratelimit_reset(const char *value, size_t length) {
  for (size_t i = 0; i + 3 < length; i++) {
    if (memcmp(value + i, ";t=", 3) != 0) continue;
    size_t n = 0;
    while (i + 3 + n < length && isdigit((unsigned char)value[i + 3 + n])) n++;
    return number_in(value + i + 3, n);
  }
  return -1;
}

/* Forget what belongs to one answer alone; what a redirect told of the linked file stays. */
static void reset_answer(kin_http_answer *a) {
  a->length = a->range_from = a->wait_s = -1;
  a->encoded = false;
  a->etag[0] = a->error_code[0] = a->error_message[0] = '\0';
}

static size_t on_header(char *line, size_t size, size_t count, void *user) {
  kin_http *http = user;
  kin_http_answer *a = http->answer;
  size_t total = size * count;
  if (total >= 5 && memcmp(line, "HTTP/", 5) == 0) {
    reset_answer(a);
    return total;
  }
  const char *colon = memchr(line, ':', total);
  if (!colon) return total;
  size_t key = (size_t)(colon - line);
  const char *value = colon + 1;
  size_t length = total - key - 1;
  while (length && isspace((unsigned char)*value)) value++, length--;
  while (length && isspace((unsigned char)value[length - 1])) length--;
#define IS(name) (key == sizeof(name) - 1 && strncasecmp(line, name, key) == 0)
  if (IS("etag")) copy_etag(a->etag, sizeof a->etag, value, length);
  if (IS("x-linked-etag")) copy_etag(a->linked_etag, sizeof a->linked_etag, value, length);
  if (IS("x-linked-size")) a->linked_size = number_in(value, length);
  if (IS("x-repo-commit")) copy_value(a->commit, sizeof a->commit, value, length);
  if (IS("x-error-code")) copy_value(a->error_code, sizeof a->error_code, value, length);
  if (IS("x-error-message")) copy_value(a->error_message, sizeof a->error_message, value, length);
  if (IS("content-encoding")) a->encoded = true;
  if (IS("content-length")) a->length = number_in(value, length);
  if (IS("content-range")) a->range_from = range_start(value, length);
  if (IS("ratelimit") && a->wait_s < 0) a->wait_s = ratelimit_reset(value, length);
#undef IS
  return total;
}

static size_t on_body(char *data, size_t size, size_t count, void *user) {
  kin_http *http = user;
  size_t total = size * count;
  curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &http->answer->status);
  if (http->answer->status / 100 != 2 || !http->request->body) return total; /* an error page */
  http->body_status = http->request->body(http->request->arg, http->answer, data, total, http->err);
  return http->body_status == KIN_OK ? total : 0;
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
  kin_http *http = user;
  (void)a, (void)b, (void)c, (void)d;
  http->stopped = http->options.alive && !http->options.alive(http->options.user, NULL);
  return http->stopped;
}

/* ---- opening */

/* curl reads these names in its tool only; without them a proxy's own certificates can't be trusted. */
static const char *certificates(void) {
  static const char *const names[] = {"CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const char *path = getenv(names[i]);
    if (path && *path && kin_file_exists(path)) return path;
  }
  return NULL;
}

static kin_status make_headers(kin_http *http, const char *token, kin_error *err) {
  bool ok = true;
  if (token && *token) {
    for (const char *c = token; *c; c++)
      if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 127)
        return kin_fail(err, KIN_ERR_ARGUMENT,
                        "the access token holds a blank, a line break or a character outside "
                        "ASCII: set HF_TOKEN to the token alone");
    char *line = kin_format("Authorization: Bearer %s", token);
    struct curl_slist *list = line ? curl_slist_append(NULL, line) : NULL;
    ok = list != NULL;
    http->token_header = list;
    free(line);
    http->has_token = true;
  }
  return ok ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "no memory for the HTTP headers");
}

static kin_status configure(kin_http *http, kin_error *err) {
  CURL *c = http->curl;
  const char *ca = certificates();
  bool ok = curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "identity") == CURLE_OK && /* undone where sent anyway */
            curl_easy_setopt(c, CURLOPT_USERAGENT, "kindred/" KINDRED_VERSION) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)http->options.connect_timeout_s) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)http->options.stall_timeout_s) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_ERRORBUFFER, http->curl_error) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_HEADERDATA, http) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_WRITEDATA, http) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_XFERINFODATA, http) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
            (!ca || curl_easy_setopt(c, CURLOPT_CAINFO, ca) == CURLE_OK);
  return ok ? KIN_OK : kin_fail(err, KIN_ERR_UNSUPPORTED, "this libcurl lacks an option that downloads need");
}

static kin_status check_endpoint(const char *endpoint, kin_error *err) {
  CURLU *url = curl_url();
  if (!url) return kin_fail(err, KIN_ERR_MEMORY, "no memory for the endpoint's address");
  char *scheme = NULL, *query = NULL;
  bool ok = curl_url_set(url, CURLUPART_URL, endpoint, 0) == CURLUE_OK &&
            curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
            (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
            curl_url_get(url, CURLUPART_QUERY, &query, 0) != CURLUE_OK;
  curl_free(scheme);
  curl_free(query);
  curl_url_cleanup(url);
  if (ok) return KIN_OK;
  return kin_fail(err, KIN_ERR_ARGUMENT, "endpoint '%s' is no http:// or https:// address (--endpoint, HF_ENDPOINT)",
                  endpoint);
}

kin_status kin_http_open(const kin_http_options *options, kin_http **out, kin_error *err) {
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "libcurl can't be started");
  kin_http *http = calloc(1, sizeof *http);
  if (!http) {
    curl_global_cleanup();
    return kin_fail(err, KIN_ERR_MEMORY, "no memory for the HTTP client");
  }
  http->options = *options;
  http->options.token = http->options.endpoint = NULL; /* the caller's strings: not kept */
  kin_status status = check_endpoint(options->endpoint, err);
  if (status == KIN_OK) {
    http->endpoint = kin_strdup(options->endpoint);
    http->curl = curl_easy_init();
    if (!http->endpoint || !http->curl) status = kin_fail(err, KIN_ERR_MEMORY, "no memory for the HTTP client");
  }
  if (status == KIN_OK) {
    size_t length = strlen(http->endpoint);
    while (length && http->endpoint[length - 1] == '/') http->endpoint[--length] = '\0';
    status = configure(http, err);
  }
  if (status == KIN_OK) status = make_headers(http, options->token, err);
  if (status != KIN_OK) {
    kin_http_close(http);
    return status;
  }
  *out = http;
  return KIN_OK;
}

void kin_http_close(kin_http *http) {
  if (!http) return;
  curl_easy_cleanup(http->curl);
  curl_slist_free_all(http->token_header);
  free(http->endpoint);
  free(http);
  curl_global_cleanup();
}

const char *kin_http_endpoint(const kin_http *http) {
  return http->endpoint;
}

/* ---- one attempt */

/* Scheme, host and port of `address` as one new string (curl_free); NULL if it is no address. */
static char *origin_of(const char *address) {
  CURLU *url = curl_url();
  char *origin = NULL;
  if (url && curl_url_set(url, CURLUPART_URL, address, 0) == CURLUE_OK &&
      curl_url_set(url, CURLUPART_PATH, "/", 0) == CURLUE_OK &&
      curl_url_set(url, CURLUPART_QUERY, NULL, 0) == CURLUE_OK &&
      curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0) == CURLUE_OK &&
      curl_url_set(url, CURLUPART_USER, NULL, 0) == CURLUE_OK &&
      curl_url_set(url, CURLUPART_PASSWORD, NULL, 0) == CURLUE_OK)
    curl_url_get(url, CURLUPART_URL, &origin, CURLU_DEFAULT_PORT);
  curl_url_cleanup(url);
  return origin;
}

static bool same_origin(const char *a, const char *b) {
  char *x = origin_of(a), *y = origin_of(b);
  bool same = x && y && strcasecmp(x, y) == 0;
  curl_free(x);
  curl_free(y);
  return same;
}

/* The failure of a transfer that brought no whole answer. */
static kin_status transfer_error(kin_http *http, CURLcode code, const char *what, kin_error *err) {
  kin_http_answer *a = http->answer;
  if (http->stopped) return kin_fail(err, KIN_ERR_CANCELLED, "stopped while fetching %s", what);
  if (http->body_status != KIN_OK) return http->body_status; /* with its own message */
  if (code == CURLE_OUT_OF_MEMORY) return kin_fail(err, KIN_ERR_MEMORY, "no memory to fetch %s", what);
  curl_off_t reached = 0;
  curl_easy_getinfo(http->curl, CURLINFO_PRETRANSFER_TIME_T, &reached);
  bool certificate = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
  a->transient = !certificate && (reached > 0 || http->answered) && code != CURLE_UNSUPPORTED_PROTOCOL &&
                 code != CURLE_URL_MALFORMAT;
  const char *reason = http->curl_error[0] ? http->curl_error : curl_easy_strerror(code);
  if (reached > 0) return kin_fail(err, KIN_ERR_IO, "%s: the transfer broke off: %s", what, reason);
  return kin_fail(err, KIN_ERR_IO, "%s: can't reach %s: %s", what, http->endpoint, reason);
}

static kin_status no_access(const kin_http *http, const char *what, kin_error *err) {
  const kin_http_answer *a = http->answer;
  if (strcmp(a->error_code, "GatedRepo") == 0)
    return kin_fail(err, KIN_ERR_NOT_FOUND,
                    "%s: the repository is gated: accept its terms on its page at %s, then %s (HTTP %ld)", what,
                    http->endpoint,
                    http->has_token ? "make sure that HF_TOKEN belongs to that account"
                                    : "set HF_TOKEN to an access token of that account",
                    a->status);
  if (!http->has_token)
    return kin_fail(err, KIN_ERR_NOT_FOUND,
                    "%s: %s gives no access without a token: the name is wrong, or the repository is private; set "
                    "HF_TOKEN to an access token (HTTP %ld)",
                    what, http->endpoint, a->status);
  return kin_fail(err, KIN_ERR_NOT_FOUND,
                  "%s: %s refuses the access token: it is wrong or expired, or may not read this repository; check "
                  "HF_TOKEN (HTTP %ld)",
                  what, http->endpoint, a->status);
}

static kin_status status_error(const kin_http *http, const char *what, kin_error *err) {
  kin_http_answer *a = http->answer;
  if (a->status == 401 || a->status == 403) return no_access(http, what, err);
  if (a->status == 404 && strcmp(a->error_code, "RevisionNotFound") == 0)
    return kin_fail(err, KIN_ERR_NOT_FOUND, "%s: no such revision at %s (HTTP 404)", what, http->endpoint);
  if (a->status == 404)
    return kin_fail(err, KIN_ERR_NOT_FOUND, "%s: not found at %s (HTTP 404): check the name", what, http->endpoint);
  a->transient = a->status == 408 || a->status == 429 || a->status == 500 || a->status == 502 || a->status == 503 ||
                 a->status == 504;
  if (a->status == 429)
    return kin_fail(err, KIN_ERR_IO, "%s: %s limits the rate of requests (HTTP 429)", what, http->endpoint);
  return kin_fail(err, KIN_ERR_IO, "%s: %s answered HTTP %ld%s%s", what, http->endpoint, a->status,
                  a->error_message[0] ? ": " : "", a->error_message);
}

/* Send one request to `url` and take its answer; nothing is followed. */
static kin_status send_once(kin_http *http, const char *url, const char *what, kin_error *err) {
  CURL *c = http->curl;
  const kin_http_request *r = http->request;
  struct curl_slist *headers = same_origin(url, http->endpoint) ? http->token_header : NULL;
  http->curl_error[0] = '\0';
  http->stopped = false;
  http->body_status = KIN_OK;
  reset_answer(http->answer);
  http->answer->status = 0;
  char range[32];
  snprintf(range, sizeof range, "%llu-", (unsigned long long)r->from);
  bool ok = curl_easy_setopt(c, CURLOPT_URL, url) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_HTTPGET, 1L) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_NOBODY, r->head ? 1L : 0L) == CURLE_OK &&
            curl_easy_setopt(c, CURLOPT_RANGE, r->from ? range : NULL) == CURLE_OK;
  if (!ok) return kin_fail(err, KIN_ERR_MEMORY, "no memory to fetch %s", what);
  CURLcode code = curl_easy_perform(c);
  curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &http->answer->status);
  if (code != CURLE_OK) return transfer_error(http, code, what, err);
  http->answered = true;
  curl_off_t wait = 0;
  if (curl_easy_getinfo(c, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK && wait > 0) http->answer->wait_s = wait;
  return KIN_OK;
}

/* Where a redirect leads, as a new string in *next; *next stays NULL where the answer is final. */
static kin_status follow(kin_http *http, const char *url, const char *what, char **next, kin_error *err) {
  long status = http->answer->status;
  char *target = NULL;
  if (status / 100 != 3 || status == 304) return KIN_OK;
  curl_easy_getinfo(http->curl, CURLINFO_REDIRECT_URL, &target);
  if (!target) return kin_fail(err, KIN_ERR_FORMAT, "%s: a redirect (HTTP %ld) without a target", what, status);
  bool described = http->answer->linked_etag[0] || http->answer->etag[0];
  if (http->request->head && described && !same_origin(url, target)) return KIN_OK;
  if (strncasecmp(target, "http://", 7) != 0 && strncasecmp(target, "https://", 8) != 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: refused to follow a redirect to %.200s", what, target);
  if (strncasecmp(url, "https://", 8) == 0 && strncasecmp(target, "http://", 7) == 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: refused to follow a redirect from https to http (%.200s)", what, target);
  *next = kin_strdup(target);
  return *next ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "no memory to fetch %s", what);
}

kin_status kin_http_try(kin_http *http, const kin_http_request *request, const char *what, kin_http_answer *answer,
                        kin_error *err) {
  *answer = (kin_http_answer){.linked_size = -1};
  http->request = request;
  http->answer = answer;
  http->err = err;
  char *url = kin_strdup(request->url);
  kin_status status = url ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "no memory to fetch %s", what);
  for (int hops = 0; status == KIN_OK; hops++) {
    char *next = NULL;
    status = send_once(http, url, what, err);
    if (status == KIN_OK) status = follow(http, url, what, &next, err);
    if (!next) break;
    free(url);
    url = next;
    if (hops == MAX_REDIRECTS) status = kin_fail(err, KIN_ERR_FORMAT, "%s: more than 10 redirects", what);
  }
  free(url);
  bool linked = request->head && answer->status / 100 == 3;
  if (status == KIN_OK && answer->status / 100 != 2 && !linked) status = status_error(http, what, err);
  return status;
}

/* ---- trying again */

static kin_status pause_ms(kin_http *http, int64_t ms, const char *note, kin_error *err) {
  while (ms > 0) {
    if (http->options.alive && !http->options.alive(http->options.user, note))
      return kin_fail(err, KIN_ERR_CANCELLED, "stopped while waiting to try again");
    int64_t step = ms < 100 ? ms : 100;
    struct timespec t = {.tv_nsec = step * 1000000};
    nanosleep(&t, NULL);
    ms -= step;
  }
  return KIN_OK;
}

kin_status kin_http_again(kin_http *http, const kin_http_answer *answer, unsigned *failures, kin_status failure,
                          kin_error *err) {
  if (!answer->transient || failure == KIN_ERR_CANCELLED) return failure;
  if (*failures >= http->options.retries) return kin_prefix(err, failure, "gave up after %u tries", *failures + 1);
  if (answer->wait_s > MAX_RETRY_AFTER_S)
    return kin_prefix(err, failure, "the server asks to wait for %lld s; try again then", (long long)answer->wait_s);
  int64_t ms = answer->wait_s * 1000;
  if (answer->wait_s < 0) {
    ms = (int64_t)http->options.backoff_ms << (*failures < 15 ? *failures : 15);
    if (ms > MAX_BACKOFF_MS) ms = MAX_BACKOFF_MS;
  }
  ++*failures;
  char note[sizeof err->message + 64];
  snprintf(note, sizeof note, "next try in %.1f s: %s", (double)ms / 1000.0, err->message);
  return pause_ms(http, ms, note, err);
}

kin_status kin_http_head(kin_http *http, const char *url, const char *what, kin_http_answer *answer, kin_error *err) {
  kin_http_request request = {.url = url, .head = true};
  for (unsigned failures = 0;;) {
    kin_status status = kin_http_try(http, &request, what, answer, err);
    if (status == KIN_OK) return KIN_OK;
    status = kin_http_again(http, answer, &failures, status, err);
    if (status != KIN_OK) return status;
  }
}

typedef struct text_sink {
  char *data;
  size_t size, capacity, limit;
  const char *what;
} text_sink;

static kin_status take_text(void *arg, const kin_http_answer *answer, const void *data, size_t size, kin_error *err) {
  text_sink *sink = arg;
  (void)answer;
  if (size > sink->limit - sink->size)
    return kin_fail(err, KIN_ERR_LIMIT, "%s: the answer is longer than %zu bytes", sink->what, sink->limit);
  if (!kin_grow((void **)&sink->data, &sink->capacity, sink->size + size + 1, 1))
    return kin_fail(err, KIN_ERR_MEMORY, "no memory to fetch %s", sink->what);
  memcpy(sink->data + sink->size, data, size);
  sink->size += size;
  sink->data[sink->size] = '\0';
  return KIN_OK;
}

kin_status kin_http_get_text(kin_http *http, const char *url, size_t limit, const char *what, char **out, size_t *size,
                             kin_http_answer *answer, kin_error *err) {
  text_sink sink = {.limit = limit, .what = what};
  kin_http_request request = {.url = url, .body = take_text, .arg = &sink};
  kin_status status;
  for (unsigned failures = 0;;) {
    sink.size = 0;
    status = kin_http_try(http, &request, what, answer, err);
    if (status == KIN_OK) break;
    status = kin_http_again(http, answer, &failures, status, err);
    if (status != KIN_OK) break;
  }
  if (status == KIN_OK && !sink.data) status = kin_fail(err, KIN_ERR_FORMAT, "%s: an empty answer", what);
  if (status != KIN_OK) {
    free(sink.data);
    return status;
  }
  *out = sink.data;
  *size = sink.size;
  return KIN_OK;
}

char *kin_http_quote(const char *s, bool keep_slashes) {
  static const char hex[] = "0123456789ABCDEF";
  char *out = kin_array(strlen(s) * 3 + 1, 1), *o = out;
  if (!out) return NULL;
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (isalnum(c) || strchr("-._~", c) || (c == '/' && keep_slashes)) {
      *o++ = (char)c;
    } else {
      *o++ = '%';
      *o++ = hex[c >> 4];
      *o++ = hex[c & 15];
    }
  }
  *o = '\0';
  return out;
}
