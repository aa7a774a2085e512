/* Growing bytes and pieces of text. */
#include "text/buffer.h"

#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

void kin_bytes_append(kin_bytes *b, const void *data, size_t size) {
  if (b->failed || !size) return;
  size_t needed;
  if (__builtin_add_overflow(b->size, size, &needed) || !kin_grow((void **)&b->data, &b->capacity, needed, 1)) {
    b->failed = true;
    return;
  }
  memcpy(b->data + b->size, data, size);
  b->size = needed;
}

void kin_bytes_put(kin_bytes *b, uint32_t code_point) {
  char utf8[4];
  kin_bytes_append(b, utf8, kin_utf8_encode(code_point, utf8));
}

void kin_bytes_free(kin_bytes *b) {
  free(b->data);
  *b = (kin_bytes){0};
}

void kin_pieces_close(kin_pieces *p, size_t start, int32_t id) {
  if (p->text.failed || (p->text.size == start && id < 0)) return;
  if (!kin_grow((void **)&p->items, &p->capacity, p->count + 1, sizeof *p->items)) {
    p->text.failed = true;
    return;
  }
  p->items[p->count++] = (kin_piece){start, p->text.size - start, id};
}

void kin_pieces_add(kin_pieces *p, const char *text, size_t size, int32_t id) {
  size_t start = p->text.size;
  kin_bytes_append(&p->text, text, size);
  kin_pieces_close(p, start, id);
}

void kin_pieces_clear(kin_pieces *p) {
  p->text.size = 0;
  p->count = 0;
}

void kin_pieces_free(kin_pieces *p) {
  kin_bytes_free(&p->text);
  free(p->items);
  *p = (kin_pieces){0};
}
