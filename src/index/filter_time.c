/* Dates in filters: each names a span of time, from a year to a second. */
#include "index/filter.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

typedef struct part {
  char before; /* what stands before it */
  size_t digits;
  int least, most;
} part;

static const part parts[] = {{0, 4, 1900, 9999}, {'-', 2, 1, 12}, {'-', 2, 1, 31},
                             {'T', 2, 0, 23},    {':', 2, 0, 59}, {':', 2, 0, 59}};
enum { N_PARTS = sizeof parts / sizeof *parts };

/* The number of the next part at *text, which moves on; -1: it isn't there, or it is wrong. */
static int read_part(const part *p, const char **text) {
  const char *at = *text;
  int value = 0;
  if (p->before && *at != p->before && !(p->before == 'T' && *at == ' ')) return -1;
  if (p->before) at++;
  for (size_t i = 0; i < p->digits; i++, at++) {
    if (*at < '0' || *at > '9') return -1;
    value = value * 10 + (*at - '0');
  }
  if (value < p->least || value > p->most) return -1;
  *text = at;
  return value;
}

static int64_t seconds_of(const int v[N_PARTS], bool utc) {
  struct tm t = {.tm_year = v[0] - 1900,
                 .tm_mon = v[1] - 1,
                 .tm_mday = v[2],
                 .tm_hour = v[3],
                 .tm_min = v[4],
                 .tm_sec = v[5],
                 .tm_isdst = -1};
  return (int64_t)(utc ? timegm(&t) : mktime(&t));
}

static bool is_day(const int v[N_PARTS]) {
  static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = v[0] % 4 == 0 && (v[0] % 100 != 0 || v[0] % 400 == 0);
  return v[2] <= days[v[1] - 1] + (leap && v[1] == 2);
}

bool kin_filter_parse_time(const char *text, int64_t *from, int64_t *to) {
  int v[N_PARTS] = {0, 1, 1, 0, 0, 0}, value;
  size_t n = 0;
  for (; n < N_PARTS && (value = read_part(&parts[n], &text)) >= 0; n++) v[n] = value;
  bool utc = *text == 'Z';
  text += utc;
  if (n == 0 || *text || !is_day(v)) return false;
  *from = seconds_of(v, utc);
  v[n - 1]++; /* mktime carries over */
  *to = seconds_of(v, utc);
  return true;
}
