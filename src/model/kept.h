/* Memory that passes leave for later ones: taken and given back without a lock. */
#ifndef KIN_KEPT_H
#define KIN_KEPT_H

#include <stdatomic.h>
#include <stddef.h>

enum { KIN_KEPT = 64 }; /* more threads than that allocate anew */

typedef struct kin_kept {
  _Atomic(void *) slots[KIN_KEPT];
} kin_kept;

/* Some piece, or NULL. */
static inline void *kin_kept_take(kin_kept *kept) {
  for (size_t i = 0; i < KIN_KEPT; i++) {
    void *piece = atomic_load(&kept->slots[i]) ? atomic_exchange(&kept->slots[i], NULL) : NULL;
    if (piece) return piece;
  }
  return NULL;
}

/* Keep `piece`; what there is no room for comes back, to be freed. */
static inline void *kin_kept_give(kin_kept *kept, void *piece) {
  for (size_t i = 0; i < KIN_KEPT; i++) {
    void *none = NULL;
    if (atomic_compare_exchange_strong(&kept->slots[i], &none, piece)) return NULL;
  }
  return piece;
}

#endif
