/* cache_int16.h: the cache's tiles of 16 and 8 bits as int16, and products of query rows with them by vpmaddwd.

   An entry of K, and one of V, takes a scale of its own: entry = scale x whole numbers up to MOST_CACHED. What they are
   multiplied by, a row of q or of p, is rounded so that the sum of its magnitudes is at most MOST_SUM: no sum of
   products can pass 2^31, whatever the values.
   Strips: 2 for 32 entries (of V: channels), [pairs][2][8][2]. A vector's 8 are in the order 0 1 4 5 2 3 6 7, as
   packs_epi32 leaves them; the products' results turn it back. */
#ifndef FKV_SIMD_AVX2_CACHE_INT16_H
#define FKV_SIMD_AVX2_CACHE_INT16_H

#include "simd/avx2/cache_tiles.h"

enum { STRIP_16 = 32, MOST_CACHED = 8191, MOST_INT16 = 32767, MOST_SUM = (1 << 18) - FKV_MAX_HEAD };
_Static_assert((int64_t)(MOST_SUM + FKV_MAX_HEAD / 2) * MOST_CACHED < INT32_MAX, "sums of products fit");

/* Below it the reciprocal would overflow: such entries and rows become zero. */
static const float tiny = 0x1p-100f;

/* ---- K and V as int16 ------------------------------------------------------------------------ */

/* From the largest magnitudes; a NaN stays one. */
INLINE void steps_of(__m256 largest, __m256 *scale, __m256 *inverse)
{
    const __m256 none = _mm256_cmp_ps(largest, _mm256_set1_ps(tiny), _CMP_LT_OQ);
    *scale = _mm256_andnot_ps(none, _mm256_mul_ps(largest, _mm256_set1_ps(1.0f / MOST_CACHED)));
    *inverse = _mm256_andnot_ps(none, _mm256_div_ps(_mm256_set1_ps(MOST_CACHED), largest));
}

/* Magnitudes of f16 and bf16 alike are ordered as their bits, a NaN above all. */
INLINE __m256i larger_bits(__m256i most, const void *p)
{
    return _mm256_max_epu16(most, _mm256_and_si256(_mm256_loadu_si256((const __m256i *)p), _mm256_set1_epi16(0x7fff)));
}

INLINE __m256i to_int16(__m256 a, __m256 by_a, __m256 b, __m256 by_b)
{
    return _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(a, by_a)), _mm256_cvtps_epi32(_mm256_mul_ps(b, by_b)));
}

/* 16 halves times by, in the order of strips: of f16 by[0] goes with the first 8 of them, by[1] with the last; of bf16
   with those at even and at odd places, which are floats once shifted or masked and whole numbers in the low 16 bits
   once 1.5 2^23 is added. */
INLINE __m256i halves_to_int16(const bool f16, const char *p, const __m256 by[2])
{
    if (f16) return to_int16(load_8_f16(p), by[0], load_8_f16(p + 16), by[1]);
    const __m256i v = _mm256_loadu_si256((const __m256i *)p);
    const __m256 magic = _mm256_set1_ps(12582912.0f), even = _mm256_castsi256_ps(_mm256_slli_epi32(v, 16)),
                 odd = _mm256_castsi256_ps(_mm256_and_si256(v, _mm256_set1_epi32((int)0xffff0000u)));
    const __m256i low = _mm256_castps_si256(_mm256_fmadd_ps(even, by[0], magic)),
                  high = _mm256_castps_si256(_mm256_fmadd_ps(odd, by[1], magic));
    return _mm256_permute4x64_epi64(_mm256_blend_epi16(low, _mm256_slli_epi32(high, 16), 0xaa), 0xd8);
}

INLINE __m256 load_8_halves(const bool f16, const void *p) { return f16 ? load_8_f16(p) : load_8_bf16(p); }

/* What to bring into cache meanwhile, so many bytes a pair; at NULL: nothing. */
struct fetch {
    const char *at;
    size_t bytes;
};

INLINE void store_16(int16_t *strips, size_t strip_pairs, int pair, int i, __m256i v)
{
    _mm256_storeu_si256((__m256i *)(strips + ((size_t)(i / 2) * strip_pairs + (size_t)pair) * STRIP_16 + 16 * (i % 2)),
                        v);
}

INLINE void k_halves(const bool f16, const char *tile, int d, int16_t *strips, float *scale, struct fetch f)
{
    __m256i top[4] = {0};
    for (int pair = 0; pair < d / 2; pair++)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) top[i] = larger_bits(top[i], tile + 128 * pair + 32 * i);
    __m256 inverse[4][2];
    for (int i = 0; i < 4; i++) {
        uint16_t bits[16];
        _mm256_storeu_si256((__m256i *)bits, _mm256_max_epu16(top[i], _mm256_srli_epi32(top[i], 16)));
        for (int e = 0; e < 8; e++) bits[e] = bits[2 * e];
        __m256 s, v;
        steps_of(load_8_halves(f16, bits), &s, &v);
        _mm256_storeu_ps(scale + 8 * i, s);
        inverse[i][0] = f16 ? twice(_mm256_castps256_ps128(v)) : v;
        inverse[i][1] = f16 ? twice(_mm256_extractf128_ps(v, 1)) : v;
    }
    for (int pair = 0; pair < d / 2; pair++, f.at += f.bytes) {
        _mm_prefetch(f.at, _MM_HINT_T0);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            store_16(strips, (size_t)(d / 2), pair, i, halves_to_int16(f16, tile + 128 * pair + 32 * i, inverse[i]));
    }
}

/* Bytes 2 i, 2 i + 1 of 16 as the upper halves of 16 bits, in the order of strips. */
INLINE __m256i upper_bytes(const void *p)
{
    const __m256i order = _mm256_setr_epi8(-1, 0, -1, 1, -1, 2, -1, 3, -1, 8, -1, 9, -1, 10, -1, 11, -1, 4, -1, 5, -1,
                                           6, -1, 7, -1, 12, -1, 13, -1, 14, -1, 15);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(p)), order);
}

/* q8_0 has n scales of 32 channels for an entry, `stride` bytes apart; vpmulhrsw brings them to one: q 2^8 factor /
   2^15. Of 8 entries, factor[g] as 8 whole numbers. */
enum { MOST_FACTOR = MOST_CACHED - 1 }; /* 128 x 2^8 x it / 2^15 */

INLINE __m256 factors_of_8(const char *scales, size_t stride, int n, __m256i factor[FKV_MAX_HEAD / 32])
{
    __m256 largest = _mm256_setzero_ps(), scale, inverse;
    for (int g = 0; g < n; g++)
        largest = _mm256_max_ps(largest,
                                _mm256_andnot_ps(_mm256_set1_ps(-0.0f), load_8_f16(scales + stride * (size_t)g)));
    steps_of(largest, &scale, &inverse);
    const __m256 to = _mm256_mul_ps(inverse, _mm256_set1_ps((float)MOST_FACTOR / MOST_CACHED));
    for (int g = 0; g < n; g++)
        factor[g] = _mm256_cvtps_epi32(_mm256_mul_ps(load_8_f16(scales + stride * (size_t)g), to));
    return _mm256_mul_ps(scale, _mm256_set1_ps(128.0f * MOST_CACHED / MOST_FACTOR));
}

INLINE void k_bytes(const char *tile, int d, int16_t *strips, float *scale)
{
    const int groups = fkv_padded_head(d) / 32;
    const char *q = tile + 64 * groups;
    __m256i factor[4][FKV_MAX_HEAD / 32];
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(scale + 8 * i, factors_of_8(tile + 16 * i, 64, groups, factor[i]));
        for (int g = 0; g < groups; g++) {
            const __m256i f = _mm256_permute4x64_epi64(factor[i][g], 0xd8);
            factor[i][g] = _mm256_or_si256(_mm256_and_si256(f, _mm256_set1_epi32(0xffff)), _mm256_slli_epi32(f, 16));
        }
    }
    for (int pair = 0; pair < d / 2; pair++)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            store_16(strips, (size_t)(d / 2), pair, i,
                     _mm256_mulhrs_epi16(upper_bytes(q + 64 * pair + 16 * i), factor[i][pair / 16]));
}

/* A tile of K: strips[2][d / 2][STRIP_16], scale[32] of its entries. Fetches with halves only. */
static inline void k_to_int16(int type, const char *tile, int d, int16_t *strips, float *scale, struct fetch f)
{
    if (!f.at) f = (struct fetch){tile, 0};
    if (type == FKV_ELEM_F16)
        k_halves(true, tile, d, strips, scale, f);
    else if (type == FKV_ELEM_BF16)
        k_halves(false, tile, d, strips, scale, f);
    else
        k_bytes(tile, d, strips, scale);
}

/* What brings a tile's entries of V to int16. */
struct v_steps {
    union {
        float inverse[FKV_TILE];
        int16_t factor[FKV_MAX_HEAD / 32][FKV_TILE]; /* q8_0 */
    };
};

INLINE void v_steps_of_halves(const bool f16, const char *tile, int d, struct v_steps *o, float *scale)
{
    uint16_t bits[FKV_TILE];
    for (int pair = 0; pair < FKV_TILE / 2; pair++) {
        __m256i top = _mm256_setzero_si256();
        for (int c = 0; c < d; c += 32)
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) top = larger_bits(top, tile + 64 * c + 128 * pair + 32 * i);
        __m128i most = _mm_max_epu16(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
        most = _mm_max_epu16(most, _mm_shuffle_epi32(most, 0x4e));
        most = _mm_max_epu16(most, _mm_shuffle_epi32(most, 0xb1));
        _mm_storeu_si32(bits + 2 * pair, most);
    }
    for (int e = 0; e < FKV_TILE; e += 8) {
        __m256 s, v;
        steps_of(load_8_halves(f16, bits + e), &s, &v);
        _mm256_storeu_ps(scale + e, s);
        _mm256_storeu_ps(o->inverse + e, v);
    }
}

INLINE void v_steps_of_bytes(const char *tile, int d, struct v_steps *o, float *scale)
{
    const int groups = fkv_padded_head(d) / 32;
    for (int e = 0; e < FKV_TILE; e += 8) {
        __m256i factor[FKV_MAX_HEAD / 32];
        _mm256_storeu_ps(scale + e, factors_of_8(tile + 2 * e, 64, groups, factor));
        for (int g = 0; g < groups; g++)
            _mm_storeu_si128((__m128i *)(o->factor[g] + e), _mm_packs_epi32(_mm256_castsi256_si128(factor[g]),
                                                                            _mm256_extracti128_si256(factor[g], 1)));
    }
}

static inline void v_steps(int type, const char *tile, int d, struct v_steps *o, float *scale)
{
    if (type == FKV_ELEM_F16)
        v_steps_of_halves(true, tile, d, o, scale);
    else if (type == FKV_ELEM_BF16)
        v_steps_of_halves(false, tile, d, o, scale);
    else
        v_steps_of_bytes(tile, d, o, scale);
}

INLINE void v_halves(const bool f16, const char *from, const float *inverse, int16_t *strips, size_t strip_pairs,
                     struct fetch f)
{
    for (int pair = 0; pair < FKV_TILE / 2; pair++, from += 128, inverse += 2, f.at += f.bytes) {
        _mm_prefetch(f.at, _MM_HINT_T0);
        const __m256 both = broadcast_pair(inverse),
                     by[2] = {f16 ? both : _mm256_broadcast_ss(inverse), f16 ? both : _mm256_broadcast_ss(inverse + 1)};
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) store_16(strips, strip_pairs, pair, i, halves_to_int16(f16, from + 32 * i, by));
    }
}

INLINE void v_bytes(const char *from, const int16_t *factor, int16_t *strips, size_t strip_pairs)
{
    for (int pair = 0; pair < FKV_TILE / 2; pair++, from += 64) {
        int32_t two;
        memcpy(&two, factor + 2 * pair, sizeof two);
        const __m256i by = _mm256_set1_epi32(two);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            store_16(strips, strip_pairs, pair, i, _mm256_mulhrs_epi16(upper_bytes(from + 16 * i), by));
    }
}

/* 32 channels from c on of a tile of V: strips[2][strip_pairs][STRIP_16]. Fetches with halves only. */
static inline void v_to_int16(int type, const char *tile, int d, int c, const struct v_steps *steps, int16_t *strips,
                              size_t strip_pairs, struct fetch f)
{
    if (!f.at) f = (struct fetch){tile, 0};
    if (type == FKV_ELEM_F16)
        v_halves(true, tile + 64 * c, steps->inverse, strips, strip_pairs, f);
    else if (type == FKV_ELEM_BF16)
        v_halves(false, tile + 64 * c, steps->inverse, strips, strip_pairs, f);
    else
        v_bytes(tile + 2 * fkv_padded_head(d) + 32 * c, steps->factor[c / 32], strips, strip_pairs);
}

/* ---- rows of q and p ------------------------------------------------------------------------- */

/* The unit in which whole numbers neither pass int16 nor sum up to more than MOST_SUM; *inverse is 0 where there is
   none. */
INLINE float row_unit(float largest, float sum, float *inverse)
{
    const float of_one = largest * (1.0f / MOST_INT16), of_all = sum * (1.0f / MOST_SUM),
                unit = of_one > of_all ? of_one : of_all; /* a NaN is in the sum */
    *inverse = unit > tiny ? 1 / unit : 0;
    return unit;
}

/* 16 floats to whole numbers, in order. */
INLINE __m256i round_16(__m256 a, __m256 b, __m256 by)
{
    return _mm256_permute4x64_epi64(to_int16(a, by, b, by), 0xd8);
}

/* ---- products -------------------------------------------------------------------------------- */

/* y[r][16] = x[r] times a strip, summed over the pairs, times by_lane; or, to add, times by[r], and to that y[r]
   rescale[r]. */
struct product_16 {
    const int16_t *x; /* [rows][ldx], a pair of values per pair of the strip */
    size_t ldx;
    const float *by_lane;      /* [16]; not to add */
    const float *by, *rescale; /* [rows]; to add */
    float *y;                  /* [rows][ldy] */
    size_t ldy;
    struct fetch fetch;
};

INLINE void finish_16(const int rows, const bool adds, const struct product_16 *p, __m256i a[ROWS][2])
{
    const float *by = p->by, *rescale = p->rescale;
    float *y = p->y;
    const size_t ldy = p->ldy;
    __m256 by_lane[2];
    for (int i = 0; i < 2 && !adds; i++) by_lane[i] = _mm256_loadu_ps(p->by_lane + 8 * i);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++, y += ldy)
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            const __m256 sum = _mm256_cvtepi32_ps(_mm256_permute4x64_epi64(a[r][i], 0xd8));
            float *at = y + 8 * i;
            if (adds)
                _mm256_storeu_ps(at,
                                 _mm256_fmadd_ps(sum, _mm256_broadcast_ss(by + r),
                                                 _mm256_mul_ps(_mm256_loadu_ps(at), _mm256_broadcast_ss(rescale + r))));
            else
                _mm256_storeu_ps(at, _mm256_mul_ps(sum, by_lane[i]));
        }
}

INLINE void multiply_16_by(const int rows, const bool adds, const bool fetches, const struct product_16 *p,
                           const int16_t *strip, int pairs)
{
    const char *x = (const char *)p->x, *fetched = p->fetch.at;
    const size_t ldx = p->ldx * sizeof *p->x, fetched_bytes = p->fetch.bytes;
    __m256i a[ROWS][2];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) a[r][0] = a[r][1] = _mm256_setzero_si256();
    for (int pair = 0; pair < pairs; pair++, x += 4, strip += STRIP_16) {
        const __m256i s0 = _mm256_loadu_si256((const __m256i *)strip),
                      s1 = _mm256_loadu_si256((const __m256i *)(strip + 16));
        if (fetches) {
            _mm_prefetch(fetched, _MM_HINT_T0);
            fetched += fetched_bytes;
        }
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            int32_t two;
            memcpy(&two, x + (size_t)r * ldx, sizeof two);
            const __m256i xv = _mm256_set1_epi32(two);
            a[r][0] = _mm256_add_epi32(a[r][0], _mm256_madd_epi16(s0, xv));
            a[r][1] = _mm256_add_epi32(a[r][1], _mm256_madd_epi16(s1, xv));
        }
    }
    finish_16(rows, adds, p, a);
}

INLINE void multiply_16_of(int rows, const bool adds, const bool fetches, const struct product_16 *p,
                           const int16_t *strip, int pairs)
{
    switch (rows) {
    case 6: multiply_16_by(6, adds, fetches, p, strip, pairs); break;
    case 5: multiply_16_by(5, adds, fetches, p, strip, pairs); break;
    case 4: multiply_16_by(4, adds, fetches, p, strip, pairs); break;
    case 3: multiply_16_by(3, adds, fetches, p, strip, pairs); break;
    case 2: multiply_16_by(2, adds, fetches, p, strip, pairs); break;
    default: multiply_16_by(1, adds, fetches, p, strip, pairs);
    }
}

/* rows is 1 .. ROWS. */
INLINE void multiply_16(int rows, const bool adds, const struct product_16 *p, const int16_t *strip, int pairs)
{
    if (p->fetch.at)
        multiply_16_of(rows, adds, true, p, strip, pairs);
    else
        multiply_16_of(rows, adds, false, p, strip, pairs);
}

#endif
