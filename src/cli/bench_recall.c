/* kindred bench recall: what approximate indexes find of what the exact scan finds, and how fast. */
#include "cli/bench_recall.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t depths[RECALL_DEPTHS] = {1, 10, 100};

/* ----------------------------------------------------------------- measuring */

static kin_status search(const recall_bench *b, kin_index *index, const kin_ann_query *ann, size_t k,
                         recall_answer *out, kin_error *err) {
  kin_index_query query = {b->data.vectors, b->data.queries, k, NULL, ann};
  kin_status status = kin_index_search(index, &query, out->matches, out->n, err);
  return status == KIN_OK && cli_signal() ? kin_fail(err, KIN_ERR_CANCELLED, "stopped") : status;
}

/* The median of some rounds, in queries a second; the first search, which checks and reads in, doesn't count. */
static kin_status time_searches(const recall_bench *b, kin_index *index, const kin_ann_query *ann, recall_answer *room,
                                double *out, kin_error *err) {
  double seconds[RECALL_MOST_ROUNDS];
  kin_status status = search(b, index, ann, b->k, room, err);
  for (size_t i = 0; status == KIN_OK && i < b->rounds; i++) {
    double start = cli_now();
    status = search(b, index, ann, b->k, room, err);
    seconds[i] = cli_now() - start;
  }
  if (status != KIN_OK) return status;
  qsort(seconds, b->rounds, sizeof *seconds, cli_bench_compare);
  *out = (double)b->data.queries / seconds[b->rounds / 2];
  return KIN_OK;
}

/* The share of the first `depth` exact matches among the first `depth` others; of matches with equal scores any will
 * do. */
static double recall_of(const recall_bench *b, const recall_answer *exact, const recall_answer *other, size_t k,
                        size_t depth) {
  size_t found = 0, all = 0;
  for (size_t q = 0; q < b->data.queries; q++) {
    size_t n = exact->n[q] < depth ? exact->n[q] : depth;
    if (!n) continue;
    const kin_match *list = other->matches + q * k;
    float least = exact->matches[q * b->most + n - 1].score;
    all += n;
    for (size_t i = 0; i < n && i < other->n[q]; i++) found += list[i].score >= least;
  }
  return all ? (double)found / (double)all : 1;
}

static kin_status open_index(const recall_bench *b, kin_context *context, kin_index **out, kin_error *err) {
  kin_index_state state = {.rows = b->data.count};
  return kin_index_open_flat(context, b->data.path, true, &b->data.key, &state, out, err);
}

static kin_status measure_point(const recall_bench *b, const recall_answer *exact, recall_answer *room,
                                kin_index *all_threads, kin_index *one_thread, const kin_ann_query *ann,
                                recall_point *out, kin_error *err) {
  kin_status status = time_searches(b, one_thread, ann, room, &out->one_thread, err);
  if (status == KIN_OK) status = time_searches(b, all_threads, ann, room, &out->all_threads, err);
  for (size_t i = 0; status == KIN_OK && i < RECALL_DEPTHS; i++) {
    size_t k = depths[i] > b->k ? depths[i] : b->k; /* as it was timed, where that is deep enough */
    status = search(b, all_threads, ann, k, room, err);
    if (status == KIN_OK) out->recall[i] = recall_of(b, exact, room, k, depths[i]);
  }
  return status;
}

/* ------------------------------------------------------------------- indexes */

/* What makes an index of this kind look further. */
static void list_efforts(const char *factory, recall_curve *out) {
  const char *ivf = strstr(factory, "IVF");
  size_t lists = ivf ? (size_t)strtoul(ivf + 3, NULL, 10) : 0;
  out->n = 0;
  out->probes = ivf != NULL;
  if (ivf)
    for (size_t probes = 1; probes <= lists && out->n + 1 < RECALL_MOST_POINTS; probes *= 2)
      out->points[out->n++].effort = probes;
  else if (strstr(factory, "HNSW"))
    for (size_t ef = 16; ef <= 1024; ef *= 2) out->points[out->n++].effort = ef;
  out->points[out->n++].effort = 0;
}

static kin_status build(const recall_bench *b, kin_index *index, recall_curve *out, kin_error *err) {
  cli_stages stages = {.quiet = b->common.quiet};
  kin_index_build how = {.factory = out->factory, .on_progress = cli_stages_update, .user = &stages};
  double start = cli_now();
  kin_status status = kin_index_optimize(index, &how, err);
  out->build_seconds = cli_now() - start;
  cli_stages_stop(&stages);
  return status;
}

static kin_status measure_curve(recall_bench *b, const recall_answer *exact, recall_answer *room, recall_curve *out,
                                kin_error *err) {
  kin_index *all_threads = NULL, *one_thread = NULL;
  kin_index_stats stats;
  kin_status status = open_index(b, b->session.context, &all_threads, err);
  if (status == KIN_OK && out->factory) status = build(b, all_threads, out, err);
  if (status == KIN_OK) status = open_index(b, b->single, &one_thread, err);
  if (out->factory)
    list_efforts(out->factory, out);
  else
    out->n = 1;
  for (size_t i = 0; status == KIN_OK && i < out->n; i++) {
    size_t effort = out->points[i].effort;
    kin_ann_query ann = {.factory = out->factory, .probes = out->probes ? effort : 0, .ef = out->probes ? 0 : effort};
    status = measure_point(b, exact, room, all_threads, one_thread, out->factory ? &ann : NULL, &out->points[i], err);
  }
  if (status == KIN_OK) {
    kin_index_statistics(all_threads, &stats);
    out->bytes = stats.derived_bytes - (out->factory ? b->curves[0].bytes : 0);
    out->memory_bytes = stats.memory_bytes - (out->factory ? b->curves[0].memory_bytes : 0);
  }
  kin_index_close(all_threads);
  kin_index_close(one_thread);
  return status;
}

static bool make_answer(const recall_bench *b, recall_answer *out) {
  out->matches = kin_array(b->data.queries, b->most * sizeof *out->matches);
  out->n = kin_array(b->data.queries, sizeof *out->n);
  return out->matches && out->n;
}

static void free_answer(recall_answer *a) {
  free(a->matches);
  free(a->n);
}

static kin_status measure(recall_bench *b, kin_error *err) {
  kin_index *index = NULL;
  recall_answer exact = {0}, room = {0};
  b->most = b->k > depths[RECALL_DEPTHS - 1] ? b->k : depths[RECALL_DEPTHS - 1];
  kin_status status = KIN_OK;
  if (!make_answer(b, &exact) || !make_answer(b, &room))
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu queries", b->data.queries);
  if (status == KIN_OK) status = open_index(b, b->session.context, &index, err);
  if (status == KIN_OK) status = search(b, index, NULL, b->most, &exact, err);
  kin_index_close(index);
  for (size_t i = 0; status == KIN_OK && i < b->n_curves; i++) {
    status = measure_curve(b, &exact, &room, &b->curves[i], err);
    if (status == KIN_OK && !b->common.json) recall_print(b, i);
  }
  free_answer(&exact);
  free_answer(&room);
  return status;
}

/* ------------------------------------------------------------------- command */

/* The exact scan, then the indexes that were asked for. */
static int list_curves(recall_bench *b, const cli_list *factories) {
  size_t n = factories->count ? factories->count : 2;
  b->curves = calloc(n + 1, sizeof *b->curves);
  if (!b->curves) {
    cli_error("out of memory");
    return CLI_FAILED;
  }
  size_t lists = 16;
  while (lists * lists < 8 * b->data.count) lists *= 2; /* about four times the root */
  snprintf(b->ivf, sizeof b->ivf, "IVF%zu,SQ8", lists);
  const char *const usual[] = {"HNSW32", b->ivf};
  for (size_t i = 0; i < n; i++) b->curves[i + 1].factory = factories->count ? factories->items[i] : usual[i];
  b->n_curves = n + 1;
  return CLI_OK;
}

static int bench(recall_bench *b, const cli_list *factories) {
  kin_error err;
  cli_output svg = {0};
  int status = b->svg ? cli_output_open(b->svg, &svg) : CLI_OK;
  if (status == CLI_OK) status = cli_open_context(&b->common, &b->session);
  if (status == CLI_OK &&
      kin_context_open(&(kin_context_options){.threads = 1, .isa = b->common.isa}, &b->single, &err) != KIN_OK)
    status = cli_failed(&err);
  if (status == CLI_OK && cli_bench_vectors_make(&b->data, b->session.context, &err) != KIN_OK)
    status = cli_failed(&err);
  if (status == CLI_OK) status = list_curves(b, factories);
  if (status == CLI_OK && measure(b, &err) != KIN_OK) status = cli_failed(&err);
  if (status == CLI_OK && b->svg) status = recall_draw(b, &svg);
  if (status == CLI_OK && b->common.json) status = cli_print_json(recall_describe(b));
  cli_output_close(&svg);
  cli_bench_vectors_remove(&b->data);
  free(b->curves);
  kin_context_close(b->single);
  cli_session_close(&b->session);
  return status;
}

static int check(const cli_command *command, const recall_bench *b, const cli_list *operands) {
  if (operands->count) return cli_usage_error(command, "nothing more to give: \"%s\"", operands->items[0]);
  if (!b->data.count || !b->data.dim || !b->k || !b->data.queries || !b->rounds)
    return cli_usage_error(command, "--count, --dim, -k, --queries and --rounds must be at least 1");
  if (b->rounds > RECALL_MOST_ROUNDS)
    return cli_usage_error(command, "--rounds %zu: expected at most %d", b->rounds, RECALL_MOST_ROUNDS);
  if (b->data.collection && !b->data.store) return cli_usage_error(command, "--collection of what? give --store FILE");
  return CLI_OK;
}

static int run(const cli_command *command, int argc, char **argv) {
  recall_bench b = {.data = {.count = 100000, .dim = 512, .queries = 500}, .k = 10, .rounds = 3};
  cli_list factories = {0}, operands = {0};
  const cli_option options[] = {
      {"ann", 0, CLI_LIST, &factories, "FACTORY",
       "an index to measure, by a factory string of FAISS; may\nbe given again (default: HNSW32 and IVF...,SQ8)"},
      {"store", 's', CLI_TEXT, &b.data.store, "FILE", "take a store's vectors; some become queries"},
      {"collection", 'c', CLI_TEXT, &b.data.collection, "MODEL", "of this model"},
      {"count", 'n', CLI_COUNT, &b.data.count, "N", "synthetic vectors (default: 100000), made in $TMPDIR"},
      {"dim", 0, CLI_COUNT, &b.data.dim, "N", "floats in each (default: 512)"},
      {"top", 'k', CLI_COUNT, &b.k, "K", "matches of the searches that are timed (default: 10)"},
      {"queries", 0, CLI_COUNT, &b.data.queries, "N", "queries, all in one call (default: 500)"},
      {"rounds", 0, CLI_COUNT, &b.rounds, "N", "times to search (default: 3); the median counts"},
      {"svg", 0, CLI_TEXT, &b.svg, "FILE", "draw queries a second over recall@10"},
      {"threads", 0, CLI_FEW, &b.common.threads, "N", "threads to use (default: one for each CPU)"},
      {"json", 0, CLI_FLAG, &b.common.json, NULL, "print JSON"},
      {"quiet", 'q', CLI_FLAG, &b.common.quiet, NULL, "print no progress"},
      {"isa", 0, CLI_ISA, &b.common.isa, "NAME", NULL},
      {"help", 'h', CLI_FLAG, &b.common.help, NULL, "show this help"},
  };
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &b.common, argc, argv, &operands, &status)) {
    status = check(command, &b, &operands);
    if (status == CLI_OK) status = bench(&b, &factories);
  }
  cli_list_free(&operands);
  cli_list_free(&factories);
  return status;
}

const cli_command cli_command_bench_recall = {
    .name = "bench recall",
    .usage = "[OPTION]...",
    .summary = "what approximate indexes find, and how fast",
    .details = "Build approximate indexes of clustered vectors, the same on every machine, or of a\n"
               "store's (the store isn't changed), and compare them with the exact scan: the share\n"
               "of the nearest 1, 10 and 100 that they find (recall), and queries a second by one\n"
               "thread and by all, for several efforts (ef of HNSW, probes of IVF).",
    .examples = "  kindred bench recall\n"
                "  kindred bench recall --count 1000000 --ann HNSW32 --ann IVF4096,PQ64 --svg recall.svg\n"
                "  kindred bench recall --store photos.db --ann HNSW16 --ann HNSW48\n",
    .run = run};
