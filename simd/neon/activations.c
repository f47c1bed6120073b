/* Packing of X: q = round(x / scale), scale = largest magnitude of the block / 127.

   The largest magnitude is found on the bits as integers, where a NaN is larger than all numbers: it becomes the scale
   and so reaches the result. Blocks below 2^-100 become zero: the reciprocal of their scale would overflow. */
#include "simd/neon/activations.h"

struct rounded {
    struct {
        int8x16_t low, high;
    } q;
    float scale, sum; /* sum: scale times the sum of q */
};

INLINE int8x16_t narrow(const float32x4_t v[4], float inverse)
{
    int16x8_t half[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++)
        half[i] = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(v[2 * i], inverse))),
                               vqmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(v[2 * i + 1], inverse))));
    return vcombine_s8(vqmovn_s16(half[0]), vqmovn_s16(half[1]));
}

INLINE struct rounded round_32(const float *x)
{
    float32x4_t v[8];
    uint32x4_t top = vdupq_n_u32(0);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        v[i] = vld1q_f32(x + 4 * i);
        top = vmaxq_u32(top, vreinterpretq_u32_f32(vabsq_f32(v[i])));
    }
    const float largest = fkv_f32_from_bits(vmaxvq_u32(top));
    const bool tiny = largest < 0x1p-100f;
    const float scale = tiny ? 0 : largest * (1.0f / 127), inverse = tiny ? 0 : 127 / largest;
    struct rounded r = {{narrow(v, inverse), narrow(v + 4, inverse)}, scale, 0};
    r.sum = scale * (float)(vaddlvq_s8(r.q.low) + vaddlvq_s8(r.q.high));
    return r;
}

size_t fkv_x8_bytes_neon(int m, int k)
{
    return ((size_t)x8_groups(m) * (size_t)(k / 32) * (sizeof(struct x_block) + sizeof(struct x_sums)) + 63) &
           ~(size_t)63;
}

/* One block of 6 rows; rows from `rows` on are zero. x points to the first row's block. */
static void pack_block(const float *x, size_t ldx, int rows, struct x_block *o, struct x_sums *sums)
{
    static const float zeros[32];
    *sums = (struct x_sums){{0}, {0}};
    for (int r = 0; r < X_ROWS; r++) {
        const struct rounded b = round_32(r < rows ? x + (size_t)r * ldx : zeros);
        vst1_s8(o->q[0][r], vget_low_s8(b.q.low));
        vst1_s8(o->q[1][r], vget_high_s8(b.q.low));
        vst1_s8(o->q[2][r], vget_low_s8(b.q.high));
        vst1_s8(o->q[3][r], vget_high_s8(b.q.high));
        vst1_f32(&o->scale[r / 2][r % 2 * 2], vdup_n_f32(b.scale));
        sums->sum[r] = b.sum;
    }
}

void fkv_x8_pack_neon(const float *x, size_t ldx, int m, int k, int row0, int row1, void *packed)
{
    const int blocks = k / 32;
    struct x_block *o = packed;
    struct x_sums *sums = (struct x_sums *)(o + (size_t)x8_groups(m) * (size_t)blocks);
    for (int row = row0; row < row1; row += X_ROWS) {
        const size_t group = (size_t)(row / X_ROWS) * (size_t)blocks;
        for (int b = 0; b < blocks; b++)
            pack_block(x + (size_t)row * ldx + 32 * (size_t)b, ldx, row1 - row, &o[group + (size_t)b],
                       &sums[group + (size_t)b]);
    }
}

size_t fkv_x16_bytes_neon(int m, int k) { return ((size_t)m * x16_stride(k) * 4 + 63) & ~(size_t)63; }

void fkv_x16_pack_neon(const float *x, size_t ldx, int m, int k, int row0, int row1, void *packed)
{
    (void)m;
    for (int row = row0; row < row1; row++)
        memcpy((float *)packed + (size_t)row * x16_stride(k), x + (size_t)row * ldx, (size_t)k * 4);
}

size_t fkv_v8_bytes_neon(int k) { return ((size_t)k + (size_t)(k / 32) * 2 * 4 + 63) & ~(size_t)63; }

void fkv_v8_pack_neon(const float *x, int k, void *packed)
{
    int8_t *q = packed;
    float *scale = (float *)(q + k), *scaled_sum = scale + k / 32;
    for (int b = 0; b < k / 32; b++) {
        const struct rounded r = round_32(x + 32 * b);
        vst1q_s8(q + 32 * b, r.q.low);
        vst1q_s8(q + 32 * b + 16, r.q.high);
        scale[b] = r.scale;
        scaled_sum[b] = r.sum;
    }
}
