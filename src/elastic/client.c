/* The client: a few connections that work through the requests, and when to try one again, and where. */
#include "elastic/elastic.h"

#include <curl/curl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONNECTIONS 4
#define CONNECT_TIMEOUT_S 10
/* A busy node may take minutes; one that is gone is told by the probes of its silent connections. */
#define ANSWER_TIMEOUT_S 600
#define FIRST_PROBE_S 30
#define PROBE_INTERVAL_S 10
/* Waits double from half a second: a node that is started again, or catches up, has some two minutes. */
#define FIRST_WAIT_S 0.5
#define LONGEST_WAIT_S 16.0
#define LONGEST_ASKED_S 600 /* a server that asks for a longer wait isn't waited for */
#define LONGEST_ANSWER ((size_t)1 << 30)

typedef struct connection {
  CURL *curl;
  kin_elastic_request *request; /* NULL: idle */
  char *url;
  char *text; /* the answer so far */
  size_t size, capacity;
  size_t host; /* that was asked */
  char error[CURL_ERROR_SIZE];
} connection;

struct kin_elastic {
  const kin_elastic_address *address;
  CURLM *multi;
  connection connections[CONNECTIONS];
  struct curl_slist *json, *lines; /* headers with either content */
  size_t host;                     /* to ask next */
  bool answered;                   /* a host has answered: a failing connection may come back */
  bool (*alive)(void *user);
  void *user;
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ----------------------------------------------------------------------- opening */

static size_t on_body(char *data, size_t size, size_t count, void *user) {
  connection *c = user;
  size_t n = size * count;
  if (n > LONGEST_ANSWER - c->size || !kin_grow((void **)&c->text, &c->capacity, c->size + n + 1, 1)) return 0;
  memcpy(c->text + c->size, data, n);
  c->size += n;
  return n;
}

static kin_status read_key(const char *file, char **out, kin_error *err) {
  size_t size;
  kin_status status = kin_read_file(file, 4096, out, &size, err);
  if (status != KIN_OK) return status;
  while (size && strchr(" \t\r\n", (*out)[size - 1])) (*out)[--size] = '\0';
  for (const char *c = *out; *c; c++)
    if (*c <= ' ' || *c >= 127) size = 0;
  if (size) return KIN_OK;
  free(*out);
  *out = NULL;
  return kin_fail(err, KIN_ERR_ARGUMENT, "%s: expected an API key alone, as Elasticsearch gives it \"encoded\"", file);
}

static bool add_header(kin_elastic *e, const char *line) {
  struct curl_slist *json = curl_slist_append(e->json, line);
  if (json) e->json = json;
  struct curl_slist *lines = curl_slist_append(e->lines, line);
  if (lines) e->lines = lines;
  return json && lines;
}

static kin_status make_headers(kin_elastic *e, const char *key_file, kin_error *err) {
  char *key = NULL;
  kin_status status = key_file ? read_key(key_file, &key, err) : KIN_OK;
  if (status != KIN_OK) return status;
  char *line = key ? kin_format("Authorization: ApiKey %s", key) : NULL;
  e->json = curl_slist_append(NULL, "Content-Type: application/json");
  e->lines = curl_slist_append(NULL, "Content-Type: application/x-ndjson");
  bool ok = e->json && e->lines && add_header(e, "Expect:") && (!key || (line && add_header(e, line)));
  free(key);
  free(line);
  return ok ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "no memory for the HTTP headers");
}

static bool configure(connection *c, const kin_elastic_options *options, const char *user, const char *password) {
  c->curl = curl_easy_init();
  if (!c->curl) return false;
  bool ok = curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
            curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
            curl_easy_setopt(c->curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
            curl_easy_setopt(c->curl, CURLOPT_ACCEPT_ENCODING, "") == CURLE_OK &&
            curl_easy_setopt(c->curl, CURLOPT_USERAGENT, "kindred/" KINDRED_VERSION) == CURLE_OK &&
            curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S) == CURLE_OK &&
            curl_easy_setopt(c->curl, CURLOPT_TIMEOUT,
                             (long)(options->timeout_s ? options->timeout_s : ANSWER_TIMEOUT_S)) == CURLE_OK &&
            curl_easy_setopt(c->curl, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
            curl_easy_setopt(c->curl, CURLOPT_TCP_KEEPIDLE, (long)FIRST_PROBE_S) == CURLE_OK &&
            curl_easy_setopt(c->curl, CURLOPT_TCP_KEEPINTVL, (long)PROBE_INTERVAL_S) == CURLE_OK &&
            curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->error) == CURLE_OK &&
            curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
            curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c) == CURLE_OK &&
            curl_easy_setopt(c->curl, CURLOPT_PRIVATE, c) == CURLE_OK;
  if (ok && options->ca_file) ok = curl_easy_setopt(c->curl, CURLOPT_CAINFO, options->ca_file) == CURLE_OK;
  if (ok && user && !options->api_key_file)
    ok = curl_easy_setopt(c->curl, CURLOPT_USERNAME, user) == CURLE_OK &&
         curl_easy_setopt(c->curl, CURLOPT_PASSWORD, password ? password : "") == CURLE_OK &&
         curl_easy_setopt(c->curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC) == CURLE_OK;
  return ok;
}

kin_status kin_elastic_open(const kin_elastic_address *address, const kin_elastic_options *options, kin_elastic **out,
                            kin_error *err) {
  *out = NULL;
  if (options->ca_file && !kin_file_exists(options->ca_file))
    return kin_fail(err, KIN_ERR_IO, "%s: no such file of certificates", options->ca_file);
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "libcurl can't be started");
  const char *user = address->user ? address->user : getenv("ES_USER");
  const char *password = address->user ? address->password : getenv("ES_PASSWORD");
  kin_elastic *e = calloc(1, sizeof *e);
  kin_status status = e ? make_headers(e, options->api_key_file, err) : KIN_ERR_MEMORY;
  if (status == KIN_OK) {
    e->address = address;
    bool ok = (e->multi = curl_multi_init()) != NULL;
    for (size_t i = 0; ok && i < CONNECTIONS; i++)
      ok = configure(&e->connections[i], options, user && *user ? user : NULL, password);
    if (!ok) status = kin_fail(err, KIN_ERR_UNSUPPORTED, "this libcurl lacks an option that Elasticsearch needs");
  } else if (!e) {
    kin_fail(err, status, "no memory for the HTTP client");
  }
  if (status == KIN_OK)
    *out = e;
  else if (e)
    kin_elastic_close(e);
  else
    curl_global_cleanup();
  return status;
}

void kin_elastic_close(kin_elastic *e) {
  if (!e) return;
  for (size_t i = 0; i < CONNECTIONS; i++) {
    curl_easy_cleanup(e->connections[i].curl);
    free(e->connections[i].text);
  }
  curl_multi_cleanup(e->multi);
  curl_slist_free_all(e->json);
  curl_slist_free_all(e->lines);
  free(e);
  curl_global_cleanup();
}

void kin_elastic_set_alive(kin_elastic *e, bool (*alive)(void *user), void *user) {
  e->alive = alive;
  e->user = user;
}

/* ----------------------------------------------------------------------- answers */

const char *kin_elastic_reason(const json_t *error) {
  const json_t *cause = json_array_get(json_object_get(error, "root_cause"), 0);
  const char *reason = json_string_value(json_object_get(cause ? cause : error, "reason"));
  const char *inner = json_string_value(json_object_get(json_object_get(error, "caused_by"), "reason"));
  if (inner) return inner;
  if (reason) return reason;
  return json_is_string(error) ? json_string_value(error) : "no reason is given";
}

static kin_status refused(const kin_elastic *e, const kin_elastic_request *r, const char *host, kin_error *err) {
  const char *reason = kin_elastic_reason(json_object_get(r->answer, "error"));
  if (r->code == 401 || r->code == 403)
    return kin_fail(err, KIN_ERR_IO,
                    "%s: %s gives no access (HTTP %ld): %s; check --es-api-key-file, or USER:PASSWORD@ in the address, "
                    "or ES_USER and ES_PASSWORD",
                    e->address->name, host, r->code, reason);
  kin_status status = r->code == 404 ? KIN_ERR_NOT_FOUND : r->code == 400 ? KIN_ERR_UNSUPPORTED : KIN_ERR_IO;
  return kin_fail(err, status, "%s: %s answered %s %s with HTTP %ld: %s", e->address->name, host, r->method, r->path,
                  r->code, reason);
}

/* Whether the request may succeed at another time or host. */
static bool is_transient(long code) {
  return code == 408 || code == 429 || code == 502 || code == 503 || code == 504;
}

/* After a transfer: r->status, and whether to try again after *wait seconds (below 0: the usual time). */
static bool read_answer(kin_elastic *e, connection *c, CURLcode code, double *wait) {
  kin_elastic_request *r = c->request;
  const char *host = e->address->hosts[c->host];
  curl_off_t reached = 0, asked = 0;
  *wait = -1;
  curl_easy_getinfo(c->curl, CURLINFO_PRETRANSFER_TIME_T, &reached);
  if (code != CURLE_OK) {
    const char *reason = c->error[0] ? c->error : curl_easy_strerror(code);
    r->status = kin_fail(&r->error, code == CURLE_OUT_OF_MEMORY ? KIN_ERR_MEMORY : KIN_ERR_IO, "%s: %s %s: %s",
                         e->address->name, reached ? "lost" : "can't reach", host, reason);
    if (code == CURLE_PEER_FAILED_VERIFICATION)
      kin_fail(&r->error, KIN_ERR_IO,
               "%s: %s has a certificate that isn't trusted: %s; --es-ca FILE names the certificates to trust",
               e->address->name, host, reason);
    if (code == CURLE_SSL_CACERT_BADFILE)
      kin_fail(&r->error, KIN_ERR_IO, "%s: the certificates to trust can't be read: %s", e->address->name, reason);
    bool local = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
                 code == CURLE_WRITE_ERROR || code == CURLE_OUT_OF_MEMORY || code == CURLE_URL_MALFORMAT;
    return !local;
  }
  curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &r->code);
  e->answered = true;
  json_error_t where;
  r->answer = c->size ? json_loadb(c->text, c->size, 0, &where) : NULL;
  bool good = r->code / 100 == 2 || (r->code == 404 && r->may_miss);
  if (good && !json_is_object(r->answer)) {
    r->status = kin_fail(&r->error, KIN_ERR_FORMAT,
                         "%s: %s answered %s %s with what is no JSON object; is it "
                         "Elasticsearch?",
                         e->address->name, host, r->method, r->path);
    return false;
  }
  r->status = good ? KIN_OK : refused(e, r, host, &r->error);
  if (good || !is_transient(r->code)) return false;
  if (curl_easy_getinfo(c->curl, CURLINFO_RETRY_AFTER, &asked) == CURLE_OK && asked > 0) *wait = (double)asked;
  return *wait <= LONGEST_ASKED_S;
}

static double wait_after(int failures) {
  return fmin(ldexp(FIRST_WAIT_S, failures), LONGEST_WAIT_S);
}

kin_status kin_elastic_pause(kin_elastic *e, int failures, kin_error *err) {
  const struct timespec step = {.tv_nsec = 50000000};
  for (double end = now() + wait_after(failures); now() < end; nanosleep(&step, NULL))
    if (e->alive && !e->alive(e->user))
      return kin_fail(err, KIN_ERR_CANCELLED, "stopped while Elasticsearch was not ready");
  return KIN_OK;
}

/* Put the request back, to be sent again when its time comes; false: it has failed for good. */
static bool try_again(kin_elastic *e, connection *c, double wait) {
  kin_elastic_request *r = c->request;
  /* Where no host has answered yet each is asked once, without waiting. */
  unsigned most = e->answered ? KIN_ELASTIC_TRIES - 1 : (unsigned)e->address->n_hosts - 1;
  if (c->host == e->host) e->host = (e->host + 1) % e->address->n_hosts;
  if (r->failures >= most) return false;
  if (wait < 0) wait = e->answered ? wait_after((int)r->failures) : 0;
  r->failures++;
  r->due = now() + wait;
  json_decref(r->answer);
  r->answer = NULL;
  return true;
}

/* ----------------------------------------------------------------------- sending */

static bool start(kin_elastic *e, connection *c, kin_elastic_request *r) {
  CURL *curl = c->curl;
  c->request = r;
  c->host = e->host;
  c->size = 0;
  c->error[0] = '\0';
  c->url = kin_format("%s/%s", e->address->hosts[c->host], r->path);
  bool ok = c->url && curl_easy_setopt(curl, CURLOPT_URL, c->url) == CURLE_OK &&
            curl_easy_setopt(curl, CURLOPT_HTTPHEADER, r->lines ? e->lines : e->json) == CURLE_OK &&
            curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L) == CURLE_OK;
  if (ok && r->body)
    ok = curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->size) == CURLE_OK &&
         curl_easy_setopt(curl, CURLOPT_POSTFIELDS, r->body) == CURLE_OK;
  ok = ok && curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, r->method) == CURLE_OK &&
       curl_multi_add_handle(e->multi, curl) == CURLM_OK;
  if (ok) return true;
  free(c->url);
  c->request = NULL;
  r->status = kin_fail(&r->error, KIN_ERR_MEMORY, "%s: no memory to send a request", e->address->name);
  return false;
}

static void stop(kin_elastic *e, connection *c) {
  curl_multi_remove_handle(e->multi, c->curl);
  free(c->url);
  c->request = NULL;
}

/* The states of a request on its way, in its status until it is answered. */
enum { WAITING = -1, UNDER_WAY = -2 };

static void set_state(kin_elastic_request *r, int state) {
  r->status = (kin_status)state;
}

/* Give idle connections what is due. */
static void start_due(kin_elastic *e, kin_elastic_request *requests, size_t n) {
  double time = now();
  size_t at = 0;
  for (size_t i = 0; i < CONNECTIONS; i++) {
    if (e->connections[i].request) continue;
    while (at < n && !((int)requests[at].status == WAITING && requests[at].due <= time)) at++;
    if (at == n) return;
    if (start(e, &e->connections[i], &requests[at])) set_state(&requests[at], UNDER_WAY);
    at++;
  }
}

/* Whether there were any. */
static bool take_answers(kin_elastic *e) {
  bool any = false;
  int left;
  const CURLMsg *message;
  while ((message = curl_multi_info_read(e->multi, &left))) {
    if (message->msg != CURLMSG_DONE) continue;
    any = true;
    char *private = NULL;
    double wait;
    CURLcode code = message->data.result;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
    connection *c = (connection *)(void *)private;
    kin_elastic_request *r = c->request;
    bool again = read_answer(e, c, code, &wait) && try_again(e, c, wait);
    stop(e, c);
    if (again) set_state(r, WAITING);
  }
  return any;
}

/* End all that isn't answered. */
static void give_up(kin_elastic *e, kin_elastic_request *requests, size_t n, kin_status status, const char *why) {
  for (size_t i = 0; i < CONNECTIONS; i++)
    if (e->connections[i].request) stop(e, &e->connections[i]);
  for (size_t i = 0; i < n; i++)
    if ((int)requests[i].status < 0) requests[i].status = kin_fail(&requests[i].error, status, "%s", why);
}

kin_status kin_elastic_send(kin_elastic *e, kin_elastic_request *requests, size_t n, kin_error *err) {
  for (size_t i = 0; i < n; i++) {
    requests[i].answer = NULL;
    requests[i].failures = 0;
    requests[i].due = 0;
    set_state(&requests[i], WAITING);
  }
  for (;;) {
    int running;
    size_t open = 0, retries = 0;
    start_due(e, requests, n);
    if (curl_multi_perform(e->multi, &running) != CURLM_OK) give_up(e, requests, n, KIN_ERR_IO, "libcurl failed");
    bool progress = take_answers(e);
    for (size_t i = 0; i < n; i++) {
      open += (int)requests[i].status < 0;
      retries += (int)requests[i].status == WAITING && requests[i].failures;
    }
    if (!open) break;
    if (retries && e->alive && !e->alive(e->user))
      give_up(e, requests, n, KIN_ERR_CANCELLED, "stopped while Elasticsearch was not ready");
    else if (!progress)
      curl_multi_poll(e->multi, NULL, 0, retries ? 50 : 1000, NULL);
  }
  for (size_t i = 0; i < n; i++)
    if (requests[i].status != KIN_OK) return kin_fail(err, requests[i].status, "%s", requests[i].error.message);
  return KIN_OK;
}

kin_status kin_elastic_call(kin_elastic *e, const char *method, const char *path, json_t *body, bool miss,
                            json_t **answer, kin_error *err) {
  char *text = body ? json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
  kin_status status = KIN_OK;
  if (body && !text) status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for a request", e->address->name);
  json_decref(body);
  *answer = NULL;
  if (status != KIN_OK) return status;
  kin_elastic_request r = {
      .method = method, .path = path, .body = text, .size = text ? strlen(text) : 0, .may_miss = miss};
  status = kin_elastic_send(e, &r, 1, err);
  free(text);
  if (status == KIN_OK && r.code != 404)
    *answer = r.answer;
  else
    json_decref(r.answer);
  return status;
}
