/* The resize on registers of 16-byte lanes. The including file defines the type v_bytes and the v_* operations for its
 * instruction set, TAPS (weights a step of `across`), OVER (bytes that its load reads beyond), and for `across`:
 * load_pixels, load_weights and finish_pixels. */

#define ROUND (1 << (KIN_TAP_BITS - 1))

/* 2^22 * the result, from the sums with the high and the low parts of the weights. */
static inline v_bytes join(v_bytes high, v_bytes low) {
  return v_add32(v_add32(v_shift_left(high), low), v_set32(ROUND));
}

/* ROWS rows at once share the unpacking of the weights. */
static inline __attribute__((always_inline)) void across_rows(const size_t n_rows, const kin_taps *t, size_t n,
                                                              const uint8_t *const *rows, uint32_t first,
                                                              uint8_t *const *out) {
  for (size_t i = 0; i < n; i++) {
    const int16_t *high = t->high + i * t->stride, *low = t->low + i * t->stride;
    const size_t at = (size_t)(t->first[i] - first) * 3, count = t->count[i];
    v_bytes h[KIN_RESIZE_ROWS], l[KIN_RESIZE_ROWS];
    for (size_t r = 0; r < n_rows; r++) h[r] = l[r] = v_set32(0);
    for (size_t x = 0; x < count; x += TAPS) {
      const v_bytes wh = load_weights(high + x), wl = load_weights(low + x);
      for (size_t r = 0; r < n_rows; r++) {
        const v_bytes pixels = load_pixels(rows[r] + at + 3 * x);
        h[r] = v_add32(h[r], v_multiply_pairs(pixels, wh));
        l[r] = v_add32(l[r], v_multiply_pairs(pixels, wl));
      }
    }
    for (size_t r = 0; r < n_rows; r++) h[r] = v_add32(v_shift_left(h[r]), l[r]);
    uint32_t rgb[KIN_RESIZE_ROWS];
    finish_pixels(n_rows, h, rgb);
    for (size_t r = 0; r < n_rows; r++) {
      if (i + 1 < t->n) {
        memcpy(out[r] + 3 * i, &rgb[r], 4); /* the next pixel comes over the fourth byte */
        continue;
      }
      memcpy(out[r] + 3 * i, &rgb[r], 3);
    }
  }
}

static void across(const kin_taps *t, const uint8_t *const *rows, size_t n_rows, uint32_t first, size_t row_bytes,
                   uint8_t *const *out) {
  const size_t n = kin_resize_inside(t, first, row_bytes, OVER);
  if (n_rows == KIN_RESIZE_ROWS)
    across_rows(KIN_RESIZE_ROWS, t, n, rows, first, out);
  else
    for (size_t r = 0; r < n_rows; r++) across_rows(1, t, n, rows + r, first, out + r);
  if (n < t->n)
    for (size_t r = 0; r < n_rows; r++) kin_resize_across_rest(t, n, rows[r], first, out[r]);
}

/* One register of columns: pairs of rows are interleaved, so that one product takes two of them. */
static inline __attribute__((always_inline)) v_bytes down_columns(const uint8_t *const *rows, size_t count,
                                                                  const int16_t *high, const int16_t *low, size_t x) {
  v_bytes h[4], l[4];
  for (size_t q = 0; q < 4; q++) h[q] = l[q] = v_set32(0);
  for (size_t y = 0; y < count; y += 2) {
    const v_bytes zero = v_set32(0);
    const v_bytes a = v_load(rows[y] + x), b = v_load(rows[y + 1 < count ? y + 1 : y] + x);
    const v_bytes wh = v_set_pair(high + y), wl = v_set_pair(low + y);
    const v_bytes ab[2] = {v_interleave_low(a, b), v_interleave_high(a, b)};
    for (size_t q = 0; q < 4; q++) {
      const v_bytes pair = q % 2 ? v_interleave_high(ab[q / 2], zero) : v_interleave_low(ab[q / 2], zero);
      h[q] = v_add32(h[q], v_multiply_pairs(pair, wh));
      l[q] = v_add32(l[q], v_multiply_pairs(pair, wl));
    }
  }
  for (size_t q = 0; q < 4; q++) h[q] = v_shift_right(join(h[q], l[q]));
  return v_pack(h[0], h[1], h[2], h[3]);
}

static void down(const kin_taps *t, size_t i, const uint8_t *const *rows, size_t n, uint8_t *out) {
  const int16_t *high = t->high + i * t->stride, *low = t->low + i * t->stride;
  size_t x = 0;
  for (; x + sizeof(v_bytes) <= n; x += sizeof(v_bytes))
    v_store(out + x, down_columns(rows, t->count[i], high, low, x));
  if (x == n) return;
  if (n < sizeof(v_bytes)) {
    kin_resize_down_rest(t, i, rows, x, n, out);
    return;
  }
  x = n - sizeof(v_bytes); /* some columns are computed twice */
  v_store(out + x, down_columns(rows, t->count[i], high, low, x));
}

const kin_resize_kernels TABLE = {NAME, across, down};
