/* cells_bf16.h: cache tiles of any type but fp32 as cells of pairs of bf16 (cells.h), and queries and weights as rows
   for them. */
#ifndef FKV_AVX512BF16_CELLS_BF16_H
#define FKV_AVX512BF16_CELLS_BF16_H

#include "simd/avx512/cells.h"
#include "simd/avx512/exponential.h"
#include "simd/avx512/lanes.h"
#include "simd/simd.h"

enum { BF16_STEPS = 16, BF16_CELL_BYTES = BF16_STEPS * STEP_BYTES };

INLINE __m512 multiply_add_bf16(__m512 sum, __m512i cell, __m512i row)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)cell, (__m512bh)row);
}

static inline __m512i pack_bf16(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

static inline __m512i load_f16_pairs(const char *stored)
{
    const __m256i *halves = (const __m256i *)stored;
    return pack_bf16(_mm512_cvtph_ps(_mm256_load_si256(halves)), _mm512_cvtph_ps(_mm256_load_si256(halves + 1)));
}

static inline void expand_f16(const char *values, char *cell)
{
    for (int i = 0; i < BF16_CELL_BYTES; i += 64) _mm512_store_si512(cell + i, load_f16_pairs(values + i));
}

/* 16 of 64 int8 as floats. */
static inline __m512 quarter(const int8_t *x, int i)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_load_si128((const __m128i *)x + i)));
}

/* A lane holds two channels of one entry, so each entry's scale comes twice. */
static inline void expand_k_q8_0(const fkv_f16 *scales, const int8_t *values, char *cell)
{
    const __m512i low_twice = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0),
                  high_twice = _mm512_add_epi32(low_twice, _mm512_set1_epi32(8));
    const __m512 s0 = _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)scales)),
                 s1 = _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)scales + 1));
    const __m512 s[4] = {_mm512_permutexvar_ps(low_twice, s0), _mm512_permutexvar_ps(high_twice, s0),
                         _mm512_permutexvar_ps(low_twice, s1), _mm512_permutexvar_ps(high_twice, s1)};
    for (int i = 0; i < 16; i++, values += 64, cell += 128) {
        _mm512_store_si512(cell,
                           pack_bf16(_mm512_mul_ps(s[0], quarter(values, 0)), _mm512_mul_ps(s[1], quarter(values, 1))));
        _mm512_store_si512(cell + 64,
                           pack_bf16(_mm512_mul_ps(s[2], quarter(values, 2)), _mm512_mul_ps(s[3], quarter(values, 3))));
    }
}

/* A lane holds two entries, whose scales are the same in all lanes. */
static inline void expand_v_q8_0(const fkv_f16 *scales, const int8_t *values, char *cell)
{
    _Alignas(64) double pairs[16]; /* of float scales */
    _mm512_store_ps((float *)pairs, _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)scales)));
    _mm512_store_ps((float *)pairs + 16, _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)scales + 1)));
    for (int i = 0; i < 16; i++, values += 64, cell += 128) {
        const __m512 s = _mm512_castpd_ps(_mm512_set1_pd(pairs[i]));
        _mm512_store_si512(cell, pack_bf16(_mm512_mul_ps(s, quarter(values, 0)), _mm512_mul_ps(s, quarter(values, 1))));
        _mm512_store_si512(cell + 64,
                           pack_bf16(_mm512_mul_ps(s, quarter(values, 2)), _mm512_mul_ps(s, quarter(values, 3))));
    }
}

static __attribute__((noinline)) void expand_bf16(int type, const char *tile, int c, int d, bool is_k, char *cell)
{
    const fkv_f16 *halves = (const fkv_f16 *)tile;
    const int8_t *bytes = (const int8_t *)tile + 2 * fkv_padded_head(d) + 1024 * c; /* q8_0: after the scales */
    if (type == FKV_ELEM_F16)
        expand_f16(tile + BF16_CELL_BYTES * c, cell);
    else if (is_k)
        expand_k_q8_0(halves + 32 * c, bytes, cell);
    else
        expand_v_q8_0(halves + 32 * c, bytes, cell);
}

static inline void pack_query_bf16(const float *q, int d, float scale, uint32_t *row)
{
    const __m512 s = _mm512_set1_ps(scale);
    for (int c = 0; c < fkv_padded_head(d); c += 32)
        _mm512_store_si512(row + c / 2,
                           pack_bf16(_mm512_mul_ps(s, _mm512_maskz_loadu_ps(lanes_below(d - c), q + c)),
                                     _mm512_mul_ps(s, _mm512_maskz_loadu_ps(lanes_below(d - c - 16), q + c + 16))));
}

INLINE void store_weights_bf16(float *s, int j, __m512 a, __m512 b)
{
    _mm512_store_si512((fkv_bf16 *)s + j, pack_bf16(a, b));
}

static const struct cells cells_bf16 = {.steps = BF16_STEPS,
                                        .multiply_add = multiply_add_bf16,
                                        .expand = expand_bf16,
                                        .pack_query = pack_query_bf16,
                                        .weight = exp2_rough,
                                        .store_weights = store_weights_bf16};

#endif
