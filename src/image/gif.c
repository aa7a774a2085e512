/* GIF's first frame, composed on its canvas as Pillow does. */
#include "image/codec.h"

#include <string.h>

#define MAX_CODES 4096 /* 12-bit codes */

/* The data, read forwards; `at` never passes `size`. */
typedef struct cursor {
  const kin_encoded *in;
  size_t at;
} cursor;

static kin_status truncated(const kin_encoded *in, const char *where, kin_error *err) {
  return kin_fail(err, KIN_ERR_FORMAT, "%s: truncated GIF: the data ends in the %s", in->name, where);
}

/* `n` bytes, or NULL if fewer are left. */
static const uint8_t *take(cursor *c, size_t n) {
  if (n > c->in->size - c->at) return NULL;
  const uint8_t *p = c->in->data + c->at;
  c->at += n;
  return p;
}

typedef struct gif {
  uint32_t canvas_width, canvas_height;
  uint32_t x, y, width, height; /* of the frame */
  uint8_t palette[256][3];
  bool has_palette, interlaced;
  int transparent; /* palette index, or -1 */
  unsigned code_bits;
} gif;

static kin_status read_palette(cursor *c, gif *g, unsigned flags, kin_error *err) {
  size_t n = (size_t)2 << (flags & 7);
  const uint8_t *p = take(c, n * 3);
  if (!p) return truncated(c->in, "palette", err);
  memset(g->palette, 0, sizeof g->palette);
  memcpy(g->palette, p, n * 3);
  g->has_palette = true;
  return KIN_OK;
}

static kin_status read_extension(cursor *c, gif *g, kin_error *err) {
  const uint8_t *label = take(c, 1);
  if (!label) return truncated(c->in, "extension", err);
  for (bool first = true;; first = false) {
    const uint8_t *length = take(c, 1);
    const uint8_t *block = length ? take(c, *length) : NULL;
    if (!block) return truncated(c->in, "extension", err);
    if (*length == 0) return KIN_OK;
    if (first && *label == 0xf9 && *length >= 4 && (block[0] & 1)) g->transparent = block[3]; /* graphic control */
  }
}

/* Everything up to the first frame's compressed data. */
static kin_status read_headers(cursor *c, gif *g, kin_error *err) {
  const uint8_t *p = take(c, 13);
  if (!p) return truncated(c->in, "header", err);
  *g = (gif){.canvas_width = kin_le16(p + 6), .canvas_height = kin_le16(p + 8), .transparent = -1};
  kin_status status = p[10] & 0x80 ? read_palette(c, g, p[10], err) : KIN_OK;
  while (status == KIN_OK) {
    p = take(c, 1);
    if (!p) return truncated(c->in, "header", err);
    if (*p == '!') {
      status = read_extension(c, g, err);
    } else if (*p == ',') {
      break;
    } else if (*p == ';') {
      return kin_fail(err, KIN_ERR_FORMAT, "%s: bad GIF: it holds no picture", c->in->name);
    } /* anything else is skipped, as Pillow does */
  }
  if (status != KIN_OK) return status;
  p = take(c, 9);
  if (!p) return truncated(c->in, "frame header", err);
  g->x = kin_le16(p);
  g->y = kin_le16(p + 2);
  g->width = kin_le16(p + 4);
  g->height = kin_le16(p + 6);
  unsigned flags = p[8];
  g->interlaced = flags & 0x40;
  if (flags & 0x80) status = read_palette(c, g, flags, err);
  if (status != KIN_OK) return status;
  if (!g->has_palette)
    for (unsigned i = 0; i < 256; i++) memset(g->palette[i], (int)i, 3);
  p = take(c, 1);
  if (!p) return truncated(c->in, "frame header", err);
  g->code_bits = *p;
  if (g->code_bits < 1 || g->code_bits > 11)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: bad GIF: a code size of %u bits", c->in->name, g->code_bits);
  if (g->width == 0 || g->height == 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: bad GIF: an empty first frame", c->in->name);
  /* A frame may reach over the canvas, which then grows. */
  if (g->x + g->width > g->canvas_width) g->canvas_width = g->x + g->width;
  if (g->y + g->height > g->canvas_height) g->canvas_height = g->y + g->height;
  return KIN_OK;
}

/* Variable-length codes out of the chain of sub-blocks. */
typedef struct code_reader {
  cursor *c;
  size_t block_left;
  uint32_t bits;
  unsigned n_bits;
} code_reader;

/* The next code of `width` bits, or -1 at the end of the data. */
static int next_code(code_reader *r, unsigned width) {
  while (r->n_bits < width) {
    if (r->block_left == 0) {
      const uint8_t *length = take(r->c, 1);
      if (!length || *length == 0) return -1;
      r->block_left = *length;
    }
    const uint8_t *byte = take(r->c, 1);
    if (!byte) return -1;
    r->block_left--;
    r->bits |= (uint32_t)*byte << r->n_bits;
    r->n_bits += 8;
  }
  int code = (int)(r->bits & ((1u << width) - 1));
  r->bits >>= width;
  r->n_bits -= width;
  return code;
}

/* Where the next pixel goes: along the frame's rows, in four passes if interlaced. */
typedef struct pen {
  const gif *g;
  kin_image *image;
  uint32_t x, y, step;
  uint8_t *row;
  uint64_t left; /* pixels still to come */
} pen;

static void set_row(pen *p) {
  size_t y = p->g->y + p->y;
  p->row = p->image->rgb + (y * p->image->width + p->g->x) * 3;
}

/* The first row after `y` of an interlaced frame, moving on to the next pass as often as needed. */
static void next_interlaced_row(pen *p) {
  p->y += p->step;
  while (p->y >= p->g->height && p->step > 1) {
    if (p->step == 8 && p->y % 8 == 0) {
      p->y = 4; /* second pass: 4, 12, ... */
      continue;
    }
    p->y = p->step == 8 ? 2 : 1; /* 2, 6, ... and 1, 3, ... */
    p->step = p->step == 8 ? 4 : p->step == 4 ? 2 : 1;
  }
}

static void put(pen *p, const uint8_t *indexes, size_t n) {
  for (size_t i = 0; i < n && p->left; i++) {
    memcpy(p->row + (size_t)p->x * 3, p->g->palette[indexes[i]], 3);
    p->left--;
    if (++p->x < p->g->width) continue;
    p->x = 0;
    if (p->g->interlaced)
      next_interlaced_row(p);
    else
      p->y++;
    if (p->left) set_row(p);
  }
}

typedef struct dictionary {
  uint16_t prefix[MAX_CODES];
  uint8_t suffix[MAX_CODES];
  uint8_t text[MAX_CODES]; /* a code's string, filled from its end */
} dictionary;

/* Write the string of `code` to the end of d->text; returns its start. */
static size_t spell(dictionary *d, unsigned code, unsigned clear, size_t at) {
  while (code >= clear) {
    d->text[--at] = d->suffix[code];
    code = d->prefix[code];
  }
  d->text[--at] = (uint8_t)code;
  return at;
}

static kin_status decompress(cursor *c, const gif *g, pen *p, kin_error *err) {
  dictionary d;
  code_reader r = {.c = c};
  const unsigned clear = 1u << g->code_bits;
  unsigned width = g->code_bits + 1, next = clear + 2;
  int last = -1; /* the previous code; -1 after a clear */
  uint8_t first = 0;
  while (p->left) {
    int code = next_code(&r, width);
    if (code < 0 || (unsigned)code == clear + 1)
      return kin_fail(err, KIN_ERR_FORMAT, "%s: truncated GIF: the data ends in row %u of %u", c->in->name, p->y + 1,
                      g->height);
    if ((unsigned)code == clear) {
      width = g->code_bits + 1;
      next = clear + 2;
      last = -1;
      continue;
    }
    bool fresh = (unsigned)code == next; /* names the string that this very step defines */
    if ((last < 0 && (unsigned)code > clear) || (unsigned)code > next || (fresh && next >= MAX_CODES))
      return kin_fail(err, KIN_ERR_FORMAT, "%s: bad GIF: an impossible code in row %u", c->in->name, p->y + 1);
    size_t at = MAX_CODES;
    if (fresh) d.text[--at] = first;
    at = spell(&d, fresh ? (unsigned)last : (unsigned)code, clear, at);
    first = d.text[at];
    put(p, d.text + at, MAX_CODES - at);
    if (last >= 0 && next < MAX_CODES) {
      d.prefix[next] = (uint16_t)last;
      d.suffix[next] = first;
      if (++next == 1u << width && width < 12) width++;
    }
    last = code;
  }
  return KIN_OK;
}

/* What the frame leaves uncovered: the transparent colour, else the first. */
static void fill_canvas(const gif *g, const kin_image *image) {
  const uint8_t *colour = g->palette[g->transparent < 0 ? 0 : g->transparent];
  size_t pixels = (size_t)image->width * image->height;
  for (size_t i = 0; i < pixels; i++) memcpy(image->rgb + 3 * i, colour, 3);
}

kin_status kin_decode_gif(const kin_encoded *in, kin_image *out, kin_error *err) {
  cursor c = {in, 0};
  gif g;
  kin_status status = read_headers(&c, &g, err);
  if (status != KIN_OK) return status;
  kin_image image;
  status = kin_image_alloc(in, g.canvas_width, g.canvas_height, &image, err);
  if (status != KIN_OK) return status;
  if (g.width != image.width || g.height != image.height) fill_canvas(&g, &image);
  pen p = {.g = &g, .image = &image, .step = 8, .left = (uint64_t)g.width * g.height};
  set_row(&p);
  status = decompress(&c, &g, &p, err);
  if (status == KIN_OK)
    *out = image;
  else
    kin_image_free(&image);
  return status;
}
