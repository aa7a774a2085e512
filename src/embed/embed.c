/* Options, normalisation and reports of the pipeline, and the cosine. */
#include "embed/embed.h"

#include "model/model.h"

#include <math.h>
#include <string.h>
#include <time.h>

kin_embed_options kin_embed_resolve(const kin_embed_options *options, size_t default_batch) {
  kin_embed_options o = options ? *options : (kin_embed_options){0};
  if (o.batch == 0) o.batch = default_batch;
  if (o.max_pixels == 0) o.max_pixels = KIN_DEFAULT_MAX_PIXELS;
  return o;
}

static double dot(const float *a, const float *b, size_t dim) {
  double sum = 0;
  for (size_t i = 0; i < dim; i++) sum += (double)a[i] * (double)b[i];
  return sum;
}

double kin_embed_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

kin_status kin_embed_finish(const kin_model *model, const float *row, bool raw, float *out, kin_error *err) {
  size_t dim = kin_model_dim(model);
  /* The sum runs in double in one order, so that the bits depend on nothing else. */
  double squares = dot(row, row, dim);
  if (!isfinite(squares))
    return kin_fail(err, KIN_ERR_FORMAT, "%s: the model gave a vector that isn't finite", kin_model_dir(model));
  double norm = raw || squares == 0 ? 1 : sqrt(squares);
  for (size_t i = 0; i < dim; i++) out[i] = (float)((double)row[i] / norm);
  return KIN_OK;
}

kin_status kin_embed_scatter(const kin_model *model, const kin_outcome *outcomes, size_t n, const float *rows, bool raw,
                             float *out, kin_error *err) {
  size_t dim = kin_model_dim(model);
  for (size_t i = 0; i < n; i++, out += dim) {
    if (outcomes[i].error.status != KIN_OK) {
      memset(out, 0, dim * sizeof *out);
      continue;
    }
    kin_status status = kin_embed_finish(model, rows, raw, out, err);
    if (status != KIN_OK) return status;
    rows += dim;
  }
  return KIN_OK;
}

kin_status kin_embed_report(const kin_embed_options *options, size_t first, size_t n, const kin_outcome *outcomes,
                            kin_error *err) {
  for (size_t i = 0; i < n; i++) {
    const kin_outcome *o = &outcomes[i];
    bool ok = o->error.status == KIN_OK;
    if (!options->on_item) {
      if (!ok) return kin_fail(err, o->error.status, "%s", o->error.message);
      continue;
    }
    kin_item_report report = {first + i, o->error.status, ok ? NULL : o->error.message, o->width, o->height};
    if (!options->on_item(options->user, &report)) return kin_fail(err, KIN_ERR_CANCELLED, "stopped on request");
  }
  return KIN_OK;
}

float kin_cosine(const kin_context *context, const float *a, const float *b, size_t dim) {
  (void)context; /* two vectors are too few to gain from a kernel */
  double squares = dot(a, a, dim) * dot(b, b, dim);
  if (squares == 0) return 0;
  return (float)fmax(-1, fmin(1, dot(a, b, dim) / sqrt(squares)));
}
