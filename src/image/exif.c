/* Date and camera of a photo, out of its EXIF. */
#include "image/exif.h"

#include "text/unicode.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum {
  MAKE = 0x010F,
  MODEL = 0x0110,
  CHANGED = 0x0132,
  EXIF_DIRECTORY = 0x8769,
  TAKEN = 0x9003,
  DIGITIZED = 0x9004,
  MOST_LOOKED_AT = 16 /* TIFF headers in one file */
};

/* A text without the blanks around it, on one line; "" where there is none, it isn't UTF-8 or too long. */
static void read_text(const kin_tiff *t, size_t directory, unsigned tag, char *out, size_t room) {
  kin_tiff_value value;
  *out = '\0';
  if (!kin_tiff_find(t, directory, tag, &value)) return;
  kin_span text = kin_tiff_text(t, &value);
  while (text.size && isspace(text.data[0])) text = kin_span_drop(text, 1);
  size_t n = text.size ? strnlen((const char *)text.data, text.size) : 0;
  while (n && isspace(text.data[n - 1])) n--;
  if (n >= room || kin_utf8_check((const char *)text.data, n) != n) return;
  for (size_t i = 0; i < n; i++)
    if (text.data[i] < ' ') return;
  if (n) memcpy(out, text.data, n);
  out[n] = '\0';
}

/* "2023:05:01 14:30:00" as ISO 8601 has it. Cameras whose clock isn't set leave zeros or blanks. */
static bool read_date(const kin_tiff *t, size_t directory, unsigned tag, char out[20]) {
  static const char form[] = "0000:00:00 00:00:00";
  static const int most[6] = {9999, 12, 31, 23, 59, 60}, least[6] = {1, 1, 1, 0, 0, 0};
  char text[32];
  read_text(t, directory, tag, text, sizeof text);
  if (strlen(text) != sizeof form - 1) return false;
  for (size_t i = 0; i < sizeof form - 1; i++)
    if (form[i] == '0' ? !isdigit((unsigned char)text[i]) : text[i] != form[i]) return false;
  const char *at = text;
  for (int i = 0; i < 6; i++) {
    char *end;
    const long part = strtol(at, &end, 10);
    if (part < least[i] || part > most[i]) return false;
    at = end + 1;
  }
  memcpy(out, text, sizeof form);
  out[4] = out[7] = '-', out[10] = 'T';
  return true;
}

/* "NIKON CORPORATION" and "NIKON D750" are a "NIKON D750": most models name their maker. */
static void join_camera(const char *make, const char *model, char *out, size_t room) {
  const size_t word = strcspn(make, " ");
  const bool named = strncasecmp(make, model, word) == 0 && (!model[word] || model[word] == ' ');
  if (!*make || (*model && named))
    snprintf(out, room, "%s", model);
  else
    snprintf(out, room, "%s%s%s", make, *model ? " " : "", model);
}

/* False: there is nothing of it here. */
static bool read_tiff(kin_span from, kin_exif *out) {
  kin_tiff t;
  kin_tiff_value value;
  char make[60], model[60];
  if (!kin_tiff_open(from, &t)) return false;
  read_text(&t, t.first, MAKE, make, sizeof make);
  read_text(&t, t.first, MODEL, model, sizeof model);
  join_camera(make, model, out->camera, sizeof out->camera);
  const size_t more = kin_tiff_find(&t, t.first, EXIF_DIRECTORY, &value) ? kin_tiff_integer(&t, &value) : SIZE_MAX;
  if (!read_date(&t, more, TAKEN, out->date) && !read_date(&t, more, DIGITIZED, out->date))
    read_date(&t, t.first, CHANGED, out->date);
  return *out->date || *out->camera;
}

/* In HEIC, AVIF and RAW: wherever such a structure begins. All that write them put the first directory right behind the
 * head, which makes 8 bytes to tell it by. */
static void scan(kin_span all, kin_exif *out) {
  static const char *const heads[2] = {"II*\0\x08\0\0\0", "MM\0*\0\0\0\x08"};
  for (int i = 0; i < 2; i++) {
    kin_span rest = all;
    for (int n = 0; n < MOST_LOOKED_AT; n++) {
      const uint8_t *at = memmem(rest.data, rest.size, heads[i], 8);
      if (!at) break;
      rest = kin_span_drop(rest, (size_t)(at - rest.data));
      if (read_tiff(rest, out)) return;
      rest = kin_span_drop(rest, 8);
    }
  }
}

void kin_image_find_exif(const uint8_t *data, size_t size, kin_exif *out) {
  const kin_span all = {data, size};
  *out = (kin_exif){0};
  if (kin_span_starts(all, "\xFF\xD8", 2))
    read_tiff(kin_jpeg_blocks(data, size).exif, out);
  else if (kin_span_starts(all, "\x89PNG", 4))
    read_tiff(kin_png_blocks(data, size).exif, out);
  else if (kin_span_starts(all, "RIFF", 4))
    read_tiff(kin_webp_blocks(data, size).exif, out);
  else if (!kin_span_starts(all, "GIF8", 4) && !read_tiff(all, out))
    scan(all, out);
}

kin_status kin_image_read_exif(const char *path, kin_exif *out, kin_error *err) {
  kin_map map;
  *out = (kin_exif){0};
  kin_status status = kin_map_open(path, &map, err);
  if (status != KIN_OK) return status;
  kin_image_find_exif(map.data, map.size, out);
  kin_map_close(&map);
  return KIN_OK;
}
