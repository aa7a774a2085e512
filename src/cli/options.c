/* Options: one table per command is read by the parser and by the help. */
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool cli_list_add(cli_list *list, const char *item) {
  if (list->count == list->capacity) {
    size_t capacity = list->capacity ? list->capacity * 2 : 16;
    const char **items = realloc(list->items, capacity * sizeof *items);
    if (!items) return false;
    list->items = items;
    list->capacity = capacity;
  }
  list->items[list->count++] = item;
  return true;
}

void cli_list_free(cli_list *list) {
  free(list->items);
  *list = (cli_list){0};
}

/* Edits that turn `a` into `b`; a large number for long words. */
static size_t edit_distance(const char *a, const char *b) {
  enum { LONGEST = 32 };
  size_t n = strlen(a), m = strlen(b), row[LONGEST + 1];
  if (n > LONGEST || m > LONGEST) return LONGEST;
  for (size_t j = 0; j <= m; j++) row[j] = j;
  for (size_t i = 1; i <= n; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= m; j++) {
      size_t best = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      if (row[j] + 1 < best) best = row[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      row[j] = best;
    }
  }
  return row[m];
}

const char *cli_nearest(const char *word, const char *const *names, size_t n) {
  const char *nearest = NULL;
  size_t least = 3; /* two slips at most */
  for (size_t i = 0; i < n; i++) {
    size_t distance = edit_distance(word, names[i]);
    bool begins = strlen(word) >= 3 && strncmp(names[i], word, strlen(word)) == 0;
    if (begins) distance = 1;
    if (distance < least && distance < strlen(names[i])) {
      least = distance;
      nearest = names[i];
    }
  }
  return nearest;
}

int cli_usage_error(const cli_command *command, const char *format, ...) {
  char message[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  cli_error("%s", message);
  fprintf(stderr, "Try 'kindred %s --help'.\n", command->name);
  return CLI_USAGE;
}

static void print_option(const cli_option *option) {
  char left[64];
  int n = option->letter ? snprintf(left, sizeof left, "  -%c, --%s", option->letter, option->name)
                         : snprintf(left, sizeof left, "      --%s", option->name);
  if (option->argument) snprintf(left + n, sizeof left - (size_t)n, " %s", option->argument);
  printf("%-26s", left);
  if (strlen(left) >= 26) printf("\n%26s", "");
  for (const char *line = option->help; line;) {
    const char *end = strchr(line, '\n');
    printf("%.*s\n", end ? (int)(end - line) : (int)strlen(line), line);
    line = end ? end + 1 : NULL;
    if (line) printf("%26s", "");
  }
}

void cli_print_help(const cli_command *command, const cli_option *options, size_t n_options) {
  printf("Usage: kindred %s %s\n\n%s\n", command->name, command->usage, command->details);
  if (n_options) printf("\nOptions:\n");
  for (size_t i = 0; i < n_options; i++)
    if (options[i].help) print_option(&options[i]);
  if (command->examples) printf("\nExamples:\n%s", command->examples);
}

const cli_command *cli_find_part(const cli_command *command, const cli_command *const *parts, size_t n, int argc,
                                 char **argv) {
  for (size_t i = 0; argc > 1 && i < n; i++)
    if (strcmp(argv[1], parts[i]->name + strlen(command->name) + 1) == 0) return parts[i];
  return NULL;
}

int cli_run_part(const cli_command *command, const cli_command *const *parts, size_t n, int argc, char **argv) {
  if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
    cli_print_help(command, NULL, 0);
    return argc < 2 ? CLI_USAGE : CLI_OK;
  }
  const cli_command *part = cli_find_part(command, parts, n, argc, argv);
  if (part) return part->run(part, argc - 1, argv + 1);
  char names[200] = "";
  size_t used = 0, skip = strlen(command->name) + 1;
  for (size_t i = 0; i < n && used < sizeof names; i++)
    used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", parts[i]->name + skip);
  return cli_usage_error(command, "unknown \"%s\"; there are: %s", argv[1], names);
}

static bool parse_count(const char *text, size_t most, size_t *out) {
  if (!isdigit((unsigned char)text[0])) return false;
  char *end;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  *out = value;
  return errno == 0 && *end == '\0' && value <= most;
}

static bool parse_number(const char *text, double *out) {
  char *end;
  *out = strtod(text, &end);
  return end != text && *end == '\0' && isfinite(*out);
}

/* "2024-12-31" (midnight, local time), "7d" (also m, h, w), or a Unix time. */
static bool parse_since(const char *text, int64_t *out) {
  struct tm date = {.tm_isdst = -1};
  const char *end = strptime(text, "%Y-%m-%d", &date);
  if (end && *end == '\0') {
    int day = date.tm_mday;
    time_t value = mktime(&date);
    *out = (int64_t)value;
    return value != (time_t)-1 && date.tm_mday == day; /* no February 31st */
  }
  if (!isdigit((unsigned char)text[0])) return false;
  char *rest;
  errno = 0;
  long long value = strtoll(text, &rest, 10);
  if (errno || value > INT64_MAX / 604800) return false;
  if (*rest == '\0') {
    *out = value;
    return true;
  }
  static const char units[] = "mhdw";
  static const int64_t seconds[] = {60, 3600, 86400, 604800};
  const char *unit = strchr(units, *rest);
  if (!unit || rest[1] != '\0') return false;
  *out = (int64_t)time(NULL) - value * seconds[unit - units];
  return true;
}

static bool parse_isa(const char *text, kin_isa *out) {
  static const char *const names[] = {
      [KIN_ISA_AUTO] = "auto", [KIN_ISA_SCALAR] = "scalar", [KIN_ISA_AVX2] = "avx2", [KIN_ISA_AVX512] = "avx512"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (strcmp(text, names[i]) != 0) continue;
    *out = (kin_isa)i;
    return true;
  }
  return false;
}

/* "auto" leaves the choice, to a store too. */
static bool parse_precision(const char *text, cli_precision *out) {
  if (kin_precision_parse(text, &out->value, NULL) != KIN_OK) return false;
  out->given = out->value != KIN_PRECISION_AUTO;
  return true;
}

/* Store `argument`; returns NULL or what was expected instead. */
static const char *set_option(const cli_option *option, const char *argument) {
  switch (option->kind) {
  case CLI_FLAG:
    *(bool *)option->value = true;
    return NULL;
  case CLI_TEXT:
    *(const char **)option->value = argument;
    return NULL;
  case CLI_LIST:
    return cli_list_add(option->value, argument) ? NULL : "less: memory is out";
  case CLI_COUNT:
    return parse_count(argument, 1000000, option->value) ? NULL : "a whole number, 1000000 at most";
  case CLI_FEW:
    return parse_count(argument, 1024, option->value) ? NULL : "a whole number, 1024 at most";
  case CLI_NUMBER:
    return parse_number(argument, option->value) ? NULL : "a number";
  case CLI_SINCE:
    return parse_since(argument, option->value) ? NULL : "a date like 2024-12-31, a time ago like 7d, or a Unix time";
  case CLI_ISA:
    return parse_isa(argument, option->value) ? NULL : "auto, scalar, avx2 or avx512";
  case CLI_POOLING:
    return kin_pooling_parse(argument, option->value, NULL) == KIN_OK ? NULL : "cls, mean or cls+mean";
  case CLI_PRECISION:
    return parse_precision(argument, option->value) ? NULL : "fp32, bf16, int8 or auto";
  }
  return NULL;
}

typedef struct parser {
  const cli_command *command;
  const cli_option *options;
  size_t n_options;
  int argc, at; /* argv[at] is being read */
  char **argv;
} parser;

static int unknown_option(const parser *p, const char *name) {
  const char *names[64];
  size_t n = 0;
  for (size_t i = 0; i < p->n_options && n < sizeof names / sizeof *names; i++)
    if (p->options[i].help) names[n++] = p->options[i].name;
  const char *near = cli_nearest(name, names, n);
  if (near) return cli_usage_error(p->command, "unknown option --%s; did you mean --%s?", name, near);
  return cli_usage_error(p->command, "unknown option --%s", name);
}

/* Give `option` its argument: the one attached to it, or the next of argv. */
static int take_option(parser *p, const cli_option *option, const char *attached) {
  bool wants = option->kind != CLI_FLAG;
  if (!wants && attached) return cli_usage_error(p->command, "--%s takes no argument", option->name);
  if (wants && !attached) {
    if (p->at + 1 >= p->argc)
      return cli_usage_error(p->command, "--%s needs an argument: %s", option->name, option->argument);
    attached = p->argv[++p->at];
  }
  const char *expected = set_option(option, attached ? attached : "");
  if (!expected) return CLI_OK;
  return cli_usage_error(p->command, "--%s \"%s\": expected %s", option->name, attached, expected);
}

static int take_long(parser *p, const char *text) {
  const char *equals = strchr(text, '=');
  char name[64];
  snprintf(name, sizeof name, "%.*s", equals ? (int)(equals - text) : (int)strlen(text), text);
  for (size_t i = 0; i < p->n_options; i++)
    if (strcmp(name, p->options[i].name) == 0) return take_option(p, &p->options[i], equals ? equals + 1 : NULL);
  return unknown_option(p, name);
}

/* "-q", "-qn5", "-n 5". */
static int take_letters(parser *p, const char *text) {
  while (*text) {
    const cli_option *option = NULL;
    for (size_t i = 0; i < p->n_options; i++)
      if (p->options[i].letter == *text) option = &p->options[i];
    if (!option) return cli_usage_error(p->command, "unknown option -%c", *text);
    text++;
    if (option->kind != CLI_FLAG) return take_option(p, option, *text ? text : NULL);
    *(bool *)option->value = true;
  }
  return CLI_OK;
}

bool cli_parse(const cli_command *command, const cli_option *options, size_t n_options, const cli_common *common,
               int argc, char **argv, cli_list *operands, int *status) {
  parser p = {command, options, n_options, argc, 1, argv};
  bool only_operands = false;
  *status = CLI_OK;
  for (; p.at < argc && *status == CLI_OK; p.at++) {
    const char *text = argv[p.at];
    if (only_operands || text[0] != '-' || text[1] == '\0') {
      if (!cli_list_add(operands, text)) {
        cli_error("out of memory");
        *status = CLI_FAILED;
      }
    } else if (strcmp(text, "--") == 0) {
      only_operands = true;
    } else if (text[1] == '-') {
      *status = take_long(&p, text + 2);
    } else {
      *status = take_letters(&p, text + 1);
    }
  }
  if (*status != CLI_OK) return false;
  if (common->help) cli_print_help(command, options, n_options);
  return !common->help;
}
