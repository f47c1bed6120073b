/* Attention over cache tiles by fp32 FMA: softmax(q K^T scale) V with a running maximum per block of 256 entries.

   Both caches are "pairs x 32 x 2": a vector of 8 lanes holds 4 entries (of V: channels) by 2; q and p are broadcast as
   pairs, and each sum of 8 lanes becomes 4 results when its neighbours are added at the end.
   Register plan: 6 query rows x 2 vectors: 12 sums, 2 of K or V, 1 broadcast. Of many rows' tiles and of q8_0 the
   values are widened to float once per call and block, in 4 strips of 2 vectors that the inner loop reads front to
   back. Up to 6 rows (decode) read the tiles as they are: each value is used once per strip.
   A row's arithmetic does not depend on the rows beside it. What a row does not see has p = 0. */
#include "simd/avx2/cache_tiles.h"

enum { BLOCK = 256, BLOCK_TILES = BLOCK / FKV_TILE };

struct attend_scratch {
    float q[FKV_ATTEND_ROWS][FKV_MAX_HEAD]; /* times scale log2(e) */
    float p[FKV_ATTEND_ROWS][BLOCK];        /* logits, then 2^(logit - max) */
    float lane_sum[FKV_ATTEND_ROWS][8];
    float rescale[FKV_ATTEND_ROWS]; /* of the block: 2^(old max - new max) */
    float k_strips[4][FKV_MAX_HEAD / 2][STRIP];
    float v_strips[4][BLOCK / 2][STRIP]; /* 32 channels */
    float out[FKV_ATTEND_ROWS][FKV_MAX_HEAD];
};
_Static_assert(sizeof(struct attend_scratch) <= FKV_ATTEND_SCRATCH, "attend scratch");

static int min_int(int a, int b) { return a < b ? a : b; }

/* Entries of [start, start + BLOCK) that row sees. */
static int seen(const struct fkv_attend *a, int row, int start)
{
    const int n = min_int(a->n_keys[row], a->last) - start;
    return n < 0 ? 0 : min_int(n, BLOCK);
}

/* The most entries any row of [row, row + n) sees. */
static int most_seen(const struct fkv_attend *a, int row, int n, int start)
{
    int most = 0;
    for (int r = row; r < row + n; r++) most = seen(a, r, start) > most ? seen(a, r, start) : most;
    return most;
}

/* Widening costs a store and a load per vector, which only further groups of rows pay back. */
static bool widens(const struct fkv_attend *a, int type) { return type == FKV_ELEM_Q8_0 || a->n_rows > ROWS; }

static void block_logits(const struct fkv_attend *a, int start, int most, struct attend_scratch *s)
{
    const size_t tile_bytes = fkv_tile_bytes(a->k_type, a->d);
    const bool widen = widens(a, a->k_type);
    for (int e = 0; e < most; e += FKV_TILE) {
        const char *tile = (const char *)a->k + (size_t)((start + e) / FKV_TILE) * tile_bytes;
        if (widen) widen_k(a->k_type, tile, a->d, s->k_strips[0][0], FKV_MAX_HEAD / 2);
        for (int row = 0; row < a->n_rows; row += ROWS) {
            const int n = min_int(ROWS, a->n_rows - row);
            if (most_seen(a, row, n, start) <= e) continue;
            for (int i = 0; i < 4; i++) {
                const struct strip k = widen ? widened_strip(s->k_strips[0][0], FKV_MAX_HEAD / 2, i, a->d / 2)
                                             : stored_strip(a->k_type, tile, i, a->d / 2, 0, 1);
                const struct strip_product p = {s->q[row], FKV_MAX_HEAD, NULL, &s->p[row][e + 8 * i], BLOCK};
                multiply_strip(n, widen ? FKV_ELEM_F32 : a->k_type, &p, &k);
            }
        }
    }
}

/* One row of the block: the new maximum, p in place of the logits, the rescaling of what came before. */
static void block_softmax(float *p, int n, float *max, float *lane_sum, float *rescale)
{
    const __m256 lowest = _mm256_set1_ps(-INFINITY);
    __m256 top = lowest;
    for (int j = 0; j < n; j += 8) {
        const __m256 x = _mm256_blendv_ps(lowest, _mm256_loadu_ps(p + j), _mm256_castsi256_ps(first_lanes(n - j)));
        _mm256_storeu_ps(p + j, x);
        top = _mm256_max_ps(x, top); /* a NaN gives way here and reaches the sums as p */
    }
    const float largest = horizontal_max(top), new_max = largest > *max ? largest : *max;
    const float base = new_max == -INFINITY ? 0 : new_max; /* -inf alone: every p is 0 */
    const __m256 reference = _mm256_set1_ps(base);
    *rescale = _mm256_cvtss_f32(exp2_8(_mm256_set1_ps(*max - base)));
    *max = new_max;
    __m256 sum = _mm256_mul_ps(_mm256_loadu_ps(lane_sum), _mm256_set1_ps(*rescale));
    for (int j = 0; j < n; j += 8) {
        const __m256 e = _mm256_and_ps(exp2_8(_mm256_sub_ps(_mm256_loadu_ps(p + j), reference)),
                                       _mm256_castsi256_ps(first_lanes(n - j)));
        _mm256_storeu_ps(p + j, e);
        sum = _mm256_add_ps(sum, e);
    }
    _mm256_storeu_ps(lane_sum, sum);
}

static void block_probabilities(const struct fkv_attend *a, int start, int most, struct attend_scratch *s)
{
    const int end = (most + FKV_TILE - 1) / FKV_TILE * FKV_TILE;
    for (int row = 0; row < a->n_rows; row++) {
        const int n = seen(a, row, start), n8 = (n + 7) & ~7;
        s->rescale[row] = 1;
        if (n > 0) block_softmax(s->p[row], n, &a->max[row], s->lane_sum[row], &s->rescale[row]);
        memset(s->p[row] + n8, 0, (size_t)(end - n8) * 4);
    }
}

/* 32 channels from c on of all rows: out = out * rescale + p V. */
static void block_values(const struct fkv_attend *a, int start, int most, int c, struct attend_scratch *s)
{
    const size_t tile_bytes = fkv_tile_bytes(a->v_type, a->d);
    const bool widen = widens(a, a->v_type);
    const char *first = (const char *)a->v + (size_t)(start / FKV_TILE) * tile_bytes;
    for (int e = 0; widen && e < most; e += FKV_TILE)
        widen_v(a->v_type, first + (size_t)(e / FKV_TILE) * tile_bytes, a->d, c, s->v_strips[0][e / 2], BLOCK / 2);
    for (int row = 0; row < a->n_rows; row += ROWS) {
        const int n = min_int(ROWS, a->n_rows - row), tiles = (most_seen(a, row, n, start) + FKV_TILE - 1) / FKV_TILE;
        for (int i = 0; tiles > 0 && i < 4; i++) {
            const struct strip v = widen ? widened_strip(s->v_strips[0][0], BLOCK / 2, i, tiles * FKV_TILE / 2)
                                         : stored_strip(a->v_type, v_channels(a->v_type, first, c), i, FKV_TILE / 2,
                                                        tile_bytes, tiles);
            const struct strip_product p = {s->p[row], BLOCK, s->rescale + row, &s->out[row][c + 8 * i], FKV_MAX_HEAD};
            multiply_strip(n, widen ? FKV_ELEM_F32 : a->v_type, &p, &v);
        }
    }
}

static void begin(const struct fkv_attend *a, struct attend_scratch *s)
{
    const float scale = a->scale * 1.44269504088896341f;
    for (int row = 0; row < a->n_rows; row++) {
        for (int i = 0; i < a->d; i++) s->q[row][i] = a->q[(size_t)row * a->ldq + (size_t)i] * scale;
        memset(s->lane_sum[row], 0, sizeof s->lane_sum[row]);
        memset(s->out[row], 0, (size_t)fkv_padded_head(a->d) * 4);
        a->max[row] = -INFINITY;
    }
}

void fkv_attend_avx2(const struct fkv_attend *a)
{
    struct attend_scratch *s = a->scratch;
    begin(a, s);
    for (int start = a->first; start < a->last; start += BLOCK) {
        const int most = most_seen(a, 0, a->n_rows, start);
        if (most == 0) break;
        block_logits(a, start, most, s);
        block_probabilities(a, start, most, s);
        for (int c = 0; c < a->d; c += 32) block_values(a, start, most, c, s);
    }
    for (int row = 0; row < a->n_rows; row++) {
        memcpy(a->out + (size_t)row * a->ldo, s->out[row], (size_t)a->d * 4);
        a->sum[row] = horizontal_sum(_mm256_loadu_ps(s->lane_sum[row]));
    }
}
