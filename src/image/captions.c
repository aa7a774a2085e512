/* IPTC and XMP: titles, descriptions and keywords, found by bounds-checked walks. */
#include "image/captions.h"

#include "image/codec.h"
#include "text/buffer.h"
#include "text/unicode.h"

#include <ctype.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdlib.h>
#include <string.h>

enum {
  MOST_XMP = 1 << 22,    /* bytes of a packet */
  MOST_WORDS = 1 << 16,  /* bytes of all captions */
  MOST_PACKETS = 16,     /* looked at in one file */
  IIM_RECORD = 2,        /* of what is said about the picture */
  PHOTOSHOP_IIM = 0x0404 /* the resource that holds IIM */
};

typedef struct bytes {
  const uint8_t *data;
  size_t size;
} bytes;

/* ------------------------------------------------------------------- captions */

static bool is_known(const kin_bytes *lines, const char *text, size_t size) {
  for (size_t at = 0; at < lines->size;) {
    const char *end = memchr(lines->data + at, '\n', lines->size - at);
    size_t n = end ? (size_t)(end - lines->data) - at : lines->size - at;
    if (n == size && memcmp(lines->data + at, text, n) == 0) return true;
    at += n + 1;
  }
  return false;
}

/* Add a caption: one line without white space around it. */
static void add(kin_bytes *lines, const char *text, size_t size) {
  kin_bytes line = {0};
  for (size_t i = 0; i < size; i++) {
    bool blank = isspace((unsigned char)text[i]) || text[i] == '\0';
    if (!blank) kin_bytes_append(&line, text + i, 1);
    if (blank && line.size && line.data[line.size - 1] != ' ') kin_bytes_append(&line, " ", 1);
  }
  while (line.size && line.data[line.size - 1] == ' ') line.size--;
  if (line.failed) lines->failed = true;
  if (line.size && lines->size + line.size < MOST_WORDS && !is_known(lines, line.data, line.size)) {
    if (lines->size) kin_bytes_append(lines, "\n", 1);
    kin_bytes_append(lines, line.data, line.size);
  }
  kin_bytes_free(&line);
}

/* ------------------------------------------------------------------------ IPTC */

/* IIM texts are UTF-8 where that is said, as it should be, or what they turn out to be; else Latin-1. */
static void add_iim(kin_bytes *lines, bytes text) {
  if (kin_utf8_check((const char *)text.data, text.size) == text.size) {
    add(lines, (const char *)text.data, text.size);
    return;
  }
  kin_bytes utf8 = {0};
  for (size_t i = 0; i < text.size; i++) kin_bytes_put(&utf8, text.data[i]);
  if (utf8.failed) lines->failed = true;
  add(lines, utf8.data, utf8.failed ? 0 : utf8.size);
  kin_bytes_free(&utf8);
}

/* Data sets: 0x1c, record, number, length. */
static void read_iim(kin_bytes *lines, bytes b) {
  for (size_t at = 0; b.size - at >= 5 && b.data[at] == 0x1C;) {
    unsigned record = b.data[at + 1], number = b.data[at + 2];
    size_t size = kin_be16(b.data + at + 3);
    at += 5;
    if (size & 0x8000 || size > b.size - at) return; /* lengths above 32767 are for pictures */
    /* object name, keyword, headline, caption */
    if (record == IIM_RECORD && (number == 5 || number == 25 || number == 105 || number == 120))
      add_iim(lines, (bytes){b.data + at, size});
    at += size;
  }
}

/* Photoshop's resources: "8BIM", a number, a name and data, both of even size. */
static void read_photoshop(kin_bytes *lines, bytes b) {
  for (size_t at = 0; b.size - at >= 12 && memcmp(b.data + at, "8BIM", 4) == 0;) {
    unsigned number = kin_be16(b.data + at + 4);
    size_t name = ((size_t)b.data[at + 6] + 2) & ~(size_t)1;
    if (b.size - at - 6 < name + 4) return;
    at += 6 + name;
    size_t size = kin_be32(b.data + at);
    at += 4;
    if (size > b.size - at) return;
    if (number == PHOTOSHOP_IIM) read_iim(lines, (bytes){b.data + at, size});
    at += size + (size & 1);
    if (at > b.size) return;
  }
}

/* ------------------------------------------------------------------------- XMP */

static bool says_something(const xmlNode *node) {
  static const struct {
    const char *space, *name;
  } wanted[] = {{"http://purl.org/dc/elements/1.1/", "title"},
                {"http://purl.org/dc/elements/1.1/", "description"},
                {"http://purl.org/dc/elements/1.1/", "subject"},
                {"http://ns.adobe.com/photoshop/1.0/", "Headline"}};
  if (!node->ns || !node->ns->href) return false;
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
    if (strcmp((const char *)node->ns->href, wanted[i].space) == 0 &&
        strcmp((const char *)node->name, wanted[i].name) == 0)
      return true;
  return false;
}

static void add_node(kin_bytes *lines, xmlNode *node) {
  xmlChar *text = xmlNodeGetContent(node);
  if (text) add(lines, (const char *)text, strlen((const char *)text));
  xmlFree(text);
}

/* A property: its text, or that of the items of its list. */
static void read_property(kin_bytes *lines, xmlNode *property) {
  bool list = false;
  for (xmlNode *kind = property->children; kind; kind = kind->next)
    for (xmlNode *item = kind->type == XML_ELEMENT_NODE ? kind->children : NULL; item; item = item->next)
      if (item->type == XML_ELEMENT_NODE) {
        add_node(lines, item);
        list = true;
      }
  if (!list) add_node(lines, property);
}

/* x:xmpmeta / rdf:RDF / rdf:Description, whose attributes and elements are properties; the first may be missing. */
static void read_descriptions(kin_bytes *lines, xmlNode *node, int depth) {
  for (; node; node = node->next) {
    if (node->type != XML_ELEMENT_NODE) continue;
    if (strcmp((const char *)node->name, "Description") != 0) {
      if (depth < 3) read_descriptions(lines, node->children, depth + 1);
      continue;
    }
    for (xmlAttr *a = node->properties; a; a = a->next)
      if (says_something((xmlNode *)a)) add_node(lines, (xmlNode *)a);
    for (xmlNode *property = node->children; property; property = property->next)
      if (property->type == XML_ELEMENT_NODE && says_something(property)) read_property(lines, property);
  }
}

static void read_xmp(kin_bytes *lines, bytes b) {
  if (!b.size || b.size > MOST_XMP) return;
  xmlDoc *document = xmlReadMemory((const char *)b.data, (int)b.size, NULL, NULL,
                                   XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_RECOVER);
  if (!document) return;
  read_descriptions(lines, xmlDocGetRootElement(document), 0);
  xmlFreeDoc(document);
}

/* In most formats XMP lies as it is: its outermost element can be found without knowing the format. */
static void scan_for_xmp(kin_bytes *lines, bytes b) {
  static const char begin[] = "<x:xmpmeta", end[] = "</x:xmpmeta>";
  for (int i = 0; i < MOST_PACKETS; i++) {
    const uint8_t *from = memmem(b.data, b.size, begin, sizeof begin - 1);
    if (!from) return;
    b.size -= (size_t)(from - b.data);
    b.data = from;
    const uint8_t *to = memmem(b.data, b.size, end, sizeof end - 1);
    if (!to) return;
    to += sizeof end - 1;
    read_xmp(lines, (bytes){from, (size_t)(to - from)});
    b.size -= (size_t)(to - b.data);
    b.data = to;
  }
}

/* ------------------------------------------------------------------ containers */

/* What a block holds behind its name, which ends with a NUL; nothing for another name. */
static bytes content_of(bytes block, const char *name) {
  size_t n = strlen(name) + 1;
  if (block.size < n || memcmp(block.data, name, n) != 0) return (bytes){0};
  return (bytes){block.data + n, block.size - n};
}

static void read_jpeg(kin_bytes *lines, bytes b) {
  for (size_t at = 2; b.size - at >= 4 && b.data[at] == 0xFF;) {
    unsigned marker = b.data[at + 1];
    if (marker == 0xFF) {
      at++;
      continue;
    }
    if (marker == 0xDA || marker == 0xD9) return;
    size_t size = kin_be16(b.data + at + 2);
    if (size < 2 || size > b.size - at - 2) return;
    bytes segment = {b.data + at + 4, size - 2};
    if (marker == 0xE1) read_xmp(lines, content_of(segment, "http://ns.adobe.com/xap/1.0/"));
    if (marker == 0xED) {
      bytes resources = content_of(segment, "Photoshop 3.0");
      if (resources.size) read_photoshop(lines, resources);
    }
    at += 2 + size;
  }
}

kin_status kin_image_find_captions(const uint8_t *data, size_t size, char **out, kin_error *err) {
  kin_bytes lines = {0};
  *out = NULL;
  if (size >= 2 && data[0] == 0xFF && data[1] == 0xD8)
    read_jpeg(&lines, (bytes){data, size});
  else if (size)
    scan_for_xmp(&lines, (bytes){data, size});
  bool any = lines.size > 0;
  kin_bytes_append(&lines, "", 1);
  if (any && !lines.failed) {
    *out = lines.data;
    return KIN_OK;
  }
  bool failed = lines.failed;
  kin_bytes_free(&lines);
  return failed ? kin_fail(err, KIN_ERR_MEMORY, "out of memory for a picture's captions") : KIN_OK;
}

kin_status kin_image_read_captions(const char *path, char **out, kin_error *err) {
  kin_map map;
  *out = NULL;
  kin_status status = kin_map_open(path, &map, err);
  if (status != KIN_OK) return status;
  status = kin_image_find_captions(map.data, map.size, out, err);
  kin_map_close(&map);
  return status == KIN_OK ? KIN_OK : kin_prefix(err, status, "%s", path);
}
