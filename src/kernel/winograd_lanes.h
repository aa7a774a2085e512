/* Winograd's transforms on 16 lanes, one channel each; included by lanes.h. */

/* What the points 0, +-NEAR, +-FAR and infinity make of the polynomials of F(4x4, 3x3). NEAR * FAR being 1 keeps the
 * rounding errors small: a fifth of those of the usual 1 and 2. */
#define NEAR (2.0f / 3.0f)
#define FAR (3.0f / 2.0f)
#define SQUARES (NEAR * NEAR + FAR * FAR)

/* A line of side + 2 inputs -> as many points. */
static inline __attribute__((always_inline)) void winograd_inputs(size_t side, const v16 *d, v16 *out) {
  if (side == 2) {
    out[0] = v_sub(d[0], d[2]), out[1] = v_add(d[1], d[2]);
    out[2] = v_sub(d[2], d[1]), out[3] = v_sub(d[1], d[3]);
    return;
  }
  v16 even = v_fma(v_set(-FAR * FAR), d[2], d[4]), odd = v_fma(v_set(-FAR * FAR), d[1], d[3]);
  out[1] = v_fma(v_set(NEAR), odd, even), out[2] = v_fma(v_set(-NEAR), odd, even);
  even = v_fma(v_set(-NEAR * NEAR), d[2], d[4]), odd = v_fma(v_set(-NEAR * NEAR), d[1], d[3]);
  out[3] = v_fma(v_set(FAR), odd, even), out[4] = v_fma(v_set(-FAR), odd, even);
  out[0] = v_add(d[0], v_fma(v_set(-SQUARES), d[2], d[4]));
  out[5] = v_add(d[1], v_fma(v_set(-SQUARES), d[3], d[5]));
}

/* A line of side + 2 sums -> side outputs. */
static inline __attribute__((always_inline)) void winograd_outputs(size_t side, const v16 *m, v16 *out) {
  v16 sum = v_add(m[1], m[2]), difference = v_sub(m[1], m[2]);
  if (side == 2) {
    out[0] = v_add(m[0], sum), out[1] = v_sub(difference, m[3]);
    return;
  }
  v16 far_sum = v_add(m[3], m[4]), far_difference = v_sub(m[3], m[4]);
  out[0] = v_add(v_add(m[0], sum), far_sum);
  out[1] = v_fma(v_set(NEAR), difference, v_mul(v_set(FAR), far_difference));
  out[2] = v_fma(v_set(NEAR * NEAR), sum, v_mul(v_set(FAR * FAR), far_sum));
  out[3] = v_fma(v_set(NEAR * NEAR * NEAR), difference, v_fma(v_set(FAR * FAR * FAR), far_difference, m[5]));
}

static inline __attribute__((always_inline)) void winograd_input_tiles(const size_t side, const float *const *pixels,
                                                                       size_t channels, float *out, size_t plane) {
  const size_t n = side + 2;
  for (size_t c = 0; c < channels; c += 16) {
    v16 columns[6][6], line[6];
    for (size_t x = 0; x < n; x++) {
#pragma GCC unroll 6
      for (size_t y = 0; y < n; y++) line[y] = v_load_some(pixels[y * n + x] + c, channels - c);
      winograd_inputs(side, line, columns[x]);
    }
    for (size_t y = 0; y < n; y++) {
      v16 transformed[6];
#pragma GCC unroll 6
      for (size_t x = 0; x < n; x++) line[x] = columns[x][y];
      winograd_inputs(side, line, transformed);
#pragma GCC unroll 6
      for (size_t x = 0; x < n; x++) v_store_some(out + (y * n + x) * plane + c, transformed[x], channels - c);
    }
  }
}

static inline __attribute__((always_inline)) void winograd_output_tiles(const size_t side, const float *sums,
                                                                        size_t plane, size_t channels,
                                                                        const float *bias, kin_activation act,
                                                                        float *const *pixels) {
  const size_t n = side + 2;
  for (size_t c = 0; c < channels; c += 16) {
    v16 columns[6][4], line[6], transformed[4];
    for (size_t x = 0; x < n; x++) {
#pragma GCC unroll 6
      for (size_t y = 0; y < n; y++) line[y] = v_load(sums + (y * n + x) * plane + c);
      winograd_outputs(side, line, columns[x]);
    }
    for (size_t y = 0; y < side; y++) {
#pragma GCC unroll 6
      for (size_t x = 0; x < n; x++) line[x] = columns[x][y];
      winograd_outputs(side, line, transformed);
      for (size_t x = 0; x < side; x++) {
        float *to = pixels[y * side + x];
        if (to)
          v_store_some(to + c, tail_lanes(transformed[x], c, channels - c, bias, act, NULL, NULL, KIN_ACT_NONE),
                       channels - c);
      }
    }
  }
}

static void winograd_input(size_t side, const float *const *pixels, size_t channels, float *out, size_t plane) {
  if (side == 2)
    winograd_input_tiles(2, pixels, channels, out, plane);
  else
    winograd_input_tiles(4, pixels, channels, out, plane);
}

static void winograd_output(size_t side, const float *sums, size_t plane, size_t channels, const float *bias,
                            kin_activation act, float *const *pixels) {
  if (side == 2)
    winograd_output_tiles(2, sums, plane, channels, bias, act, pixels);
  else
    winograd_output_tiles(4, sums, plane, channels, bias, act, pixels);
}

#undef NEAR
#undef FAR
#undef SQUARES
