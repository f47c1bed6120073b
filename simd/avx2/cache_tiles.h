/* cache_tiles.h: products of query rows with one tile of the cache, for attention and for FastKV's scores.

   Tiles (simd.h, "the KV cache's tiles") are "pairs x 32 x 2". Widened to float they become 4 strips of [pairs][16]: 8 entries
   (K) or 8 channels (V) by the two of a pair. */
#ifndef FKV_SIMD_AVX2_CACHE_TILES_H
#define FKV_SIMD_AVX2_CACHE_TILES_H

#include <math.h>

#include "simd/avx2/avx2.h"

enum { ROWS = 6, STRIP = 16 };

/* Pairs [0, n) of 64 values each to strips; strip i starts at strips + i * strip_pairs * STRIP. */
INLINE void widen_pairs(int value_bytes, __m256 (*load)(const void *), const char *from, int n, float *strips, size_t strip_pairs)
{
    for (int pair = 0; pair < n; pair++, from += 64 * value_bytes)
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++)
            _mm256_storeu_ps(strips + ((size_t)(i / 2) * strip_pairs + (size_t)pair) * STRIP + 8 * (i % 2), load(from + 8 * i * value_bytes));
}

INLINE __m256 load_8_f32(const void *p) { return _mm256_loadu_ps(p); }
INLINE __m256 load_8_int8(const int8_t *p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p))); }

static inline void widen_float(int type, const char *from, int n, float *strips, size_t strip_pairs)
{
    if (type == FKV_ELEM_F16) widen_pairs(2, load_8_f16, from, n, strips, strip_pairs);
    else if (type == FKV_ELEM_BF16) widen_pairs(2, load_8_bf16, from, n, strips, strip_pairs);
    else widen_pairs(4, load_8_f32, from, n, strips, strip_pairs);
}

/* Each of 4 scales twice. */
INLINE __m256 twice(__m128 s) { return _mm256_set_m128(_mm_unpackhi_ps(s, s), _mm_unpacklo_ps(s, s)); }

/* A tile of K: pairs of channels, 8 entries per strip. The padding past d is not needed. */
static inline void widen_k(int type, const char *tile, int d, float *strips, size_t strip_pairs)
{
    if (type != FKV_ELEM_Q8_0) {
        widen_float(type, tile, d / 2, strips, strip_pairs);
        return;
    }
    const int dp = fkv_padded_head(d);
    const int8_t *q = (const int8_t *)tile + dp * 2;
    for (int c = 0; c < dp / 32; c++) {
        __m256 scale[8];
        for (int i = 0; i < 8; i++) scale[i] = twice(_mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)(tile + 64 * c + 8 * i))));
        for (int pair = 16 * c; pair < 16 * (c + 1); pair++)
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++)
                _mm256_storeu_ps(strips + ((size_t)(i / 2) * strip_pairs + (size_t)pair) * STRIP + 8 * (i % 2), _mm256_mul_ps(load_8_int8(q + 64 * pair + 8 * i), scale[i]));
    }
}

/* 32 channels from c on of a tile of V: pairs of entries, 8 channels per strip. */
static inline void widen_v(int type, const char *tile, int d, int c, float *strips, size_t strip_pairs)
{
    if (type != FKV_ELEM_Q8_0) {
        widen_float(type, tile + (size_t)c * FKV_TILE * (type == FKV_ELEM_F32 ? 4 : 2), FKV_TILE / 2, strips, strip_pairs);
        return;
    }
    float scale[FKV_TILE];
    for (int i = 0; i < FKV_TILE; i += 8) _mm256_storeu_ps(scale + i, load_8_f16(tile + 2 * c + 2 * i));
    const int8_t *q = (const int8_t *)tile + fkv_padded_head(d) * 2 + c * FKV_TILE;
    for (int pair = 0; pair < FKV_TILE / 2; pair++) {
        const __m128 two = _mm_castpd_ps(_mm_load_sd((const double *)(const void *)(scale + 2 * pair)));
        const __m256 s = _mm256_castpd_ps(_mm256_broadcastsd_pd(_mm_castps_pd(two)));
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++)
            _mm256_storeu_ps(strips + ((size_t)(i / 2) * strip_pairs + (size_t)pair) * STRIP + 8 * (i % 2), _mm256_mul_ps(load_8_int8(q + 64 * pair + 8 * i), s));
    }
}

INLINE __m256 broadcast_pair(const float *p)
{
    double pair; /* moved, not computed with */
    memcpy(&pair, p, sizeof pair);
    return _mm256_castpd_ps(_mm256_set1_pd(pair));
}

/* sum[r] = 8 results of row r: over the pairs, x[r][pair] times the strip, neighbours added at the end. */
INLINE void strip_sums(const int rows, const float *x, size_t ldx, const float *strip, int pairs, __m256 sum[ROWS])
{
    __m256 a[ROWS][2];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) a[r][0] = a[r][1] = _mm256_setzero_ps();
    for (int pair = 0; pair < pairs; pair++) {
        const __m256 s0 = _mm256_loadu_ps(strip + pair * STRIP), s1 = _mm256_loadu_ps(strip + pair * STRIP + 8);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            const __m256 xv = broadcast_pair(x + (size_t)r * ldx + 2 * pair);
            a[r][0] = _mm256_fmadd_ps(s0, xv, a[r][0]);
            a[r][1] = _mm256_fmadd_ps(s1, xv, a[r][1]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
        sum[r] = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_hadd_ps(a[r][0], a[r][1])), 0xd8));
}

INLINE void qk_rows(const int rows, const float *q, size_t ldq, const float *strip, int pairs, float *logits, size_t ld)
{
    __m256 sum[ROWS];
    strip_sums(rows, q, ldq, strip, pairs, sum);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) _mm256_storeu_ps(logits + (size_t)r * ld, sum[r]);
}

INLINE void pv_rows(const int rows, const float *p, size_t ldp, const float *strip, int pairs, const float *rescale, float *out, size_t ldo)
{
    __m256 sum[ROWS];
    strip_sums(rows, p, ldp, strip, pairs, sum);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
        _mm256_storeu_ps(out + (size_t)r * ldo, _mm256_fmadd_ps(_mm256_loadu_ps(out + (size_t)r * ldo), _mm256_set1_ps(rescale[r]), sum[r]));
}

/* logits[rows][8] of one strip of K; rows is 1 .. ROWS. */
static inline void qk_strip(int rows, const float *q, size_t ldq, const float *strip, int pairs, float *logits, size_t ld)
{
    switch (rows) {
    case 6: qk_rows(6, q, ldq, strip, pairs, logits, ld); break;
    case 5: qk_rows(5, q, ldq, strip, pairs, logits, ld); break;
    case 4: qk_rows(4, q, ldq, strip, pairs, logits, ld); break;
    case 3: qk_rows(3, q, ldq, strip, pairs, logits, ld); break;
    case 2: qk_rows(2, q, ldq, strip, pairs, logits, ld); break;
    default: qk_rows(1, q, ldq, strip, pairs, logits, ld);
    }
}

/* out[rows][8] = out * rescale + p V of one strip. */
static inline void pv_strip(int rows, const float *p, size_t ldp, const float *strip, int pairs, const float *rescale, float *out, size_t ldo)
{
    switch (rows) {
    case 6: pv_rows(6, p, ldp, strip, pairs, rescale, out, ldo); break;
    case 5: pv_rows(5, p, ldp, strip, pairs, rescale, out, ldo); break;
    case 4: pv_rows(4, p, ldp, strip, pairs, rescale, out, ldo); break;
    case 3: pv_rows(3, p, ldp, strip, pairs, rescale, out, ldo); break;
    case 2: pv_rows(2, p, ldp, strip, pairs, rescale, out, ldo); break;
    default: pv_rows(1, p, ldp, strip, pairs, rescale, out, ldo);
    }
}

#endif
