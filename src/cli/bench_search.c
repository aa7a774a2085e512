/* kindred bench search: exact search in clustered, seeded vectors, by each kind of code. */
#include "cli/bench_vectors.h"
#include "cli/cli.h"
#include "index/scan.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct search_bench {
  cli_common common;
  size_t k, rounds;
  cli_session session;
  cli_bench_vectors data;
} search_bench;

static const struct {
  kin_code code;
  const char *name;
} kinds[] = {{KIN_CODE_INT8, "int8 codes"}, {KIN_CODE_BF16, "bf16 codes"}, {KIN_CODE_NONE, "vectors alone"}};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

typedef struct timing {
  double opening; /* what it took to make the codes */
  double least, median, most;
  uint64_t bytes; /* of the codes */
} timing;

static kin_status time_searches(const search_bench *b, kin_index *index, double *seconds, kin_match *matches,
                                size_t *found, kin_error *err) {
  kin_index_query query = {b->data.vectors, b->data.queries, b->k, NULL, NULL};
  kin_status status =
      kin_index_search(index, &query, matches, found, err); /* checks checksums, which later ones don't */
  for (size_t i = 0; status == KIN_OK && i < b->rounds; i++) {
    double start = cli_now();
    status = kin_index_search(index, &query, matches, found, err);
    seconds[i] = cli_now() - start;
    if (cli_signal()) status = kin_fail(err, KIN_ERR_CANCELLED, "stopped");
  }
  qsort(seconds, b->rounds, sizeof *seconds, cli_bench_compare);
  return status;
}

static kin_status measure(const search_bench *b, kin_code code, timing *out, kin_error *err) {
  kin_index *index;
  kin_index_state state = {.rows = b->data.count};
  double start = cli_now(), *seconds = kin_array(b->rounds, sizeof *seconds);
  kin_match *matches = kin_array(b->data.queries, b->k * sizeof *matches);
  size_t *found = kin_array(b->data.queries, sizeof *found);
  kin_status status =
      kin_index_open_flat_coded(b->session.context, b->data.path, true, &b->data.key, &state, code, &index, err);
  out->opening = cli_now() - start;
  if (status == KIN_OK && (!seconds || !matches || !found))
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu matches", b->data.queries * b->k);
  if (status == KIN_OK) status = time_searches(b, index, seconds, matches, found, err);
  if (status == KIN_OK) {
    kin_index_stats stats;
    kin_index_statistics(index, &stats);
    out->bytes = stats.derived_bytes;
    out->least = seconds[0];
    out->median = seconds[b->rounds / 2];
    out->most = seconds[b->rounds - 1];
  }
  kin_index_close(index);
  free(seconds);
  free(matches);
  free(found);
  return status;
}

static json_t *describe(const search_bench *b, const char *name, const timing *t) {
  return json_pack("{ss sf sf sf sf sI}", "by", name, "seconds_min", t->least, "seconds_median", t->median,
                   "seconds_max", t->most, "queries_per_second", (double)b->data.queries / t->median, "code_bytes",
                   (json_int_t)t->bytes);
}

static int report(const search_bench *b) {
  kin_error err;
  json_t *results = json_array();
  bool ok = results != NULL;
  if (!b->common.json)
    printf("%zu vectors of %zu floats, k = %zu, %zu quer%s at once, %u threads, %s\n"
           "                    min    median       max ms   queries/s   code MB   coded in s\n",
           b->data.count, b->data.dim, b->k, b->data.queries, b->data.queries == 1 ? "y" : "ies",
           kin_context_threads(b->session.context), kin_context_isa_name(b->session.context));
  for (size_t i = 0; ok && i < N_KINDS; i++) {
    timing t;
    if (measure(b, kinds[i].code, &t, &err) != KIN_OK) {
      json_decref(results);
      return cli_failed(&err);
    }
    if (b->common.json)
      ok = json_array_append_new(results, describe(b, kinds[i].name, &t)) == 0;
    else
      printf("%-14s %8.3f  %8.3f  %8.3f    %9.1f  %8.1f  %8.2f\n", kinds[i].name, t.least * 1e3, t.median * 1e3,
             t.most * 1e3, (double)b->data.queries / t.median, (double)t.bytes * 1e-6, t.opening);
    fflush(stdout);
  }
  json_t *out = ok && b->common.json
                    ? json_pack("{sI sI sI sI sI sO}", "count", (json_int_t)b->data.count, "dim",
                                (json_int_t)b->data.dim, "k", (json_int_t)b->k, "queries", (json_int_t)b->data.queries,
                                "threads", (json_int_t)kin_context_threads(b->session.context), "results", results)
                    : NULL;
  json_decref(results);
  return b->common.json ? cli_print_json(out) : CLI_OK;
}

static int bench(const cli_command *command, search_bench *b, const cli_list *operands) {
  kin_error err;
  if (operands->count) return cli_usage_error(command, "nothing more to give: \"%s\"", operands->items[0]);
  if (!b->data.count || !b->data.dim || !b->k || !b->data.queries || !b->rounds)
    return cli_usage_error(command, "--count, --dim, -k, --queries and --rounds must be at least 1");
  int status = cli_open_context(&b->common, &b->session);
  if (status != CLI_OK) return status;
  status = cli_bench_vectors_make(&b->data, b->session.context, &err) == KIN_OK ? report(b) : cli_failed(&err);
  cli_bench_vectors_remove(&b->data);
  cli_session_close(&b->session);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  search_bench b = {.data = {.count = 100000, .dim = 512, .queries = 1}, .k = 10, .rounds = 20};
  const cli_option options[] = {
      {"count", 'n', CLI_COUNT, &b.data.count, "N", "vectors (default: 100000), made in $TMPDIR"},
      {"dim", 0, CLI_COUNT, &b.data.dim, "N", "floats in each (default: 512)"},
      {"top", 'k', CLI_COUNT, &b.k, "K", "matches for each query (default: 10)"},
      {"queries", 0, CLI_COUNT, &b.data.queries, "N", "queries at once (default: 1)"},
      {"rounds", 0, CLI_COUNT, &b.rounds, "N", "times to search (default: 20)"},
      {"threads", 0, CLI_FEW, &b.common.threads, "N", "threads to use (default: one for each CPU)"},
      {"json", 0, CLI_FLAG, &b.common.json, NULL, "print JSON"},
      {"isa", 0, CLI_ISA, &b.common.isa, "NAME", NULL},
      {"help", 'h', CLI_FLAG, &b.common.help, NULL, "show this help"},
  };
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &b.common, argc, argv, &operands, &status))
    status = bench(command, &b, &operands);
  cli_list_free(&operands);
  return status;
}

const cli_command cli_command_bench_search = {
    .name = "bench search",
    .usage = "[OPTION]...",
    .summary = "exact search in synthetic vectors",
    .details = "Make clustered vectors, the same on every machine, and time the exact search in\n"
               "them: by compact codes of 8 and of 16 bits, and by the vectors alone. All three\n"
               "answer alike.",
    .examples = "  kindred bench search\n"
                "  kindred bench search --count 1000000 --queries 200 --rounds 5\n",
    .run = run};
