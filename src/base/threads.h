/* One pool of worker threads for a context. */
#ifndef KIN_THREADS_H
#define KIN_THREADS_H

#include "base/base.h"

typedef struct kin_pool kin_pool;

/* `threads` counts the caller: a pool of 1 starts no thread. */
kin_status kin_pool_open(unsigned threads, kin_pool **out, kin_error *err);
void kin_pool_close(kin_pool *pool);
unsigned kin_pool_threads(const kin_pool *pool);

/* Call fn(arg, task) for every task in [0, n), each once, on the pool's threads and the caller's;
 * returns when all are done. Safe to call from several threads at once, and from inside a task. */
void kin_parallel_for(kin_pool *pool, size_t n, void (*fn)(void *arg, size_t task), void *arg);

#endif
