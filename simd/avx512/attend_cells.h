/* attend_cells.h: attention by rows and cells (tile.h), in two arithmetics. For a group and block:
       logits    QK, tiles of 32 entries, into s[MOST_ROWS][256] in L1
       weights   per row: the largest logit, 2^(logit - max) in place of the logit, sums kept per lane until the end
       values    PV, 32 channels at a time over the block, starting from the output times 2^(old max - new max)
   While QK reads a tile of K the same tile of V is fetched to L2, and PV fetches the next block's K: without it
   arithmetic and memory take turns and decode runs at half the speed. */
#ifndef FKV_AVX512_ATTEND_CELLS_H
#define FKV_AVX512_ATTEND_CELLS_H

#include "simd/avx512/attend_blocks.h"
#include "simd/avx512/exponential.h"
#include "simd/avx512/lanes.h"
#include "simd/avx512/tile.h"
#include "simd/wide.h"

enum {
    CORRECTIONS = (MOST_ROWS + 15) & ~15,
    OUT_CELLS = FKV_PLACE / 32,
    WIDE_ROWS = FKV_ATTEND_ROWS / 2, /* from a row's first part to its second: words of queries, channels of output */
};

struct attend_scratch {
    _Alignas(64) uint32_t q[FKV_ATTEND_ROWS][ROW_WORDS]; /* words of the queries */
    _Alignas(64) float s[MOST_ROWS][ROW_WORDS];          /* logits, then weights, of one group and block */
    _Alignas(64) float out[FKV_ATTEND_ROWS][ROW_WORDS];
    _Alignas(64) float sum[FKV_ATTEND_ROWS][16]; /* by lane */
    float max[FKV_ATTEND_ROWS];
    struct fkv_span seen[FKV_ATTEND_ROWS];
    struct expanded cells;
};
_Static_assert(sizeof(struct attend_scratch) <= FKV_ATTEND_SCRATCH, "the scratch of an attend call is too small");

/* The largest of floor and the entries of s that are seen. */
static inline float largest(const float *s, struct fkv_span seen, float floor)
{
    __m512 top = _mm512_set1_ps(floor), top1 = top;
    int j = seen.from & -16;
    if (seen.from % 32) { /* as far as a multiple of 32 */
        for (int end = (seen.from | 31) + 1; j < end; j += 16)
            top = _mm512_mask_max_ps(top, lanes_seen(seen, j), top, _mm512_load_ps(s + j));
    }
    for (; j + 32 <= seen.to; j += 32) {
        top = _mm512_max_ps(top, _mm512_load_ps(s + j));
        top1 = _mm512_max_ps(top1, _mm512_load_ps(s + j + 16));
    }
    for (; j < seen.to; j += 16) top = _mm512_mask_max_ps(top, lanes_below(seen.to - j), top, _mm512_load_ps(s + j));
    return _mm512_reduce_max_ps(_mm512_max_ps(top, top1));
}

/* Logits j .. j + 31 become weights 2^(s - max), 0 where they are not seen, and are added to the sums. */
INLINE void make_32(const struct cells *cells, float *s, int j, __mmask16 low, __mmask16 high, __m512 max,
                    __m512 sum[2])
{
    const __m512 a = cells->weight(_mm512_sub_ps(_mm512_load_ps(s + j), max)),
                 b = cells->weight(_mm512_sub_ps(_mm512_load_ps(s + j + 16), max)),
                 seen_a = _mm512_maskz_mov_ps(low, a), seen_b = _mm512_maskz_mov_ps(high, b);
    sum[0] = _mm512_add_ps(sum[0], seen_a);
    sum[1] = _mm512_add_ps(sum[1], seen_b);
    cells->store_weights(s, j, seen_a, seen_b);
}

/* The entries of these tiles; returns before + the weights. */
INLINE __m512 make_weights(const struct cells *cells, float *s, struct fkv_span seen, struct fkv_span tiles, __m512 max,
                           __m512 before)
{
    __m512 sum[2] = {before, _mm512_setzero_ps()};
    int j = 32 * tiles.from;
    for (; j < seen.from; j += 32) make_32(cells, s, j, lanes_seen(seen, j), lanes_seen(seen, j + 16), max, sum);
    for (; j + 32 <= seen.to; j += 32) make_32(cells, s, j, 0xffff, 0xffff, max, sum);
    for (; j < 32 * tiles.to; j += 32)
        make_32(cells, s, j, lanes_below(seen.to - j), lanes_below(seen.to - j - 16), max, sum);
    return _mm512_add_ps(sum[0], sum[1]);
}

/* Softmax of a group's logits; correction[g->n]: 2^(old max - new max), what came before shrinks by it. */
INLINE void make_group_weights(const struct cells *cells, const struct block *b, const struct group *g,
                               float *correction)
{
    struct attend_scratch *w = b->w;
    _Alignas(64) float shift[CORRECTIONS] = {0};
    for (int r = 0; r < g->n; r++) {
        float *max = &w->max[g->row0 + r];
        const float old = *max;
        *max = largest(w->s[r], seen_of_block(b, g->row0 + r), old);
        shift[r] = old - *max;
    }
    for (int r = 0; r < CORRECTIONS; r += 16) _mm512_store_ps(correction + r, exp2_precise(_mm512_load_ps(shift + r)));
    for (int r = 0; r < g->n; r++) {
        const int row = g->row0 + r;
        const __m512 before = _mm512_mul_ps(_mm512_load_ps(w->sum[row]), _mm512_set1_ps(correction[r]));
        _mm512_store_ps(w->sum[row], make_weights(cells, w->s[r], seen_of_block(b, row), g->tiles,
                                                  _mm512_set1_ps(w->max[row]), before));
    }
}

static inline size_t step_bytes(const struct cells *cells, size_t tile_bytes, int n_cells)
{
    return tile_bytes / (size_t)(n_cells * cells->steps);
}

/* s[g->n][..]: the logits of a group's rows and the tiles they see; expands all tiles of the block, if it is fresh. */
INLINE void make_logits(const struct cells *cells, tile_function *multiply, const struct block *b,
                        const struct group *g)
{
    struct tile_product p = {.cell_stride = (size_t)cell_bytes(cells),
                             .out_stride = ROW_WORDS,
                             .ahead_step = step_bytes(cells, b->v_bytes, b->n_cells)};
    for (int t = b->tiles.from; t < b->tiles.to; t++) {
        const char *k = k_tile(cells, b, t);
        p.out = b->w->s[0] + 32 * t;
        if (t < g->tiles.from || t >= g->tiles.to) continue;
        for (int c = 0; c < b->n_cells; c += row_cells(cells)) {
            p.n_cells = b->n_cells - c < row_cells(cells) ? b->n_cells - c : row_cells(cells);
            p.cells = k + c * cell_bytes(cells);
            p.rows = b->w->q[g->row0 + c / row_cells(cells) * WIDE_ROWS];
            p.correction = c ? no_correction : NULL;
            p.ahead = b->v + t * b->v_bytes + c * cells->steps * p.ahead_step;
            multiply(&p);
        }
    }
}

/* 32 channels of a row's output. */
static inline float *out_of(struct attend_scratch *w, int row, int c)
{
    return w->out[row + c / OUT_CELLS * WIDE_ROWS] + c % OUT_CELLS * 32;
}

/* out = out x correction + weights V, of a group's rows. */
INLINE void add_values(const struct cells *cells, tile_function *multiply, const struct block *b, const struct group *g,
                       const float *correction)
{
    struct tile_product p = {.n_cells = g->tiles.to - g->tiles.from,
                             .rows = (const uint32_t *)b->w->s[0] + g->tiles.from * cells->steps,
                             .correction = correction,
                             .out_stride = ROW_WORDS,
                             .ahead_step = step_bytes(cells, b->k_bytes, b->n_cells)};
    for (int c = 0; c < b->n_cells; c++) {
        p.cells = v_channels(cells, b, c, &p.cell_stride);
        p.cells += g->tiles.from * p.cell_stride;
        p.out = out_of(b->w, g->row0, c);
        p.ahead = b->next_k + c * p.n_cells * cells->steps * p.ahead_step;
        multiply(&p);
    }
}

INLINE void begin_rows(const struct cells *cells, const struct block *b)
{
    const struct fkv_attend *a = b->a;
    struct attend_scratch *w = b->w;
    for (int r = 0; r < a->n_rows; r++) {
        _Alignas(64) uint32_t words[FKV_MAX_HEAD];
        cells->pack_query(a->q + r * a->ldq, a->d, a->scale * 1.44269504f, words);
        for (int c = 0; c < b->n_cells; c++) {
            uint32_t *to = w->q[r + c / row_cells(cells) * WIDE_ROWS] + c % row_cells(cells) * cells->steps;
            memcpy(to, words + c * cells->steps, (size_t)cells->steps * sizeof *words);
            memset(out_of(w, r, c), 0, 32 * sizeof(float));
        }
        memset(w->sum[r], 0, sizeof w->sum[r]);
        w->max[r] = -1e30f; /* finite, so that differences of two are numbers */
    }
}

static inline void finish_rows(const struct block *b)
{
    const struct fkv_attend *a = b->a;
    struct attend_scratch *w = b->w;
    for (int r = 0; r < a->n_rows; r++) {
        a->max[r] = w->seen[r].to > w->seen[r].from ? w->max[r] : -INFINITY;
        a->sum[r] = _mm512_reduce_add_ps(_mm512_load_ps(w->sum[r]));
        for (int i = 0; i < a->d; i += FKV_PLACE)
            memcpy(a->out + r * a->ldo + i, out_of(w, r, i / 32),
                   (size_t)(a->d - i < FKV_PLACE ? a->d - i : FKV_PLACE) * sizeof(float));
    }
}

/* multiply: [rows], for cells; k, v: the same for tiles as they are stored, or NULL: they are expanded. */
INLINE void attend_by_cells(const struct cells *cells, tile_function *const *multiply, tile_function *const *k,
                            tile_function *const *v, const struct fkv_attend *a)
{
    struct attend_scratch *w = a->scratch;
    struct block b = first_block(a, MOST_ROWS, 1, w->seen, &w->cells);
    b.stored_k = k;
    b.stored_v = v;
    begin_rows(cells, &b);
    for (struct group g; next_group(&b, &g); b.fresh = false) {
        _Alignas(64) float correction[CORRECTIONS];
        make_logits(cells, (k ? k : multiply)[g.n], &b, &g);
        make_group_weights(cells, &b, &g, correction);
        add_values(cells, (v ? v : multiply)[g.n], &b, &g, correction);
    }
    finish_rows(&b);
}

#endif
