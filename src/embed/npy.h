/* Reading a .npy file of vectors row by row. */
#ifndef KIN_NPY_H
#define KIN_NPY_H

#include "base/base.h"

typedef struct kin_npy kin_npy;

/* Errors of kin_npy_read. The file stays mapped. */
kin_status kin_npy_open(const char *path, kin_npy **out, kin_error *err);
void kin_npy_close(kin_npy *npy);
size_t kin_npy_rows(const kin_npy *npy);
size_t kin_npy_dim(const kin_npy *npy);
/* Vector `row` into out[dim]. */
void kin_npy_get(const kin_npy *npy, size_t row, float *out);

#endif
