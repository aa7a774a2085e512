/* The parts of kindred store. */
#ifndef KIN_CLI_STORE_H
#define KIN_CLI_STORE_H

#include "cli/cli.h"

/* Of the parts that open no model. */
#define CLI_STORE_OPTIONS(store, common)                                                     \
  {"store", 's', CLI_TEXT, &(store), "FILE", "the store (default: ./kindred.db)"},           \
      {"json", 0, CLI_FLAG, &(common).json, NULL, "print JSON"},                             \
      {"quiet", 'q', CLI_FLAG, &(common).quiet, NULL, "print no progress and no summary"}, { \
    "help", 'h', CLI_FLAG, &(common).help, NULL, "show this help"                            \
  }

/* Read the options of a part that takes these alone, and run it; `work` returns an exit status. */
int cli_run_on_store(const cli_command *command, int argc, char **argv,
                     int (*work)(const cli_common *common, const char *store));

extern const cli_command cli_command_store_check, cli_command_store_compact, cli_command_store_export,
    cli_command_store_import;

#endif
