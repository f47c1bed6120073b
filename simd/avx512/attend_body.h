/* attend_body.h: softmax(q K^T) V over the cache's tiles, for prefill and decode, written once for two arithmetics.

   The rows of a call are shared out evenly to groups of at most 12. For each block of 256 entries and each group that sees into it:
       logits    QK, tiles of 32 entries, into s[R][256] in L1
       weights   per row: the largest logit, 2^(logit - max) in place of the logit, sums kept per lane until the end
       values    PV, 32 channels at a time over the block, starting from the output times 2^(old max - new max)
   An entry a row does not see gets weight 0, a block it does not see changes nothing, and blocks lie at multiples of 256: a row's
   result does not depend on the other rows.
   Cells that are not in the form tile.h wants are expanded by the first group of a block: for all groups, or, when there is one
   group only (decode), tile by tile into one place that stays in L1.
   While QK reads a tile of K the same tile of V is fetched to L2, and PV fetches the next block's K: without it arithmetic and memory
   take turns and decode runs at half the speed.

   Source: online softmax in blocks as in FlashAttention (Dao et al., 2022).

   Included by a level's attend.c, which has defined multiply_add(), STEP_VALUES and:
       tile_function *const *multiply_stored(int type, bool shared)  the functions (tile.h) for stored tiles, or NULL: they need expanding
       void expand_cell(type, tile, c, d, is_k, cell)                cell c of a tile
       void pack_query(const float *q, int d, float scale, uint32_t *row)   q scale, zeros up to the padded head
       void store_weights(float *s, int j, __m512 a, __m512 b)       weights j .. j + 31 as words of s, which they overwrite from its start
       __m512 weight(__m512 x)                                       2^x, x <= 0 */
#ifndef FKV_AVX512_ATTEND_BODY_H
#define FKV_AVX512_ATTEND_BODY_H

#include "simd/avx512/exponential.h"
#include "simd/avx512/lanes.h"
#include "simd/avx512/tile.h"
#include "simd/simd.h"

#include <math.h>
#include <stdbool.h>

enum { BLOCK = 256, BLOCK_TILES = BLOCK / FKV_TILE, HEAD_CELLS = FKV_MAX_HEAD / 32 };

struct attend_scratch {
    _Alignas(64) uint32_t q[FKV_ATTEND_ROWS][ROW_WORDS];   /* words of the queries */
    _Alignas(64) float s[MOST_ROWS][ROW_WORDS];            /* logits, then weights, of one group and block */
    _Alignas(64) float out[FKV_ATTEND_ROWS][FKV_MAX_HEAD];
    _Alignas(64) float sum[FKV_ATTEND_ROWS][16];           /* by lane */
    float max[FKV_ATTEND_ROWS];
    int end[FKV_ATTEND_ROWS];                              /* a row sees the entries below it */
    _Alignas(64) char k_cells[BLOCK_TILES * HEAD_CELLS * CELL_BYTES], v_cells[BLOCK_TILES * HEAD_CELLS * CELL_BYTES];
};
_Static_assert(sizeof(struct attend_scratch) <= FKV_ATTEND_SCRATCH, "the scratch of an attend call is too small");

/* A block of entries as the groups of a call see it. */
struct block {
    const struct fkv_attend *a;
    struct attend_scratch *w;
    int start, n_tiles;          /* tiles that any row sees */
    const char *k, *v, *next_k;  /* stored tiles; next_k: what comes after the block */
    size_t k_bytes, v_bytes;     /* of a tile */
    tile_function *const *stored_k, *const *stored_v; /* multiply_stored() */
    int n_cells;                 /* of a tile */
    bool shared;                 /* by several groups */
    bool fresh;                  /* no group has expanded it yet */
};

/* Rows row0 .. row0 + n - 1 of the call. */
struct group {
    int row0, n, n_tiles;
};

static size_t step_bytes(size_t tile_bytes, int n_cells) { return tile_bytes / (size_t)(n_cells * CELL_STEPS); }

/* Tile t of K as cells. */
static const char *k_tile(const struct block *b, int t)
{
    const char *stored = b->k + t * b->k_bytes;
    if (b->stored_k) return stored;
    char *cells = b->w->k_cells + (b->shared ? t * b->n_cells * CELL_BYTES : 0);
    if (b->fresh)
        for (int c = 0; c < b->n_cells; c++) expand_cell(b->a->k_type, stored, c, b->a->d, true, cells + c * CELL_BYTES);
    return cells;
}

/* Channels 32 c .. 32 c + 31 of the block's V as cells, *stride bytes from tile to tile. */
static const char *v_channels(const struct block *b, int c, size_t *stride)
{
    if (b->stored_v) {
        *stride = b->v_bytes;
        return b->v + c * CELL_BYTES;
    }
    char *cells = b->w->v_cells + (b->shared ? c * BLOCK_TILES * CELL_BYTES : 0);
    if (b->fresh)
        for (int t = 0; t < b->n_tiles; t++) expand_cell(b->a->v_type, b->v + t * b->v_bytes, c, b->a->d, false, cells + t * CELL_BYTES);
    *stride = CELL_BYTES;
    return cells;
}

static void make_logits(const struct block *b, const struct group *g)
{
    struct tile_product p = {.cell_stride = CELL_BYTES, .n_cells = b->n_cells, .rows = b->w->q[g->row0], .out_stride = ROW_WORDS,
                             .ahead_step = step_bytes(b->v_bytes, b->n_cells)};
    tile_function *const multiply = (b->stored_k ? b->stored_k : multiply_cells)[g->n];
    for (int t = 0; t < b->n_tiles; t++) {
        p.cells = k_tile(b, t);
        p.out = b->w->s[0] + 32 * t;
        p.ahead = b->v + t * b->v_bytes;
        if (t < g->n_tiles) multiply(&p);
    }
}

static void add_values(const struct block *b, const struct group *g, const float *correction)
{
    struct tile_product p = {.n_cells = g->n_tiles, .rows = (const uint32_t *)b->w->s[0], .correction = correction, .out_stride = FKV_MAX_HEAD,
                             .ahead_step = step_bytes(b->k_bytes, b->n_cells)};
    tile_function *const multiply = (b->stored_v ? b->stored_v : multiply_cells)[g->n];
    for (int c = 0; c < b->n_cells; c++) {
        p.cells = v_channels(b, c, &p.cell_stride);
        p.out = b->w->out[g->row0] + 32 * c;
        p.ahead = b->next_k + c * g->n_tiles * CELL_STEPS * p.ahead_step;
        multiply(&p);
    }
}

/* The largest of s[n] and floor. */
static float largest(const float *s, int n, float floor)
{
    __m512 top = _mm512_set1_ps(floor);
    for (int j = 0; j < n; j += 16) {
        const __mmask16 m = lanes_below(n - j);
        top = _mm512_mask_max_ps(top, m, top, _mm512_load_ps(s + j));
    }
    return _mm512_reduce_max_ps(top);
}

/* s[0 .. n_seen): logits become weights 2^(s - max), those up to the end of the tiles become 0; returns sum + the weights. */
static __m512 make_weights(float *s, int n_seen, int n_tiles, __m512 max, __m512 sum)
{
    __m512 sum1 = _mm512_setzero_ps();
    int j = 0;
    for (; j + 32 <= n_seen; j += 32) {
        const __m512 a = weight(_mm512_sub_ps(_mm512_load_ps(s + j), max)), b = weight(_mm512_sub_ps(_mm512_load_ps(s + j + 16), max));
        sum = _mm512_add_ps(sum, a);
        sum1 = _mm512_add_ps(sum1, b);
        store_weights(s, j, a, b);
    }
    for (; j < 32 * n_tiles; j += 32) {
        const __m512 a = _mm512_maskz_mov_ps(lanes_below(n_seen - j), weight(_mm512_sub_ps(_mm512_load_ps(s + j), max)));
        const __m512 b = _mm512_maskz_mov_ps(lanes_below(n_seen - j - 16), weight(_mm512_sub_ps(_mm512_load_ps(s + j + 16), max)));
        sum = _mm512_add_ps(sum, a);
        sum1 = _mm512_add_ps(sum1, b);
        store_weights(s, j, a, b);
    }
    return _mm512_add_ps(sum, sum1);
}

/* Entries of the block that a row sees. */
static int count_seen(const struct block *b, int row)
{
    const int n = b->w->end[row] - b->start;
    return n < 0 ? 0 : n < BLOCK ? n : BLOCK;
}

/* Softmax of a group's logits; correction[16]: 2^(old max - new max), what came before shrinks by it. */
static void make_group_weights(const struct block *b, const struct group *g, float *correction)
{
    struct attend_scratch *w = b->w;
    _Alignas(64) float shift[16] = {0};
    for (int r = 0; r < g->n; r++) {
        float *max = &w->max[g->row0 + r];
        const float old = *max;
        *max = largest(w->s[r], count_seen(b, g->row0 + r), old);
        shift[r] = old - *max;
    }
    _mm512_store_ps(correction, exp2_precise(_mm512_load_ps(shift)));
    for (int r = 0; r < g->n; r++) {
        const int row = g->row0 + r;
        const __m512 before = _mm512_mul_ps(_mm512_load_ps(w->sum[row]), _mm512_set1_ps(correction[r]));
        _mm512_store_ps(w->sum[row], make_weights(w->s[r], count_seen(b, row), g->n_tiles, _mm512_set1_ps(w->max[row]), before));
    }
}

/* Tiles of the block at `start` that rows row0 .. row1 - 1 see. */
static int count_tiles(const struct attend_scratch *w, int row0, int row1, int start)
{
    int end = start;
    for (int r = row0; r < row1; r++) end = w->end[r] > end ? w->end[r] : end;
    return end - start < BLOCK ? (end - start + FKV_TILE - 1) / FKV_TILE : BLOCK_TILES;
}

static void attend_block(struct block *b, int n_groups)
{
    for (int i = 0; i < n_groups; i++) {
        const int row0 = i * b->a->n_rows / n_groups, row1 = (i + 1) * b->a->n_rows / n_groups;
        const struct group g = {row0, row1 - row0, count_tiles(b->w, row0, row1, b->start)};
        _Alignas(64) float correction[16];
        if (g.n_tiles == 0) continue;
        make_logits(b, &g);
        make_group_weights(b, &g, correction);
        add_values(b, &g, correction);
        b->fresh = false;
    }
}

static void begin_rows(const struct fkv_attend *a, struct attend_scratch *w)
{
    for (int r = 0; r < a->n_rows; r++) {
        pack_query(a->q + r * a->ldq, a->d, a->scale * 1.44269504f, w->q[r]);
        memset(w->out[r], 0, (size_t)fkv_padded_head(a->d) * sizeof(float));
        memset(w->sum[r], 0, sizeof w->sum[r]);
        w->max[r] = -1e30f; /* finite, so that differences of two are numbers */
        w->end[r] = a->n_keys[r] < a->last ? a->n_keys[r] : a->last;
    }
}

static void finish_rows(const struct fkv_attend *a, const struct attend_scratch *w)
{
    for (int r = 0; r < a->n_rows; r++) {
        a->max[r] = w->end[r] > a->first ? w->max[r] : -INFINITY;
        a->sum[r] = _mm512_reduce_add_ps(_mm512_load_ps(w->sum[r]));
        memcpy(a->out + r * a->ldo, w->out[r], (size_t)a->d * sizeof(float));
    }
}

static void attend(const struct fkv_attend *a)
{
    struct attend_scratch *w = a->scratch;
    const int n_groups = (a->n_rows + MOST_ROWS - 1) / MOST_ROWS;
    const bool shared = n_groups > 1;
    struct block b = {.a = a, .w = w, .n_cells = fkv_padded_head(a->d) / 32, .shared = shared,
                      .k_bytes = fkv_tile_bytes(a->k_type, a->d), .v_bytes = fkv_tile_bytes(a->v_type, a->d),
                      .stored_k = multiply_stored(a->k_type, shared), .stored_v = multiply_stored(a->v_type, shared)};
    begin_rows(a, w);
    for (b.start = a->first; b.start < a->last; b.start += BLOCK) {
        b.n_tiles = count_tiles(w, 0, a->n_rows, b.start);
        b.k = (const char *)a->k + b.start / FKV_TILE * b.k_bytes;
        b.v = (const char *)a->v + b.start / FKV_TILE * b.v_bytes;
        b.next_k = b.start + BLOCK < a->last ? b.k + BLOCK_TILES * b.k_bytes : b.k;
        b.fresh = true;
        if (b.n_tiles == 0) break; /* no row sees further either */
        attend_block(&b, n_groups);
    }
    finish_rows(a, w);
}

#endif
