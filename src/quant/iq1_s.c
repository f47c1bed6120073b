/* IQ1_S: 256 values in 8 sub-blocks of 32: d (2 s + 1) times four points of eight values moved by 1/8 up or down, s
   of three bits; a point's number is a byte of qs and three bits of qh, whose other four are s and the move's sign. */
#include "quant/dequantize.h"

void fkv_dequantize_iq1_s(const void *src, float *dst, size_t k)
{
    const struct fkv_block_iq1_s *b = src;
    for (size_t i = 0; i < k; i += 256, b++) {
        const float d = fkv_f32_from_f16(b->d);
        for (int j = 0; j < 32; j++) {
            const uint16_t word = b->qh[j / 4];
            const int high = word >> 3 * (j % 4) & 7;
            const float scale = d * (float)(2 * (word >> 12 & 7) + 1), delta = word & 0x8000 ? -0.125f : 0.125f;
            fkv_put_ternary(fkv_grid_iq1[b->qs[j] | high << 8], scale, delta, dst + i + 8 * j);
        }
    }
}
