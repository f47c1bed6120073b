/* Attention over cache tiles by fp32 FMA: softmax(q K^T scale) V with a running maximum per block of 256 entries.

   Both caches are "pairs x 32 x 2": a vector of 8 lanes holds 4 entries (of V: channels) by 2; q and p are broadcast as
   pairs, and each sum of 8 lanes becomes 4 results when its neighbours are added at the end.
   Register plan: 6 query rows x 2 vectors: 12 sums, 2 of K or V, 1 broadcast. Of many rows' tiles and of q8_0 the
   values are widened to float once per call and block, in 4 strips of 2 vectors that the inner loop reads front to
   back. Up to 6 rows (decode) read the tiles as they are: each value is used once per strip.
   A row's arithmetic does not depend on the rows beside it. What a row does not see has p = 0. */
#include "simd/avx2/cache_tiles.h"
#include "simd/seen.h"
#include "simd/wide.h"

enum { BLOCK = 256, BLOCK_TILES = BLOCK / FKV_TILE };

struct attend_scratch {
    float q[FKV_ATTEND_ROWS][FKV_PLACE]; /* times scale log2(e) */
    float p[FKV_ATTEND_ROWS][BLOCK];     /* logits, then 2^(logit - max) */
    float lane_sum[FKV_ATTEND_ROWS][8];
    float rescale[FKV_ATTEND_ROWS]; /* of the block: 2^(old max - new max) */
    float k_strips[4][FKV_MAX_HEAD / 2][STRIP];
    float v_strips[4][BLOCK / 2][STRIP]; /* 32 channels */
    float out[FKV_ATTEND_ROWS][FKV_PLACE];
    struct fkv_span groups[FKV_ATTEND_ROWS / ROWS]; /* tiles of the block that each group of rows sees */
};
_Static_assert(sizeof(struct attend_scratch) <= FKV_ATTEND_SCRATCH, "attend scratch");

/* What a row has of q or out: places[0], for heads of more than 256 channels two in a row. */
static float *row_of(float places[][FKV_PLACE], int row, int d) { return places[row * fkv_places(d)]; }
static size_t row_stride(int d) { return (size_t)fkv_places(d) * FKV_PLACE; }

static int min_int(int a, int b) { return a < b ? a : b; }

/* Widening costs a store and a load per vector, which only further groups of rows pay back. */
static bool widens(const struct fkv_attend *a, int type) { return type == FKV_ELEM_Q8_0 || a->n_rows > ROWS; }

/* Few rows wait for memory: while strips of one cache are multiplied, what comes later is fetched, of V the same tile,
   of K the next block. Else memory would rest meanwhile. */
struct later {
    const char *tiles; /* NULL: none */
    size_t bytes;
};

static struct later later_tiles(const struct fkv_attend *a, const void *tiles, int type, int entry, int n)
{
    if (a->n_rows > 2 * ROWS || entry >= a->last) return (struct later){NULL, 0};
    const size_t bytes = fkv_tile_bytes(type, a->d), left = (size_t)((a->last - entry + FKV_TILE - 1) / FKV_TILE);
    return (struct later){(const char *)tiles + (size_t)(entry / FKV_TILE) * bytes,
                          bytes * ((size_t)n < left ? (size_t)n : left)};
}

/* Strip i of `n` brings its share. */
static void fetch(struct strip *s, struct later l, int i, int n)
{
    if (!l.tiles) return;
    s->fetched = l.tiles + l.bytes / (size_t)n * (size_t)i;
    s->fetched_bytes = l.bytes / (size_t)n / (size_t)(s->pairs * s->runs);
}

static void block_logits(const struct fkv_attend *a, int start, struct fkv_span tiles, struct attend_scratch *s)
{
    const size_t tile_bytes = fkv_tile_bytes(a->k_type, a->d);
    const bool widen = widens(a, a->k_type);
    for (int t = tiles.from; t < tiles.to; t++) {
        const char *tile = (const char *)a->k + (size_t)(start / FKV_TILE + t) * tile_bytes;
        const struct later later = later_tiles(a, a->v, a->v_type, start + t * FKV_TILE, 1);
        if (widen) widen_k(a->k_type, tile, a->d, s->k_strips[0][0], FKV_MAX_HEAD / 2);
        for (int row = 0; row < a->n_rows; row += ROWS) {
            const int n = min_int(ROWS, a->n_rows - row);
            const struct fkv_span seen = s->groups[row / ROWS];
            if (t < seen.from || t >= seen.to) continue;
            for (int i = 0; i < 4; i++) {
                struct strip k = widen ? widened_strip(s->k_strips[0][0], FKV_MAX_HEAD / 2, i, a->d / 2)
                                       : stored_strip(a->k_type, tile, i, a->d / 2, 0, 1);
                fetch(&k, later, i, 4);
                const struct strip_product p = {row_of(s->q, row, a->d), row_stride(a->d), NULL,
                                                &s->p[row][FKV_TILE * t + 8 * i], BLOCK};
                multiply_strip(n, widen ? FKV_ELEM_F32 : a->k_type, &p, &k);
            }
        }
    }
}

/* One row of the block: the new maximum, p in place of the logits, the rescaling of what came before. From the multiple
   of 8 at or below seen.from, what is not seen becomes 0. */
static void block_softmax(float *p, struct fkv_span seen, float *max, float *lane_sum, float *rescale)
{
    const __m256 lowest = _mm256_set1_ps(-INFINITY);
    const int from = seen.from & ~7, n = seen.to;
    __m256 top = lowest;
    for (int j = from; j < seen.from; j++) p[j] = -INFINITY;
    for (int j = from; j < n; j += 8) {
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
    for (int j = from; j < n; j += 8) {
        const __m256 e = _mm256_and_ps(exp2_8(_mm256_sub_ps(_mm256_loadu_ps(p + j), reference)),
                                       _mm256_castsi256_ps(first_lanes(n - j)));
        _mm256_storeu_ps(p + j, e);
        sum = _mm256_add_ps(sum, e);
    }
    _mm256_storeu_ps(lane_sum, sum);
}

static void block_probabilities(const struct fkv_attend *a, int start, struct fkv_span tiles, struct attend_scratch *s)
{
    const int first = tiles.from * FKV_TILE, last = tiles.to * FKV_TILE;
    for (int row = 0; row < a->n_rows; row++) {
        const struct fkv_span seen = fkv_seen_within(a, row, 1, start, BLOCK);
        const bool any = seen.to > 0;
        const int from = any ? seen.from & ~7 : first, to = any ? (seen.to + 7) & ~7 : first;
        s->rescale[row] = 1;
        if (any) block_softmax(s->p[row], seen, &a->max[row], s->lane_sum[row], &s->rescale[row]);
        memset(s->p[row] + first, 0, (size_t)(from - first) * 4);
        memset(s->p[row] + to, 0, (size_t)(last - to) * 4);
    }
}

/* 32 channels from c on of all rows: out = out * rescale + p V. */
static void block_values(const struct fkv_attend *a, int start, struct fkv_span tiles, int c, struct attend_scratch *s)
{
    const size_t tile_bytes = fkv_tile_bytes(a->v_type, a->d);
    const bool widen = widens(a, a->v_type);
    const char *first = (const char *)a->v + (size_t)(start / FKV_TILE) * tile_bytes;
    for (int t = tiles.from; widen && t < tiles.to; t++)
        widen_v(a->v_type, first + (size_t)t * tile_bytes, a->d, c, s->v_strips[0][FKV_TILE / 2 * t], BLOCK / 2);
    const struct later later = later_tiles(a, a->k, a->k_type, start + BLOCK, BLOCK_TILES);
    for (int row = 0; row < a->n_rows; row += ROWS) {
        const int n = min_int(ROWS, a->n_rows - row);
        const struct fkv_span seen = s->groups[row / ROWS];
        const int n_tiles = seen.to - seen.from, e = seen.from * FKV_TILE;
        const char *stored = first + (size_t)seen.from * tile_bytes;
        for (int i = 0; n_tiles > 0 && i < 4; i++) {
            struct strip v = widen ? widened_strip(s->v_strips[0][e / 2], BLOCK / 2, i, n_tiles * FKV_TILE / 2)
                                   : stored_strip(a->v_type, v_channels(a->v_type, stored, c), i, FKV_TILE / 2,
                                                  tile_bytes, n_tiles);
            fetch(&v, later, c / 8 + i, fkv_padded_head(a->d) / 8);
            const struct strip_product p = {&s->p[row][e], BLOCK, s->rescale + row,
                                            row_of(s->out, row, a->d) + c + 8 * i, row_stride(a->d)};
            multiply_strip(n, widen ? FKV_ELEM_F32 : a->v_type, &p, &v);
        }
    }
}

static void begin(const struct fkv_attend *a, struct attend_scratch *s)
{
    const float scale = a->scale * 1.44269504088896341f;
    for (int row = 0; row < a->n_rows; row++) {
        float *q = row_of(s->q, row, a->d);
        for (int i = 0; i < a->d; i++) q[i] = a->q[(size_t)row * a->ldq + (size_t)i] * scale;
        memset(s->lane_sum[row], 0, sizeof s->lane_sum[row]);
        memset(row_of(s->out, row, a->d), 0, (size_t)fkv_padded_head(a->d) * 4);
        a->max[row] = -INFINITY;
    }
}

static void attend(const struct fkv_attend *a)
{
    struct attend_scratch *s = a->scratch;
    begin(a, s);
    const struct fkv_span all = fkv_seen_by(a, 0, a->n_rows);
    for (int start = all.from / BLOCK * BLOCK; start < all.to; start += BLOCK) {
        const struct fkv_span tiles = fkv_tiles_of_groups(a, ROWS, start, BLOCK, s->groups);
        if (tiles.to == 0) continue;
        block_logits(a, start, tiles, s);
        block_probabilities(a, start, tiles, s);
        for (int c = 0; c < a->d; c += 32) block_values(a, start, tiles, c, s);
    }
    for (int row = 0; row < a->n_rows; row++) {
        memcpy(a->out + (size_t)row * a->ldo, row_of(s->out, row, a->d), (size_t)a->d * 4);
        a->sum[row] = horizontal_sum(_mm256_loadu_ps(s->lane_sum[row]));
    }
}

void fkv_attend_avx2(const struct fkv_attend *a) { fkv_attend_by_places(attend, a); }
