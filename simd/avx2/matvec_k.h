/* matvec_k.h: decode with weights in blocks of 256, as the file has them, times up to 8 vectors.

   The dwords of four vectors of stored weights are transposed in their halves, as those of v8 have been: then a lane
   of the products belongs to one block of 32, sums of whole numbers run down the vectors, and eight blocks become
   floats at once and enter by one FMA with the eight products of scales. A block's weights are unpacked once, stay in
   8 registers, and meet all vectors. What is added to a vector's sum, and when, does not depend on the others.

   Instructions per 256 weights, Q4_K: 66 to unpack them and their scales, 26 per vector (8 vpmaddubsw); a row at a
   time, a block of 32 after the other, it was 108 for one vector.

   Several vectors: strips of rows and pieces of k, so that the vectors' part stays in the first cache; sums wait in
   memory meanwhile. */
#ifndef FKV_SIMD_AVX2_MATVEC_K_H
#define FKV_SIMD_AVX2_MATVEC_K_H

#include "simd/avx2/matvec.h"

/* A level's own: of eight vectors of unsigned bytes w and signed ones x, the eight sums of lanes g, c (v8.h) over both
   halves and the four vectors 4 g + u. four_bits: all w < 16. */
typedef __m256i dots_fn(const __m256i w[8], const int8_t (*x)[32], bool four_bits);

enum { STRIP = 16, PIECE_256 = 7 }; /* rows; blocks of 256: 18 KiB of 8 vectors */

struct weights_256 {
    __m256i w[8];
    __m256 scale, minimum;
    __m256i even, odd, both; /* Q6_K: scales of 16 values by lane: of w[0..3], of w[4..7], of sum_16 */
};

typedef void unpack_256_fn(const uint8_t *block, struct weights_256 *o);
typedef __m256 add_256_fn(const struct weights_256 *w, const struct v8_256 *x, __m256 sum);

INLINE __m256i load_block(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

/* ---- Q4_K, Q5_K ------------------------------------------------------------------------------ */

/* The head of the block, in the order of lanes: even blocks, then odd ones. The 12 bytes s after d and dmin: sc[j] =
   s[j] & 63 and m[j] = s[j + 4] & 63 for j < 4; after that the low four bits are halves of s[j + 4], the upper two the
   top bits of s[j - 4] and s[j]. */
INLINE void scales_of_pairs(const uint8_t *block, struct weights_256 *o)
{
    uint64_t first;
    uint32_t last;
    memcpy(&first, block + 4, sizeof first);
    memcpy(&last, block + 12, sizeof last);
    const uint64_t low = first & 0x3f3f3f3f3f3f3f3f,
                   high = (first >> 2 & 0x3030303030303030) | ((last | (uint64_t)last << 28) & 0x0f0f0f0f0f0f0f0f);
    const __m128i in_order = _mm_set_epi64x((int64_t)high, (int64_t)low); /* sc 0-3, m 0-3, sc 4-7, m 4-7 */
    const __m128i lanes = _mm_shuffle_epi8(in_order,
                                           _mm_setr_epi8(0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15));
    o->scale = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(lanes)), _mm256_set1_ps(load_f16(block)));
    o->minimum = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(lanes, 8))),
                               _mm256_set1_ps(load_f16(block + 2)));
}

INLINE void unpack_256_q4_k(const uint8_t *block, struct weights_256 *o)
{
    const __m256i low = _mm256_set1_epi8(15);
    __m256i v[4];
    for (int c = 0; c < 4; c++) v[c] = load_block(block + 16 + 32 * c);
    transpose_halves(v);
#pragma GCC unroll 4
    for (int u = 0; u < 4; u++) {
        o->w[u] = _mm256_and_si256(v[u], low);
        o->w[4 + u] = _mm256_and_si256(_mm256_srli_epi16(v[u], 4), low);
    }
    scales_of_pairs(block, o);
}

/* Bit j of 32 bytes is the fifth of block j. */
#define FIFTH_BITS(u)                                                                                      \
    {                                                                                                      \
        const __m256i bits = _mm256_srlv_epi32(_mm256_shuffle_epi32(fifth, (u)*0x55), by_lane);            \
        o->w[u] = _mm256_or_si256(o->w[u], _mm256_slli_epi16(_mm256_and_si256(bits, one), 4));             \
        o->w[4 + (u)] = _mm256_or_si256(o->w[4 + (u)], _mm256_slli_epi16(_mm256_and_si256(bits, two), 3)); \
    }

INLINE void unpack_256_q5_k(const uint8_t *block, struct weights_256 *o)
{
    const __m256i fifth = load_block(block + 16), one = _mm256_set1_epi8(1), two = _mm256_set1_epi8(2);
    const __m256i by_lane = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6), low = _mm256_set1_epi8(15);
    __m256i v[4];
    for (int c = 0; c < 4; c++) v[c] = load_block(block + 48 + 32 * c);
    transpose_halves(v);
#pragma GCC unroll 4
    for (int u = 0; u < 4; u++) {
        o->w[u] = _mm256_and_si256(v[u], low);
        o->w[4 + u] = _mm256_and_si256(_mm256_srli_epi16(v[u], 4), low);
    }
    FIFTH_BITS(0)
    FIFTH_BITS(1)
    FIFTH_BITS(2)
    FIFTH_BITS(3)
    scales_of_pairs(block, o);
}

INLINE __m256 add_pairs(dots_fn *dots, bool four_bits, const struct weights_256 *w, const struct v8_256 *x, __m256 sum)
{
    const __m256 scale = _mm256_mul_ps(w->scale, _mm256_loadu_ps(x->scale));
    sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots(w->w, x->q, four_bits)), scale, sum);
    return _mm256_fnmadd_ps(w->minimum, _mm256_loadu_ps(x->scaled_sum), sum);
}
/* ---- rows ------------------------------------------------------------------------------------ */

INLINE void one_256(const struct fkv_matvec *p, const struct v8_256 *x, size_t bytes, unpack_256_fn *unpack,
                    add_256_fn *add)
{
    for (int i = 0; i < p->n; i++) {
        const uint8_t *block = fkv_matvec_row(p, i);
        __m256 sum = _mm256_setzero_ps();
        for (int b = 0; b < p->k / 256; b++, block += bytes) {
            struct weights_256 w;
            prefetch_block(block, bytes);
            unpack(block, &w);
            sum = add(&w, x + b, sum);
        }
        p->y[i] = horizontal_sum(sum);
    }
}

/* sums[m][8] += n blocks of 256 times those of x and of the vectors x_stride bytes further on. */
INLINE void several_256(const uint8_t *block, size_t bytes, size_t ahead, int n, int m, const struct v8_256 *x,
                        size_t x_stride, float (*sums)[8], unpack_256_fn *unpack, add_256_fn *add)
{
    for (int b = 0; b < n; b++, block += bytes, x++) {
        struct weights_256 w;
        const char *vector = (const char *)x;
        for (size_t at = 0; at < bytes; at += 64) _mm_prefetch((const char *)block + ahead + at, _MM_HINT_T0);
        unpack(block, &w);
        for (int j = 0; j < m; j++, vector += x_stride)
            _mm256_store_ps(sums[j], add(&w, (const struct v8_256 *)(const void *)vector, _mm256_load_ps(sums[j])));
    }
}

/* y[i] = the sum of the lanes of sums[i][0]. */
static void lanes_added(int n, float (*sums)[8], float *y)
{
    for (int i = 0; i < n; i++) y[i] = horizontal_sum(_mm256_load_ps(sums[(size_t)i * FKV_STEP_VECTORS]));
}

INLINE void strip_256(const struct fkv_matvec *p, int first, int n, const struct v8_256 *x, size_t bytes,
                      unpack_256_fn *unpack, add_256_fn *add)
{
    float sums[STRIP][FKV_STEP_VECTORS][8] __attribute__((aligned(32)));
    const int blocks = p->k / 256;
    memset(sums, 0, (size_t)n * sizeof sums[0]);
    for (int b = 0; b < blocks; b += PIECE_256) {
        const int here = blocks - b < PIECE_256 ? blocks - b : PIECE_256;
        for (int i = 0; i < n; i++)
            several_256(fkv_matvec_row(p, first + i) + (size_t)b * bytes, bytes, 2 * p->w_stride, here, p->m, x + b,
                        p->v_stride, sums[i], unpack, add);
    }
    for (int j = 0; j < p->m; j++) lanes_added(n, sums[0] + j, fkv_matvec_result(p, j) + first);
}

#define MATVEC_256(level, format, order, add)                                                         \
    void fkv_matvec_##format##_##level(const struct fkv_matvec *p)                                    \
    {                                                                                                 \
        const struct v8_256 *x = v8_view(p->v, p->k).order;                                           \
        const size_t bytes = sizeof(struct fkv_block_##format);                                       \
        if (p->m == 1) {                                                                              \
            one_256(p, x, bytes, unpack_256_##format, add);                                           \
            return;                                                                                   \
        }                                                                                             \
        for (int i = 0; i < p->n; i += STRIP)                                                         \
            strip_256(p, i, p->n - i < STRIP ? p->n - i : STRIP, x, bytes, unpack_256_##format, add); \
    }

/* fkv_matvec_q4_k_<level>() and fkv_matvec_q5_k_<level>(). */
#define MATVECS_256(level, dots)                                                                \
    INLINE __m256 add_256_q4_k(const struct weights_256 *w, const struct v8_256 *x, __m256 sum) \
    {                                                                                           \
        return add_pairs(dots, true, w, x, sum);                                                \
    }                                                                                           \
    INLINE __m256 add_256_q5_k(const struct weights_256 *w, const struct v8_256 *x, __m256 sum) \
    {                                                                                           \
        return add_pairs(dots, false, w, x, sum);                                               \
    }                                                                                           \
    MATVEC_256(level, q4_k, pairs, add_256_q4_k)                                                \
    MATVEC_256(level, q5_k, pairs, add_256_q5_k)

#endif
