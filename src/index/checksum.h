/* XXH64, the checksum of the vector file: fast enough to check every record on its first scan. */
#ifndef KIN_CHECKSUM_H
#define KIN_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* XXH64 of `size` bytes with `seed`, as published at github.com/Cyan4973/xxHash (doc/xxhash_spec.md). */
uint64_t kin_checksum(const void *data, size_t size, uint64_t seed);

#endif
