/* FastKV's scores and selection (simd.h). Scores are fp32 throughout: their order decides what is kept.

   window_logits: the tile products of attention, 6 queries x 8 entries. window_sums: three sweeps over a row: maximum;
   e^(x - max) and its sum; the sum over the rows, or the largest. top_k: keys whose order as signed integers is that of
   the floats; the k-th largest is found bit by bit from the top, counting the keys at or above a candidate: no branch
   on data, exact. */
#include "simd/avx2/cache_tiles.h"
#include "simd/seen.h"

void fkv_window_logits_avx2(const float *q, size_t ldq, int w, const void *k, int k_type, int d, int n, float scale,
                            float *logits, size_t ld)
{
    float strips[4][FKV_MAX_HEAD / 2][STRIP], tile_logits[ROWS][FKV_TILE];
    const __m256 by = _mm256_set1_ps(scale);
    for (int e = 0; e < n; e += FKV_TILE) {
        widen_k(k_type, (const char *)k + (size_t)(e / FKV_TILE) * fkv_tile_bytes(k_type, d), d, strips[0][0],
                FKV_MAX_HEAD / 2);
        const int count = n - e < FKV_TILE ? n - e : FKV_TILE;
        for (int row = 0; row < w; row += ROWS) {
            const int rows = w - row < ROWS ? w - row : ROWS;
            for (int i = 0; i < 4; i++) {
                const struct strip s = widened_strip(strips[0][0], FKV_MAX_HEAD / 2, i, d / 2);
                const struct strip_product p = {q + (size_t)row * ldq, ldq, NULL, &tile_logits[0][8 * i], FKV_TILE};
                multiply_strip(rows, &p, &s);
            }
            for (int r = 0; r < rows; r++) {
                for (int j = 0; j < FKV_TILE; j += 8)
                    _mm256_storeu_ps(&tile_logits[r][j], _mm256_mul_ps(_mm256_loadu_ps(&tile_logits[r][j]), by));
                memcpy(logits + (size_t)(row + r) * ld + e, tile_logits[r], (size_t)count * 4);
            }
        }
    }
}

/* x becomes e^(x - max); returns 1 / sum, the sink's term in it. A row of -inf alone has no softmax: it counts for
   nothing. */
static float softmax_terms(float *x, int n, float sink)
{
    __m256 top = _mm256_set1_ps(-INFINITY), sum = _mm256_setzero_ps();
    for (int j = 0; j < n; j += 8) {
        const __m256 in = _mm256_castsi256_ps(first_lanes(n - j));
        top = _mm256_max_ps(_mm256_blendv_ps(top, load_first(x + j, n - j), in), top);
    }
    const float largest = fmaxf(horizontal_max(top), sink), base = largest == -INFINITY ? 0 : largest;
    const __m256 max = _mm256_set1_ps(base);
    for (int j = 0; j < n; j += 8) {
        const __m256 e = exp_8(_mm256_sub_ps(load_first(x + j, n - j), max));
        store_first(x + j, n - j, e);
        sum = _mm256_add_ps(sum, _mm256_and_ps(e, _mm256_castsi256_ps(first_lanes(n - j))));
    }
    const float total = horizontal_sum(sum) + expf(sink - base);
    return total == 0 ? 0 : 1.0f / total;
}

/* 8 columns of the rows from `at` on; halves: [2] vectors to which every other row is added, or NULL. */
INLINE __m256 reduce_rows(const float *at, size_t ld, int count, const int *rows, const float *by, int n_rows,
                          const bool largest, __m256 *halves)
{
    __m256 s = _mm256_setzero_ps();
    for (int r = 0; r < n_rows; r++) {
        const __m256 x = load_first(at + (size_t)rows[r] * ld, count), b = _mm256_set1_ps(by[r]);
        s = largest ? _mm256_max_ps(_mm256_mul_ps(x, b), s) : _mm256_fmadd_ps(x, b, s);
        if (halves) halves[r % 2] = _mm256_fmadd_ps(x, b, halves[r % 2]);
    }
    return s;
}

void fkv_window_sums_avx2(float *logits, size_t ld, int w, int n, const int32_t *first, float sink, const float *weight,
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
    for (int j = 0; j < n_before; j += 8) {
        const int count = n_before - j;
        __m256 h[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
        store_first(sums + j, count, reduce_rows(logits + j, ld, count, rows, by, n_rows, largest, halves ? h : NULL));
        for (int i = 0; i < 2 && halves; i++) store_first(halves + i * n_before + j, count, h[i]);
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

void fkv_pool_max_avx2(const float *x, int n, int kernel, float *y)
{
    const int pad = kernel / 2;
    int j = 0;
    for (; j < pad && j < n; j++) y[j] = max_at(x, n, pad, j);
    for (; j + pad + 8 <= n; j += 8) {
        __m256 best = _mm256_loadu_ps(x + j);
        for (int i = j - pad; i <= j + pad; i++)
            best = _mm256_max_ps(_mm256_loadu_ps(x + i), best); /* x > best ? x : best */
        _mm256_storeu_ps(y + j, best);
    }
    for (; j < n; j++) y[j] = max_at(x, n, pad, j);
}

void fkv_pool_avg_avx2(const float *x, int n, int kernel, float *y)
{
    const int pad = kernel / 2;
    const float count = (float)kernel;
    int j = 0;
    for (; j < pad && j < n; j++) y[j] = sum_at(x, n, pad, j) / count;
    for (; j + pad + 8 <= n; j += 8) {
        __m256 sum = _mm256_setzero_ps();
        for (int i = j - pad; i <= j + pad; i++) sum = _mm256_add_ps(sum, _mm256_loadu_ps(x + i));
        _mm256_storeu_ps(y + j, _mm256_div_ps(sum, _mm256_set1_ps(count)));
    }
    for (; j < n; j++) y[j] = sum_at(x, n, pad, j) / count;
}

/* ---- top k ----------------------------------------------------------------------------------- */

/* -0 becomes +0, negative numbers get their lower bits flipped, a NaN the lowest key of all. They travel as floats:
   moved, never computed with. */
INLINE __m256 order_keys(__m256 x)
{
    const __m256i b = _mm256_castps_si256(_mm256_add_ps(x, _mm256_setzero_ps()));
    const __m256 key = _mm256_castsi256_ps(_mm256_xor_si256(b, _mm256_srli_epi32(_mm256_srai_epi32(b, 31), 1)));
    return _mm256_blendv_ps(key, _mm256_castsi256_ps(_mm256_set1_epi32(INT32_MIN)), _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

static void make_keys(const float *x, int n, int32_t *keys)
{
    for (int j = 0; j < n; j += 8) store_first(keys + j, n - j, order_keys(load_first(x + j, n - j)));
}

static int count_above(const int32_t *keys, int n, int32_t limit)
{
    const __m256i than = _mm256_set1_epi32(limit);
    __m256i c0 = _mm256_setzero_si256(), c1 = c0;
    int j = 0;
    for (; j + 16 <= n; j += 16) {
        c0 = _mm256_sub_epi32(c0, _mm256_cmpgt_epi32(_mm256_loadu_si256((const __m256i *)(keys + j)), than));
        c1 = _mm256_sub_epi32(c1, _mm256_cmpgt_epi32(_mm256_loadu_si256((const __m256i *)(keys + j + 8)), than));
    }
    int32_t lanes[8], count = 0;
    _mm256_storeu_si256((__m256i *)lanes, _mm256_add_epi32(c0, c1));
    for (int i = 0; i < 8; i++) count += lanes[i];
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

void fkv_top_k_avx2(const float *x, int n, int k, uint32_t *scratch, int32_t *indices)
{
    if (k <= 0) return;
    int32_t *keys = (int32_t *)scratch;
    make_keys(x, n, keys);
    const int32_t t = kth_key(keys, n, k);
    const __m256i tv = _mm256_set1_epi32(t);
    int ties = k - count_above(keys, n, t), out = 0;
    for (int j = 0; j < n; j += 8) {
        const __m256i in = first_lanes(n - j), v = _mm256_castps_si256(load_first(keys + j, n - j));
        unsigned take = (unsigned)_mm256_movemask_ps(
            _mm256_castsi256_ps(_mm256_and_si256(in, _mm256_cmpgt_epi32(v, tv))));
        unsigned tie = (unsigned)_mm256_movemask_ps(
            _mm256_castsi256_ps(_mm256_and_si256(in, _mm256_cmpeq_epi32(v, tv))));
        for (; tie && ties > 0; ties--, tie &= tie - 1) take |= tie & -tie;
        for (; take; take &= take - 1) indices[out++] = j + __builtin_ctz(take);
    }
}
