/* One pool of worker threads for a context. */
#ifndef KIN_THREADS_H
#define KIN_THREADS_H

#include "base/base.h"

typedef struct kin_pool kin_pool; /* NULL: the caller's thread alone */

/* `threads` counts the caller: a pool of 1 starts no thread. */
kin_status kin_pool_open(unsigned threads, kin_pool **out, kin_error *err);
void kin_pool_close(kin_pool *pool);
unsigned kin_pool_threads(const kin_pool *pool);

/* Call fn(arg, task) for every task in [0, n), each once, on the pool's threads and the caller's;
 * returns when all are done. Safe to call from several threads at once, and from inside a task. */
void kin_parallel_for(kin_pool *pool, size_t n, void (*fn)(void *arg, size_t task), void *arg);

/* Work that the pool's threads do a piece at a time whenever kin_parallel_for has nothing for them: so a caller may run
 * one parallel loop after another while the gaps are put to use. The members are the pool's, but for the first two. */
typedef struct kin_background {
  bool (*piece)(void *arg); /* do one piece; false: there is none for now */
  void *arg;
  bool ready;     /* there may be pieces */
  unsigned wakes; /* calls of kin_background_wake */
  unsigned users; /* threads inside a piece */
  struct kin_background *link;
} kin_background;

/* `b` must stay where it is until kin_background_stop. */
void kin_background_start(kin_pool *pool, kin_background *b);
/* There are pieces again after one said that there was none. */
void kin_background_wake(kin_pool *pool, kin_background *b);
/* Returns when no thread is inside a piece any more, nor will be. */
void kin_background_stop(kin_pool *pool, kin_background *b);

#endif
