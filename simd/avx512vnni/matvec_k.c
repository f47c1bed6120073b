/* y = W v for Q4_K, Q5_K and Q6_K as stored.

   A block (256 k) at a time. One vector of 16 lanes holds all scales of a block: Q4_K and Q5_K d sc[8] and dmin m[8]; times (sv[8], sv sum(v)[8]) it
   gives the 8 scales of the dot products and the 8 terms of the minimum at once. Q6_K: sixteen d sc; times sv they are the scales, times sv sum(v) the terms
   of the zero point. k divides by 256. Four sums of dot products, so that none waits for the other. Rows one after the other: see matvec_32.c. */
#include "simd/avx512vnni/vnni.h"

enum { AHEAD = 8192 }; /* bytes */

struct sums {
    __m512 dot[4];
    __m512 offset; /* Q4_K, Q5_K: upper half, the minima's terms; Q6_K: sum(w_scale sv sum(v)) */
};

/* Adds the product of a block and 256 values of v, number i. */
typedef void add_fn(const void *block, const struct v8 *v, int i, struct sums *s);

/* Lane j of `scale` permuted by `which` belongs to the four products it sums. */
INLINE __m512 add_dot(__m512i w, const int8_t *q, __m512 scale, __m512i which, __m512 sum)
{
    const __m512i dot = dpbusd(_mm512_setzero_si512(), w, _mm512_load_si512(q));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_permutexvar_ps(which, scale), sum);
}

INLINE __m512i pair(int low, int high) { return _mm512_inserti64x4(_mm512_set1_epi32(low), _mm256_set1_epi32(high), 1); }

INLINE __m512i four(int i)
{
    return _mm512_setr_epi32(i, i, i, i, i + 1, i + 1, i + 1, i + 1, i + 2, i + 2, i + 2, i + 2, i + 3, i + 3, i + 3, i + 3);
}

/* d sc sv[8], dmin m sv sum(v)[8] */
INLINE __m512 scales_minima(const void *block, const struct v8 *v, int i, struct sums *s)
{
    const __m512 sv = _mm512_castps256_ps512(_mm256_load_ps(v->scale + 8 * i));
    const __m512 p = _mm512_mul_ps(k_scales(block), _mm512_insertf32x8(sv, _mm256_load_ps(v->sum + 8 * i), 1));
    s->offset = _mm512_add_ps(s->offset, p);
    return p;
}

INLINE void add_q4_k(const void *block, const struct v8 *v, int i, struct sums *s)
{
    const struct fkv_block_q4_k *b = block;
    const __m512 scale = scales_minima(b, v, i, s);
    const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) { /* low nibbles: blocks 4j and 4j + 2, high ones: the two after them */
        const __m512i qs = _mm512_loadu_si512(b->qs + 64 * j);
        const int8_t *q = v->pairs + 256 * i + 128 * j;
        s->dot[2 * j] = add_dot(_mm512_and_si512(qs, low), q, scale, pair(4 * j, 4 * j + 2), s->dot[2 * j]);
        s->dot[2 * j + 1] = add_dot(_mm512_and_si512(_mm512_srli_epi16(qs, 4), low), q + 64, scale, pair(4 * j + 1, 4 * j + 3), s->dot[2 * j + 1]);
    }
}

/* Bytes with bit a of the first 32 and bit b of the second (and what follows them) at bit 4. */
INLINE __m512i to_bit_4(__m512i bytes, int a, int b)
{
    const int64_t r0 = (4 - a) & 63, r1 = (4 - b) & 63;
    return _mm512_rolv_epi64(bytes, _mm512_setr_epi64(r0, r0, r0, r0, r1, r1, r1, r1));
}

INLINE __m512i nibbles_below(__m512i nibbles, __m512i top, char mask)
{
    return _mm512_and_si512(select_bits(_mm512_set1_epi8(15), nibbles, top), _mm512_set1_epi8(mask));
}

INLINE void add_q5_k(const void *block, const struct v8 *v, int i, struct sums *s)
{
    const struct fkv_block_q5_k *b = block;
    const __m512 scale = scales_minima(b, v, i, s);
    const __m512i qh = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)b->qh)); /* bit j: of block j */
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) {
        const __m512i qs = _mm512_loadu_si512(b->qs + 64 * j);
        const __m512i even = nibbles_below(qs, to_bit_4(qh, 4 * j, 4 * j + 2), 31);
        const __m512i odd = nibbles_below(_mm512_srli_epi16(qs, 4), to_bit_4(qh, 4 * j + 1, 4 * j + 3), 31);
        const int8_t *q = v->pairs + 256 * i + 128 * j;
        s->dot[2 * j] = add_dot(even, q, scale, pair(4 * j, 4 * j + 2), s->dot[2 * j]);
        s->dot[2 * j + 1] = add_dot(odd, q + 64, scale, pair(4 * j + 1, 4 * j + 3), s->dot[2 * j + 1]);
    }
}

INLINE void add_q6_k(const void *block, const struct v8 *v, int i, struct sums *s)
{
    const struct fkv_block_q6_k *b = block;
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const __m512 sv = _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_load_ps(v->scale + 8 * i)));
    const __m512 sc = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)b->scales)));
    const __m512 d_sc = _mm512_mul_ps(sc, _mm512_cvtph_ps(_mm256_set1_epi16((short)load_f16(&b->d)))), scale = _mm512_mul_ps(d_sc, sv);
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) {
        const __m512i ql = _mm512_loadu_si512(b->ql + 64 * j);
        const __m512i qh = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(b->qh + 32 * j))); /* two bits of each of four blocks */
        const int8_t *q = v->q + 256 * i + 128 * j;
        s->dot[2 * j] = add_dot(nibbles_below(ql, to_bit_4(qh, 0, 2), 63), q, scale, four(8 * j), s->dot[2 * j]);
        s->dot[2 * j + 1] = add_dot(nibbles_below(_mm512_srli_epi16(ql, 4), to_bit_4(qh, 4, 6), 63), q + 64, scale, four(8 * j + 4), s->dot[2 * j + 1]);
    }
    s->offset = _mm512_fmadd_ps(d_sc, _mm512_loadu_ps(v->sum16 + 16 * i), s->offset);
}

/* Lanes of sums.offset in `lanes` count `offset`. */
INLINE float dot_row(add_fn add, size_t bytes, __mmask16 lanes, float offset, const uint8_t *row, int k, const struct v8 *v)
{
    struct sums s;
    s.dot[0] = s.dot[1] = s.dot[2] = s.dot[3] = s.offset = _mm512_setzero_ps();
    for (int i = 0; i < k / 256; i++) {
        const uint8_t *b = row + i * bytes;
        for (size_t j = 0; j < bytes; j += 64) _mm_prefetch((const char *)b + AHEAD + j, _MM_HINT_T0);
        add(b, v, i, &s);
    }
    const __m512 dot = _mm512_add_ps(_mm512_add_ps(s.dot[0], s.dot[1]), _mm512_add_ps(s.dot[2], s.dot[3]));
    return _mm512_reduce_add_ps(dot) + offset * _mm512_mask_reduce_add_ps(lanes, s.offset);
}

#define MATVEC(type, lanes, offset) \
    void fkv_matvec_##type##_avx512vnni(const void *w, size_t w_stride, int n, int k, const void *v, float *y) \
    { \
        const struct v8 view = v8_view(v, k); \
        for (int i = 0; i < n; i++) y[i] = dot_row(add_##type, sizeof(struct fkv_block_##type), lanes, offset, (const uint8_t *)w + i * w_stride, k, &view); \
    }
MATVEC(q4_k, 0xff00, -1)
MATVEC(q5_k, 0xff00, -1)
MATVEC(q6_k, 0xffff, -32)
