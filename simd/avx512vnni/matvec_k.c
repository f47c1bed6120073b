/* y = W v for Q4_K, Q5_K and Q6_K as stored.

   A block (256 k) at a time. One vector of 16 lanes holds all scales of a block: Q4_K and Q5_K d sc[8] and dmin m[8];
   times (sv[8], sv sum(v)[8]) it gives the 8 scales of the dot products and the 8 terms of the minimum at once. Q6_K:
   sixteen d sc; times sv they are the scales, times sv sum(v) the terms of the zero point. k divides by 256. Several
   sums of dot products, so that none waits for the other. Rows one after the other: see matvec_32.c. */
#include "simd/avx512vnni/vnni.h"

enum { AHEAD = 8192 }; /* bytes, fetched into L2: see matvec_32.c */

struct sums {
    __m512 dot[4];
    __m512 offset; /* Q4_K, Q5_K: upper half, the minima's terms; Q6_K: sum(d sc sv sum(v)) */
};

/* Adds the product of a block and 256 values of v, number i. */
typedef void add_fn(const void *block, const struct v8 *v, int i, struct sums *s);

/* Lanes a, b, c, d four times each. */
INLINE __m512i fours(int a, int b, int c, int d)
{
    return _mm512_setr_epi32(a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d);
}

/* Lane j of `scale` permuted by `which` belongs to lane j of the dot products. */
INLINE __m512 add_scaled(__m512i dot, __m512 scale, __m512i which, __m512 sum)
{
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_permutexvar_ps(which, scale), sum);
}

INLINE __m512i nibbles_below(__m512i nibbles, __m512i top, char mask)
{
    return _mm512_and_si512(select_bits(_mm512_set1_epi8(15), nibbles, top), _mm512_set1_epi8(mask));
}

/* ---- Q4_K, Q5_K ------------------------------------------------------------------------------ */

/* d sc sv[8], dmin m sv sum(v)[8] */
INLINE __m512 scales_minima(const void *block, const struct v8 *v, int i, struct sums *s)
{
    const __m512 sv = _mm512_castps256_ps512(_mm256_load_ps(v->scale + 8 * i));
    const __m512 p = _mm512_mul_ps(k_scales(block), _mm512_insertf32x8(sv, _mm256_load_ps(v->sum + 8 * i), 1));
    s->offset = _mm512_add_ps(s->offset, p);
    return p;
}

/* w: of the four even or odd blocks, the first 16 values of each and the second 16, which belong to the same scales; q:
   v's in that order. */
INLINE __m512i dot_four(const __m512i w[2], const int8_t *q)
{
    return dpbusd(dpbusd(_mm512_setzero_si512(), w[0], _mm512_load_si512(q)), w[1], _mm512_load_si512(q + 64));
}

INLINE void add_eight(const __m512i even[2], const __m512i odd[2], __m512 scale, const struct v8 *v, int i,
                      struct sums *s)
{
    s->dot[0] = add_scaled(dot_four(even, v->alternate + 256 * i), scale, fours(0, 2, 4, 6), s->dot[0]);
    s->dot[1] = add_scaled(dot_four(odd, v->alternate + 256 * i + 128), scale, fours(1, 3, 5, 7), s->dot[1]);
}

/* 32 bytes have the nibbles of two blocks: pairs[0] first 16 of each 32, pairs[1] second 16. Even blocks are the low
   nibbles. */
INLINE void load_pairs(const uint8_t qs[128], __m512i pairs[2])
{
    const __m512i a = _mm512_loadu_si512(qs), b = _mm512_loadu_si512(qs + 64);
    pairs[0] = _mm512_shuffle_i32x4(a, b, 0x88);
    pairs[1] = _mm512_shuffle_i32x4(a, b, 0xdd);
}

INLINE void add_q4_k(const void *block, const struct v8 *v, int i, struct sums *s)
{
    const struct fkv_block_q4_k *b = block;
    const __m512i low = _mm512_set1_epi8(15);
    __m512i pairs[2], even[2], odd[2];
    load_pairs(b->qs, pairs);
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        even[half] = _mm512_and_si512(pairs[half], low);
        odd[half] = _mm512_and_si512(_mm512_srli_epi16(pairs[half], 4), low);
    }
    add_eight(even, odd, scales_minima(b, v, i, s), v, i, s);
}

INLINE void add_q5_k(const void *block, const struct v8 *v, int i, struct sums *s)
{
    const struct fkv_block_q5_k *b = block;
    /* from bit 0, 2, 4, 6 (even blocks) and 1, 3, 5, 7 of qh to bit 4 */
    const __m512i even_bits = _mm512_setr_epi64(4, 4, 2, 2, 0, 0, 62, 62),
                  odd_bits = _mm512_setr_epi64(3, 3, 1, 1, 63, 63, 61, 61);
    __m512i pairs[2], even[2], odd[2];
    load_pairs(b->qs, pairs);
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        const __m512i qh = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(b->qh + 16 * half)));
        even[half] = nibbles_below(pairs[half], _mm512_rolv_epi64(qh, even_bits), 31);
        odd[half] = nibbles_below(_mm512_srli_epi16(pairs[half], 4), _mm512_rolv_epi64(qh, odd_bits), 31);
    }
    add_eight(even, odd, scales_minima(b, v, i, s), v, i, s);
}

/* ---- Q6_K ------------------------------------------------------------------------------------ */

/* 64 values; their scales are lanes first .. first + 3. */
INLINE __m512 add_sixteens(__m512i w, const int8_t *q, __m512 scale, int first, __m512 sum)
{
    const __m512i dot = dpbusd(_mm512_setzero_si512(), w, _mm512_load_si512(q));
    return add_scaled(dot, scale, fours(first, first + 1, first + 2, first + 3), sum);
}

INLINE void add_q6_k(const void *block, const struct v8 *v, int i, struct sums *s)
{
    const struct fkv_block_q6_k *b = block;
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const __m512 sv = _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_load_ps(v->scale + 8 * i)));
    const __m512 sc = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)b->scales)));
    const __m512 d_sc = _mm512_mul_ps(sc, _mm512_cvtph_ps(_mm256_set1_epi16((short)load_f16(&b->d)))),
                 scale = _mm512_mul_ps(d_sc, sv);
    /* bits 0 and 2, 4 and 6 of qh (and the next) to bit 4 (and 5) */
    const __m512i low_bits = _mm512_setr_epi64(4, 4, 4, 4, 2, 2, 2, 2),
                  high_bits = _mm512_setr_epi64(0, 0, 0, 0, 62, 62, 62, 62);
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) {
        const __m512i ql = _mm512_loadu_si512(b->ql + 64 * j);
        const __m512i qh = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(b->qh + 32 * j)));
        const int8_t *q = v->q + 256 * i + 128 * j;
        s->dot[2 * j] = add_sixteens(nibbles_below(ql, _mm512_rolv_epi64(qh, low_bits), 63), q, scale, 8 * j,
                                     s->dot[2 * j]);
        s->dot[2 * j + 1] = add_sixteens(nibbles_below(_mm512_srli_epi16(ql, 4), _mm512_rolv_epi64(qh, high_bits), 63),
                                         q + 64, scale, 8 * j + 4, s->dot[2 * j + 1]);
    }
    s->offset = _mm512_fmadd_ps(d_sc, _mm512_load_ps(v->sum16 + 16 * i), s->offset);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* offset: what the lower and the upper half of sums.offset count. */
INLINE float dot_row(add_fn add, size_t bytes, float offset_low, float offset_high, const uint8_t *row, int k,
                     const struct v8 *v)
{
    struct sums s;
    s.dot[0] = s.dot[1] = s.dot[2] = s.dot[3] = s.offset = _mm512_setzero_ps();
    for (int i = 0; i < k / 256; i++) {
        const uint8_t *b = row + i * bytes;
        for (size_t j = 0; j < bytes; j += 64) _mm_prefetch((const char *)b + AHEAD + j, _MM_HINT_T1);
        add(b, v, i, &s);
    }
    const __m512 dot = _mm512_add_ps(_mm512_add_ps(s.dot[0], s.dot[1]), _mm512_add_ps(s.dot[2], s.dot[3]));
    const __m512 offset = _mm512_insertf32x8(_mm512_set1_ps(offset_low), _mm256_set1_ps(offset_high), 1);
    return _mm512_reduce_add_ps(_mm512_fmadd_ps(offset, s.offset, dot));
}

MATVEC_BY_ROWS(q4_k, 0, -1)
MATVEC_BY_ROWS(q5_k, 0, -1)
MATVEC_BY_ROWS(q6_k, -32, -32)
