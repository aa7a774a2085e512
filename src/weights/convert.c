/* F16, BF16 and F32 elements to float, exactly. The loops are plain so that compilers vectorise them. */
#include "weights/weights.h"

#include <string.h>

static float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* Unaligned load of one 16-bit element. */
static uint16_t load16(const uint8_t *src, size_t i) {
  uint16_t value;
  memcpy(&value, src + 2 * i, sizeof value);
  return value;
}

static void bf16_to_float(const uint8_t *src, size_t n, float *dst) {
  for (size_t i = 0; i < n; i++) dst[i] = from_bits((uint32_t)load16(src, i) << 16);
}

/* Exponent and mantissa move up 13 bits; the bias grows by 112, and by 112 again for infinity and NaN,
 * whose exponent is all ones. Subnormals are small integers times 2^-24, which float holds exactly. */
static void f16_to_float(const uint8_t *src, size_t n, float *dst) {
  for (size_t i = 0; i < n; i++) {
    uint32_t h = load16(src, i), magnitude = h & 0x7fff;
    uint32_t normal = (magnitude << 13) + (112u << 23);
    uint32_t special = normal + (112u << 23);
    float small = (float)(int32_t)magnitude * 0x1p-24f;
    uint32_t subnormal;
    memcpy(&subnormal, &small, sizeof subnormal);
    uint32_t bits = magnitude >= 0x7c00 ? special : magnitude < 0x400 ? subnormal : normal;
    dst[i] = from_bits(bits | (h & 0x8000) << 16);
  }
}

void kin_tensor_to_float(const kin_tensor *t, float *dst) {
  switch (t->dtype) {
  case KIN_F32:
    if (t->bytes) memcpy(dst, t->data, t->bytes);
    break;
  case KIN_F16:
    f16_to_float(t->data, t->elements, dst);
    break;
  case KIN_BF16:
    bf16_to_float(t->data, t->elements, dst);
    break;
  case KIN_DTYPE_OTHER:
    break;
  }
}
