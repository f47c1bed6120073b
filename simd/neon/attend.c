/* Attention over cache tiles by fp32 fmla: softmax(q K^T scale) V with a running maximum per block of 256 entries.

   A tile of either cache is widened to floats once per call and block and multiplied by tile_f32.h. A row's arithmetic
   does not depend on the rows beside it. What a row does not see has p = 0. */
#include "simd/neon/cache_tiles.h"
#include "simd/neon/softmax.h"
#include "simd/wide.h"

struct attend_scratch {
    float k[2][FKV_MAX_HEAD][COLUMNS];
    float v[2][FKV_TILE][COLUMNS];
    float p[FKV_ATTEND_ROWS][BLOCK]; /* dots, then 2^(logit - max) */
    float out[FKV_ATTEND_ROWS][FKV_PLACE];
    float lane_sum[FKV_ATTEND_ROWS][4];
    struct fkv_span groups[FKV_ATTEND_ROWS / TILE_ROWS]; /* tiles of the block that each group of rows sees */
};
_Static_assert(sizeof(struct attend_scratch) <= FKV_ATTEND_SCRATCH, "attend scratch");

/* A row's output: for heads of more than 256 channels in two places. */
static float *out_of(struct attend_scratch *s, int row, int d) { return s->out[row * fkv_places(d)]; }

static const char *tile_at(const void *tiles, int type, int d, int entry)
{
    return (const char *)tiles + (size_t)(entry / FKV_TILE) * fkv_tile_bytes(type, d);
}

static void block_dots(const struct fkv_attend *a, int start, struct fkv_span tiles, struct attend_scratch *s)
{
    for (int t = tiles.from; t < tiles.to; t++) {
        widen_k(a->k_type, tile_at(a->k, a->k_type, a->d, start + FKV_TILE * t), a->d, s->k);
        for (int row = 0; row < a->n_rows; row += TILE_ROWS) {
            const int n = min_int(TILE_ROWS, a->n_rows - row);
            const struct fkv_span seen = s->groups[row / TILE_ROWS];
            if (t < seen.from || t >= seen.to) continue;
            for (int i = 0; i < 2; i++)
                tile_f32(n, false, a->q + (size_t)row * a->ldq, a->ldq, (const float(*)[COLUMNS])s->k[i], a->d,
                         &s->p[row][FKV_TILE * t + COLUMNS * i], BLOCK);
        }
    }
}

static void block_probabilities(const struct fkv_attend *a, int start, struct fkv_span tiles, struct attend_scratch *s)
{
    const int first = tiles.from * FKV_TILE, last = tiles.to * FKV_TILE;
    for (int row = 0; row < a->n_rows; row++) {
        const struct fkv_span seen = fkv_seen_within(a, row, 1, start, BLOCK);
        const bool any = seen.to > 0;
        const int from = any ? seen.from & ~3 : first, to = any ? (seen.to + 3) & ~3 : first;
        if (any)
            rescale_row(out_of(s, row, a->d), fkv_padded_head(a->d),
                        block_softmax(s->p[row], seen, a->scale * 1.44269504f, &a->max[row], s->lane_sum[row]));
        memset(s->p[row] + first, 0, (size_t)(from - first) * 4);
        memset(s->p[row] + to, 0, (size_t)(last - to) * 4);
    }
}

static void block_values(const struct fkv_attend *a, int start, struct fkv_span tiles, struct attend_scratch *s)
{
    for (int t = tiles.from; t < tiles.to; t++)
        for (int c = 0; c < a->d; c += 32) {
            widen_v(a->v_type, tile_at(a->v, a->v_type, a->d, start + FKV_TILE * t), a->d, c, s->v);
            for (int row = 0; row < a->n_rows; row += TILE_ROWS) {
                const int n = min_int(TILE_ROWS, a->n_rows - row);
                const struct fkv_span seen = s->groups[row / TILE_ROWS];
                if (t < seen.from || t >= seen.to) continue;
                for (int i = 0; i < 2; i++)
                    tile_f32(n, true, &s->p[row][FKV_TILE * t], BLOCK, (const float(*)[COLUMNS])s->v[i], FKV_TILE,
                             out_of(s, row, a->d) + c + COLUMNS * i, (size_t)fkv_places(a->d) * FKV_PLACE);
            }
        }
}

static void attend(const struct fkv_attend *a)
{
    struct attend_scratch *s = a->scratch;
    for (int row = 0; row < a->n_rows; row++) {
        memset(out_of(s, row, a->d), 0, (size_t)fkv_padded_head(a->d) * 4);
        memset(s->lane_sum[row], 0, sizeof s->lane_sum[row]);
        a->max[row] = -INFINITY;
    }
    const struct fkv_span all = fkv_seen_by(a, 0, a->n_rows);
    for (int start = all.from / BLOCK * BLOCK; start < all.to; start += BLOCK) {
        const struct fkv_span tiles = fkv_tiles_of_groups(a, TILE_ROWS, start, BLOCK, s->groups);
        if (tiles.to == 0) continue;
        block_dots(a, start, tiles, s);
        block_probabilities(a, start, tiles, s);
        block_values(a, start, tiles, s);
    }
    for (int row = 0; row < a->n_rows; row++) {
        memcpy(a->out + (size_t)row * a->ldo, out_of(s, row, a->d), (size_t)a->d * 4);
        a->sum[row] = vaddvq_f32(vld1q_f32(s->lane_sum[row]));
    }
}

void fkv_attend_neon(const struct fkv_attend *a) { fkv_attend_by_places(attend, a); }
