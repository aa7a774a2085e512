/* kindred duplicates: the table, JSON and CSV. */
#include "cli/duplicates.h"

#include <math.h>
#include <stdio.h>

/* ------------------------------------------------------------------- table */

static void name_kind(const kin_copy *copy, char *out, size_t size) {
  if (copy->kind == KIN_COPY_PART)
    snprintf(out, size, "part, %.0f%%", 100 * (double)copy->share);
  else
    snprintf(out, size, "%s", kin_copy_kind_name(copy->kind));
}

static void name_pixels(const kin_copy *copy, char *out, size_t size) {
  *out = '\0';
  if (copy->width) snprintf(out, size, "%u x %u", copy->width, copy->height);
}

static void name_bytes(const kin_copy *copy, char *out, size_t size) {
  *out = '\0';
  if (copy->bytes < 100000 && copy->bytes) snprintf(out, size, "%.1f KB", (double)copy->bytes / 1e3);
  if (copy->bytes >= 100000) snprintf(out, size, "%.1f MB", (double)copy->bytes / 1e6);
}

static void put_copy(const kin_copy *copy) {
  char kind[32], pixels[32], bytes[32];
  name_kind(copy, kind, sizeof kind), name_pixels(copy, pixels, sizeof pixels), name_bytes(copy, bytes, sizeof bytes);
  printf("  %-10s%13s %11s  ", kind, pixels, bytes);
}

void duplicates_note(const kin_copy *copy, char out[96]) {
  char kind[32], pixels[32], bytes[32];
  name_kind(copy, kind, sizeof kind), name_pixels(copy, pixels, sizeof pixels), name_bytes(copy, bytes, sizeof bytes);
  snprintf(out, 96, "%s%s%s%s%s", kind, *pixels ? ", " : "", pixels, *bytes ? ", " : "", bytes);
}

void duplicates_print(const duplicates_job *j) {
  char items[32];
  const char *all = cli_group_digits(j->n, items);
  for (size_t g = 0; g < j->found.n_groups; g++) {
    for (size_t i = j->found.first[g]; i < j->found.first[g + 1]; i++) {
      const kin_copy *copy = &j->found.copies[i];
      put_copy(copy);
      cli_put_text(duplicates_item(j, copy)->name);
      putchar('\n');
    }
    putchar('\n');
  }
  if (j->found.n_groups == 0)
    printf("no duplicates among %s item%s\n", all, cli_plural(j->n));
  else
    printf("%zu group%s among %s items: %zu cop%s beside the best, %.1f MB\n", j->found.n_groups,
           cli_plural(j->found.n_groups), all, j->copies, j->copies == 1 ? "y" : "ies", (double)j->bytes / 1e6);
}

/* -------------------------------------------------------------------- JSON */

static bool set(json_t *object, const char *key, json_t *value) {
  return json_object_set_new(object, key, value) == 0;
}

static json_t *describe_copy(const duplicates_job *j, const kin_copy *copy) {
  json_t *out = cli_item_describe(duplicates_item(j, copy));
  bool ok = out && set(out, "kind", json_string(kin_copy_kind_name(copy->kind)));
  if (ok && *copy->sha256)
    ok = set(out, "bytes", json_integer((json_int_t)copy->bytes)) && set(out, "sha256", json_string(copy->sha256));
  if (ok && copy->width)
    ok = set(out, "width", json_integer(copy->width)) && set(out, "height", json_integer(copy->height));
  if (ok && copy->kind != KIN_COPY_BEST && copy->kind != KIN_COPY_LINK) {
    if (!isnan(copy->cosine)) ok = set(out, "cosine", json_real(copy->cosine));
    if (ok && copy->likeness > 0) ok = set(out, "likeness", json_real((double)copy->likeness));
    if (ok && copy->kind == KIN_COPY_PART) ok = set(out, "share", json_real((double)copy->share));
    if (ok && copy->width) ok = set(out, "hash_distance", json_integer(copy->hash_distance));
  }
  if (ok) return out;
  json_decref(out);
  return NULL;
}

json_t *duplicates_describe(const duplicates_job *j) {
  json_t *groups = json_array();
  json_t *out =
      json_pack("{sI sI sI sI sf so}", "items", (json_int_t)j->n, "skipped", (json_int_t)j->v.skipped, "copies",
                (json_int_t)j->copies, "bytes", (json_int_t)j->bytes, "seconds", j->seconds, "groups", groups);
  bool ok = out != NULL;
  for (size_t g = 0; ok && g < j->found.n_groups; g++) {
    json_t *group = json_array();
    for (size_t i = j->found.first[g]; ok && i < j->found.first[g + 1]; i++)
      ok = json_array_append_new(group, describe_copy(j, &j->found.copies[i])) == 0;
    ok = json_array_append_new(groups, group) == 0 && ok;
  }
  if (ok) return out;
  json_decref(out);
  return NULL;
}

/* --------------------------------------------------------------------- CSV */

void duplicates_write_csv(const duplicates_job *j, FILE *out) {
  fputs("group,kind,name,line,width,height,bytes,sha256,cosine,likeness,share\r\n", out);
  for (size_t g = 0; g < j->found.n_groups; g++)
    for (size_t i = j->found.first[g]; i < j->found.first[g + 1]; i++) {
      const kin_copy *copy = &j->found.copies[i];
      fprintf(out, "%zu,%s,", g + 1, kin_copy_kind_name(copy->kind));
      cli_csv_put_item(out, duplicates_item(j, copy));
      if (copy->width)
        fprintf(out, "%u,%u,", copy->width, copy->height);
      else
        fputs(",,", out);
      if (*copy->sha256)
        fprintf(out, "%llu,%s,", (unsigned long long)copy->bytes, copy->sha256);
      else
        fputs(",,", out);
      if (!isnan(copy->cosine)) fprintf(out, "%.6g", copy->cosine);
      fprintf(out, ",%.4g,%.4g\r\n", (double)copy->likeness, (double)copy->share);
    }
}
