/* kindred model compare: which model suits these photos. */
#include "cli/model_compare.h"

#include "cli/vectors_input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int out_of_memory(void) {
  cli_error("out of memory");
  return CLI_FAILED;
}

/* ---------------------------------------------------------------- models */

/* Leading operands that are model directories, or name a model and no file, are models; the last is always photos. */
static bool sort_operands(comparison *c, const cli_list *operands) {
  size_t i = 0;
  for (; i + 1 < operands->count; i++) {
    struct stat s;
    const char *name = operands->items[i];
    if (stat(name, &s) == 0 && !kin_model_is_directory(name)) break;
    if (!cli_list_add(&c->model_names, name)) return false;
  }
  for (; i < operands->count; i++)
    if (!cli_list_add(&c->roots, operands->items[i])) return false;
  return true;
}

static bool is_commit(const char *name, size_t length) {
  return length == 40 && strspn(name, "0123456789abcdef") >= length;
}

/* The last part of a directory's path (of a snapshot in the model cache, the repository's); a name stays whole. */
static char *make_label(const char *operand) {
  struct stat s;
  if (stat(operand, &s) != 0) return strdup(operand);
  size_t end = strlen(operand), begin;
  const char *cached = strstr(operand, "models--");
  for (;;) {
    while (end > 1 && operand[end - 1] == '/') end--;
    for (begin = end; begin > 0 && operand[begin - 1] != '/'; begin--) {
    }
    if (!cached || !is_commit(operand + begin, end - begin)) break;
    const char *dashes = strstr(cached + strlen("models--"), "--"), *slash = strchr(cached, '/');
    if (dashes && slash && dashes < slash) return strndup(dashes + 2, (size_t)(slash - dashes) - 2);
    break;
  }
  return strndup(operand + begin, end - begin);
}

/* Two models of one label go by what they were called. */
static bool label_models(comparison *c) {
  for (size_t i = 0; i < c->n_models; i++)
    if (!(c->models[i].label = make_label(c->models[i].operand))) return false;
  for (size_t i = 0; i < c->n_models; i++)
    for (size_t j = i + 1; j < c->n_models; j++) {
      compared_model *a = &c->models[i], *b = &c->models[j];
      if (strcmp(a->label, b->label) != 0) continue;
      free(a->label);
      free(b->label);
      a->label = strdup(a->operand);
      b->label = strdup(b->operand);
      if (!a->label || !b->label) return false;
    }
  return true;
}

/* Open each once, so that the last one's faults show before the first one's hour of work, and so that each is loaded
 * from memory when that is timed. */
static int check_models(comparison *c) {
  c->models = calloc(c->model_names.count, sizeof *c->models);
  if (!c->models) return out_of_memory();
  c->n_models = c->model_names.count;
  for (size_t i = 0; i < c->n_models; i++) c->models[i].operand = c->model_names.items[i];
  if (!label_models(c)) return out_of_memory();
  int status = CLI_OK;
  for (size_t i = 0; i < c->n_models && status == CLI_OK; i++) {
    status = cli_signal() ? cli_stopped() : cli_open_model(c->models[i].operand, KIN_POOLING_DEFAULT, &c->session);
    if (status == CLI_OK && !c->session.info.has_image) {
      cli_error("%s has no image tower: it embeds texts only", c->models[i].operand);
      status = CLI_FAILED;
    }
    c->models[i].info = c->session.info;
    kin_model_close(c->session.model);
    c->session.model = NULL;
  }
  return status;
}

/* ---------------------------------------------------------------- photos */

static bool add_photo(comparison *c, const char *path, const char *root) {
  if (c->n_photos == c->photo_capacity) {
    size_t capacity = c->photo_capacity ? 2 * c->photo_capacity : 256;
    compared_photo *photos = realloc(c->photos, capacity * sizeof *photos);
    if (!photos) return false;
    c->photos = photos;
    c->photo_capacity = capacity;
  }
  compared_photo *photo = &c->photos[c->n_photos];
  *photo = (compared_photo){.path = strdup(path)};
  if (!photo->path) return false;
  c->n_photos++;
  photo->shown = photo->path;
  if (c->roots.count == 1 && strlen(path) > strlen(root)) {
    photo->shown += strlen(root);
    while (*photo->shown == '/') photo->shown++;
  }
  return cli_class_of_path(path, root, c->roots.count > 1, &photo->class_name);
}

static int find_photos(comparison *c) {
  kin_walk_options options = {
      .exclude = c->exclude.items, .n_exclude = c->exclude.count, .follow = c->follow, .hidden = c->hidden};
  kin_walk *walk;
  kin_walk_entry entry;
  kin_error err;
  if (kin_walk_open(c->roots.items, c->roots.count, &options, &walk, &err) != KIN_OK) return cli_failed(&err);
  int status = CLI_OK;
  while (status == CLI_OK) {
    if (kin_walk_next(walk, &entry, &err) != KIN_OK) status = cli_failed(&err);
    if (status != CLI_OK || !entry.path) break;
    if (cli_signal()) {
      status = cli_stopped();
    } else if (entry.status != KIN_OK) {
      cli_error("%s", entry.message);
      c->skipped++;
    } else if (!add_photo(c, entry.path, c->roots.items[entry.root])) {
      status = out_of_memory();
    }
  }
  kin_walk_close(walk);
  if (status != CLI_OK || c->n_photos >= 2) return status;
  cli_error("a comparison needs at least two photos, and there %s in %s%s", c->n_photos ? "is one" : "are none",
            c->roots.items[0], c->roots.count > 1 ? " and the other paths" : "");
  return CLI_FAILED;
}

/* Read the files once, so that no model is the first to wait for the disk. */
static void read_photos(const comparison *c) {
  enum { BUFFER = 1 << 20 };
  char *buffer = malloc(BUFFER);
  cli_progress_start("reading", c->common.quiet);
  for (size_t i = 0; buffer && i < c->n_photos && !cli_signal(); i++) {
    FILE *file = fopen(c->photos[i].path, "rb"); /* one that can't be read is named later */
    if (file) setvbuf(file, NULL, _IONBF, 0);
    while (file && !cli_signal() && fread(buffer, 1, BUFFER, file) == BUFFER) {
    }
    if (file) fclose(file);
    cli_progress_update((cli_progress){.done = i + 1, .total = c->n_photos, .worked = i + 1});
  }
  cli_progress_stop();
  free(buffer);
}

/* --------------------------------------------------- classes and queries */

static int by_name(const void *a, const void *b) {
  return strcmp(((const compared_class *)a)->name, ((const compared_class *)b)->name);
}

/* Fill `classes` with every class and how many photos it has, sorted by name. */
static void count_classes(comparison *c) {
  size_t n = 0;
  for (size_t i = 0; i < c->n_photos; i++)
    if (c->photos[i].class_name) c->classes[n++] = (compared_class){c->photos[i].class_name, 1};
  if (n > 0) qsort(c->classes, n, sizeof *c->classes, by_name);
  for (size_t i = 0; i < n; i++) {
    if (c->n_classes > 0 && strcmp(c->classes[c->n_classes - 1].name, c->classes[i].name) == 0)
      c->classes[c->n_classes - 1].photos++;
    else
      c->classes[c->n_classes++] = c->classes[i];
  }
}

/* A class of one photo has nothing to be found by; a single class nothing to be told from. */
static void drop_small_classes(comparison *c) {
  size_t kept = 0;
  for (size_t i = 0; i < c->n_classes; i++)
    if (c->classes[i].photos >= 2) c->classes[kept++] = c->classes[i];
  c->n_classes = kept >= 2 ? kept : 0;
}

int compare_settle(comparison *c) {
  c->classes = calloc(c->n_photos, sizeof *c->classes);
  if (c->n_queries > c->n_photos) c->n_queries = c->n_photos;
  c->queries = calloc(c->n_queries + 1, sizeof *c->queries);
  if (!c->classes || !c->queries) return out_of_memory();
  count_classes(c);
  drop_small_classes(c);
  for (size_t i = 0; i < c->n_photos; i++) {
    compared_photo *photo = &c->photos[i];
    compared_class key = {.name = photo->class_name};
    const compared_class *found =
        key.name ? bsearch(&key, c->classes, c->n_classes, sizeof *c->classes, by_name) : NULL;
    photo->class_number = found ? (uint32_t)(found - c->classes) : CLI_NO_CLASS;
    c->n_labelled += found != NULL;
  }
  if (c->k > c->n_photos - 1) c->k = c->n_photos - 1;
  if (c->n_labelled && c->k > c->n_labelled - 1) c->k = c->n_labelled - 1;
  /* Spread over the photos, which are sorted by path. */
  for (size_t i = 0; i < c->n_queries; i++) c->queries[i] = (2 * i + 1) * c->n_photos / (2 * c->n_queries);
  return CLI_OK;
}

/* --------------------------------------------------------------- command */

static int measure_all(comparison *c, cli_page *page) {
  int status = check_models(c);
  if (status == CLI_OK) status = find_photos(c);
  if (status == CLI_OK) read_photos(c);
  for (size_t i = 0; i < c->n_models && status == CLI_OK; i++) status = compare_measure(c, i);
  if (status == CLI_OK && c->html) status = compare_page_write(page, c);
  if (status != CLI_OK) return status;
  if (c->common.json)
    status = cli_print_json(compare_describe(c));
  else
    compare_print_table(c);
  return status == CLI_OK && c->skipped ? CLI_SKIPPED : status;
}

static int compare(const cli_command *command, comparison *c, const cli_list *operands) {
  if (!sort_operands(c, operands)) return out_of_memory();
  if (c->roots.count == 0) return cli_usage_error(command, "give models and then photos");
  if (c->model_names.count == 0) return cli_usage_error(command, "no model before %s", c->roots.items[0]);
  if (c->k < 1) return cli_usage_error(command, "--neighbours must be at least 1");
  cli_page page = {0};
  int status = c->html ? cli_page_open(c->html, &page) : CLI_OK;
  if (status == CLI_OK) status = cli_open_context(&c->common, &c->session);
  if (status == CLI_OK) status = measure_all(c, &page);
  cli_page_close(&page);
  return status;
}

static void release(comparison *c) {
  cli_session_close(&c->session);
  for (size_t i = 0; i < c->n_models; i++) {
    free(c->models[i].label);
    free(c->models[i].nearest);
  }
  for (size_t i = 0; i < c->n_photos; i++) {
    free(c->photos[i].path);
    free(c->photos[i].class_name);
  }
  free(c->models);
  free(c->photos);
  free(c->classes);
  free(c->queries);
  cli_list_free(&c->model_names);
  cli_list_free(&c->exclude);
  cli_list_free(&c->roots);
}

static int run(const cli_command *command, int argc, char **argv) {
  comparison c = {.k = 5, .n_queries = 3};
  const cli_option options[] = {
      {"model", 'm', CLI_LIST, &c.model_names, "DIR", "a model directory or name; may be given again"},
      {"html", 0, CLI_TEXT, &c.html, "FILE", "write a page with the pictures too"},
      {"neighbours", 'k', CLI_FEW, &c.k, "K", "nearest photos to show and to count (default: 5)"},
      {"queries", 0, CLI_FEW, &c.n_queries, "N", "photos whose neighbours are shown (default: 3)"},
      {"centre", 0, CLI_FLAG, &c.centre, NULL, "subtract the mean of all vectors first"},
      {"exclude", 'x', CLI_LIST, &c.exclude, "GLOB", "leave out matching names or paths; may be given\nagain"},
      {"follow", 'L', CLI_FLAG, &c.follow, NULL, "follow symbolic links in folders"},
      {"hidden", 0, CLI_FLAG, &c.hidden, NULL, "take hidden files and folders too"},
      {"threads", 0, CLI_FEW, &c.common.threads, "N", "threads to use (default: one for each CPU)"},
      {"json", 0, CLI_FLAG, &c.common.json, NULL, "print JSON"},
      {"quiet", 'q', CLI_FLAG, &c.common.quiet, NULL, "print no progress"},
      {"isa", 0, CLI_ISA, &c.common.isa, "NAME", NULL},
      {"help", 'h', CLI_FLAG, &c.common.help, NULL, "show this help"}};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &c.common, argc, argv, &operands, &status))
    status = compare(command, &c, &operands);
  cli_list_free(&operands);
  release(&c);
  return status;
}

const cli_command cli_command_model_compare = {
    .name = "model compare",
    .usage = "[OPTION]... MODEL... PHOTOS...",
    .summary = "which of several models suits these photos",
    .details = "Embed the same photos with each model, and tell how fast it is, how much memory\n"
               "it takes, and what it finds alike: the nearest neighbours of some photos, side\n"
               "by side. Where the photos lie in folders by class (PHOTOS/cats, PHOTOS/dogs),\n"
               "also how well each model keeps the classes together:\n"
               "\n"
               "  K-NN accuracy  photos whose class is that of most of their K nearest others\n"
               "  silhouette     1: classes tight and far apart; 0: they overlap\n"
               "  recall@K       photos with one of their class among their K nearest others\n"
               "\n"
               "The first arguments that are models are compared; the others are photos and\n"
               "folders. Every photo is read once before the clocks start. A photo that can't be\n"
               "read is named, left out and counted: exit status 3.",
    .examples = "  kindred model compare clip-vit-b-32 dinov2-small ~/Photos\n"
                "  kindred model compare -m models/a -m models/b labelled/ --html models.html\n"
                "  kindred model compare dinov2-base labelled/ --centre --json | jq .models\n",
    .run = run};
