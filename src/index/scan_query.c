/* Coding the queries of a scan. A single query is coded twice as finely, for it costs no memory traffic; of many, each
 * plane costs time. */
#include "index/scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Queries from which on one plane each must do. */
#define FEW_QUERIES 4

void kin_scan_query_free(kin_scan_query *query) {
  kin_free_aligned(query->planes);
  free(query->starts);
  free(query->bounds);
  *query = (kin_scan_query){0};
}

/* The square of the error of a plane, or of two, for the numbers of one query. */
static double code_int8(const float *v, size_t dim, float step, size_t planes, int8_t *high, int8_t *low) {
  double error = 0;
  for (size_t i = 0; i < dim; i++) {
    double x = step > 0 ? (double)v[i] / (double)step : 0, number = nearbyint(x), rest = 0;
    number = number > 127 ? 127 : number < -127 ? -127 : number;
    high[i] = (int8_t)number;
    if (planes == 2) {
      rest = nearbyint((x - number) * 254);
      rest = rest > 127 ? 127 : rest < -127 ? -127 : rest;
      low[i] = (int8_t)rest;
    }
    double off = (double)v[i] - (double)step * (number + rest / 254);
    error += off * off;
  }
  return error;
}

static int32_t start_of(const int8_t *plane, size_t dim) {
  int32_t sum = 0;
  for (size_t i = 0; i < dim; i++) sum += plane[i];
  return -128 * sum; /* codes are 128 too large */
}

static double code_bf16(const float *v, size_t dim, uint16_t *plane) {
  double error = 0;
  for (size_t i = 0; i < dim; i++) {
    float number;
    plane[i] = kin_code_bf16(v[i], &number);
    error += ((double)v[i] - (double)number) * ((double)v[i] - (double)number);
  }
  return error;
}

/* Rows and query being at most 1 and `length` long, the estimate and the score in float are off by at most
 *   length * the row's error + the query's error * the code's length + rounding,
 * by Cauchy and Schwarz; the rounding of any sum of `dim` products is below dim * 2^-24 * both lengths. */
static kin_scan_bound bound_of(kin_code kind, float factor, double length, double error, size_t dim) {
  double roundings = (kind == KIN_CODE_BF16 ? 4 : 1) * (double)dim + 64;
  return (kin_scan_bound){.factor = factor,
                          .error = (float)(length * (1 + 1e-6)),
                          .constant = (float)((error + roundings * 0x1p-24 * length) * (1 + 1e-6))};
}

kin_status kin_scan_query_make(kin_code kind, const float *queries, size_t n, size_t dim, kin_scan_query *out,
                               bool *usable, kin_error *err) {
  bool int8 = kind == KIN_CODE_INT8;
  size_t numbers = int8 ? 4 : 2, per_query = int8 && n <= FEW_QUERIES ? 2 : 1;
  size_t ld = kin_code_units(kind, dim) * numbers, bytes = n * per_query * ld * (4 / numbers);
  *out = (kin_scan_query){.kind = kind, .n = n, .per_query = per_query, .ld = ld};
  *usable = true;
  out->planes = kin_alloc_aligned(bytes);
  out->starts = kin_array(n * per_query, sizeof *out->starts);
  out->bounds = kin_array(n, sizeof *out->bounds);
  if (!out->planes || !out->starts || !out->bounds) {
    kin_scan_query_free(out);
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu queries", n);
  }
  memset(out->planes, 0, bytes);
  for (size_t i = 0; i < n; i++) {
    const float *v = queries + i * dim;
    double squares = 0, error;
    float step = 1;
    for (size_t j = 0; j < dim; j++) squares += (double)v[j] * (double)v[j];
    double length = sqrt(squares);
    if (length != 0 && !(length > 1e-6 && length < 1e6)) *usable = false;
    if (int8) {
      int8_t *high = (int8_t *)out->planes + i * per_query * ld, *low = high + (per_query - 1) * ld;
      step = 0;
      for (size_t j = 0; j < dim; j++) step = fabsf(v[j]) > step ? fabsf(v[j]) : step;
      step /= 127;
      error = code_int8(v, dim, step, per_query, high, low);
      for (size_t p = 0; p < per_query; p++) out->starts[i * per_query + p] = start_of(high + p * ld, dim);
    } else {
      error = code_bf16(v, dim, (uint16_t *)out->planes + i * ld);
    }
    out->bounds[i] = bound_of(kind, step, length, sqrt(error), dim);
  }
  return KIN_OK;
}
