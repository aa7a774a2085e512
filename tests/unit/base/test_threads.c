/* The worker pool: every task once, from several callers, nested, and closing while idle. */
#include "base/threads.h"
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum { TASKS = 1000 };

typedef struct count {
  atomic_uint hits[TASKS];
} count;

static void hit(void *arg, size_t task) {
  atomic_fetch_add(&((count *)arg)->hits[task], 1);
}

static kin_pool *open_pool(unsigned threads) {
  kin_pool *pool = NULL;
  kin_error err;
  test_assert_ok(kin_pool_open(threads, &pool, &err), &err);
  assert_int_equal(kin_pool_threads(pool), threads);
  return pool;
}

static void every_task_runs_once(void **state) {
  (void)state;
  for (unsigned threads = 1; threads <= 8; threads += 3) {
    kin_pool *pool = open_pool(threads);
    for (size_t n = 0; n <= TASKS; n = n * 3 + 1) {
      count c;
      memset(&c, 0, sizeof c);
      kin_parallel_for(pool, n, hit, &c);
      for (size_t i = 0; i < TASKS; i++) assert_int_equal(c.hits[i], i < n);
    }
    kin_pool_close(pool);
  }
}

typedef struct nest {
  kin_pool *pool;
  count inner;
} nest;

static void run_inner(void *arg, size_t task) {
  (void)task;
  nest *n = arg;
  kin_parallel_for(n->pool, TASKS, hit, &n->inner);
}

static void tasks_may_post_tasks(void **state) {
  (void)state;
  nest n = {.pool = open_pool(3)};
  kin_parallel_for(n.pool, 20, run_inner, &n);
  for (size_t i = 0; i < TASKS; i++) assert_int_equal(n.inner.hits[i], 20);
  kin_pool_close(n.pool);
}

typedef struct pieces {
  kin_pool *pool;
  atomic_uint left, done;
} pieces;

static bool do_piece(void *arg) {
  pieces *p = arg;
  unsigned left = atomic_load(&p->left);
  while (left && !atomic_compare_exchange_weak(&p->left, &left, left - 1)) {
  }
  if (left) atomic_fetch_add(&p->done, 1);
  return left > 0;
}

/* Pieces are done while nothing else is to be had, beside loops of the caller, and after a wake; none after the stop.
 */
static void idle_threads_do_pieces(void **state) {
  (void)state;
  for (unsigned threads = 2; threads <= 5; threads++) {
    pieces p = {.pool = open_pool(threads)};
    atomic_store(&p.left, 500);
    kin_background b = {.piece = do_piece, .arg = &p};
    kin_background_start(p.pool, &b);
    for (unsigned more = 1; more <= 3; more++) {
      count c;
      memset(&c, 0, sizeof c);
      kin_parallel_for(p.pool, TASKS, hit, &c);
      for (size_t i = 0; i < TASKS; i++) assert_int_equal(c.hits[i], 1);
      while (atomic_load(&p.done) < 500 * more) sched_yield();
      atomic_store(&p.left, 500);
      kin_background_wake(p.pool, &b);
    }
    kin_background_stop(p.pool, &b);
    const unsigned done = atomic_load(&p.done);
    atomic_store(&p.left, 500);
    kin_parallel_for(p.pool, 10, run_inner, &(nest){.pool = p.pool});
    assert_int_equal(atomic_load(&p.done), done);
    kin_pool_close(p.pool);
  }
}

static void *call_often(void *arg) {
  count c;
  memset(&c, 0, sizeof c);
  for (int i = 0; i < 200; i++) kin_parallel_for(arg, TASKS, hit, &c);
  for (size_t i = 0; i < TASKS; i++)
    if (c.hits[i] != 200) return arg;
  return NULL;
}

static void callers_may_share_a_pool(void **state) {
  (void)state;
  kin_pool *pool = open_pool(3);
  pthread_t callers[4];
  for (size_t i = 0; i < 4; i++) assert_int_equal(pthread_create(&callers[i], NULL, call_often, pool), 0);
  for (size_t i = 0; i < 4; i++) {
    void *failed;
    pthread_join(callers[i], &failed);
    assert_null(failed);
  }
  kin_pool_close(pool);
}

static void bad_sizes_are_refused(void **state) {
  (void)state;
  kin_pool *pool;
  kin_error err;
  test_assert_error(kin_pool_open(0, &pool, &err), KIN_ERR_ARGUMENT, &err, "0 threads");
  kin_pool_close(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_task_runs_once),   cmocka_unit_test(tasks_may_post_tasks),
      cmocka_unit_test(idle_threads_do_pieces), cmocka_unit_test(callers_may_share_a_pool),
      cmocka_unit_test(bad_sizes_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
