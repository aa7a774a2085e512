/* kindred embed: vectors of pictures and texts, to a file. */
#include "cli/cli.h"
#include "embed/path_json.h"
#include "embed/walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct embed_options {
  cli_common common;
  cli_list texts, exclude;
  const char *texts_file, *output;
  bool no_normalize, strict, follow, hidden, fast_decode;
  size_t batch;
} embed_options;

/* Inputs are embedded in chunks of this many batches: enough to read ahead in, few enough to hold. */
enum { BATCHES_IN_CHUNK = 8 };

typedef struct input {
  char *name;  /* path or text; owned */
  char *where; /* for messages: "notes.txt:12", or NULL to use `name`; owned */
} input;

typedef struct job {
  const embed_options *options;
  const char *model_dir;
  cli_session session;
  kin_vector_writer *writer;
  FILE *texts;  /* --texts, or NULL */
  input *chunk; /* [capacity] of one kind */
  size_t count, capacity;
  bool chunk_is_text;
  float *rows;                          /* [capacity][dim] */
  uint64_t total, found, done, skipped; /* total 0: not counted */
  kin_error write_error;                /* status is set when the writer failed */
} job;

static void update_progress(const job *j) {
  uint64_t seen = j->done + j->skipped;
  cli_progress_update((cli_progress){.done = seen, .total = j->total, .worked = seen, .failed = j->skipped});
}

/* Note that an input is left out. False when that ends the run. */
static bool skip(job *j, const char *where, const char *message) {
  j->skipped++;
  if (where)
    cli_error("%s: %s", where, message);
  else
    cli_error("%s", message);
  return !j->options->strict;
}

static bool on_item(void *user, const kin_item_report *report) {
  job *j = user;
  const input *in = &j->chunk[report->index];
  bool go_on = true;
  if (report->status != KIN_OK) {
    go_on = skip(j, in->where, report->message);
  } else {
    const float *row = j->rows + report->index * j->session.info.dim;
    go_on =
        kin_vector_writer_add(j->writer, row, j->chunk_is_text ? "text" : "path", in->name, &j->write_error) == KIN_OK;
    j->done++;
  }
  update_progress(j);
  return go_on && !cli_signal();
}

static kin_status embed_chunk(job *j, const kin_embed_options *options, kin_error *err) {
  kin_image_source *images = calloc(j->count, sizeof *images);
  const char **texts = calloc(j->count, sizeof *texts);
  kin_status status;
  if (!images || !texts) {
    err->status = status = KIN_ERR_MEMORY;
    snprintf(err->message, sizeof err->message, "out of memory");
  } else if (j->chunk_is_text) {
    for (size_t i = 0; i < j->count; i++) texts[i] = j->chunk[i].name;
    status = kin_embed_texts(j->session.model, texts, j->count, options, j->rows, err);
  } else {
    for (size_t i = 0; i < j->count; i++) images[i].path = j->chunk[i].name;
    status = kin_embed_images(j->session.model, images, j->count, options, j->rows, err);
  }
  free(images);
  free(texts);
  return status;
}

/* Embed and write what was gathered. Returns an exit status. */
static int flush_chunk(job *j) {
  if (j->count == 0) return CLI_OK;
  kin_error err;
  kin_embed_options options = {.raw = j->options->no_normalize,
                               .batch = j->options->batch,
                               .fast_decode = j->options->fast_decode,
                               .on_item = on_item,
                               .user = j};
  kin_status status = embed_chunk(j, &options, &err);
  for (size_t i = 0; i < j->count; i++) {
    free(j->chunk[i].name);
    free(j->chunk[i].where);
  }
  j->count = 0;
  if (status == KIN_OK) return CLI_OK;
  if (j->write_error.status != KIN_OK) return cli_failed(&j->write_error);
  if (status == KIN_ERR_CANCELLED && j->options->strict && j->skipped) return CLI_FAILED;
  return cli_failed(&err);
}

/* Gather one input, taking over `where`; embeds when the chunk is full or of the other kind. */
static int add_input(job *j, const char *name, char *where, bool is_text) {
  int status = j->count && j->chunk_is_text != is_text ? flush_chunk(j) : CLI_OK;
  char *copy = status == CLI_OK ? strdup(name) : NULL;
  if (!copy) {
    free(where);
    if (status == CLI_OK) cli_error("out of memory");
    return status == CLI_OK ? CLI_FAILED : status;
  }
  j->found++;
  j->chunk_is_text = is_text;
  j->chunk[j->count++] = (input){copy, where};
  return j->count == j->capacity ? flush_chunk(j) : CLI_OK;
}

static kin_walk_options walk_options(const embed_options *o) {
  return (kin_walk_options){
      .exclude = o->exclude.items, .n_exclude = o->exclude.count, .follow = o->follow, .hidden = o->hidden};
}

static int add_paths(job *j, const cli_list *paths) {
  kin_walk_options options = walk_options(j->options);
  kin_walk *walk;
  kin_walk_entry entry;
  kin_error err;
  if (kin_walk_open(paths->items, paths->count, &options, &walk, &err) != KIN_OK) return cli_failed(&err);
  int status = CLI_OK;
  while (status == CLI_OK) {
    if (kin_walk_next(walk, &entry, &err) != KIN_OK) status = cli_failed(&err);
    if (status != CLI_OK || !entry.path) break;
    if (cli_signal())
      status = cli_stopped();
    else if (entry.status == KIN_OK)
      status = add_input(j, entry.path, NULL, false);
    else if (!skip(j, NULL, entry.message))
      status = CLI_FAILED;
  }
  kin_walk_close(walk);
  return status;
}

static int add_texts(job *j) {
  int status = CLI_OK;
  for (size_t i = 0; i < j->options->texts.count && status == CLI_OK; i++) {
    char where[64];
    snprintf(where, sizeof where, "--text number %zu", i + 1);
    status = add_input(j, j->options->texts.items[i], strdup(where), true);
  }
  return status;
}

/* Gather one line as getline gives it. */
static int add_line(job *j, char *line, size_t length, size_t number) {
  if (length && line[length - 1] == '\n') line[--length] = '\0';
  if (length && line[length - 1] == '\r') line[--length] = '\0';
  char *text = number == 1 && strncmp(line, "\xEF\xBB\xBF", 3) == 0 ? line + 3 : line; /* a byte order mark */
  size_t size = strlen(j->options->texts_file) + 32;
  char *where = malloc(size);
  if (where) snprintf(where, size, "%s:%zu", j->options->texts_file, number);
  if (strlen(line) == length) return add_input(j, text, where, true);
  int status = flush_chunk(j); /* so that messages come in order */
  j->found++;
  if (status == CLI_OK && !skip(j, where, "a NUL byte in the line: is this a text file?")) status = CLI_FAILED;
  free(where);
  return status;
}

static int open_texts_file(job *j) {
  const char *name = j->options->texts_file;
  if (!name) return CLI_OK;
  j->texts = strcmp(name, "-") == 0 ? stdin : fopen(name, "r");
  if (j->texts) return CLI_OK;
  cli_error("can't open %s: %s", name, strerror(errno));
  return CLI_FAILED;
}

static int add_texts_file(job *j) {
  char *line = NULL;
  size_t capacity = 0, number = 0;
  int status = CLI_OK;
  while (j->texts && status == CLI_OK) {
    errno = 0;
    ssize_t length = getline(&line, &capacity, j->texts);
    if (cli_signal())
      status = cli_stopped();
    else if (length >= 0)
      status = add_line(j, line, (size_t)length, ++number);
    else if (ferror(j->texts) || errno) {
      cli_error("can't read %s: %s", j->options->texts_file, strerror(errno));
      status = CLI_FAILED;
    } else
      break;
  }
  free(line);
  return status;
}

/* How many inputs there will be; 0 when that can't be known. */
static void count_inputs(job *j, const cli_list *paths) {
  const embed_options *o = j->options;
  if (!cli_progress_start("counting", o->common.quiet)) return;
  kin_walk_options options = walk_options(o);
  uint64_t lines = 0;
  bool known = !o->texts_file || cli_count_lines(o->texts_file, &lines);
  if (known) j->total = cli_count_files(paths, &options) + o->texts.count + lines;
  cli_progress_stop();
}

/* What the model has no tower for. */
static int check_towers(const job *j, const cli_list *paths) {
  const kin_model_info *info = &j->session.info;
  bool texts = j->options->texts.count || j->options->texts_file;
  if ((!texts || info->has_text) && (paths->count == 0 || info->has_image)) return CLI_OK;
  cli_error("%s has no %s tower: it embeds %s only", j->model_dir, texts && !info->has_text ? "text" : "image",
            texts && !info->has_text ? "pictures" : "texts");
  return CLI_FAILED;
}

static int embed_all(job *j, const cli_list *paths) {
  int status = add_paths(j, paths);
  if (status == CLI_OK) status = add_texts(j);
  if (status == CLI_OK) status = add_texts_file(j);
  if (status == CLI_OK) status = flush_chunk(j);
  return status;
}

static int report(const job *j, double seconds) {
  const embed_options *o = j->options;
  if (o->common.json) {
    json_t *out = json_pack("{sI sI sI sf}", "rows", (json_int_t)j->done, "dim", (json_int_t)j->session.info.dim,
                            "skipped", (json_int_t)j->skipped, "seconds", seconds);
    if (out && !kin_json_set_text(out, "output", o->output)) {
      json_decref(out);
      out = NULL;
    }
    return cli_print_json(out);
  }
  char rows[32];
  if (!o->common.quiet)
    fprintf(stderr, "%s: %s vector%s of %zu floats in %.1f s, %llu skipped\n",
            strcmp(o->output, "-") == 0 ? "standard output" : o->output, cli_group_digits(j->done, rows),
            cli_plural(j->done), j->session.info.dim, seconds, (unsigned long long)j->skipped);
  return CLI_OK;
}

/* With the model open: embed, write, report. */
static int run_job(job *j, const cli_list *paths) {
  const embed_options *o = j->options;
  int status = check_towers(j, paths); /* this and the next fail now, not after an hour of pictures */
  if (status == CLI_OK) status = open_texts_file(j);
  if (status != CLI_OK) return status;
  j->capacity = (o->batch ? o->batch : 16) * BATCHES_IN_CHUNK;
  j->chunk = calloc(j->capacity, sizeof *j->chunk);
  j->rows = calloc(j->capacity, j->session.info.dim * sizeof *j->rows);
  if (!j->chunk || !j->rows) {
    cli_error("out of memory for --batch %zu", o->batch);
    return CLI_FAILED;
  }
  kin_error err;
  kin_status opened = kin_vector_writer_open(o->output, j->session.info.dim, &j->writer, &err);
  if (opened != KIN_OK) return cli_failed(&err) == CLI_FAILED && opened == KIN_ERR_ARGUMENT ? CLI_USAGE : CLI_FAILED;
  double start = cli_now();
  count_inputs(j, paths);
  cli_progress_start("embedding", o->common.quiet);
  update_progress(j);
  status = embed_all(j, paths);
  cli_progress_stop();
  if (status != CLI_OK) return status;
  if (j->found + j->skipped == 0) {
    cli_error("no pictures in %s%s", paths->count ? paths->items[0] : o->texts_file,
              paths->count > 1 ? " and the other paths" : "");
    return CLI_FAILED;
  }
  if (kin_vector_writer_commit(j->writer, &err) != KIN_OK) return cli_failed(&err);
  status = report(j, cli_now() - start);
  return status == CLI_OK && j->skipped ? CLI_SKIPPED : status;
}

static int embed(const cli_command *command, const embed_options *o, const cli_list *paths) {
  if (paths->count == 0 && o->texts.count == 0 && !o->texts_file)
    return cli_usage_error(command, "nothing to embed: give files, folders, --text or --texts");
  if (!o->output) return cli_usage_error(command, "where to? give -o FILE (.npy, .jsonl, .safetensors or .fvecs)");
  if (o->common.json && strcmp(o->output, "-") == 0)
    return cli_usage_error(command, "--json and -o - both write to the standard output");
  job j = {.options = o, .model_dir = cli_model_dir(&o->common, NULL)};
  if (!j.model_dir) return cli_no_model(command);
  int status = cli_open_session(&o->common, j.model_dir, &j.session);
  if (status == CLI_OK) status = run_job(&j, paths);
  for (size_t i = 0; i < j.count; i++) {
    free(j.chunk[i].name);
    free(j.chunk[i].where);
  }
  if (j.texts && j.texts != stdin) fclose(j.texts);
  kin_vector_writer_close(j.writer);
  free(j.chunk);
  free(j.rows);
  cli_session_close(&j.session);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  embed_options o = {0};
  const cli_option options[] = {
      {"output", 'o', CLI_TEXT, &o.output, "FILE", ".npy, .jsonl, .safetensors or .fvecs;\n- prints JSON lines"},
      {"text", 't', CLI_LIST, &o.texts, "TEXT", "embed TEXT too; may be given again"},
      {"texts", 0, CLI_TEXT, &o.texts_file, "FILE", "embed each line of FILE too (-: standard input)"},
      {"no-normalize", 0, CLI_FLAG, &o.no_normalize, NULL, "leave vectors as the model gives them"},
      {"strict", 0, CLI_FLAG, &o.strict, NULL, "stop at the first input that can't be read"},
      {"exclude", 'x', CLI_LIST, &o.exclude, "GLOB",
       "leave out matching names or paths in folders;\nmay be given again"},
      {"follow", 'L', CLI_FLAG, &o.follow, NULL, "follow symbolic links in folders"},
      {"hidden", 0, CLI_FLAG, &o.hidden, NULL, "take hidden files and folders too"},
      {"batch", 'b', CLI_FEW, &o.batch, "N", "pictures encoded at once (default: 16)"},
      CLI_FAST_DECODE_OPTION(&o.fast_decode),
      CLI_POOLING_OPTION(o.common),
      CLI_COMMON_OPTIONS(o.common)};
  cli_list paths = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &o.common, argc, argv, &paths, &status))
    status = embed(command, &o, &paths);
  cli_list_free(&paths);
  cli_list_free(&o.texts);
  cli_list_free(&o.exclude);
  return status;
}

const cli_command cli_command_embed = {
    .name = "embed",
    .usage = "[OPTION]... [PATH]... -o FILE",
    .summary = "write the vectors of photos and texts to a file",
    .details = "Write one vector a row: first the PATHs in the order given (a folder stands for\n"
               "the pictures below it, sorted by path), then each --text, then each line of\n"
               "--texts. An empty line is the empty text. Vectors have length 1 unless\n"
               "--no-normalize. An input that can't be read is named on the standard error, left\n"
               "out and counted: exit status 3; with --strict it ends the run with status 1.\n"
               "FILE appears only when it is complete.",
    .examples = "  kindred embed photos/ -o photos.npy\n"
                "  kindred embed a.jpg b.jpg --text \"a snowy road\" -o vectors.jsonl\n"
                "  kindred embed --texts captions.txt -o captions.safetensors\n"
                "  find . -newer last -name '*.jpg' -exec kindred embed -o - {} + | jq .path\n",
    .run = run};
