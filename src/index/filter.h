/* What an item must be to be found, read from text such as "width > 1000 and name glob '*.png'" into a tree that each
 * kind of store renders for itself, values always apart from the query's text (docs/search.md has the grammar).
 *
 * A tree is simpler than its text: "a != b" is not (a = b), "not in" likewise, and a comparison of mtime with a date is
 * one or two of GREATER_OR_EQUAL and LESS with a number of seconds, so that nobody else needs to know calendars.
 *
 * Logic has two values: a comparison with what an item doesn't have (a key, the width of a document) is false, so its
 * negation is true. A key may have several values; a comparison is true if it is so for any of them. */
#ifndef KIN_FILTER_H
#define KIN_FILTER_H

#include "base/base.h"

typedef enum kin_filter_op {
  KIN_FILTER_AND, /* of `parts`, two or more */
  KIN_FILTER_OR,
  KIN_FILTER_NOT, /* of parts[0] */
  /* Of `field` with values[0]: */
  KIN_FILTER_EQUAL,
  KIN_FILTER_LESS,
  KIN_FILTER_LESS_OR_EQUAL,
  KIN_FILTER_GREATER,
  KIN_FILTER_GREATER_OR_EQUAL,
  KIN_FILTER_GLOB,    /* * any characters, also slashes; ? one; [a-z], [^a-z] one of; case counts */
  KIN_FILTER_LIKE,    /* % any characters, _ one; the case of A to Z doesn't count */
  KIN_FILTER_IN,      /* equal to one of `values` */
  KIN_FILTER_BETWEEN, /* values[0] <= field <= values[1], both numbers or both texts */
  KIN_FILTER_IS_NULL  /* the item has no such field or key */
} kin_filter_op;

typedef enum kin_filter_field {
  KIN_FIELD_ID,     /* number */
  KIN_FIELD_PATH,   /* text: absolute */
  KIN_FIELD_NAME,   /* text: the path's last part */
  KIN_FIELD_FOLDER, /* text: the path without it and its slash; "/" for the top */
  KIN_FIELD_WIDTH,  /* number: pixels; a document has none */
  KIN_FIELD_HEIGHT,
  KIN_FIELD_SIZE,  /* number: bytes */
  KIN_FIELD_MTIME, /* whole number: Unix time in seconds, rounded down */
  KIN_FIELD_KIND,  /* text: "picture" or "document" */
  KIN_FIELD_META   /* the item's metadata under `key`: as text with texts, as number (where it is one) with numbers */
} kin_filter_field;

typedef enum kin_filter_type { KIN_VALUE_INTEGER, KIN_VALUE_REAL, KIN_VALUE_TEXT } kin_filter_type;

typedef struct kin_filter_value {
  kin_filter_type type;
  int64_t integer; /* of an INTEGER */
  double real;     /* of a REAL, and of an INTEGER too */
  char *text;      /* of a TEXT, UTF-8 */
} kin_filter_value;

typedef struct kin_filter {
  kin_filter_op op;
  kin_filter_field field;
  char *key; /* of KIN_FIELD_META */
  kin_filter_value *values;
  size_t n_values;
  struct kin_filter **parts;
  size_t n_parts;
} kin_filter;

/* What one filter may hold, which bounds what others must render. */
enum {
  KIN_FILTER_MOST_BYTES = 65536,
  KIN_FILTER_MOST_COMPARISONS = 250,
  KIN_FILTER_MOST_VALUES = 10000,
  KIN_FILTER_MOST_DEPTH = 50
};

/* Read `text`; nothing but blanks gives NULL, the filter that lets all through. Dates are local time unless they end
 * in Z. KIN_ERR_ARGUMENT names the column (in characters, from 1) and what is expected there; KIN_ERR_LIMIT. */
kin_status kin_filter_parse(const char *text, kin_filter **out, kin_error *err);
void kin_filter_free(kin_filter *filter);

/* Whether a GLOB pattern on path or folder is relative: it then matches the whole or any end that begins after a
 * slash; "2023/[a-c]*" begins with any folder 2023. */
bool kin_filter_is_relative(const char *pattern);

/* ---- filter_time.c */

/* The seconds [*from, *to) that a date names: "2024", "2024-05", "2024-05-01", with "T12", "T12:30" or "T12:30:59"
 * (or a blank for the T) and Z for UTC. False if it is none. */
bool kin_filter_parse_time(const char *text, int64_t *from, int64_t *to);

#endif
