/* kindred cluster: groups of photos, texts or vectors that are alike. */
#include "cli/cluster.h"

#include "cli/items.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_K = 100000 };

static const char *const methods[] = {"kmeans", "minibatch", "hdbscan", "agglomerative"};

const char *cluster_method_name(const cluster_job *j) {
  return methods[j->method];
}

const char *cluster_word(const cluster_job *j, size_t cluster, size_t i) {
  return j->names && i < j->n_names ? j->words.items[j->names[cluster * j->n_names + i]] : NULL;
}

static int out_of_memory(const cluster_job *j) {
  cli_error("out of memory for the clusters of %zu items", j->v.set.n);
  return CLI_FAILED;
}

/* -------------------------------------------------------------- clustering */

static bool on_iteration(void *user, size_t start, size_t iteration) {
  (void)user;
  cli_progress_update((cli_progress){.done = iteration, .worked = iteration});
  (void)start;
  return !cli_signal();
}

static bool on_connected(void *user, double done) {
  const cluster_job *j = user;
  const uint64_t connected = (uint64_t)(done * (double)j->v.set.n);
  cli_progress_update((cli_progress){.done = connected, .total = j->v.set.n, .worked = connected});
  return !cli_signal();
}

static kin_status choose_k(cluster_job *j, kin_error *err) {
  const kin_kmeans_options options = {.metric = j->metric, .seed = j->seed, .on_progress = on_iteration};
  cli_progress_start("choosing k", j->common.quiet);
  const kin_status status =
      kin_choose_k(j->v.session.context, &j->v.set, &options, &j->k, j->scores, &j->n_scores, err);
  cli_progress_stop();
  return status;
}

static kin_status find_clusters(cluster_job *j, kin_error *err) {
  kin_context *context = j->v.session.context;
  const kin_kmeans_options kmeans = {.metric = j->metric,
                                     .k = j->k,
                                     .starts = j->starts,
                                     .seed = j->seed,
                                     .batch = j->method == METHOD_MINIBATCH ? j->batch : 0,
                                     .on_progress = on_iteration};
  const kin_hdbscan_options hdbscan = {.metric = j->metric,
                                       .min_cluster_size = j->min_size,
                                       .min_samples = j->min_samples,
                                       .on_progress = on_connected,
                                       .user = j};
  switch (j->method) {
  case METHOD_HDBSCAN:
    return kin_hdbscan(context, &j->v.set, &hdbscan, &j->clusters, err);
  case METHOD_AGGLOMERATIVE:
    return kin_agglomerate(context, &j->v.set, j->metric, j->linkage, j->k, &j->clusters, err);
  case METHOD_KMEANS:
  case METHOD_MINIBATCH:
    break;
  }
  return kin_kmeans(context, &j->v.set, &kmeans, &j->clusters, err);
}

/* ---------------------------------------------------------------- measuring */

typedef struct placed {
  size_t item;
  uint32_t cluster;
  double distance;
} placed;

static int by_cluster(const void *a, const void *b) {
  const placed *x = a, *y = b;
  if (x->cluster != y->cluster) return x->cluster < y->cluster ? -1 : 1;
  if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
  return x->item < y->item ? -1 : x->item > y->item;
}

/* Fill `order` and `first`. */
static bool put_in_order(cluster_job *j) {
  const size_t n = j->v.set.n, k = j->clusters.k;
  placed *all = calloc(n, sizeof *all);
  j->order = calloc(n, sizeof *j->order), j->first = calloc(k + 2, sizeof *j->first);
  if (all && j->order && j->first) {
    for (size_t i = 0; i < n; i++) all[i] = (placed){i, j->clusters.labels[i], j->distances ? j->distances[i] : 0};
    qsort(all, n, sizeof *all, by_cluster);
    for (size_t i = 0; i < n; i++) j->order[i] = all[i].item;
    for (size_t c = 0, i = 0; c <= k; c++) {
      j->first[c] = i;
      while (c < k && i < n && all[i].cluster == c) i++;
    }
    j->first[k + 1] = n;
  }
  free(all);
  return j->order && j->first;
}

/* Silhouette and Davies-Bouldin of what isn't noise. */
static kin_status measure_quality(cluster_job *j, kin_error *err) {
  const size_t n = j->v.set.n, dim = j->v.set.dim, kept = j->first[j->clusters.k];
  if (j->clusters.k < 2 || j->clusters.k >= kept) return KIN_OK;
  float *values = j->v.values;
  const uint32_t *labels = j->clusters.labels;
  float *part = NULL;
  uint32_t *part_labels = NULL;
  if (kept < n) { /* without noise */
    part = calloc(kept, dim * sizeof *part), part_labels = calloc(kept, sizeof *part_labels);
    for (size_t i = 0; part && part_labels && i < kept; i++) {
      memcpy(part + i * dim, values + j->order[i] * dim, dim * sizeof *part);
      part_labels[i] = labels[j->order[i]];
    }
  }
  kin_status status = KIN_OK;
  if (kept < n && (!part || !part_labels)) {
    err->status = status = KIN_ERR_MEMORY;
    snprintf(err->message, sizeof err->message, "out of memory for %zu vectors", kept);
  }
  const kin_vector_set set = {part ? part : values, kept, dim};
  const uint32_t *of_set = part ? part_labels : labels;
  kin_context *context = j->v.session.context;
  /* Of Euclidean distances every pair would be looked at. */
  const bool all_pairs = j->metric == KIN_METRIC_EUCLIDEAN && kept > 20000;
  if (status == KIN_OK && !all_pairs)
    status = kin_silhouette(context, &set, j->metric, of_set, j->clusters.k, &j->silhouette, err);
  if (all_pairs) j->silhouette = NAN;
  if (status == KIN_OK) status = kin_davies_bouldin(context, &set, of_set, j->clusters.k, &j->davies_bouldin, err);
  j->measured = status == KIN_OK;
  free(part), free(part_labels);
  return status;
}

static kin_status measure_agreement(cluster_job *j, kin_error *err) {
  if (!j->v.labels) return KIN_OK;
  uint32_t *mine = calloc(j->v.set.n, sizeof *mine), *known = calloc(j->v.set.n, sizeof *known);
  kin_status status = KIN_OK;
  if (!mine || !known) {
    err->status = status = KIN_ERR_MEMORY;
    snprintf(err->message, sizeof err->message, "out of memory for %zu labels", j->v.set.n);
  }
  for (size_t i = 0; status == KIN_OK && i < j->v.set.n; i++)
    if (j->v.labels[i] != CLI_NO_LABEL)
      mine[j->n_labelled] = j->clusters.labels[i], known[j->n_labelled++] = j->v.labels[i];
  if (status == KIN_OK) status = kin_compare_labels(mine, known, j->n_labelled, &j->agreement, err);
  free(mine), free(known);
  return status;
}

static int measure(cluster_job *j) {
  const size_t k = j->clusters.k;
  kin_error err;
  kin_status status = KIN_OK;
  if (k) {
    j->infos = calloc(k, sizeof *j->infos), j->centres = calloc(k, j->v.set.dim * sizeof *j->centres);
    j->distances = calloc(j->v.set.n, sizeof *j->distances);
    if (!j->infos || !j->centres || !j->distances) return out_of_memory(j);
    status = kin_describe_clusters(j->v.session.context, &j->v.set, j->metric, j->clusters.labels, k, j->infos,
                                   j->centres, j->distances, &err);
  }
  if (status == KIN_OK && !put_in_order(j)) return out_of_memory(j);
  if (status == KIN_OK) status = measure_quality(j, &err);
  if (status == KIN_OK) status = measure_agreement(j, &err);
  return status == KIN_OK ? CLI_OK : cli_failed(&err);
}

/* ------------------------------------------------------------------ naming */

static bool take_default_words(cli_lines *words) {
  size_t n = 0;
  while (cluster_default_word(n)) n++;
  words->items = calloc(n, sizeof *words->items);
  for (; words->items && words->n < n; words->n++)
    if (!(words->items[words->n] = strdup(cluster_default_word(words->n)))) return false;
  return words->items != NULL;
}

/* Lines without a word are no words. */
static void drop_empty(cli_lines *words) {
  size_t kept = 0;
  for (size_t i = 0; i < words->n; i++) {
    if (strspn(words->items[i], " \t") < strlen(words->items[i]))
      words->items[kept++] = words->items[i];
    else
      free(words->items[i]);
  }
  words->n = kept;
}

/* Words by the centres of pictures go into a sentence, as captions do. */
static int embed_words(cluster_job *j, float *out) {
  const bool pictures = j->v.items[0].is_picture || !j->v.items[0].text;
  char **texts = calloc(j->words.n, sizeof *texts);
  int status = texts ? CLI_OK : out_of_memory(j);
  for (size_t i = 0; status == CLI_OK && i < j->words.n; i++) {
    const size_t size = strlen(j->words.items[i]) + 16;
    if (!(texts[i] = malloc(size))) status = out_of_memory(j);
    if (texts[i]) snprintf(texts[i], size, pictures ? "a photo of %s" : "%s", j->words.items[i]);
  }
  if (status == CLI_OK) status = cli_vectors_embed_texts(&j->v, (const char *const *)texts, j->words.n, out);
  for (size_t i = 0; texts && i < j->words.n; i++) free(texts[i]);
  free(texts);
  return status;
}

static int name_clusters(cluster_job *j) {
  if (j->clusters.k == 0 || (!j->words_file && !cli_vectors_has_texts(&j->v))) return CLI_OK;
  int status = CLI_OK;
  if (j->words_file)
    status = cli_lines_read(j->words_file, &j->words);
  else if (!take_default_words(&j->words))
    status = out_of_memory(j);
  if (status != CLI_OK) return status;
  drop_empty(&j->words);
  if (j->words.n == 0) {
    cli_error("%s holds no words", j->words_file);
    return CLI_FAILED;
  }
  j->n_names = j->words.n < CLUSTER_WORDS ? j->words.n : CLUSTER_WORDS;
  float *vectors = calloc(j->words.n, j->v.set.dim * sizeof *vectors);
  j->names = calloc(j->clusters.k, j->n_names * sizeof *j->names);
  status = vectors && j->names ? embed_words(j, vectors) : out_of_memory(j);
  kin_error err;
  if (status == CLI_OK && kin_name_clusters(j->centres, j->clusters.k, vectors, j->words.n, j->v.set.dim, j->n_names,
                                            j->names, &err) != KIN_OK)
    status = cli_failed(&err);
  free(vectors);
  return status;
}

/* ----------------------------------------------------------------- command */

static int compute(void *job) {
  cluster_job *j = job;
  kin_error err;
  const double start = cli_now();
  kin_status status = j->centre ? kin_center(j->v.values, j->v.set.n, j->v.set.dim, &err) : KIN_OK;
  if (status == KIN_OK && !j->k && j->method != METHOD_HDBSCAN) status = choose_k(j, &err);
  cli_progress_start("clustering", j->common.quiet);
  if (status == KIN_OK) status = find_clusters(j, &err);
  cli_progress_stop();
  if (status != KIN_OK) return cli_failed(&err);
  j->seconds = cli_now() - start;
  int result = measure(j);
  return result == CLI_OK ? name_clusters(j) : result;
}

static int report(void *job, cli_output *csv, cli_page *page) {
  cluster_job *j = job;
  int status = CLI_OK;
  json_t *json = j->common.json ? cluster_describe(j) : NULL;
  if (j->common.json && !json) return out_of_memory(j);
  if (!j->common.json && !j->common.quiet) cluster_print(j);
  if (csv->file) cluster_write_csv(j, csv->file), status = cli_output_commit(csv);
  if (status == CLI_OK && j->html) status = cluster_write_page(j, page);
  if (status == CLI_OK && (j->move || j->link)) status = cluster_sort_files(j, json);
  if (status == CLI_OK && json) return cli_print_json(json);
  json_decref(json);
  return status;
}

static int check_choice(const cli_command *command, cluster_job *j) {
  kin_error err;
  size_t i = 0;
  while (i < sizeof methods / sizeof *methods && strcmp(methods[i], j->method_name) != 0) i++;
  if (i == sizeof methods / sizeof *methods)
    return cli_usage_error(command, "--method %s is not one of kmeans, minibatch, hdbscan, agglomerative",
                           j->method_name);
  j->method = (cluster_method)i;
  const int status = cli_metric_parse(command, j->metric_name, &j->metric);
  if (status != CLI_OK) return status;
  if (kin_linkage_parse(j->linkage_name, &j->linkage, &err) != KIN_OK)
    return cli_usage_error(command, "%s", err.message);
  char *end;
  const unsigned long k = j->k_text && strcmp(j->k_text, "auto") != 0 ? strtoul(j->k_text, &end, 10) : 0;
  if (j->k_text && strcmp(j->k_text, "auto") != 0 && (*end || *j->k_text == '-' || k < 1 || k > MOST_K))
    return cli_usage_error(command, "--k must be auto or 1 to %d, not %s", MOST_K, j->k_text);
  j->k = k;
  if (j->k_text && j->method == METHOD_HDBSCAN)
    return cli_usage_error(command, "HDBSCAN finds the number of clusters itself: leave out --k");
  if (j->min_size < 2) return cli_usage_error(command, "--min-cluster-size must be at least 2");
  if (j->batch < 1) return cli_usage_error(command, "--batch must be at least 1");
  if (j->move && j->link) return cli_usage_error(command, "give --move or --link, not both");
  if (j->yes && !j->move && !j->link) return cli_usage_error(command, "--yes goes with --move or --link");
  return CLI_OK;
}

static int cluster(const cli_command *command, cluster_job *j, const cli_list *operands) {
  const cli_analysis analysis = {&j->common, &j->input, j->csv, j->html, &j->v, j, compute, report};
  const int status = check_choice(command, j);
  return status == CLI_OK ? cli_analyse(command, &analysis, operands) : status;
}

static void release(cluster_job *j) {
  cli_vectors_close(&j->v);
  cli_vectors_options_free(&j->input);
  kin_clustering_free(&j->clusters);
  cli_lines_free(&j->words);
  free(j->infos), free(j->centres), free(j->distances), free(j->order), free(j->first), free(j->names);
}

static int run(const cli_command *command, int argc, char **argv) {
  cluster_job *j = calloc(1, sizeof *j);
  if (!j) return CLI_FAILED;
  j->method_name = "kmeans", j->metric_name = "cosine", j->linkage_name = "average";
  j->min_size = 5, j->batch = 1024, j->shown = 3;
  const cli_option options[] = {
      {"k", 'k', CLI_TEXT, &j->k_text, "N", "clusters, or auto: by silhouette (default)"},
      {"method", 0, CLI_TEXT, &j->method_name, "NAME", "kmeans (default), minibatch, hdbscan or agglomerative"},
      {"metric", 0, CLI_TEXT, &j->metric_name, "NAME", "cosine (default) or euclidean"},
      {"linkage", 0, CLI_TEXT, &j->linkage_name, "NAME", "average (default), complete, single or ward"},
      {"min-cluster-size", 0, CLI_COUNT, &j->min_size, "N", "of HDBSCAN (default: 5)"},
      {"min-samples", 0, CLI_COUNT, &j->min_samples, "N", "of HDBSCAN (default: --min-cluster-size)"},
      {"starts", 0, CLI_FEW, &j->starts, "N",
       "k-means from so many seeds; the best is kept\n(default: 4; minibatch: 3)"},
      {"batch", 0, CLI_COUNT, &j->batch, "N", "vectors in a step of minibatch (default: 1024)"},
      {"seed", 0, CLI_COUNT, &j->seed, "N", "another seed, other starts (default: 0)"},
      {"centre", 0, CLI_FLAG, &j->centre, NULL, "subtract the mean of all vectors first"},
      {"words", 0, CLI_TEXT, &j->words_file, "FILE",
       "name clusters by these, a line each, where the model\nhas a text tower (default: some hundred of ours)"},
      {"show", 'n', CLI_FEW, &j->shown, "N", "most central and remote items to name (default: 3)"},
      {"csv", 0, CLI_TEXT, &j->csv, "FILE", "write a line for each item"},
      {"html", 0, CLI_TEXT, &j->html, "FILE", "write a page with the pictures"},
      {"move", 0, CLI_TEXT, &j->move, "DIR",
       "move the files into a folder for each cluster; only\nshown without --yes"},
      {"link", 0, CLI_TEXT, &j->link, "DIR", "the same with symbolic links"},
      {"yes", 'y', CLI_FLAG, &j->yes, NULL, "do what --move or --link shows"},
      CLI_VECTORS_OPTIONS(j->input),
      CLI_POOLING_OPTION(j->common),
      CLI_COMMON_OPTIONS(j->common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &j->common, argc, argv, &operands, &status))
    status = cluster(command, j, &operands);
  cli_list_free(&operands);
  release(j);
  free(j);
  return status;
}

const cli_command cli_command_cluster = {
    .name = "cluster",
    .usage = CLI_VECTORS_USAGE,
    .summary = "find groups of photos or texts that are alike",
    .details = "Cluster photos or texts (embedded now with --model), what a store holds, or the\n"
               "rows of a .npy file. Without --k the number of clusters is chosen by the\n"
               "silhouette of a sample, and the curve shown. Each cluster is shown with its\n"
               "size, its spread (mean distance to its centre), its most central items, and\n"
               "words for it where the model has a text tower. --move and --link sort the files\n"
               "into folders; without --yes they only show what they would do, and they never\n"
               "overwrite a file. Exit status 3 if some inputs couldn't be read.",
    .examples = "  kindred cluster ~/Photos --html clusters.html\n"
                "  kindred cluster --store kindred.db --k 20 --csv clusters.csv\n"
                "  kindred cluster vectors.npy --method hdbscan --min-cluster-size 10\n"
                "  kindred cluster ~/Photos --k 8 --link sorted --yes\n",
    .run = run};
