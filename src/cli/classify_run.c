/* kindred classify: by words, by examples, and how well. */
#include "cli/classify.h"
#include "embed/path_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a model has no scale of its own: what sentence encoders are commonly trained with. */
static const double default_scale = 20, default_pairs_threshold = 0.5;

static int out_of_memory(const classification *c) {
  cli_error("out of memory for %zu items in %zu classes", c->items.set.n, c->n_classes);
  return CLI_FAILED;
}

static bool allocate_results(classification *c, bool cosines) {
  const size_t n = c->items.set.n;
  c->probabilities = calloc(n, c->n_classes * sizeof *c->probabilities);
  if (cosines) c->cosines = calloc(n, c->n_classes * sizeof *c->cosines);
  return c->probabilities && (!cosines || c->cosines);
}

/* ---------------------------------------------------------------- zero-shot */

/* Models open while labels are embedded: `text` is the items' own or one of its own. */
typedef struct words {
  cli_session own;
  kin_model *text;
  kin_model_info info;
} words;

static int open_text_model(classification *c, words *w) {
  const cli_session *session = &c->items.session;
  const char *name = c->o->text_model ? c->o->text_model : c->items.text_model_name;
  if (!c->o->text_model && session->model && session->info.has_text) {
    w->text = session->model, w->info = session->info;
    return CLI_OK;
  }
  if (!name) {
    cli_error("%s has no text tower to compare labels with: name one that belongs to it by --text-model, or teach by "
              "examples (--linear --train DIR)",
              c->items.model_name ? c->items.model_name : "the model of these vectors");
    return CLI_FAILED;
  }
  w->own = (cli_session){.context = session->context, .precision = session->precision};
  int status = cli_open_model(name, KIN_POOLING_DEFAULT, &w->own);
  w->text = w->own.model, w->info = w->own.info;
  if (status == CLI_OK && (!w->info.has_text || w->info.dim != c->items.set.dim)) {
    if (!w->info.has_text)
      cli_error("%s has no text tower", name);
    else
      cli_error("%s gives vectors of %zu floats, but these have %zu", name, w->info.dim, c->items.set.dim);
    status = CLI_FAILED;
  }
  return status;
}

/* --scale, the items' model's, the text model's, or the usual one. */
static int find_scale(classification *c, const words *w) {
  cli_session image = {.context = c->items.session.context, .precision = c->items.session.precision};
  int status = CLI_OK;
  c->scale = c->o->scale;
  if (c->scale > 0) return CLI_OK;
  c->scale = c->items.session.model ? c->items.session.info.logit_scale : 0;
  if (!(c->scale > 0)) c->scale = w->info.logit_scale;
  if (!(c->scale > 0) && !c->items.session.model && c->items.model_name) { /* a store with a text model of its own */
    status = cli_open_model(c->items.model_name, KIN_POOLING_DEFAULT, &image);
    c->scale = image.info.logit_scale;
    kin_model_close(image.model);
  }
  if (!(c->scale > 0)) c->scale = default_scale;
  return status;
}

static kin_status embed_labels(const classification *c, const words *w, kin_template_set set, const cli_list *templates,
                               float *out, kin_error *err) {
  return kin_embed_labels(w->text, c->names, c->n_classes, set, templates->count ? templates->items : NULL,
                          templates->count, out, err);
}

static int compare_labels(classification *c, const words *w) {
  const classify_options *o = c->o;
  const size_t dim = c->items.set.dim;
  const bool texts = c->items.items[0].text != NULL;
  const kin_template_set plain = texts ? KIN_TEMPLATES_TEXTS : KIN_TEMPLATES_PHOTOS;
  const kin_template_set set = texts ? KIN_TEMPLATES_TEXTS_WITH : KIN_TEMPLATES_PHOTOS_WITH;
  const kin_template_set opposite = texts ? KIN_TEMPLATES_TEXTS_WITHOUT : KIN_TEMPLATES_PHOTOS_WITHOUT;
  float *with = calloc(c->n_classes, dim * sizeof *with), *without = calloc(c->n_classes, dim * sizeof *without);
  const kin_vector_set classes = {with, c->n_classes, dim}, opposites = {without, c->n_classes, dim};
  kin_error err;
  kin_status status = KIN_OK;
  if (!with || !without || !allocate_results(c, true)) {
    free(with), free(without);
    return out_of_memory(c);
  }
  status = embed_labels(c, w, o->pairs ? set : plain, &o->templates, with, &err);
  if (status == KIN_OK && o->pairs) status = embed_labels(c, w, opposite, &o->against, without, &err);
  if (status == KIN_OK)
    status = kin_zero_shot(c->items.session.context, &c->items.set, &classes, o->pairs ? &opposites : NULL, c->scale,
                           c->cosines, c->probabilities, &err);
  free(with), free(without);
  return status == KIN_OK ? CLI_OK : cli_failed(&err);
}

int classify_zero_shot(classification *c, const cli_command *command, const cli_list *labels) {
  const classify_options *o = c->o;
  words w = {0};
  if (o->pairs && (o->templates.count > 0) != (o->against.count > 0))
    return cli_usage_error(command, "a --template of --pairs needs an --against, and the other way round");
  c->mode = o->pairs ? "pairs" : "zero-shot";
  c->threshold = o->threshold >= 0 ? o->threshold : o->pairs ? default_pairs_threshold : 0;
  c->n_classes = labels->count;
  c->names = calloc(labels->count, sizeof *c->names);
  if (!c->names) return out_of_memory(c);
  memcpy(c->names, labels->items, labels->count * sizeof *c->names);
  int status = open_text_model(c, &w);
  if (status == CLI_OK) status = find_scale(c, &w);
  if (status == CLI_OK) status = compare_labels(c, &w);
  kin_model_close(w.own.model);
  return status;
}

/* ------------------------------------------------------------------ trained */

/* Take the classifier's kind and class names. */
static int adopt(classification *c) {
  kin_classifier_get_info(c->classifier, &c->info);
  c->mode = c->info.kind == KIN_CLASSIFIER_LINEAR ? "linear" : "knn";
  c->threshold = c->o->threshold >= 0 ? c->o->threshold : 0;
  free(c->names);
  c->n_classes = c->info.n_classes;
  c->names = calloc(c->n_classes, sizeof *c->names);
  if (!c->names) return out_of_memory(c);
  for (size_t i = 0; i < c->n_classes; i++) c->names[i] = kin_classifier_class(c->classifier, i);
  return CLI_OK;
}

int classify_load(classification *c) {
  kin_error err;
  if (kin_classifier_open(c->o->classifier, &c->classifier, &err) != KIN_OK) return cli_failed(&err);
  return adopt(c);
}

static bool is_store(const char *path) {
  const size_t n = strlen(path);
  return n > 3 && strcmp(path + n - 3, ".db") == 0;
}

/* The examples; those without a class are left out. */
static int read_examples(classification *c, const cli_command *command) {
  const classify_options *o = c->o;
  cli_vectors_options input = {.labels = o->train_labels ? o->train_labels : "folders",
                               .exclude = o->input.exclude,
                               .follow = o->input.follow,
                               .hidden = o->input.hidden};
  cli_list paths = {0};
  int status = CLI_OK;
  if (is_store(o->train))
    input.store = o->train;
  else if (!cli_list_add(&paths, o->train))
    status = out_of_memory(c);
  if (status == CLI_OK) status = cli_vectors_read(command, &o->common, &input, &paths, &c->train);
  cli_list_free(&paths);
  if (status != CLI_OK) return status;
  cli_vectors *v = &c->train;
  size_t kept = 0, dim = v->set.dim;
  for (size_t i = 0; i < v->set.n; i++) {
    if (v->labels[i] == CLI_NO_LABEL) {
      free(v->items[i].name), free(v->items[i].text);
      continue;
    }
    if (kept != i) memmove(v->values + kept * dim, v->values + i * dim, dim * sizeof *v->values);
    v->items[kept] = v->items[i], v->labels[kept++] = v->labels[i];
  }
  v->set.n = kept;
  for (size_t i = 0; i < v->n_classes; i++) { /* folders may be named in any bytes */
    char *valid = kin_replace_invalid(v->classes[i]);
    if (!valid) return out_of_memory(c);
    free(v->classes[i]);
    v->classes[i] = valid;
  }
  return CLI_OK;
}

/* Fewer folds where the smallest class has fewer vectors, but two at least; 0: no class has two. */
static size_t count_folds(const classification *c, const kin_labelled_set *set) {
  size_t least = SIZE_MAX, most = 0;
  for (uint32_t k = 0; k < set->n_classes; k++) {
    size_t n = 0;
    for (size_t i = 0; i < set->vectors.n; i++) n += set->labels[i] == k;
    if (n < least) least = n;
    if (n > most) most = n;
  }
  if (c->o->folds == 0 || most < 2) return 0;
  return c->o->folds < least ? c->o->folds : least < 2 ? 2 : least;
}

static int validate(classification *c, const kin_labelled_set *set, const kin_classifier_options *options) {
  classify_scores *s = &c->validation;
  const size_t n = set->vectors.n, folds = count_folds(c, set);
  if (!folds) return CLI_OK;
  uint32_t *dealt = calloc(n, sizeof *dealt);
  c->told = calloc(n, sizeof *c->told), c->confidence = calloc(n, sizeof *c->confidence);
  s->confusion = calloc(set->n_classes, set->n_classes * sizeof *s->confusion);
  kin_error err;
  kin_validation v;
  if (!dealt || !c->told || !c->confidence || !s->confusion) {
    free(dealt);
    return out_of_memory(c);
  }
  kin_status status = kin_stratified_folds(set->labels, n, folds, c->o->seed, dealt, &err);
  if (status == KIN_OK)
    status = kin_cross_validate(c->train.session.context, set, options, dealt, folds, c->told, c->confidence, &v, &err);
  if (status == KIN_OK) status = kin_confusion(set->labels, c->told, n, set->n_classes, s->confusion, &err);
  free(dealt);
  if (status != KIN_OK) return cli_failed(&err);
  s->n = n, s->right = v.right, s->folds = folds, s->accuracy = v.accuracy, s->deviation = v.deviation;
  return CLI_OK;
}

int classify_train(classification *c, const cli_command *command) {
  const classify_options *o = c->o;
  kin_error err;
  int status = read_examples(c, command);
  if (status != CLI_OK) return status;
  kin_model_close(c->train.session.model); /* another one may come for what is classified */
  c->train.session.model = NULL;
  const kin_labelled_set set = {c->train.set, c->train.labels, (const char *const *)c->train.classes,
                                c->train.n_classes};
  const kin_classifier_options options = {.kind = o->linear ? KIN_CLASSIFIER_LINEAR : KIN_CLASSIFIER_KNN,
                                          .c = o->c,
                                          .k = o->k,
                                          .centre = o->centre,
                                          .model_id = c->train.model_id};
  cli_progress_start("learning", o->common.quiet);
  kin_status fitted = kin_classifier_fit(c->train.session.context, &set, &options, &c->classifier, &err);
  status = fitted == KIN_OK ? validate(c, &set, &options) : cli_failed(&err);
  cli_progress_stop();
  if (status == CLI_OK) status = adopt(c);
  if (status == CLI_OK && o->save && kin_classifier_save(c->classifier, o->save, &err) != KIN_OK)
    status = cli_failed(&err);
  return status;
}

int classify_apply(classification *c) {
  kin_error err;
  const char *id = c->items.model_id;
  if (kin_classifier_check(c->classifier, id, c->items.set.dim, &err) != KIN_OK) return cli_failed(&err);
  if (!allocate_results(c, false)) return out_of_memory(c);
  kin_status status =
      kin_classifier_predict(c->items.session.context, c->classifier, &c->items.set, c->probabilities, &err);
  return status == KIN_OK ? CLI_OK : cli_failed(&err);
}

/* ---------------------------------------------------------------- measuring */

size_t classify_given(const classification *c, size_t item, size_t *out) {
  return kin_top_classes(c->probabilities + item * c->n_classes, c->n_classes, c->o->top, c->threshold, out);
}

/* The number of the class `name`; n_classes: it is none of them. */
static size_t class_of(const classification *c, const char *name) {
  size_t k = 0;
  while (k < c->n_classes && strcmp(c->names[k], name) != 0) k++;
  return k;
}

/* The true class of an item and the likeliest; false where either is not known or the item got none. */
static bool compare_truth(const classification *c, size_t item, uint32_t *truth, uint32_t *told) {
  const cli_vectors *v = &c->items;
  if (!v->labels || v->labels[item] == CLI_NO_LABEL) return false;
  const size_t number = class_of(c, v->classes[v->labels[item]]);
  size_t best = 0;
  if (number == c->n_classes) return false;
  kin_top_classes(c->probabilities + item * c->n_classes, c->n_classes, 1, 0, &best);
  *truth = (uint32_t)number, *told = (uint32_t)best;
  return true;
}

bool classify_is_wrong(const classification *c, size_t item, const char **truth) {
  uint32_t number, told;
  if (!compare_truth(c, item, &number, &told) || number == told) return false;
  *truth = c->names[number];
  return true;
}

int classify_measure(classification *c) {
  classify_scores *s = &c->known;
  const size_t n = c->items.set.n;
  if (!c->items.labels || strcmp(c->mode, "pairs") == 0) return CLI_OK;
  uint32_t *truths = calloc(n, sizeof *truths), *told = calloc(n, sizeof *told);
  s->confusion = calloc(c->n_classes, c->n_classes * sizeof *s->confusion);
  kin_error err;
  int status = CLI_OK;
  if (!truths || !told || !s->confusion) status = out_of_memory(c);
  for (size_t i = 0; status == CLI_OK && i < n; i++) s->n += compare_truth(c, i, &truths[s->n], &told[s->n]);
  for (size_t i = 0; i < s->n; i++) s->right += truths[i] == told[i];
  if (s->n) s->accuracy = (double)s->right / (double)s->n;
  if (status == CLI_OK && kin_confusion(truths, told, s->n, c->n_classes, s->confusion, &err) != KIN_OK)
    status = cli_failed(&err);
  if (status == CLI_OK && s->n == 0) cli_error("no item's known class is one of the labels: accuracy isn't measured");
  free(truths), free(told);
  return status;
}
