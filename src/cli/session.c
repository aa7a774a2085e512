/* The context and model of a command, its signals, and what it prints. */
#include "cli/cli.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <utf8proc.h>

const char *cli_model_dir(const cli_common *common, const char *remembered) {
  if (common->model) return common->model;
  const char *dir = getenv("KINDRED_MODEL");
  bool named = dir && *dir;
  bool known = remembered && *remembered;
  if (known && (!named || access(remembered, F_OK) == 0)) return remembered;
  return named ? dir : NULL;
}

int cli_no_model(const cli_command *command) {
  return cli_usage_error(command, "which model? give --model DIR (a directory or a name), or set KINDRED_MODEL");
}

int cli_open_context(const cli_common *common, cli_session *out) {
  *out = (cli_session){.precision = common->precision};
  kin_error err;
  kin_context_options options = {.threads = (unsigned)common->threads, .isa = common->isa};
  return kin_context_open(&options, &out->context, &err) == KIN_OK ? CLI_OK : cli_failed(&err);
}

/* Where opened models leave their packed weights: $KINDRED_PACKED ("off": nowhere), else below $XDG_CACHE_HOME or
 * ~/.cache. NULL: there is no such place. Free with free(). */
static char *packed_folder(void) {
  const char *given = getenv("KINDRED_PACKED"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  char *path = NULL;
  if (given && *given)
    path = strcmp(given, "off") ? strdup(given) : NULL;
  else if ((cache && *cache) || (home && *home))
    path = cache && *cache ? kin_format("%s/kindred/packed", cache) : kin_format("%s/.cache/kindred/packed", home);
  for (char *slash = path ? strchr(path + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    mkdir(path, 0777);
    *slash = '/';
  }
  if (path) mkdir(path, 0777);
  return path;
}

int cli_open_model(const char *name, kin_pooling pooling, cli_session *session) {
  kin_error err;
  char *dir = NULL;
  kin_status status = kin_hub_find(name, NULL, &dir, &err);
  char *packed = packed_folder();
  kin_model_options options = {.pooling = pooling, .precision = session->precision.value, .packed_folder = packed};
  if (status == KIN_OK) status = kin_model_open_with(session->context, dir, &options, &session->model, &err);
  free(dir), free(packed);
  if (status != KIN_OK) return cli_failed(&err);
  kin_model_get_info(session->model, &session->info);
  return CLI_OK;
}

int cli_open_model_of(kin_store *store, const char *name, const cli_common *common, cli_session *session) {
  kin_collections *all = NULL;
  kin_error err;
  if (kin_store_collections(store, &all, &err) != KIN_OK) return cli_failed(&err);
  char *dir = NULL, *path = kin_hub_find(name, NULL, &dir, NULL) == KIN_OK ? realpath(dir, NULL) : NULL;
  const kin_collection_info *found = NULL;
  size_t n = 0;
  for (size_t i = 0; path && i < kin_collections_count(all); i++) {
    const kin_collection_info *c = kin_collections_get(all, i);
    if (strcmp(c->model_path, path) != 0) continue;
    found = c;
    n++;
  }
  kin_pooling pooling = common->pooling;
  if (n == 1 && !session->precision.given) session->precision.value = found->precision;
  if (n == 1 && !pooling) pooling = found->pooling;
  free(dir), free(path);
  kin_collections_close(all);
  return cli_open_model(name, pooling, session);
}

int cli_open_session(const cli_common *common, const char *model, cli_session *out) {
  int status = cli_open_context(common, out);
  return status == CLI_OK ? cli_open_model(model, common->pooling, out) : status;
}

void cli_session_close(cli_session *session) {
  kin_model_close(session->model);
  kin_context_close(session->context);
}

const char *cli_store_name(const char *store) {
  const char *at = strstr(store, "://") ? strrchr(store, '@') : NULL;
  return at ? at + 1 : store;
}

static volatile sig_atomic_t caught;

static void note_signal(int number) {
  caught = number;
}

void cli_catch_signals(void) {
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    struct sigaction old, action = {.sa_handler = note_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    /* One that is ignored (nohup, a background job) stays so. */
    if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) sigaction(numbers[i], &action, NULL);
  }
}

int cli_signal(void) {
  return caught;
}

/* Control characters, which a file name may hold, would drive the terminal. */
static void make_printable(char *text) {
  for (; *text; text++)
    if ((unsigned char)*text < 0x20 || *text == 0x7F) *text = '?';
}

void cli_error(const char *format, ...) {
  char message[2048];
  va_list args;
  va_start(args, format);
  int n = snprintf(message, sizeof message, "kindred: ");
  vsnprintf(message + n, sizeof message - (size_t)n, format, args);
  va_end(args);
  make_printable(message);
  cli_print_above(message);
}

int cli_stopped(void) {
  cli_error("stopped");
  return 128 + cli_signal();
}

int cli_failed(const kin_error *err) {
  if (cli_signal()) return cli_stopped();
  cli_error("%s", err->message);
  return CLI_FAILED;
}

void cli_put_text(const char *text) {
  bool terminal = isatty(STDOUT_FILENO);
  for (; *text; text++) putchar(terminal && ((unsigned char)*text < 0x20 || *text == 0x7F) ? '?' : *text);
}

bool cli_inside_character(char c) {
  return ((unsigned char)c & 0xC0) == 0x80;
}

void cli_put_path(const char *path, size_t columns) {
  size_t used = cli_columns(path);
  if (used > columns) {
    while (*path && (cli_columns(path) > columns - 1 || cli_inside_character(*path))) path++;
    fputs("\xE2\x80\xA6", stdout);
    used = cli_columns(path) + 1;
  }
  cli_put_text(path);
  for (; used < columns; used++) putchar(' ');
}

int cli_print_json(json_t *value) {
  int failed = value ? json_dumpf(value, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : -1;
  if (!value) cli_error("out of memory");
  if (value && failed) cli_error("can't write to the standard output");
  if (!failed) putchar('\n');
  json_decref(value);
  return failed ? CLI_FAILED : CLI_OK;
}

size_t cli_columns(const char *text) {
  size_t columns = 0, left = strlen(text);
  while (left > 0) {
    utf8proc_int32_t character;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)left, &character);
    columns += n > 0 ? (size_t)utf8proc_charwidth(character) : 1;
    text += n > 0 ? n : 1;
    left -= n > 0 ? (size_t)n : 1;
  }
  return columns;
}

char *cli_group_digits(uint64_t n, char out[32]) {
  char digits[24];
  int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n), at = 0;
  for (int i = 0; i < length; i++) {
    if (i > 0 && (length - i) % 3 == 0) out[at++] = ',';
    out[at++] = digits[i];
  }
  out[at] = '\0';
  return out;
}

const char *cli_plural(uint64_t n) {
  return n == 1 ? "" : "s";
}

double cli_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
