/* y = W v for the types with blocks of 32 values: Q8_0, Q4_0, Q4_1, Q5_0 as stored.

   Four blocks (128 k) of a row at a time. Weights stay unsigned: with zero point z, sum(d sv (w - z) v) = sum(d sv (w
   v)) - z sum(d (sv sum(v))), and the four products d (sv sum(v)) are one FMA of 4 lanes. Two loads cover just the four
   blocks and a byte permutation puts them in order. What is left at a row's end is copied to a buffer first, so nothing
   past a row is read. Rows are read one after the other: several beside each other would share the loads of v, but
   break the one stream that the processor's prefetchers follow (Zen 4: 10 instead of 22 GB/s). */
#include "simd/avx512vnni/vnni.h"

enum { AHEAD = 8192 }; /* bytes */

struct sums {
    __m512 dot;
    __m128 offset; /* sum(d (sv sum(v))), or for Q4_1 sum(m (sv sum(v))) */
};

/* Adds the product of four blocks at b and 128 values of v, number i. */
typedef void add_fn(const uint8_t *b, const struct v8 *v, int i, struct sums *s);

/* Byte positions in four blocks of up to 96 bytes; b64 holds those from 64 on. */
INLINE __m512i bytes_at(__m512i b0, const uint8_t position[64], __m512i b64)
{
    return _mm512_permutex2var_epi8(b0, _mm512_loadu_si512(position), b64);
}

/* Four half floats, each two bytes, all below 64. */
INLINE __m128 halves_at(__m512i b0, const uint8_t position[16])
{
    const __m512i p = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)position));
    return _mm_cvtph_ps(_mm512_castsi512_si128(_mm512_permutexvar_epi8(p, b0)));
}

/* The same from memory. */
INLINE __m128 halves_of(const uint8_t *b, size_t stride)
{
    return _mm_cvtph_ps(_mm_setr_epi16((short)load_f16(b), (short)load_f16(b + stride), (short)load_f16(b + 2 * stride),
                                       (short)load_f16(b + 3 * stride), 0, 0, 0, 0));
}

INLINE __m512i low_nibbles(__m512i v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
INLINE __m512i high_nibbles(__m512i v) { return low_nibbles(_mm512_srli_epi16(v, 4)); }

/* first, second: the weights in the order of v->halves. */
INLINE void add_dot(__m512i first, __m512i second, __m128 d, const struct v8 *v, int i, struct sums *s)
{
    const __m512i zero = _mm512_setzero_si512(), *q = (const __m512i *)v->halves + 2 * i;
    const __m512i dot = dpbusd(dpbusd(zero, first, _mm512_load_si512(q)), second, _mm512_load_si512(q + 1));
    const __m512i block = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m512 scale = _mm512_permutexvar_ps(block,
                                               _mm512_castps128_ps512(_mm_mul_ps(d, _mm_load_ps(v->scale + 4 * i))));
    s->dot = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, s->dot);
}

INLINE void add_offset(__m128 d, const struct v8 *v, int i, struct sums *s)
{
    s->offset = _mm_fmadd_ps(d, _mm_load_ps(v->sum + 4 * i), s->offset);
}

#define SIXTEEN(p) \
    p, p + 1, p + 2, p + 3, p + 4, p + 5, p + 6, p + 7, p + 8, p + 9, p + 10, p + 11, p + 12, p + 13, p + 14, p + 15

INLINE void add_q4_0(const uint8_t *b, const struct v8 *v, int i, struct sums *s)
{
    static const uint8_t qs[64] = {SIXTEEN(2), SIXTEEN(20), SIXTEEN(38), SIXTEEN(56)},
                         ds[16] = {0, 1, 18, 19, 36, 37, 54, 55};
    const __m512i b0 = _mm512_loadu_si512(b),
                  q = bytes_at(b0, qs, _mm512_castsi128_si512(_mm_loadl_epi64((const __m128i *)(b + 64))));
    const __m128 d = halves_at(b0, ds);
    add_dot(low_nibbles(q), high_nibbles(q), d, v, i, s);
    add_offset(d, v, i, s);
}

INLINE void add_q4_1(const uint8_t *b, const struct v8 *v, int i, struct sums *s)
{
    static const uint8_t qs[64] = {SIXTEEN(4), SIXTEEN(24), SIXTEEN(44), SIXTEEN(64)};
    static const uint8_t ds[16] = {0, 1, 20, 21, 40, 41, 60, 61}, ms[16] = {2, 3, 22, 23, 42, 43, 62, 63};
    const __m512i b0 = _mm512_loadu_si512(b),
                  q = bytes_at(b0, qs, _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(b + 64))));
    add_dot(low_nibbles(q), high_nibbles(q), halves_at(b0, ds), v, i, s);
    add_offset(halves_at(b0, ms), v, i, s);
}

/* qh of four blocks. *first: the lower 16 bits of each, one after the other; *second: the upper 16. Integer
   instructions: vectors have enough to do. */
INLINE void fifth_bits(const uint8_t *b, __mmask64 *first, __mmask64 *second)
{
    uint32_t h[4];
    for (int i = 0; i < 4; i++) memcpy(&h[i], ((const struct fkv_block_q5_0 *)b)[i].qh, sizeof h[i]);
    const uint64_t a = h[0] | (uint64_t)h[1] << 32, c = h[2] | (uint64_t)h[3] << 32, lower = 0x0000ffff0000ffff;
    *first = _pext_u64(a, lower) | _pext_u64(c, lower) << 32;
    *second = _pext_u64(a, ~lower) | _pext_u64(c, ~lower) << 32;
}

INLINE void add_q5_0(const uint8_t *b, const struct v8 *v, int i, struct sums *s)
{
    static const uint8_t qs[64] = {SIXTEEN(6), SIXTEEN(28), SIXTEEN(50), SIXTEEN(72)};
    const __m512i b0 = _mm512_loadu_si512(b), b64 = _mm512_castsi256_si512(_mm256_maskz_loadu_epi8(0xffffff, b + 64));
    const __m512i q = bytes_at(b0, qs, b64), low = low_nibbles(q), high = high_nibbles(q),
                  sixteen = _mm512_set1_epi8(16);
    const __m128 d = halves_of(b, sizeof(struct fkv_block_q5_0));
    __mmask64 first, second;
    fifth_bits(b, &first, &second);
    add_dot(_mm512_mask_add_epi8(low, first, low, sixteen), _mm512_mask_add_epi8(high, second, high, sixteen), d, v, i,
            s);
    add_offset(d, v, i, s);
}

/* 32 bytes of each of two blocks, plus 128. */
INLINE __m512i two_blocks(const uint8_t *a, const uint8_t *b)
{
    const __m512i v = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)a)),
                                         _mm256_loadu_si256((const __m256i *)b), 1);
    return _mm512_xor_si512(v, _mm512_set1_epi8((char)0x80));
}

INLINE void add_q8_0(const uint8_t *b, const struct v8 *v, int i, struct sums *s)
{
    const __m512i zero = _mm512_setzero_si512(), *q = (const __m512i *)v->q + 2 * i;
    const __m512i dot01 = dpbusd(zero, two_blocks(b + 2, b + 36), _mm512_load_si512(q));
    const __m512i dot23 = dpbusd(zero, two_blocks(b + 70, b + 104), _mm512_load_si512(q + 1));
    const __m128 d = halves_of(b, sizeof(struct fkv_block_q8_0));
    const __m512 scale = _mm512_castps128_ps512(_mm_mul_ps(d, _mm_load_ps(v->scale + 4 * i)));
    const __m512i block01 = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m512i block23 = _mm512_setr_epi32(2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    s->dot = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot01), _mm512_permutexvar_ps(block01, scale), s->dot);
    s->dot = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot23), _mm512_permutexvar_ps(block23, scale), s->dot);
    add_offset(d, v, i, s);
}

/* offset: what sums.offset counts, -z or 1. to_l1: Q8_0 waits for memory and wants its weights in L1; the others wait
   for arithmetic and do better when L2 has them (Zen 4, K = 1536: L1 and L2 give Q8_0 29.6 and 28.6 GB/s, Q4_0 23.7 and
   26.1). */
INLINE float dot_row(add_fn add, size_t bytes, float offset, bool to_l1, const uint8_t *row, int k, const struct v8 *v)
{
    struct sums s = {_mm512_setzero_ps(), _mm_setzero_ps()};
    const int parts = k / 128, rest = k % 128 / 32;
    for (int i = 0; i < parts; i++) {
        const uint8_t *b = row + i * 4 * bytes;
        for (size_t j = 0; j < 4 * bytes; j += 64) {
            if (to_l1)
                _mm_prefetch((const char *)b + AHEAD + j, _MM_HINT_T0);
            else
                _mm_prefetch((const char *)b + AHEAD + j, _MM_HINT_T1);
        }
        add(b, v, i, &s);
    }
    if (rest) {
        uint8_t b[4 * sizeof(struct fkv_block_q8_0)] = {0};
        memcpy(b, row + parts * 4 * bytes, rest * bytes);
        add(b, v, parts, &s);
    }
    return _mm512_reduce_add_ps(_mm512_fmadd_ps(_mm512_set1_ps(offset), _mm512_zextps128_ps512(s.offset), s.dot));
}

MATVEC_BY_ROWS(q8_0, -128, true)
MATVEC_BY_ROWS(q4_0, -8, false)
MATVEC_BY_ROWS(q4_1, 1, false)
MATVEC_BY_ROWS(q5_0, -16, false)
