/* cells_f32.h: cache tiles of any type as cells of floats (cells.h), and queries and weights as rows for them, for the
   kernels that compute in fp32. */
#ifndef FKV_AVX512_CELLS_F32_H
#define FKV_AVX512_CELLS_F32_H

#include "simd/avx512/cells.h"
#include "simd/avx512/exponential.h"
#include "simd/simd.h"

INLINE __m512 multiply_add_f32(__m512 sum, __m512i cell, __m512i row)
{
    return _mm512_fmadd_ps(_mm512_castsi512_ps(cell), _mm512_castsi512_ps(row), sum);
}

/* Splits 32 pairs: even[2] and odd[2] get 16 floats each. */
static inline void split_f32(const float *pairs, __m512 even[2], __m512 odd[2])
{
    const __m512i first = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(1));
    for (int h = 0; h < 2; h++) {
        const __m512 a = _mm512_load_ps(pairs + 32 * h), b = _mm512_load_ps(pairs + 32 * h + 16);
        even[h] = _mm512_permutex2var_ps(a, first, b);
        odd[h] = _mm512_permutex2var_ps(a, second, b);
    }
}

static inline void split_bf16(const fkv_bf16 *pairs, __m512 even[2], __m512 odd[2])
{
    for (int h = 0; h < 2; h++) {
        const __m512i x = _mm512_load_si512(pairs + 32 * h);
        even[h] = _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
        odd[h] = _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32((int)0xffff0000u)));
    }
}

static inline void split_f16(const fkv_f16 *pairs, __m512 even[2], __m512 odd[2])
{
    for (int h = 0; h < 2; h++) {
        const __m512i x = _mm512_load_si512(pairs + 32 * h);
        even[h] = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x));
        odd[h] = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(x, 16)));
    }
}

static inline void split_int8(const int8_t *pairs, __m512 even[2], __m512 odd[2])
{
    const __m512i x = _mm512_load_si512(pairs), odds = _mm512_srai_epi16(x, 8),
                  evens = _mm512_srai_epi16(_mm512_slli_epi16(x, 8), 8);
    even[0] = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm512_castsi512_si256(evens)));
    even[1] = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(evens, 1)));
    odd[0] = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm512_castsi512_si256(odds)));
    odd[1] = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(odds, 1)));
}

static inline void store_steps(char *cell, const __m512 even[2], const __m512 odd[2])
{
    _mm512_store_ps(cell, even[0]);
    _mm512_store_ps(cell + 64, even[1]);
    _mm512_store_ps(cell + 128, odd[0]);
    _mm512_store_ps(cell + 192, odd[1]);
}

/* A scale belongs to an entry: a lane of K, a step of V. */
static inline void expand_q8_0(const fkv_f16 *scales, const int8_t *values, bool is_k, char *cell)
{
    _Alignas(64) float scale[FKV_TILE];
    const __m512 low = _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)scales));
    const __m512 high = _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)scales + 1));
    _mm512_store_ps(scale, low);
    _mm512_store_ps(scale + 16, high);
    for (int i = 0; i < 16; i++) {
        const __m512 even_scale = _mm512_set1_ps(scale[2 * i]), odd_scale = _mm512_set1_ps(scale[2 * i + 1]);
        __m512 even[2], odd[2];
        split_int8(values + 64 * i, even, odd);
        even[0] = _mm512_mul_ps(even[0], is_k ? low : even_scale);
        even[1] = _mm512_mul_ps(even[1], is_k ? high : even_scale);
        odd[0] = _mm512_mul_ps(odd[0], is_k ? low : odd_scale);
        odd[1] = _mm512_mul_ps(odd[1], is_k ? high : odd_scale);
        store_steps(cell + 256 * i, even, odd);
    }
}

/* Cell c of a tile of K (is_k) or V. */
static __attribute__((noinline)) void expand_f32(int type, const char *tile, int c, int d, bool is_k, char *cell)
{
    const fkv_f16 *halves = (const fkv_f16 *)tile;
    if (type == FKV_ELEM_Q8_0) {
        const int8_t *values = (const int8_t *)tile + fkv_padded_head(d) * sizeof *halves; /* the scales come first */
        expand_q8_0(halves + 32 * c, values + 1024 * c, is_k, cell);
        return;
    }
    for (int i = 0; i < 16; i++) {
        const size_t at = 1024 * c + 64 * i;
        __m512 even[2], odd[2];
        if (type == FKV_ELEM_F32)
            split_f32((const float *)tile + at, even, odd);
        else if (type == FKV_ELEM_F16)
            split_f16(halves + at, even, odd);
        else
            split_bf16(halves + at, even, odd);
        store_steps(cell + 256 * i, even, odd);
    }
}

static inline void pack_query_f32(const float *q, int d, float scale, uint32_t *row)
{
    float *words = (float *)row;
    for (int i = 0; i < d; i++) words[i] = q[i] * scale;
    for (int i = d; i < fkv_padded_head(d); i++) words[i] = 0;
}

INLINE void store_weights_f32(float *s, int j, __m512 a, __m512 b)
{
    _mm512_store_ps(s + j, a);
    _mm512_store_ps(s + j + 16, b);
}

static const struct cells cells_f32 = {.steps = 32,
                                       .multiply_add = multiply_add_f32,
                                       .expand = expand_f32,
                                       .pack_query = pack_query_f32,
                                       .weight = exp2_precise,
                                       .store_weights = store_weights_f32};

#endif
