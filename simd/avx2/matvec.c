/* Decode: products of weights as the file has them and up to 8 vectors. The dot products of bytes, and the types whose
   products know no better ones: Q6_K and floats. */
#include "simd/avx2/matvec_k.h"
#include "simd/avx2/matvec_unpacked.h"

INLINE __m256i widen(__m256i pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }

/* Two products per int16: 2 x 128 x 127 of signed weights fits. */
INLINE __m256i dot_u8(__m256i w, __m256i x) { return widen(_mm256_maddubs_epi16(w, x)); }

INLINE __m256i pairs_of(__m256i w, const int8_t *x)
{
    return _mm256_maddubs_epi16(w, _mm256_loadu_si256((const __m256i *)x));
}

/* 8 x 31 x 127 fits int16. */
INLINE __m256i four_pairs(const __m256i w[4], const int8_t (*x)[32])
{
    return _mm256_add_epi16(_mm256_add_epi16(pairs_of(w[0], x[0]), pairs_of(w[1], x[1])),
                            _mm256_add_epi16(pairs_of(w[2], x[2]), pairs_of(w[3], x[3])));
}

/* Of four bits, 16 x 15 x 127 fits too. */
INLINE __m256i dots_k(const __m256i w[8], const int8_t (*x)[32], bool four_bits)
{
    const __m256i even = four_pairs(w, x), odd = four_pairs(w + 4, x + 4);
    if (four_bits) return widen(_mm256_add_epi16(lanes_of_even(even, odd), lanes_of_odd(even, odd)));
    const __m256i wide_even = widen(even), wide_odd = widen(odd);
    return _mm256_add_epi32(lanes_of_even(wide_even, wide_odd), lanes_of_odd(wide_even, wide_odd));
}

MATVECS_32(avx2, dot_u8)
MATVECS_256(avx2, dots_k)

/* ---- Q6_K: whole numbers throughout a block: its 16 scales multiply as vpmaddwd widens ------- */

INLINE void unpack_256_q6_k(const uint8_t *block, struct weights_256 *o)
{
    const __m256i low = _mm256_set1_epi8(15), three = _mm256_set1_epi8(3), fifth_sixth = _mm256_set1_epi8(0x30);
    const __m256i high0 = load_block(block + 128), high1 = load_block(block + 160);
    const __m256i a = _mm256_unpacklo_epi32(high0, high1), b = _mm256_unpackhi_epi32(high0, high1);
    const __m256i high[4] = {_mm256_shuffle_epi32(a, 0x50), _mm256_shuffle_epi32(a, 0xfa),
                             _mm256_shuffle_epi32(b, 0x50), _mm256_shuffle_epi32(b, 0xfa)};
    const __m256i by_lane = _mm256_setr_epi32(0, 2, 0, 2, 0, 2, 0, 2);
    __m256i v[4];
    for (int c = 0; c < 4; c++) v[c] = load_block(block + 32 * c);
    transpose_halves(v);
#pragma GCC unroll 4
    for (int u = 0; u < 4; u++) {
        const __m256i bits = _mm256_srlv_epi32(high[u], by_lane);
        o->w[u] = _mm256_or_si256(_mm256_and_si256(v[u], low), _mm256_slli_epi16(_mm256_and_si256(bits, three), 4));
        o->w[4 + u] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(v[u], 4), low),
                                      _mm256_and_si256(bits, fifth_sixth));
    }
    const __m128i sc = _mm_loadu_si128((const __m128i *)(block + 192));
    o->even = _mm256_cvtepi8_epi16(
        _mm_shuffle_epi8(sc, _mm_setr_epi8(0, 0, 2, 2, 8, 8, 10, 10, 1, 1, 3, 3, 9, 9, 11, 11)));
    o->odd = _mm256_cvtepi8_epi16(
        _mm_shuffle_epi8(sc, _mm_setr_epi8(4, 4, 6, 6, 12, 12, 14, 14, 5, 5, 7, 7, 13, 13, 15, 15)));
    o->both = _mm256_cvtepi8_epi16(
        _mm_shuffle_epi8(sc, _mm_setr_epi8(0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15)));
    o->scale = _mm256_set1_ps(load_f16(block + 208));
}

/* Two vectors' products times their scales, w < 64: 4 x 63 x 127 fits int16. */
INLINE __m256i two_scaled(const __m256i w[2], const int8_t (*x)[32], __m256i scales)
{
    return _mm256_madd_epi16(_mm256_add_epi16(pairs_of(w[0], x[0]), pairs_of(w[1], x[1])), scales);
}

INLINE __m256 add_256_q6_k(const struct weights_256 *w, const struct v8_256 *x, __m256 sum)
{
    const __m256i even = _mm256_add_epi32(two_scaled(w->w, x->q, w->even), two_scaled(w->w + 2, x->q + 2, w->even));
    const __m256i odd = _mm256_add_epi32(two_scaled(w->w + 4, x->q + 4, w->odd),
                                         two_scaled(w->w + 6, x->q + 6, w->odd));
    const __m256i zero = _mm256_slli_epi32(_mm256_madd_epi16(load_block(x->sum_16), w->both), 5);
    const __m256i dots = _mm256_sub_epi32(_mm256_add_epi32(lanes_of_even(even, odd), lanes_of_odd(even, odd)), zero);
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), _mm256_mul_ps(w->scale, _mm256_loadu_ps(x->scale)), sum);
}
MATVEC_256(avx2, q6_k, sixes, add_256_q6_k)

/* ---- unpacked.def ---------------------------------------------------------------------------- */

INLINE struct plain_vector plain_view(const void *packed, int k)
{
    const struct v8 v = v8_view(packed, k);
    return (struct plain_vector){v.q, v.scale, v.scaled_sum};
}

#define UNPACKED(NAME, name, values, bits, scales, has_offset) \
    MATVEC_UNPACKED(avx2, plain_view, dot_u8, name, values, scales, has_offset)
#include "simd/unpacked.def"

/* ---- floats: four sums of 8 lanes, k divides by 32 ------------------------------------------- */

INLINE float dot_float(const uint8_t *row, int k, const float *v, size_t value_bytes, __m256 (*load)(const void *))
{
    __m256 sum[4];
    for (int i = 0; i < 4; i++) sum[i] = _mm256_setzero_ps();
    for (int j = 0; j < k; j += 32) {
        _mm_prefetch((const char *)row + (size_t)j * value_bytes + AHEAD, _MM_HINT_T0);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            sum[i] = _mm256_fmadd_ps(load(row + (size_t)(j + 8 * i) * value_bytes), _mm256_loadu_ps(v + j + 8 * i),
                                     sum[i]);
    }
    return horizontal_sum(sum_4(sum));
}

#define MATVEC_FLOAT(format, value_bytes)                                                                   \
    static void few_##format(const struct fkv_matvec *p)                                                    \
    {                                                                                                       \
        for (int j = 0; j < p->m; j++)                                                                      \
            for (int i = 0; i < p->n; i++)                                                                  \
                fkv_matvec_result(p, j)[i] = dot_float(fkv_matvec_row(p, i), p->k, fkv_matvec_vector(p, j), \
                                                       value_bytes, load_8_##format);                       \
    }                                                                                                       \
    void fkv_matvec_##format##_avx2(const struct fkv_matvec *p) { fkv_matvec_by_few(p, few_##format); }
MATVEC_FLOAT(f16, 2)
MATVEC_FLOAT(bf16, 2)
MATVEC_FLOAT(f32, 4)
