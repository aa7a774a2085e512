/* Lists of the nearest so far of each vector, which get better as groups of vectors are compared. */
#ifndef KIN_NEAR_LISTS_H
#define KIN_NEAR_LISTS_H

#include "analyse/nearest_side.h"

typedef struct kin_near_lists kin_near_lists;

/* Lists of k for each row of `side`, which must be of floats and outlive them, all empty; for groups of at most `most`.
 */
kin_status kin_near_lists_open(kin_context *context, const kin_nearest_side *side, size_t k, size_t most,
                               kin_near_lists **out, kin_error *err);
void kin_near_lists_close(kin_near_lists *lists);

/* Compare the members of each of the groups [first, end) with one another. `members` writes group `group`, at most
 * as many rows as the lists were opened for, none twice, and returns how many; it is called by several threads. Groups
 * of one call may come in any order: what the lists hold in the end doesn't depend on it, nor on the threads or the
 * instruction set. */
kin_status kin_near_lists_join(kin_near_lists *lists, size_t first, size_t end,
                               size_t (*members)(void *user, size_t group, uint32_t *out), void *user, kin_error *err);

/* The rows in row i's list, nearest first, into out[k]; returns how many. */
size_t kin_near_lists_get(const kin_near_lists *lists, size_t i, uint32_t *out);
/* Whether row i's list has got a row since the last kin_near_lists_mark. */
bool kin_near_lists_changed(const kin_near_lists *lists, size_t i);
void kin_near_lists_mark(kin_near_lists *lists);

#endif
