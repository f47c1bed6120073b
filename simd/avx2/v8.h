/* v8.h: one vector for decode as the levels of 256 bits pack it.

   First as it is, for weights in blocks of 32 values. Then every 256 values once more for each of the two orders in
   which the K types' kernels get 256 weights out of a block: eight vectors, lane (h, c) of vector 4 g + u holding the
   values 16 h + 4 u .. + 3 of one of the eight blocks of 32:
       pairs (Q4_K, Q5_K)   block 2 c + g
       sixes (Q6_K)         block {0, 1, 4, 5}[c] + 2 g
   Their scales and sums lie in the order of the lanes g, c. */
#ifndef FKV_SIMD_AVX2_V8_H
#define FKV_SIMD_AVX2_V8_H

#include "simd/avx2/avx2.h"

struct v8_256 {
    int8_t q[8][32];
    float scale[8];
    union {
        float scaled_sum[8];  /* pairs: scale * sum of q over the block */
        int16_t sum_16[8][2]; /* sixes: sums of q over the first and the second 16 values */
    };
};

/* The arrays of floats are padded with zeros to whole vectors of 8. */
struct v8 {
    int8_t *q;                    /* [k]: v = scale q */
    float *scale;                 /* [k / 32] */
    float *scaled_sum;            /* [k / 32] scale * sum of q over the block */
    struct v8_256 *pairs, *sixes; /* [k / 256] each */
};

static inline int v8_padded_blocks(int k) { return (k / 32 + 7) & ~7; }

/* Of the second and third part. */
static inline int v8_n_256(int k) { return k / 256; }

static inline struct v8 v8_view(const void *packed, int k)
{
    struct v8 v = {.q = (int8_t *)packed};
    v.scale = (float *)(v.q + k);
    v.scaled_sum = v.scale + v8_padded_blocks(k);
    v.pairs = (struct v8_256 *)(v.scaled_sum + v8_padded_blocks(k));
    v.sixes = v.pairs + v8_n_256(k);
    return v;
}

/* Sums of vectors 4 g + u over u, for g = 0 and 1: over both halves, in the order of lanes g, c, they are the first of
   these and the second added. */
INLINE __m256i lanes_of_even(__m256i even, __m256i odd) { return _mm256_permute2x128_si256(even, odd, 0x20); }
INLINE __m256i lanes_of_odd(__m256i even, __m256i odd) { return _mm256_permute2x128_si256(even, odd, 0x31); }

#endif
