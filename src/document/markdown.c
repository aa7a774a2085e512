/* Markdown: front matter is left out, markup is taken off, the words stay. */
#include "document/reader.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Longer tags and link targets are taken for text, so that time grows with the file only. */
#define MOST_MARKUP 2048

typedef struct markdown {
  kin_bytes text;        /* of the line at hand */
  bool started;          /* a line was read */
  bool in_comment;       /* <!-- ... */
  char fence;            /* '`' or '~' inside a code block */
  bool continued, apart; /* the next piece goes on with the last; is apart from it */
} markdown;

static bool begins(const char *p, const char *end, const char *with) {
  size_t n = strlen(with);
  return (size_t)(end - p) >= n && memcmp(p, with, n) == 0;
}

static bool is_word(char c) {
  return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* Only these characters and blanks, at least `least` of the former: a rule, a heading's underline, a table's. */
static bool consists_of(const char *p, const char *end, const char *characters, int least) {
  int n = 0;
  for (; p < end; p++) {
    if (strchr(characters, *p))
      n++;
    else if (*p != ' ' && *p != '\t')
      return false;
  }
  return n >= least;
}

/* Behind quotation marks, heading and list signs at the line's start; *apart is set for a line on its own. */
static const char *skip_prefix(const char *p, const char *end, bool *apart) {
  for (;;) {
    while (p < end && (*p == ' ' || *p == '\t')) p++;
    if (p < end && *p == '>') {
      p++;
      continue;
    }
    const char *q = p;
    while (q < end && *q == '#') q++;
    bool heading = q > p && q - p <= 6 && (q == end || *q == ' ');
    bool item = p + 1 < end && strchr("-*+", *p) && (p[1] == ' ' || p[1] == '\t');
    if (!heading && !item) break;
    *apart = true;
    p = heading ? q : p + 2;
  }
  if (begins(p, end, "[ ] ") || begins(p, end, "[x] ") || begins(p, end, "[X] ")) p += 4;
  return p;
}

/* The end of "](target)" or "][name]" at p, or NULL. */
static const char *link_end(const char *p, const char *end) {
  if (p + 1 >= end || (p[1] != '(' && p[1] != '[')) return NULL;
  char close = p[1] == '(' ? ')' : ']';
  int depth = 0;
  const char *last = end - p > MOST_MARKUP ? p + MOST_MARKUP : end;
  for (const char *q = p + 1; q < last; q++) {
    depth += *q == p[1];
    depth -= *q == close;
    if (depth == 0) return q + 1;
  }
  return NULL;
}

/* Behind the tag or the angle-bracketed address at p; p if there is none. An address stays as text. */
static const char *skip_tag(markdown *m, const char *p, const char *end) {
  if (begins(p, end, "<!--")) {
    m->in_comment = true;
    return p + 4;
  }
  if (p + 1 >= end || !(isalpha((unsigned char)p[1]) || p[1] == '/')) return p;
  const char *close = memchr(p, '>', end - p > MOST_MARKUP ? MOST_MARKUP : (size_t)(end - p));
  if (!close) return p;
  if (memchr(p, ':', (size_t)(close - p)) && !memchr(p, ' ', (size_t)(close - p)))
    kin_bytes_append(&m->text, p + 1, (size_t)(close - p - 1));
  return close + 1;
}

/* Whether the run of emphasis signs at p is markup: not when blanks are on both sides, or inside a word for '_'. */
static bool is_emphasis(const char *start, const char *p, const char *run_end, const char *end) {
  bool blank_before = p == start || p[-1] == ' ', blank_after = run_end == end || *run_end == ' ';
  if (*p == '~') return run_end - p == 2;
  if (*p == '_')
    return !(p > start && is_word(p[-1]) && run_end < end && is_word(*run_end)) && !(blank_before && blank_after);
  return !(blank_before && blank_after);
}

static void clean_inline(markdown *m, const char *p, const char *end) {
  const char *start = p;
  while (p < end) {
    const char *next = p;
    if (m->in_comment) {
      if (begins(p, end, "-->")) {
        m->in_comment = false;
        next = p + 3;
      } else {
        next = p + 1;
      }
    } else if (*p == '\\' && p + 1 < end && ispunct((unsigned char)p[1])) {
      kin_bytes_append(&m->text, p + 1, 1);
      next = p + 2;
    } else if (*p == '*' || *p == '_' || *p == '~') {
      while (next < end && *next == *p) next++;
      if (!is_emphasis(start, p, next, end)) kin_bytes_append(&m->text, p, (size_t)(next - p));
    } else if (*p == '<') {
      next = skip_tag(m, p, end);
    } else if (*p == '!' && p + 1 < end && p[1] == '[') {
      next = p + 1;
    } else if (*p == '[' && p + 1 < end && memchr(p, ']', (size_t)(end - p))) {
      next = p + 1;
    } else if (*p == ']') {
      const char *after = link_end(p, end);
      next = after ? after : p + 1;
    } else if (*p == '`') {
      next = p + 1;
    } else if (*p == '|') {
      kin_bytes_append(&m->text, " ", 1);
      next = p + 1;
    }
    if (next == p) kin_bytes_append(&m->text, p, 1), next = p + 1;
    p = next;
  }
}

/* "---" ... "---" at the start of the file. */
static kin_status skip_front_matter(kin_lines *lines, kin_line *line, kin_error *err) {
  while (true) {
    kin_status status = kin_lines_next(lines, line, err);
    if (status != KIN_OK || !line->text) return status;
    if (line->size >= 3 &&
        (begins(line->text, line->text + line->size, "---") || begins(line->text, line->text + line->size, "...")) &&
        consists_of(line->text, line->text + line->size, "-.", 3))
      return kin_lines_next(lines, line, err);
  }
}

/* Whether the line opens or closes a block of code. */
static bool is_fence(markdown *m, const char *p, const char *end) {
  while (p < end && (*p == ' ' || *p == '\t')) p++;
  if (!begins(p, end, "```") && !begins(p, end, "~~~")) return false;
  if (m->fence && m->fence != *p) return false;
  m->fence = m->fence ? '\0' : *p;
  return true;
}

/* The line's words into m->text; none for what is only markup. */
static void clean_line(markdown *m, const kin_line *line, bool *apart) {
  const char *p = line->text, *end = p + line->size;
  m->text.size = 0;
  if (is_fence(m, p, end)) {
    *apart = true;
    return;
  }
  if (m->fence) {
    kin_bytes_append(&m->text, p, line->size);
    return;
  }
  if (consists_of(p, end, "-", 2) || consists_of(p, end, "=", 2) || consists_of(p, end, "*", 3) ||
      consists_of(p, end, "_", 3) || (memchr(p, '-', line->size) && consists_of(p, end, "|-:+", 3))) {
    *apart = true;
    return;
  }
  p = skip_prefix(p, end, apart);
  if (p < end && *p == '[') { /* [name]: target */
    const char *close = memchr(p, ']', (size_t)(end - p));
    if (close && close + 1 < end && close[1] == ':') return;
  }
  clean_inline(m, p, end);
}

static kin_status markdown_open(kin_lines *lines, const char *text_column, void **state, kin_error *err) {
  (void)text_column;
  *state = calloc(1, sizeof(markdown));
  return *state ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", kin_lines_path(lines));
}

static void markdown_close(void *state) {
  kin_bytes_free(&((markdown *)state)->text);
  free(state);
}

static bool has_words(const kin_bytes *text) {
  for (size_t i = 0; i < text->size; i++)
    if (!isspace((unsigned char)text->data[i])) return true;
  return false;
}

static kin_status markdown_next(void *state, kin_lines *lines, kin_document_piece *out, kin_error *err) {
  markdown *m = state;
  bool apart = m->apart;
  for (;;) {
    kin_line line;
    bool continued = m->continued, alone = false;
    kin_status status = kin_lines_next(lines, &line, err);
    if (status == KIN_OK && !m->started && line.text && line.size == 3 && memcmp(line.text, "---", 3) == 0)
      status = skip_front_matter(lines, &line, err);
    m->started = true;
    if (status != KIN_OK || !line.text) return status;
    clean_line(m, &line, &alone);
    if (m->text.failed) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", kin_lines_path(lines));
    m->continued = line.continues;
    if (!has_words(&m->text) && !line.continues) {
      apart = apart || line.size == 0 || alone;
      continue;
    }
    m->apart = alone && !line.continues;
    kin_document_break before = continued ? KIN_BREAK_NONE : apart || alone ? KIN_BREAK_PARAGRAPH : KIN_BREAK_LINE;
    *out = (kin_document_piece){m->text.data ? m->text.data : "", m->text.size, line.number, line.offset, before};
    return KIN_OK;
  }
}

const kin_reader kin_reader_markdown = {markdown_open, markdown_next, markdown_close};
