/* Growing bytes and pieces of text: what the stages of a tokenizer hand to each other. */
#ifndef KIN_TEXT_BUFFER_H
#define KIN_TEXT_BUFFER_H

#include "base/base.h"

/* `failed` sticks once an allocation failed: later appends do nothing, so that a stage checks once, at its end. */
typedef struct kin_bytes {
  char *data;
  size_t size, capacity;
  bool failed;
} kin_bytes;

void kin_bytes_append(kin_bytes *b, const void *data, size_t size);
void kin_bytes_put(kin_bytes *b, uint32_t code_point);
void kin_bytes_free(kin_bytes *b);

/* A part of a text: still to be tokenized, or an added token that was found in it. */
typedef struct kin_piece {
  size_t start, size;
  int32_t id; /* of the added token, or -1 */
} kin_piece;

typedef struct kin_pieces {
  kin_bytes text;
  kin_piece *items;
  size_t count, capacity;
} kin_pieces;

/* Append a piece with its text. An empty one without an id is dropped, as the reference does. */
void kin_pieces_add(kin_pieces *p, const char *text, size_t size, int32_t id);
/* Append a piece that is text appended to p->text since `start`. */
void kin_pieces_close(kin_pieces *p, size_t start, int32_t id);
/* Forget the content, keep the memory. */
void kin_pieces_clear(kin_pieces *p);
void kin_pieces_free(kin_pieces *p);

#endif
