/* Weights in 8 bits: what goes before their rounding. */
#include "model/loader.h"

#include <math.h>

/* Weight of input channel j and output channel i. */
static float *weight_at(const kin_packed *w, size_t j, size_t i) {
  return w->panels + (i / KIN_PANEL * w->k + j) * KIN_PANEL + i % KIN_PANEL;
}

static float largest_of_channel(const kin_packed *w, size_t j, size_t first) {
  float most = 0;
  for (size_t i = first; i < w->n; i++) most = fmaxf(most, fabsf(*weight_at(w, j, i)));
  return most;
}

/* The norm's bias times the weights, into the linear's. */
static void fold_shift(kin_linear *p, const float *shift) {
  for (size_t i = 0; i < p->w.n; i++) {
    double sum = (double)p->bias[i];
    for (size_t j = 0; j < p->w.k; j++) sum += (double)shift[j] * (double)*weight_at(&p->w, j, i);
    p->bias[i] = (float)sum;
  }
}

/* Divide input channel j and multiply its weights by sqrt(input / weight), SmoothQuant's balance. The size of an
 * input isn't measured but known: a norm's output without its bias has the deviation |norm weight|. Weights of output
 * channels before `first` don't count. */
static void even_out(kin_linear *p, const kin_norm *norm, size_t first) {
  double total = 0;
  for (size_t j = 0; j < p->w.k; j++) {
    double input = fmax(fabs((double)norm->weight[j]), 1e-5);
    double weight = fmax((double)largest_of_channel(&p->w, j, first), 1e-5);
    p->multiply[j] = (float)sqrt(input / weight);
    total += (double)p->multiply[j];
  }
  double mean = total / (double)p->w.k;
  for (size_t j = 0; j < p->w.k; j++) {
    float s = fmaxf((float)((double)p->multiply[j] / mean), 1e-3f);
    for (size_t i = 0; i < p->w.n; i++) *weight_at(&p->w, j, i) *= s;
    p->multiply[j] = 1 / s;
    p->add[j] = -norm->bias[j] / s;
  }
}

/* A bias of zeros where there is none. */
static bool ensure_bias(kin_linear *p) {
  if (p->bias) return true;
  p->bias = kin_alloc_aligned(p->w.n * sizeof *p->bias);
  for (size_t i = 0; p->bias && i < p->w.n; i++) p->bias[i] = 0;
  return p->bias != NULL;
}

/* Replace the float weights, keeping count of the bytes. */
static void round_weights(kin_loader *l, kin_linear *p) {
  l->bytes -= kin_packed_bytes(&p->w);
  l->status = kin_pack_to_int8(&p->w, l->err);
  if (l->status == KIN_OK) l->bytes += kin_packed_bytes(&p->w);
}

static void no_memory(kin_loader *l) {
  l->status = kin_fail(l->err, KIN_ERR_MEMORY, "no memory for 8-bit weights");
}

void kin_load_int8(kin_loader *l, kin_linear *p, const kin_norm *norm, size_t first) {
  if (l->status != KIN_OK) return;
  if (norm) {
    p->multiply = kin_alloc_aligned(p->w.k * sizeof *p->multiply);
    p->add = kin_alloc_aligned(p->w.k * sizeof *p->add);
    if (!p->multiply || !p->add || !ensure_bias(p)) {
      no_memory(l);
      return;
    }
    fold_shift(p, norm->bias);
    even_out(p, norm, first);
    l->bytes += 2 * p->w.k * sizeof *p->multiply;
  }
  round_weights(l, p);
}

void kin_load_int8_pixels(kin_loader *l, kin_linear *p, size_t area, const float *normalise) {
  double shift[3];
  if (l->status != KIN_OK) return;
  if (!ensure_bias(p)) {
    no_memory(l);
    return;
  }
  for (size_t c = 0; c < 3; c++) {
    double slope = ((double)normalise[c * 256 + 255] - (double)normalise[c * 256]) / 255;
    shift[c] = (double)normalise[c * 256] / slope;
    for (size_t j = c * area; j < (c + 1) * area; j++)
      for (size_t i = 0; i < p->w.n; i++) *weight_at(&p->w, j, i) *= (float)slope;
  }
  round_weights(l, p);
  /* What normalising subtracts, times the rounded weights: so a picture of the mean colour has no error. */
  for (size_t i = 0; l->status == KIN_OK && i < p->w.n; i++) {
    const int8_t *w = p->w.int8 + i / KIN_PANEL * KIN_PANEL * kin_int8_stride(p->w.k) + i % KIN_PANEL * 4;
    double sum = 0;
    for (size_t j = 0; j < p->w.k; j++) sum += shift[j / area] * (double)w[j / 4 * 4 * KIN_PANEL + j % 4];
    p->bias[i] = (float)((double)p->bias[i] + sum * (double)p->w.scales[i]);
  }
}
