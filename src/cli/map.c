/* kindred map: photos, texts or vectors on a plane, where what is alike lies together. */
#include "cli/map.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Trustworthiness looks at every pair. */
enum { MOST_MEASURED = 10000, UNIQUE_BY = 3 };

static int out_of_memory(const map_job *j) {
  cli_error("out of memory for a map of %zu items", j->v.set.n);
  return CLI_FAILED;
}

static bool wants_uniqueness(const map_job *j) {
  return j->html || j->colours == MAP_UNIQUENESS;
}

/* --------------------------------------------------------------- computing */

static bool on_share(void *user, double done) {
  const map_job *j = user;
  const uint64_t items = (uint64_t)(done * (double)j->v.set.n);
  cli_progress_update((cli_progress){.done = items, .total = j->v.set.n, .worked = items});
  return !cli_signal();
}

static bool on_iteration(void *user, size_t start, size_t iteration) {
  (void)user, (void)start;
  cli_progress_update((cli_progress){.done = iteration, .worked = iteration});
  return !cli_signal();
}

/* Those that UMAP and uniqueness both take. */
static kin_status find_near(map_job *j, kin_error *err) {
  const size_t n = j->v.set.n, wanted = j->pca ? 0 : j->neighbours ? j->neighbours - 1 : 14;
  const size_t each = !wants_uniqueness(j) || wanted > UNIQUE_BY ? wanted : UNIQUE_BY;
  j->near_each = each < n ? each : n - 1;
  if (j->near_each == 0) return KIN_OK;
  const kin_near_options options = {
      .metric = j->metric, .k = j->near_each, .search = j->search, .on_progress = on_share, .user = j};
  if (!(j->near = calloc(n, j->near_each * sizeof *j->near))) {
    snprintf(err->message, sizeof err->message, "out of memory for the neighbours of %zu items", n);
    return err->status = KIN_ERR_MEMORY;
  }
  cli_progress_start("finding neighbours", j->common.quiet);
  const kin_status status = kin_near_others(j->v.session.context, &j->v.set, &options, j->near, &j->recall, err);
  cli_progress_stop();
  return status;
}

static kin_status find_points(map_job *j, kin_error *err) {
  double total;
  if (j->pca) {
    const kin_status status = kin_pca(j->v.session.context, &j->v.set, 2, j->points, NULL, j->variances, &total, err);
    for (int i = 0; status == KIN_OK && i < 2; i++) j->variances[i] = total > 0 ? j->variances[i] / total : 0;
    return status;
  }
  const kin_umap_options options = {.metric = j->metric,
                                    .neighbours = j->neighbours,
                                    .min_dist = j->min_dist > 0 ? j->min_dist : -1,
                                    .seed = j->seed,
                                    .near = j->near,
                                    .near_each = j->near_each,
                                    .on_progress = on_share,
                                    .user = j};
  cli_progress_start("mapping", j->common.quiet);
  const kin_status status = kin_umap(j->v.session.context, &j->v.set, &options, j->points, err);
  cli_progress_stop();
  return status;
}

/* Of items spread evenly over all, where there are too many. */
static int measure_trust(map_job *j) {
  const size_t n = j->v.set.n, dim = j->v.set.dim, m = n < MOST_MEASURED ? n : MOST_MEASURED;
  float *values = calloc(m, dim * sizeof *values), *points = calloc(m, 2 * sizeof *points);
  int status = values && points ? CLI_OK : out_of_memory(j);
  for (size_t i = 0; status == CLI_OK && i < m; i++) {
    const size_t item = i * n / m;
    memcpy(values + i * dim, j->v.values + item * dim, dim * sizeof *values);
    memcpy(points + 2 * i, j->points + 2 * item, 2 * sizeof *points);
  }
  const kin_vector_set set = {values, m, dim}, map = {points, m, 2};
  kin_error err;
  if (status == CLI_OK &&
      kin_trustworthiness(j->v.session.context, &set, j->metric, &map, j->trusted, &j->trustworthiness, &err) != KIN_OK)
    status = cli_failed(&err);
  j->measured = m;
  free(values), free(points);
  return status;
}

static kin_status find_clusters(map_job *j, kin_error *err) {
  kin_kmeans_options options = {.metric = j->metric, .seed = j->seed, .on_progress = on_iteration};
  kin_k_score scores[KIN_MAX_K_SCORES];
  size_t n_scores;
  cli_progress_start("clustering", j->common.quiet);
  kin_status status = kin_choose_k(j->v.session.context, &j->v.set, &options, &options.k, scores, &n_scores, err);
  if (status == KIN_OK) status = kin_kmeans(j->v.session.context, &j->v.set, &options, &j->clusters, err);
  cli_progress_stop();
  return status;
}

static kin_status find_uniqueness(map_job *j, kin_error *err) {
  const size_t n = j->v.set.n, by = j->near_each < UNIQUE_BY ? j->near_each : UNIQUE_BY;
  if (n > 1) return kin_uniqueness_of_near(j->near, n, j->near_each, by, j->uniqueness, err);
  j->uniqueness[0] = INFINITY;
  return KIN_OK;
}

/* Of the vectors as they are, which --centre changes. */
static kin_status find_anomalies(map_job *j, kin_error *err) {
  kin_context *context = j->v.session.context;
  const kin_status status = kin_detector_check(j->detector, j->v.model_id[0] ? j->v.model_id : NULL, j->v.set.dim, err);
  return status == KIN_OK ? kin_detector_score(context, j->detector, &j->v.set, j->anomaly, NULL, err) : status;
}

static int compute(void *job) {
  map_job *j = job;
  const size_t n = j->v.set.n;
  kin_error err;
  const double start = cli_now();
  if (!(j->points = calloc(n, 2 * sizeof *j->points))) return out_of_memory(j);
  if (j->detector && !(j->anomaly = calloc(n, sizeof *j->anomaly))) return out_of_memory(j);
  kin_status status = j->detector ? find_anomalies(j, &err) : KIN_OK;
  if (status == KIN_OK && j->centre) status = kin_center(j->v.values, n, j->v.set.dim, &err);
  if (status == KIN_OK) status = find_near(j, &err);
  if (status == KIN_OK) status = find_points(j, &err);
  j->seconds = cli_now() - start;
  if (status == KIN_OK && j->trusted) {
    const int measured = measure_trust(j);
    if (measured != CLI_OK) return measured;
  }
  if (status == KIN_OK && (j->html || j->colours == MAP_CLUSTER)) status = find_clusters(j, &err);
  if (status == KIN_OK && wants_uniqueness(j)) {
    if (!(j->uniqueness = calloc(n, sizeof *j->uniqueness))) return out_of_memory(j);
    status = find_uniqueness(j, &err);
  }
  if (status != KIN_OK) return cli_failed(&err);
  map_find_scales(j);
  return cli_signal() ? cli_stopped() : CLI_OK;
}

static int report(void *job, cli_output *csv, cli_page *page) {
  map_job *j = job;
  int status = CLI_OK;
  if (csv->file) map_write_csv(j, csv->file), status = cli_output_commit(csv);
  if (status == CLI_OK && j->svg) status = map_write_svg(j, &j->svg_file);
  if (status == CLI_OK && j->png) status = map_write_png(j, &j->png_file);
  if (status == CLI_OK && j->html) status = map_write_page(j, page);
  if (status != CLI_OK) return status;
  if (j->common.json) return cli_print_json(map_describe(j));
  if (!j->common.quiet) map_print(j, !j->csv && !j->html && !j->svg && !j->png);
  return CLI_OK;
}

/* ----------------------------------------------------------------- command */

static int check_colours(const cli_command *command, map_job *j) {
  if (!j->colour_name) {
    const bool drawn = j->html || j->svg || j->png;
    j->colours = j->detector_path ? MAP_ANOMALY : j->input.labels ? MAP_LABEL : drawn ? MAP_CLUSTER : MAP_PLAIN;
    return CLI_OK;
  }
  if (strcmp(j->colour_name, "folder") == 0) {
    if (j->input.labels && strcmp(j->input.labels, "folders") != 0)
      return cli_usage_error(command, "--colour-by folder doesn't go with --labels-from FILE; give label");
    j->colour_name = "label", j->input.labels = "folders";
  }
  for (j->colours = MAP_PLAIN; j->colours < MAP_COLOURS; j->colours++)
    if (strcmp(j->colour_name, map_colours_name(j->colours)) == 0) break;
  if (j->colours == MAP_COLOURS)
    return cli_usage_error(command,
                           "--colour-by %s is not label, folder, cluster, date, uniqueness,"
                           " anomaly or none",
                           j->colour_name);
  if (j->colours == MAP_LABEL && !j->input.labels)
    return cli_usage_error(command, "--colour-by label needs --labels-from");
  if (j->colours == MAP_ANOMALY && !j->detector_path)
    return cli_usage_error(command, "--colour-by anomaly needs --detector, a file of 'kindred anomalies fit'");
  return CLI_OK;
}

static int check_search(const cli_command *command, map_job *j) {
  static const char *const names[] = {"auto", "exact", "approximate"};
  for (j->search = KIN_NEAR_AUTO; j->search <= KIN_NEAR_APPROXIMATE; j->search++)
    if (strcmp(j->search_name, names[j->search]) == 0) return CLI_OK;
  return cli_usage_error(command, "--search %s is not auto, exact or approximate", j->search_name);
}

static int check_choice(const cli_command *command, map_job *j) {
  int status = cli_metric_parse(command, j->metric_name, &j->metric);
  if (status == CLI_OK) status = check_search(command, j);
  if (status != CLI_OK) return status;
  j->pca = strcmp(j->method_name, "pca") == 0;
  if (!j->pca && strcmp(j->method_name, "umap") != 0)
    return cli_usage_error(command, "--method %s is not umap or pca", j->method_name);
  if (j->neighbours == 1) return cli_usage_error(command, "--neighbours must be at least 2: an item is its own first");
  if (!(j->min_dist >= 0 && j->min_dist <= 1)) return cli_usage_error(command, "--min-dist must be 0 to 1");
  if (j->side < 64 || j->side > 8192) return cli_usage_error(command, "--size must be 64 to 8192");
  return check_colours(command, j);
}

static int map(const cli_command *command, map_job *j, const cli_list *operands) {
  const cli_analysis analysis = {&j->common, &j->input, j->csv, j->html, &j->v, j, compute, report};
  kin_error err;
  int status = check_choice(command, j);
  if (status == CLI_OK && j->detector_path && kin_detector_open(j->detector_path, &j->detector, &err) != KIN_OK)
    status = cli_failed(&err);
  if (status == CLI_OK && j->svg) status = cli_output_open(j->svg, &j->svg_file);
  if (status == CLI_OK && j->png) status = cli_output_open(j->png, &j->png_file);
  return status == CLI_OK ? cli_analyse(command, &analysis, operands) : status;
}

static void release(map_job *j) {
  cli_vectors_close(&j->v);
  cli_vectors_options_free(&j->input);
  cli_output_close(&j->svg_file), cli_output_close(&j->png_file);
  kin_clustering_free(&j->clusters);
  kin_detector_close(j->detector);
  free(j->points), free(j->near), free(j->uniqueness), free(j->anomaly);
}

static int run(const cli_command *command, int argc, char **argv) {
  map_job j = {.method_name = "umap",
               .metric_name = "cosine",
               .search_name = "auto",
               .recall = 1,
               .min_dist = 0.1,
               .side = 1200,
               .thumbnails = 2000};
  const cli_option options[] = {
      {"method", 0, CLI_TEXT, &j.method_name, "NAME", "umap (default) or pca"},
      {"neighbours", 0, CLI_FEW, &j.neighbours, "K",
       "of UMAP: those that an item is kept near to, itself\ncounted (default: 15); more show the whole better,\nfewer "
       "the details"},
      {"search", 0, CLI_TEXT, &j.search_name, "NAME",
       "for neighbours: exact, approximate (much faster from\nsome 20,000 items on) or auto (default), which finds at\n"
       "least 95% of them"},
      {"min-dist", 0, CLI_NUMBER, &j.min_dist, "D", "of UMAP: how tightly points pack, 0 to 1 (default: 0.1)"},
      {"seed", 0, CLI_COUNT, &j.seed, "N", "another seed, another map (default: 0)"},
      {"metric", 0, CLI_TEXT, &j.metric_name, "NAME", "cosine (default) or euclidean; of UMAP"},
      {"centre", 0, CLI_FLAG, &j.centre, NULL, "subtract the mean of all vectors first"},
      {"colour-by", 0, CLI_TEXT, &j.colour_name, "WHAT",
       "label (of --labels-from), folder, cluster (k-means),\ndate (of the file), uniqueness, anomaly or none\n"
       "(default: anomaly with --detector, label where there\nare some, else cluster)"},
      {"detector", 0, CLI_TEXT, &j.detector_path, "FILE", "of 'kindred anomalies fit': score items by it"},
      {"trustworthiness", 0, CLI_FEW, &j.trusted, "K",
       "measure how far the K nearest on the map are so in\ntruth: 1 is best"},
      {"csv", 0, CLI_TEXT, &j.csv, "FILE", "write a line for each item"},
      {"html", 0, CLI_TEXT, &j.html, "FILE", "write a page with the map, to move about in"},
      {"thumbnails", 0, CLI_COUNT, &j.thumbnails, "N", "put so many into the page at most (default: 2000)"},
      {"svg", 0, CLI_TEXT, &j.svg, "FILE", "draw the map, with a legend"},
      {"png", 0, CLI_TEXT, &j.png, "FILE", "draw the points alone"},
      {"size", 0, CLI_COUNT, &j.side, "PIXELS", "side of the drawn map (default: 1200)"},
      CLI_VECTORS_OPTIONS(j.input),
      CLI_POOLING_OPTION(j.common),
      CLI_COMMON_OPTIONS(j.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &j.common, argc, argv, &operands, &status))
    status = map(command, &j, &operands);
  cli_list_free(&operands);
  release(&j);
  return status;
}

const cli_command cli_command_map = {
    .name = "map",
    .usage = CLI_VECTORS_USAGE,
    .summary = "lay photos or texts out on a plane, like by like",
    .details = "Place photos or texts (embedded now with --model), what a store holds, or the rows\n"
               "of a .npy file on a plane: by UMAP, which keeps neighbours together, or along the\n"
               "two principal components. The same seed gives the same map. Without a file to\n"
               "write, the places are printed. Exit status 3 if some inputs couldn't be read.",
    .examples = "  kindred map ~/Photos --html map.html\n"
                "  kindred map ~/Photos --colour-by folder --svg map.svg\n"
                "  kindred map --store kindred.db --csv map.csv\n"
                "  kindred map ~/Photos --detector usual.kin --html map.html\n"
                "  kindred map vectors.npy --names names.txt --method pca --png map.png\n",
    .run = run};
