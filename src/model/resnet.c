/* The ResNet's forward pass.
 *
 * Early stages have few weights and large activations, late ones the reverse. So pictures go through each stage
 * by as many at a time as make about the same number of pixels, which keeps the activations of the early stages in
 * the caches and lets the late stages read their weights once for many pictures. */
#include "model/resnet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Pixels that go through a stage at once, and for each thread at least. */
enum { GROUP_PIXELS = 768, GROUP_PIXELS_PER_THREAD = 128, LEVELS = KIN_RESNET_STAGES + 1 };

/* Level 0 is the stem, level i stage i - 1. */
struct kin_resnet_workspace {
  size_t at_once[LEVELS]; /* pictures */
  float *out[LEVELS];     /* of each level, for as many pictures as the next one takes at once */
  float *block[2];        /* a stage's blocks but the last, in turn */
  float *points;          /* of a 3x3 convolution */
  float *reduced, *convolved, *pooled, *identity;         /* within a block; `reduced` also the stem's columns */
  float *tokens, *query, *keys, *scores, *mixed, *values; /* of the attention pool */
};

typedef struct pass {
  const kin_resnet *r;
  const kin_context *context;
  kin_resnet_workspace *w;
  const uint8_t *crops;
} pass;

static size_t larger(size_t a, size_t b) {
  return a > b ? a : b;
}

/* Floats from one pixel to the next: rows of a power of two of kilobytes would all fall onto the same cache sets. */
static size_t stride(size_t channels) {
  return channels < 256 ? (channels + 15) / 16 * 16 : kin_row_stride(channels);
}

/* Pixels along a side, and channels, of a level's output. */
static size_t side_of(const kin_resnet *r, size_t level) {
  return r->image_size / (level ? (size_t)2 << level : 4);
}

static size_t channels_of(const kin_resnet *r, size_t level) {
  return level ? r->width << (level + 1) : r->width;
}

static size_t floats_of(const kin_resnet *r, size_t level) {
  return side_of(r, level) * side_of(r, level) * stride(channels_of(r, level));
}

static size_t tokens_of(const kin_resnet *r) {
  return 1 + side_of(r, LEVELS - 1) * side_of(r, LEVELS - 1);
}

/* -------------------------------------------------------------- workspace */

static void workspace_free(kin_resnet_workspace *w) {
  if (w) kin_free_aligned(w->out[0]);
  free(w);
}

/* Floats of each array, in the order of `places`. */
typedef struct plan {
  float **place;
  size_t floats;
} plan;

enum { COLUMNS_LD = 32, TAPS = 27 }; /* of the first convolution: 3 x 3 pixels of 3 channels */

/* relu(3x3 convolution of `in`). */
static void convolve(const pass *p, const kin_pictures *in, const kin_linear *linear, float *out) {
  kin_convolve_3x3(p->context, in, kin_resnet_tile(in->height), &linear->w, p->w->points, linear->bias, KIN_ACT_RELU,
                   out, stride(linear->w.n));
}

static size_t points_floats(size_t images, size_t side, size_t channels) {
  return kin_convolution_floats(&(kin_pictures){images, side, side, channels, NULL, 0}, kin_resnet_tile(side));
}

static size_t plan_stages(const kin_resnet *r, kin_resnet_workspace *w, plan *plans) {
  size_t n = 0, half = r->image_size / 2, half_stride = stride(r->width / 2);
  size_t block = 0, reduced = w->at_once[0] * half * half * larger(COLUMNS_LD, half_stride);
  size_t convolved = w->at_once[0] * half * half * larger(half_stride, stride(r->width)), pooled = 0, identity = 0;
  size_t points = points_floats(w->at_once[0], half, r->width / 2);
  for (size_t level = 0; level < LEVELS; level++) {
    size_t next = level + 1 < LEVELS ? level + 1 : level;
    plans[n++] = (plan){&w->out[level], w->at_once[next] * floats_of(r, level)};
    if (level == 0) continue;
    size_t side = side_of(r, level - 1), pixels = w->at_once[level] * side * side;
    size_t channels = r->width << (level - 1), planes = stride(channels);
    points = larger(points, points_floats(w->at_once[level], side, channels));
    points = larger(points, points_floats(w->at_once[level], side_of(r, level), channels));
    block = larger(block, w->at_once[level] * floats_of(r, level));
    reduced = larger(reduced, pixels * planes);
    convolved = larger(convolved, pixels * planes);
    pooled = larger(pooled, pixels / 4 * stride(channels_of(r, level - 1)));
    identity = larger(identity, w->at_once[level] * floats_of(r, level));
  }
  plans[n++] = (plan){&w->block[0], block};
  plans[n++] = (plan){&w->block[1], block};
  plans[n++] = (plan){&w->points, points};
  plans[n++] = (plan){&w->reduced, reduced};
  plans[n++] = (plan){&w->convolved, convolved};
  plans[n++] = (plan){&w->pooled, pooled};
  plans[n++] = (plan){&w->identity, identity};
  return n;
}

static size_t plan_pool(const kin_resnet *r, kin_resnet_workspace *w, plan *plans) {
  size_t n = w->at_once[LEVELS - 1], ld = stride(32 * r->width);
  plans[0] = (plan){&w->tokens, n * tokens_of(r) * ld};
  plans[1] = (plan){&w->query, n * ld};
  plans[2] = (plan){&w->keys, n * r->heads * ld};
  plans[3] = (plan){&w->scores, n * r->heads * tokens_of(r)};
  plans[4] = (plan){&w->mixed, n * r->heads * ld};
  plans[5] = (plan){&w->values, n * ld};
  return 6;
}

static kin_resnet_workspace *workspace_take(kin_resnet *r, const kin_context *context, size_t images) {
  kin_resnet_workspace *w = kin_kept_take(&r->workspaces);
  size_t pixels = larger(GROUP_PIXELS, GROUP_PIXELS_PER_THREAD * (size_t)kin_pool_threads(context->pool));
  size_t at_once[LEVELS];
  for (size_t level = 0; level < LEVELS; level++) {
    size_t area = side_of(r, level) * side_of(r, level);
    at_once[level] = (pixels + area - 1) / area;
    if (at_once[level] > images) at_once[level] = images;
  }
  if (w && w->at_once[LEVELS - 1] >= at_once[LEVELS - 1]) return w;
  workspace_free(w);
  w = calloc(1, sizeof *w);
  if (!w) return NULL;
  memcpy(w->at_once, at_once, sizeof at_once);
  plan plans[LEVELS + 13];
  size_t n = plan_stages(r, w, plans), total = 0;
  n += plan_pool(r, w, plans + n);
  for (size_t i = 0; i < n; i++) total += (plans[i].floats + 15) / 16 * 16;
  float *memory = kin_alloc_aligned(total * sizeof *memory);
  if (!memory) {
    free(w);
    return NULL;
  }
  for (size_t i = 0; i < n; i++) {
    *plans[i].place = memory;
    memory += (plans[i].floats + 15) / 16 * 16;
  }
  return w;
}

/* ---------------------------------------------------------------- stages */

typedef struct halving {
  const kin_kernels *kernels;
  const kin_pictures *in;
  float *out;
} halving;

static void halve_line(void *arg, size_t line) {
  const halving *h = arg;
  const kin_pictures *in = h->in;
  size_t width = in->width / 2, ld = in->ld;
  const float *top = in->values + 2 * line * in->width * ld, *bottom = top + in->width * ld;
  float *out = h->out + line * width * ld;
  for (size_t x = 0; x < width; x++)
    h->kernels->average(top + 2 * x * ld, top + (2 * x + 1) * ld, bottom + 2 * x * ld, bottom + (2 * x + 1) * ld,
                        in->channels, out + x * ld);
}

/* The average of every 2x2 pixels; sides are even. */
static void halve(const kin_context *context, const kin_pictures *in, float *out) {
  halving h = {context->kernels, in, out};
  kin_parallel_for(context->pool, in->images * in->height / 2, halve_line, &h);
}

/* A line of the first convolution's inputs: stride 2, one pixel of zeros around; k in the order (ky, kx, channel). */
static void cut_line(void *arg, size_t line) {
  const pass *p = arg;
  size_t side = p->r->image_size, half = side / 2, y = line % half;
  const uint8_t *crop = p->crops + line / half * side * side * 3;
  float *row = p->w->reduced + line * half * COLUMNS_LD;
  for (size_t x = 0; x < half; x++, row += COLUMNS_LD)
    for (size_t tap = 0; tap < 9; tap++) {
      size_t sy = 2 * y + tap / 3, sx = 2 * x + tap % 3; /* plus one */
      const uint8_t *pixel = sy && sx ? crop + ((sy - 1) * side + sx - 1) * 3 : NULL;
      for (size_t c = 0; c < 3; c++) row[tap * 3 + c] = pixel ? p->r->normalise[c][pixel[c]] : 0.0f;
    }
}

static void run_stem(pass *p, size_t n, float *out) {
  const kin_resnet *r = p->r;
  size_t half = r->image_size / 2, pixels = n * half * half, narrow = r->width / 2, ld = stride(narrow);
  kin_parallel_for(p->context->pool, n * half, cut_line, p);
  kin_gemm(p->context, pixels, p->w->reduced, COLUMNS_LD, &r->stem[0].w, p->w->convolved, ld,
           &(kin_tail){.bias = r->stem[0].bias, .act = KIN_ACT_RELU});
  kin_pictures first = {n, half, half, narrow, p->w->convolved, ld};
  convolve(p, &first, &r->stem[1], p->w->reduced);
  kin_pictures second = {n, half, half, narrow, p->w->reduced, ld};
  convolve(p, &second, &r->stem[2], p->w->convolved);
  kin_pictures third = {n, half, half, r->width, p->w->convolved, stride(r->width)};
  halve(p->context, &third, out);
}

/* relu(x + conv3(conv2(conv1(x)))), where x may be averaged and have a convolution of its own. */
static void run_block(pass *p, const kin_bottleneck *b, const kin_pictures *in, float *out) {
  kin_resnet_workspace *w = p->w;
  size_t planes = b->conv1.w.n, ld = stride(planes), out_ld = stride(b->conv3.w.n);
  size_t pixels = in->images * in->height * in->width;
  const float *x = in->values;
  kin_gemm(p->context, pixels, x, in->ld, &b->conv1.w, w->reduced, ld,
           &(kin_tail){.bias = b->conv1.bias, .act = KIN_ACT_RELU});
  kin_pictures reduced = {in->images, in->height, in->width, planes, w->reduced, ld};
  convolve(p, &reduced, &b->conv2, w->convolved);
  const float *convolved = w->convolved;
  if (b->halves) {
    kin_pictures whole = {in->images, in->height, in->width, planes, w->convolved, ld};
    halve(p->context, &whole, w->reduced);
    halve(p->context, in, w->pooled);
    convolved = w->reduced, x = w->pooled, pixels /= 4;
  }
  size_t x_ld = in->ld;
  if (b->downsample.w.n) {
    kin_gemm(p->context, pixels, x, x_ld, &b->downsample.w, w->identity, out_ld,
             &(kin_tail){.bias = b->downsample.bias});
    x = w->identity, x_ld = out_ld;
  }
  kin_gemm(p->context, pixels, convolved, ld, &b->conv3.w, out, out_ld,
           &(kin_tail){.bias = b->conv3.bias, .residual = x, .residual_ld = x_ld, .last = KIN_ACT_RELU});
}

static void run_stage(pass *p, size_t level, size_t n, float *out) {
  const kin_resnet *r = p->r;
  size_t side = side_of(r, level - 1), channels = channels_of(r, level - 1);
  kin_pictures x = {n, side, side, channels, p->w->out[level - 1], stride(channels)};
  for (size_t i = 0; i < r->blocks[level - 1]; i++) {
    float *to = i + 1 == r->blocks[level - 1] ? out : p->w->block[i % 2];
    run_block(p, &r->bottlenecks[level - 1][i], &x, to);
    channels = channels_of(r, level), side = side_of(r, level);
    x = (kin_pictures){n, side, side, channels, to, stride(channels)};
  }
}

/* n pictures through all levels up to `level`, into out. */
static void run_level(pass *p, size_t level, size_t n, float *out) {
  size_t group = p->w->at_once[level], pixels = p->r->image_size * p->r->image_size;
  for (size_t i = 0, count; i < n; i += count, out += count * floats_of(p->r, level)) {
    count = n - i < group ? n - i : group;
    pass part = *p;
    part.crops += i * pixels * 3;
    if (level > 0) run_level(&part, level - 1, count, p->w->out[level - 1]);
    if (level > 0)
      run_stage(&part, level, count, out);
    else
      run_stem(&part, count, out);
  }
}

/* -------------------------------------------------------- attention pool */

/* One picture's tokens: the mean of its pixels, then these, all with their positions. */
static void place_tokens(void *arg, size_t image) {
  const pass *p = arg;
  const kin_kernels *kernels = p->context->kernels;
  size_t width = 32 * p->r->width, ld = stride(width), tokens = tokens_of(p->r), pixels = tokens - 1;
  const float *x = p->w->out[LEVELS - 1] + image * pixels * ld, *positions = p->r->positions;
  float *mean = p->w->tokens + image * tokens * ld;
  memcpy(mean, x, width * sizeof *mean);
  for (size_t i = 1; i < pixels; i++) kernels->add(mean, x + i * ld, width, mean);
  kernels->scale(mean, 1.0f / (float)pixels, width);
  kernels->add(mean, positions, width, mean);
  for (size_t i = 0; i < pixels; i++) kernels->add(x + i * ld, positions + (i + 1) * width, width, mean + (i + 1) * ld);
}

/* One picture's tokens mixed for each head by how well they match its key. */
static void mix_tokens(void *arg, size_t task) {
  const pass *p = arg;
  const kin_kernels *kernels = p->context->kernels;
  size_t heads = p->r->heads, width = 32 * p->r->width, ld = stride(width), tokens = tokens_of(p->r);
  size_t image = task / heads;
  const float *x = p->w->tokens + image * tokens * ld, *key = p->w->keys + task * ld;
  float *scores = p->w->scores + task * tokens, *mixed = p->w->mixed + task * ld;
  for (size_t i = 0; i < tokens; i++) scores[i] = kernels->dot(key, x + i * ld, width);
  kernels->softmax(scores, 1.0f / sqrtf((float)(width / heads)), tokens);
  for (size_t i = 0; i < width; i += KIN_PANEL)
    kernels->gemm_tile(1, tokens, scores, tokens, x + i, ld, mixed + i, ld, false, (kin_ahead){0});
}

static void pool(pass *p, size_t n, float *out) {
  const kin_resnet *r = p->r;
  kin_resnet_workspace *w = p->w;
  size_t width = 32 * r->width, ld = stride(width), head_dim = width / r->heads;
  kin_parallel_for(p->context->pool, n, place_tokens, p);
  kin_gemm(p->context, n, w->tokens, tokens_of(r) * ld, &r->query.w, w->query, ld, &(kin_tail){.bias = r->query.bias});
  for (size_t h = 0; h < r->heads; h++)
    kin_gemm(p->context, n, w->query + h * head_dim, ld, &r->pool[h].key, w->keys + h * ld, r->heads * ld, NULL);
  kin_parallel_for(p->context->pool, n * r->heads, mix_tokens, p);
  for (size_t h = 0; h < r->heads; h++)
    kin_gemm(p->context, n, w->mixed + h * ld, r->heads * ld, &r->pool[h].value, w->values + h * head_dim, ld,
             &(kin_tail){.bias = r->value_bias + h * head_dim});
  kin_gemm(p->context, n, w->values, ld, &r->out.w, out, r->dim, &(kin_tail){.bias = r->out.bias});
}

kin_status kin_resnet_encode(void *self, const kin_context *context, const uint8_t *crops, size_t n, float *out,
                             kin_error *err) {
  kin_resnet *r = self;
  pass p = {.r = r, .context = context, .crops = crops, .w = workspace_take(r, context, n)};
  if (!p.w) return kin_fail(err, KIN_ERR_MEMORY, "no memory to encode %zu pictures at once", n);
  size_t group = p.w->at_once[LEVELS - 1], pixels = r->image_size * r->image_size;
  for (size_t i = 0; i < n; i += group, p.crops += group * pixels * 3) {
    size_t count = n - i < group ? n - i : group;
    run_level(&p, LEVELS - 1, count, p.w->out[LEVELS - 1]);
    pool(&p, count, out + i * r->dim);
  }
  workspace_free(kin_kept_give(&r->workspaces, p.w));
  return KIN_OK;
}

void kin_resnet_visit(void *self, kin_visitor *v) {
  kin_resnet *r = self;
  size_t width = 32 * r->width;
  for (size_t i = 0; i < 3; i++) kin_visit_linear(v, &r->stem[i]);
  for (size_t stage = 0; stage < KIN_RESNET_STAGES; stage++)
    for (size_t i = 0; r->bottlenecks[stage] && i < r->blocks[stage]; i++) {
      kin_bottleneck *b = &r->bottlenecks[stage][i];
      kin_visit_linear(v, &b->conv1), kin_visit_linear(v, &b->conv2), kin_visit_linear(v, &b->conv3);
      kin_visit_linear(v, &b->downsample);
    }
  for (size_t h = 0; r->pool && h < r->heads; h++)
    kin_visit_packed(v, &r->pool[h].key), kin_visit_packed(v, &r->pool[h].value);
  kin_visit_linear(v, &r->query), kin_visit_linear(v, &r->out);
  kin_visit_floats(v, &r->positions, tokens_of(r) * width);
  kin_visit_floats(v, &r->value_bias, width);
}

void kin_resnet_close(void *self) {
  kin_resnet *r = self;
  if (!r) return;
  for (size_t stage = 0; stage < KIN_RESNET_STAGES; stage++) free(r->bottlenecks[stage]);
  free(r->pool);
  for (kin_resnet_workspace *w; (w = kin_kept_take(&r->workspaces)) != NULL;) workspace_free(w);
  free(r);
}
