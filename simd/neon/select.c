/* FastKV's scores and selection (simd.h). Scores are fp32 throughout: their order decides what is kept.

   window_logits: the tile products of attention. window_sums: three sweeps over a row: maximum; e^(x - max) and its
   sum; the sum over the rows, or the largest. top_k: keys whose order as signed integers is that of the floats; the
   k-th largest is found bit by bit from the top, counting the keys at or above a candidate: no branch on data,
   exact. */
#include "simd/neon/cache_tiles.h"
#include "simd/seen.h"

void fkv_window_logits_neon(const float *q, size_t ldq, int w, const void *k, int k_type, int d, int n, float scale,
                            float *logits, size_t ld)
{
    float strips[2][FKV_MAX_HEAD][COLUMNS], dots[TILE_ROWS][FKV_TILE];
    for (int e = 0; e < n; e += FKV_TILE) {
        widen_k(k_type, (const char *)k + (size_t)(e / FKV_TILE) * fkv_tile_bytes(k_type, d), d, strips);
        const int count = n - e < FKV_TILE ? n - e : FKV_TILE;
        for (int row = 0; row < w; row += TILE_ROWS) {
            const int rows = w - row < TILE_ROWS ? w - row : TILE_ROWS;
            for (int i = 0; i < 2; i++)
                tile_f32(rows, false, q + (size_t)row * ldq, ldq, (const float(*)[COLUMNS])strips[i], d,
                         &dots[0][COLUMNS * i], FKV_TILE);
            for (int r = 0; r < rows; r++)
                for (int j = 0; j < count; j += 4)
                    store_first(logits + (size_t)(row + r) * ld + e + j, vmulq_n_f32(vld1q_f32(&dots[r][j]), scale),
                                count - j);
        }
    }
}

/* x becomes e^(x - max); returns 1 / sum, the sink's term in it. A row of -inf alone has no softmax: it counts for
   nothing. */
static float softmax_terms(float *x, int n, float sink)
{
    const float32x4_t lowest = vdupq_n_f32(-INFINITY);
    float32x4_t top = lowest, sum = vdupq_n_f32(0);
    for (int j = 0; j < n; j += 4)
        top = vmaxnmq_f32(top, vbslq_f32(first_lanes(n - j), load_first(x + j, n - j), lowest));
    const float largest = fmaxf(vmaxnmvq_f32(top), sink), base = largest == -INFINITY ? 0 : largest;
    const float32x4_t max = vdupq_n_f32(base);
    for (int j = 0; j < n; j += 4) {
        const float32x4_t e = exp_4(vsubq_f32(load_first(x + j, n - j), max));
        store_first(x + j, e, n - j);
        sum = vaddq_f32(sum, keep_lanes(e, first_lanes(n - j)));
    }
    const float total = vaddvq_f32(sum) + expf(sink - base);
    return total == 0 ? 0 : 1.0f / total;
}

/* 4 columns of the rows from `at` on; halves: [2] vectors to which every other row is added, or NULL. */
INLINE float32x4_t reduce_rows(const float *at, size_t ld, int count, const int *rows, const float *by, int n_rows,
                               const bool largest, float32x4_t *halves)
{
    float32x4_t s = vdupq_n_f32(0);
    for (int r = 0; r < n_rows; r++) {
        const float32x4_t x = load_first(at + (size_t)rows[r] * ld, count);
        s = largest ? vmaxnmq_f32(s, vmulq_n_f32(x, by[r])) : vfmaq_n_f32(s, x, by[r]);
        if (halves) halves[r % 2] = vfmaq_n_f32(halves[r % 2], x, by[r]);
    }
    return s;
}

void fkv_window_sums_neon(float *logits, size_t ld, int w, int n, const int32_t *first, float sink, const float *weight,
                          bool largest, float *sums, float *halves)
{
    int rows[FKV_MAX_WINDOW];
    float by[FKV_MAX_WINDOW];
    const int n_rows = fkv_rows_that_count(weight, w, rows, by), n_before = n - w;
    for (int r = 0; r < n_rows; r++) {
        float *row = logits + (size_t)rows[r] * ld;
        const struct fkv_span seen = fkv_seen_in_window(first, rows[r], w, n);
        memset(row, 0, (size_t)seen.from * sizeof *row);
        by[r] *= softmax_terms(row + seen.from, seen.to - seen.from, sink);
    }
    for (int j = 0; j < n_before; j += 4) {
        const int count = n_before - j;
        float32x4_t h[2] = {vdupq_n_f32(0), vdupq_n_f32(0)};
        store_first(sums + j, reduce_rows(logits + j, ld, count, rows, by, n_rows, largest, halves ? h : NULL), count);
        for (int i = 0; i < 2 && halves; i++) store_first(halves + i * n_before + j, h[i], count);
    }
}

/* ---- pools: the middle by vectors, the ends one by one --------------------------------------- */

static float max_at(const float *x, int n, int pad, int j)
{
    float best = x[j];
    for (int i = j - pad < 0 ? 0 : j - pad; i <= j + pad && i < n; i++) best = x[i] > best ? x[i] : best;
    return best;
}

static float sum_at(const float *x, int n, int pad, int j)
{
    float sum = 0;
    for (int i = j - pad < 0 ? 0 : j - pad; i <= j + pad && i < n; i++) sum += x[i];
    return sum;
}

void fkv_pool_max_neon(const float *x, int n, int kernel, float *y)
{
    const int pad = kernel / 2;
    int j = 0;
    for (; j < pad && j < n; j++) y[j] = max_at(x, n, pad, j);
    for (; j + pad + 4 <= n; j += 4) {
        float32x4_t best = vld1q_f32(x + j);
        for (int i = j - pad; i <= j + pad; i++) {
            const float32x4_t v = vld1q_f32(x + i);
            best = vbslq_f32(vcgtq_f32(v, best), v, best);
        }
        vst1q_f32(y + j, best);
    }
    for (; j < n; j++) y[j] = max_at(x, n, pad, j);
}

void fkv_pool_avg_neon(const float *x, int n, int kernel, float *y)
{
    const int pad = kernel / 2;
    const float count = (float)kernel;
    int j = 0;
    for (; j < pad && j < n; j++) y[j] = sum_at(x, n, pad, j) / count;
    for (; j + pad + 4 <= n; j += 4) {
        float32x4_t sum = vdupq_n_f32(0);
        for (int i = j - pad; i <= j + pad; i++) sum = vaddq_f32(sum, vld1q_f32(x + i));
        vst1q_f32(y + j, vdivq_f32(sum, vdupq_n_f32(count)));
    }
    for (; j < n; j++) y[j] = sum_at(x, n, pad, j) / count;
}

/* ---- top k ----------------------------------------------------------------------------------- */

/* -0 becomes +0, negative numbers get their lower bits flipped, a NaN the lowest key of all. */
static void make_keys(const float *x, int n, int32_t *keys)
{
    for (int j = 0; j < n; j += 4) {
        const float32x4_t v = load_first(x + j, n - j);
        const int32x4_t b = vreinterpretq_s32_f32(vaddq_f32(v, vdupq_n_f32(0)));
        const int32x4_t lower = vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(vshrq_n_s32(b, 31)), 1));
        const int32x4_t key = vbslq_s32(vceqq_f32(v, v), veorq_s32(b, lower), vdupq_n_s32(INT32_MIN));
        store_first((float *)keys + j, vreinterpretq_f32_s32(key), n - j);
    }
}

static int count_above(const int32_t *keys, int n, int32_t limit)
{
    const int32x4_t than = vdupq_n_s32(limit);
    int32x4_t c0 = vdupq_n_s32(0), c1 = c0;
    int j = 0;
    for (; j + 8 <= n; j += 8) {
        c0 = vsubq_s32(c0, vreinterpretq_s32_u32(vcgtq_s32(vld1q_s32(keys + j), than)));
        c1 = vsubq_s32(c1, vreinterpretq_s32_u32(vcgtq_s32(vld1q_s32(keys + j + 4), than)));
    }
    int count = vaddvq_s32(vaddq_s32(c0, c1));
    for (; j < n; j++) count += keys[j] > limit;
    return count;
}

/* The k-th largest key: the largest t with at least k keys >= t. Bits are set in order of value: the sign bit means +
   there. */
static int32_t kth_key(const int32_t *keys, int n, int k)
{
    uint32_t t = 0;
    for (uint32_t bit = 0x80000000u; bit; bit >>= 1)
        if (count_above(keys, n, (int32_t)(((t | bit) - 1) ^ 0x80000000u)) >= k) t |= bit;
    return (int32_t)(t ^ 0x80000000u);
}

void fkv_top_k_neon(const float *x, int n, int k, uint32_t *scratch, int32_t *indices)
{
    if (k <= 0) return;
    int32_t *keys = (int32_t *)scratch;
    make_keys(x, n, keys);
    const int32_t t = kth_key(keys, n, k);
    int ties = k - count_above(keys, n, t), out = 0;
    for (int j = 0; j < n && out < k; j++) {
        if (j + 8 <= n) { /* most runs of 8 hold nothing that is taken */
            const uint32x4_t low = vcgeq_s32(vld1q_s32(keys + j), vdupq_n_s32(t)),
                             high = vcgeq_s32(vld1q_s32(keys + j + 4), vdupq_n_s32(t));
            if (vmaxvq_u32(vorrq_u32(low, high)) == 0) {
                j += 7;
                continue;
            }
        }
        if (keys[j] > t || (keys[j] == t && ties-- > 0)) indices[out++] = j;
    }
}
