/* Sentences gathered into passages. */
#include "document/chunker.h"

#include "text/buffer.h"

#include <stdlib.h>
#include <string.h>

/* A longer sentence is cut before its tokens are counted. */
#define SENTENCE_LIMIT ((size_t)4 << 10)
/* So much text lies ahead of a sentence, that its end is seen. */
#define LOOK_AHEAD (2 * SENTENCE_LIMIT)
#define MOST_OVERLAP 2

typedef struct sentence {
  size_t start, size; /* in kin_chunker.text */
  size_t tokens;      /* its own */
  uint64_t line, offset;
} sentence;

/* Where a piece begins in kin_chunker.text. */
typedef struct mark {
  size_t at;
  uint64_t line, offset;
} mark;

struct kin_chunker {
  kin_document *document;
  const kin_token_counter *counter;
  size_t around, budget; /* tokens around every text, and left for it */
  kin_bytes text;        /* of the sentences and what comes behind them */
  mark *marks;
  size_t n_marks, marks_capacity;
  sentence *sentences;
  size_t n, capacity;
  size_t overlap;          /* of the sentences, the first ones that the last passage had too */
  size_t parsed;           /* text up to here is in sentences */
  bool record_end, end;    /* the record's, the document's text is all there */
  kin_document_piece held; /* the first of the next record; text NULL: none */
  kin_bytes out;
};

kin_status kin_chunker_open(kin_document *document, const kin_token_counter *counter, kin_chunker **out,
                            kin_error *err) {
  *out = NULL;
  kin_chunker *c = calloc(1, sizeof *c);
  if (!c) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a document");
  c->document = document;
  c->counter = counter;
  kin_status status = counter->count(counter->user, "", 0, &c->around, err);
  if (status == KIN_OK && c->around + 4 > counter->limit)
    status = kin_fail(err, KIN_ERR_UNSUPPORTED, "the model takes %zu tokens, which leaves no room for a document",
                      counter->limit);
  if (status != KIN_OK) {
    kin_chunker_close(c);
    return status;
  }
  c->budget = counter->limit - c->around;
  *out = c;
  return KIN_OK;
}

void kin_chunker_close(kin_chunker *c) {
  if (!c) return;
  kin_bytes_free(&c->text);
  kin_bytes_free(&c->out);
  free(c->marks);
  free(c->sentences);
  free(c);
}

static kin_status no_memory(kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a document");
}

/* ----------------------------------------------------------------------- text */

static kin_status append(kin_chunker *c, const kin_document_piece *piece, kin_error *err) {
  static const char *const breaks[] = {
      [KIN_BREAK_NONE] = "", [KIN_BREAK_LINE] = "\n", [KIN_BREAK_PARAGRAPH] = "\n\n", [KIN_BREAK_RECORD] = ""};
  const char *between = c->text.size ? breaks[piece->before] : "";
  kin_bytes_append(&c->text, between, strlen(between));
  if (!kin_grow((void **)&c->marks, &c->marks_capacity, c->n_marks + 1, sizeof *c->marks)) return no_memory(err);
  c->marks[c->n_marks++] = (mark){c->text.size, piece->line, piece->offset};
  kin_bytes_append(&c->text, piece->text, piece->size);
  return c->text.failed ? no_memory(err) : KIN_OK;
}

/* Have enough text behind c->parsed, or all of the record. */
static kin_status look_ahead(kin_chunker *c, kin_error *err) {
  while (!c->record_end && c->text.size - c->parsed < LOOK_AHEAD) {
    kin_document_piece piece;
    kin_status status = kin_document_next(c->document, &piece, err);
    if (status == KIN_OK && !piece.text) {
      c->record_end = c->end = true;
    } else if (status == KIN_OK && piece.before == KIN_BREAK_RECORD && c->text.size) {
      c->held = piece;
      c->record_end = true;
    } else if (status == KIN_OK) {
      status = append(c, &piece, err);
    }
    if (status != KIN_OK) return status;
  }
  return KIN_OK;
}

/* Go on with the next record. */
static kin_status next_record(kin_chunker *c, kin_error *err) {
  c->text.size = c->n = c->n_marks = c->overlap = c->parsed = 0;
  c->record_end = false;
  kin_document_piece piece = c->held;
  c->held = (kin_document_piece){0};
  return append(c, &piece, err);
}

/* Forget all in front of the first sentence that is kept. */
static void forget(kin_chunker *c, size_t n) {
  c->n -= n;
  memmove(c->sentences, c->sentences + n, c->n * sizeof *c->sentences);
  size_t cut = c->n ? c->sentences[0].start : c->parsed, first = 0;
  c->text.size -= cut;
  memmove(c->text.data, c->text.data + cut, c->text.size);
  c->parsed -= cut;
  for (size_t i = 0; i < c->n; i++) c->sentences[i].start -= cut;
  while (first + 1 < c->n_marks && c->marks[first + 1].at <= cut) first++;
  c->n_marks -= first;
  memmove(c->marks, c->marks + first, c->n_marks * sizeof *c->marks);
  for (size_t i = 0; i < c->n_marks; i++) c->marks[i].at = c->marks[i].at > cut ? c->marks[i].at - cut : 0;
}

/* ------------------------------------------------------------------ sentences */

static kin_status count(const kin_chunker *c, size_t start, size_t size, size_t *tokens, kin_error *err) {
  kin_status status = c->counter->count(c->counter->user, c->text.data + start, size, tokens, err);
  *tokens = *tokens > c->around ? *tokens - c->around : 0;
  return status;
}

static bool is_blank(char ch) {
  return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\f' || ch == '\v';
}

/* The largest cut at most at `most`: behind a blank, or inside a word where there is none. */
static size_t cut_at(const char *text, size_t most) {
  for (size_t i = most; i > 0; i--)
    if (is_blank(text[i - 1])) return i;
  while (most > 0 && ((uint8_t)text[most] & 0xC0) == 0x80) most--;
  return most;
}

/* The longest beginning of the sentence that has room, by halving. */
static kin_status fit(const kin_chunker *c, size_t start, size_t *size, size_t *tokens, kin_error *err) {
  size_t low = 0, high = *size, best = 0, best_tokens = 0; /* `low` fits, `high` doesn't */
  while (high - low > 1) {
    size_t middle = cut_at(c->text.data + start, low + (high - low) / 2), n;
    if (middle <= low) { /* no blank in between: inside the word */
      middle = low + (high - low) / 2;
      while (middle > low && ((uint8_t)c->text.data[start + middle] & 0xC0) == 0x80) middle--;
      if (middle == low) break;
      if (best) { /* a cut between words was found already */
        high = middle;
        continue;
      }
    }
    kin_status status = count(c, start, middle, &n, err);
    if (status != KIN_OK) return status;
    if (n <= c->budget) {
      low = best = middle;
      best_tokens = n;
    } else {
      high = middle;
    }
  }
  /* Not even one character has room: give it as it is, to be cut by the model. */
  if (!best)
    for (best = 1; best < *size && ((uint8_t)c->text.data[start + best] & 0xC0) == 0x80;) best++;
  *size = best;
  *tokens = best_tokens ? best_tokens : c->budget;
  return KIN_OK;
}

static kin_status add_sentence(kin_chunker *c, size_t start, size_t size, size_t tokens, kin_error *err) {
  if (!kin_grow((void **)&c->sentences, &c->capacity, c->n + 1, sizeof *c->sentences)) return no_memory(err);
  size_t i = c->n_marks;
  while (i > 1 && c->marks[i - 1].at > start) i--;
  const mark *m = &c->marks[i - 1];
  c->sentences[c->n++] = (sentence){start, size, tokens, m->line, m->offset};
  return KIN_OK;
}

/* Find the next sentence, or the next part of one that is too long. *found is false at the record's end. */
static kin_status next_sentence(kin_chunker *c, bool *found, kin_error *err) {
  *found = false;
  for (;;) {
    kin_status status = look_ahead(c, err);
    if (status != KIN_OK) return status;
    while (c->parsed < c->text.size && is_blank(c->text.data[c->parsed])) c->parsed++;
    if (c->parsed < c->text.size) break;
    if (c->record_end) return KIN_OK;
  }
  size_t start = c->parsed, tokens;
  size_t size = kin_sentence_length(c->text.data + start, c->text.size - start, SENTENCE_LIMIT);
  kin_status status = count(c, start, size, &tokens, err);
  if (status == KIN_OK && tokens > c->budget) status = fit(c, start, &size, &tokens, err);
  if (status == KIN_OK) status = add_sentence(c, start, size, tokens, err);
  c->parsed = start + size;
  *found = status == KIN_OK;
  return status;
}

/* ------------------------------------------------------------------- passages */

/* How many of the first sentences have room together, by the sum of their tokens. */
static size_t count_fitting(const kin_chunker *c) {
  size_t n = 0, sum = 0;
  while (n < c->n && sum + c->sentences[n].tokens <= c->budget) sum += c->sentences[n++].tokens;
  return n;
}

/* The sum is a good guess: words at the seams may be cut otherwise. Settle what really fits. */
static kin_status settle(const kin_chunker *c, size_t *n, kin_error *err) {
  while (*n > 1) {
    const sentence *first = &c->sentences[0], *last = &c->sentences[*n - 1];
    size_t tokens;
    kin_status status = count(c, first->start, last->start + last->size - first->start, &tokens, err);
    if (status != KIN_OK) return status;
    if (tokens <= c->budget) break;
    --*n;
  }
  return KIN_OK;
}

/* Of the `n` sentences given out, how many at the end the next passage begins with. */
static size_t choose_overlap(const kin_chunker *c, size_t n) {
  if (n == c->n) return 0; /* nothing new comes behind them */
  size_t overlap = 0, sum = 0,
         room = c->budget - (c->sentences[n].tokens < c->budget ? c->sentences[n].tokens : c->budget);
  while (overlap < MOST_OVERLAP && overlap + 1 < n) {
    sum += c->sentences[n - 1 - overlap].tokens;
    if (sum > room || sum > c->budget / 4) break;
    overlap++;
  }
  return overlap;
}

/* Give out the first `n` sentences. */
static kin_status emit(kin_chunker *c, size_t n, kin_chunk *out, kin_error *err) {
  const sentence *first = &c->sentences[0], *last = &c->sentences[n - 1];
  *out = (kin_chunk){.line = first->line, .offset = first->offset, .size = last->start + last->size - first->start};
  c->out.size = 0;
  kin_bytes_append(&c->out, c->text.data + first->start, out->size);
  kin_bytes_append(&c->out, "", 1);
  if (c->out.failed) return no_memory(err);
  while (out->size && is_blank(c->out.data[out->size - 1])) c->out.data[--out->size] = '\0';
  out->text = c->out.data;
  c->overlap = choose_overlap(c, n);
  forget(c, n - c->overlap);
  return KIN_OK;
}

kin_status kin_chunker_next(kin_chunker *c, kin_chunk *out, kin_error *err) {
  *out = (kin_chunk){0};
  for (;;) {
    size_t n = count_fitting(c);
    bool found = false;
    kin_status status = KIN_OK;
    if (n == c->n) status = next_sentence(c, &found, err);
    if (status == KIN_OK && found) continue; /* it may have room */
    if (status == KIN_OK && n > 0) status = settle(c, &n, err);
    if (status != KIN_OK) return status;
    if (n <= c->overlap && n < c->n) { /* the overlap leaves no room for what is new */
      forget(c, c->overlap);
      c->overlap = 0;
      continue;
    }
    if (n > c->overlap) return emit(c, n, out, err);
    if (c->end) return KIN_OK;
    status = next_record(c, err);
    if (status != KIN_OK) return status;
  }
}
