/* What tests of every layer share: temporary folders and files. Failures end the test. */
#ifndef KIN_TEST_SUPPORT_H
#define KIN_TEST_SUPPORT_H

#include "base/base.h"

/* cmocka.h needs what stands before it, in this order. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

/* A new empty folder, without symbolic links in its path; release with test_remove_tree and free. */
char *test_temporary_folder(void);
void test_remove_tree(const char *path);
void test_write_file(const char *folder, const char *name, const void *data, size_t size);
/* KINDRED_SOURCE/relative: a committed file. Release with free. */
char *test_source_path(const char *relative);
/* A material's folder in the cache (tools/materials.py), or NULL where it hasn't been fetched. Release with free. */
char *test_material(const char *name);
/* The lines of a committed text file, at most `most`, without their ends; returns how many. Release each, and nothing
 * else, with free. */
size_t test_read_lines(const char *relative, char **lines, size_t most);

/* Assert that `status` is `expected` and that the message holds `part`. */
void test_assert_error(kin_status status, kin_status expected, const kin_error *err, const char *part);
/* A sanitizer costs 5 to 20 times the time, emulated instructions more: full-size models are left out there, where small
 * ones run the same code. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#else
#define TEST_SANITIZED 0
#endif
#ifdef KIN_EMULATED
#define TEST_SMALL 1
#else
#define TEST_SMALL TEST_SANITIZED
#endif

/* Assert KIN_OK, printing the message otherwise. */
void test_assert_ok(kin_status status, const kin_error *err);

/* A context; release with kin_context_close. */
kin_context *test_open_context(unsigned threads, kin_isa isa);
/* The same, or NULL where it can't be opened: this CPU may lack `isa`. */
kin_context *test_open_context_if_usable(unsigned threads, kin_isa isa);

/* The next of a sequence in [-1, 1) that is the same everywhere; *state is its seed at first. */
float test_random(uint64_t *state);
/* n of them; release with free. */
float *test_random_floats(size_t n, uint64_t seed);

/* Resident bytes of this process that aren't file pages; no measure under a sanitizer, whose own tables grow. */
long test_resident_bytes(void);

#endif
