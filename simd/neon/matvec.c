/* Decode: y[n] = W[n][k] v. */
#include "simd/neon/matvec.h"

/* smull and smlal2 put two products in 16 bits: 2 x 128 x 127 fits. */
INLINE int32x4_t dot_16(int32x4_t sum, int8x16_t w, int8x16_t x)
{
    return vpadalq_s16(sum, vmlal_high_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), w, x));
}

MATVECS(neon, dot_16)
#define UNPACKED(NAME, name, values, bits, scales, has_offset) \
    MATVEC_UNPACKED(neon, dot_16, name, values, scales, has_offset)
#include "simd/unpacked.def"

/* ---- floats: four sums of 4 lanes, k divides by 32 ------------------------------------------- */

INLINE float dot_float(const char *row, int k, const float *v, size_t value_bytes, float32x4_t (*load)(const void *))
{
    float32x4_t sum[4];
    for (int i = 0; i < 4; i++) sum[i] = vdupq_n_f32(0);
    for (int j = 0; j < k; j += 16) {
        __builtin_prefetch(row + (size_t)j * value_bytes + AHEAD);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            sum[i] = vfmaq_f32(sum[i], load(row + (size_t)(j + 4 * i) * value_bytes), vld1q_f32(v + j + 4 * i));
    }
    return vaddvq_f32(vaddq_f32(vaddq_f32(sum[0], sum[1]), vaddq_f32(sum[2], sum[3])));
}

#define MATVEC_FLOAT(format, value_bytes)                                                                      \
    static void few_##format(const struct fkv_matvec *p)                                                       \
    {                                                                                                          \
        for (int j = 0; j < p->m; j++)                                                                         \
            for (int i = 0; i < p->n; i++)                                                                     \
                fkv_matvec_result(p, j)[i] = dot_float((const char *)fkv_matvec_row(p, i), p->k,               \
                                                       fkv_matvec_vector(p, j), value_bytes, load_4_##format); \
    }                                                                                                          \
    void fkv_matvec_##format##_neon(const struct fkv_matvec *p) { fkv_matvec_by_few(p, few_##format); }
MATVEC_FLOAT(f16, 2)
MATVEC_FLOAT(bf16, 2)
MATVEC_FLOAT(f32, 4)
