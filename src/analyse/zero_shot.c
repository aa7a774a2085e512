/* Zero-shot classification: vectors of labels in templates, and the probabilities that they give. */
#include "analyse/classify.h"
#include "base/context.h"
#include "text/unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------- templates */

enum { SETS = KIN_TEMPLATES_TEXTS_WITHOUT + 1, MOST = 5 };

/* Without articles, which the labels may bring ("a dog", "an empty road"), and in Korean without particles, which
 * depend on the label's last syllable. */
static const char *const english[SETS][MOST] = {
    [KIN_TEMPLATES_PHOTOS] = {"{}", "a photo of {}", "a picture of {}", "a close-up photo of {}",
                              "a photo that shows {}"},
    [KIN_TEMPLATES_PHOTOS_WITH] = {"with {}", "a photo with {}", "a picture with {} in it"},
    [KIN_TEMPLATES_PHOTOS_WITHOUT] = {"without {}", "a photo without {}", "a picture without {} in it"},
    [KIN_TEMPLATES_TEXTS] = {"{}", "this is about {}", "a text about {}"},
    [KIN_TEMPLATES_TEXTS_WITH] = {"this is about {}", "a text about {}"},
    [KIN_TEMPLATES_TEXTS_WITHOUT] = {"this is not about {}", "a text about something other than {}"},
};
static const char *const korean[SETS][MOST] = {
    [KIN_TEMPLATES_PHOTOS] = {"{}", "{} 사진", "{}의 사진", "{} 그림"},
    [KIN_TEMPLATES_PHOTOS_WITH] = {"{} 있음", "{} 있는 사진"},
    [KIN_TEMPLATES_PHOTOS_WITHOUT] = {"{} 없음", "{} 없는 사진"},
    [KIN_TEMPLATES_TEXTS] = {"{}", "{}에 대한 글", "{}에 관한 이야기"},
    [KIN_TEMPLATES_TEXTS_WITH] = {"{}에 대한 글", "{}에 관한 이야기"},
    [KIN_TEMPLATES_TEXTS_WITHOUT] = {"{} 아닌 것에 대한 글", "{} 아닌 다른 이야기"},
};
/* In signs, where English words would be strange beside the label. */
static const char *const bare[SETS][MOST] = {
    [KIN_TEMPLATES_PHOTOS] = {"{}"}, [KIN_TEMPLATES_PHOTOS_WITH] = {"+ {}"}, [KIN_TEMPLATES_PHOTOS_WITHOUT] = {"- {}"},
    [KIN_TEMPLATES_TEXTS] = {"{}"},  [KIN_TEMPLATES_TEXTS_WITH] = {"+ {}"},  [KIN_TEMPLATES_TEXTS_WITHOUT] = {"- {}"},
};

static bool is_hangul(uint32_t c) {
  return (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0x1100 && c <= 0x11FF) || (c >= 0x3130 && c <= 0x318F);
}

static bool is_latin(uint32_t c) {
  return c <= 0x24F || (c >= 0x1E00 && c <= 0x1EFF);
}

/* `label` is checked UTF-8. */
static const char *const *templates_for(kin_template_set set, const char *label) {
  const char *const *found = english[set];
  for (size_t at = 0, size = strlen(label); at < size;) {
    const uint32_t c = kin_utf8_next(label, &at);
    if (is_hangul(c)) return korean[set];
    if (kin_is_letter(c) && !is_latin(c)) found = bare[set];
  }
  return found;
}

const char *kin_default_template(kin_template_set set, const char *label, size_t i) {
  if ((unsigned)set >= SETS || i >= MOST || kin_utf8_check(label, strlen(label)) < strlen(label)) return NULL;
  return templates_for(set, label)[i];
}

/* `template` with each {} replaced; NULL for lack of memory. */
static char *fill(const char *template, const char *label) {
  size_t holes = 0;
  for (const char *at = template; (at = strstr(at, "{}")); at += 2) holes++;
  char *out = kin_array(strlen(template) + holes * strlen(label) + 1, 1), *to = out;
  if (!out) return NULL;
  while (*template) {
    if (template[0] == '{' && template[1] == '}') {
      to = stpcpy(to, label);
      template += 2;
    } else {
      *to++ = *template ++;
    }
  }
  *to = '\0';
  return out;
}

/* -------------------------------------------------------------------- labels */

static int by_text(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Of checked UTF-8. */
static bool is_blank(const char *name) {
  for (size_t at = 0, size = strlen(name); at < size;)
    if (!kin_is_space(kin_utf8_next(name, &at))) return false;
  return true;
}

kin_status kin_check_names(const char *what, const char *const *names, size_t n, kin_error *err) {
  const char **sorted = kin_array(n, sizeof *sorted);
  if (!sorted) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu names", n);
  kin_status status = KIN_OK;
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    sorted[i] = names[i];
    if (names[i] && kin_utf8_check(names[i], strlen(names[i])) < strlen(names[i]))
      status = kin_fail(err, KIN_ERR_FORMAT, "%s %zu of %zu isn't UTF-8", what, i + 1, n);
    else if (!names[i] || is_blank(names[i]))
      status = kin_fail(err, KIN_ERR_ARGUMENT, "%s %zu of %zu is empty", what, i + 1, n);
  }
  if (status == KIN_OK) qsort(sorted, n, sizeof *sorted, by_text);
  for (size_t i = 1; status == KIN_OK && i < n; i++)
    if (strcmp(sorted[i - 1], sorted[i]) == 0)
      status = kin_fail(err, KIN_ERR_ARGUMENT, "%s \"%.200s\" is given twice", what, sorted[i]);
  free(sorted);
  return status;
}

/* Labels are embedded so many at a time. */
enum { CHUNK = 16 };

typedef struct filled {
  const char **texts; /* [CHUNK * most templates], owned */
  size_t n;
  size_t starts[CHUNK + 1]; /* of each label's texts */
  float *rows;              /* [CHUNK * most templates][dim] */
} filled;

/* Put `n` labels into their templates. False for lack of memory. */
static bool fill_labels(const char *const *labels, size_t n, kin_template_set set, const char *const *templates,
                        size_t n_templates, filled *out) {
  out->n = 0;
  for (size_t i = 0; i < n; i++) {
    const char *const *own = templates ? templates : templates_for(set, labels[i]);
    const size_t most = templates ? n_templates : MOST;
    out->starts[i] = out->n;
    for (size_t t = 0; t < most && own[t]; t++) {
      if (!(out->texts[out->n] = fill(own[t], labels[i]))) return false;
      out->n++;
    }
  }
  out->starts[n] = out->n;
  return true;
}

/* out = the mean of rows[n][dim], at length 1. */
static void average(const float *rows, size_t n, size_t dim, float *out) {
  double squares = 0;
  for (size_t j = 0; j < dim; j++) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)rows[i * dim + j];
    out[j] = (float)(sum / (double)n);
    squares += (double)out[j] * (double)out[j];
  }
  for (size_t j = 0; squares > 0 && j < dim; j++) out[j] = (float)((double)out[j] / sqrt(squares));
}

static void free_texts(filled *f) {
  for (size_t i = 0; i < f->n; i++) free((char *)f->texts[i]);
  f->n = 0;
}

static kin_status check_labels(const kin_model *model, const char *const *labels, size_t n, kin_template_set set,
                               const char *const *templates, size_t n_templates, const float *out, kin_error *err) {
  if (!model || !labels || !out || n == 0)
    return kin_fail(err, KIN_ERR_ARGUMENT, "kin_embed_labels needs a model, at least one label and room");
  if ((unsigned)set >= SETS || (templates && n_templates == 0))
    return kin_fail(err, KIN_ERR_ARGUMENT, "kin_embed_labels needs at least one template");
  for (size_t i = 0; templates && i < n_templates; i++)
    if (!templates[i] || !strstr(templates[i], "{}"))
      return kin_fail(err, KIN_ERR_ARGUMENT, "the template \"%.200s\" has no {} for the label to stand in",
                      templates[i] ? templates[i] : "");
  return kin_check_names("label", labels, n, err);
}

kin_status kin_embed_labels(kin_model *model, const char *const *labels, size_t n, kin_template_set set,
                            const char *const *templates, size_t n_templates, float *out, kin_error *err) {
  kin_status status = check_labels(model, labels, n, set, templates, n_templates, out, err);
  if (status != KIN_OK) return status;
  const size_t dim = kin_model_dim(model), most = CHUNK * (templates ? n_templates : (size_t)MOST);
  filled f = {.texts = kin_array(most, sizeof *f.texts), .rows = kin_array(most * dim, sizeof *f.rows)};
  if (!f.texts || !f.rows) status = KIN_ERR_MEMORY;
  for (size_t first = 0; status == KIN_OK && first < n; first += CHUNK) {
    const size_t count = n - first < CHUNK ? n - first : CHUNK;
    const kin_embed_options options = {.role = KIN_TEXT_QUERY};
    if (fill_labels(labels + first, count, set, templates, n_templates, &f))
      status = kin_embed_texts(model, f.texts, f.n, &options, f.rows, err);
    else
      status = KIN_ERR_MEMORY;
    for (size_t i = 0; status == KIN_OK && i < count; i++)
      average(f.rows + f.starts[i] * dim, f.starts[i + 1] - f.starts[i], dim, out + (first + i) * dim);
    free_texts(&f);
  }
  free(f.texts);
  free(f.rows);
  if (status == KIN_ERR_MEMORY) return kin_fail(err, status, "out of memory for %zu labels", n);
  return status;
}

/* ------------------------------------------------------------- probabilities */

void kin_softmax(double *logits, size_t n) {
  double most = -INFINITY, sum = 0;
  for (size_t i = 0; i < n; i++) most = fmax(most, logits[i]);
  for (size_t i = 0; i < n; i++) sum += logits[i] = exp(logits[i] - most);
  for (size_t i = 0; i < n; i++) logits[i] /= sum;
}

size_t kin_top_classes(const double *probabilities, size_t n, size_t top, double threshold, size_t *out) {
  size_t held = 0;
  for (size_t c = 0; c < n; c++) {
    const double p = probabilities[c];
    if (!(p >= threshold) || top == 0 || (held == top && p <= probabilities[out[top - 1]])) continue;
    size_t at = held < top ? held++ : top - 1;
    for (; at > 0 && probabilities[out[at - 1]] < p; at--) out[at] = out[at - 1];
    out[at] = c;
  }
  return held;
}

typedef struct zero_shot {
  const kin_vector_set *items, *with, *without;
  const double *item_inverse, *with_inverse, *without_inverse;
  double scale;
  float *cosines;
  double *probabilities;
} zero_shot;

static double product(const float *a, const float *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
  return sum;
}

/* Task of the pool: one item. In double, since the scale is large. */
static void classify_item(void *arg, size_t i) {
  const zero_shot *z = arg;
  const size_t n = z->with->n, dim = z->items->dim;
  const float *item = z->items->values + i * dim;
  double *out = z->probabilities + i * n;
  for (size_t c = 0; c < n; c++) {
    const double length = z->item_inverse[i];
    const double with = product(item, z->with->values + c * dim, dim) * length * z->with_inverse[c];
    z->cosines[i * n + c] = (float)with;
    out[c] = z->scale * with;
    if (!z->without) continue;
    const double without = product(item, z->without->values + c * dim, dim) * length * z->without_inverse[c];
    out[c] = 1 / (1 + exp(z->scale * (without - with)));
  }
  if (!z->without) kin_softmax(out, n);
}

static kin_status check_zero_shot(const zero_shot *z, kin_error *err) {
  if (!z->items || !z->with || !z->cosines || !z->probabilities)
    return kin_fail(err, KIN_ERR_ARGUMENT, "kin_zero_shot needs items, classes and room");
  if (z->items->dim != z->with->dim || (z->without && z->without->dim != z->with->dim))
    return kin_fail(err, KIN_ERR_MISMATCH, "items of %zu floats can't be compared with classes of %zu", z->items->dim,
                    z->with->dim);
  if (z->without && z->without->n != z->with->n)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%zu classes, but %zu opposites", z->with->n, z->without->n);
  if (!z->without && z->with->n < 2)
    return kin_fail(err, KIN_ERR_ARGUMENT,
                    "one label alone is always the likeliest: give at least two, or decide it for itself by pairs");
  if (!(z->scale > 0) || !isfinite(z->scale))
    return kin_fail(err, KIN_ERR_ARGUMENT, "the scale from cosines to logits must be positive, not %g", z->scale);
  return KIN_OK;
}

kin_status kin_zero_shot(kin_context *context, const kin_vector_set *items, const kin_vector_set *with,
                         const kin_vector_set *without, double scale, float *cosines, double *probabilities,
                         kin_error *err) {
  zero_shot z = {.items = items,
                 .with = with,
                 .without = without,
                 .scale = scale,
                 .cosines = cosines,
                 .probabilities = probabilities};
  double *inverse[3] = {0};
  kin_status status = check_zero_shot(&z, err);
  if (status == KIN_OK) status = kin_inverse_lengths(items, &inverse[0], err);
  if (status == KIN_OK) status = kin_inverse_lengths(with, &inverse[1], err);
  if (status == KIN_OK && without) status = kin_inverse_lengths(without, &inverse[2], err);
  z.item_inverse = inverse[0], z.with_inverse = inverse[1], z.without_inverse = inverse[2];
  if (status == KIN_OK) kin_parallel_for(context->pool, items->n, classify_item, &z);
  for (size_t i = 0; i < 3; i++) free(inverse[i]);
  return status;
}
