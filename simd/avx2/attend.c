/* Attention over cache tiles: softmax(q K^T scale) V with a running maximum per block of 256 entries.

   Caches of 16 and 8 bits are multiplied as whole numbers of 14 bits (cache_int16.h), with 18 bits' worth of sum shared
   out to a row of q, or to a row's p of a block: twice as many products to an instruction as fp32 has, and a tenth of
   bf16's error. K's scales multiply logits, V's go into p. Caches of floats are multiplied in fp32, and those of 16
   bits for rows that are alone: each entry is read for few products, and to bring it to int16 takes longer than them.
   Both caches are "pairs x 32 x 2": q and p are broadcast as pairs. As whole numbers, vpmaddwd adds the two of a pair:
   a vector has 8 entries (of V: channels); of floats 4, whose neighbours are added at the end.
   Register plan: 6 query rows x 2 vectors: 12 sums, 2 of K or V, 1 broadcast, 1 product. Tiles are brought to int16, or
   put in strips of floats, once per call and block; up to 6 rows read floats as they are.
   A row's arithmetic does not depend on the rows beside it. What a row does not see has p = 0. */
#include "simd/avx2/cache_int16.h"
#include "simd/seen.h"
#include "simd/wide.h"

enum { BLOCK = 256, BLOCK_TILES = BLOCK / FKV_TILE };

struct attend_scratch {
    union {
        float q[FKV_ATTEND_ROWS][FKV_PLACE];       /* times scale log2(e) */
        int16_t q_16[FKV_ATTEND_ROWS * FKV_PLACE]; /* [rows][d] */
    };
    float p[FKV_ATTEND_ROWS][BLOCK]; /* logits, then 2^(logit - max), or as int16 in a row's first half */
    float lane_sum[FKV_ATTEND_ROWS][8];
    float unit[FKV_ATTEND_ROWS];                               /* of logits */
    float base[FKV_ATTEND_ROWS];                               /* the largest so far */
    float rescale[FKV_ATTEND_ROWS];                            /* of the block: 2^(old max - new max) */
    float p_unit[FKV_ATTEND_ROWS], p_inverse[FKV_ATTEND_ROWS]; /* of the block, of p as int16; its reciprocal */
    union {
        float k_strips[4][FKV_MAX_HEAD / 2][STRIP];
        int16_t k_16[FKV_MAX_HEAD * FKV_TILE];
    };
    union {
        float v_strips[4][BLOCK / 2][STRIP]; /* 32 channels */
        int16_t v_16[2][BLOCK / 2][STRIP_16];
    };
    struct v_steps v_steps[BLOCK_TILES];
    float v_scale[BLOCK];
    float out[FKV_ATTEND_ROWS][FKV_PLACE];
    struct fkv_span groups[FKV_ATTEND_ROWS / ROWS]; /* tiles of the block that each group of rows sees */
};
_Static_assert(sizeof(struct attend_scratch) <= FKV_ATTEND_SCRATCH, "attend scratch");

/* What a row has of q or out: places[0], for heads of more than 256 channels two in a row. */
static float *row_of(float places[][FKV_PLACE], int row, int d) { return places[row * fkv_places(d)]; }
static size_t row_stride(int d) { return (size_t)fkv_places(d) * FKV_PLACE; }

static int min_int(int a, int b) { return a < b ? a : b; }
static bool as_int16(const struct fkv_attend *a, int type)
{
    return type == FKV_ELEM_Q8_0 || (type != FKV_ELEM_F32 && !a->alone);
}

/* Strips of floats cost a store and a load per vector, which only further groups of rows pay back. */
static bool in_strips(const struct fkv_attend *a) { return a->n_rows > ROWS; }

/* ---- memory ---------------------------------------------------------------------------------- */

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

/* Part i of n, in so many pairs. */
static struct fetch part_of(struct later l, int i, int n, int pairs)
{
    if (!l.tiles) return (struct fetch){NULL, 0};
    const size_t bytes = l.bytes / (size_t)n;
    return (struct fetch){l.tiles + bytes * (size_t)i, bytes / (size_t)pairs};
}

/* The same of int16's work, of which a part is to bring a tile (step 0) and to multiply two strips (steps 1 and 2).
   q8_0 is brought too fast to fetch meanwhile. */
static struct fetch step_of(struct later l, int type, int i, int n, int step, int pairs)
{
    const int first = type == FKV_ELEM_Q8_0 ? 1 : 0, steps = 3 - first;
    if (step < first) return (struct fetch){NULL, 0};
    return part_of(l, steps * i + step - first, steps * n, pairs);
}

/* ---- q K^T ----------------------------------------------------------------------------------- */

/* A group of rows and a tile. */
static void logits_f32(const struct fkv_attend *a, const char *tile, int t, int row, int n, struct later later,
                       struct attend_scratch *s)
{
    for (int i = 0; i < 4; i++) {
        struct strip k = in_strips(a) ? widened_strip(s->k_strips[0][0], FKV_MAX_HEAD / 2, i, a->d / 2)
                                      : stored_strip(a->k_type, tile, i, a->d / 2, 0, 1);
        const struct fetch f = part_of(later, i, 4, a->d / 2);
        k.fetched = f.at;
        k.fetched_bytes = f.bytes;
        const struct strip_product p = {row_of(s->q, row, a->d), row_stride(a->d), NULL,
                                        &s->p[row][FKV_TILE * t + 8 * i], BLOCK};
        multiply_strip(n, &p, &k);
    }
}

static void logits_int16(const struct fkv_attend *a, const float *k_scale, int t, int row, int n, struct later later,
                         struct attend_scratch *s)
{
    const int pairs = a->d / 2;
    for (int i = 0; i < 2; i++) {
        const struct product_16 p = {.x = s->q_16 + (size_t)row * (size_t)a->d,
                                     .ldx = (size_t)a->d,
                                     .by_lane = k_scale + 16 * i,
                                     .y = &s->p[row][FKV_TILE * t + 16 * i],
                                     .ldy = BLOCK,
                                     .fetch = step_of(later, a->k_type, 0, 1, 1 + i, pairs)};
        multiply_16(n, false, &p, s->k_16 + (size_t)(i * pairs) * STRIP_16, pairs);
    }
}

static void block_logits(const struct fkv_attend *a, int start, struct fkv_span tiles, struct attend_scratch *s)
{
    const size_t tile_bytes = fkv_tile_bytes(a->k_type, a->d);
    for (int t = tiles.from; t < tiles.to; t++) {
        const char *tile = (const char *)a->k + (size_t)(start / FKV_TILE + t) * tile_bytes;
        const struct later later = later_tiles(a, a->v, a->v_type, start + t * FKV_TILE, 1);
        float k_scale[FKV_TILE];
        if (as_int16(a, a->k_type))
            k_to_int16(a->k_type, tile, a->d, s->k_16, k_scale, step_of(later, a->k_type, 0, 1, 0, a->d / 2));
        else if (in_strips(a))
            widen_k(a->k_type, tile, a->d, s->k_strips[0][0], FKV_MAX_HEAD / 2);
        for (int row = 0; row < a->n_rows; row += ROWS) {
            const int n = min_int(ROWS, a->n_rows - row);
            const struct fkv_span seen = s->groups[row / ROWS];
            if (t < seen.from || t >= seen.to) continue;
            if (as_int16(a, a->k_type))
                logits_int16(a, k_scale, t, row, n, later, s);
            else
                logits_f32(a, tile, t, row, n, later, s);
        }
    }
}

/* ---- softmax: a group of rows at a time, in steps that do not wait for each other's sums ----- */

/* The vectors that hold what a row sees; what else is in them becomes -inf. */
static struct fkv_span hide_unseen(float *p, struct fkv_span seen)
{
    const struct fkv_span all = {seen.from & ~15, (seen.to + 15) & ~15};
    for (int j = all.from; j < seen.from; j++) p[j] = -INFINITY;
    for (int j = seen.to; j < all.to; j++) p[j] = -INFINITY;
    return all;
}

/* A row's new maximum, and the rescaling of what came before. */
static void rise(const float *p, struct fkv_span all, int row, float *max, struct attend_scratch *s)
{
    __m256 top[2] = {_mm256_set1_ps(-INFINITY), _mm256_set1_ps(-INFINITY)};
    for (int j = all.from; j < all.to; j += 16) /* a NaN gives way here and reaches the sums as p */
        for (int i = 0; i < 2; i++) top[i] = _mm256_max_ps(_mm256_loadu_ps(p + j + 8 * i), top[i]);
    const float largest = horizontal_max(_mm256_max_ps(top[0], top[1])) * s->unit[row];
    const float new_max = largest > *max ? largest : *max;
    s->base[row] = new_max == -INFINITY ? 0 : new_max; /* -inf alone: every p is 0 */
    s->rescale[row] = _mm256_cvtss_f32(exp2_8(_mm256_set1_ps(*max - s->base[row])));
    *max = new_max;
}

/* p in place of a row's logits; with v_scale, p times that, and their unit as int16. */
INLINE void exponentials(const bool scales, float *p, struct fkv_span all, const float *v_scale, int row,
                         struct attend_scratch *s)
{
    const __m256 base = _mm256_set1_ps(s->base[row]), unit = _mm256_set1_ps(s->unit[row]);
    __m256 sum = _mm256_mul_ps(_mm256_loadu_ps(s->lane_sum[row]), _mm256_set1_ps(s->rescale[row]));
    __m256 scaled_sum = _mm256_setzero_ps(), top = _mm256_setzero_ps();
    for (int j = all.from; j < all.to; j += 16)
#pragma GCC unroll 2
        for (int i = j; i < j + 16; i += 8) {
            __m256 holds, e = exp2_8_where(_mm256_fmsub_ps(_mm256_loadu_ps(p + i), unit, base), &holds);
            sum = _mm256_add_ps(sum, _mm256_and_ps(e, holds));
            if (scales) e = _mm256_mul_ps(e, _mm256_loadu_ps(v_scale + i));
            e = _mm256_and_ps(e, holds); /* what is not seen counts nothing, whatever it is */
            if (scales) {
                scaled_sum = _mm256_add_ps(scaled_sum, e);
                top = _mm256_max_ps(e, top);
            }
            _mm256_storeu_ps(p + i, e);
        }
    _mm256_storeu_ps(s->lane_sum[row], sum);
    if (scales) s->p_unit[row] = row_unit(horizontal_max(top), horizontal_sum(scaled_sum), &s->p_inverse[row]);
}

/* p[from .. to - 1], multiples of 16, as int16 where the row starts. */
static void p_to_int16(float *p, int from, int to, float inverse)
{
    int16_t *o = (int16_t *)p;
    const __m256 by = _mm256_set1_ps(inverse);
    for (int j = from; j < to; j += 16)
        _mm256_storeu_si256((__m256i *)(o + j), round_16(_mm256_loadu_ps(p + j), _mm256_loadu_ps(p + j + 8), by));
}

/* Rows row .. row + n - 1; first .. last - 1 is what the block's tiles hold. */
static void group_probabilities(const struct fkv_attend *a, int start, int first, int last, int row, int n,
                                struct attend_scratch *s)
{
    const bool scales = as_int16(a, a->v_type);
    struct fkv_span all[ROWS];
    for (int r = 0; r < n; r++) {
        const struct fkv_span seen = fkv_seen_within(a, row + r, 1, start, BLOCK);
        all[r] = seen.to > 0 ? hide_unseen(s->p[row + r], seen) : (struct fkv_span){first, first};
        s->rescale[row + r] = 1;
        s->p_unit[row + r] = s->p_inverse[row + r] = 0;
        if (seen.to > 0) rise(s->p[row + r], all[r], row + r, &a->max[row + r], s);
    }
    for (int r = 0; r < n; r++) {
        float *p = s->p[row + r];
        if (all[r].to > all[r].from && scales)
            exponentials(true, p, all[r], s->v_scale, row + r, s);
        else if (all[r].to > all[r].from)
            exponentials(false, p, all[r], NULL, row + r, s);
        memset(p + first, 0, (size_t)(all[r].from - first) * 4);
        memset(p + all[r].to, 0, (size_t)(last - all[r].to) * 4);
    }
    for (int r = 0; r < n && scales; r++) p_to_int16(s->p[row + r], first, last, s->p_inverse[row + r]);
}

static void block_probabilities(const struct fkv_attend *a, int start, struct fkv_span tiles, struct attend_scratch *s)
{
    for (int row = 0; row < a->n_rows; row += ROWS)
        group_probabilities(a, start, tiles.from * FKV_TILE, tiles.to * FKV_TILE, row, min_int(ROWS, a->n_rows - row),
                            s);
}

/* ---- p V ------------------------------------------------------------------------------------- */

/* 32 channels from c on: out = out * rescale + p V, a group of rows. */
static void values_f32(const struct fkv_attend *a, const char *tiles, struct fkv_span seen, int c, int row, int n,
                       struct later later, struct attend_scratch *s)
{
    const int n_tiles = seen.to - seen.from, e = seen.from * FKV_TILE;
    const size_t tile_bytes = fkv_tile_bytes(a->v_type, a->d);
    const char *stored = tiles + (size_t)seen.from * tile_bytes;
    for (int i = 0; i < 4; i++) {
        struct strip v = in_strips(a) ? widened_strip(s->v_strips[0][e / 2], BLOCK / 2, i, n_tiles * FKV_TILE / 2)
                                      : stored_strip(a->v_type, v_channels(a->v_type, stored, c), i, FKV_TILE / 2,
                                                     tile_bytes, n_tiles);
        const struct fetch f = part_of(later, c / 8 + i, fkv_padded_head(a->d) / 8, n_tiles * FKV_TILE / 2);
        v.fetched = f.at;
        v.fetched_bytes = f.bytes;
        const struct strip_product p = {&s->p[row][e], BLOCK, s->rescale + row, row_of(s->out, row, a->d) + c + 8 * i,
                                        row_stride(a->d)};
        multiply_strip(n, &p, &v);
    }
}

static void values_int16(const struct fkv_attend *a, struct fkv_span seen, int c, int row, int n, struct later later,
                         struct attend_scratch *s)
{
    const int pairs = (seen.to - seen.from) * FKV_TILE / 2, e = seen.from * FKV_TILE,
              groups = fkv_padded_head(a->d) / 32;
    for (int i = 0; i < 2; i++) {
        const struct product_16 p = {.x = (const int16_t *)s->p[row] + e,
                                     .ldx = 2 * BLOCK,
                                     .rescale = s->rescale + row,
                                     .by = s->p_unit + row,
                                     .y = row_of(s->out, row, a->d) + c + 16 * i,
                                     .ldy = row_stride(a->d),
                                     .fetch = step_of(later, a->v_type, c / 32, groups, 1 + i, pairs)};
        multiply_16(n, true, &p, s->v_16[i][e / 2], pairs);
    }
}

static void block_values(const struct fkv_attend *a, int start, struct fkv_span tiles, int c, struct attend_scratch *s)
{
    const size_t tile_bytes = fkv_tile_bytes(a->v_type, a->d);
    const char *first = (const char *)a->v + (size_t)(start / FKV_TILE) * tile_bytes;
    const struct later later = later_tiles(a, a->k, a->k_type, start + BLOCK, BLOCK_TILES);
    struct fetch f = step_of(later, a->v_type, c / 32, fkv_padded_head(a->d) / 32, 0, BLOCK / 2);
    for (int t = tiles.from; t < tiles.to; t++) {
        const char *tile = first + (size_t)t * tile_bytes;
        if (as_int16(a, a->v_type))
            v_to_int16(a->v_type, tile, a->d, c, &s->v_steps[t], s->v_16[0][FKV_TILE / 2 * t], BLOCK / 2, f);
        else if (in_strips(a))
            widen_v(a->v_type, tile, c, s->v_strips[0][FKV_TILE / 2 * t], BLOCK / 2);
        if (f.at) f.at += f.bytes * FKV_TILE / 2;
    }
    for (int row = 0; row < a->n_rows; row += ROWS) {
        const struct fkv_span seen = s->groups[row / ROWS];
        const int n = min_int(ROWS, a->n_rows - row);
        if (seen.to <= seen.from) continue;
        if (as_int16(a, a->v_type))
            values_int16(a, seen, c, row, n, later, s);
        else
            values_f32(a, first, seen, c, row, n, later, s);
    }
}

static void block_v_steps(const struct fkv_attend *a, int start, struct fkv_span tiles, struct attend_scratch *s)
{
    const size_t tile_bytes = fkv_tile_bytes(a->v_type, a->d);
    const char *first = (const char *)a->v + (size_t)(start / FKV_TILE) * tile_bytes;
    for (int t = tiles.from; t < tiles.to; t++)
        v_steps(a->v_type, first + (size_t)t * tile_bytes, a->d, &s->v_steps[t], s->v_scale + FKV_TILE * t);
}

/* ---- a call ---------------------------------------------------------------------------------- */

/* x[d] in units that it returns. */
static float round_row(const float *x, int d, int16_t *o)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 largest = _mm256_setzero_ps(), sum = _mm256_setzero_ps();
    for (int i = 0; i < d; i += 8) {
        const __m256 magnitude = _mm256_andnot_ps(sign, load_first(x + i, d - i));
        largest = _mm256_max_ps(magnitude, largest);
        sum = _mm256_add_ps(sum, magnitude);
    }
    float inverse;
    const float unit = row_unit(horizontal_max(largest), horizontal_sum(sum), &inverse);
    const __m256 by = _mm256_set1_ps(inverse);
    for (int i = 0; i < d; i += 16) {
        int16_t rounded[16];
        const __m256 a = load_first(x + i, d - i),
                     b = d - i > 8 ? load_first(x + i + 8, d - i - 8) : _mm256_setzero_ps();
        _mm256_storeu_si256((__m256i *)rounded, round_16(a, b, by));
        memcpy(o + i, rounded, (size_t)min_int(16, d - i) * sizeof *o);
    }
    return unit;
}

static void begin(const struct fkv_attend *a, struct attend_scratch *s)
{
    const float scale = a->scale * 1.44269504088896341f;
    for (int row = 0; row < a->n_rows; row++) {
        const float *q = a->q + (size_t)row * a->ldq;
        s->unit[row] = 1;
        if (as_int16(a, a->k_type)) {
            const float unit = round_row(q, a->d, s->q_16 + (size_t)row * (size_t)a->d) * scale;
            s->unit[row] = unit < tiny ? tiny : unit; /* -inf times 0 would be no number */
        } else {
            for (int i = 0; i < a->d; i++) row_of(s->q, row, a->d)[i] = q[i] * scale;
        }
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
        if (as_int16(a, a->v_type)) block_v_steps(a, start, tiles, s);
        block_probabilities(a, start, tiles, s);
        for (int c = 0; c < a->d; c += 32) block_values(a, start, tiles, c, s);
    }
    for (int row = 0; row < a->n_rows; row++) {
        memcpy(a->out + (size_t)row * a->ldo, row_of(s->out, row, a->d), (size_t)a->d * 4);
        a->sum[row] = horizontal_sum(_mm256_loadu_ps(s->lane_sum[row]));
    }
}

void fkv_attend_avx2(const struct fkv_attend *a) { fkv_attend_by_places(attend, a); }
