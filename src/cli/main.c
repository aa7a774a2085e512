/* kindred: find the command and run it. */
#include "cli/cli.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

static const cli_command *const commands[] = {&cli_command_index,      &cli_command_search,    &cli_command_similar,
                                              &cli_command_recommend,  &cli_command_compare,   &cli_command_collections,
                                              &cli_command_cluster,    &cli_command_sample,    &cli_command_map,
                                              &cli_command_duplicates, &cli_command_anomalies, &cli_command_embed,
                                              &cli_command_align,      &cli_command_classify,  &cli_command_model,
                                              &cli_command_bench,      &cli_command_store};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_overview(FILE *out) {
  fprintf(out, "kindred embeds photos and texts into vectors and finds what is alike.\n\n"
               "Usage: kindred COMMAND [OPTION]... [ARGUMENT]...\n\nCommands:\n");
  for (size_t i = 0; i < N_COMMANDS; i++) fprintf(out, "  %-13s%s\n", commands[i]->name, commands[i]->summary);
  fprintf(out, "\nA first search:\n"
               "  kindred index --model DIR ~/Photos     embed what is new or changed\n"
               "  kindred search \"a snowy road\"          find it\n\n"
               "'kindred COMMAND --help' tells more, with examples.\n");
}

static const cli_command *find_command(const char *name) {
  for (size_t i = 0; i < N_COMMANDS; i++)
    if (strcmp(commands[i]->name, name) == 0) return commands[i];
  return NULL;
}

static int unknown_command(const char *name) {
  const char *names[N_COMMANDS];
  for (size_t i = 0; i < N_COMMANDS; i++) names[i] = commands[i]->name;
  const char *near = cli_nearest(name, names, N_COMMANDS);
  if (near)
    cli_error("unknown command \"%s\"; did you mean \"%s\"?", name, near);
  else
    cli_error("unknown command \"%s\"", name);
  fprintf(stderr, "Try 'kindred --help'.\n");
  return CLI_USAGE;
}

static int dispatch(int argc, char **argv) {
  if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
    print_overview(stdout);
    return CLI_OK;
  }
  if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
    printf("kindred %s\n", KINDRED_VERSION);
    return CLI_OK;
  }
  if (strcmp(argv[1], "help") == 0) {
    if (argc < 3) {
      print_overview(stdout);
      return CLI_OK;
    }
    const cli_command *command = find_command(argv[2]);
    char *help[] = {argv[2], "--help", NULL};
    return command ? command->run(command, 2, help) : unknown_command(argv[2]);
  }
  const cli_command *command = find_command(argv[1]);
  return command ? command->run(command, argc - 1, argv + 1) : unknown_command(argv[1]);
}

int main(int argc, char **argv) {
  setlocale(LC_CTYPE, ""); /* only to learn whether the terminal takes UTF-8 */
  cli_catch_signals();
  int status = dispatch(argc, argv);
  if ((fflush(stdout) != 0 || ferror(stdout)) && status == CLI_OK) {
    cli_error("can't write to the standard output");
    status = CLI_FAILED;
  }
  return status;
}
