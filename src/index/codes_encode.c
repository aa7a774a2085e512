/* Coding rows, with what each code is off by: a bound in real numbers, not an estimate. */
#include "index/checksum.h"
#include "index/codes.h"

#include <math.h>
#include <string.h>

/* Adding it leaves a small number's nearest integer in the low bits of the sum. */
#define ROUNDER 12582912.0f

/* Longer vectors aren't coded: their bounds could overflow. */
#define LONGEST 1e6

size_t kin_code_units(kin_code kind, size_t dim) {
  size_t numbers = kind == KIN_CODE_INT8 ? 4 : 2;
  return (dim + numbers - 1) / numbers;
}

size_t kin_code_bytes(kin_code kind, size_t dim) {
  return kin_code_units(kind, dim) * 4 * KIN_SCAN_ROWS;
}

uint64_t kin_code_checksum(const uint8_t *codes, size_t code_bytes, const kin_code_tail *tail, uint64_t group) {
  return kin_checksum(tail, offsetof(kin_code_tail, checksum), kin_checksum(codes, code_bytes, group));
}

/* As a float that isn't below. */
static float rounded_up(double x) {
  return nextafterf((float)(x * (1 + 1e-6)), INFINITY);
}

static float largest_magnitude(const float *v, size_t dim) {
  float most = 0;
  for (size_t i = 0; i < dim; i++) {
    float x = fabsf(v[i]);
    most = x > most ? x : most;
  }
  return most;
}

/* Put a unit's number i of row r. */
static uint8_t *place(uint8_t *codes, size_t row, size_t i, size_t bytes) {
  size_t in_unit = 4 / bytes;
  return codes + (i / in_unit * KIN_SCAN_ROWS + row) * 4 + i % in_unit * bytes;
}

typedef struct lengths {
  double error, vector, code; /* squared */
} lengths;

static void measure(lengths *l, double x, double coded) {
  l->error += (x - coded) * (x - coded);
  l->vector += x * x;
  l->code += coded * coded;
}

static float int8_scale(const float *v, size_t dim) {
  float most = largest_magnitude(v, dim);
  return most > 1e-30f ? most / 127 : 0;
}

static float int8_number(float x, float inverse) {
  float number = x * inverse + ROUNDER - ROUNDER;
  return number > 127 ? 127 : number >= -127 ? number : -127;
}

float kin_code_int8(const float *v, size_t dim, int8_t *out) {
  float scale = int8_scale(v, dim), inverse = scale > 0 ? 1 / scale : 0;
  for (size_t i = 0; i < dim; i++) out[i] = (int8_t)int8_number(v[i], inverse);
  return scale;
}

static lengths encode_int8(const float *v, size_t dim, size_t row, uint8_t *codes, float *scale) {
  lengths l = {0};
  *scale = int8_scale(v, dim);
  float inverse = *scale > 0 ? 1 / *scale : 0;
  for (size_t i = 0; i < dim; i++) {
    float number = int8_number(v[i], inverse);
    *place(codes, row, i, 1) = (uint8_t)((int)number + 128);
    measure(&l, (double)v[i], (double)number * (double)*scale);
  }
  for (size_t i = dim; i % 4; i++) *place(codes, row, i, 1) = 128;
  return l;
}

uint16_t kin_code_bf16(float x, float *number) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  bits = fabsf(x) < 1e-37f ? 0 : (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
  memcpy(number, &bits, sizeof *number);
  return (uint16_t)(bits >> 16);
}

static lengths encode_bf16(const float *v, size_t dim, size_t row, uint8_t *codes, float *scale) {
  lengths l = {0};
  *scale = 1;
  for (size_t i = 0; i < dim; i++) {
    float number;
    const uint16_t code = kin_code_bf16(v[i], &number);
    memcpy(place(codes, row, i, 2), &code, 2);
    measure(&l, (double)v[i], (double)number);
  }
  if (dim % 2) memset(place(codes, row, dim, 2), 0, 2);
  return l;
}

void kin_codes_encode(kin_code kind, const float *vectors, size_t dim, uint64_t group, uint64_t binding, uint8_t *codes,
                      kin_code_tail *tail) {
  *tail = (kin_code_tail){.binding = binding};
  for (size_t row = 0; row < KIN_SCAN_ROWS; row++) {
    const float *v = vectors + row * dim;
    lengths l = kind == KIN_CODE_INT8 ? encode_int8(v, dim, row, codes, &tail->scales[row])
                                      : encode_bf16(v, dim, row, codes, &tail->scales[row]);
    double longest = sqrt(l.vector > l.code ? l.vector : l.code);
    tail->errors[row] = rounded_up(sqrt(l.error));
    if (!(longest <= LONGEST))
      tail->length = INFINITY;
    else if (longest > (double)tail->length)
      tail->length = rounded_up(longest);
  }
  tail->checksum = kin_code_checksum(codes, kin_code_bytes(kind, dim), tail, group);
}
