/* From options and examples to printed results. */
#include "cli/query.h"

#include "elastic/elastic.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int cli_query_check(const cli_command *command, const cli_query_options *o) {
  kin_group group;
  kin_strategy strategy;
  kin_error err;
  if (o->count == 0) return cli_usage_error(command, "-n must be at least 1");
  if (o->group && kin_group_parse(o->group, &group, &err) != KIN_OK) return cli_usage_error(command, "%s", err.message);
  if (o->strategy && kin_strategy_parse(o->strategy, &strategy, &err) != KIN_OK)
    return cli_usage_error(command, "%s", err.message);
  if (o->per_group && !o->group) return cli_usage_error(command, "--per-group of what? give --group file or folder");
  if (!(o->diversity >= 0 && o->diversity <= 1))
    return cli_usage_error(command, "--diversity %g: expected 0 to 1", o->diversity);
  if ((o->probes || o->ef || o->elastic.candidates) && strcmp(o->ann, "off") == 0)
    return cli_usage_error(command, "--probes, --ef and --candidates are for approximate indexes, not for --ann off");
  bool others = o->elastic.vector_field || o->elastic.text_field || o->elastic.id_field;
  if (others && !kin_elastic_is_address(o->store))
    return cli_usage_error(command, "--vector-field, --text-field and --id-field are for a store elasticsearch://...");
  if (o->pool && o->diversity == 0) return cli_usage_error(command, "--pool is for --diversity, which isn't given");
  if (o->pool > 10000) return cli_usage_error(command, "--pool %zu: expected at most 10000", o->pool);
  return CLI_OK;
}

int cli_query_open(cli_query *q, const cli_query_options *o) {
  kin_error err;
  q->options = o;
  int status = cli_open_context(&o->common, &q->session);
  if (status != CLI_OK) return status;
  q->text.context = q->session.context;
  q->text.precision = q->session.precision;
  if (kin_store_open_with(q->session.context, o->store, KIN_STORE_READ, &o->elastic, &q->store, &err) != KIN_OK ||
      kin_store_get_stats(q->store, &q->stats, &err) != KIN_OK)
    return cli_failed(&err);
  if (q->stats.items) return CLI_OK;
  cli_error("%s is empty: put files in with 'kindred index PATH'", cli_store_name(o->store));
  return CLI_FAILED;
}

/* ------------------------------------------------------------------------ models */

static void close_model(cli_session *session) {
  kin_model_close(session->model);
  session->model = NULL;
}

/* The models that were named also say which collection is meant. */
static int select_collection(cli_query *q, const char *text_model, bool texts, bool images) {
  const cli_common *common = &q->options->common;
  kin_collection_wish wish = {.image = images, .text = texts};
  kin_error err;
  int status = text_model ? cli_open_model(text_model, KIN_POOLING_DEFAULT, &q->text) : CLI_OK;
  if (status == CLI_OK && common->model) status = cli_open_model_of(q->store, common->model, common, &q->session);
  if (status != CLI_OK) return status;
  wish.text_model = q->text.model;
  if (common->model) wish.model_id = q->session.info.id;
  if (kin_store_select(q->store, &wish, &err) != KIN_OK || kin_store_get_stats(q->store, &q->stats, &err) != KIN_OK)
    return cli_failed(&err);
  return CLI_OK;
}

static int open_remembered(const cli_command *command, cli_query *q, const char *dir, cli_session *session,
                           kin_pooling pooling, bool for_text) {
  kin_error err;
  if (!dir) return cli_no_model(command);
  int status = cli_open_model(dir, pooling, session);
  if (status == CLI_OK && kin_store_check_model(q->store, session->model, for_text, &err) != KIN_OK)
    return cli_failed(&err);
  return status;
}

int cli_query_choose(const cli_command *command, cli_query *q, const char *text_model, bool texts, bool images) {
  const cli_common *common = &q->options->common;
  int status = select_collection(q, text_model, texts, images);
  if (status != CLI_OK) return status;
  /* Texts go to the text model that the store remembers, unless told otherwise. */
  bool remembered = texts && !text_model && *q->stats.text_model_id;
  if (remembered && !q->text.precision.given) q->text.precision.value = q->stats.text_precision;
  if (!q->session.precision.given) q->session.precision.value = q->stats.precision;
  bool own = images || (texts && !text_model && !remembered);
  if (!own) close_model(&q->session);
  if (remembered)
    status = open_remembered(command, q, cli_model_dir(&(cli_common){0}, q->stats.text_model_path), &q->text,
                             KIN_POOLING_DEFAULT, true);
  if (status == CLI_OK && own && !q->session.model)
    status = open_remembered(command, q, cli_model_dir(common, q->stats.model_path), &q->session,
                             common->pooling ? common->pooling : q->stats.pooling, !images);
  return status;
}

/* ---------------------------------------------------------------------- examples */

static int no_memory(void) {
  cli_error("out of memory");
  return CLI_FAILED;
}

static bool is_number(const char *text) {
  for (const char *c = text; *c; c++)
    if (!isdigit((unsigned char)*c)) return false;
  return *text != '\0';
}

int cli_query_find_item(cli_query *q, const char *name, int64_t *out) {
  kin_error err;
  *out = 0;
  if (is_number(name)) {
    errno = 0;
    *out = strtoll(name, NULL, 10);
    if (errno == 0 && *out > 0) return CLI_OK;
    cli_error("%s: is no item's id; of a file with such a name give ./%s", name, name);
    return CLI_FAILED;
  }
  kin_status status = kin_store_find_item(q->store, name, out, &err);
  return status == KIN_OK || status == KIN_ERR_NOT_FOUND ? CLI_OK : cli_failed(&err);
}

/* Takes `vector`. */
static int add_example(cli_query *q, kin_example example, float *vector) {
  kin_example *examples = realloc(q->examples, (q->n_examples + 1) * sizeof *examples);
  if (examples) q->examples = examples;
  float **vectors = examples ? realloc(q->vectors, (q->n_examples + 1) * sizeof *vectors) : NULL;
  if (!vectors) {
    free(vector);
    return no_memory();
  }
  q->vectors = vectors;
  q->examples[q->n_examples] = example;
  q->vectors[q->n_examples++] = vector;
  return CLI_OK;
}

int cli_query_add_item(cli_query *q, int64_t id, double weight) {
  int64_t *exclude = realloc(q->exclude, (q->n_exclude + 1) * sizeof *exclude);
  if (!exclude) return no_memory();
  q->exclude = exclude;
  q->exclude[q->n_exclude++] = id;
  return add_example(q, (kin_example){.item = id, .weight = weight}, NULL);
}

int cli_query_add_texts(cli_query *q, const char *const *texts, size_t n, double weight) {
  const cli_session *session = q->text.model ? &q->text : &q->session;
  const kin_embed_options as_query = {.role = KIN_TEXT_QUERY};
  int status = CLI_OK;
  for (size_t i = 0; status == CLI_OK && i < n; i++) {
    kin_error err;
    float *vector = calloc(session->info.dim, sizeof *vector);
    if (!vector) return no_memory();
    if (kin_embed_texts(session->model, &texts[i], 1, &as_query, vector, &err) != KIN_OK) {
      free(vector);
      return cli_failed(&err);
    }
    status = add_example(q, (kin_example){.vector = vector, .weight = weight}, vector);
  }
  return status;
}

int cli_query_add_images(cli_query *q, const char *const *paths, size_t n, double weight) {
  int status = CLI_OK;
  for (size_t i = 0; status == CLI_OK && i < n; i++) {
    kin_error err;
    const kin_image_source source = {.path = paths[i]};
    const kin_embed_options embed = {.fast_decode = q->options->fast_decode};
    float *vector = calloc(q->session.info.dim, sizeof *vector);
    if (!vector) return no_memory();
    if (kin_embed_images(q->session.model, &source, 1, &embed, vector, &err) != KIN_OK) {
      free(vector);
      return cli_failed(&err);
    }
    status = add_example(q, (kin_example){.vector = vector, .weight = weight}, vector);
  }
  return status;
}

/* ------------------------------------------------------------------------ answer */

int cli_query_run(cli_query *q) {
  const cli_query_options *o = q->options;
  kin_query query = {.examples = q->examples,
                     .n_examples = q->n_examples,
                     .dim = q->session.model ? q->session.info.dim : q->text.info.dim,
                     .words = q->words,
                     .ann = o->ann,
                     .ann_probes = o->probes,
                     .ann_ef = o->ef,
                     .ann_candidates = o->elastic.candidates,
                     .k = o->count,
                     .offset = o->offset,
                     .where = o->where,
                     .exclude = q->exclude,
                     .n_exclude = q->n_exclude,
                     .has_min_score = !isnan(o->min_score),
                     .min_score = o->min_score,
                     .per_group = o->per_group,
                     .diversity = o->diversity,
                     .pool = o->pool};
  bool hybrid = q->words && q->n_examples;
  if (hybrid && !isnan(q->vector_weight)) {
    query.fusion = KIN_FUSION_WEIGHTED;
    query.vector_weight = q->vector_weight;
  }
  kin_error err;
  kin_hits *hits = NULL;
  kin_status status = o->group ? kin_group_parse(o->group, &query.group, &err) : KIN_OK;
  if (status == KIN_OK && o->strategy) status = kin_strategy_parse(o->strategy, &query.strategy, &err);
  if (status == KIN_OK) status = kin_store_find(q->store, &query, &hits, &err);
  if (status != KIN_OK) return cli_failed(&err);
  int result = cli_print_hits(hits, o->offset, hybrid, o->common.json);
  kin_hits_close(hits);
  return result;
}

void cli_query_close(cli_query *q) {
  for (size_t i = 0; i < q->n_examples; i++) free(q->vectors[i]);
  free(q->vectors);
  free(q->examples);
  free(q->exclude);
  kin_store_close(q->store);
  kin_model_close(q->text.model);
  cli_session_close(&q->session);
}
