/* kindred cluster: sorting the files into a folder for each cluster. */
#include "cli/cluster.h"
#include "embed/path_json.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names with a number behind that are tried where a name is taken. */
enum { MOST_NAMES = 10000, SHOWN = 20 };

typedef struct target {
  const char *from;
  char *folder, *to; /* owned */
} target;

typedef struct sorting {
  const cluster_job *j;
  const char *dir;
  bool links;
  target *targets; /* [n], in the order of j->order */
  size_t n, done;
} sorting;

static char *join(const char *folder, const char *name) {
  const size_t size = strlen(folder) + strlen(name) + 2;
  char *out = malloc(size);
  if (out) snprintf(out, size, "%s/%s", folder, name);
  return out;
}

/* DIR/03-a-dog, or DIR/noise. Of a word only letters and digits stay. */
static char *folder_of(const sorting *s, size_t cluster) {
  const cluster_job *j = s->j;
  if (cluster == j->clusters.k) return join(s->dir, "noise");
  char name[80];
  const size_t digits = j->clusters.k > 100 ? 4 : 2;
  size_t n = (size_t)snprintf(name, sizeof name, "%0*zu", (int)digits, cluster);
  const char *word = cluster_word(j, cluster, 0);
  bool gap = true;
  for (; word && *word && n + 2 < sizeof name; word++) {
    const bool letter = isalnum((unsigned char)*word) || (unsigned char)*word >= 0x80;
    if (letter && gap) name[n++] = '-';
    if (letter) name[n++] = *word;
    gap = !letter;
  }
  while (n > 0 && word && *word && ((unsigned char)name[n - 1] & 0xC0) == 0x80) n--; /* no part of a character */
  name[n] = '\0';
  return join(s->dir, name);
}

static bool exists(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0 || errno != ENOENT;
}

static bool is_taken(const sorting *s, const char *folder, const char *path) {
  for (size_t i = s->done; i-- > 0 && strcmp(s->targets[i].folder, folder) == 0;)
    if (strcmp(s->targets[i].to, path) == 0) return true;
  return exists(path);
}

/* A free name in the folder: the file's own, else with -2, -3 ... before its ending. */
static char *free_name(const sorting *s, const char *folder, const char *from) {
  const char *name = cli_file_name(from), *dot = strrchr(name, '.');
  char *path = join(folder, name);
  for (int i = 2; path && is_taken(s, folder, path) && i < MOST_NAMES; i++) {
    char stem[4096 + 32];
    const int length = dot && dot > name ? (int)(dot - name) : (int)strlen(name);
    snprintf(stem, sizeof stem, "%.*s-%d%s", length, name, i, dot && dot > name ? dot : "");
    free(path);
    path = join(folder, stem);
  }
  return path;
}

static int check_items(const cluster_job *j) {
  for (size_t i = 0; i < j->v.set.n; i++) {
    const cli_item *item = &j->v.items[i];
    if (item->is_file && !item->text) continue;
    cli_error("%s %s: only photos can be sorted into folders", item->name,
              item->is_file ? "is a document" : "is no file");
    return CLI_FAILED;
  }
  return CLI_OK;
}

static int plan(sorting *s) {
  const cluster_job *j = s->j;
  for (size_t c = 0; c <= j->clusters.k; c++)
    for (size_t i = j->first[c]; i < j->first[c + 1]; i++) {
      target *t = &s->targets[s->done];
      t->from = j->v.items[j->order[i]].name;
      t->folder = folder_of(s, c);
      t->to = t->folder ? free_name(s, t->folder, t->from) : NULL;
      if (!t->to) {
        cli_error("out of memory for %zu names", s->n);
        return CLI_FAILED;
      }
      s->done++;
    }
  return CLI_OK;
}

/* ------------------------------------------------------------- carrying out */

static bool make_folder(const char *path) {
  return mkdir(path, 0777) == 0 || errno == EEXIST;
}

/* To another file system: a copy that is complete before the file goes. */
static bool copy_over(const char *from, const char *to) {
  FILE *in = fopen(from, "rb");
  const int fd = in ? open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666) : -1;
  FILE *out = fd >= 0 ? fdopen(fd, "wb") : NULL;
  bool ok = out != NULL;
  char buffer[1 << 16];
  for (size_t n; ok && (n = fread(buffer, 1, sizeof buffer, in)) > 0;) ok = fwrite(buffer, 1, n, out) == n;
  ok = ok && !ferror(in) && fflush(out) == 0 && fsync(fd) == 0;
  int failure = errno;
  if (out)
    ok = fclose(out) == 0 && ok;
  else if (fd >= 0)
    close(fd);
  if (in) fclose(in);
  if (!ok && fd >= 0) unlink(to);
  errno = failure;
  return ok && unlink(from) == 0;
}

static bool move_file(const char *from, const char *to) {
  if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return true;
  if (errno == EXDEV) return copy_over(from, to);
  if (errno != EINVAL && errno != ENOSYS) return false;
  return link(from, to) == 0 && unlink(from) == 0; /* a file system that can't tell; link never replaces */
}

static bool link_file(const char *from, const char *to) {
  char *absolute = realpath(from, NULL);
  const bool ok = absolute && symlink(absolute, to) == 0;
  const int failure = errno;
  free(absolute);
  errno = failure;
  return ok;
}

static int carry_out(sorting *s) {
  int status = CLI_OK;
  if (!make_folder(s->dir)) {
    cli_error("can't make the folder %s: %s", s->dir, strerror(errno));
    return CLI_FAILED;
  }
  for (s->done = 0; s->done < s->n && status == CLI_OK; s->done++) {
    const target *t = &s->targets[s->done];
    if (cli_signal()) return cli_stopped();
    if (make_folder(t->folder) && (s->links ? link_file(t->from, t->to) : move_file(t->from, t->to))) continue;
    cli_error("can't %s %s to %s: %s", s->links ? "link" : "move", t->from, t->to, strerror(errno));
    return CLI_FAILED;
  }
  return status;
}

/* ------------------------------------------------------------------ reporting */

static bool add_json(const sorting *s, json_t *json) {
  json_t *files = json_array();
  json_t *sorted = json_pack("{ss sb so}", "by", s->links ? "link" : "move", "done", (int)s->j->yes, "files", files);
  bool ok = sorted != NULL;
  for (size_t i = 0; ok && i < s->n; i++) {
    json_t *file = json_object();
    ok = file && kin_json_set_text(file, "from", s->targets[i].from) && kin_json_set_text(file, "to", s->targets[i].to);
    ok = json_array_append_new(files, file) == 0 && ok;
  }
  return json_object_set_new(json, "sorted", sorted) == 0 && ok;
}

static void print_plan(const sorting *s) {
  const size_t shown = s->j->yes ? 0 : s->n < SHOWN ? s->n : SHOWN;
  putchar('\n');
  for (size_t i = 0; i < shown; i++) {
    cli_put_text(s->targets[i].from);
    fputs(" -> ", stdout);
    cli_put_text(s->targets[i].to);
    putchar('\n');
  }
  if (shown < s->n && shown) printf("... and %zu more\n", s->n - shown);
  if (s->j->yes)
    printf("%zu files %s into %s\n", s->n, s->links ? "linked" : "moved", s->dir);
  else
    printf("Nothing was done yet: %zu files would be %s. Add --yes to do it.\n", s->n, s->links ? "linked" : "moved");
}

int cluster_sort_files(const cluster_job *j, json_t *json) {
  sorting s = {.j = j, .dir = j->move ? j->move : j->link, .links = j->link != NULL, .n = j->v.set.n};
  int status = check_items(j);
  if (status != CLI_OK) return status;
  s.targets = calloc(s.n, sizeof *s.targets);
  if (!s.targets) {
    cli_error("out of memory for %zu names", s.n);
    return CLI_FAILED;
  }
  status = plan(&s);
  if (status == CLI_OK && j->yes) status = carry_out(&s);
  if (status == CLI_OK && json && !add_json(&s, json)) {
    cli_error("out of memory");
    status = CLI_FAILED;
  }
  if (status == CLI_OK && !json && !j->common.quiet) print_plan(&s);
  for (size_t i = 0; i < s.n; i++) free(s.targets[i].folder), free(s.targets[i].to);
  free(s.targets);
  return status;
}
