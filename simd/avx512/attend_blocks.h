/* attend_blocks.h: attention over the cache's tiles, for prefill and decode: what its arithmetics share.

   The rows of a call are shared out to groups, evenly but for a step. For each block of 256 entries each group that
   sees into it adds what it sees. An entry a row does not see gets weight 0, a block it does not see changes nothing,
   and blocks lie at multiples of 256: a row's result does not depend on the other rows. Cells that are not in the form
   the products take are expanded by the first group of a block: for all groups, or, when there is one group only
   (decode), tile by tile into one place that stays in L1.

   Source: online softmax in blocks as in FlashAttention (Dao et al., 2022). */
#ifndef FKV_AVX512_ATTEND_BLOCKS_H
#define FKV_AVX512_ATTEND_BLOCKS_H

#include "simd/avx512/cells.h"
#include "simd/seen.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 256, BLOCK_TILES = BLOCK / FKV_TILE, HEAD_CELLS = FKV_MAX_HEAD / 32 };

/* A block's cells that are not taken as stored. */
struct expanded {
    _Alignas(64) char k[BLOCK_TILES * HEAD_CELLS * MOST_CELL_BYTES], v[BLOCK_TILES * HEAD_CELLS * MOST_CELL_BYTES];
};

/* Of the level, in the call's scratch: rows and their sums. */
struct attend_scratch;

/* A block of entries as the groups of a call see it. */
struct block {
    const struct fkv_attend *a;
    struct attend_scratch *w;
    const struct fkv_span *seen; /* [a->n_rows] entries that a row sees */
    struct expanded *cells;
    int n_groups, step;         /* a group's first row is a multiple of the step */
    bool shared;                /* by several groups */
    bool stored_k, stored_v;    /* the level multiplies the tiles as they are */
    bool fetches;               /* who expands a cell fetches what comes after it, since the products do not */
    int n_cells;                /* of a tile */
    size_t k_bytes, v_bytes;    /* of a tile */
    struct fkv_span all;        /* entries that any row sees */
    int start;                  /* the block's first entry */
    struct fkv_span tiles;      /* of the block, that any row sees */
    const char *k, *v, *next_k; /* stored tiles; next_k: what comes after the block */
    int next;                   /* group */
    bool fresh;                 /* no group has expanded the block yet */
};

/* Rows row0 .. row0 + n - 1 of the call. */
struct group {
    int row0, n;
    struct fkv_span tiles; /* of the block, that any of them sees; a group is to ask for all tiles of a fresh block */
};

/* Entries of the block that a row sees. */
static inline struct fkv_span seen_of_block(const struct block *b, int row)
{
    return fkv_span_within(b->seen[row], b->start, BLOCK);
}

/* Tiles of the block that rows row0 .. row1 - 1 see. */
static inline struct fkv_span tiles_seen(const struct block *b, int row0, int row1)
{
    struct fkv_span seen = {0, 0};
    for (int r = row0; r < row1; r++) seen = fkv_span_of_both(seen, seen_of_block(b, r));
    return fkv_tiles_of(seen);
}

static inline void enter_block(struct block *b, int start)
{
    const struct fkv_attend *a = b->a;
    b->start = start;
    b->tiles = tiles_seen(b, 0, a->n_rows);
    b->k = (const char *)a->k + start / FKV_TILE * b->k_bytes;
    b->v = (const char *)a->v + start / FKV_TILE * b->v_bytes;
    b->next_k = start + BLOCK < a->last ? b->k + BLOCK_TILES * b->k_bytes : b->k;
    b->next = 0;
    b->fresh = true;
}

/* A call's first block, for groups of at most group_rows. What is stored is for the level to say. */
static inline struct block first_block(const struct fkv_attend *a, int group_rows, int step, struct fkv_span *seen,
                                       struct expanded *cells)
{
    struct block b = {.a = a,
                      .w = a->scratch,
                      .seen = seen,
                      .cells = cells,
                      .n_groups = (a->n_rows + group_rows - 1) / group_rows,
                      .step = step,
                      .shared = a->n_rows > group_rows,
                      .n_cells = fkv_padded_head(a->d) / 32,
                      .k_bytes = fkv_tile_bytes(a->k_type, a->d),
                      .v_bytes = fkv_tile_bytes(a->v_type, a->d),
                      .all = fkv_seen_by(a, 0, a->n_rows)};
    for (int r = 0; r < a->n_rows; r++) seen[r] = fkv_seen(a, r);
    enter_block(&b, b.all.from / BLOCK * BLOCK);
    return b;
}

static inline int group_start(const struct block *b, int i)
{
    const int n_rows = b->a->n_rows, row = (i * n_rows / b->n_groups + b->step - 1) / b->step * b->step;
    return row < n_rows ? row : n_rows;
}

/* The next group that sees something of the block or, when there is none, of the blocks after it. */
static inline bool next_group(struct block *b, struct group *g)
{
    for (;;) {
        while (b->next < b->n_groups) {
            const int row0 = group_start(b, b->next), row1 = group_start(b, ++b->next);
            *g = (struct group){row0, row1 - row0, tiles_seen(b, row0, row1)};
            if (g->tiles.to > 0) return true;
        }
        if (b->start + BLOCK >= b->all.to) return false;
        enter_block(b, b->start + BLOCK);
    }
}

/* Brings `bytes` to L2. */
static inline void fetch(const struct block *b, const char *ahead, size_t bytes)
{
    for (size_t i = 0; i < bytes && b->fetches; i += 64) _mm_prefetch(ahead + i, _MM_HINT_T1);
}

/* Bytes of a tile for each of its cells. */
static inline size_t part(size_t tile_bytes, const struct block *b) { return tile_bytes / (size_t)b->n_cells; }

/* Tile t of K as cells. */
static inline const char *k_tile(const struct cells *cells, const struct block *b, int t)
{
    const char *stored = b->k + t * b->k_bytes;
    if (b->stored_k) return stored;
    char *to = b->cells->k + (b->shared ? t * b->n_cells * cell_bytes(cells) : 0);
    for (int c = 0; c < b->n_cells && b->fresh; c++) {
        fetch(b, b->v + t * b->v_bytes + c * part(b->v_bytes, b), part(b->v_bytes, b));
        cells->expand(b->a->k_type, stored, c, b->a->d, true, to + c * cell_bytes(cells));
    }
    return to;
}

/* Channels 32 c .. 32 c + 31 of the block's V as cells, *stride bytes from tile to tile. */
static inline const char *v_channels(const struct cells *cells, const struct block *b, int c, size_t *stride)
{
    *stride = b->stored_v ? b->v_bytes : (size_t)cell_bytes(cells);
    if (b->stored_v) return b->v + c * cell_bytes(cells);
    char *to = b->cells->v + (b->shared ? c * BLOCK_TILES * cell_bytes(cells) : 0);
    for (int t = b->tiles.from; t < b->tiles.to && b->fresh; t++) {
        fetch(b, b->next_k + (c * b->tiles.to + t) * part(b->k_bytes, b), part(b->k_bytes, b));
        cells->expand(b->a->v_type, b->v + t * b->v_bytes, c, b->a->d, false, to + t * cell_bytes(cells));
    }
    return to;
}

#endif
