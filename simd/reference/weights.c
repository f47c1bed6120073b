#include "simd/reference/weights.h"

static void set_scale(struct fkv_weights32 *w, float scale, float offset)
{
    w->scale[0] = w->scale[1] = scale;
    w->offset = offset;
}

void fkv_unpack_q8_0(const void *row, int i, struct fkv_weights32 *w)
{
    const struct fkv_block_q8_0 *b = (const struct fkv_block_q8_0 *)row + i;
    for (int j = 0; j < 32; j++) w->q[j] = b->qs[j];
    set_scale(w, fkv_f32_from_f16(b->d), 0);
}

void fkv_unpack_q4_0(const void *row, int i, struct fkv_weights32 *w)
{
    const struct fkv_block_q4_0 *b = (const struct fkv_block_q4_0 *)row + i;
    for (int j = 0; j < 16; j++) {
        w->q[j] = (int16_t)((b->qs[j] & 15) - 8);
        w->q[j + 16] = (int16_t)((b->qs[j] >> 4) - 8);
    }
    set_scale(w, fkv_f32_from_f16(b->d), 0);
}

void fkv_unpack_q4_1(const void *row, int i, struct fkv_weights32 *w)
{
    const struct fkv_block_q4_1 *b = (const struct fkv_block_q4_1 *)row + i;
    for (int j = 0; j < 16; j++) {
        w->q[j] = b->qs[j] & 15;
        w->q[j + 16] = b->qs[j] >> 4;
    }
    set_scale(w, fkv_f32_from_f16(b->d), fkv_f32_from_f16(b->m));
}

void fkv_unpack_q5_0(const void *row, int i, struct fkv_weights32 *w)
{
    const struct fkv_block_q5_0 *b = (const struct fkv_block_q5_0 *)row + i;
    for (int j = 0; j < 32; j++) {
        const int low = b->qs[j % 16] >> 4 * (j / 16) & 15, high = b->qh[j / 8] >> j % 8 & 1;
        w->q[j] = (int16_t)((low | high << 4) - 16);
    }
    set_scale(w, fkv_f32_from_f16(b->d), 0);
}

/* The six-bit scale and minimum of sub-block j, 0 .. 7: the first four as they stand, the others' upper two bits in the
   first's. */
static void k_scale_min(const uint8_t s[12], int j, float *scale, float *min)
{
    *scale = (float)(j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4);
    *min = (float)(j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4);
}

void fkv_unpack_q4_k(const void *row, int i, struct fkv_weights32 *w)
{
    const struct fkv_block_q4_k *b = (const struct fkv_block_q4_k *)row + i / 8;
    const int part = i % 8;
    float scale, min;
    k_scale_min(b->scales, part, &scale, &min);
    for (int j = 0; j < 32; j++) w->q[j] = b->qs[32 * (part / 2) + j] >> 4 * (part % 2) & 15;
    set_scale(w, fkv_f32_from_f16(b->d) * scale, -fkv_f32_from_f16(b->dmin) * min);
}

void fkv_unpack_q5_k(const void *row, int i, struct fkv_weights32 *w)
{
    const struct fkv_block_q5_k *b = (const struct fkv_block_q5_k *)row + i / 8;
    const int part = i % 8;
    float scale, min;
    k_scale_min(b->scales, part, &scale, &min);
    for (int j = 0; j < 32; j++) {
        const int low = b->qs[32 * (part / 2) + j] >> 4 * (part % 2) & 15, high = b->qh[j] >> part & 1;
        w->q[j] = (int16_t)(low | high << 4);
    }
    set_scale(w, fkv_f32_from_f16(b->d) * scale, -fkv_f32_from_f16(b->dmin) * min);
}

void fkv_unpack_q6_k(const void *row, int i, struct fkv_weights32 *w)
{
    const struct fkv_block_q6_k *b = (const struct fkv_block_q6_k *)row + i / 8;
    const int half = i % 8 / 4, quarter = i % 4;
    const float d = fkv_f32_from_f16(b->d);
    for (int j = 0; j < 32; j++) {
        const int low = b->ql[64 * half + 32 * (quarter % 2) + j] >> 4 * (quarter / 2) & 15;
        const int high = b->qh[32 * half + j] >> 2 * quarter & 3;
        w->q[j] = (int16_t)((low | high << 4) - 32);
    }
    for (int j = 0; j < 2; j++) w->scale[j] = d * (float)b->scales[2 * (i % 8) + j];
    w->offset = 0;
}
