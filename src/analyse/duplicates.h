/* The parts of the search for duplicates. */
#ifndef KIN_DUPLICATES_H
#define KIN_DUPLICATES_H

#include "analyse/shingles.h"
#include "image/sketch.h"

#include <sys/stat.h>

#define KIN_NOT_LINKED SIZE_MAX

typedef struct kin_dup_entry {
  bool usable;        /* not left out */
  kin_status failure; /* what a task noted of its item, until kin_dup_settle */
  char *message;
  uint64_t bytes, device, inode;
  int64_t mtime_ns;
  bool is_symlink; /* the path's last part */
  char sha256[65]; /* "": not computed yet */
  size_t link;     /* an earlier item that is the same file, or KIN_NOT_LINKED */
  size_t original; /* the first item of the same bytes; itself where there is none before */
  size_t next;     /* the next one of the same bytes, SIZE_MAX behind the last */
  size_t parent;   /* union-find over originals */
  kin_sketch sketch;
  kin_shingles shingles;
} kin_dup_entry;

typedef struct kin_dup_search {
  kin_context *context;
  const kin_duplicate_item *items;
  size_t n;
  const kin_vector_set *set;
  kin_duplicates_options options;
  double *inverse; /* [n] of `set` */
  kin_dup_entry *entries;
} kin_dup_search;

/* How an original is to another. */
typedef struct kin_dup_relation {
  bool related;
  bool has_more; /* the other one is a part of it */
  bool vouched;  /* known through a third one */
  kin_copy_kind kind;
  float likeness, share;
} kin_dup_relation;

/* ---- duplicates.c */
/* Run `task` for each of [0, n) on all threads, with progress between steps. */
kin_status kin_dup_run(kin_dup_search *s, const char *stage, size_t n, void (*task)(void *arg, size_t i), void *arg,
                       kin_error *err);
/* Note, in a task, why its item is to be left out. */
void kin_dup_fail(kin_dup_entry *entry, const kin_error *err);
/* Leave out the items of which that was noted, telling why. */
void kin_dup_settle(kin_dup_search *s);
double kin_dup_cosine(const kin_dup_search *s, size_t a, size_t b);
size_t kin_dup_root(kin_dup_entry *entries, size_t item);

/* ---- duplicate_files.c */
/* Look at the files: which are gone, the same file, of the same bytes. */
kin_status kin_dup_read_files(kin_dup_search *s, kin_error *err);
/* Hash those of the chosen items that aren't hashed yet; those that changed since they were looked at are left out. */
kin_status kin_dup_hash(kin_dup_search *s, const size_t *chosen, size_t n, kin_error *err);

/* ---- duplicate_pairs.c */
/* Join the originals whose pictures, or vectors, are copies. */
kin_status kin_dup_join_near(kin_dup_search *s, kin_error *err);
kin_dup_relation kin_dup_relate(const kin_dup_search *s, size_t item, size_t other);

/* ---- duplicate_groups.c */
kin_status kin_dup_group(kin_dup_search *s, kin_duplicates *out, kin_error *err);

#endif
