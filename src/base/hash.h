/* hash.h: FNV-1a, which tells apart what nobody means to confuse. */
#ifndef FKV_BASE_HASH_H
#define FKV_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* To begin with. */
#define FKV_HASH UINT64_C(0xcbf29ce484222325)

/* Goes on from `hash`. */
static inline uint64_t fkv_hash(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i++) hash = (hash ^ b[i]) * UINT64_C(0x100000001b3);
    return hash;
}

#endif
