/* Appending rows to the cache's tiles: a row is rounded to the cache's type, then spread over its tile, pairs of
   channels to K's lanes and single channels to every second lane half of V's. A tile stays in L1 while its entries are
   written. */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "simd/avx512/avx512.h"

/* A row of a head, rounded; channels past d are zero. */
union stored_row {
    _Alignas(64) float f32[FKV_MAX_HEAD];
    uint16_t half[FKV_MAX_HEAD]; /* f16 or bf16 */
    int8_t q8[FKV_MAX_HEAD];
};

static __m256i bf16_from_f32(__m512 x)
{
    const __m512i u = _mm512_castps_si512(x), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(
        _mm512_srli_epi32(_mm512_mask_or_epi32(rounded, nan, u, _mm512_set1_epi32(0x400000)), 16));
}

/* 32 values: q = x / scale, where the scale takes the largest to 127 and is rounded to f16 first; returns it. */
static fkv_f16 quantise(const float *x, int8_t *q)
{
    const __m512 a = _mm512_load_ps(x), b = _mm512_load_ps(x + 16);
    const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
    const fkv_f16 stored = fkv_f16_from_f32(fminf(largest / 127, 65504));
    const __m512 scale = _mm512_set1_ps(stored ? fkv_f32_from_f16(stored) : INFINITY); /* a scale of zero: all are 0 */
    const __m512i most = _mm512_set1_epi32(127), least = _mm512_set1_epi32(-127);
    const __m512i qa = _mm512_cvtps_epi32(_mm512_div_ps(a, scale)), qb = _mm512_cvtps_epi32(_mm512_div_ps(b, scale));
    _mm_store_si128((__m128i *)q, _mm512_cvtepi32_epi8(_mm512_max_epi32(least, _mm512_min_epi32(most, qa))));
    _mm_store_si128((__m128i *)q + 1, _mm512_cvtepi32_epi8(_mm512_max_epi32(least, _mm512_min_epi32(most, qb))));
    return stored;
}

/* scales: q8_0 only, one for each 32 channels, 32 values apart (from cell to cell of the tile). */
static void round_row(const float *x, int d, int type, union stored_row *row, fkv_f16 *scales)
{
    const int dp = fkv_padded_head(d);
    _Alignas(64) float padded[FKV_MAX_HEAD];
    memcpy(padded, x, (size_t)d * sizeof *x);
    memset(padded + d, 0, (size_t)(dp - d) * sizeof *x);
    if (type == FKV_ELEM_Q8_0)
        for (int c = 0; c < dp; c += 32) scales[c] = quantise(padded + c, row->q8 + c);
    else
        for (int c = 0; c < dp; c += 16) {
            const __m512 v = _mm512_load_ps(padded + c);
            if (type == FKV_ELEM_F32)
                _mm512_store_ps(row->f32 + c, v);
            else
                _mm256_store_si256((__m256i *)(row->half + c), type == FKV_ELEM_BF16
                                                                   ? bf16_from_f32(v)
                                                                   : _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
        }
}

/* values: of a tile, `size` bytes each. */
static inline __attribute__((always_inline)) void spread_k(const char *row, int dp, int entry, size_t size,
                                                           char *values)
{
    for (int c = 0; c < dp; c += 2) memcpy(values + fkv_k_index(entry, c) * size, row + c * size, 2 * size);
}

static inline __attribute__((always_inline)) void spread_v(const char *row, int dp, int entry, size_t size,
                                                           char *values)
{
    for (int c = 0; c < dp; c++) memcpy(values + fkv_v_index(entry, c) * size, row + c * size, size);
}

static void zero_k(int dp, int entry, size_t size, char *values)
{
    for (int c = 0; c < dp; c += 2)
        memset(values + fkv_k_index(entry, c) * size, 0, (size_t)(FKV_TILE - entry) * 2 * size);
}

static void zero_v(int dp, int entry, size_t size, char *values)
{
    const union stored_row zeros = {{0}};
    const int even = (entry + 1) & ~1; /* from here on the pairs are whole */
    if (entry < even) spread_v((const char *)&zeros, dp, entry, size, values);
    if (even < FKV_TILE)
        for (int c = 0; c < dp; c += 32)
            memset(values + fkv_v_index(even, c) * size, 0, (size_t)(FKV_TILE - even) * 32 * size);
}

static inline __attribute__((always_inline)) void pack(const float *x, const struct fkv_kv_rows *r, int type,
                                                       size_t size, bool is_k, char *tiles)
{
    const int dp = fkv_padded_head(r->d), end = r->first + r->n;
    const size_t tile_bytes = fkv_tile_bytes(type, r->d),
                 scale_bytes = type == FKV_ELEM_Q8_0 ? (size_t)dp * sizeof(fkv_f16) : 0;
    union stored_row row;
    for (int e = r->first; e < end; e++, x += r->ld) {
        char *tile = tiles + (size_t)(e / FKV_TILE) * tile_bytes;
        round_row(x, r->d, type, &row, (fkv_f16 *)tile + e % FKV_TILE);
        if (is_k)
            spread_k((const char *)&row, dp, e % FKV_TILE, size, tile + scale_bytes);
        else
            spread_v((const char *)&row, dp, e % FKV_TILE, size, tile + scale_bytes);
    }
    if (end % FKV_TILE == 0) return;
    char *last = tiles + (size_t)(end / FKV_TILE) * tile_bytes;
    if (is_k)
        zero_k(dp, end % FKV_TILE, size, last + scale_bytes);
    else
        zero_v(dp, end % FKV_TILE, size, last + scale_bytes);
    if (type == FKV_ELEM_Q8_0)
        for (int c = 0; c < dp; c += 32)
            memset((fkv_f16 *)last + c + end % FKV_TILE, 0, (size_t)(FKV_TILE - end % FKV_TILE) * sizeof(fkv_f16));
}

static void pack_type(const float *x, const struct fkv_kv_rows *r, int type, bool is_k, void *tiles)
{
    switch (type) {
    case FKV_ELEM_F32: pack(x, r, type, 4, is_k, tiles); break;
    case FKV_ELEM_Q8_0: pack(x, r, type, 1, is_k, tiles); break;
    default: pack(x, r, type, 2, is_k, tiles); break;
    }
}

void fkv_kv_pack_avx512(const struct fkv_kv_rows *r)
{
    if (r->n <= 0) return;
    if (r->k) pack_type(r->k, r, r->k_type, true, r->k_tiles);
    if (r->v) pack_type(r->v, r, r->v_type, false, r->v_tiles);
}
