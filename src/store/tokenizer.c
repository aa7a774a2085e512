/* The full-text index's tokenizer: SQLite's FTS5 cuts texts and queries into words as src/text says. */
#include "store/store.h"
#include "text/search_tokens.h"

#include <string.h>

/* FTS5 takes the pointer that xCreate gave for the tokenizer; there are but two, without any state. */
static const char plain = 0, paths = 1;

/* tokenize = 'kindred' or 'kindred paths' */
static int create(void *context, const char **args, int n, Fts5Tokenizer **out) {
  (void)context;
  if (n > 1 || (n == 1 && strcmp(args[0], "paths") != 0)) return SQLITE_ERROR;
  const char *which = n ? &paths : &plain;
  memcpy(out, &which, sizeof which);
  return SQLITE_OK;
}

static void destroy(Fts5Tokenizer *tokenizer) {
  (void)tokenizer;
}

typedef struct sink {
  void *context;
  int (*on_token)(void *, int, const char *, int, int, int);
  bool query;
  int rc;
} sink;

static bool on_token(void *user, const kin_search_token *token) {
  sink *s = user;
  /* A run's last character stands where its last bigram does, so that a query of one character finds it. */
  bool tail = token->kind == KIN_SEARCH_TAIL;
  if (tail && s->query) return true;
  /* No offsets: nothing here marks the words in a text. */
  s->rc = s->on_token(s->context, tail ? FTS5_TOKEN_COLOCATED : 0, token->text, (int)token->size, 0, 0);
  return s->rc == SQLITE_OK;
}

static int tokenize(Fts5Tokenizer *tokenizer, void *context, int flags, const char *text, int size,
                    int (*to)(void *, int, const char *, int, int, int)) {
  sink s = {.context = context, .on_token = to, .query = flags & FTS5_TOKENIZE_QUERY};
  bool of_paths = (const char *)tokenizer == &paths && !s.query;
  kin_status status = of_paths ? kin_search_path_tokens(text, (size_t)size, on_token, &s, NULL)
                               : kin_search_tokens(text, (size_t)size, on_token, &s, NULL);
  return status == KIN_OK ? s.rc : SQLITE_NOMEM;
}

kin_status kin_sql_add_tokenizer(kin_store *store, kin_error *err) {
  static fts5_tokenizer tokenizer = {create, destroy, tokenize};
  fts5_api *api = NULL;
  sqlite3_stmt *s = NULL;
  int rc = sqlite3_prepare_v2(store->db, "SELECT fts5(?1)", -1, &s, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_bind_pointer(s, 1, &api, "fts5_api_ptr", NULL);
  if (rc == SQLITE_OK) sqlite3_step(s);
  sqlite3_finalize(s);
  if (!api)
    return kin_fail(err, KIN_ERR_UNSUPPORTED,
                    "%s: the SQLite library (%s) is built without FTS5, which a store needs to search words",
                    store->path, sqlite3_libversion());
  rc = api->xCreateTokenizer(api, "kindred", NULL, &tokenizer, NULL);
  return rc == SQLITE_OK ? KIN_OK : kin_sql_fail(store, rc, "preparing to search words", err);
}
