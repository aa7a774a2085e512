/* Vectors of a store or a .npy file, their names and classes; files are embedded by vectors_gather.c. */
#include "cli/vectors_input.h"

#include "cli/text_lines.h"
#include "cli/vectors_gather.h"
#include "image/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool ends_in(const char *text, const char *ending) {
  const size_t n = strlen(text), m = strlen(ending);
  return n > m && strcmp(text + n - m, ending) == 0;
}

/* -------------------------------------------------------------------- .npy */

/* Whether the photo that a line of --names may name is there. */
static void look_for_file(const cli_gather *g, cli_item *item) {
  struct stat s;
  item->is_file = stat(item->name, &s) == 0 && S_ISREG(s.st_mode);
  if (!item->is_file) return;
  item->mtime_ns = kin_time_ns(s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
  item->is_picture = kin_image_has_known_extension(item->name);
  cli_gather_date(g, item);
}

static int read_npy(cli_gather *g, const char *path) {
  cli_vectors *v = g->out;
  size_t n, dim;
  cli_lines names = {0};
  kin_error err;
  if (kin_npy_read(path, &v->values, &n, &dim, &err) != KIN_OK) return cli_failed(&err);
  v->set.dim = dim;
  int status = g->options->names ? cli_lines_read(g->options->names, &names) : CLI_OK;
  if (status == CLI_OK && g->options->names && names.n != n) {
    cli_error("%s has %zu lines, %s %zu vectors: a line each is needed", g->options->names, names.n, path, n);
    status = CLI_FAILED;
  }
  for (size_t i = 0; status == CLI_OK && i < n; i++) {
    cli_item item = {.name = names.n ? names.items[i] : kin_format("row %zu", i)};
    if (names.n) names.items[i] = NULL, look_for_file(g, &item);
    if (!cli_gather_add(g, item, 0)) status = cli_gather_out_of_memory(g);
  }
  cli_lines_free(&names);
  if (g->common->model) v->text_model_name = strdup(g->common->model);
  return status;
}

/* ------------------------------------------------------------------- store */

static bool on_stored(void *user, const kin_stored *stored) {
  cli_gather *g = user;
  cli_vectors *v = g->out;
  const size_t dim = v->set.dim, n = v->set.n;
  if (!kin_grow((void **)&v->values, &g->value_capacity, (n + 1) * dim, sizeof *v->values)) return false;
  cli_item item = {.name = strdup(stored->path), .line = stored->line, .mtime_ns = stored->mtime_ns, .is_file = true};
  if (stored->passage && !(item.text = strdup(stored->passage))) {
    free(item.name);
    return false;
  }
  item.is_picture = !stored->passage;
  if (stored->date) cli_read_time(stored->date, &item.date_ns);
  if (!cli_gather_add(g, item, 0)) return false;
  memcpy(v->values + n * dim, stored->vector, dim * sizeof *v->values);
  return !cli_signal();
}

/* Choose the collection: the only one, or that of --model. */
static int select_collection(cli_gather *g, kin_store *store, kin_store_stats *stats) {
  kin_collection_wish wish = {0};
  kin_error err;
  if (g->common->model) {
    int status = cli_open_model_of(store, g->common->model, g->common, &g->out->session);
    if (status != CLI_OK) return status;
    wish.model_id = g->out->session.info.id;
  }
  kin_status status = kin_store_select(store, &wish, &err);
  if (status == KIN_OK) status = kin_store_get_stats(store, stats, &err);
  return status == KIN_OK ? CLI_OK : cli_failed(&err);
}

static int read_collection(cli_gather *g, kin_store *store, const char *path) {
  cli_vectors *v = g->out;
  kin_store_stats stats;
  kin_error err;
  int status = select_collection(g, store, &stats);
  if (status != CLI_OK) return status;
  v->set.dim = stats.dim;
  kin_status read = kin_store_each(store, on_stored, g, &err);
  if (read == KIN_ERR_CANCELLED && !cli_signal()) return cli_gather_out_of_memory(g);
  if (read != KIN_OK) return cli_failed(&err);
  if (v->set.n == 0) {
    cli_error("%s is empty: put files in with 'kindred index PATH'", cli_store_name(path));
    return CLI_FAILED;
  }
  if (!v->session.precision.given)
    v->session.precision.value = *stats.text_model_path ? stats.text_precision : stats.precision;
  v->model_name = strdup(stats.model_path);
  memcpy(v->model_id, stats.model_id, sizeof v->model_id);
  const char *texts = *stats.text_model_path ? stats.text_model_path : stats.model_path;
  if (*texts) v->text_model_name = strdup(texts);
  return CLI_OK;
}

static int read_store(cli_gather *g) {
  const char *path = g->options->store ? g->options->store : "./kindred.db";
  kin_store *store = NULL;
  kin_error err;
  if (kin_store_open_with(g->out->session.context, path, KIN_STORE_READ, &g->options->elastic, &store, &err) != KIN_OK)
    return cli_failed(&err);
  int status = read_collection(g, store, path);
  kin_store_close(store);
  return status;
}

/* ----------------------------------------------------------------- classes */

bool cli_class_of_path(const char *path, const char *root, bool other_roots, char **out) {
  const char *below = path + strlen(root);
  while (*below == '/') below++;
  const char *slash = strchr(below, '/');
  *out = NULL;
  if (slash) return (*out = strndup(below, (size_t)(slash - below))) != NULL;
  if (!other_roots) return true;
  const char *end = strrchr(path, '/');
  while (end && end > path && end[-1] == '/') end--;
  const char *begin = end;
  while (begin && begin > path && begin[-1] != '/') begin--;
  if (!end || begin == end || strspn(begin, ".") >= (size_t)(end - begin)) return true;
  return (*out = strndup(begin, (size_t)(end - begin))) != NULL;
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Number the different ones of names[n] (some NULL) in their order; names are released. */
static bool number_classes(cli_vectors *v, char **names) {
  const size_t n = v->set.n;
  char **sorted = calloc(n + 1, sizeof *sorted);
  v->labels = calloc(n + 1, sizeof *v->labels);
  v->classes = calloc(n + 1, sizeof *v->classes);
  bool ok = sorted && v->labels && v->classes;
  size_t present = 0;
  for (size_t i = 0; ok && i < n; i++)
    if (names[i]) sorted[present++] = names[i];
  if (ok && present) qsort(sorted, present, sizeof *sorted, by_text);
  for (size_t i = 0; ok && i < present; i++)
    if (i == 0 || strcmp(sorted[i], sorted[i - 1]) != 0) {
      v->classes[v->n_classes] = strdup(sorted[i]);
      ok = v->classes[v->n_classes] != NULL && ++v->n_classes;
    }
  for (size_t i = 0; ok && i < n; i++) {
    char *const *found = names[i] ? bsearch(&names[i], v->classes, v->n_classes, sizeof *v->classes, by_text) : NULL;
    v->labels[i] = found ? (uint32_t)(found - v->classes) : CLI_NO_LABEL;
  }
  free(sorted);
  return ok;
}

/* By the folder below the operand; of a store or a list of names, which have no root, the folder that the file is in.
 */
static int class_by_folder(const cli_gather *g, char **names) {
  const cli_vectors *v = g->out;
  const bool embedded = g->operands->count && !ends_in(g->operands->items[0], ".npy");
  for (size_t i = 0; i < v->set.n; i++) {
    const char *name = v->items[i].name, *root = embedded ? g->operands->items[g->places[i].root] : name;
    if (!cli_class_of_path(name, root, !embedded || g->operands->count > 1, &names[i]))
      return cli_gather_out_of_memory(g);
  }
  return CLI_OK;
}

static int class_by_line(const cli_gather *g, char **names) {
  cli_lines lines;
  int status = cli_lines_read(g->options->labels, &lines);
  if (status == CLI_OK && lines.n != g->found) {
    cli_error("%s has %zu lines, and there are %zu items: a line each is needed", g->options->labels, lines.n,
              g->found);
    status = CLI_FAILED;
  }
  for (size_t i = 0; status == CLI_OK && i < g->out->set.n; i++) {
    char **line = &lines.items[g->places[i].input];
    if (**line) names[i] = *line, *line = NULL;
  }
  cli_lines_free(&lines);
  return status;
}

static int find_classes(cli_gather *g) {
  if (!g->options->labels) return CLI_OK;
  char **names = calloc(g->out->set.n + 1, sizeof *names);
  if (!names) return cli_gather_out_of_memory(g);
  int status = strcmp(g->options->labels, "folders") == 0 ? class_by_folder(g, names) : class_by_line(g, names);
  if (status == CLI_OK && !number_classes(g->out, names)) status = cli_gather_out_of_memory(g);
  if (status == CLI_OK && g->out->n_classes == 0) {
    cli_error("--labels-from %s gives no item a class", g->options->labels);
    status = CLI_FAILED;
  }
  for (size_t i = 0; i < g->out->set.n; i++) free(names[i]);
  free(names);
  return status;
}

/* ----------------------------------------------------------------- reading */

static int check_finite(const cli_vectors *v) {
  for (size_t i = 0; v->values && i < v->set.n * v->set.dim; i++)
    if (!isfinite(v->values[i])) {
      cli_error("the vector of %s holds a value that isn't finite", v->items[i / v->set.dim].name);
      return CLI_FAILED;
    }
  return CLI_OK;
}

static int read_any(const cli_command *command, cli_gather *g) {
  const cli_list *operands = g->operands;
  const cli_vectors_options *o = g->options;
  const bool npy = operands->count == 1 && ends_in(operands->items[0], ".npy");
  if ((operands->count > 0) + (o->texts != NULL) + (o->store != NULL) > 1)
    return cli_usage_error(command, "give paths, --texts or --store, one of them");
  if (o->names && !npy) return cli_usage_error(command, "--names is for the rows of a .npy file");
  const char *model = cli_model_dir(g->common, NULL);
  const bool embeds = (operands->count && !npy) || o->texts;
  if (embeds && !model && !g->options->files_only) return cli_no_model(command);
  int status = cli_open_context(g->common, &g->out->session);
  if (status != CLI_OK) return status;
  if (npy)
    status = read_npy(g, operands->items[0]);
  else
    status = embeds ? cli_gather_files(g, model) : read_store(g);
  g->out->set.values = g->out->values;
  if (status == CLI_OK) status = check_finite(g->out);
  return status == CLI_OK ? find_classes(g) : status;
}

int cli_vectors_read(const cli_command *command, const cli_common *common, const cli_vectors_options *options,
                     const cli_list *operands, cli_vectors *out) {
  *out = (cli_vectors){0};
  cli_gather g = {.common = common, .options = options, .operands = operands, .out = out};
  int status = read_any(command, &g);
  free(g.places);
  return status;
}

void cli_vectors_close(cli_vectors *v) {
  for (size_t i = 0; v->items && i < v->set.n; i++) free(v->items[i].name), free(v->items[i].text);
  for (size_t i = 0; i < v->n_classes; i++) free(v->classes[i]);
  free(v->items), free(v->values), free(v->labels), free(v->classes);
  free(v->model_name), free(v->text_model_name);
  cli_session_close(&v->session);
  *v = (cli_vectors){0};
}

void cli_vectors_options_free(cli_vectors_options *options) {
  cli_list_free(&options->exclude);
}

/* ------------------------------------------------------------------- texts */

bool cli_vectors_has_texts(cli_vectors *v) {
  const kin_model_info *info = &v->session.info;
  if (v->session.model && info->has_text && info->dim == v->set.dim) return true;
  if (!v->text_model_name) return false;
  char *dir = NULL;
  kin_model *model = NULL;
  const kin_model_options options = {.precision = v->session.precision.value};
  if (kin_hub_find(v->text_model_name, NULL, &dir, NULL) == KIN_OK &&
      kin_model_open_with(v->session.context, dir, &options, &model, NULL) == KIN_OK) {
    kin_model_close(v->session.model);
    v->session.model = model;
    kin_model_get_info(model, &v->session.info);
  }
  free(dir);
  return model && info->has_text && info->dim == v->set.dim;
}

int cli_vectors_embed_texts(cli_vectors *v, const char *const *texts, size_t n, float *out) {
  if (!cli_vectors_has_texts(v)) {
    cli_error("%s has no text tower whose vectors are of %zu floats: no words can be compared with these",
              v->text_model_name ? v->text_model_name
              : v->model_name    ? v->model_name
                                 : "no --model was given, which",
              v->set.dim);
    return CLI_FAILED;
  }
  kin_error err;
  const kin_embed_options options = {.role = KIN_TEXT_QUERY};
  return kin_embed_texts(v->session.model, texts, n, &options, out, &err) == KIN_OK ? CLI_OK : cli_failed(&err);
}
