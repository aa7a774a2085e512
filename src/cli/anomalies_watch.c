/* kindred anomalies score --watch: score pictures as they come into a folder, a line of JSON each. */
#include "cli/anomalies.h"
#include "embed/path_json.h"
#include "image/image.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { AT_ONCE = 64, EVENTS = 64 << 10, PAUSE_MS = 500 };

/* A file as it was scored: an event that finds it unchanged tells nothing new. */
typedef struct seen_file {
  char *name;
  int64_t mtime_ns, size;
} seen_file;

typedef struct watcher {
  anomalies_job *job;
  const char *folder;
  int inotify;
  seen_file *seen; /* [n_seen], sorted by name */
  size_t n_seen, seen_capacity;
  char **paths; /* [n_paths]: to be scored, each once */
  size_t n_paths, path_capacity;
  float *vectors; /* [AT_ONCE][dim] */
  size_t first;   /* of the pictures at hand, in `paths` */
  size_t failed;
  int status; /* of printing */
} watcher;

static int out_of_memory(const watcher *w) {
  cli_error("out of memory for the files in %s", w->folder);
  return CLI_FAILED;
}

/* ---------------------------------------------------------------- what is new */

/* Note a file as it is now; false where it was seen so, is no file, or for lack of memory (*status). */
static bool is_new(watcher *w, const char *name, const char *path, int *status) {
  struct stat s;
  if (stat(path, &s) != 0 || !S_ISREG(s.st_mode)) return false;
  const int64_t mtime_ns = (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec, size = (int64_t)s.st_size;
  size_t low = 0, high = w->n_seen;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (strcmp(w->seen[middle].name, name) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  seen_file *at = w->seen + low;
  if (low < w->n_seen && strcmp(at->name, name) == 0) {
    if (at->mtime_ns == mtime_ns && at->size == size) return false;
    at->mtime_ns = mtime_ns, at->size = size;
    return true;
  }
  char *copy = strdup(name);
  if (!copy || !kin_grow((void **)&w->seen, &w->seen_capacity, w->n_seen + 1, sizeof *w->seen)) {
    free(copy);
    *status = out_of_memory(w);
    return false;
  }
  memmove(w->seen + low + 1, w->seen + low, (w->n_seen - low) * sizeof *w->seen);
  w->seen[low] = (seen_file){copy, mtime_ns, size}, w->n_seen++;
  return true;
}

/* Queue a picture of the folder, if it is new. */
static int offer(watcher *w, const char *name, bool score) {
  if (*name == '.' || !kin_image_has_known_extension(name)) return CLI_OK;
  int status = CLI_OK;
  const size_t length = strlen(w->folder);
  char *path = kin_format("%s%s%s", w->folder, length && w->folder[length - 1] == '/' ? "" : "/", name);
  if (!path) return out_of_memory(w);
  const bool wanted = is_new(w, name, path, &status) && score;
  if (wanted && kin_grow((void **)&w->paths, &w->path_capacity, w->n_paths + 1, sizeof *w->paths)) {
    w->paths[w->n_paths++] = path;
    return status;
  }
  if (wanted) status = out_of_memory(w);
  free(path);
  return status;
}

/* All that lies in the folder now, by name; `score` false: only note it. */
static int scan(watcher *w, bool score) {
  struct dirent **entries = NULL;
  const int n = scandir(w->folder, &entries, NULL, alphasort);
  int status = CLI_OK;
  if (n < 0) {
    cli_error("can't read %s: %s", w->folder, strerror(errno));
    return CLI_FAILED;
  }
  for (int i = 0; i < n; i++) {
    if (status == CLI_OK) status = offer(w, entries[i]->d_name, score);
    free(entries[i]);
  }
  free(entries);
  return status;
}

/* -------------------------------------------------------------------- scoring */

/* Print and release a line. */
static bool print_line(watcher *w, json_t *line) {
  if (!line || json_dumpf(line, stdout, JSON_REAL_PRECISION(9)) != 0 || putchar('\n') == EOF || fflush(stdout) != 0) {
    if (!cli_signal()) cli_error(line ? "can't write to the standard output" : "out of memory for a line");
    w->status = CLI_FAILED;
  }
  json_decref(line);
  return w->status == CLI_OK;
}

static json_t *describe(const char *path, const char *error) {
  json_t *out = json_object();
  if (out && kin_json_set_text(out, "path", path) && (!error || kin_json_set_text(out, "error", error))) return out;
  json_decref(out);
  return NULL;
}

/* Called by kin_embed_images for each picture in order. */
static bool on_picture(void *user, const kin_item_report *report) {
  watcher *w = user;
  anomalies_job *j = w->job;
  const char *path = w->paths[w->first + report->index];
  if (report->status != KIN_OK) {
    w->failed++;
    return print_line(w, describe(path, report->message)) && !cli_signal();
  }
  const kin_vector_set one = {w->vectors + report->index * j->info.dim, 1, j->info.dim};
  double score, p;
  kin_error err;
  if (kin_detector_score(j->v.session.context, j->detector, &one, &score, &p, &err) != KIN_OK) {
    w->status = cli_failed(&err);
    return false;
  }
  json_t *line = describe(path, NULL);
  if (line && (json_object_set_new(line, "score", cli_json_number(score)) != 0 ||
               json_object_set_new(line, "p_value", json_real(p)) != 0 ||
               json_object_set_new(line, "anomaly", json_boolean(score > j->info.limit)) != 0)) {
    json_decref(line);
    line = NULL;
  }
  return print_line(w, line) && !cli_signal();
}

/* Score what is queued. */
static int score_queue(watcher *w) {
  kin_image_source sources[AT_ONCE];
  kin_status status = KIN_OK;
  kin_error err;
  for (w->first = 0; status == KIN_OK && w->first < w->n_paths && !cli_signal(); w->first += AT_ONCE) {
    const size_t left = w->n_paths - w->first, n = left < AT_ONCE ? left : AT_ONCE;
    for (size_t i = 0; i < n; i++) sources[i] = (kin_image_source){.path = w->paths[w->first + i]};
    const kin_embed_options options = {.on_item = on_picture, .user = w};
    status = kin_embed_images(w->job->v.session.model, sources, n, &options, w->vectors, &err);
  }
  for (size_t i = 0; i < w->n_paths; i++) free(w->paths[i]);
  w->n_paths = 0;
  if (w->status != CLI_OK || status == KIN_OK || cli_signal()) return w->status;
  return cli_failed(&err);
}

/* ------------------------------------------------------------------- watching */

static int gone(const watcher *w) {
  cli_error("%s is gone", w->folder);
  return CLI_FAILED;
}

/* What the events in `buffer` tell of. */
static int take_events(watcher *w, const char *buffer, size_t size) {
  int status = CLI_OK;
  for (size_t at = 0; status == CLI_OK && at < size;) {
    struct inotify_event event;
    memcpy(&event, buffer + at, sizeof event);
    if (event.mask & IN_Q_OVERFLOW)
      status = scan(w, true);
    else if (event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT))
      status = gone(w);
    else if (event.len)
      status = offer(w, buffer + at + sizeof event, true);
    at += sizeof event + event.len;
  }
  return status;
}

/* Until a signal comes or something fails. */
static int watch(watcher *w) {
  char *buffer = malloc(EVENTS);
  int status = buffer ? CLI_OK : out_of_memory(w);
  while (status == CLI_OK && !cli_signal()) {
    struct pollfd ready = {.fd = w->inotify, .events = POLLIN};
    const int n = poll(&ready, 1, PAUSE_MS); /* wakes up by itself for a signal that came just before */
    if (n <= 0) continue;
    const ssize_t size = read(w->inotify, buffer, EVENTS);
    if (size < 0 && errno != EINTR && errno != EAGAIN) {
      cli_error("can't watch %s: %s", w->folder, strerror(errno));
      status = CLI_FAILED;
    }
    if (size > 0) status = take_events(w, buffer, (size_t)size);
    if (w->n_paths && status == CLI_OK) status = score_queue(w);
  }
  free(buffer);
  return status;
}

static int begin(watcher *w) {
  const unsigned events = IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
  w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (w->inotify < 0 || inotify_add_watch(w->inotify, w->folder, events) < 0) {
    cli_error("can't watch %s: %s", w->folder, strerror(errno));
    return CLI_FAILED;
  }
  w->vectors = calloc(AT_ONCE, w->job->info.dim * sizeof *w->vectors);
  return w->vectors ? CLI_OK : out_of_memory(w);
}

static int open_model(const cli_command *command, anomalies_job *j) {
  const char *dir = cli_model_dir(&j->common, NULL);
  kin_error err;
  if (j->info.method == KIN_DETECTOR_PATCHES) j->common.pooling = KIN_POOLING_PATCHES;
  if (!dir) return cli_no_model(command);
  const int status = cli_open_session(&j->common, dir, &j->v.session);
  if (status != CLI_OK) return status;
  const kin_model_info *info = &j->v.session.info;
  if (!info->has_image) {
    cli_error("%s has no image tower: --watch scores pictures", dir);
    return CLI_FAILED;
  }
  return kin_detector_check(j->detector, info->id, info->dim, &err) == KIN_OK ? CLI_OK : cli_failed(&err);
}

int anomalies_watch(const cli_command *command, anomalies_job *j, const char *folder, bool only_new) {
  watcher w = {.job = j, .folder = folder, .inotify = -1};
  int status = open_model(command, j);
  if (status == CLI_OK) status = begin(&w);
  if (status == CLI_OK) status = scan(&w, !only_new);
  if (status == CLI_OK && !j->common.quiet) cli_error("watching %s; Ctrl-C ends", folder);
  if (status == CLI_OK) status = score_queue(&w);
  if (status == CLI_OK) status = watch(&w);
  if (w.inotify >= 0) close(w.inotify);
  for (size_t i = 0; i < w.n_seen; i++) free(w.seen[i].name);
  for (size_t i = 0; i < w.n_paths; i++) free(w.paths[i]);
  free(w.seen), free(w.paths), free(w.vectors);
  return status == CLI_OK && w.failed ? CLI_SKIPPED : status;
}
