/* HTML: libxml2's push parser tells of tags and text, of which the text outside scripts and styles is kept. */
#include "document/reader.h"

#include <libxml/HTMLparser.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A finished piece in html.texts. */
typedef struct ready {
  size_t start, size;
  uint64_t line, offset;
  kin_document_break before;
} ready;

typedef struct html {
  htmlParserCtxtPtr parser;
  size_t skipping; /* depth below a script or style */
  kin_bytes texts; /* of the ready pieces, then of the one at hand, which starts at `start` */
  size_t start;
  uint64_t line, offset;   /* of the piece at hand */
  bool blank;              /* white space comes before its next word */
  kin_document_break next; /* before the piece at hand */
  ready *items;
  size_t n, capacity, given;
  uint64_t *offsets; /* of the lines given to the parser, from `first_line` on */
  size_t n_offsets, offsets_capacity;
  uint64_t first_line;
  bool end, failed;
} html;

static bool is_among(const char *name, const char *const *names) {
  for (; *names; names++)
    if (strcasecmp(name, *names) == 0) return true;
  return false;
}

static bool is_hidden(const char *name) {
  static const char *const names[] = {"script", "style", "template", "svg", "noscript", NULL};
  return is_among(name, names);
}

/* Elements that begin and end a paragraph. */
static bool is_block(const char *name) {
  static const char *const names[] = {
      "p",     "div",     "h1",      "h2",      "h3",      "h4",      "h5",         "h6",     "ul",     "ol",
      "li",    "dl",      "dt",      "dd",      "table",   "tr",      "blockquote", "pre",    "hr",     "title",
      "body",  "main",    "nav",     "form",    "section", "article", "header",     "footer", "figure", "figcaption",
      "aside", "address", "details", "summary", "option",  "caption", NULL};
  return is_among(name, names);
}

static bool is_cell(const char *name) {
  static const char *const names[] = {"td", "th", "br", NULL};
  return is_among(name, names);
}

/* End the piece at hand; `before` lies between it and the next. */
static void flush(html *h, kin_document_break before) {
  if (h->texts.size > h->start) {
    if (h->texts.failed || !kin_grow((void **)&h->items, &h->capacity, h->n + 1, sizeof *h->items)) {
      h->failed = true;
      return;
    }
    h->items[h->n++] = (ready){h->start, h->texts.size - h->start, h->line, h->offset, h->next};
    h->start = h->texts.size;
    h->next = before;
  } else if (before > h->next) {
    h->next = before;
  }
  h->blank = false;
}

static void on_start(void *user, const xmlChar *name, const xmlChar **attributes) {
  (void)attributes;
  html *h = user;
  if (h->skipping || is_hidden((const char *)name))
    h->skipping++;
  else if (is_block((const char *)name))
    flush(h, KIN_BREAK_PARAGRAPH);
  else if (is_cell((const char *)name))
    flush(h, KIN_BREAK_LINE);
}

static void on_end(void *user, const xmlChar *name) {
  html *h = user;
  if (h->skipping)
    h->skipping--;
  else if (is_block((const char *)name))
    flush(h, KIN_BREAK_PARAGRAPH);
}

static uint64_t offset_of_line(html *h, uint64_t line) {
  if (line < h->first_line || line - h->first_line >= h->n_offsets) return 0;
  size_t i = (size_t)(line - h->first_line);
  uint64_t offset = h->offsets[i];
  if (i > 4096) {
    memmove(h->offsets, h->offsets + i, (h->n_offsets - i) * sizeof *h->offsets);
    h->n_offsets -= i;
    h->first_line = line;
  }
  return offset;
}

/* Begin a piece with the character that has `left` bytes up to the parser's place behind it. */
static void begin_piece(html *h, const xmlChar *rest, int left) {
  uint64_t line = h->parser->input ? (uint64_t)h->parser->input->line : 0;
  for (int i = 0; i < left; i++) line -= rest[i] == '\n' && line > 1;
  h->line = line;
  h->offset = offset_of_line(h, line);
}

static void on_text(void *user, const xmlChar *text, int size) {
  html *h = user;
  if (h->skipping) return;
  for (int i = 0; i < size; i++) {
    if (strchr(" \t\r\n\f", text[i])) {
      h->blank = true;
      continue;
    }
    bool first = h->texts.size == h->start;
    if (first) begin_piece(h, text + i, size - i);
    if (h->blank && !first) kin_bytes_append(&h->texts, " ", 1);
    h->blank = false;
    kin_bytes_append(&h->texts, text + i, 1);
    bool whole = i + 1 == size || (text[i + 1] & 0xC0) != 0x80;
    if (h->texts.size - h->start >= KIN_LINE_LIMIT && whole) {
      bool blank = i + 1 < size && strchr(" \t\r\n\f", text[i + 1]);
      if (blank) kin_bytes_append(&h->texts, " ", 1);
      flush(h, KIN_BREAK_NONE);
    }
  }
  h->failed = h->failed || h->texts.failed;
}

static void html_close(void *state) {
  html *h = state;
  if (h->parser) {
    if (h->parser->myDoc) xmlFreeDoc(h->parser->myDoc);
    htmlFreeParserCtxt(h->parser);
  }
  kin_bytes_free(&h->texts);
  free(h->items);
  free(h->offsets);
  free(h);
}

static kin_status html_open(kin_lines *lines, const char *text_column, void **state, kin_error *err) {
  (void)text_column;
  xmlSAXHandler events = {
      .startElement = on_start, .endElement = on_end, .characters = on_text, .ignorableWhitespace = on_text};
  html *h = calloc(1, sizeof *h);
  if (h) h->parser = htmlCreatePushParserCtxt(&events, h, NULL, 0, NULL, XML_CHAR_ENCODING_UTF8);
  if (!h || !h->parser) {
    free(h);
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", kin_lines_path(lines));
  }
  /* The lines are UTF-8 already, whatever a <meta> says. */
  htmlCtxtUseOptions(h->parser, HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NONET |
                                    HTML_PARSE_IGNORE_ENC);
  h->first_line = 1;
  h->next = KIN_BREAK_PARAGRAPH;
  *state = h;
  return KIN_OK;
}

/* Give the parser the next line. */
static kin_status feed(html *h, kin_lines *lines, kin_error *err) {
  kin_line line;
  kin_status status = kin_lines_next(lines, &line, err);
  if (status != KIN_OK) return status;
  if (!line.text) {
    h->end = true;
    htmlParseChunk(h->parser, NULL, 0, 1);
    flush(h, KIN_BREAK_PARAGRAPH);
  } else {
    if (h->first_line + h->n_offsets <= line.number) {
      if (!kin_grow((void **)&h->offsets, &h->offsets_capacity, h->n_offsets + 1, sizeof *h->offsets))
        return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", kin_lines_path(lines));
      h->offsets[h->n_offsets++] = line.offset;
    }
    if (line.size) htmlParseChunk(h->parser, line.text, (int)line.size, 0);
    if (!line.continues) htmlParseChunk(h->parser, "\n", 1, 0);
  }
  return h->failed ? kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", kin_lines_path(lines)) : KIN_OK;
}

static kin_status html_next(void *state, kin_lines *lines, kin_document_piece *out, kin_error *err) {
  html *h = state;
  while (h->given == h->n) {
    if (h->end) return KIN_OK;
    if (h->n) { /* keep only the piece at hand */
      h->texts.size -= h->start;
      memmove(h->texts.data, h->texts.data + h->start, h->texts.size);
      h->start = h->n = h->given = 0;
    }
    kin_status status = feed(h, lines, err);
    if (status != KIN_OK) return status;
  }
  const ready *r = &h->items[h->given++];
  *out = (kin_document_piece){h->texts.data + r->start, r->size, r->line, r->offset, r->before};
  return KIN_OK;
}

const kin_reader kin_reader_html = {html_open, html_next, html_close};
