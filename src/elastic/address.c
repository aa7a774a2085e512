/* Addresses of an index: elasticsearch://HOST:PORT/INDEX. */
#include "elastic/elastic.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PORT "9200"

static const struct {
  const char *scheme, *transport;
} schemes[] = {{"elasticsearch://", "http"}, {"elasticsearchs://", "https"}, {"elasticsearch+https://", "https"}};

/* The transport, and what follows the scheme; NULL: no address. */
static const char *read_scheme(const char *text, const char **rest) {
  for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
    size_t n = strlen(schemes[i].scheme);
    if (strncmp(text, schemes[i].scheme, n) != 0) continue;
    *rest = text + n;
    return schemes[i].transport;
  }
  return NULL;
}

bool kin_elastic_is_address(const char *text) {
  const char *rest;
  return read_scheme(text, &rest) != NULL;
}

void kin_elastic_address_free(kin_elastic_address *a) {
  for (size_t i = 0; i < a->n_hosts; i++) free(a->hosts[i]);
  free(a->hosts);
  free(a->user);
  free(a->password);
  free(a->index);
  free(a->name);
  *a = (kin_elastic_address){0};
}

static int hex_value(char c) {
  return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* Undo percent-encoding, which a password with @ or / needs. */
static char *decode(const char *text, size_t size) {
  char *out = strndup(text, size), *to = out;
  for (const char *c = out; c && *c; c++) {
    int high = *c == '%' ? hex_value(c[1]) : -1, low = high >= 0 ? hex_value(c[2]) : -1;
    *to++ = low >= 0 ? (char)(high * 16 + low) : *c;
    if (low >= 0) c += 2;
  }
  if (to) *to = '\0';
  return out;
}

static bool take_user(kin_elastic_address *a, const char *text, size_t size) {
  const char *colon = memchr(text, ':', size);
  size_t user = colon ? (size_t)(colon - text) : size;
  a->user = decode(text, user);
  a->password = colon ? decode(colon + 1, size - user - 1) : kin_strdup("");
  return a->user && a->password;
}

/* Elasticsearch's own rules: such a name also needs no quoting in a path. */
static bool is_index_name(const char *name) {
  if (!*name || strchr("-_+.", *name) || strlen(name) > 255) return false;
  for (const char *c = name; *c; c++)
    if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && !strchr("-_.", *c)) return false;
  return true;
}

/* One host of the list, with a port. "[::1]:9200" has colons of its own. */
static char *host_url(const char *transport, const char *host, size_t size, const char *prefix, size_t prefix_size) {
  const char *bracket = memchr(host, ']', size), *from = bracket ? bracket : host;
  bool port = memchr(from, ':', size - (size_t)(from - host)) != NULL;
  return kin_format("%s://%.*s%s%.*s", transport, (int)size, host, port ? "" : ":" DEFAULT_PORT, (int)prefix_size,
                    prefix);
}

static kin_status take_hosts(kin_elastic_address *a, const char *transport, const char *hosts, const char *slash,
                             size_t prefix, kin_error *err) {
  size_t capacity = 0;
  for (const char *c = hosts, *end; c < slash; c = end + 1) {
    end = memchr(c, ',', (size_t)(slash - c));
    if (!end) end = slash;
    if (end == c) return kin_fail(err, KIN_ERR_ARGUMENT, "%s: a host's name is missing", a->name);
    char *url = kin_grow((void **)&a->hosts, &capacity, a->n_hosts + 1, sizeof *a->hosts)
                    ? host_url(transport, c, (size_t)(end - c), slash, prefix)
                    : NULL;
    if (!url) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for an address");
    a->hosts[a->n_hosts++] = url;
  }
  return KIN_OK;
}

kin_status kin_elastic_address_parse(const char *text, kin_elastic_address *out, kin_error *err) {
  *out = (kin_elastic_address){0};
  const char *hosts, *transport = read_scheme(text, &hosts);
  if (!transport) return kin_fail(err, KIN_ERR_ARGUMENT, "the address doesn't begin with elasticsearch://");
  const char *slash = hosts + strcspn(hosts, "/"), *at = NULL, *index = strrchr(hosts, '/');
  for (const char *c = hosts; c < slash; c++)
    if (*c == '@') at = c;
  kin_status status = KIN_OK;
  const char *first = at ? at + 1 : hosts;
  out->name = kin_format("%.*s%s", (int)(hosts - text), text, first);
  if (!out->name || (at && !take_user(out, hosts, (size_t)(at - hosts))))
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for an address");
  else if (first == slash)
    status = kin_fail(err, KIN_ERR_ARGUMENT, "%s: a host's name is missing", out->name);
  else if (!index || !is_index_name(index + 1))
    status =
        kin_fail(err, KIN_ERR_ARGUMENT,
                 "%s: expected elasticsearch://HOST:PORT/INDEX, the index's name of a-z, 0-9, -, _ and .", out->name);
  if (status == KIN_OK) status = take_hosts(out, transport, first, slash, (size_t)(index - slash), err);
  if (status == KIN_OK && !(out->index = kin_strdup(index + 1)))
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for an address");
  if (status != KIN_OK) kin_elastic_address_free(out);
  return status;
}
