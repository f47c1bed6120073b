/* cache_tiles.h: products of query rows with one tile of the cache, for attention and for FastKV's scores.

   Tiles (simd.h, "the KV cache's tiles") are "pairs x 32 x 2". Widened to float they become 4 strips of [pairs][16]: 8
   entries (K) or 8 channels (V) by the two of a pair. */
#ifndef FKV_SIMD_AVX2_CACHE_TILES_H
#define FKV_SIMD_AVX2_CACHE_TILES_H

#include <math.h>

#include "simd/avx2/avx2.h"

enum { ROWS = 6, STRIP = 16 };

/* Pairs [0, n) of 64 values each to strips; strip i starts at strips + i * strip_pairs * STRIP. */
INLINE void widen_pairs(int value_bytes, __m256 (*load)(const void *), const char *from, int n, float *strips,
                        size_t strip_pairs)
{
    for (int pair = 0; pair < n; pair++, from += 64 * value_bytes)
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++)
            _mm256_storeu_ps(strips + ((size_t)(i / 2) * strip_pairs + (size_t)pair) * STRIP + 8 * (i % 2),
                             load(from + 8 * i * value_bytes));
}

INLINE __m256 load_8_int8(const int8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

static inline void widen_float(int type, const char *from, int n, float *strips, size_t strip_pairs)
{
    if (type == FKV_ELEM_F16)
        widen_pairs(2, load_8_f16, from, n, strips, strip_pairs);
    else if (type == FKV_ELEM_BF16)
        widen_pairs(2, load_8_bf16, from, n, strips, strip_pairs);
    else
        widen_pairs(4, load_8_f32, from, n, strips, strip_pairs);
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
        for (int i = 0; i < 8; i++)
            scale[i] = twice(_mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)(tile + 64 * c + 8 * i))));
        for (int pair = 16 * c; pair < 16 * (c + 1); pair++)
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++)
                _mm256_storeu_ps(strips + ((size_t)(i / 2) * strip_pairs + (size_t)pair) * STRIP + 8 * (i % 2),
                                 _mm256_mul_ps(load_8_int8(q + 64 * pair + 8 * i), scale[i]));
    }
}

/* Channels c .. of a tile of V (not q8_0); c divides by 32. */
INLINE const char *v_channels(int type, const char *tile, int c)
{
    return tile + (size_t)c * FKV_TILE * (type == FKV_ELEM_F32 ? 4 : 2);
}

/* 32 channels from c on of a tile of V (not q8_0): pairs of entries, 8 channels per strip. */
static inline void widen_v(int type, const char *tile, int c, float *strips, size_t strip_pairs)
{
    widen_float(type, v_channels(type, tile, c), FKV_TILE / 2, strips, strip_pairs);
}

INLINE __m256 broadcast_pair(const float *p)
{
    double pair; /* moved, not computed with */
    memcpy(&pair, p, sizeof pair);
    return _mm256_castpd_ps(_mm256_set1_pd(pair));
}

/* Where a strip lies: `runs` times `pairs` of 16 values each, as floats or as the cache has them. */
struct strip {
    int type; /* not q8_0 */
    const char *at;
    size_t pair_bytes, run_bytes; /* from pair to pair, from run to run */
    int pairs, runs;
    const char *fetched; /* what to bring into cache meanwhile, so many bytes a pair; NULL: nothing */
    size_t fetched_bytes;
};

/* y[r][8] = x[r] times the strip, summed over the pairs, neighbours added at the end; with rescale, added to y[r]
   rescale[r]. */
struct strip_product {
    const float *x; /* [rows][ldx], a pair of values per pair of the strip */
    size_t ldx;
    const float *rescale; /* [rows] or NULL */
    float *y;             /* [rows][ldy] */
    size_t ldy;
};

INLINE void multiply_strip_by(const int rows, int value_bytes, __m256 (*load)(const void *), const bool fetches,
                              const struct strip_product *p, const struct strip *s)
{
    const float *x = p->x;
    const char *fetched = s->fetched;
    const size_t ldx = p->ldx;
    __m256 a[ROWS][2];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) a[r][0] = a[r][1] = _mm256_setzero_ps();
    for (int run = 0; run < s->runs; run++) {
        const char *at = s->at + (size_t)run * s->run_bytes;
        for (int pair = 0; pair < s->pairs; pair++, x += 2, at += s->pair_bytes) {
            const __m256 s0 = load(at), s1 = load(at + 8 * value_bytes);
            if (fetches) {
                _mm_prefetch(fetched, _MM_HINT_T0);
                fetched += s->fetched_bytes;
            }
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                const __m256 xv = broadcast_pair(x + (size_t)r * ldx);
                a[r][0] = _mm256_fmadd_ps(s0, xv, a[r][0]);
                a[r][1] = _mm256_fmadd_ps(s1, xv, a[r][1]);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        float *y = p->y + (size_t)r * p->ldy;
        __m256 sum = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_hadd_ps(a[r][0], a[r][1])), 0xd8));
        if (p->rescale) sum = _mm256_fmadd_ps(_mm256_loadu_ps(y), _mm256_set1_ps(p->rescale[r]), sum);
        _mm256_storeu_ps(y, sum);
    }
}

INLINE void multiply_strip_of(int rows, int value_bytes, __m256 (*load)(const void *), const bool fetches,
                              const struct strip_product *p, const struct strip *s)
{
    switch (rows) {
    case 6: multiply_strip_by(6, value_bytes, load, fetches, p, s); break;
    case 5: multiply_strip_by(5, value_bytes, load, fetches, p, s); break;
    case 4: multiply_strip_by(4, value_bytes, load, fetches, p, s); break;
    case 3: multiply_strip_by(3, value_bytes, load, fetches, p, s); break;
    case 2: multiply_strip_by(2, value_bytes, load, fetches, p, s); break;
    default: multiply_strip_by(1, value_bytes, load, fetches, p, s);
    }
}

INLINE void multiply_strip_as(int rows, const bool fetches, const struct strip_product *p, const struct strip *s)
{
    if (s->type == FKV_ELEM_F16)
        multiply_strip_of(rows, 2, load_8_f16, fetches, p, s);
    else if (s->type == FKV_ELEM_BF16)
        multiply_strip_of(rows, 2, load_8_bf16, fetches, p, s);
    else
        multiply_strip_of(rows, 4, load_8_f32, fetches, p, s);
}

/* rows is 1 .. ROWS; the results are the same for any number of rows and, from equal values, for any type. */
static inline void multiply_strip(int rows, const struct strip_product *p, const struct strip *s)
{
    if (s->fetched)
        multiply_strip_as(rows, true, p, s);
    else
        multiply_strip_as(rows, false, p, s);
}

/* Strip i of widened pairs. */
INLINE struct strip widened_strip(const float *strips, size_t strip_pairs, int i, int pairs)
{
    return (struct strip){.type = FKV_ELEM_F32,
                          .at = (const char *)(strips + (size_t)i * strip_pairs * STRIP),
                          .pair_bytes = STRIP * sizeof(float),
                          .pairs = pairs,
                          .runs = 1};
}

/* Strip i of pairs as the cache has them (not q8_0): runs of `pairs` starting at `at`. */
INLINE struct strip stored_strip(int type, const char *at, int i, int pairs, size_t run_bytes, int runs)
{
    const size_t value_bytes = type == FKV_ELEM_F32 ? 4 : 2;
    return (struct strip){.type = type,
                          .at = at + (size_t)i * STRIP * value_bytes,
                          .pair_bytes = 64 * value_bytes,
                          .run_bytes = run_bytes,
                          .pairs = pairs,
                          .runs = runs};
}

#endif
