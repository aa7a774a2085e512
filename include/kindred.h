/*
 * kindred.h - embed images and texts into vectors and find what is alike.
 *
 * The only public header of libkindred.
 *
 * Conventions
 *   - Every call that can fail returns a kin_status and, when `err` is not NULL, leaves a
 *     message in it that names the cause (the file, the tensor, the option). On success `err`
 *     is left untouched.
 *   - Handles are opaque. A handle that a call gives out is released by the matching *_close.
 *     Closing NULL is a no-op.
 *   - Vectors are float32, row-major, one row an input. Texts and paths are UTF-8 and
 *     NUL-terminated (paths may hold any byte the file system allows).
 *   - There is no global state: two contexts in one process don't know of each other.
 *   - The same input gives the same bits: whatever the batch, the number of threads or, in
 *     fp32, the instruction set.
 */
#ifndef KINDRED_H
#define KINDRED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KIN_API __attribute__((visibility("default")))
#define KIN_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define KIN_API
#define KIN_PRINTF(fmt, args)
#endif

#define KINDRED_VERSION "0.1.0"

/* ---------------------------------------------------------------- status */

typedef enum kin_status {
  KIN_OK = 0,
  KIN_ERR_ARGUMENT,    /* the caller broke a rule of this header */
  KIN_ERR_MEMORY,      /* an allocation failed */
  KIN_ERR_IO,          /* the system refused: no such file, permission, disk full */
  KIN_ERR_FORMAT,      /* a file is damaged or isn't what its name says */
  KIN_ERR_UNSUPPORTED, /* well-formed, but of a kind that this build can't handle */
  KIN_ERR_LIMIT,       /* a safety limit was passed (picture size, header length) */
  KIN_ERR_BUSY,        /* another process holds the store for writing */
  KIN_ERR_CANCELLED,   /* the progress callback asked to stop */
  KIN_ERR_MISMATCH,    /* model and store (or two vectors) don't belong together */
  KIN_ERR_NOT_FOUND    /* no such item */
} kin_status;

typedef struct kin_error {
  kin_status status;
  char message[1024]; /* one line, no trailing newline; always NUL-terminated */
} kin_error;

/* "KIN_ERR_IO" and so on; never NULL. */
KIN_API const char *kin_status_name(kin_status status);

/* --------------------------------------------------------------- context */

/* Worker threads and the table of kernels for this CPU. Thread-safe: any number of threads may
 * use one context and the models opened on it. */
typedef struct kin_context kin_context;

typedef enum kin_isa {
  KIN_ISA_AUTO = 0, /* the best that this CPU and operating system allow */
  KIN_ISA_SCALAR,
  KIN_ISA_AVX2,
  KIN_ISA_AVX512
} kin_isa;

typedef struct kin_context_options {
  unsigned threads; /* 0: one for each CPU that this process may run on */
  kin_isa isa;      /* for tests and benchmarks; AUTO otherwise */
} kin_context_options;

/* `options` may be NULL (all defaults). KIN_ERR_UNSUPPORTED if the CPU lacks `isa`. */
KIN_API kin_status kin_context_open(const kin_context_options *options, kin_context **out, kin_error *err);
KIN_API void kin_context_close(kin_context *context);
KIN_API unsigned kin_context_threads(const kin_context *context);
/* The name of the kernels in use: "scalar", "avx2", "avx512". */
KIN_API const char *kin_context_isa_name(const kin_context *context);

/* ----------------------------------------------------------------- model */

/* An encoder read from a model directory. Immutable after opening, so that any number of threads
 * may embed with one model at once. Must be closed before its context. */
typedef struct kin_model kin_model;

/* In what numbers an encoder multiplies; it is part of the model's id, so that a store never mixes them. */
typedef enum kin_precision {
  KIN_PRECISION_FP32 = 0,
  /* Weights and activations in bfloat16, sums, norms and softmax in float (a ResNet's convolutions stay in
   * fp32): half the memory and up to twice the speed, cosine to fp32 at least 0.9995. Needs AVX512-BF16. */
  KIN_PRECISION_BF16,
  /* A transformer's blocks and patches multiply in 8 bits: weights rounded by output channel, activations by token as
   * they come; sums are exact, the rest is in float, and so are a ResNet's convolutions and the last projection. A
   * quarter of the memory and about three times the speed (VNNI), cosine to fp32 at least 0.99. The same bits on
   * every CPU. */
  KIN_PRECISION_INT8,
  /* The fastest whose vectors find what fp32's find: bf16 where this CPU has it, else fp32. Never int8, which is near
   * enough by cosine but on some models ranks neighbours that lie close together otherwise (docs/precision.md). */
  KIN_PRECISION_AUTO
} kin_precision;

/* "fp32", "bf16", "int8", "auto"; KIN_ERR_ARGUMENT for anything else. */
KIN_API kin_status kin_precision_parse(const char *name, kin_precision *out, kin_error *err);
/* Never NULL. */
KIN_API const char *kin_precision_name(kin_precision precision);

/* Which of an image transformer's last rows, after its last layer norm, become the vector. */
typedef enum kin_pooling {
  KIN_POOLING_DEFAULT = 0, /* as the model was made: the class token */
  KIN_POOLING_CLS,         /* the class token */
  KIN_POOLING_MEAN,        /* the mean of the patch tokens (registers left out) */
  KIN_POOLING_CLS_MEAN,    /* both, one after the other: twice as many floats */
  KIN_POOLING_PATCHES      /* all patch tokens, row by row of the picture's grid of image_size / patch_size,
                            * image_width floats each: for detectors of anomalies, not by kin_pooling_parse */
} kin_pooling;

/* "cls", "mean", "cls+mean" or "default" into *out; KIN_ERR_ARGUMENT for another name. */
KIN_API kin_status kin_pooling_parse(const char *name, kin_pooling *out, kin_error *err);
/* Never NULL. */
KIN_API const char *kin_pooling_name(kin_pooling pooling);

typedef struct kin_model_info {
  char architecture[32]; /* "clip", "clip-resnet", "dinov2", ... */
  char id[65];           /* hex SHA-256 over config and weights: two models with one id give the same vectors */
  size_t dim;            /* floats in a vector */
  size_t image_size;     /* pixels, width and height of the encoder's input; 0 without an image tower */
  size_t text_context;   /* tokens a text is cut to; 0 without a text tower */
  size_t image_layers, image_width, image_heads, patch_size; /* of a ResNet: bottlenecks, last channels, 0 */
  size_t text_layers, text_width, text_heads, vocabulary;
  uint64_t parameters;   /* in all towers that were loaded */
  uint64_t memory_bytes; /* held by the packed weights */
  double logit_scale;    /* exp(logit_scale) of CLIP: cosine to logit; 0 where there is none */
  bool has_image, has_text;
  kin_precision precision; /* never AUTO */
  kin_pooling pooling;     /* DEFAULT where there is no choice, and only there */
} kin_model_info;

/* Zero members take the default. */
typedef struct kin_model_options {
  kin_pooling pooling; /* DINOv2 alone has the choice; it is part of the model's id */
  kin_precision precision;
  /* A folder for files of packed weights, about as large as the model: the first opening leaves one there, later ones
   * map it, which takes no time but for what is read of it. NULL: none. A file is used only for the very files that it
   * was made from, by their sizes and times. */
  const char *packed_folder;
} kin_model_options;

/* Open the model in directory `dir`: transformers' layout of CLIP or DINOv2 (config.json,
 * model.safetensors or an index of shards, tokenizer.json or vocab.json + merges.txt,
 * preprocessor_config.json), sentence-transformers' layout of a sentence encoder, or open_clip's
 * layout of CLIP with a vision transformer or a ResNet (open_clip_config.json,
 * open_clip_model.safetensors, a tokenizer). Weights are mapped, checked, and packed once for the kernels;
 * the table of tokens stays mapped, so that the file must not be changed in place while the model is open.
 * Errors: KIN_ERR_IO (missing file), KIN_ERR_FORMAT (damaged; names file and tensor),
 * KIN_ERR_UNSUPPORTED (architecture; the message lists what is supported). */
KIN_API kin_status kin_model_open(kin_context *context, const char *dir, kin_model **out, kin_error *err);
/* The same with options (NULL: all defaults). KIN_ERR_UNSUPPORTED for a choice that the model doesn't have. */
KIN_API kin_status kin_model_open_with(kin_context *context, const char *dir, const kin_model_options *options,
                                       kin_model **out, kin_error *err);
KIN_API void kin_model_close(kin_model *model);
/* Whether `dir` is a directory with the config of a model of any layout; the model may still be unsupported. */
KIN_API bool kin_model_is_directory(const char *dir);
KIN_API void kin_model_get_info(const kin_model *model, kin_model_info *out);
KIN_API size_t kin_model_dim(const kin_model *model);

/* ------------------------------------------------------------------- hub */

/* Models by name, from the cache that the ecosystem's Python tools keep (HF_HUB_CACHE, else
 * HF_HOME/hub, else ~/.cache/huggingface/hub): what they downloaded is found without a copy, and what
 * is pulled here is found by them. A name is a directory, an alias (kin_hub_alias), or
 * REPO[@REVISION], REPO being ORG/NAME and REVISION a branch, a tag or a 40-digit commit. */

typedef struct kin_hub_progress {
  const char *file;              /* being fetched, as the repository names it */
  const char *note;              /* NULL, or why nothing moves: a retry, another process's lock */
  uint64_t file_done, file_size; /* bytes of that file */
  uint64_t done, total;          /* bytes of all files known so far, cached ones included */
  size_t files_done, files;
} kin_hub_progress;

/* Zero or NULL members take the default. */
typedef struct kin_hub_options {
  const char *cache_dir;      /* default: see above */
  const char *endpoint;       /* http(s)://host[:port][/path]; default: HF_ENDPOINT, else https://huggingface.co */
  const char *token;          /* default: HF_TOKEN, else the file HF_TOKEN_PATH or HF_HOME/token; "": send none */
  unsigned connect_timeout_s; /* default 10 */
  unsigned stall_timeout_s;   /* a transfer without a byte for so long counts as dropped; default 30 */
  unsigned retries;           /* failures in a row, without a new byte, before giving up; default 5 */
  unsigned backoff_ms;        /* wait before the first retry, doubled each time up to 30 s; default 1000 */
  /* Called often, from the calling thread. Return false to stop: KIN_ERR_CANCELLED; what has arrived is kept
   * and resumed by the next pull. */
  bool (*on_progress)(void *user, const kin_hub_progress *progress);
  void *user;
} kin_hub_options;

/* Download what an encoder needs of repository `name` (alias or REPO[@REVISION], default revision main):
 * configs, tokenizer, weights as safetensors; nothing that is cached already. Every file is resumed where
 * an earlier pull broke off, checked (size, SHA-256 or git's SHA-1) and put in place in one step; the
 * revision appears in the cache when all files are there. Proxies are taken from the environment as
 * curl does. The token goes to the endpoint's own host only. On success *dir, when `dir` isn't NULL, is
 * the model's directory, to be released with free().
 * Errors: KIN_ERR_ARGUMENT (name, endpoint), KIN_ERR_NOT_FOUND (repository, revision, access refused),
 * KIN_ERR_IO (network, disk, not enough space), KIN_ERR_FORMAT (size or hash wrong, odd answers),
 * KIN_ERR_UNSUPPORTED (no safetensors in it), KIN_ERR_CANCELLED. `options` may be NULL. */
KIN_API kin_status kin_hub_pull(const char *name, const kin_hub_options *options, char **dir, kin_error *err);

/* Turn a name into the directory of a model on this machine, without any network: an existing directory
 * as it is, else the cache's snapshot. `cache_dir` may be NULL (default). *dir is released with free().
 * KIN_ERR_NOT_FOUND when it isn't cached (the message tells how to get it), KIN_ERR_ARGUMENT when the
 * name is none, KIN_ERR_IO when the place of a path can't be looked at. */
KIN_API kin_status kin_hub_find(const char *name, const char *cache_dir, char **dir, kin_error *err);

/* The i-th alias and, in *repo, what it stands for; NULL past the last. */
KIN_API const char *kin_hub_alias(size_t i, const char **repo);

typedef struct kin_hub_model {
  const char *repo;   /* ORG/NAME */
  const char *commit; /* 40 hex digits */
  const char *refs;   /* branches and tags that point to it, joined by ", "; "" for none */
  const char *dir;
  uint64_t bytes;
  size_t files;
  bool complete; /* weights that this library can read are there */
} kin_hub_model;

typedef struct kin_hub_models kin_hub_models;

/* Every cached revision of every model, sorted by repository and commit; an absent cache is an empty list. */
KIN_API kin_status kin_hub_list(const char *cache_dir, kin_hub_models **out, kin_error *err);
KIN_API size_t kin_hub_models_count(const kin_hub_models *models);
/* Valid until kin_hub_models_close. */
KIN_API const kin_hub_model *kin_hub_models_get(const kin_hub_models *models, size_t i);
KIN_API void kin_hub_models_close(kin_hub_models *models);

/* ----------------------------------------------------------------- embed */

/* One picture to embed: set exactly one of path, data or rgb. Nothing is kept after the call. */
typedef struct kin_image_source {
  const char *path;   /* a file: JPEG, PNG, WebP, GIF (first frame), HEIC/AVIF, camera RAW */
  const void *data;   /* the bytes of such a file ... */
  size_t data_size;   /* ... and how many */
  const uint8_t *rgb; /* or 8-bit pixels, upright, width * height * 3, no padding */
  uint32_t width, height;
} kin_image_source;

/* What was learnt about a picture while embedding it. */
typedef struct kin_item_report {
  size_t index;           /* of the input */
  kin_status status;      /* KIN_OK, or why this one was left out (its row is zeros) */
  const char *message;    /* NULL when OK; valid during the callback only */
  uint32_t width, height; /* upright; 0 for a text */
} kin_item_report;

/* What a text is for. Some sentence encoders were trained with a prefix for each ("query: "); their
 * config_sentence_transformers.json names it, and it is put before the text. */
typedef enum kin_text_role {
  KIN_TEXT_PLAIN = 0, /* the default prompt, which most models don't have */
  KIN_TEXT_QUERY,
  KIN_TEXT_DOCUMENT
} kin_text_role;

/* Where the time of a call went. */
typedef struct kin_embed_stats {
  double seconds;         /* of the call */
  double encoder_seconds; /* of these, how long the encoder was running */
  double load_seconds;    /* spent on reading, decoding and resizing, summed over the threads; of pictures */
  size_t batches;         /* that the encoder was given */
} kin_embed_stats;

typedef struct kin_embed_options {
  bool raw;            /* true: the vector as the model gives it; false: L2-normalised */
  size_t batch;        /* inputs encoded at once; 0: 16 pictures, or 8 a thread, or 64 texts */
  uint64_t max_pixels; /* decompression bombs: larger pictures are refused; 0: 256 * 1024 * 1024 */
  kin_text_role role;  /* of texts */
  /* Let libjpeg-turbo decode JPEGs of more than four times the resolution that the encoder needs at a half, a quarter
   * or an eighth of their size, twice too large still: for them up to twice as fast, but not quite the same vectors
   * (docs/speed.md has the cosines). */
  bool fast_decode;
  kin_embed_stats *stats; /* NULL, or what to fill in when the call returns */
  /* Called once for each input, in input order, from the calling thread, when the input's row in `out`
   * is final. Return false to stop: the call then returns KIN_ERR_CANCELLED. May be NULL: then the
   * first bad input ends the call with its error. */
  bool (*on_item)(void *user, const kin_item_report *report);
  void *user;
} kin_embed_options;

/* Embed `n` pictures into out[n][dim]. `options` may be NULL.
 * Agrees with transformers' CLIPModel.get_image_features (CLIP) and the CLS row of Dinov2Model's
 * last_hidden_state (DINOv2), to cosine 0.99999. KIN_ERR_UNSUPPORTED without an image tower. */
KIN_API kin_status kin_embed_images(kin_model *model, const kin_image_source *images, size_t n,
                                    const kin_embed_options *options, float *out, kin_error *err);

/* Embed `n` texts into out[n][dim]; texts longer than the model's context are cut as the reference
 * tokenizer cuts them. The empty text is allowed. Invalid UTF-8 is KIN_ERR_FORMAT for that input.
 * Agrees with transformers' CLIPModel.get_text_features. */
KIN_API kin_status kin_embed_texts(kin_model *model, const char *const *texts, size_t n,
                                   const kin_embed_options *options, float *out, kin_error *err);

/* Cosine of two vectors of `dim` floats: 1 alike, 0 unrelated, -1 opposite; 0 if either is all zeros. */
KIN_API float kin_cosine(const kin_context *context, const float *a, const float *b, size_t dim);

/* ---------------------------------------------------------- vector files */

/* Writes vectors to a file row by row, so that memory doesn't grow with their number. The file appears
 * under its name only when committed, whole and synced; until then it is a hidden file beside it. */
typedef struct kin_vector_writer kin_vector_writer;

/* Begin a file of vectors of `dim` floats. The ending of `path` picks the format:
 *   .npy          NumPy, float32, shape (rows, dim)
 *   .jsonl        one object a line: {"path" or "text": ..., "vector": [...]}
 *   .safetensors  one F32 tensor "vectors" of shape [rows, dim]
 *   .fvecs        for each row a little-endian int32 dim, then its floats
 * "-" writes JSON lines to the standard output as they come. A device or pipe is written in place.
 * KIN_ERR_ARGUMENT for another ending, KIN_ERR_IO when the file can't be made. */
KIN_API kin_status kin_vector_writer_open(const char *path, size_t dim, kin_vector_writer **out, kin_error *err);
/* Append one row. JSON lines also take what it came from: `key` ("path" or "text") and `name`, or NULL
 * for none. A path that isn't UTF-8 has U+FFFD for its bad bytes, and all its bytes in hex as
 * "path_hex". KIN_ERR_IO names the file (disk full, for one). */
KIN_API kin_status kin_vector_writer_add(kin_vector_writer *writer, const float *vector, const char *key,
                                         const char *name, kin_error *err);
/* Complete the file, sync it to disk and give it its name, replacing what was there. */
KIN_API kin_status kin_vector_writer_commit(kin_vector_writer *writer, kin_error *err);
/* Release; what wasn't committed is removed. */
KIN_API void kin_vector_writer_close(kin_vector_writer *writer);

/* Read a two-dimensional .npy file of little-endian float16, float32 or float64, in either order of storing, into a
 * new array out[*n][*dim], to be released with free(). KIN_ERR_IO, KIN_ERR_FORMAT (damaged, empty, another shape),
 * KIN_ERR_UNSUPPORTED (another type). */
KIN_API kin_status kin_npy_read(const char *path, float **out, size_t *n, size_t *dim, kin_error *err);

/* ----------------------------------------------------------------- store */

/* Items (files) and their vectors on disk: a SQLite file, and beside it one file of vectors for each
 * model that files were embedded with, a collection (docs/store-format.md). Several readers and one
 * writer at a time, across processes. A handle is used by one thread at a time. */
typedef struct kin_store kin_store;

typedef enum kin_store_mode {
  KIN_STORE_READ = 0, /* must exist */
  KIN_STORE_WRITE     /* created if missing; KIN_ERR_BUSY if another process writes */
} kin_store_mode;

/* Open the store whose SQLite file is `path`; the vectors lie in files whose names begin with it. A crash
 * of a writer at any moment leaves the last commit, which opening restores. */
KIN_API kin_status kin_store_open(kin_context *context, const char *path, kin_store_mode mode, kin_store **out,
                                  kin_error *err);

/* How to reach and use an index of Elasticsearch. Zero or NULL members take the default. */
typedef struct kin_elastic_options {
  const char *ca_file;      /* certificates to trust, PEM; default: the system's */
  const char *api_key_file; /* holds an API key as Elasticsearch gives it "encoded"; it goes before a user */
  unsigned timeout_s;       /* for an answer; default 600 */
  size_t candidates;        /* that each shard looks at in a search, at most 10,000: more find more of the nearest;
                             * default 200, or twice the results wanted */
  /* Search an index that others made, for reading only: its field of vectors (dense_vector), of texts to search words
   * in, and of what to show of a hit; default: none, the document's _id. meta.NAME in a filter is its field NAME. */
  const char *vector_field, *text_field, *id_field;
} kin_elastic_options;

/* The same for `path` elasticsearch://[USER:PASSWORD@]HOST[:PORT][,HOST...]/INDEX (elasticsearchs:// over TLS), an
 * index of Elasticsearch 8 or newer that holds one collection (docs/scaling.md). Without a user in it ES_USER and
 * ES_PASSWORD count. Several processes may write at once, different files each. Searches are approximate, their scores
 * exact. What such a store can't do is KIN_ERR_UNSUPPORTED. Any other `path` is a file, and the options (may be NULL)
 * don't count.
 */
KIN_API kin_status kin_store_open_with(kin_context *context, const char *path, kin_store_mode mode,
                                       const kin_elastic_options *options, kin_store **out, kin_error *err);
KIN_API void kin_store_close(kin_store *store);

/* One model's vectors in a store. Vectors of two collections are never compared. */
/* Where an approximate index was measured to find less of the nearest ten, searches are exact unless told how far to
 * look in it. */
#define KIN_ANN_PROMISE 0.95f

typedef struct kin_collection_info {
  int64_t id; /* from 1; never given twice in a store */
  char model_id[65];
  char model_path[4096];      /* where the model was when it was last used */
  char text_model_id[65];     /* a model of its own for text queries (kin_store_set_text_model); "": none */
  char text_model_path[4096]; /* likewise */
  /* How to open these models again; FP32 and DEFAULT, too, where a store made by an older version doesn't tell. */
  kin_precision precision, text_precision;
  kin_pooling pooling;
  size_t dim;
  size_t items;                    /* files */
  size_t vectors;                  /* one a picture, one a passage of a document */
  uint64_t holes;                  /* rows of the vector file that no item has any more */
  uint64_t bytes;                  /* of the vector file */
  bool image;                      /* can be asked with a picture */
  bool text;                       /* can be asked with a text: true where it isn't known yet */
  char ann[128];                   /* its approximate index, by the factory string; "": none */
  uint64_t ann_vectors, ann_bytes; /* rows that it is of, holes among them counted (later ones are scanned); its file */
  size_t ann_probes, ann_ef;       /* how far searches look in it unless told otherwise: one of them, or neither */
  double ann_recall;               /* of the nearest ten of a sample of its vectors, so searched for; 0: not measured
                                    * (KIN_ANN_PROMISE) */
} kin_collection_info;

typedef struct kin_collections kin_collections;

/* All collections of the store, by id. Release with kin_collections_close. */
KIN_API kin_status kin_store_collections(kin_store *store, kin_collections **out, kin_error *err);
KIN_API size_t kin_collections_count(const kin_collections *collections);
/* Valid until kin_collections_close; NULL past the last. */
KIN_API const kin_collection_info *kin_collections_get(const kin_collections *collections, size_t i);
KIN_API void kin_collections_close(kin_collections *collections);

/* What a collection must be to be chosen; zero members demand nothing. */
typedef struct kin_collection_wish {
  const char *model_id;        /* the model that made it */
  const kin_model *text_model; /* this text model may be set for it (kin_store_set_text_model) */
  bool image, text;            /* it can be asked with a picture, with a text */
} kin_collection_wish;

/* Choose the collection that the calls below are about: the only one that fits `wish`. A store with one
 * collection needs no choice, and indexing chooses its model's own. An empty store fits any wish.
 * KIN_ERR_MISMATCH when none fits or several do; the message lists the collections with their models. */
KIN_API kin_status kin_store_select(kin_store *store, const kin_collection_wish *wish, kin_error *err);

/* Whether a vector of `model` may be compared with the chosen collection's: the model made it, or, for a text
 * (`text`), is its text model. KIN_ERR_MISMATCH names the model that is needed. */
KIN_API kin_status kin_store_check_model(kin_store *store, const kin_model *model, bool text, kin_error *err);

/* Remember `model` as the one that text queries to the chosen collection are embedded with (NULL: its own again).
 * It must have been trained into the space of the collection's model, as multilingual CLIP text encoders are into
 * CLIP's; that is for the caller to know. KIN_ERR_MISMATCH when it can't have been: another number of floats, no
 * text tower, or a collection whose model has no space of texts. The store must be open for writing. */
KIN_API kin_status kin_store_set_text_model(kin_store *store, const kin_model *model, kin_error *err);
/* The same check alone. */
KIN_API kin_status kin_store_check_text_model(kin_store *store, const kin_model *model, kin_error *err);

/* Zero members take the default. */
typedef struct kin_optimize_options {
  /* Which approximate index to make: a factory string of FAISS, "HNSW32", "IVF1024,Flat", "IVF4096,PQ64", ...; "Flat"
   * or "off": none, and what there is goes; NULL or "auto": from 200,000 vectors on HNSW32, or "IVF...,SQ8" where that
   * finds too few, or none where this does, too. */
  const char *ann;
  /* "training", "adding", then "measuring", `done` of `total` steps; false: stop, KIN_ERR_CANCELLED. */
  bool (*on_progress)(void *user, const char *stage, uint64_t done, uint64_t total);
  void *user;
} kin_optimize_options;

/* An index that was made and measured: 400 of its vectors were searched for as if they weren't in it. */
typedef struct kin_optimize_trial {
  char ann[128]; /* its factory string */
  size_t probes,
      ef;        /* the least effort, one of them or neither, that found 0.98 of their nearest ten; or the largest */
  double recall; /* what it found; 0: there are too few vectors to measure by */
  bool kept;     /* false: "auto" went on, as no effort that is worth it found enough */
} kin_optimize_trial;

typedef struct kin_optimized {
  kin_optimize_trial trials[2]; /* of "auto" perhaps several, the last of which may be kept */
  size_t n;
} kin_optimized;

/* Make an approximate index of the chosen collection's vectors and keep it in a file beside them, in place of the one
 * before, which stays until all is done. Vectors that come later are found without it, and those that go aren't found
 * any more: make it again when there are many. The store must be open for writing. KIN_ERR_UNSUPPORTED: this build has
 * no FAISS; KIN_ERR_ARGUMENT: a factory string that FAISS can't read, or too few vectors for it; KIN_ERR_MISMATCH: no
 * collection is chosen. `options` and `out` may be NULL. */
KIN_API kin_status kin_store_optimize(kin_store *store, const kin_optimize_options *options, kin_optimized *out,
                                      kin_error *err);

/* Take collection `id` out, with its vector file and the items that no other collection has. The store must be
 * open for writing. KIN_ERR_NOT_FOUND. */
KIN_API kin_status kin_store_drop_collection(kin_store *store, int64_t id, kin_error *err);

typedef struct kin_store_stats {
  size_t items; /* files in the chosen (or only) collection; without one, in the store */
  size_t collections;
  size_t dim;        /* 0: no collection is chosen */
  char model_id[65]; /* "" : no collection is chosen */
  char model_path[4096];
  char text_model_id[65]; /* "": none of its own */
  char text_model_path[4096];
  kin_precision precision, text_precision; /* as in kin_collection_info */
  kin_pooling pooling;
} kin_store_stats;
KIN_API kin_status kin_store_get_stats(kin_store *store, kin_store_stats *out, kin_error *err);

typedef struct kin_index_progress {
  uint64_t found;     /* files seen so far by the walk */
  uint64_t done;      /* embedded and committed */
  uint64_t unchanged; /* not embedded: same size and mtime, or same SHA-256 as a file in the store, or no words in it */
  uint64_t removed;   /* dropped: the file is gone, or excluded now */
  uint64_t failed;    /* unreadable; named by on_failure */
  bool walking;       /* `found` still grows */
} kin_index_progress;

/* What is taken from the folders, by the ending of the name. */
typedef enum kin_content {
  KIN_CONTENT_DEFAULT = 0, /* pictures with a model that has an image tower, else documents */
  KIN_CONTENT_PICTURES = 1,
  KIN_CONTENT_DOCUMENTS = 2, /* .txt, .md, .html, objects of .json and .jsonl with a "text", .csv with text_column */
  KIN_CONTENT_BOTH = 3
} kin_content;

typedef struct kin_index_options {
  const char *const *exclude; /* glob patterns (fnmatch) on the name or the whole path; NULL: none */
  size_t n_exclude;
  bool follow;                 /* follow symbolic links; loops end */
  bool hidden;                 /* take hidden files and folders too */
  int64_t since;               /* only files modified at or after this Unix time; 0: all */
  size_t batch;                /* 0: 16 */
  uint64_t max_pixels;         /* as in kin_embed_options */
  bool fast_decode;            /* as in kin_embed_options */
  const kin_model *text_model; /* kin_store_set_text_model before anything else; NULL: as it was */
  kin_content content;
  const char *text_column; /* of .csv files: its name, or its number from 1 without a header; NULL: take none */
  bool (*on_progress)(void *user, const kin_index_progress *progress); /* false: stop, KIN_ERR_CANCELLED */
  void (*on_failure)(void *user, const char *path, kin_status status, const char *message);
  void *user;
} kin_index_options;

/* Embed the files under `paths` (files or folders) that are new or changed, drop those that are
 * gone from below the given paths, commit in small steps. A document has a vector for each passage: as many whole
 * sentences as the model's context has room for, with one or two of the passage before. Cancelling or a crash keeps
 * what was committed. Memory doesn't grow with the folder. The vectors go to the model's collection, made if there is
 * none yet, which is then the chosen one. */
KIN_API kin_status kin_store_index(kin_store *store, kin_model *model, const char *const *paths, size_t n_paths,
                                   const kin_index_options *options, kin_index_progress *out, kin_error *err);

/* A picture and what it is called: a caption for each column (a language, say), some of them NULL, but not all. */
typedef struct kin_captioned {
  const char *path;
  const char *const *captions; /* [columns] */
} kin_captioned;

/* Remember captions for searching words. They stay until others are given for the file or it is dropped, and stand
 * beside those that indexing finds by itself: in a text file beside a picture (photo.jpg.txt or photo.txt), and as
 * IPTC's and XMP's title, description, headline and keywords in it. *set (may be NULL) tells how many of the files are
 * in the store; the others are passed over. The store must be open for writing. */
KIN_API kin_status kin_store_set_captions(kin_store *store, const kin_captioned *items, size_t n, size_t columns,
                                          size_t *set, kin_error *err);

typedef struct kin_metadata_report {
  size_t items;   /* that were given metadata */
  size_t unknown; /* records of files that aren't in the store, which are passed over */
} kin_metadata_report;

/* Give items of the store metadata, which filters find as meta.KEY: from a .jsonl file of objects with a "path" and any
 * other keys, or from a .csv file whose first line names a column "path" and the keys. Paths are seen from the file's
 * own folder. A key's new values take the place of those given before: a text, a number, true or false, several of them
 * in a JSON list; null or an empty field takes them away. All or nothing of the file is taken. `out` may be NULL. The
 * store must be open for writing. KIN_ERR_FORMAT names file and line. */
KIN_API kin_status kin_store_read_metadata(kin_store *store, const char *path, kin_metadata_report *out,
                                           kin_error *err);

typedef struct kin_hit {
  int64_t id;
  float score; /* of examples the cosine, with KIN_STRATEGY_SUM; of words BM25; of both what the fusion gives */
  char *path;
  uint32_t width, height; /* of a picture; 0 for a document */
  uint64_t line;          /* of a document: where in it the passage begins, from 1; 0 for a picture */
  uint64_t offset;        /* likewise in bytes from the file's start, of that line, record or paragraph */
  char *passage;          /* of a document: the text that was embedded, UTF-8; NULL for a picture */
  size_t vector_rank;     /* with examples and words: its place by the examples, from 1; 0: not among their first */
  size_t bm25_rank;       /* likewise by the words */
} kin_hit;

typedef struct kin_hits kin_hits;

/* What hits should be like, or unlike: a vector, or an item of the store with the vector that it has there (of a
 * document the mean of its passages'). Lengths don't matter. */
typedef struct kin_example {
  const float *vector; /* [dim]; NULL: that of `item` */
  int64_t item;
  double weight; /* below 0: unlike; 0 counts as 1 */
} kin_example;

/* How several examples make one score for a vector v; u_i is example i at length 1, w_i its weight. */
typedef enum kin_strategy {
  KIN_STRATEGY_SUM = 0, /* the cosine of v and the sum of all w_i u_i */
  KIN_STRATEGY_BEST     /* the largest w_i cos(v, u_i) of the likes, less the largest |w_i| cos(v, u_i) of the
                         * unlikes where that is above 0; needs a like */
} kin_strategy;

/* "sum" or "best"; KIN_ERR_ARGUMENT for another name. */
KIN_API kin_status kin_strategy_parse(const char *name, kin_strategy *out, kin_error *err);

/* Of which hits at most per_group are shown. */
typedef enum kin_group {
  KIN_GROUP_NONE = 0, /* every hit alone: a document has one for each passage */
  KIN_GROUP_FILE,     /* those of one file */
  KIN_GROUP_FOLDER    /* those of one folder, not of the folders below it */
} kin_group;

/* "none", "file" or "folder"; KIN_ERR_ARGUMENT for another name. */
KIN_API kin_status kin_group_parse(const char *name, kin_group *out, kin_error *err);

/* How the two lists of a query with examples and words become one. Of each list the first 1,000 count. */
typedef enum kin_fusion {
  KIN_FUSION_RANK = 0, /* reciprocal rank fusion: the sum over both lists of 1 / (60 + rank), ranks from 1 */
  KIN_FUSION_WEIGHTED  /* vector_weight times the score by the examples plus the rest to 1 times BM25, each scaled so
                        * that  its list goes from 0 to 1; what isn't in a list has 0 there */
} kin_fusion;

/* What to find (docs/search.md). Zero or NULL members take the default. The steps, in their order: `where` and
 * `exclude` say which items count; the score ranks them, ties by id; `min_score` ends the list; `group` takes out what
 * is over per_group; `diversity` reorders the beginning; `offset` hits are skipped and `k` given. */
typedef struct kin_query {
  const kin_example *examples;
  size_t n_examples;    /* at least 1, or there are words */
  const char *words;    /* search these in names, captions and passages, ranked by BM25: any of them, "quoted" ones as a
                         * phrase; alone, or along with the examples. NULL: none */
  kin_fusion fusion;    /* of examples and words */
  double vector_weight; /* 0 to 1, with KIN_FUSION_WEIGHTED */
  size_t dim;           /* floats of the examples' vectors; of no account if all are items */
  kin_strategy strategy;
  /* NULL or "off": exactly. "auto": by the collection's approximate index, if there is one (kin_store_optimize); a
   * factory string: by this one, which must be there. Some hits may be missed then, for others; scores stay the
   * cosines. Elasticsearch has its own index: NULL and "auto" are all that it takes, KIN_ERR_UNSUPPORTED for others. */
  const char *ann;
  size_t ann_probes, ann_ef; /* lists that an IVF index looks into, candidates that HNSW keeps; default: by the index */
  /* Rows that an index of codes (PQ, SQ) names, at least k, of which their vectors then choose; of Elasticsearch, those
   * that each shard looks at (kin_elastic_options). Default: by the index. */
  size_t ann_candidates;
  size_t k, offset;       /* hits wanted, and those before them to skip */
  const char *where;      /* a filter: "width > 1000 and name glob '*.png'" */
  const int64_t *exclude; /* items that are no hits */
  size_t n_exclude;
  bool has_min_score;
  double min_score; /* the least score of a hit, if has_min_score */
  kin_group group;
  size_t per_group; /* default 1 */
  double diversity; /* 0 to 1: maximal marginal relevance over the first `pool` hits. In turn the hit with the largest
                     * (1 - diversity) score - diversity * (its largest cosine with those before it) comes next */
  size_t pool;      /* default 100, at most 10,000 */
} kin_query;

/* Search the chosen collection; for words alone, all of them where none is chosen, an item that is in several once, by
 * its best hit's (no diversity then). An empty store has no hits. KIN_ERR_MISMATCH for another number of floats, or
 * when no collection is chosen among several; KIN_ERR_ARGUMENT for a filter that can't be read (the message names the
 * column) and examples that are not finite or cancel each other out; KIN_ERR_NOT_FOUND for an example that isn't in the
 * collection. */
KIN_API kin_status kin_store_find(kin_store *store, const kin_query *query, kin_hits **out, kin_error *err);

/* The item of the file at `path` (of a link: what it points to), whether or not the file is still there.
 * KIN_ERR_NOT_FOUND. */
KIN_API kin_status kin_store_find_item(kin_store *store, const char *path, int64_t *out, kin_error *err);

KIN_API size_t kin_hits_count(const kin_hits *hits);
/* Valid until kin_hits_close. */
KIN_API const kin_hit *kin_hits_get(const kin_hits *hits, size_t i);
KIN_API void kin_hits_close(kin_hits *hits);

/* Copy an index of Elasticsearch into a new one with this version's mapping, which then takes its name, and remove the
 * old one: searches go on all the while; writers must wait, as what they change in between is lost. `on_progress` (may
 * be NULL) is told how many documents are copied; false: stop, KIN_ERR_CANCELLED. What isn't finished changes nothing.
 * The store must be open for writing. KIN_ERR_UNSUPPORTED for a store in files. */
KIN_API kin_status kin_store_rebuild(kin_store *store, bool (*on_progress)(void *user, uint64_t done, uint64_t total),
                                     void *user, kin_error *err);

/* A vector of the chosen collection and what it is of; all valid until the call that gave it returns. */
typedef struct kin_stored {
  int64_t id;
  const float *vector; /* [dim], of length 1 */
  const char *path;
  int64_t mtime_ns;       /* of the file, since 1970, when it was indexed */
  const char *date;       /* its metadata "date": as given, or of a photo when it was taken; NULL: not known */
  uint32_t width, height; /* of a picture; 0 for a document */
  uint64_t line, offset;  /* of a document, as in kin_hit; 0 for a picture */
  const char *passage;    /* likewise; NULL for a picture */
} kin_stored;

/* Visit every vector of the chosen collection, sorted by path and place in the file, as of one moment. `visit` returns
 * false to stop: KIN_ERR_CANCELLED. It must not use the store. KIN_ERR_MISMATCH when no collection is chosen among
 * several; an empty store is visited without a call. */
KIN_API kin_status kin_store_each(kin_store *store, bool (*visit)(void *user, const kin_stored *item), void *user,
                                  kin_error *err);

/* ----------------------------------------------------------- maintenance */

/* What a file of a store is for. */
typedef enum kin_file_kind {
  KIN_FILE_CATALOGUE = 0, /* the SQLite file */
  KIN_FILE_LOG,           /* SQLite's write-ahead log and its index */
  KIN_FILE_LOCK,          /* the writer's lock */
  KIN_FILE_VECTORS,       /* a collection's vectors */
  KIN_FILE_DERIVED,       /* made from these, and made again where it lacks */
  KIN_FILE_STRAY          /* vectors, or derived from some, that no collection names: a crash left it */
} kin_file_kind;

/* "catalogue", "log", "lock", "vectors", "derived", "stray"; never NULL. */
KIN_API const char *kin_file_kind_name(kin_file_kind kind);

typedef struct kin_store_file {
  char path[4096];
  uint64_t bytes;
  kin_file_kind kind;
} kin_store_file;

typedef struct kin_store_files kin_store_files;

/* The files of which the store consists, by kind and name. Release with kin_store_files_close. */
KIN_API kin_status kin_store_list_files(kin_store *store, kin_store_files **out, kin_error *err);
KIN_API size_t kin_store_files_count(const kin_store_files *files);
/* Valid until kin_store_files_close; NULL past the last. */
KIN_API const kin_store_file *kin_store_files_get(const kin_store_files *files, size_t i);
KIN_API void kin_store_files_close(kin_store_files *files);

/* Damage that kin_store_check found; valid during the callback only. */
typedef struct kin_store_problem {
  const char *file; /* of the store */
  const char *what; /* is wrong with it */
  const char *fix;  /* what to do about it */
  bool repaired;    /* it was done */
} kin_store_problem;

/* Zero members are left out. */
typedef struct kin_check_options {
  /* Mend what can be mended without a copy: items lose the vectors that are damaged, so that indexing makes them anew;
   * full-text indices are made anew; what was derived goes; rows and holes of the catalogue are put right. */
  bool repair;
  void (*on_problem)(void *user, const kin_store_problem *problem);
  /* Rows checked so far, of all vector files; called often. False: stop, KIN_ERR_CANCELLED. */
  bool (*on_progress)(void *user, uint64_t done, uint64_t total);
  void *user;
} kin_check_options;

typedef struct kin_check_report {
  size_t collections;
  uint64_t rows;               /* of vector files, checksums compared */
  uint64_t problems, repaired; /* the latter are among the former */
  bool read_only; /* the store can't be written, so its indices of words weren't checked, which takes a transaction */
} kin_check_report;

/* Read the whole store at `path` and report all damage: SQLite's own checks (integrity, foreign keys, full-text
 * indices), the checksum of every vector record and code, the rows of each vector file against the catalogue, and
 * files that no collection names. Without `repair` nothing is changed; no other process can write meanwhile. KIN_OK
 * means that the check ran: `out` (may be NULL) tells whether there are problems. `options` may be NULL. KIN_ERR_IO: no
 * such store; KIN_ERR_BUSY: another process is writing to it; KIN_ERR_CANCELLED. */
KIN_API kin_status kin_store_check(kin_context *context, const char *path, const kin_check_options *options,
                                   kin_check_report *out, kin_error *err);

typedef struct kin_compact_options {
  /* Vectors copied so far; called often. False: stop, KIN_ERR_CANCELLED, and the store is as it was but for the
   * collections that were done. NULL: none. */
  bool (*on_progress)(void *user, uint64_t done, uint64_t total);
  void *user;
} kin_compact_options;

typedef struct kin_compact_report {
  uint64_t holes;                     /* rows that went */
  uint64_t bytes_before, bytes_after; /* of all files */
} kin_compact_report;

/* Give back the space that nothing uses any more: write the vector files that have holes anew without them, remove
 * what a crash left, and tidy the SQLite file and its full-text indices. The store must be open for writing. It is
 * whole at any moment, whatever happens, and others may search it meanwhile. Needs room for a copy of the largest file.
 * Vectors stay the same to the bit; what is derived from them is made anew or must be built anew. KIN_ERR_FORMAT names
 * a damaged row (kin_store_check tells all of them). `options` and `out` may be NULL. */
KIN_API kin_status kin_store_compact(kin_store *store, const kin_compact_options *options, kin_compact_report *out,
                                     kin_error *err);

/* Zero members take the default. */
typedef struct kin_export_options {
  /* The file to write, by its ending .jsonl, .npy, .fvecs or .safetensors, as kin_vector_writer_open does it: it
   * appears when it is whole. "-": JSON lines on the standard output. */
  const char *path;
  /* After each vector, with the path of its file: how many are done, of how many. False: stop, KIN_ERR_CANCELLED. */
  bool (*on_vector)(void *user, const char *path, uint64_t done, uint64_t total);
  void *user;
} kin_export_options;

/* Write all vectors of the chosen collection, sorted by path and place in the file, as of one moment; *n (may be NULL)
 * tells how many. JSON lines hold all that kin_store_import needs to make the same collection elsewhere
 * (docs/store.md); floats come back to the bit. KIN_ERR_MISMATCH when no collection is chosen among several, or there
 * is none. */
KIN_API kin_status kin_store_export(kin_store *store, const kin_export_options *options, uint64_t *n, kin_error *err);

/* Zero members take the default. */
typedef struct kin_import_options {
  const char *path;       /* .jsonl, .npy or .fvecs */
  const char *paths;      /* with .npy and .fvecs, and needed there: a file with the path of each vector's file, a line
                           * each */
  const kin_model *model; /* that made the vectors; default: the one that a .jsonl file names, else the chosen or only
                           * collection's */
  bool new_ids;           /* don't keep the ids of items that a .jsonl file gives */
  /* Vectors read so far, of how many; 0: not known. False: stop, KIN_ERR_CANCELLED. */
  bool (*on_progress)(void *user, uint64_t done, uint64_t total);
  void *user;
} kin_import_options;

typedef struct kin_import_report {
  uint64_t vectors, items; /* taken */
  uint64_t replaced;       /* of these items, those that had vectors of this model before */
  uint64_t normalised;     /* vectors that weren't of length 1, and were brought to it; the others keep their bits */
} kin_import_report;

/* Take vectors into the collection of their model, made if there is none: all of the file or nothing. Files that are
 * there are hashed, where the file doesn't tell their SHA-256, so that indexing knows them; others are known by their
 * path alone. `out` may be NULL. The store must be open for writing. KIN_ERR_FORMAT names the file and the line or row:
 * another number of floats, a value that isn't finite, zeros alone, a path or an id that is there twice;
 * KIN_ERR_MISMATCH: the model isn't known, or makes vectors of another size. */
KIN_API kin_status kin_store_import(kin_store *store, const kin_import_options *options, kin_import_report *out,
                                    kin_error *err);

/* --------------------------------------------------------------- analyse */

/* n vectors of `dim` floats, compared by cosine: their lengths don't matter, and one of zeros has cosine 0 with
 * every other. The same vectors give the same bits whatever the number of threads. A vector that isn't finite is
 * KIN_ERR_ARGUMENT. */
typedef struct kin_vector_set {
  const float *values; /* [n][dim] */
  size_t n, dim;
} kin_vector_set;

/* Subtract the mean of the n vectors from each, in place. Vectors of many encoders share a direction that says
 * nothing of the picture; without it, likeness tells more. */
KIN_API kin_status kin_center(float *values, size_t n, size_t dim, kin_error *err);

typedef struct kin_neighbour {
  size_t index; /* in the set */
  float cosine;
} kin_neighbour;

/* The k nearest others of each query, best first, ties by index, into out[n_queries][k]; 1 <= k < n.
 * queries[n_queries] are indices into the set; NULL: every vector in order, n_queries being n. Exact.
 * Memory beside `out`: up to two copies of the set, and 16 k + 512 bytes a query. */
KIN_API kin_status kin_nearest_neighbours(kin_context *context, const kin_vector_set *set, const size_t *queries,
                                          size_t n_queries, size_t k, kin_neighbour *out, kin_error *err);

typedef enum kin_metric {
  KIN_METRIC_COSINE = 0, /* distance is 1 - cosine, 0 to 2 */
  KIN_METRIC_EUCLIDEAN   /* of the vectors as they are; of unit vectors its square is twice the cosine's distance */
} kin_metric;

typedef struct kin_near {
  size_t index;    /* in the set */
  double distance; /* computed in double from the floats of the set */
} kin_near;

/* The k nearest of each vector, nearest first, ties by index, into out[..][k]: of every vector of `queries` among
 * those of the set (1 <= k <= n), or, with NULL, of every vector of the set among the others (1 <= k < n). Exact,
 * and the same bits whatever the threads and the instruction set. Memory as for kin_nearest_neighbours.
 * KIN_ERR_MISMATCH when the vectors of `queries` have another number of floats. */
KIN_API kin_status kin_nearest(kin_context *context, const kin_vector_set *set, const kin_vector_set *queries,
                               kin_metric metric, size_t k, kin_near *out, kin_error *err);

/* How neighbours are looked for. */
typedef enum kin_near_search {
  KIN_NEAR_AUTO = 0,   /* exactly to KIN_NEAR_EXACT_MOST vectors; beyond, approximately, unless a sample tells that less
                        * than 95% would be found: then exactly */
  KIN_NEAR_EXACT,      /* time grows with n * n */
  KIN_NEAR_APPROXIMATE /* time grows as n to the power of 1.5, whatever share is found; below 1,000 vectors exactly */
} kin_near_search;

#define KIN_NEAR_EXACT_MOST 20000

typedef struct kin_near_options {
  kin_metric metric;
  size_t k;
  kin_near_search search;
  double enough; /* the share of neighbours, of a sample, at which an approximate search ends, 0 to 1; 0: 0.97 */
  /* The share of the work that is done, 0 to 1, about; false: stop, KIN_ERR_CANCELLED. */
  bool (*on_progress)(void *user, double done);
  void *user;
} kin_near_options;

/* The k nearest others of each vector, nearest first, ties by index, into out[n][k]; 1 <= k < n. *recall (may be NULL)
 * is the share of the true ones that was found, of 256 vectors drawn from the set; 1 of an exact search. Distances are
 * exact either way, and so are the same bits whatever the threads and the instruction set. Memory beside `out`: up to
 * two copies of the set, and 24 k + 512 bytes a vector. */
KIN_API kin_status kin_near_others(kin_context *context, const kin_vector_set *set, const kin_near_options *options,
                                   kin_near *out, double *recall, kin_error *err);

/* How well vectors tell labelled classes apart, from the k nearest others of each vector, neighbours[n][k] as
 * kin_nearest_neighbours gives them. labels[n] number the classes. */
typedef struct kin_retrieval {
  size_t right; /* leave-one-out k-NN: vectors whose class is that of most of their k nearest others; among equally
                 * frequent classes the lowest number wins */
  size_t found; /* recall at k: vectors with at least one of their class among them */
} kin_retrieval;
/* Over the first `at` of each vector's neighbours; 1 <= at <= k. */
KIN_API kin_status kin_measure_retrieval(const kin_neighbour *neighbours, size_t n, size_t k, size_t at,
                                         const uint32_t *labels, kin_retrieval *out, kin_error *err);

/* The mean silhouette, -1 to 1, as scikit-learn's silhouette_score: 1 when classes are tight and far apart, 0 when they
 * overlap; a vector alone in its class counts 0. labels[n] are below `classes`, and from 2 to n - 1 of them must
 * occur. Time grows with n * classes for cosines, with n * n for Euclidean distances. */
KIN_API kin_status kin_silhouette(kin_context *context, const kin_vector_set *set, kin_metric metric,
                                  const uint32_t *labels, size_t classes, double *out, kin_error *err);

/* The Davies-Bouldin index (Euclidean, on the vectors as they are), as scikit-learn's: 0 is best. Labels as above. */
KIN_API kin_status kin_davies_bouldin(kin_context *context, const kin_vector_set *set, const uint32_t *labels,
                                      size_t classes, double *out, kin_error *err);

/* How far two ways to divide n items agree. */
typedef struct kin_agreement {
  double nmi;      /* normalised mutual information (arithmetic mean): 0 to 1 */
  double ari;      /* adjusted Rand index: 1 the same, 0 what chance gives */
  double accuracy; /* of giving each cluster of `a` the class of `b` that most of it has */
} kin_agreement;
/* Labels are any numbers; KIN_NO_CLUSTER is one like others. n >= 1. */
KIN_API kin_status kin_compare_labels(const uint32_t *a, const uint32_t *b, size_t n, kin_agreement *out,
                                      kin_error *err);

/* -------------------------------------------------------------- clusters */

#define KIN_NO_CLUSTER UINT32_MAX /* the label of noise */

/* Clusters of a set. Release with kin_clustering_free. */
typedef struct kin_clustering {
  size_t n, k;       /* vectors; clusters */
  uint32_t *labels;  /* [n]: the cluster, or KIN_NO_CLUSTER */
  float *strength;   /* [n]: of HDBSCAN, how firmly a vector belongs to its cluster, 0 to 1; NULL of others */
  double inertia;    /* of k-means: summed squared distances to the centres (of vectors at length 1 with cosines) */
  size_t iterations; /* of k-means, in the start that was kept */
} kin_clustering;
KIN_API void kin_clustering_free(kin_clustering *clustering);

/* Zero members take the default. */
typedef struct kin_kmeans_options {
  kin_metric metric;     /* cosine: spherical k-means; vectors and centres have length 1 */
  size_t k;              /* clusters, 1 to n */
  size_t starts;         /* from other centres each; the one of least inertia is kept; default 4 (mini-batch: 3) */
  size_t max_iterations; /* default 300 (mini-batch: 100 passes over the set) */
  double tolerance;      /* stop when the centres move, squared and summed, by less than this share of the vectors'
                          * variance; default 1e-4, negative: only when no label changes */
  size_t batch;          /* mini-batch k-means with so many vectors a step; 0: all */
  uint64_t seed;
  /* After each iteration; false: stop, KIN_ERR_CANCELLED. */
  bool (*on_progress)(void *user, size_t start, size_t iteration);
  void *user;
} kin_kmeans_options;

/* k-means from k-means++ seeds (chosen among a sample of 256 k vectors, at least 16,384, where there are more). Labels
 * are of exactly the nearest centre. The same bits from a seed, whatever the threads and the instruction set.
 * KIN_ERR_ARGUMENT: k above n. */
KIN_API kin_status kin_kmeans(kin_context *context, const kin_vector_set *set, const kin_kmeans_options *options,
                              kin_clustering *out, kin_error *err);

typedef struct kin_hdbscan_options {
  kin_metric metric;
  size_t min_cluster_size; /* default 5; at least 2 */
  size_t min_samples;      /* the distance to the so-manieth nearest, itself counted, is a vector's core distance;
                            * default min_cluster_size */
  /* The share of the vectors that are connected, 0 to 1; false: stop, KIN_ERR_CANCELLED. */
  bool (*on_progress)(void *user, double done);
  void *user;
} kin_hdbscan_options;

/* HDBSCAN by exact neighbours and an exact minimum spanning tree of mutual reachability, clusters chosen by excess of
 * mass, as scikit-learn's. Where all vectors are the same they are one cluster. */
KIN_API kin_status kin_hdbscan(kin_context *context, const kin_vector_set *set, const kin_hdbscan_options *options,
                               kin_clustering *out, kin_error *err);

typedef enum kin_linkage {
  KIN_LINKAGE_AVERAGE = 0,
  KIN_LINKAGE_COMPLETE,
  KIN_LINKAGE_SINGLE,
  KIN_LINKAGE_WARD /* on Euclidean distances; with cosines on those of vectors at length 1 */
} kin_linkage;
/* "average", "complete", "single" or "ward"; KIN_ERR_ARGUMENT for another name. */
KIN_API kin_status kin_linkage_parse(const char *name, kin_linkage *out, kin_error *err);

/* Agglomerative clustering down to k clusters, numbered by their first vectors. Holds n * n / 2 doubles: KIN_ERR_LIMIT
 * beyond 20,000 vectors. */
KIN_API kin_status kin_agglomerate(kin_context *context, const kin_vector_set *set, kin_metric metric,
                                   kin_linkage linkage, size_t k, kin_clustering *out, kin_error *err);

/* One point of the curve that k is chosen by. */
typedef struct kin_k_score {
  size_t k;
  double silhouette, inertia;
} kin_k_score;

#define KIN_MAX_K_SCORES 32

/* Choose k for k-means: for some k from 2 to twice the root of n (at least 12, at most 64) cluster a sample of at most
 * 4,096 vectors and measure the silhouette; the greatest wins, the smaller k among equals. scores[KIN_MAX_K_SCORES],
 * *n_scores of them filled. With fewer than three different vectors k is 1 and there is no score. `options`: metric,
 * seed, starts (default 3) and on_progress count. */
KIN_API kin_status kin_choose_k(kin_context *context, const kin_vector_set *set, const kin_kmeans_options *options,
                                size_t *k, kin_k_score *scores, size_t *n_scores, kin_error *err);

/* What the clusters are like. */
typedef struct kin_cluster_info {
  size_t size;
  double spread;  /* mean distance to the centre (metric's) */
  double nearest; /* distance of its centre to the nearest other centre; 0 of an only cluster */
} kin_cluster_info;

/* infos[k], centres[k][dim] (means; with cosines of the vectors at length 1, and of length 1) and distances[n] of each
 * vector to its own centre (infinite for noise); the last two may be NULL. labels[n] below k or KIN_NO_CLUSTER. */
KIN_API kin_status kin_describe_clusters(kin_context *context, const kin_vector_set *set, kin_metric metric,
                                         const uint32_t *labels, size_t k, kin_cluster_info *infos, float *centres,
                                         double *distances, kin_error *err);

/* For each centre the `top` words that tell it from the others, best first, into out[k][top]: those whose cosine with
 * it is furthest above their mean cosine with all centres (with one centre, the greatest cosine). words[n][dim] are
 * texts embedded into the space of the centres; 1 <= top <= n. */
KIN_API kin_status kin_name_clusters(const float *centres, size_t k, const float *words, size_t n, size_t dim,
                                     size_t top, size_t *out, kin_error *err);

/* -------------------------------------------------------- representatives */

/* Zero members take the default. */
typedef struct kin_k_centre_options {
  kin_metric metric;
  /* Of k, so many are picked; false: stop, KIN_ERR_CANCELLED. */
  bool (*on_progress)(void *user, size_t picked, size_t k);
  void *user;
} kin_k_centre_options;

/* k vectors that stand for all, by greedy k-centre (farthest-first traversal): the first is the one nearest to the
 * mean, each next one the furthest from those before it, ties by index. No k vectors leave the furthest vector less
 * than half as far (with Euclidean distances) as these do. The same bits whatever the threads and the instruction set.
 *   picks[k]      in the order of picking; .distance is to the nearest earlier pick, infinite for the first
 *   nearest[n]    number in `picks` of the nearest pick, the earlier one among equals; may be NULL
 *   distances[n]  to that pick; may be NULL
 * Distances are chosen by in float, and given in double. Memory: two copies of the set. `options` may be NULL.
 * KIN_ERR_ARGUMENT: k is 0 or above n. */
KIN_API kin_status kin_k_centre(kin_context *context, const kin_vector_set *set, const kin_k_centre_options *options,
                                size_t k, kin_near *picks, size_t *nearest, double *distances, kin_error *err);

/* How unlike the others each vector is: the mean distance to its k nearest others (all others where there are fewer),
 * into scores[n]; of a single vector, infinity. nearest[n], each one's nearest other (SIZE_MAX of a single vector), may
 * be NULL. Exact, as kin_nearest. */
KIN_API kin_status kin_uniqueness(kin_context *context, const kin_vector_set *set, kin_metric metric, size_t k,
                                  double *scores, kin_near *nearest, kin_error *err);

/* The same out of neighbours that are known, near[n][each] as kin_near_others gives them; 1 <= k <= each. */
KIN_API kin_status kin_uniqueness_of_near(const kin_near *near, size_t n, size_t each, size_t k, double *scores,
                                          kin_error *err);

/* ------------------------------------------------------------ duplicates */

/* The perceptual hash of a picture (pHash): which of the lowest 8 x 8 cosine terms of its 32 x 32 grey levels are above
 * their median, the first in the highest bit. Equal to imagehash.phash (Python) on the same upright pixels. Copies that
 * were resized or saved anew differ in few bits. Errors as of decoding; KIN_ERR_ARGUMENT: no picture. */
KIN_API kin_status kin_perceptual_hash(const kin_image_source *image, uint64_t *out, kin_error *err);

/* Something that may have copies. */
typedef struct kin_duplicate_item {
  const char *path; /* a file; NULL: none */
  bool is_picture;  /* and it can be decoded */
  const char *text; /* UTF-8: what it says; NULL: not known. Of an item that is no picture */
} kin_duplicate_item;

/* What an item is of the best one of its group. */
typedef enum kin_copy_kind {
  KIN_COPY_BEST = 0, /* itself */
  KIN_COPY_LINK,     /* the same file under another name as the item before it: nothing to gain */
  KIN_COPY_BYTES,    /* another file of the same bytes */
  KIN_COPY_PICTURE,  /* the same picture, saved anew, resized, brightened and the like */
  KIN_COPY_MIRRORED, /* the same, mirrored left to right or upside down */
  KIN_COPY_TURNED,   /* the same, turned by a quarter, a half or three quarters, perhaps mirrored */
  KIN_COPY_PART,     /* a part of the picture, or of the text: the best one has more */
  KIN_COPY_TEXT,     /* nearly the same text */
  KIN_COPY_VECTOR    /* alike by the vectors; there was nothing else to compare */
} kin_copy_kind;
/* "best", "link", "bytes", "picture", "mirrored", "turned", "part", "text", "vector"; never NULL. */
KIN_API const char *kin_copy_kind_name(kin_copy_kind kind);

typedef struct kin_copy {
  size_t item;
  kin_copy_kind kind;
  double cosine;          /* with the best one; NAN without vectors */
  float likeness;         /* to 1: correlation of the edges of both pictures; of texts the share of runs of three
                           * words that both have, of a part of those that the best has too. 1 of same bytes, 0 where
                           * not compared */
  float share;            /* of the best one's area, or words, that a part has; else 1 */
  unsigned hash_distance; /* bits in which the perceptual hashes differ; 0 where not compared */
  uint32_t width, height; /* of a picture that was decoded; else 0 */
  uint64_t bytes;         /* of a file ... */
  int64_t mtime_ns;       /* ... as it was while it was compared ... */
  char sha256[65];        /* ... with its content; "": no file */
} kin_copy;

/* Groups of copies; release with kin_duplicates_free. */
typedef struct kin_duplicates {
  size_t n_groups;
  size_t *first;    /* [n_groups + 1]: where in `copies` a group begins */
  kin_copy *copies; /* the best one first */
} kin_duplicates;
KIN_API void kin_duplicates_free(kin_duplicates *duplicates);

/* Zero members take the default. */
typedef struct kin_duplicates_options {
  size_t neighbours; /* so many nearest of each item are compared with it; default 16 */
  double min_cosine; /* of copies that only have vectors; default 0.99 */
  size_t exhaustive; /* of so many items the neighbours are exact; of more, nearly all are found, in a time that grows
                      * as n to the power of 1.5; default 50,000 */
  /* `stage` is "hashing", "comparing" ...; of `total`, so many are done. false: stop, KIN_ERR_CANCELLED. */
  bool (*on_progress)(void *user, const char *stage, size_t done, size_t total);
  /* An item that is left out: gone, unreadable, changed meanwhile. May be NULL. */
  void (*on_failure)(void *user, size_t item, kin_status status, const char *message);
  void *user;
} kin_duplicates_options;

/* Which of n items are copies of one another: files of the same bytes, and, with their vectors in `set` (NULL:
 * without, then same bytes alone are found), pictures that show the same pixels and texts of the same words. The
 * nearest neighbours by the vectors, of pictures their mean taken out, are candidates; the pictures and texts
 * themselves decide. The best of a group has the most pixels, then bytes, then is the oldest, then the first; but
 * what is a part of another is never the best. Every copy was compared with it, or, if mirrored or turned, perhaps
 * with a copy of it. Empty files have no copies. Memory beside that of kin_nearest: 3 KB a picture, 24 bytes for each
 * neighbour. `options` may be NULL. KIN_ERR_ARGUMENT: `set` has not n vectors. */
KIN_API kin_status kin_find_duplicates(kin_context *context, const kin_duplicate_item *items, size_t n,
                                       const kin_vector_set *set, const kin_duplicates_options *options,
                                       kin_duplicates *out, kin_error *err);

/* -------------------------------------------------------------- classify */

/* Zero-shot: the classes are words. A label is put into templates ("a photo of a {}"), the vectors of these texts, each
 * of length 1, are averaged and brought to length 1 again, and the cosine to that, times the model's scale, is the
 * class's logit. */

/* Templates of this library's own. */
typedef enum kin_template_set {
  KIN_TEMPLATES_PHOTOS = 0,     /* of what a photo shows */
  KIN_TEMPLATES_PHOTOS_WITH,    /* of what is in a photo ... */
  KIN_TEMPLATES_PHOTOS_WITHOUT, /* ... and what isn't */
  KIN_TEMPLATES_TEXTS,          /* of what a text is about */
  KIN_TEMPLATES_TEXTS_WITH,     /* the same for pairs ... */
  KIN_TEMPLATES_TEXTS_WITHOUT   /* ... and of what it isn't about */
} kin_template_set;

/* The i-th template of a set for `label`, NULL past the last: English for Latin letters, Korean where there is Hangul,
 * else the label alone. `label` is UTF-8. */
KIN_API const char *kin_default_template(kin_template_set set, const char *label, size_t i);

/* The vectors of `n` labels into out[n][dim], of length 1 (zeros where a mean vanishes). Every {} of a template stands
 * for the label; `templates` NULL: the defaults of `set`. Texts count as queries.
 * KIN_ERR_ARGUMENT: no label, an empty one, one given twice, a template without {}; KIN_ERR_UNSUPPORTED: no text
 * tower; KIN_ERR_FORMAT: invalid UTF-8. */
KIN_API kin_status kin_embed_labels(kin_model *model, const char *const *labels, size_t n, kin_template_set set,
                                    const char *const *templates, size_t n_templates, float *out, kin_error *err);

/* The cosine of each of the items to each of the classes (kin_embed_labels) into cosines[items][classes], and the
 * softmax over `scale` times these into probabilities[items][classes]; `scale` is kin_model_info.logit_scale of the
 * image's model. With `without`, the vectors of the same labels denied, each class is decided for itself: its
 * probability is that of `with` in the softmax of the pair. Agrees with the softmax of transformers'
 * CLIPModel.logits_per_image. KIN_ERR_ARGUMENT: fewer than two classes without `without`, a scale that isn't positive.
 */
KIN_API kin_status kin_zero_shot(kin_context *context, const kin_vector_set *items, const kin_vector_set *with,
                                 const kin_vector_set *without, double scale, float *cosines, double *probabilities,
                                 kin_error *err);

/* The classes that one row of probabilities [n] speaks for: at most `top` of those with at least `threshold`, likeliest
 * first, ties by number, into out[top]; returns how many. 0: none of these. */
KIN_API size_t kin_top_classes(const double *probabilities, size_t n, size_t top, double threshold, size_t *out);

/* Trained: the classes are examples. Vectors are taken as they are, of whatever length, except by the neighbours'
 * cosine. The same input gives the same bits whatever the number of threads. */
typedef struct kin_classifier kin_classifier;

typedef enum kin_classifier_kind {
  KIN_CLASSIFIER_LINEAR = 0, /* logistic regression, multinomial, with an L2 penalty; of scikit-learn's meaning */
  KIN_CLASSIFIER_KNN         /* the k nearest examples by cosine vote */
} kin_classifier_kind;

/* Vectors with what they are examples of. */
typedef struct kin_labelled_set {
  kin_vector_set vectors;
  const uint32_t *labels;     /* [n], below n_classes */
  const char *const *classes; /* [n_classes] names, UTF-8, none empty, all different */
  size_t n_classes;           /* at least 2, each with at least one vector */
} kin_labelled_set;

/* Zero members take the default. */
typedef struct kin_classifier_options {
  kin_classifier_kind kind;
  /* Of the linear one: the inverse of the penalty's strength, as in scikit-learn's LogisticRegression. Default: the
   * power of ten with the least cross-validated loss, on 2,000 of the vectors at most. */
  double c;
  double tolerance;      /* ends when no part of the mean loss's gradient, over features of variance 1, is larger;
                          * default 1e-6 */
  size_t max_iterations; /* default 2000 */
  size_t k;              /* of the neighbours; default 5, less where there are fewer vectors */
  bool centre;           /* subtract the examples' mean first; matters to the neighbours alone */
  const char *model_id;  /* kin_model_info.id of the model that made the vectors; NULL: not known */
} kin_classifier_options;

typedef struct kin_classifier_info {
  kin_classifier_kind kind;
  size_t n_classes, dim, examples;
  char model_id[65];       /* "": not known */
  double c;                /* linear; 0 otherwise */
  size_t iterations, k;    /* of the linear one as fitted (0 when loaded), of the neighbours */
  bool converged, centred; /* false: max_iterations ended it */
} kin_classifier_info;

/* KIN_ERR_ARGUMENT: fewer than two classes, a class without a vector, a label out of range, a bad or doubled name, a
 * vector that isn't finite, k above the number of vectors. `options` may be NULL. */
KIN_API kin_status kin_classifier_fit(kin_context *context, const kin_labelled_set *set,
                                      const kin_classifier_options *options, kin_classifier **out, kin_error *err);
KIN_API void kin_classifier_close(kin_classifier *classifier);
KIN_API void kin_classifier_get_info(const kin_classifier *classifier, kin_classifier_info *out);
/* Valid until closed; NULL past the last. */
KIN_API const char *kin_classifier_class(const kin_classifier *classifier, size_t i);

/* Probabilities (of the neighbours: shares of the vote) into out[n][n_classes]. KIN_ERR_MISMATCH for another number of
 * floats, KIN_ERR_ARGUMENT for a value that isn't finite. */
KIN_API kin_status kin_classifier_predict(kin_context *context, const kin_classifier *classifier,
                                          const kin_vector_set *items, double *out, kin_error *err);
/* KIN_ERR_MISMATCH unless vectors of `dim` floats by the model `model_id` (NULL: not known) are of the kind that it was
 * trained on; where either isn't known, `dim` decides. */
KIN_API kin_status kin_classifier_check(const kin_classifier *classifier, const char *model_id, size_t dim,
                                        kin_error *err);

/* One file (docs/classifier-format.md), written beside its name and renamed. */
KIN_API kin_status kin_classifier_save(const kin_classifier *classifier, const char *path, kin_error *err);
/* KIN_ERR_FORMAT names what is wrong with the file: every field is checked, and a checksum over all. */
KIN_API kin_status kin_classifier_open(const char *path, kin_classifier **out, kin_error *err);

/* Deal n vectors into `folds` parts, 2 to n, each with its share of every class, numbers into out[n]. `seed` 0: in
 * order, as scikit-learn's StratifiedKFold deals without shuffling; else each class shuffled.
 * KIN_ERR_ARGUMENT: more folds than the largest class has vectors. */
KIN_API kin_status kin_stratified_folds(const uint32_t *labels, size_t n, size_t folds, uint64_t seed, uint32_t *out,
                                        kin_error *err);

typedef struct kin_validation {
  size_t right;     /* vectors given their own class */
  double accuracy;  /* their share */
  double deviation; /* of the folds' accuracies: the sample's standard deviation */
} kin_validation;

/* Each fold's vectors told by a classifier trained on the others; what depends on data (c, the mean) is chosen anew
 * each time. The class given to each goes into predicted[n] (of equal ones the first), its probability into
 * confidence[n] (may be NULL). A class that the others lack can't be given. */
KIN_API kin_status kin_cross_validate(kin_context *context, const kin_labelled_set *set,
                                      const kin_classifier_options *options, const uint32_t *folds, size_t n_folds,
                                      uint32_t *predicted, double *confidence, kin_validation *out, kin_error *err);

/* out[a][b]: how many of class a were predicted to be b. */
KIN_API kin_status kin_confusion(const uint32_t *labels, const uint32_t *predicted, size_t n, size_t n_classes,
                                 size_t *out, kin_error *err);

/* ------------------------------------------------------------- anomalies */

/* How far a vector lies from what is usual: its score, which is higher the less usual it is. */
typedef enum kin_detector_method {
  KIN_DETECTOR_MEAN = 0,    /* distance to the mean (with cosines: of the vectors at length 1) */
  KIN_DETECTOR_MAHALANOBIS, /* distance to the mean in units of the covariance, shrunk by Ledoit and Wolf's estimate, of
                             * the vectors as they are: the root of scikit-learn's LedoitWolf().mahalanobis() */
  KIN_DETECTOR_CLUSTERS,    /* distance to the nearest centre of k-means, in units of that cluster's spread */
  KIN_DETECTOR_KNN,         /* distance to the k-th nearest */
  KIN_DETECTOR_LOF,         /* local outlier factor of the k nearest, as scikit-learn's LocalOutlierFactor: near 1 where
                             * a vector lies as densely as its neighbours do */
  KIN_DETECTOR_PATCHES /* of pictures by KIN_POOLING_PATCHES: the distance of each patch to the nearest of a bank of
                        * usual ones, a tenth of the reference's (1,000 to 10,000) picked by greedy k-centre; the
                        * mean of the furthest hundredth of a picture's, at least one, is its score */
} kin_detector_method;

/* "mean", "mahalanobis", "clusters", "knn", "lof" or "patches"; KIN_ERR_ARGUMENT for another name. */
KIN_API kin_status kin_detector_method_parse(const char *name, kin_detector_method *out, kin_error *err);
/* Never NULL. */
KIN_API const char *kin_detector_method_name(kin_detector_method method);

/* From which score on a vector is an anomaly. */
typedef enum kin_threshold_rule {
  KIN_THRESHOLD_MAD = 0,  /* median + level * (median absolute deviation from it); default level 5 */
  KIN_THRESHOLD_QUANTILE, /* the score that a share `level` of the reference lies below; default 0.99 */
  KIN_THRESHOLD_CONFORMAL /* so that of vectors like the reference a share `level` at most raises an alarm (split
                           * conformal: scores of vectors kept apart from fitting); default 0.01 */
} kin_threshold_rule;

typedef struct kin_threshold {
  kin_threshold_rule rule;
  double level; /* 0: the default */
} kin_threshold;

/* "mad", "quantile" or "conformal", each with ":LEVEL" or without; KIN_ERR_ARGUMENT for another rule, or a level that
 * it can't have (above 0; of the last two below 1). */
KIN_API kin_status kin_threshold_parse(const char *text, kin_threshold *out, kin_error *err);
/* "mad" and so on; never NULL. */
KIN_API const char *kin_threshold_name(kin_threshold_rule rule);

/* Fitted to vectors of a reference, which are taken for usual. */
typedef struct kin_detector kin_detector;

/* Zero members take the default. */
typedef struct kin_detector_options {
  kin_detector_method method;
  kin_metric metric; /* not of Mahalanobis */
  size_t k;          /* neighbours (default: 5 of knn, 20 of lof, or all others where there are fewer), or clusters
                      * (default: as kin_choose_k chooses), or patches of a picture (no default) */
  kin_threshold threshold;
  double holdout;       /* the share of the reference that is kept apart for the threshold, to 0.9; default: a third
                         * for conformal and patches, else none: the threshold is then of the scores of what was fitted to */
  uint64_t seed;        /* which ones are kept apart; of k-means */
  const char *model_id; /* kin_model_info.id of the model that made the vectors; NULL: not known */
} kin_detector_options;

typedef struct kin_detector_info {
  kin_detector_method method;
  kin_metric metric;
  size_t dim, items; /* floats of a vector; vectors that it was fitted to */
  size_t held_out;   /* vectors that were kept apart for the threshold; 0: none */
  size_t k;          /* neighbours, clusters that count, or patches of a picture; else 0 */
  double shrinkage;  /* of Mahalanobis' covariance: 0 none, 1 a sphere; else 0 */
  kin_threshold threshold;
  double limit;      /* a score above it is an anomaly's */
  char model_id[65]; /* "": not known */
} kin_detector_info;

/* Fit to the vectors of `set`; the same bits whatever the threads and the instruction set. scores[set->n], those of the
 * reference itself, may be NULL: by neighbours each vector is left out of its own, and what is kept apart counts as
 * new. Clusters of one vector, or of less than a twentieth of the mean size, don't count, save where there is no other.
 * KIN_ERR_ARGUMENT: fewer than two vectors, a value that isn't finite, k above what there is, vectors that are all the
 * same (of Mahalanobis), too few kept apart for a conformal threshold. `options` may be NULL. */
KIN_API kin_status kin_detector_fit(kin_context *context, const kin_vector_set *set,
                                    const kin_detector_options *options, kin_detector **out, double *scores,
                                    kin_error *err);
KIN_API void kin_detector_close(kin_detector *detector);
KIN_API void kin_detector_get_info(const kin_detector *detector, kin_detector_info *out);

/* Scores of new vectors into scores[n], and into p_values[n] (may be NULL) the share of scores as high or higher among
 * those that the threshold rests on, the vector itself counted: exact p-values where some were kept apart.
 * KIN_ERR_MISMATCH for another number of floats, KIN_ERR_ARGUMENT for a value that isn't finite. */
KIN_API kin_status kin_detector_score(kin_context *context, const kin_detector *detector, const kin_vector_set *items,
                                      double *scores, double *p_values, kin_error *err);
/* By patches: the distance of each patch of one picture, whose vector is picture[dim], into scores[k]. */
KIN_API kin_status kin_detector_patch_scores(kin_context *context, const kin_detector *detector, const float *picture,
                                             double *scores, kin_error *err);
/* KIN_ERR_MISMATCH unless vectors of `dim` floats by the model `model_id` (NULL: not known) are of the kind that it was
 * fitted to; where either isn't known, `dim` decides. */
KIN_API kin_status kin_detector_check(const kin_detector *detector, const char *model_id, size_t dim, kin_error *err);

/* One file (docs/detector-format.md), written beside its name and renamed. */
KIN_API kin_status kin_detector_save(const kin_detector *detector, const char *path, kin_error *err);
/* KIN_ERR_FORMAT names what is wrong with the file: every field is checked, and a checksum over all. */
KIN_API kin_status kin_detector_open(const char *path, kin_detector **out, kin_error *err);

/* The limit of a rule over n scores of usual vectors, in any order: what is above it is an anomaly. KIN_ERR_ARGUMENT:
 * no scores, too few of them for a conformal rule, a bad level. */
KIN_API kin_status kin_threshold_limit(const kin_threshold *threshold, const double *scores, size_t n, double *out,
                                       kin_error *err);

/* ----------------------------------------------------------------- drift */

/* Vectors in the order of their time, and the window of the recent ones. */

/* Score each vector against the window before it: the vectors [first[i], i), first[i] <= i, ascending. By
 * KIN_DETECTOR_KNN the distance to the k-th nearest of these, by KIN_DETECTOR_MEAN the distance to their mean (k isn't
 * used); NAN where there are fewer than k, or none. KIN_ERR_ARGUMENT: another method, a value that isn't finite. */
KIN_API kin_status kin_window_scores(kin_context *context, const kin_vector_set *set, const size_t *first,
                                     kin_detector_method method, kin_metric metric, size_t k, double *scores,
                                     kin_error *err);

/* The two-sample, two-sided Kolmogorov-Smirnov test of finite numbers: the greatest difference between the shares of
 * a[n] and of b[m] below any value, and the exact probability that samples of one distribution without equal values
 * differ as much, as scipy.stats.ks_2samp gives them. n and m from 1 to 10,000. */
KIN_API kin_status kin_ks_test(const double *a, size_t n, const double *b, size_t m, double *statistic, double *p,
                               kin_error *err);

/* Zero members take the default. */
typedef struct kin_drift_options {
  kin_metric metric;   /* cosine: of the vectors at length 1 */
  size_t permutations; /* default 999 */
  size_t components;   /* principal ones that are tested; default 8, or fewer floats or vectors */
  size_t most;         /* vectors of each side to look at: of more, so many are drawn; default 1000, at most 10,000 */
  uint64_t seed;
} kin_drift_options;

/* How two sets differ. Both tests are made because the first sees any change and the second tells which way it is. */
typedef struct kin_drift {
  double mmd;       /* squared maximum mean discrepancy, unbiased, so that it may be below 0 */
  double bandwidth; /* of its Gaussian kernel exp(-d^2 / (2 bandwidth^2)): the median distance between all vectors */
  double p_mmd;     /* the share of divisions by chance that give as much, this one counted */
  double ks;        /* greatest difference of shares along the principal component of both where its p is least */
  size_t component; /* that one */
  double p_ks;      /* its p times the number of components, at most 1 */
  double p;         /* twice the lesser of both, at most 1: that nothing changed */
  size_t change;    /* of the vectors of both, one after the other: from which one on they differ most from those
                     * before it, in the sum of squares in the kernel's space */
} kin_drift;

/* Whether the vectors of `after` come from where those of `before` do; both in the order of their time, at least 2
 * each. The same bits whatever the threads and the instruction set. `options` may be NULL. KIN_ERR_MISMATCH for
 * different numbers of floats, KIN_ERR_ARGUMENT for fewer vectors or a value that isn't finite. */
KIN_API kin_status kin_drift_test(kin_context *context, const kin_vector_set *before, const kin_vector_set *after,
                                  const kin_drift_options *options, kin_drift *out, kin_error *err);

/* A stream of vectors as they come, scored one by one; and the latest window compared with the one before it, each time
 * that a quarter of a window has come. Holds two windows. */
typedef struct kin_stream kin_stream;

typedef struct kin_stream_options {
  kin_metric metric;
  kin_detector_method method; /* KIN_DETECTOR_KNN or KIN_DETECTOR_MEAN, as in kin_window_scores ... */
  size_t k;                   /* ... with this k */
  size_t window;              /* so many vectors, at least 10; or 0 ... */
  int64_t window_ns;          /* ... and a span of time above 0 */
  kin_threshold threshold;    /* of the scores in the window; not conformal */
  double level;               /* a comparison with at most this p is a change; 0: 0.01 */
  size_t permutations;        /* as in kin_drift_options */
  uint64_t seed;
} kin_stream_options;

typedef struct kin_stream_report {
  uint64_t number;     /* of the vector, from 0 */
  double score, limit; /* NAN: too few vectors, or scores (20), in the window before it */
  bool unusual;        /* the score is above the limit */
  bool tested;         /* the window that ends with this vector was compared, with this result: */
  kin_drift drift;
  bool changed;    /* what came since the last change, if there was one, isn't of one kind */
  uint64_t change; /* by then: the number of the vector from which on it is of the new kind */
  uint64_t kept;   /* the oldest vector that a later report may name */
} kin_stream_report;

/* KIN_ERR_ARGUMENT: a bad option. */
KIN_API kin_status kin_stream_open(kin_context *context, size_t dim, const kin_stream_options *options,
                                   kin_stream **out, kin_error *err);
KIN_API void kin_stream_close(kin_stream *stream);
/* Take vector[dim], of a time since 1970 that matters for windows of time alone; one before the last one's counts as
 * that. KIN_ERR_ARGUMENT for a value that isn't finite: nothing changed then. */
KIN_API kin_status kin_stream_push(kin_stream *stream, const float *vector, int64_t time_ns, kin_stream_report *out,
                                   kin_error *err);

/* ------------------------------------------------------------------- map */

/* The first k principal components of the vectors as they are: each vector's place along them into out[n][k], and,
 * where wanted (else NULL), the components into components[k][dim], of length 1, greatest variance first, their largest
 * float positive; variances[k] along them (n - 1 in the denominator) and *total, that of all floats together. Beyond
 * what varies places and components are 0. Agrees with scikit-learn's PCA up to sign. */
KIN_API kin_status kin_pca(kin_context *context, const kin_vector_set *set, size_t k, float *out, float *components,
                           double *variances, double *total, kin_error *err);

/* Zero members take the default. */
typedef struct kin_umap_options {
  kin_metric metric;
  size_t neighbours; /* that each vector is kept near to, itself counted: 2 to n; default 15, or n where that is less */
  double min_dist;   /* between points of the map, to 1: how tightly they pack; default 0.1, negative: 0 */
  size_t epochs;     /* default 500 to 10,000 vectors, 200 beyond */
  uint64_t seed;
  kin_near_search search;
  const kin_near *near; /* NULL: looked for. Else [n][near_each] as kin_near_others gives them, so that `metric` and
                         * `search` don't count; */
  size_t near_each;     /* at least neighbours - 1 */
  /* The share of the work that is done, 0 to 1, about, while neighbours are looked for and after each epoch; false:
   * stop, KIN_ERR_CANCELLED. */
  bool (*on_progress)(void *user, double done);
  void *user;
} kin_umap_options;

/* A map of the vectors by UMAP into out[n][2]: vectors that are near each other lie near each other, those of one dense
 * place together; distances between places far apart say little. Neighbours are as kin_near_others finds them, the
 * weights of pairs umap-learn's, and the start is by principal components. The same bits from a seed, whatever the
 * threads and the instruction set. Equal vectors may part a little. `options` NULL: the defaults. Memory: that of
 * kin_near_others, and 60 bytes for each neighbour of each vector. */
KIN_API kin_status kin_umap(kin_context *context, const kin_vector_set *set, const kin_umap_options *options,
                            float *out, kin_error *err);

/* How far the neighbours on a map (its Euclidean k nearest) are neighbours of the vectors too, by `metric`: 1 where all
 * are, as scikit-learn's trustworthiness. 1 <= k < n / 2. Time grows with n * n * dim. */
KIN_API kin_status kin_trustworthiness(kin_context *context, const kin_vector_set *set, kin_metric metric,
                                       const kin_vector_set *map, size_t k, double *out, kin_error *err);

/* ---------------------------------------------------------------- align */

/* A bridge makes an encoder of pictures alone searchable by words: from some hundred pictures with captions it learns
 * a map from what the image encoder sees to a text encoder's vectors (ridge regression in closed form, its strength
 * chosen by cross-validation). The result is a model directory that kin_model_open takes like any other; it
 * refers to the two encoders, which must stay where they are. It is no CLIP: the words that it knows are near those of
 * the captions. */

#define KIN_ALIGN_MAX_COLUMNS 8

typedef enum kin_align_method {
  KIN_ALIGN_KERNEL = 0, /* on the Gaussian kernel: likeness to each picture learnt from, which the bridge then holds */
  KIN_ALIGN_RIDGE       /* a linear map: finds a little less, but doesn't grow with the pictures */
} kin_align_method;

/* "kernel" or "ridge"; KIN_ERR_ARGUMENT for another name. */
KIN_API kin_status kin_align_method_parse(const char *name, kin_align_method *out, kin_error *err);

/* Zero members take the default. */
typedef struct kin_align_options {
  kin_align_method method;
  double holdout; /* the share of the different captions to keep apart for measuring, 0.01 to 0.5, in turn each as large
                   * a part of them; default 0.2, negative: none. The map that is saved is fitted to all */
  uint64_t seed;  /* which caption goes into which part */
  double lambda;  /* strength of the regression's penalty; default: cross-validation chooses */
  const size_t *blocks; /* of the image transformer, counted from 0 and ascending, whose class token and mean of
                         * patches are read; default: its last four; an encoder of another kind gives its vector */
  size_t n_blocks;
  uint64_t max_pixels; /* as in kin_embed_options */
  /* After each picture; false: stop, KIN_ERR_CANCELLED. */
  bool (*on_progress)(void *user, size_t done, size_t total);
  /* A picture that can't be read is left out. NULL: then the first one ends the call. */
  void (*on_failure)(void *user, const char *path, kin_status status, const char *message);
  void *user;
} kin_align_options;

/* Captions kept apart, searched for among the pictures kept apart with them. */
typedef struct kin_align_recall {
  size_t queries;
  double at1, at5, at10; /* the share that has a picture of its own among the first 1, 5, 10 */
} kin_align_recall;

typedef struct kin_align_report {
  size_t pictures;      /* learnt from */
  size_t captions;      /* different ones, by the first that each picture has */
  size_t parts;         /* of the captions, each kept apart once; 0: nothing was measured */
  size_t kept_captions; /* in a part, on average ... */
  size_t kept_pictures; /* ... and their pictures */
  double lambda;
  kin_align_recall recall[KIN_ALIGN_MAX_COLUMNS]; /* over all parts */
  double chance10;                                /* recall@10 of guessing */
  bool poor; /* no column's recall@10 is a quarter of the way from chance to 1, and more than luck */
} kin_align_report;

/* Fit a bridge between the models in two directories and write it into the directory `out`, which is made if need be:
 * config.json and bridge.safetensors. Pictures with the same first caption fall into the same part. The same
 * input gives the same bits. Texts count as queries. `options` and `report` may be NULL.
 * KIN_ERR_ARGUMENT: fewer than 10 pictures to learn from, no captions; KIN_ERR_LIMIT: more than 10,000;
 * KIN_ERR_UNSUPPORTED, KIN_ERR_MISMATCH: models of the wrong kind; and what opening, decoding and writing may give. */
KIN_API kin_status kin_align_fit(kin_context *context, const char *image_model, const char *text_model,
                                 const kin_captioned *items, size_t n, size_t columns, const char *out,
                                 const kin_align_options *options, kin_align_report *report, kin_error *err);

#ifdef __cplusplus
}
#endif
#endif
