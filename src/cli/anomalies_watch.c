/* kindred anomalies score --watch: score files as they come into a folder or one below it, a line of JSON each. */
#include "cli/anomalies.h"
#include "cli/vectors_gather.h"
#include "document/document.h"
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
static const int64_t SETTLED_NS = 500000000; /* unchanged for so long, a file isn't being written any more */

/* A file as it was scored: an event that finds it unchanged tells nothing new. */
typedef struct seen_file {
  char *path;
  int64_t mtime_ns, size;
} seen_file;

typedef struct watched_folder {
  int number; /* inotify's */
  char *path;
} watched_folder;

typedef struct path_list {
  char **items; /* [n] */
  size_t n, capacity;
} path_list;

typedef struct watcher {
  anomalies_job *job;
  const char *folder;
  bool pictures; /* as the model takes them; else texts */
  int inotify;
  watched_folder *folders; /* [n_folders], the first one is `folder` */
  size_t n_folders, folder_capacity;
  seen_file *seen; /* [n_seen], sorted by path */
  size_t n_seen, seen_capacity;
  path_list queue;  /* to be scored, each once */
  path_list recent; /* found by a scan when they had just been written */
  float *vectors;   /* [AT_ONCE][dim] */
  size_t first;     /* of the pictures at hand, in `queue` */
  size_t failed;
  int status; /* of printing */
} watcher;

static int out_of_memory(const watcher *w) {
  cli_error("out of memory for the files in %s", w->folder);
  return CLI_FAILED;
}

/* ---------------------------------------------------------------- what is new */

/* Note a file as it is now; false where it was seen so, or for lack of memory (*status). */
static bool is_new(watcher *w, const char *path, const struct stat *s, int *status) {
  const int64_t mtime_ns = kin_time_ns(s->st_mtim.tv_sec, s->st_mtim.tv_nsec), size = (int64_t)s->st_size;
  size_t low = 0, high = w->n_seen;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (strcmp(w->seen[middle].path, path) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  seen_file *at = w->seen + low;
  if (low < w->n_seen && strcmp(at->path, path) == 0) {
    if (at->mtime_ns == mtime_ns && at->size == size) return false;
    at->mtime_ns = mtime_ns, at->size = size;
    return true;
  }
  char *copy = strdup(path);
  if (!copy || !kin_grow((void **)&w->seen, &w->seen_capacity, w->n_seen + 1, sizeof *w->seen)) {
    free(copy);
    *status = out_of_memory(w);
    return false;
  }
  memmove(w->seen + low + 1, w->seen + low, (w->n_seen - low) * sizeof *w->seen);
  w->seen[low] = (seen_file){copy, mtime_ns, size}, w->n_seen++;
  return true;
}

static char *path_in(const char *folder, const char *name) {
  const size_t length = strlen(folder);
  return kin_format("%s%s%s", folder, length && folder[length - 1] == '/' ? "" : "/", name);
}

/* Takes over `path`. */
static int add_path(const watcher *w, path_list *list, char *path) {
  if (kin_grow((void **)&list->items, &list->capacity, list->n + 1, sizeof *list->items)) {
    list->items[list->n++] = path;
    return CLI_OK;
  }
  free(path);
  return out_of_memory(w);
}

static void empty(path_list *list) {
  for (size_t i = 0; i < list->n; i++) free(list->items[i]);
  list->n = 0;
}

static bool just_written(const struct stat *s) {
  const int64_t now = kin_now_ns(), then = kin_time_ns(s->st_mtim.tv_sec, s->st_mtim.tv_nsec);
  return then <= now && kin_ns_between(then, now) < SETTLED_NS;
}

enum { NOTE, SCORE_SETTLED, SCORE };

/* Queue a file that the model takes, if it is new. NOTE: only remember how it is; SCORE_SETTLED: one just written may
 * be half of what it will be, and waits in `recent`. Takes over `path`. */
static int offer(watcher *w, char *path, int how) {
  struct stat s;
  int status = CLI_OK;
  const bool known =
      w->pictures ? kin_image_has_known_extension(path) : kin_document_format_of(path) != KIN_DOCUMENT_NONE;
  const bool wanted = known && stat(path, &s) == 0 && S_ISREG(s.st_mode);
  if (wanted && how == SCORE_SETTLED && just_written(&s)) return add_path(w, &w->recent, path);
  if (wanted && is_new(w, path, &s, &status) && how != NOTE) return add_path(w, &w->queue, path);
  free(path);
  return status;
}

/* The files in `recent` again; those that were written to the end since then are known by their events. */
static int offer_recent(watcher *w) {
  path_list list = w->recent;
  int status = CLI_OK;
  w->recent = (path_list){0};
  for (size_t i = 0; i < list.n; i++) {
    if (status == CLI_OK)
      status = offer(w, list.items[i], SCORE_SETTLED);
    else
      free(list.items[i]);
  }
  free(list.items);
  return status;
}

/* Watch a folder. One below the first that can't be watched is named and left out. Takes over `path`. */
static int add_folder(watcher *w, char *path) {
  const unsigned events =
      IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
  if (!kin_grow((void **)&w->folders, &w->folder_capacity, w->n_folders + 1, sizeof *w->folders)) {
    free(path);
    return out_of_memory(w);
  }
  const int number = inotify_add_watch(w->inotify, path, events), reason = errno;
  for (size_t i = 0; number >= 0 && i < w->n_folders; i++)
    if (w->folders[i].number == number) { /* the same one as before, perhaps under a new name */
      free(w->folders[i].path);
      w->folders[i].path = path;
      return CLI_OK;
    }
  if (number >= 0) {
    w->folders[w->n_folders++] = (watched_folder){number, path};
    return CLI_OK;
  }
  if (reason != ENOENT || !w->n_folders) /* else it is gone already */
    cli_error("can't watch %s: %s%s", path, strerror(reason),
              reason == ENOSPC ? " (raise fs.inotify.max_user_watches with sysctl)" : "");
  free(path);
  return w->n_folders ? CLI_OK : CLI_FAILED;
}

/* All that lies in a watched folder and those below it now, by name; links to folders aren't followed. */
static int scan(watcher *w, const char *folder, int how) {
  struct dirent **entries = NULL;
  const int n = scandir(folder, &entries, NULL, alphasort);
  int status = CLI_OK;
  if (n < 0 && strcmp(folder, w->folder) != 0 && errno == ENOENT) return CLI_OK; /* gone already */
  if (n < 0) {
    cli_error("can't read %s: %s", folder, strerror(errno));
    return strcmp(folder, w->folder) == 0 ? CLI_FAILED : CLI_OK;
  }
  for (int i = 0; i < n; i++) {
    char *path = status == CLI_OK && *entries[i]->d_name != '.' ? path_in(folder, entries[i]->d_name) : NULL;
    struct stat s;
    free(entries[i]);
    if (path && lstat(path, &s) == 0 && S_ISDIR(s.st_mode)) {
      char *copy = strdup(path);
      status = copy ? add_folder(w, copy) : out_of_memory(w);
      if (status == CLI_OK) status = scan(w, path, how);
      free(path);
    } else if (path) {
      status = offer(w, path, how);
    }
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

/* `line_number`: where in the file a passage begins; 0: a picture. */
static bool print_score(watcher *w, const float *vector, const char *path, uint64_t line_number) {
  anomalies_job *j = w->job;
  const kin_vector_set one = {vector, 1, j->info.dim};
  double score, p;
  kin_error err;
  if (kin_detector_score(j->v.session.context, j->detector, &one, &score, &p, &err) != KIN_OK) {
    w->status = cli_failed(&err);
    return false;
  }
  json_t *line = describe(path, NULL);
  const bool ok = line &&
                  (!line_number || json_object_set_new(line, "line", json_integer((json_int_t)line_number)) == 0) &&
                  json_object_set_new(line, "score", cli_json_number(score)) == 0 &&
                  json_object_set_new(line, "p_value", json_real(p)) == 0 &&
                  json_object_set_new(line, "anomaly", json_boolean(score > j->info.limit)) == 0;
  if (ok) return print_line(w, line);
  json_decref(line);
  return print_line(w, NULL);
}

/* Called by kin_embed_images for each picture in order. */
static bool on_picture(void *user, const kin_item_report *report) {
  watcher *w = user;
  const char *path = w->queue.items[w->first + report->index];
  if (report->status != KIN_OK) {
    w->failed++;
    return print_line(w, describe(path, report->message)) && !cli_signal();
  }
  return print_score(w, w->vectors + report->index * w->job->info.dim, path, 0) && !cli_signal();
}

static kin_status score_pictures(watcher *w, kin_error *err) {
  kin_image_source sources[AT_ONCE];
  kin_status status = KIN_OK;
  for (w->first = 0; status == KIN_OK && w->first < w->queue.n && !cli_signal(); w->first += AT_ONCE) {
    const size_t left = w->queue.n - w->first, n = left < AT_ONCE ? left : AT_ONCE;
    for (size_t i = 0; i < n; i++) sources[i] = (kin_image_source){.path = w->queue.items[w->first + i]};
    const kin_embed_options options = {.on_item = on_picture, .user = w};
    status = kin_embed_images(w->job->v.session.model, sources, n, &options, w->vectors, err);
  }
  return status;
}

/* A line for each passage of a text. */
static void score_texts(watcher *w) {
  const cli_vectors_options options = {0};
  cli_common common = w->job->common;
  common.quiet = true;
  for (size_t i = 0; i < w->queue.n && w->status == CLI_OK && !cli_signal(); i++) {
    cli_vectors v = {.session = w->job->v.session};
    const char *path = w->queue.items[i];
    const cli_list one = {.items = &path, .count = 1};
    w->status = cli_gather_texts(&common, &options, &one, &v);
    w->failed += v.skipped;
    for (size_t k = 0; w->status == CLI_OK && k < v.set.n; k++)
      print_score(w, v.values + k * v.set.dim, path, v.items[k].line);
    v.session = (cli_session){0}; /* that of all */
    cli_vectors_close(&v);
  }
}

/* Score what is queued. */
static int score_queue(watcher *w) {
  kin_error err;
  kin_status status = KIN_OK;
  if (w->pictures)
    status = score_pictures(w, &err);
  else
    score_texts(w);
  empty(&w->queue);
  if (w->status != CLI_OK || status == KIN_OK || cli_signal()) return w->status;
  return cli_failed(&err);
}

/* ------------------------------------------------------------------- watching */

static int gone(const watcher *w) {
  cli_error("%s is gone", w->folder);
  return CLI_FAILED;
}

static void forget_folder(watcher *w, size_t i) {
  free(w->folders[i].path);
  memmove(w->folders + i, w->folders + i + 1, (w->n_folders - i - 1) * sizeof *w->folders);
  w->n_folders--;
}

/* A folder went elsewhere: it and those below it have other names now. */
static void drop_folders(watcher *w, const char *path) {
  const size_t n = strlen(path);
  for (size_t i = w->n_folders; i-- > 1;)
    if (strncmp(w->folders[i].path, path, n) == 0 && (!w->folders[i].path[n] || w->folders[i].path[n] == '/')) {
      inotify_rm_watch(w->inotify, w->folders[i].number);
      forget_folder(w, i);
    }
}

/* Something in the folder number `at` came, went or was written. */
static int take_entry(watcher *w, size_t at, const struct inotify_event *event, const char *name) {
  if (*name == '.') return CLI_OK;
  char *path = path_in(w->folders[at].path, name), *copy = NULL;
  int status = path ? CLI_OK : out_of_memory(w);
  if (path && !(event->mask & IN_ISDIR) && event->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) return offer(w, path, SCORE);
  if (path && event->mask & IN_ISDIR && event->mask & IN_MOVED_FROM) drop_folders(w, path);
  if (path && event->mask & IN_ISDIR && event->mask & (IN_CREATE | IN_MOVED_TO)) {
    copy = strdup(path);
    status = copy ? add_folder(w, copy) : out_of_memory(w);
    if (status == CLI_OK) status = scan(w, path, SCORE_SETTLED); /* what came before it was watched */
  }
  free(path);
  return status;
}

/* What the events in `buffer` tell of. */
static int take_events(watcher *w, const char *buffer, size_t size) {
  int status = CLI_OK;
  for (size_t at = 0; status == CLI_OK && at < size;) {
    struct inotify_event event;
    memcpy(&event, buffer + at, sizeof event);
    size_t folder = 0;
    while (folder < w->n_folders && w->folders[folder].number != event.wd) folder++;
    if (event.mask & IN_Q_OVERFLOW)
      status = scan(w, w->folder, SCORE_SETTLED);
    else if (folder == 0 && event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT))
      status = gone(w);
    else if (folder < w->n_folders && event.mask & IN_IGNORED)
      forget_folder(w, folder);
    else if (folder < w->n_folders && event.len)
      status = take_entry(w, folder, &event, buffer + at + sizeof event);
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
    const ssize_t size = n > 0 ? read(w->inotify, buffer, EVENTS) : 0;
    if (size < 0 && errno != EINTR && errno != EAGAIN) {
      cli_error("can't watch %s: %s", w->folder, strerror(errno));
      status = CLI_FAILED;
    }
    if (size > 0) status = take_events(w, buffer, (size_t)size);
    if (status == CLI_OK) status = offer_recent(w);
    if (w->queue.n && status == CLI_OK) status = score_queue(w);
  }
  free(buffer);
  return status;
}

static int begin(watcher *w) {
  char *path = strdup(w->folder);
  w->vectors = calloc(AT_ONCE, w->job->info.dim * sizeof *w->vectors);
  w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (path && w->vectors && w->inotify >= 0) return add_folder(w, path);
  free(path);
  if (w->inotify >= 0) return out_of_memory(w);
  cli_error("can't watch %s: %s", w->folder, strerror(errno));
  return CLI_FAILED;
}

static int open_model(const cli_command *command, anomalies_job *j) {
  const char *dir = cli_model_dir(&j->common, NULL);
  kin_error err;
  if (j->info.method == KIN_DETECTOR_PATCHES) j->common.pooling = KIN_POOLING_PATCHES;
  if (!dir) return cli_no_model(command);
  const int status = cli_open_session(&j->common, dir, &j->v.session);
  if (status != CLI_OK) return status;
  const kin_model_info *info = &j->v.session.info;
  return kin_detector_check(j->detector, info->id, info->dim, &err) == KIN_OK ? CLI_OK : cli_failed(&err);
}

int anomalies_watch(const cli_command *command, anomalies_job *j, const char *folder, bool only_new) {
  watcher w = {.job = j, .folder = folder, .inotify = -1};
  int status = open_model(command, j);
  w.pictures = j->v.session.info.has_image;
  if (status == CLI_OK) status = begin(&w);
  if (status == CLI_OK) status = scan(&w, folder, only_new ? NOTE : SCORE_SETTLED);
  if (status == CLI_OK && !j->common.quiet) cli_error("watching %s; Ctrl-C ends", folder);
  if (status == CLI_OK) status = score_queue(&w);
  if (status == CLI_OK) status = watch(&w);
  if (w.inotify >= 0) close(w.inotify);
  for (size_t i = 0; i < w.n_seen; i++) free(w.seen[i].path);
  empty(&w.queue), empty(&w.recent);
  for (size_t i = 0; i < w.n_folders; i++) free(w.folders[i].path);
  free(w.seen), free(w.queue.items), free(w.recent.items), free(w.vectors), free(w.folders);
  return status == CLI_OK && w.failed ? CLI_SKIPPED : status;
}
