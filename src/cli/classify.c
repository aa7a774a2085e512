/* kindred classify: what photos and texts show, by labels in words or by examples. */
#include "cli/classify.h"

#include "document/document.h"
#include "image/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int out_of_memory(void) {
  cli_error("out of memory");
  return CLI_FAILED;
}

/* ---------------------------------------------------------------- operands */

/* What exists is to be classified; anything else is a label, save what looks like a mistyped file name. */
static int sort_operands(const cli_list *operands, bool trained, cli_list *paths, cli_list *labels) {
  for (size_t i = 0; i < operands->count; i++) {
    const char *name = operands->items[i], *dot = strrchr(name, '.');
    struct stat s;
    const bool there = trained || stat(name, &s) == 0;
    if (!there && (kin_image_has_known_extension(name) || kin_document_format_of(name) != KIN_DOCUMENT_NONE ||
                   (dot && strcmp(dot, ".npy") == 0))) {
      cli_error("can't open %s: %s (as a label: --label \"%s\")", name, strerror(errno), name);
      return CLI_FAILED;
    }
    if (!cli_list_add(there ? paths : labels, name)) return out_of_memory();
  }
  return CLI_OK;
}

/* Without the white space at its ends, in place. */
static char *trim(char *line) {
  static const char space[] = " \t\r\n\f\v";
  line += strspn(line, space);
  size_t n = strlen(line);
  while (n > 0 && strchr(space, line[n - 1])) line[--n] = '\0';
  return line;
}

/* The lines of a file, each of which must say something; the list borrows them. */
static int add_lines(const char *path, const char *what, cli_lines *lines, cli_list *out) {
  if (!path) return CLI_OK;
  int status = cli_lines_read(path, lines);
  if (status == CLI_OK && lines->n == 0) {
    cli_error("%s holds no %s", path, what);
    return CLI_FAILED;
  }
  for (size_t i = 0; status == CLI_OK && i < lines->n; i++) {
    const char *line = trim(lines->items[i]);
    if (!*line) {
      cli_error("%s:%zu: an empty line where a %s should be", path, i + 1, what);
      return CLI_FAILED;
    }
    if (!cli_list_add(out, line)) status = out_of_memory();
  }
  return status;
}

static bool is_trained(const classify_options *o) {
  return o->linear || o->k || o->classifier || o->train;
}

static int check_options(const cli_command *command, const classify_options *o, size_t n_paths, size_t n_labels) {
  const bool trained = is_trained(o), input = n_paths || o->input.store || o->input.texts;
  if ((o->linear != 0) + (o->k > 0) + (o->classifier != NULL) > 1)
    return cli_usage_error(command, "give --linear, --knn or --classifier, one of them");
  if (o->train && !o->linear && !o->k) return cli_usage_error(command, "--train needs --linear or --knn K");
  if ((o->linear || o->k) && !o->train)
    return cli_usage_error(command, "%s needs --train DIR, with a folder for each class",
                           o->linear ? "--linear" : "--knn");
  if (o->save && !o->train) return cli_usage_error(command, "--save needs --train");
  if (trained && (n_labels || o->pairs || o->templates.count || o->against.count || o->template_file || o->scale != 0))
    return cli_usage_error(command,
                           "labels, templates, --pairs and --scale are for classes in words, without examples");
  if (!trained && n_labels == 0)
    return cli_usage_error(command, "which classes? give labels (\"a dog\" \"a cat\", or --labels FILE), or examples "
                                    "(--linear --train DIR)");
  if (!trained && n_labels < 2 && !o->pairs)
    return cli_usage_error(command, "one label alone is always the likeliest: give at least two, or add --pairs");
  if (o->against.count && !o->pairs) return cli_usage_error(command, "--against is for --pairs");
  if (o->against.count && !o->templates.count && !o->template_file)
    return cli_usage_error(command, "--against needs a --template to stand against");
  if (!o->train && !input)
    return cli_usage_error(command, "nothing to classify: give photos, texts, a folder or a .npy file");
  if (o->top < 1) return cli_usage_error(command, "--top must be at least 1");
  if (o->folds == 1) return cli_usage_error(command, "--folds must be at least 2 (0: don't validate)");
  if (!(o->threshold == -1 || (o->threshold >= 0 && o->threshold <= 1)) || o->scale < 0 || o->c < 0)
    return cli_usage_error(command, "--threshold must lie between 0 and 1, and --scale and --c above 0");
  return CLI_OK;
}

/* ------------------------------------------------------------------ command */

static void release(classification *c) {
  kin_classifier_close(c->classifier);
  cli_vectors_close(&c->items);
  cli_vectors_close(&c->train);
  free(c->names), free(c->probabilities), free(c->cosines), free(c->told), free(c->confidence);
  free(c->validation.confusion), free(c->known.confusion);
}

typedef struct outputs {
  cli_page page;
  cli_output csv;
} outputs;

static int write_all(const classification *c, outputs *out) {
  int status = CLI_OK;
  if (c->o->csv) status = classify_write_csv(c, &out->csv);
  if (status == CLI_OK && c->o->html) status = classify_write_page(c, &out->page);
  if (status == CLI_OK) status = classify_print(c);
  return status == CLI_OK && (c->items.skipped || c->train.skipped) ? CLI_SKIPPED : status;
}

static int run_modes(classification *c, const cli_command *command, const cli_list *paths, const cli_list *labels) {
  const classify_options *o = c->o;
  int status = CLI_OK;
  const bool input = paths->count || o->input.store || o->input.texts;
  if (o->classifier)
    status = classify_load(c);
  else if (o->train)
    status = classify_train(c, command);
  if (status == CLI_OK && input) status = cli_vectors_read(command, &o->common, &o->input, paths, &c->items);
  if (status == CLI_OK && input) status = is_trained(o) ? classify_apply(c) : classify_zero_shot(c, command, labels);
  return status == CLI_OK && input ? classify_measure(c) : status;
}

static int classify(const cli_command *command, classify_options *o, const cli_list *operands) {
  cli_list paths = {0}, labels = {0};
  cli_lines label_lines = {0}, template_lines = {0};
  classification c = {.o = o};
  outputs out = {0};
  int status = sort_operands(operands, is_trained(o), &paths, &labels);
  for (size_t i = 0; status == CLI_OK && i < o->labels.count; i++)
    if (!cli_list_add(&labels, o->labels.items[i])) status = out_of_memory();
  if (status == CLI_OK) status = add_lines(o->labels_file, "label", &label_lines, &labels);
  if (status == CLI_OK) status = add_lines(o->template_file, "template", &template_lines, &o->templates);
  if (status == CLI_OK) status = check_options(command, o, paths.count, labels.count);
  if (status == CLI_OK && o->html) status = cli_page_open(o->html, &out.page);
  if (status == CLI_OK && o->csv) status = cli_output_open(o->csv, &out.csv);
  if (status == CLI_OK) status = run_modes(&c, command, &paths, &labels);
  if (status == CLI_OK) status = write_all(&c, &out);
  cli_output_close(&out.csv);
  cli_page_close(&out.page);
  release(&c);
  cli_lines_free(&label_lines), cli_lines_free(&template_lines);
  cli_list_free(&paths), cli_list_free(&labels);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  classify_options o = {.top = 3, .folds = 5, .threshold = -1};
  const cli_option options[] = {
      {"label", 0, CLI_LIST, &o.labels, "TEXT", "a label, even if a file has that name; may be\ngiven again"},
      {"labels", 0, CLI_TEXT, &o.labels_file, "FILE", "labels, one a line"},
      {"template", 0, CLI_LIST, &o.templates, "TEXT",
       "put labels where it says {}: \"a photo of a {}\"; may be\ngiven again: their vectors are averaged"},
      {"template-file", 0, CLI_TEXT, &o.template_file, "FILE", "templates, one a line"},
      {"pairs", 0, CLI_FLAG, &o.pairs, NULL, "decide each label for itself: with it or without it"},
      {"against", 0, CLI_LIST, &o.against, "TEXT", "of pairs: a template that denies the label; may be\ngiven again"},
      {"text-model", 0, CLI_TEXT, &o.text_model, "DIR", "embed labels with this model (Korean labels for CLIP)"},
      {"scale", 0, CLI_NUMBER, &o.scale, "N", "from cosine to logit (default: the model's, else 20)"},
      {"linear", 0, CLI_FLAG, &o.linear, NULL, "learn from examples: logistic regression"},
      {"knn", 0, CLI_COUNT, &o.k, "K", "learn from examples: the K nearest vote"},
      {"train", 0, CLI_TEXT, &o.train, "DIR",
       "the examples: a folder for each class; or a .npy file,\nor a store (.db)"},
      {"train-labels", 0, CLI_TEXT, &o.train_labels, "FILE", "the examples' classes, a line each (default: folders)"},
      {"c", 0, CLI_NUMBER, &o.c, "N",
       "of --linear: inverse strength of the penalty (default:\ncross-validation chooses)"},
      {"centre", 0, CLI_FLAG, &o.centre, NULL, "of --knn: subtract the examples' mean first"},
      {"folds", 0, CLI_FEW, &o.folds, "N", "parts of the cross-validation (default: 5; 0: none)"},
      {"seed", 0, CLI_COUNT, &o.seed, "N", "shuffle before the parts are dealt (default: 0, no)"},
      {"save", 0, CLI_TEXT, &o.save, "FILE", "keep what was learnt"},
      {"classifier", 0, CLI_TEXT, &o.classifier, "FILE", "use what was saved"},
      {"top", 'n', CLI_FEW, &o.top, "N", "labels to show for each (default: 3)"},
      {"threshold", 0, CLI_NUMBER, &o.threshold, "P",
       "\"none of these\" below this probability (default: 0,\nof pairs 0.5)"},
      {"html", 0, CLI_TEXT, &o.html, "FILE", "write a page with the pictures too"},
      {"csv", 0, CLI_TEXT, &o.csv, "FILE", "write a table with all probabilities too"},
      CLI_VECTORS_OPTIONS(o.input),
      CLI_POOLING_OPTION(o.common),
      CLI_COMMON_OPTIONS(o.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &o.common, argc, argv, &operands, &status))
    status = classify(command, &o, &operands);
  cli_list_free(&operands);
  cli_list_free(&o.labels), cli_list_free(&o.templates), cli_list_free(&o.against);
  cli_vectors_options_free(&o.input);
  return status;
}

const cli_command cli_command_classify = {
    .name = "classify",
    .usage = "[OPTION]... PATH... [LABEL]... | --train DIR",
    .summary = "tell what photos or texts show, by labels in words or by examples",
    .details = "By words: what exists on disk is classified, every other argument is a label. Each\n"
               "label is put into templates, and the likeliest is told, with its probability\n"
               "among the labels. With --pairs each label is decided for itself.\n"
               "\n"
               "By examples: --train DIR has a folder for each class, some photos or texts in\n"
               "each. How well that goes is told by cross-validation. --save keeps what was learnt,\n"
               "and --classifier uses it.",
    .examples = "  kindred classify photo.jpg \"a dog\" \"a cat\" \"an empty road\"\n"
                "  kindred classify ~/Photos --labels labels.txt --threshold 0.6 --html classes.html\n"
                "  kindred classify ~/Photos \"people\" \"snow\" --pairs\n"
                "  kindred classify photo.jpg \xEA\xB0\x95\xEC\x95\x84\xEC\xA7\x80 "
                "\xEA\xB3\xA0\xEC\x96\x91\xEC\x9D\xB4 --text-model clip-multilingual\n"
                "  kindred classify --linear --train labelled/ --save animals.kin\n"
                "  kindred classify --classifier animals.kin ~/Photos --json\n",
    .run = run};
