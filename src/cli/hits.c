/* Results of a search on the standard output. */
#include "cli/query.h"
#include "embed/path_json.h"

#include <stdio.h>
#include <string.h>

/* ":LINE: " and the passage on one line, cut to a screen's few lines. What others indexed has no lines. */
static void put_passage(const kin_hit *hit) {
  enum { MOST = 240 };
  char line[MOST + 8];
  size_t n = 0;
  const char *p = hit->passage;
  for (; *p && n < MOST; p++) {
    bool blank = strchr(" \t\r\n\f\v", *p) != NULL;
    if (!blank) line[n++] = *p;
    if (blank && n > 0 && line[n - 1] != ' ') line[n++] = ' ';
  }
  while (n > 0 && *p && ((unsigned char)*p & 0xC0) == 0x80) p--, n--; /* no part of a character */
  snprintf(line + n, sizeof line - n, "%s", *p ? "..." : "");
  if (hit->line) printf(":%llu", (unsigned long long)hit->line);
  fputs(": ", stdout);
  cli_put_text(line);
}

/* A place in one of the two lists of a hybrid search. */
static void print_rank(size_t rank) {
  if (rank)
    printf("%5zu  ", rank);
  else
    printf("    -  ");
}

static void print_lines(const kin_hits *hits, size_t offset, bool hybrid) {
  size_t n = kin_hits_count(hits);
  if (hybrid && n) printf("rank    score  vector  bm25\n");
  for (size_t i = 0; i < n; i++) {
    const kin_hit *hit = kin_hits_get(hits, i);
    printf("%4zu  %7.4f  ", offset + i + 1, (double)hit->score);
    if (hybrid) print_rank(hit->vector_rank), print_rank(hit->bm25_rank);
    cli_put_text(hit->path);
    if (hit->passage) put_passage(hit);
    putchar('\n');
  }
}

/* null: not in that list. */
static json_t *rank_value(size_t rank) {
  return rank ? json_integer((json_int_t)rank) : json_null();
}

static json_t *describe(const kin_hits *hits, bool hybrid) {
  json_t *results = json_array();
  bool ok = results != NULL;
  for (size_t i = 0; ok && i < kin_hits_count(hits); i++) {
    const kin_hit *hit = kin_hits_get(hits, i);
    json_t *entry = json_pack("{sf sI sI sI}", "score", (double)hit->score, "width", (json_int_t)hit->width, "height",
                              (json_int_t)hit->height, "id", (json_int_t)hit->id);
    ok = entry && kin_json_set_text(entry, "path", hit->path);
    if (ok && hit->passage)
      ok = json_object_set_new(entry, "line", json_integer((json_int_t)hit->line)) == 0 &&
           json_object_set_new(entry, "offset", json_integer((json_int_t)hit->offset)) == 0 &&
           json_object_set_new(entry, "passage", json_string(hit->passage)) == 0;
    if (ok && hybrid)
      ok = json_object_set_new(entry, "vector_rank", rank_value(hit->vector_rank)) == 0 &&
           json_object_set_new(entry, "bm25_rank", rank_value(hit->bm25_rank)) == 0;
    ok = json_array_append_new(results, entry) == 0 && ok;
  }
  if (ok) return json_pack("{so}", "results", results);
  json_decref(results);
  return NULL;
}

int cli_print_hits(const kin_hits *hits, size_t offset, bool hybrid, bool json) {
  if (json) return cli_print_json(describe(hits, hybrid));
  print_lines(hits, offset, hybrid);
  return CLI_OK;
}
