/* table.h: a hash table from 64-bit keys to 64-bit values, filled once and then read.

   Open addressing, at most half full, with bounded probing: neither a search nor an insertion reads more than
   FKV_TABLE_PROBES slots, whatever keys a hostile file holds. An insertion that finds no place within these fails; the
   caller then fills a new table under another seed, and refuses the file when all FKV_TABLE_SEEDS fail. With honest
   keys the longest run of a half full table of 2^20 slots is about 70, so even the first failure is rare. */
#ifndef FKV_TOKENIZER_TABLE_H
#define FKV_TOKENIZER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FKV_TABLE_PROBES = 128, FKV_TABLE_SEEDS = 8 };
#define FKV_TABLE_NONE UINT64_MAX /* no value may be this */

struct fkv_table {
    struct fkv_table_slot {
        uint64_t key, value;
    } * slots; /* [mask + 1] */
    uint64_t mask, seed;
};

/* A bijection of 64 bits in which every input bit changes about half of the output bits (the finaliser of
   splitmix64). */
static inline uint64_t fkv_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* An empty table for at most n keys; what it held before is freed. false: no memory. */
bool fkv_table_reset(struct fkv_table *table, size_t n, uint64_t seed);
void fkv_table_free(struct fkv_table *table);

/* Inserts a key unless it is there. Returns where its value stands: the new one or the earlier one. NULL: no place. */
uint64_t *fkv_table_put(struct fkv_table *table, uint64_t key, uint64_t value);
/* FKV_TABLE_NONE when the key is not there. */
uint64_t fkv_table_get(const struct fkv_table *table, uint64_t key);

#endif
