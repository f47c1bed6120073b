/* v8.h: one vector for decode as the levels of 256 bits pack it. */
#ifndef FKV_SIMD_AVX2_V8_H
#define FKV_SIMD_AVX2_V8_H

#include "simd/avx2/avx2.h"

/* The arrays of floats are padded with zeros to whole vectors of 8. */
struct v8 {
    int8_t *q;         /* [k]: v = scale q */
    float *scale;      /* [k / 32] */
    float *scaled_sum; /* [k / 32] scale * sum of q over the block */
    float *sum_16;     /* [k / 16] the same over 16 values */
};

static inline int v8_padded_blocks(int k) { return (k / 32 + 7) & ~7; }

static inline struct v8 v8_view(const void *packed, int k)
{
    struct v8 v = {.q = (int8_t *)packed};
    v.scale = (float *)(v.q + k);
    v.scaled_sum = v.scale + v8_padded_blocks(k);
    v.sum_16 = v.scaled_sum + v8_padded_blocks(k);
    return v;
}

#endif
