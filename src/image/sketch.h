/* Small grey pictures, which tell copies from what is merely alike: re-encoded, resized, brightened, turned, mirrored
 * or cropped pictures are of the same pixels, two photos of one thing are not. */
#ifndef KIN_SKETCH_H
#define KIN_SKETCH_H

#include "image/image.h"

enum { KIN_SKETCH_SIDE = 64 };

typedef struct kin_sketch {
  uint32_t width, height; /* of the picture, upright */
  uint64_t hash;          /* kin_perceptual_hash */
  uint32_t columns, rows; /* the longer side is KIN_SKETCH_SIDE */
  uint8_t *grey;          /* [rows][columns]; NULL: none */
} kin_sketch;

/* Replace each pixel by its grey level, as Pillow's convert("L") has it, in all three channels. */
void kin_image_make_grey(kin_image *image);
/* kin_perceptual_hash of a picture that is grey already. */
kin_status kin_image_phash(const kin_image *grey, uint64_t *out, kin_error *err);

kin_status kin_sketch_read(const char *path, kin_sketch *out, kin_error *err);
void kin_sketch_free(kin_sketch *sketch);

typedef enum kin_sketch_relation {
  KIN_SKETCH_DIFFERENT = 0,
  KIN_SKETCH_WHOLE,  /* both show the same */
  KIN_SKETCH_TURNED, /* by a quarter, a half or three quarters, perhaps mirrored too */
  KIN_SKETCH_MIRRORED,
  KIN_SKETCH_PART,    /* the first shows a part of the second ... */
  KIN_SKETCH_HAS_PART /* ... or the second a part of the first */
} kin_sketch_relation;

typedef struct kin_sketch_match {
  kin_sketch_relation relation;
  float likeness; /* correlation of the edges that both show, to 1; below what counts as a copy where DIFFERENT */
  float share;    /* of the larger view's area that both show */
} kin_sketch_match;

/* Both have pixels. */
void kin_sketch_compare(const kin_sketch *a, const kin_sketch *b, kin_sketch_match *out);

#endif
