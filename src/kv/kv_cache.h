/* kv_cache.h: what a session has kept: per layer and KV head, a list of entries.

   An entry is (absolute position, K already rotated, V). Counts differ per layer and head; positions ascend within a
   list. K and V lie in the back end's stores; the positions lie here. The next position of a timeline is the number of
   tokens seen, never a count of entries. */
#ifndef FKV_KV_KV_CACHE_H
#define FKV_KV_KV_CACHE_H

#include "backend/backend.h"

struct fkv_kv_cache;

/* Room for `capacity` entries in every head; memory is taken as entries come. b: [n_layer], of each layer. Types: enum
   fkv_kv_elem. */
fkv_status fkv_kv_cache_create(struct fkv_kv_cache **cache, struct fkv_backend *const *b, int n_layer, int heads, int d,
                               int k_type, int v_type, int capacity);
void fkv_kv_cache_destroy(struct fkv_kv_cache *cache);

int fkv_kv_cache_count(const struct fkv_kv_cache *cache, int layer, int head);
/* [count], ascending. */
const int32_t *fkv_kv_cache_positions(const struct fkv_kv_cache *cache, int layer, int head);
struct fkv_kv_store *fkv_kv_cache_store(const struct fkv_kv_cache *cache, int layer);
uint64_t fkv_kv_cache_bytes(const struct fkv_kv_cache *cache);
/* Most entries of any head. */
int fkv_kv_cache_longest(const struct fkv_kv_cache *cache);

/* In a region: appends one token's K and V, heads side by side, to every head of a layer. */
void fkv_kv_cache_append(struct fkv_run *r, struct fkv_kv_cache *cache, int layer, const float *k, const float *v,
                         int32_t pos);
/* After n entries of every head of a layer came from another store (`retain`): their positions, pos[rows[head][i]], or
   pos[i] when rows is NULL. */
void fkv_kv_cache_note(struct fkv_kv_cache *cache, int layer, const int32_t *rows, int n, const int32_t *pos);
/* Drops all entries at positions >= pos. */
void fkv_kv_cache_cut(struct fkv_kv_cache *cache, int32_t pos);

#endif
