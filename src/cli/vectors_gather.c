/* Vectors of photos and texts, embedded now. */
#include "cli/vectors_gather.h"

#include "cli/text_lines.h"
#include "document/chunker.h"
#include "embed/embed.h"
#include "image/exif.h"
#include "image/image.h"

#include <stdlib.h>
#include <string.h>

int cli_gather_out_of_memory(const cli_gather *g) {
  cli_error("out of memory for %zu items", g->out->set.n + 1);
  return CLI_FAILED;
}

bool cli_gather_add(cli_gather *g, cli_item item, size_t root) {
  cli_vectors *v = g->out;
  bool ok = item.name != NULL;
  if (ok && v->set.n == g->capacity) {
    const size_t capacity = g->capacity ? 2 * g->capacity : 256;
    cli_item *items = realloc(v->items, capacity * sizeof *items);
    if (items) v->items = items;
    cli_place *places = realloc(g->places, capacity * sizeof *places);
    if (places) g->places = places;
    ok = items && places;
    if (ok) g->capacity = capacity;
  }
  if (!ok) {
    free(item.name), free(item.text);
    return false;
  }
  g->places[v->set.n] = (cli_place){root, g->found++};
  v->items[v->set.n++] = item;
  return true;
}

/* ------------------------------------------------------------------- texts */

/* Note an input that is left out. */
static void skip(cli_gather *g, const char *message) {
  cli_error("%s", message);
  g->out->skipped++, g->found++;
}

/* The passages of a document: each is an item. What is wrong with the document itself leaves it out. */
static int add_passages(cli_gather *g, const kin_walk_entry *entry) {
  kin_model *model = g->out->session.model;
  const kin_token_counter counter = {kin_count_document_tokens, model, g->out->session.info.text_context};
  kin_document *document = NULL;
  kin_chunker *chunker = NULL;
  kin_error err;
  kin_document_format format = kin_document_format_of(entry->path);
  if (format == KIN_DOCUMENT_NONE) format = KIN_DOCUMENT_PLAIN;
  kin_status status = kin_document_open(entry->path, format, NULL, &document, &err);
  if (status == KIN_OK) status = kin_chunker_open(document, &counter, &chunker, &err);
  kin_chunk chunk = {0};
  bool room = true;
  while (status == KIN_OK && room) {
    status = kin_chunker_next(chunker, &chunk, &err);
    if (status != KIN_OK || !chunk.text) break;
    cli_item item = {.name = strdup(entry->path), .text = strdup(chunk.text), .line = chunk.line, .is_file = true};
    item.mtime_ns = entry->mtime_ns;
    room = item.text && cli_gather_add(g, item, entry->root);
  }
  kin_chunker_close(chunker);
  kin_document_close(document);
  if (!room || status == KIN_ERR_MEMORY) return cli_gather_out_of_memory(g);
  if (status != KIN_OK) skip(g, err.message);
  return CLI_OK;
}

static int add_lines(cli_gather *g) {
  cli_lines lines;
  int status = cli_lines_read(g->options->texts, &lines);
  for (size_t i = 0; status == CLI_OK && i < lines.n; i++) {
    cli_item item = {.name = strdup(lines.items[i]), .text = lines.items[i]};
    lines.items[i] = NULL;
    if (!cli_gather_add(g, item, 0)) status = cli_gather_out_of_memory(g);
  }
  cli_lines_free(&lines);
  return status;
}

/* ------------------------------------------------------------------- files */

void cli_gather_date(const cli_gather *g, cli_item *item) {
  kin_exif exif;
  if (g->options->dates && item->is_picture && kin_image_read_exif(item->name, &exif, NULL) == KIN_OK)
    cli_read_time(exif.date, &item->date_ns);
}

static int add_files(cli_gather *g) {
  const cli_vectors_options *o = g->options;
  const bool pictures = g->out->session.info.has_image;
  kin_walk_options options = {
      .exclude = o->exclude.items, .n_exclude = o->exclude.count, .follow = o->follow, .hidden = o->hidden};
  options.kinds = pictures ? KIN_WALK_PICTURES : KIN_WALK_DOCUMENTS;
  if (o->files_only) options.kinds = KIN_WALK_PICTURES | KIN_WALK_DOCUMENTS | KIN_WALK_TABLES;
  kin_walk *walk;
  kin_walk_entry entry;
  kin_error err;
  if (kin_walk_open(g->operands->items, g->operands->count, &options, &walk, &err) != KIN_OK) return cli_failed(&err);
  int status = CLI_OK;
  while (status == CLI_OK) {
    if (kin_walk_next(walk, &entry, &err) != KIN_OK) status = cli_failed(&err);
    if (status != CLI_OK || !entry.path) break;
    if (cli_signal()) {
      status = cli_stopped();
    } else if (entry.status != KIN_OK) {
      skip(g, entry.message);
    } else if (pictures || o->files_only) {
      cli_item item = {.name = strdup(entry.path), .mtime_ns = entry.mtime_ns, .is_file = true};
      item.is_picture = pictures || kin_image_has_known_extension(entry.path);
      if (item.name) cli_gather_date(g, &item);
      if (!cli_gather_add(g, item, entry.root)) status = cli_gather_out_of_memory(g);
    } else {
      status = add_passages(g, &entry);
    }
  }
  kin_walk_close(walk);
  return status;
}

/* --------------------------------------------------------------- embedding */

typedef struct embedding {
  cli_vectors *v;
  bool *bad;
  size_t failed;
} embedding;

static bool on_item(void *user, const kin_item_report *report) {
  embedding *e = user;
  if (report->status != KIN_OK) {
    e->bad[report->index] = true, e->failed++;
    const cli_item *item = &e->v->items[report->index];
    if (item->is_picture)
      cli_error("%s", report->message);
    else
      cli_error("%s: %s", item->is_file ? item->name : "a line of --texts", report->message);
  }
  cli_progress_update((cli_progress){
      .done = report->index + 1, .total = e->v->set.n, .worked = report->index + 1, .failed = e->failed});
  return !cli_signal();
}

/* Take out the items that couldn't be embedded, and their rows. */
static void drop_bad(cli_gather *g, const bool *bad) {
  cli_vectors *v = g->out;
  size_t kept = 0;
  for (size_t i = 0; i < v->set.n; i++) {
    if (bad[i]) {
      free(v->items[i].name), free(v->items[i].text);
      continue;
    }
    if (kept != i) memcpy(v->values + kept * v->set.dim, v->values + i * v->set.dim, v->set.dim * sizeof *v->values);
    g->places[kept] = g->places[i];
    v->items[kept++] = v->items[i];
  }
  v->skipped += v->set.n - kept;
  v->set.n = kept;
}

static int embed(cli_gather *g) {
  cli_vectors *v = g->out;
  const size_t n = v->set.n, dim = v->set.dim = v->session.info.dim;
  const bool pictures = n && v->items[0].is_picture;
  embedding e = {.v = v, .bad = calloc(n + 1, sizeof *e.bad)};
  kin_image_source *images = calloc(n + 1, sizeof *images);
  const char **texts = calloc(n + 1, sizeof *texts);
  v->values = calloc(n + 1, dim * sizeof *v->values);
  kin_error err;
  kin_status status = KIN_OK;
  if (!e.bad || !images || !texts || !v->values)
    status = kin_fail(&err, KIN_ERR_MEMORY, "out of memory for the vectors of %zu items", n);
  for (size_t i = 0; status == KIN_OK && i < n; i++) images[i].path = v->items[i].name, texts[i] = v->items[i].text;
  const kin_embed_options options = {.on_item = on_item, .user = &e, .role = KIN_TEXT_DOCUMENT};
  cli_progress_start("embedding", g->common->quiet);
  if (status == KIN_OK)
    status = pictures ? kin_embed_images(v->session.model, images, n, &options, v->values, &err)
                      : kin_embed_texts(v->session.model, texts, n, &options, v->values, &err);
  cli_progress_stop();
  if (status == KIN_OK) drop_bad(g, e.bad);
  free(e.bad), free(images), free(texts);
  return status == KIN_OK ? CLI_OK : cli_failed(&err);
}

static int find_files_only(cli_gather *g) {
  const int status = add_files(g);
  if (status != CLI_OK || g->out->set.n) return status;
  cli_error("no pictures or documents in %s%s", g->operands->items[0],
            g->operands->count > 1 ? " and the other paths" : "");
  return CLI_FAILED;
}

int cli_gather_texts(const cli_common *common, const cli_vectors_options *options, const cli_list *operands,
                     cli_vectors *out) {
  cli_gather g = {.common = common, .options = options, .operands = operands, .out = out};
  int status = add_files(&g);
  if (status == CLI_OK && out->set.n) status = embed(&g);
  free(g.places);
  return status;
}

int cli_gather_files(cli_gather *g, const char *model) {
  if (g->options->files_only && !g->options->texts) return find_files_only(g);
  cli_vectors *v = g->out;
  int status = cli_open_model(model, g->common->pooling, &v->session);
  if (status != CLI_OK) return status;
  if (g->options->texts && !v->session.info.has_text) {
    cli_error("%s has no text tower: it embeds pictures only", model);
    return CLI_FAILED;
  }
  status = g->options->texts ? add_lines(g) : add_files(g);
  if (status == CLI_OK && v->set.n == 0) {
    cli_error("no %s in %s%s",
              g->options->texts           ? "lines"
              : v->session.info.has_image ? "pictures"
                                          : "texts",
              g->options->texts ? g->options->texts : g->operands->items[0],
              g->operands->count > 1 ? " and the other paths" : "");
    return CLI_FAILED;
  }
  if (status == CLI_OK) status = embed(g);
  if (status == CLI_OK && v->set.n == 0) {
    cli_error("none of the inputs can be read");
    return CLI_FAILED;
  }
  if (status == CLI_OK) v->model_name = strdup(model);
  memcpy(v->model_id, v->session.info.id, sizeof v->model_id);
  if (status == CLI_OK && v->session.info.has_text) v->text_model_name = strdup(model);
  return status;
}
