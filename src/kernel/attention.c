/* Scaled dot-product attention, a task for each sequence and head, on the GEMM tiles. */
#include "kernel/attention.h"

#include <math.h>
#include <string.h>

/* c[rows][columns, whole panels] = a[rows][k] * b, whose panels are `panel_stride` floats apart. */
static void multiply(const attend *t, size_t rows, size_t k, const float *a, size_t lda, const float *b, size_t ldb,
                     size_t panel_stride, float *c, size_t ldc, size_t columns) {
  size_t strips = divide_up(rows, t->kernels->tile_rows);
  for (size_t s = 0; s < strips; s++) {
    size_t begin = rows * s / strips, end = rows * (s + 1) / strips;
    for (size_t j = 0; j < columns; j += KIN_PANEL)
      t->kernels->gemm_tile(end - begin, k, a + begin * lda, lda, b + j / KIN_PANEL * panel_stride, ldb,
                            c + begin * ldc + j, ldc, false, (kin_ahead){0});
  }
}

/* One task's memory: keys transposed, values padded to whole panels (where they aren't already), and
 * the scores and outputs of a block of queries. */
typedef struct scratch {
  float *keys, *values, *scores, *out;
  size_t score_ld, value_width;
} scratch;

static bool scratch_open(const attend *t, scratch *s) {
  size_t tokens = whole_panels(t->longest), d = t->a->head_dim;
  s->score_ld = kin_row_stride(tokens);
  s->value_width = whole_panels(d);
  size_t keys = d * tokens, values = s->value_width == d ? 0 : t->longest * s->value_width;
  s->keys = kin_alloc_aligned((keys + values + QUERY_BLOCK * (s->score_ld + s->value_width)) * sizeof(float));
  if (!s->keys) return false;
  s->values = s->keys + keys;
  s->scores = s->values + values;
  s->out = s->scores + QUERY_BLOCK * s->score_ld;
  return true;
}

/* Queries [first, first + n) of one sequence and head. */
static void attend_block(const attend *t, const scratch *s, const float *q, const float *values, size_t value_ld,
                         size_t tokens, size_t first, size_t n, size_t out_row, size_t out_column) {
  const kin_attention *a = t->a;
  size_t seen = a->causal ? first + n : tokens, d = a->head_dim;
  multiply(t, n, d, q, a->q.ld, s->keys, KIN_PANEL, d * KIN_PANEL, s->scores, s->score_ld, whole_panels(seen));
  for (size_t i = 0; i < n; i++) {
    float *row = s->scores + i * s->score_ld;
    size_t visible = a->causal ? first + i + 1 : tokens;
    t->kernels->softmax(row, t->scale, visible);
    memset(row + visible, 0, (seen - visible) * sizeof *row);
  }
  multiply(t, n, seen, s->scores, s->score_ld, values, value_ld, KIN_PANEL, s->out, s->value_width, s->value_width);
  for (size_t i = 0; i < n; i++) {
    size_t to = (out_row + i) * a->out.ld + out_column;
    memcpy(a->out.f + to, s->out + i * s->value_width, d * sizeof *s->out);
  }
}

static void attend_head(void *arg, size_t task) {
  attend *t = arg;
  const kin_attention *a = t->a;
  size_t sequence = task / a->heads, head = task % a->heads, d = a->head_dim;
  size_t start = a->starts[sequence], tokens = a->starts[sequence + 1] - start;
  scratch s;
  if (!scratch_open(t, &s)) {
    atomic_store(&t->no_memory, true);
    return;
  }
  size_t column = head * d, value_ld = a->k.ld;
  const float *k = a->k.f + start * a->k.ld + column, *v = a->v.f + start * a->k.ld + column;
  for (size_t j = 0; j < tokens; j += KIN_PANEL)
    t->kernels->transpose(k + j * a->k.ld, a->k.ld, tokens - j < KIN_PANEL ? tokens - j : KIN_PANEL, d, s.keys + j * d,
                          KIN_PANEL, KIN_PANEL);
  if (s.value_width != d) {
    memset(s.values, 0, tokens * s.value_width * sizeof *s.values);
    for (size_t i = 0; i < tokens; i++) memcpy(s.values + i * s.value_width, v + i * a->k.ld, d * sizeof *v);
    v = s.values, value_ld = s.value_width;
  }
  if (a->query_rows) {
    attend_block(t, &s, a->q.f + sequence * a->q.ld + column, v, value_ld, tokens, a->query_rows[sequence], 1, sequence,
                 column);
  } else {
    for (size_t i = 0; i < tokens; i += QUERY_BLOCK)
      attend_block(t, &s, a->q.f + (start + i) * a->q.ld + column, v, value_ld, tokens, i,
                   tokens - i < QUERY_BLOCK ? tokens - i : QUERY_BLOCK, start + i, column);
  }
  kin_free_aligned(s.keys);
}

kin_status kin_attend(const kin_context *context, const kin_attention *attention, kin_error *err) {
  attend t = {.kernels = context->kernels,
              .bf16 = context->bf16,
              .a = attention,
              .scale = 1.0f / sqrtf((float)attention->head_dim)};
  for (size_t i = 0; i < attention->sequences; i++) {
    size_t tokens = attention->starts[i + 1] - attention->starts[i];
    if (tokens > t.longest) t.longest = tokens;
  }
  kin_parallel_for(context->pool, attention->sequences * attention->heads,
                   attention->q.h ? kin_attend_head_bf16 : attend_head, &t);
  if (atomic_load(&t.no_memory))
    return kin_fail(err, KIN_ERR_MEMORY, "no memory for attention over %zu tokens", t.longest);
  return KIN_OK;
}
