/* The worker pool: callers post a job, workers and the caller take its tasks by an atomic counter; workers without a
 * task do pieces of background work. */
#include "base/threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct job {
  void (*fn)(void *arg, size_t task);
  void *arg;
  size_t n;
  atomic_size_t next; /* task to take */
  atomic_size_t done; /* tasks finished */
  unsigned users;     /* workers inside this job; guarded by the pool's lock */
  struct job *link;
} job;

struct kin_pool {
  pthread_mutex_t lock;
  pthread_cond_t posted;   /* a job came, or the pool closes */
  pthread_cond_t finished; /* a worker left a job or a piece */
  job *jobs;               /* with tasks left to take */
  kin_background *background;
  atomic_uint generation; /* changes with every post: what idle workers spin on */
  bool closing;
  unsigned workers;
  pthread_t *threads;
};

static void run_tasks(job *j) {
  size_t task;
  while ((task = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed)) < j->n) {
    j->fn(j->arg, task);
    atomic_fetch_add_explicit(&j->done, 1, memory_order_release);
  }
}

static job *first_with_tasks(kin_pool *pool) {
  for (job *j = pool->jobs; j; j = j->link)
    if (atomic_load_explicit(&j->next, memory_order_relaxed) < j->n) return j;
  return NULL;
}

static kin_background *first_ready(kin_pool *pool) {
  for (kin_background *b = pool->background; b; b = b->link)
    if (b->ready) return b;
  return NULL;
}

/* With the lock held, which is given up meanwhile. */
static void do_piece(kin_pool *pool, kin_background *b) {
  const unsigned wakes = b->wakes;
  b->users++;
  pthread_mutex_unlock(&pool->lock);
  const bool more = b->piece(b->arg);
  pthread_mutex_lock(&pool->lock);
  if (!more && b->wakes == wakes) b->ready = false;
  if (--b->users == 0) pthread_cond_broadcast(&pool->finished);
}

static void do_job(kin_pool *pool, job *j) {
  j->users++;
  pthread_mutex_unlock(&pool->lock);
  run_tasks(j);
  pthread_mutex_lock(&pool->lock);
  if (--j->users == 0) pthread_cond_broadcast(&pool->finished);
}

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

/* An encoder posts a job every few hundred microseconds; waking a sleeping thread costs about 50.
 * So a worker looks for that long before it sleeps. */
static void spin_for_post(kin_pool *pool, unsigned seen) {
  for (unsigned i = 0; i < 4000; i++) {
    if (atomic_load_explicit(&pool->generation, memory_order_acquire) != seen) return;
    relax();
  }
}

static void *worker(void *arg) {
  kin_pool *pool = arg;
  pthread_mutex_lock(&pool->lock);
  while (!pool->closing) {
    job *j = first_with_tasks(pool);
    kin_background *b = j ? NULL : first_ready(pool);
    if (j) {
      do_job(pool, j);
    } else if (b) {
      do_piece(pool, b);
    } else {
      unsigned seen = atomic_load_explicit(&pool->generation, memory_order_relaxed);
      pthread_mutex_unlock(&pool->lock);
      spin_for_post(pool, seen);
      pthread_mutex_lock(&pool->lock);
      if (!pool->closing && atomic_load_explicit(&pool->generation, memory_order_relaxed) == seen)
        pthread_cond_wait(&pool->posted, &pool->lock);
    }
  }
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

/* Call the idle workers, with the lock held. */
static void announce(kin_pool *pool) {
  atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
  pthread_cond_broadcast(&pool->posted);
}

void kin_parallel_for(kin_pool *pool, size_t n, void (*fn)(void *arg, size_t task), void *arg) {
  if (n <= 1 || kin_pool_threads(pool) == 1) {
    for (size_t i = 0; i < n; i++) fn(arg, i);
    return;
  }
  job j = {.fn = fn, .arg = arg, .n = n};
  pthread_mutex_lock(&pool->lock);
  j.link = pool->jobs;
  pool->jobs = &j;
  announce(pool);
  pthread_mutex_unlock(&pool->lock);

  run_tasks(&j);
  for (unsigned i = 0; i < 4000 && atomic_load_explicit(&j.done, memory_order_acquire) < n; i++) relax();

  pthread_mutex_lock(&pool->lock);
  for (job **at = &pool->jobs; *at; at = &(*at)->link)
    if (*at == &j) {
      *at = j.link;
      break;
    }
  while (j.users > 0) pthread_cond_wait(&pool->finished, &pool->lock);
  pthread_mutex_unlock(&pool->lock);
}

void kin_background_start(kin_pool *pool, kin_background *b) {
  pthread_mutex_lock(&pool->lock);
  *b = (kin_background){.piece = b->piece, .arg = b->arg, .ready = true, .link = pool->background};
  pool->background = b;
  announce(pool);
  pthread_mutex_unlock(&pool->lock);
}

void kin_background_wake(kin_pool *pool, kin_background *b) {
  pthread_mutex_lock(&pool->lock);
  b->ready = true;
  b->wakes++;
  announce(pool);
  pthread_mutex_unlock(&pool->lock);
}

void kin_background_stop(kin_pool *pool, kin_background *b) {
  pthread_mutex_lock(&pool->lock);
  for (kin_background **at = &pool->background; *at; at = &(*at)->link)
    if (*at == b) {
      *at = b->link;
      break;
    }
  while (b->users > 0) pthread_cond_wait(&pool->finished, &pool->lock);
  pthread_mutex_unlock(&pool->lock);
}

kin_status kin_pool_open(unsigned threads, kin_pool **out, kin_error *err) {
  *out = NULL;
  if (threads < 1 || threads > 4096) return kin_fail(err, KIN_ERR_ARGUMENT, "%u threads: must be 1 to 4096", threads);
  kin_pool *pool = calloc(1, sizeof *pool);
  if (pool) pool->threads = kin_array(threads, sizeof *pool->threads);
  if (!pool || !pool->threads) {
    free(pool);
    return kin_fail(err, KIN_ERR_MEMORY, "no memory for a thread pool");
  }
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->posted, NULL);
  pthread_cond_init(&pool->finished, NULL);
  for (; pool->workers < threads - 1; pool->workers++) {
    int e = pthread_create(&pool->threads[pool->workers], NULL, worker, pool);
    if (e) {
      kin_fail_errno(err, e, "cannot start thread %u of %u", pool->workers + 1, threads);
      kin_pool_close(pool);
      return KIN_ERR_IO;
    }
  }
  *out = pool;
  return KIN_OK;
}

void kin_pool_close(kin_pool *pool) {
  if (!pool) return;
  pthread_mutex_lock(&pool->lock);
  pool->closing = true;
  announce(pool);
  pthread_mutex_unlock(&pool->lock);
  for (unsigned i = 0; i < pool->workers; i++) pthread_join(pool->threads[i], NULL);
  pthread_cond_destroy(&pool->posted);
  pthread_cond_destroy(&pool->finished);
  pthread_mutex_destroy(&pool->lock);
  free(pool->threads);
  free(pool);
}

unsigned kin_pool_threads(const kin_pool *pool) {
  return pool ? pool->workers + 1 : 1;
}
