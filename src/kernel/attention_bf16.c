/* Scaled dot-product attention on bfloat16 rows, a task for each sequence and head, on the bfloat16 GEMM tiles. */
#include "kernel/attention.h"

#include <string.h>

/* One task's memory: keys and values as panels, and a block's scores, their softmax, and outputs. */
typedef struct scratch {
  float *scores, *out;
  uint16_t *keys, *values, *weights;
  size_t score_ld, value_width;
} scratch;

static bool scratch_open(const attend *t, scratch *s) {
  size_t tokens = whole_panels(t->longest), d = t->a->head_dim;
  s->score_ld = kin_row_stride(tokens), s->value_width = whole_panels(d);
  size_t floats = QUERY_BLOCK * (s->score_ld + s->value_width);
  size_t halves = d * tokens + tokens * s->value_width + QUERY_BLOCK * s->score_ld;
  s->scores = kin_alloc_aligned(floats * sizeof(float) + halves * sizeof(uint16_t));
  if (!s->scores) return false;
  s->out = s->scores + QUERY_BLOCK * s->score_ld;
  s->keys = (uint16_t *)(void *)(s->scores + floats);
  s->values = s->keys + d * tokens;
  s->weights = s->values + tokens * s->value_width;
  return true;
}

/* Keys [tokens][d]: a panel's columns are tokens, so that a pair of k moves as one float would. */
static void pack_keys(const attend *t, const uint16_t *k, size_t tokens, uint16_t *out) {
  size_t pairs = t->a->head_dim / 2, ld = t->a->k.ld / 2;
  for (size_t j = 0; j < tokens; j += KIN_PANEL)
    t->kernels->transpose((const float *)(const void *)(k + j * t->a->k.ld), ld,
                          tokens - j < KIN_PANEL ? tokens - j : KIN_PANEL, pairs,
                          (float *)(void *)(out + j * t->a->head_dim), KIN_PANEL, KIN_PANEL);
}

/* Values [tokens][d]: a panel's columns are those of d, and k the tokens, an odd one paired with zeros. */
static void pack_values(const attend *t, const uint16_t *v, size_t tokens, uint16_t *out) {
  static const uint16_t zeros[KIN_PANEL];
  size_t d = t->a->head_dim, pairs = (tokens + 1) / 2;
  for (size_t column = 0; column < d; column += KIN_PANEL) {
    size_t n = d - column < KIN_PANEL ? d - column : KIN_PANEL;
    for (size_t i = 0; i < pairs; i++, out += 2 * KIN_PANEL) {
      const uint16_t *first = v + 2 * i * t->a->v.ld + column;
      const uint16_t *second = 2 * i + 1 < tokens ? first + t->a->v.ld : zeros;
      for (size_t j = 0; j < n; j++) out[2 * j] = first[j], out[2 * j + 1] = second[j];
      memset(out + 2 * n, 0, 2 * (KIN_PANEL - n) * sizeof *out);
    }
  }
}

/* c[rows][columns, whole panels] = a[rows][2 * pairs] * panels that are `stride` apart. */
static void multiply(const attend *t, size_t rows, size_t pairs, const uint16_t *a, size_t lda, const uint16_t *b,
                     size_t stride, float *c, size_t ldc, size_t columns) {
  size_t strips = divide_up(rows, t->bf16->tile_rows);
  for (size_t s = 0; s < strips; s++) {
    size_t begin = rows * s / strips, end = rows * (s + 1) / strips;
    for (size_t j = 0; j < columns; j += KIN_PANEL)
      t->bf16->gemm_tile(end - begin, pairs, a + begin * lda, lda, b + j / KIN_PANEL * stride, c + begin * ldc + j, ldc,
                         false);
  }
}

/* Queries [first, first + n) of one sequence and head, into rows of out from out_row on. */
static void attend_block(const attend *t, const scratch *s, const uint16_t *q, size_t tokens, size_t first, size_t n,
                         size_t out_row, size_t column) {
  const kin_attention *a = t->a;
  size_t seen = a->causal ? first + n : tokens, pairs = (seen + 1) / 2, d = a->head_dim;
  multiply(t, n, d / 2, q, a->q.ld, s->keys, d * KIN_PANEL, s->scores, s->score_ld, whole_panels(seen));
  for (size_t i = 0; i < n; i++) {
    uint16_t *row = s->weights + i * s->score_ld;
    size_t visible = a->causal ? first + i + 1 : tokens;
    t->bf16->softmax(s->scores + i * s->score_ld, t->scale, visible, row);
    memset(row + visible, 0, (2 * pairs - visible) * sizeof *row);
  }
  multiply(t, n, pairs, s->weights, s->score_ld, s->values, (tokens + 1) / 2 * 2 * KIN_PANEL, s->out, s->value_width,
           s->value_width);
  for (size_t i = 0; i < n; i++)
    t->bf16->round(s->out + i * s->value_width, d, a->out.h + (out_row + i) * a->out.ld + column);
}

void kin_attend_head_bf16(void *arg, size_t task) {
  attend *t = arg;
  const kin_attention *a = t->a;
  size_t sequence = task / a->heads, column = task % a->heads * a->head_dim;
  size_t start = a->starts[sequence], tokens = a->starts[sequence + 1] - start;
  scratch s;
  if (!scratch_open(t, &s)) {
    atomic_store(&t->no_memory, true);
    return;
  }
  pack_keys(t, a->k.h + start * a->k.ld + column, tokens, s.keys);
  pack_values(t, a->v.h + start * a->v.ld + column, tokens, s.values);
  if (a->query_rows) {
    attend_block(t, &s, a->q.h + sequence * a->q.ld + column, tokens, a->query_rows[sequence], 1, sequence, column);
  } else {
    for (size_t i = 0; i < tokens; i += QUERY_BLOCK)
      attend_block(t, &s, a->q.h + (start + i) * a->q.ld + column, tokens, i,
                   tokens - i < QUERY_BLOCK ? tokens - i : QUERY_BLOCK, start + i, column);
  }
  kin_free_aligned(s.scores);
}
