/* FastKV's scores and selection, in fp32 with a fixed order of summation: their order decides which entries are
   kept. */
#include "simd/avx512/cells_f32.h"

#include "simd/avx512/avx512.h"
#include "simd/avx512/exponential.h"
#include "simd/avx512/lanes.h"
#include "simd/avx512/tile.h"
#include "simd/seen.h"
#include "simd/wide.h"

#include <float.h>
#include <math.h>

TILE_FUNCTIONS(multiply_cells, &cells_f32, load_cell)

/* The columns of [n_rows][ROW_WORDS] dot products, scaled, into logits; n of them, at most 32. */
static void store_logits(const float *dots, int n_rows, int n, float scale, float *logits, size_t ld)
{
    for (int r = 0; r < n_rows; r++)
        for (int j = 0; j < n; j += 16)
            _mm512_mask_storeu_ps(logits + r * ld + j, lanes_below(n - j),
                                  _mm512_mul_ps(_mm512_load_ps(dots + r * ROW_WORDS + j), _mm512_set1_ps(scale)));
}

/* Tile by tile: as floats into L1, then 12 rows at a time. Channels are added in order. */
void fkv_window_logits_avx512(const float *q, size_t ldq, int w, const void *k, int k_type, int d, int n, float scale,
                              float *logits, size_t ld)
{
    _Alignas(64) uint32_t rows[2][FKV_MAX_WINDOW][ROW_WORDS]; /* channels below 256, and the others */
    _Alignas(64) char cells[FKV_MAX_HEAD / 32][MOST_CELL_BYTES];
    _Alignas(64) float dots[MOST_ROWS][ROW_WORDS];
    const int n_cells = fkv_padded_head(d) / 32, n_groups = (w + MOST_ROWS - 1) / MOST_ROWS;
    const size_t tile_bytes = fkv_tile_bytes(k_type, d);
    struct tile_product p = {.cell_stride = sizeof *cells,
                             .out = dots[0],
                             .out_stride = ROW_WORDS,
                             .ahead_step = tile_bytes / (size_t)(n_cells * cells_f32.steps)};
    for (int r = 0; r < w; r++) {
        for (int i = 0; i < d; i += FKV_PLACE) {
            memset(rows[i / FKV_PLACE][r], 0, FKV_PLACE * sizeof(float));
            memcpy(rows[i / FKV_PLACE][r], q + r * ldq + i,
                   (size_t)(d - i < FKV_PLACE ? d - i : FKV_PLACE) * sizeof *q);
        }
    }
    for (int j = 0; j < n; j += FKV_TILE) {
        const char *tile = (const char *)k + (size_t)(j / FKV_TILE) * tile_bytes;
        for (int c = 0; c < n_cells; c++) expand_f32(k_type, tile, c, d, true, cells[c]);
        p.ahead = j + FKV_TILE < n ? tile + tile_bytes : tile;
        for (int i = 0; i < n_groups; i++) {
            const int row0 = i * w / n_groups, row1 = (i + 1) * w / n_groups;
            for (int c = 0; c < n_cells; c += row_cells(&cells_f32)) {
                p.n_cells = n_cells - c < row_cells(&cells_f32) ? n_cells - c : row_cells(&cells_f32);
                p.cells = cells[c];
                p.rows = rows[c / row_cells(&cells_f32)][row0];
                p.correction = c ? no_correction : NULL;
                multiply_cells[row1 - row0](&p);
            }
            store_logits(dots[0], row1 - row0, n - j < FKV_TILE ? n - j : FKV_TILE, scale, logits + row0 * ld + j, ld);
        }
    }
}

static float largest(const float *x, int n)
{
    __m512 top = _mm512_set1_ps(-INFINITY);
    for (int j = 0; j < n; j += 16) {
        const __mmask16 m = lanes_below(n - j);
        top = _mm512_mask_max_ps(top, m, top, _mm512_maskz_loadu_ps(m, x + j));
    }
    return _mm512_reduce_max_ps(top);
}

/* x[n] becomes exp(x - the largest of it and the sink); returns the sum, the sink's term in it. Zeros and 0 when all
   are -inf. */
static float exponentials(float *x, int n, float sink)
{
    const float most = fmaxf(fmaxf(largest(x, n), sink), -FLT_MAX);
    const __m512 top = _mm512_set1_ps(most);
    __m512 sum = _mm512_setzero_ps();
    for (int j = 0; j < n; j += 16) {
        const __mmask16 m = lanes_below(n - j);
        const __m512 e = exp_precise(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, x + j), top));
        sum = _mm512_mask_add_ps(sum, m, sum, e);
        _mm512_mask_storeu_ps(x + j, m, e);
    }
    return _mm512_reduce_add_ps(sum) + expf(sink - most);
}

/* 16 columns of the rows from `at` on; halves: [2] vectors to which every other row is added, or NULL. */
INLINE __m512 reduce_rows(const float *at, size_t ld, __mmask16 m, const int *rows, const float *by, int n_rows,
                          const bool largest, __m512 *halves)
{
    __m512 all = _mm512_setzero_ps();
    for (int r = 0; r < n_rows; r++) {
        const __m512 x = _mm512_maskz_loadu_ps(m, at + rows[r] * ld), b = _mm512_set1_ps(by[r]);
        all = largest ? _mm512_max_ps(_mm512_mul_ps(x, b), all) : _mm512_fmadd_ps(x, b, all);
        if (halves) halves[r % 2] = _mm512_fmadd_ps(x, b, halves[r % 2]);
    }
    return all;
}

void fkv_window_sums_avx512(float *logits, size_t ld, int w, int n, const int32_t *first, float sink,
                            const float *weight, bool largest, float *sums, float *halves)
{
    const int n_before = n - w;
    int rows[FKV_MAX_WINDOW];
    float by[FKV_MAX_WINDOW];
    const int n_rows = fkv_rows_that_count(weight, w, rows, by);
    for (int r = 0; r < n_rows; r++) {
        const struct fkv_span seen = fkv_seen_in_window(first, rows[r], w, n);
        float *row = logits + rows[r] * ld;
        memset(row, 0, (size_t)seen.from * sizeof *row);
        const float sum = exponentials(row + seen.from, seen.to - seen.from, sink);
        by[r] *= sum > 0 ? 1.0f / sum : 0;
    }
    for (int j = 0; j < n_before; j += 16) {
        const __mmask16 m = lanes_below(n_before - j);
        __m512 h[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
        _mm512_mask_storeu_ps(sums + j, m,
                              reduce_rows(logits + j, ld, m, rows, by, n_rows, largest, halves ? h : NULL));
        for (int i = 0; i < 2 && halves; i++) _mm512_mask_storeu_ps(halves + i * n_before + j, m, h[i]);
    }
}

/* Pooling: near the ends in plain C, 16 outputs at a time where the whole kernel lies inside. */
static float max_near_end(const float *x, int n, int kernel, int j)
{
    float top = -INFINITY;
    for (int i = j - kernel / 2; i <= j + kernel / 2; i++)
        if (i >= 0 && i < n && x[i] > top) top = x[i];
    return top;
}

void fkv_pool_max_avx512(const float *x, int n, int kernel, float *y)
{
    const int half = kernel / 2;
    int j = 0;
    for (; j < n && j < half; j++) y[j] = max_near_end(x, n, kernel, j);
    for (; j + 16 + half <= n; j += 16) {
        __m512 top = _mm512_loadu_ps(x + j - half);
        for (int i = 1; i < kernel; i++) top = _mm512_max_ps(top, _mm512_loadu_ps(x + j - half + i));
        _mm512_storeu_ps(y + j, top);
    }
    for (; j < n; j++) y[j] = max_near_end(x, n, kernel, j);
}

static float average_near_end(const float *x, int n, int kernel, int j)
{
    float sum = 0;
    for (int i = j - kernel / 2; i <= j + kernel / 2; i++)
        if (i >= 0 && i < n) sum += x[i];
    return sum / (float)kernel;
}

void fkv_pool_avg_avx512(const float *x, int n, int kernel, float *y)
{
    const int half = kernel / 2;
    int j = 0;
    for (; j < n && j < half; j++) y[j] = average_near_end(x, n, kernel, j);
    for (; j + 16 + half <= n; j += 16) {
        __m512 sum = _mm512_setzero_ps();
        for (int i = 0; i < kernel; i++) sum = _mm512_add_ps(sum, _mm512_loadu_ps(x + j - half + i));
        _mm512_storeu_ps(y + j, _mm512_div_ps(sum, _mm512_set1_ps((float)kernel)));
    }
    for (; j < n; j++) y[j] = average_near_end(x, n, kernel, j);
}

/* Top k. Floats become unsigned keys of the same order: of a negative one all bits are flipped, of the others the sign
   bit; -0 is made +0, a NaN key 0 (-inf has 0x007fffff). The k-th largest key is found bit by bit from the top, each by
   one compare and count of all keys: no branch depends on the values and the answer is exact. */
static void make_keys(const float *x, int n, uint32_t *keys)
{
    for (int j = 0; j < n; j += 16) {
        const __mmask16 m = lanes_below(n - j);
        const __m512 v = _mm512_add_ps(_mm512_maskz_loadu_ps(m, x + j), _mm512_setzero_ps());
        const __m512i bits = _mm512_castps_si512(v),
                      flip = _mm512_or_si512(_mm512_srai_epi32(bits, 31), _mm512_set1_epi32(INT32_MIN));
        _mm512_mask_storeu_epi32(keys + j, m, _mm512_maskz_xor_epi32(_mm512_cmp_ps_mask(v, v, _CMP_ORD_Q), bits, flip));
    }
}

static int count_from(const uint32_t *keys, int n, uint32_t least)
{
    const __m512i from = _mm512_set1_epi32((int)least), one = _mm512_set1_epi32(1);
    __m512i count0 = _mm512_setzero_si512(), count1 = count0;
    int j = 0;
    for (; j + 32 <= n; j += 32) {
        count0 = _mm512_mask_add_epi32(count0, _mm512_cmpge_epu32_mask(_mm512_loadu_si512(keys + j), from), count0,
                                       one);
        count1 = _mm512_mask_add_epi32(count1, _mm512_cmpge_epu32_mask(_mm512_loadu_si512(keys + j + 16), from), count1,
                                       one);
    }
    for (; j < n; j += 16) {
        const __mmask16 m = lanes_below(n - j);
        count0 = _mm512_mask_add_epi32(count0,
                                       _mm512_mask_cmpge_epu32_mask(m, _mm512_maskz_loadu_epi32(m, keys + j), from),
                                       count0, one);
    }
    return _mm512_reduce_add_epi32(_mm512_add_epi32(count0, count1));
}

/* The largest key that at least k keys reach. */
static uint32_t kth_largest(const uint32_t *keys, int n, int k)
{
    uint32_t kth = 0;
    for (int bit = 31; bit >= 0; bit--)
        if (count_from(keys, n, kth | 1u << bit) >= k) kth |= 1u << bit;
    return kth;
}

void fkv_top_k_avx512(const float *x, int n, int k, uint32_t *keys, int32_t *indices)
{
    if (k <= 0) return;
    make_keys(x, n, keys);
    const uint32_t kth = kth_largest(keys, n, k);
    const __m512i bound = _mm512_set1_epi32((int)kth),
                  iota = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    int n_ties = kth == UINT32_MAX ? k
                                   : k - count_from(keys, n, kth + 1); /* how many equal to the k-th belong to the k */
    for (int j = 0; j < n; j += 16) {
        const __mmask16 m = lanes_below(n - j);
        const __m512i v = _mm512_maskz_loadu_epi32(m, keys + j);
        const uint32_t equal = _mm512_mask_cmpeq_epu32_mask(m, v, bound),
                       ties = _pdep_u32(lanes_below(n_ties), equal); /* the first ones */
        const uint32_t take = _mm512_mask_cmpgt_epu32_mask(m, v, bound) | ties;
        const int taken = __builtin_popcount(take);
        /* vpcompressd to memory is microcoded on Zen 4; in a register it is not */
        _mm512_mask_storeu_epi32(indices, lanes_below(taken),
                                 _mm512_maskz_compress_epi32((__mmask16)take,
                                                             _mm512_add_epi32(iota, _mm512_set1_epi32(j))));
        indices += taken;
        n_ties -= __builtin_popcount(ties);
    }
}
