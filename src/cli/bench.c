/* kindred bench: what this machine can do, and how near to it the work comes. */
#include "cli/cli.h"
#include "kernel/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 5

typedef struct bench_options {
  cli_common common;
  bool peak;
} bench_options;

/* Multiply-adds of one instruction set; the array takes what JSON needs. */
static bool show_isa(const kin_context *context, bool json, json_t *out) {
  static const char *const precisions[] = {"fp32", "bf16", "int8"};
  for (kin_peak what = KIN_PEAK_FP32; what <= KIN_PEAK_INT8; what++) {
    const char *name = kin_measure_name(context, what);
    if (!name) continue;
    double rate = kin_measure_multiply_adds(context, what, ROUNDS);
    if (!json) printf("  %-12s %-5s %10.1f G multiply-adds/s\n", name, precisions[what], rate * 1e-9);
    if (json && json_array_append_new(out, json_pack("{ss ss sf}", "isa", name, "precision", precisions[what],
                                                     "multiply_adds_per_second", rate)) != 0)
      return false;
  }
  return true;
}

static double measure_memory(const kin_context *context) {
  const size_t bytes = (size_t)512 << 20;
  float *data = kin_alloc_aligned(bytes);
  if (!data) return 0;
  memset(data, 0, bytes);
  double rate = kin_measure_read(context, data, bytes, ROUNDS);
  kin_free_aligned(data);
  return rate;
}

static int show_peak(const bench_options *o) {
  kin_context_options options = {.threads = (unsigned)o->common.threads};
  json_t *isas = json_array();
  bool ok = isas != NULL;
  double memory = 0;
  unsigned threads = 0;
  for (kin_isa isa = KIN_ISA_SCALAR; ok && isa <= KIN_ISA_AVX512; isa++) {
    if (o->common.isa != KIN_ISA_AUTO && isa != o->common.isa) continue;
    kin_context *context;
    kin_error err;
    options.isa = isa;
    if (kin_context_open(&options, &context, &err) != KIN_OK) {
      if (!o->common.quiet) cli_error("%s", err.message);
      continue;
    }
    ok = show_isa(context, o->common.json, isas);
    memory = measure_memory(context);
    threads = kin_context_threads(context);
    kin_context_close(context);
  }
  if (!o->common.json) printf("  memory             %10.1f GB/s read\n%u threads\n", memory * 1e-9, threads);
  json_t *out = ok && o->common.json ? json_pack("{sO sf sI}", "peaks", isas, "read_bytes_per_second", memory,
                                                 "threads", (json_int_t)threads)
                                     : NULL;
  json_decref(isas);
  return o->common.json ? cli_print_json(out) : CLI_OK;
}

static int run_peak(const cli_command *command, int argc, char **argv) {
  bench_options o = {0};
  const cli_option options[] = {
      {"peak", 0, CLI_FLAG, &o.peak, NULL, "multiply-adds a second, and memory's bandwidth"},
      {"threads", 0, CLI_FEW, &o.common.threads, "N", "threads to use (default: one for each CPU)"},
      {"isa", 0, CLI_ISA, &o.common.isa, "NAME", "only scalar, avx2 or avx512"},
      {"json", 0, CLI_FLAG, &o.common.json, NULL, "print JSON"},
      {"quiet", 'q', CLI_FLAG, &o.common.quiet, NULL, "don't name what this CPU lacks"},
      {"help", 'h', CLI_FLAG, &o.common.help, NULL, "show this help"},
  };
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &o.common, argc, argv, &operands, &status)) {
    if (operands.count)
      status = cli_usage_error(command, "unknown \"%s\"; there are: search, recall", operands.items[0]);
    else if (!o.peak)
      status = cli_usage_error(command, "what is to be measured? --peak, or: search, recall");
    else
      status = show_peak(&o);
  }
  cli_list_free(&operands);
  return status;
}

static const cli_command *const parts[] = {&cli_command_bench_search, &cli_command_bench_recall};

static int run(const cli_command *command, int argc, char **argv) {
  const cli_command *part = cli_find_part(command, parts, sizeof parts / sizeof *parts, argc, argv);
  return part ? part->run(part, argc - 1, argv + 1) : run_peak(command, argc, argv);
}

const cli_command cli_command_bench = {
    .name = "bench",
    .usage = "--peak|search|recall [OPTION]...",
    .summary = "measure this machine, and kindred on it",
    .details = "  kindred bench --peak        the most that this machine can compute and read\n"
               "  kindred bench search        exact search in synthetic vectors\n"
               "  kindred bench recall        what approximate indexes find, and how fast",
    .examples = "  kindred bench --peak\n"
                "  kindred bench search --count 200000 --queries 200\n",
    .run = run};
