/* Documents cut into passages at sentence ends, each short enough for a model, overlapping by a sentence or two. */
#ifndef KIN_CHUNKER_H
#define KIN_CHUNKER_H

#include "document/document.h"

/* How a model counts. */
typedef struct kin_token_counter {
  /* Tokens of `text` with all that the model puts around it. */
  kin_status (*count)(void *user, const char *text, size_t size, size_t *out, kin_error *err);
  void *user;
  size_t limit; /* at most so many */
} kin_token_counter;

typedef struct kin_chunk {
  const char *text;      /* NUL-terminated; valid until the next call; NULL at the end */
  size_t size;           /* without the NUL */
  uint64_t line, offset; /* of the piece that it begins in */
} kin_chunk;

typedef struct kin_chunker kin_chunker;

/* `document` and `counter` must outlive the chunker. KIN_ERR_UNSUPPORTED: no room for text within the limit. */
kin_status kin_chunker_open(kin_document *document, const kin_token_counter *counter, kin_chunker **out,
                            kin_error *err);
/* The next passage. Every passage has at least one sentence that the one before hasn't. A sentence that is too long is
 * cut between words, a word inside. Records are never mixed. */
kin_status kin_chunker_next(kin_chunker *chunker, kin_chunk *out, kin_error *err);
void kin_chunker_close(kin_chunker *chunker);

/* The length of the sentence that starts at text[0], of at most `limit` bytes, without the blanks behind it. `text` is
 * valid UTF-8 in which '\n' ends a line and an empty line a paragraph. */
size_t kin_sentence_length(const char *text, size_t size, size_t limit);

#endif
