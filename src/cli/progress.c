/* The progress line: a bar, counts, the rate of the last seconds, the time left, failures. A thread of its own
 * draws it, so that it moves on while a batch is computed. */
#include "cli/cli.h"

#include <langinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* Rates are taken over the last 20 half seconds, so that they follow what happens now. */
enum { SAMPLES = 20, DRAW_EVERY_MS = 100 };

typedef struct sample {
  double time;
  uint64_t done, worked;
} sample;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of `line` and of writing to stderr */
static pthread_cond_t stop = PTHREAD_COND_INITIALIZER;
static struct {
  bool enabled, running, drawn, unicode;
  pthread_t thread;
  const char *label;
  cli_progress now;
  sample samples[SAMPLES];
  size_t n_samples; /* in all; the newest is at (n_samples - 1) % SAMPLES */
} line;

static void clear(void) {
  if (line.drawn) fputs("\r\033[K", stderr);
  line.drawn = false;
}

static sample *newest(void) {
  return &line.samples[(line.n_samples - 1) % SAMPLES];
}

/* Note how far it came and when; what comes in a burst, as a batch does, counts as one. */
static void take_sample(void) {
  sample s = {cli_now(), line.now.done, line.now.worked};
  if (s.done == newest()->done) return;
  if (s.time - newest()->time < 0.25)
    s.time = newest()->time;
  else
    line.n_samples++;
  *newest() = s;
}

static const sample *oldest(void) {
  return &line.samples[line.n_samples > SAMPLES ? line.n_samples % SAMPLES : 0];
}

/* Worked on in a second; 0 while that can't be told. Time since the last burst doesn't count. */
static double rate(void) {
  double elapsed = newest()->time - oldest()->time;
  return elapsed > 0 ? (double)(newest()->worked - oldest()->worked) / elapsed : 0;
}

/* Seconds, or -1. */
static double time_left(void) {
  double elapsed = newest()->time - oldest()->time;
  uint64_t done = newest()->done - oldest()->done;
  if (elapsed <= 0 || done == 0 || line.now.total <= line.now.done) return -1;
  double left = (double)(line.now.total - line.now.done) * elapsed / (double)done - (cli_now() - newest()->time);
  return left > 0 ? left : 0;
}

static size_t screen_columns(void) {
  struct winsize size;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* A bar of `columns` cells, in eighths of a cell where the terminal has the characters. */
static void draw_bar(size_t columns, double fraction) {
  static const char *const eighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
  size_t filled = (size_t)(fraction * (double)columns * 8);
  fputs(line.unicode ? "▕" : "[", stderr);
  for (size_t i = 0; i < columns; i++) {
    size_t part = filled > 8 * i ? filled - 8 * i : 0;
    if (line.unicode)
      fputs(eighths[part < 8 ? part : 8], stderr);
    else
      putc(part >= 8 ? '#' : ' ', stderr);
  }
  fputs(line.unicode ? "▏" : "]", stderr);
}

static void format_left(char *out, size_t size) {
  double left = time_left();
  if (left < 0) return;
  unsigned long s = (unsigned long)(left + 0.5);
  if (s >= 3600)
    snprintf(out, size, "  %lu:%02lu:%02lu left", s / 3600, s / 60 % 60, s % 60);
  else
    snprintf(out, size, "  %lu:%02lu left", s / 60, s % 60);
}

/* "1,234/5,000  23.4/s  2:41 left  3 failed" */
static void format_counts(char *out, size_t size) {
  const cli_progress *p = &line.now;
  double per_second = rate();
  char digits[32], total[40] = "", speed[32] = "", left[40] = "", failures[48] = "";
  if (p->total) snprintf(total, sizeof total, "/%s", cli_group_digits(p->total, digits));
  if (per_second > 0) snprintf(speed, sizeof speed, per_second < 100 ? "  %.1f/s" : "  %.0f/s", per_second);
  format_left(left, sizeof left);
  if (p->failed) snprintf(failures, sizeof failures, "  %s failed", cli_group_digits(p->failed, digits));
  snprintf(out, size, "%s%s%s%s%s", cli_group_digits(p->done, digits), total, speed, left, failures);
}

static void draw(void) {
  char counts[200];
  format_counts(counts, sizeof counts);
  size_t columns = screen_columns(), used = strlen(line.label) + strlen(counts) + 6;
  if (used >= columns) {
    fprintf(stderr, "\r%.*s", (int)(columns - 1), counts);
  } else {
    fprintf(stderr, "\r%s ", line.label);
    size_t room = columns - used < 40 ? columns - used : 40;
    double done = (double)line.now.done, total = (double)line.now.total;
    if (line.now.total && room >= 5) draw_bar(room, done < total ? done / total : 1);
    fprintf(stderr, "%s%s", line.now.total ? " " : "", counts);
  }
  fputs("\033[K", stderr);
  line.drawn = true;
  fflush(stderr);
}

static void *draw_often(void *arg) {
  (void)arg;
  pthread_mutex_lock(&lock);
  while (line.running) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += DRAW_EVERY_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&stop, &lock, &until);
    if (line.running) draw();
  }
  clear();
  pthread_mutex_unlock(&lock);
  return NULL;
}

bool cli_progress_start(const char *label, bool quiet) {
  memset(&line, 0, sizeof line);
  const char *terminal = getenv("TERM");
  line.enabled = !quiet && isatty(STDERR_FILENO) && (!terminal || strcmp(terminal, "dumb") != 0);
  line.unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
  line.label = label;
  line.samples[0].time = cli_now();
  line.n_samples = 1;
  if (!line.enabled) return false;
  sigset_t all, old; /* a signal is for the main thread, whose waiting it is to end */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_mutex_lock(&lock);
  line.running = line.enabled = pthread_create(&line.thread, NULL, draw_often, NULL) == 0;
  pthread_mutex_unlock(&lock);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return line.enabled;
}

void cli_progress_update(cli_progress progress) {
  if (!line.enabled) return;
  pthread_mutex_lock(&lock);
  line.now = progress;
  take_sample();
  pthread_mutex_unlock(&lock);
}

void cli_progress_stop(void) {
  if (!line.enabled) return;
  pthread_mutex_lock(&lock);
  line.running = false;
  pthread_cond_signal(&stop);
  pthread_mutex_unlock(&lock);
  pthread_join(line.thread, NULL);
  line.enabled = false;
}

void cli_progress_hide(void) {
  pthread_mutex_lock(&lock);
  clear();
  fflush(stderr);
  pthread_mutex_unlock(&lock);
}

void cli_print_above(const char *text) {
  pthread_mutex_lock(&lock);
  clear();
  fprintf(stderr, "%s\n", text);
  pthread_mutex_unlock(&lock);
}

bool cli_stages_update(void *user, const char *stage, uint64_t done, uint64_t total) {
  cli_stages *stages = user;
  if (!stages->stage || strcmp(stages->stage, stage) != 0) {
    cli_stages_stop(stages);
    cli_progress_start(stage, stages->quiet);
    stages->stage = stage;
  }
  cli_progress_update((cli_progress){.done = done, .worked = done, .total = total});
  return cli_signal() == 0;
}

void cli_stages_stop(cli_stages *stages) {
  if (stages->stage) cli_progress_stop();
  stages->stage = NULL;
}
