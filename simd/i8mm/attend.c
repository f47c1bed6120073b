/* Attention over bf16 values and bf16 or f16 keys by bfmmla: softmax(q K^T scale) V with a running maximum per block of
   256 entries; sums are fp32. The queries and the keys carry the scores: q, and a tile of f16 keys, become two bf16
   each, of which the second is what the first lacks. Caches of other types, and heads of more than 256 channels, are
   multiplied as fp32, by NEON's kernel.

   Both tiles are "pairs x 32 x 2" (simd.h): 4 columns of a pair, and the same 4 of the next pair, zip to two vectors of
   [2 columns][4 k], k being channels of K or entries of V. A row's arithmetic does not depend on the rows beside it.
   What a row does not see has p = 0. */
#include "simd/i8mm/bf16.h"
#include "simd/neon/softmax.h"

enum { MOST_CHANNELS = 256, GROUPS = FKV_ATTEND_ROWS / GROUP_ROWS, PAIR_BYTES = 2 * FKV_TILE * 2 };

struct attend_scratch {
    int8_t q[2][GROUPS][MOST_CHANNELS / 4][STEP_GROUP_BYTES]; /* rounded, and what that took off */
    int8_t p16[GROUPS][BLOCK / 4][STEP_GROUP_BYTES];
    float p[FKV_ATTEND_ROWS][BLOCK]; /* dots, then 2^(logit - max) */
    float out[FKV_ATTEND_ROWS][MOST_CHANNELS];
    float lane_sum[FKV_ATTEND_ROWS][4];
    struct fkv_span groups[GROUPS];            /* tiles of the block that each group of rows sees */
    bfloat16_t k[2][MOST_CHANNELS * FKV_TILE]; /* the same of a tile of f16 */
};
_Static_assert(sizeof(struct attend_scratch) <= FKV_ATTEND_SCRATCH, "attend scratch");

/* 8 columns by 4 k: two pairs of a tile. */
INLINE void zip_pairs(const char *pairs, int8x16_t w[4])
{
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const float32x4_t a = vld1q_f32((const float *)(pairs + 16 * i)),
                          b = vld1q_f32((const float *)(pairs + PAIR_BYTES + 16 * i));
        w[2 * i] = vreinterpretq_s8_f32(vzip1q_f32(a, b));
        w[2 * i + 1] = vreinterpretq_s8_f32(vzip2q_f32(a, b));
    }
}

/* p[12 rows][8 entries] of a group: q and its rest by a tile of K; unless rest is NULL, q also by the rest of the
   tile. */
INLINE void dots(const int halves, const int8_t *q, const int8_t *q_rest, const char *tile, const char *rest, int steps,
                 float *p)
{
    float32x4_t cell[2][3][4];
#pragma GCC unroll 24
    for (int i = 0; i < 12 * halves; i++) cell[i / 12][i / 4 % 3][i % 4] = vdupq_n_f32(0);
    for (; steps > 0; steps--, tile += 2 * PAIR_BYTES) {
        const int8_t *again = q;
        int8x16_t w[4];
        zip_pairs(tile, w);
        multiply_cells(halves, w, &q, cell);
        multiply_cells(halves, w, &q_rest, cell);
        if (!rest) continue;
        zip_pairs(rest, w);
        multiply_cells(halves, w, &again, cell);
        rest += 2 * PAIR_BYTES;
    }
    store_group(halves, p, BLOCK, cell);
}

/* out[12 rows][8 channels] of a group += p by the block's tiles of V, tile_bytes apart. */
INLINE void add_values(const int halves, const int8_t *p, const char *tile, size_t tile_bytes, int n_tiles, float *out)
{
    float32x4_t cell[2][3][4];
    load_group(halves, out, MOST_CHANNELS, cell);
    for (; n_tiles > 0; n_tiles--, tile += tile_bytes)
        for (int step = 0; step < FKV_TILE / 4; step++) {
            int8x16_t w[4];
            zip_pairs(tile + (size_t)step * 2 * PAIR_BYTES, w);
            multiply_cells(halves, w, &p, cell);
        }
    store_group(halves, out, MOST_CHANNELS, cell);
}

/* n of f16 as bf16 and what rounding took off; n divides by 8. */
static void round_f16(const char *from, int n, bfloat16_t *rounded, bfloat16_t *rest)
{
    for (int i = 0; i < n; i += 8) {
        const float32x4_t a = load_4_f16(from + 2 * i), b = load_4_f16(from + 2 * i + 8);
        const bfloat16x8_t r = vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(a), b);
        const uint16x8_t bits = vreinterpretq_u16_bf16(r);
        const float32x4_t c = vsubq_f32(a, widen_bf16(vget_low_u16(bits))),
                          d = vsubq_f32(b, widen_bf16(vget_high_u16(bits)));
        vst1q_bf16(rounded + i, r);
        vst1q_bf16(rest + i, vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(c), d));
    }
}

static bool is_full(const struct fkv_attend *a, int group) { return a->n_rows - group * GROUP_ROWS > GROUP_ROWS / 2; }

/* Tile t of K in the block by the rows that see any of it. */
INLINE void tile_dots(const struct fkv_attend *a, int t, const char *tile, const char *rest, struct attend_scratch *s)
{
    const int steps = (a->d + 3) / 4;
    for (int g = 0; g < row_groups(a->n_rows); g++) {
        const struct fkv_span seen = s->groups[g];
        if (t < seen.from || t >= seen.to) continue;
        for (int i = 0; i < FKV_TILE; i += CELL_COLUMNS) {
            float *p = &s->p[g * GROUP_ROWS][FKV_TILE * t + i];
            if (is_full(a, g))
                dots(2, s->q[0][g][0], s->q[1][g][0], tile + 4 * i, rest ? rest + 4 * i : NULL, steps, p);
            else
                dots(1, s->q[0][g][0], s->q[1][g][0], tile + 4 * i, rest ? rest + 4 * i : NULL, steps, p);
        }
    }
}

static void block_dots(const struct fkv_attend *a, int start, struct fkv_span tiles, struct attend_scratch *s)
{
    const size_t tile_bytes = fkv_tile_bytes(a->k_type, a->d);
    for (int t = tiles.from; t < tiles.to; t++) {
        const char *tile = (const char *)a->k + (size_t)(start / FKV_TILE + t) * tile_bytes;
        if (a->k_type == FKV_ELEM_F16) {
            round_f16(tile, fkv_padded_head(a->d) * FKV_TILE, s->k[0], s->k[1]);
            tile_dots(a, t, (const char *)s->k[0], (const char *)s->k[1], s);
        } else {
            tile_dots(a, t, tile, NULL, s);
        }
    }
}

/* Rows that the call lacks stay zero in p16. */
static void block_probabilities(const struct fkv_attend *a, int start, struct fkv_span tiles, struct attend_scratch *s)
{
    const int first = tiles.from * FKV_TILE, last = tiles.to * FKV_TILE;
    for (int row = 0; row < a->n_rows; row++) {
        const struct fkv_span seen = fkv_seen_within(a, row, 1, start, BLOCK);
        const bool any = seen.to > 0;
        const int from = any ? seen.from & ~3 : first, to = any ? (seen.to + 3) & ~3 : first;
        if (any)
            rescale_row(s->out[row], fkv_padded_head(a->d),
                        block_softmax(s->p[row], seen, a->scale * 1.44269504f, &a->max[row], s->lane_sum[row]));
        memset(s->p[row] + first, 0, (size_t)(from - first) * 4);
        pack_row(s->p[row] + first, to - first, last - first, s->p16[row / GROUP_ROWS][first / 4], row % GROUP_ROWS);
    }
}

static void block_values(const struct fkv_attend *a, int start, struct attend_scratch *s)
{
    const size_t tile_bytes = fkv_tile_bytes(a->v_type, a->d);
    const char *tile = (const char *)a->v + (size_t)(start / FKV_TILE) * tile_bytes;
    for (int c = 0; c < fkv_padded_head(a->d); c += CELL_COLUMNS)
        for (int g = 0; g < row_groups(a->n_rows); g++) {
            const struct fkv_span seen = s->groups[g];
            const int n_tiles = seen.to - seen.from;
            const char *columns = tile + (size_t)seen.from * tile_bytes +
                                  (size_t)(c / 32) * (FKV_TILE / 2) * PAIR_BYTES + c % 32 * 4;
            const int8_t *p = s->p16[g][seen.from * FKV_TILE / 4];
            if (n_tiles == 0) continue;
            if (is_full(a, g))
                add_values(2, p, columns, tile_bytes, n_tiles, &s->out[g * GROUP_ROWS][c]);
            else
                add_values(1, p, columns, tile_bytes, n_tiles, &s->out[g * GROUP_ROWS][c]);
        }
}

static void pack_query(const float *q, int d, int padded_d, int row, struct attend_scratch *s)
{
    float rest[MOST_CHANNELS];
    for (int c = 0; c < d; c++) rest[c] = q[c] - fkv_f32_from_bf16(fkv_bf16_from_f32(q[c]));
    pack_row(q, d, padded_d, s->q[0][row / GROUP_ROWS], row % GROUP_ROWS);
    pack_row(rest, d, padded_d, s->q[1][row / GROUP_ROWS], row % GROUP_ROWS);
}

static void begin(const struct fkv_attend *a, struct attend_scratch *s)
{
    const int rows = row_groups(a->n_rows) * GROUP_ROWS;
    for (int row = 0; row < rows; row++) {
        const bool there = row < a->n_rows;
        pack_query(there ? a->q + (size_t)row * a->ldq : NULL, there ? a->d : 0, (a->d + 3) & ~3, row, s);
        pack_row(NULL, 0, BLOCK, s->p16[row / GROUP_ROWS], row % GROUP_ROWS);
        memset(s->out[row], 0, (size_t)fkv_padded_head(a->d) * 4);
        memset(s->lane_sum[row], 0, sizeof s->lane_sum[row]);
    }
    for (int row = 0; row < a->n_rows; row++) a->max[row] = -INFINITY;
}

void fkv_attend_i8mm(const struct fkv_attend *a)
{
    const bool keys_fit = a->k_type == FKV_ELEM_BF16 || a->k_type == FKV_ELEM_F16;
    if (!keys_fit || a->v_type != FKV_ELEM_BF16 || a->d > MOST_CHANNELS) {
        fkv_attend_neon(a);
        return;
    }
    struct attend_scratch *s = a->scratch;
    begin(a, s);
    const struct fkv_span all = fkv_seen_by(a, 0, a->n_rows);
    for (int start = all.from / BLOCK * BLOCK; start < all.to; start += BLOCK) {
        const struct fkv_span tiles = fkv_tiles_of_groups(a, GROUP_ROWS, start, BLOCK, s->groups);
        if (tiles.to == 0) continue;
        block_dots(a, start, tiles, s);
        block_probabilities(a, start, tiles, s);
        block_values(a, start, s);
    }
    for (int row = 0; row < a->n_rows; row++) {
        memcpy(a->out + (size_t)row * a->ldo, s->out[row], (size_t)a->d * 4);
        a->sum[row] = vaddvq_f32(vld1q_f32(s->lane_sum[row]));
    }
}
