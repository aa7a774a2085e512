/* Numbers by hashing their places, so that any vector can be made without those before it. */
#include "index/synthetic.h"

#include "base/random.h"

#include <math.h>
#include <stdlib.h>

#define CLUSTERS 2000

struct kin_synthetic {
  size_t dim;
  uint64_t seed;
  float centres[]; /* [CLUSTERS][dim] */
};

/* About normal: the sum of the four 16-bit numbers of a hash. */
static float normal(uint64_t seed, size_t i) {
  uint64_t z = kin_random_mix(seed * 0x9e3779b97f4a7c15u + (i + 1) * 0xd1342543de82ef95u);
  float sum = (float)(z & 0xffff) + (float)(z >> 16 & 0xffff) + (float)(z >> 32 & 0xffff) + (float)(z >> 48);
  return (sum - 131070.0f) / 37837.0f;
}

kin_status kin_synthetic_open(size_t dim, uint64_t seed, kin_synthetic **out, kin_error *err) {
  size_t bytes;
  bool fits = !__builtin_mul_overflow(dim, CLUSTERS * sizeof(float), &bytes) && bytes < SIZE_MAX / 2;
  kin_synthetic *s = fits ? malloc(sizeof *s + bytes) : NULL;
  *out = s;
  if (!s) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for synthetic vectors of %zu floats", dim);
  s->dim = dim;
  s->seed = seed;
  for (size_t i = 0; i < CLUSTERS * dim; i++) s->centres[i] = normal(seed, i);
  return KIN_OK;
}

void kin_synthetic_close(kin_synthetic *synthetic) {
  free(synthetic);
}

static void make(const kin_synthetic *s, uint64_t number, float *out) {
  uint64_t seed = kin_random_mix(s->seed ^ number * 0x9e3779b97f4a7c15u);
  const float *centre = s->centres + seed % CLUSTERS * s->dim;
  float squares = 0;
  for (size_t i = 0; i < s->dim; i++) {
    out[i] = centre[i] + normal(seed, i);
    squares += out[i] * out[i];
  }
  float length = squares > 0 ? sqrtf(squares) : 1;
  for (size_t i = 0; i < s->dim; i++) out[i] /= length;
}

void kin_synthetic_vector(const kin_synthetic *synthetic, uint64_t i, float *out) {
  make(synthetic, 2 * i + 1, out);
}

void kin_synthetic_query(const kin_synthetic *synthetic, uint64_t i, float *out) {
  make(synthetic, 2 * i + 2, out);
}
