/* tiles.h: cache tiles for the bench. */
#ifndef FKV_BENCH_TILES_H
#define FKV_BENCH_TILES_H

#include "bench.h"

extern const char *const bench_elem_names[]; /* by enum fkv_kv_elem */

static inline size_t bench_tiles_bytes(int type, int d, int n)
{
    return (size_t)((n + FKV_TILE - 1) / FKV_TILE) * fkv_tile_bytes(type, d);
}

/* One head's n entries x[n][d] as the level packs them. */
void *bench_tiles(const struct fkv_kernels *level, const float *x, int type, bool is_v, int d, int n);

#endif
