/* Compact codes of a vector file's rows, in a file beside it: what a scan reads instead of the vectors, to learn which
 * of them it must look at (docs/store-format.md). They are derived: whatever is missing, damaged or of other vectors is
 * left out of use and can be made again, so no call fails for them, except for lack of memory. */
#ifndef KIN_CODES_H
#define KIN_CODES_H

#include "index/vectors.h"
#include "kernel/kernel.h"

typedef enum kin_code {
  KIN_CODE_NONE = 0,
  KIN_CODE_INT8 = 1, /* symmetric, one scale a row */
  KIN_CODE_BF16 = 2
} kin_code;

/* Longer vectors aren't coded: the kernels' 32-bit sums could overflow. */
#define KIN_CODE_MOST_DIM 32768

typedef struct kin_codes kin_codes;

/* What is known of KIN_SCAN_ROWS coded rows; it is also how the file has it. */
typedef struct kin_code_tail {
  float scales[KIN_SCAN_ROWS]; /* row r is about scales[r] * (its numbers) ... */
  float errors[KIN_SCAN_ROWS]; /* ... and not further from that than errors[r] */
  float length;                /* no row, as vector or as code, is longer; infinite: these codes are of no use */
  uint8_t reserved[44];
  uint64_t binding;  /* kin_vectors_read_many's digest of the rows: tells them from any others */
  uint64_t checksum; /* kin_code_checksum */
} kin_code_tail;
_Static_assert(sizeof(kin_code_tail) == 576, "as docs/store-format.md says");

/* Numbers of 4 bytes that a row's code takes. */
size_t kin_code_units(kin_code kind, size_t dim);
/* Bytes of a group's codes: [units][KIN_SCAN_ROWS][4], as kin_scan_kernels has them. */
size_t kin_code_bytes(kin_code kind, size_t dim);
/* Of group number `group` of a file: its codes, then its tail up to the checksum. */
uint64_t kin_code_checksum(const uint8_t *codes, size_t code_bytes, const kin_code_tail *tail, uint64_t group);
/* Code vectors[KIN_SCAN_ROWS][dim] as group number `group` of a file. */
void kin_codes_encode(kin_code kind, const float *vectors, size_t dim, uint64_t group, uint64_t binding, uint8_t *codes,
                      kin_code_tail *tail);

/* The codes beside the vector file at `vectors_path`. Only KIN_ERR_MEMORY. */
kin_status kin_codes_open(const char *vectors_path, bool writable, kin_code kind, const kin_vectors_key *key,
                          kin_codes **out, kin_error *err);
void kin_codes_close(kin_codes *codes);
/* Take those of the first `rows` rows of `file` into use: the committed ones. What lies beyond is cut off by a writer.
 */
void kin_codes_refresh(kin_codes *codes, const kin_vectors *file, uint64_t rows);
/* A writer: code the whole groups of the first `rows`, committed, rows, as far as it can; and take them into use. */
void kin_codes_extend(kin_codes *codes, kin_context *context, const kin_vectors *file, uint64_t rows);
/* Give up what there is: it isn't of these vectors. A writer can then make them anew with kin_codes_extend. */
void kin_codes_distrust(kin_codes *codes);

kin_code kin_codes_kind(const kin_codes *codes);
const char *kin_codes_path(const kin_codes *codes);
uint64_t kin_codes_groups(const kin_codes *codes); /* in use */
uint64_t kin_codes_bytes(const kin_codes *codes);  /* of the file, up to them */
/* Of a group in use; both aligned to 64 bytes. */
const uint8_t *kin_codes_at(const kin_codes *codes, uint64_t group);
const kin_code_tail *kin_codes_tail(const kin_codes *codes, uint64_t group);
/* Whether the group's checksum is right, on its first use; the answer is remembered. Safe for groups of their own in
 * several threads. */
bool kin_codes_usable(kin_codes *codes, uint64_t group);

/* The int8 code of a vector, out[dim], within [-127, 127]; the vector is about so many times that. */
float kin_code_int8(const float *vector, size_t dim, int8_t *out);
/* The bfloat16 code of `x`, and in *number what it stands for: to nearest; what the instructions take for zero is coded
 * as zero. */
uint16_t kin_code_bf16(float x, float *number);

/* Take the files away, with the vector file. */
void kin_codes_remove(const char *vectors_path);
/* Whether a code file is called so behind the vector file's name. */
bool kin_codes_is_ending(const char *ending);

#endif
