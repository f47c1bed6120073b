#include "simd/grids.h"
#include "simd/reference/weights.h"

static void set_scale(struct fkv_weights32 *w, float scale, float offset)
{
    w->scale[0] = w->scale[1] = scale;
    w->offset = offset;
    w->more = 0;
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
    w->offset = w->more = 0;
}

/* ---- unpacked.def ---------------------------------------------------------------------------- */

static void unpack_table(const int8_t table[16], const uint8_t qs[16], struct fkv_weights32 *w)
{
    for (int j = 0; j < 16; j++) {
        w->q[j] = table[qs[j] & 15];
        w->q[j + 16] = table[qs[j] >> 4];
    }
}

void fkv_unpack_iq4_nl(const void *row, int i, struct fkv_weights32 *w)
{
    const struct fkv_block_iq4_nl *b = (const struct fkv_block_iq4_nl *)row + i;
    unpack_table(fkv_iq4_values, b->qs, w);
    set_scale(w, fkv_f32_from_f16(b->d), 0);
}

void fkv_unpack_iq4_xs(const void *row, int i, struct fkv_weights32 *w)
{
    const struct fkv_block_iq4_xs *b = (const struct fkv_block_iq4_xs *)row + i / 8;
    const int part = i % 8, low = b->scales_l[part / 2] >> 4 * (part % 2) & 15, high = b->scales_h >> 2 * part & 3;
    unpack_table(fkv_iq4_values, b->qs + 16 * part, w);
    set_scale(w, fkv_f32_from_f16(b->d) * (float)((low | high << 4) - 32), 0);
}

void fkv_unpack_mxfp4(const void *row, int i, struct fkv_weights32 *w)
{
    const struct fkv_block_mxfp4 *b = (const struct fkv_block_mxfp4 *)row + i;
    unpack_table(fkv_mxfp4_values, b->qs, w);
    set_scale(w, fkv_f32_from_e8m0_half(b->e), 0);
}

/* Value j of 32 whose points are four values each. */
static int16_t value_of_point(uint32_t point, int j, int negative)
{
    const int16_t q = (int16_t)(point >> 8 * (j % 4) & 255);
    return (int16_t)(negative ? -q : q);
}

void fkv_unpack_iq3_s(const void *row, int i, struct fkv_weights32 *w)
{
    const struct fkv_block_iq3_s *b = (const struct fkv_block_iq3_s *)row + i / 8;
    const int part = i % 8, s = b->scales[part / 2] >> 4 * (part % 2) & 15;
    for (int j = 0; j < 32; j++) {
        const int number = b->qs[8 * part + j / 4] | (b->qh[part] >> j / 4 & 1) << 8;
        w->q[j] = value_of_point(fkv_grid_iq3_s[number], j, b->signs[4 * part + j / 8] >> j % 8 & 1);
    }
    set_scale(w, fkv_f32_from_f16(b->d) * (float)(1 + 2 * s), 0);
}

void fkv_unpack_iq3_xxs(const void *row, int i, struct fkv_weights32 *w)
{
    const struct fkv_block_iq3_xxs *b = (const struct fkv_block_iq3_xxs *)row + i / 8;
    const uint32_t word = b->signs_scale[i % 8];
    for (int j = 0; j < 32; j++) {
        const uint8_t signs = fkv_eight_signs(word >> 7 * (j / 8) & 127);
        w->q[j] = value_of_point(fkv_grid_iq3_xxs[b->qs[8 * (i % 8) + j / 4]], j, signs >> j % 8 & 1);
    }
    set_scale(w, fkv_f32_from_f16(b->d) * (0.5f + (float)(word >> 28)) * 0.5f, 0);
}

void fkv_unpack_q2_k(const void *row, int i, struct fkv_weights32 *w)
{
    const struct fkv_block_q2_k *b = (const struct fkv_block_q2_k *)row + i / 8;
    const float d = fkv_f32_from_f16(b->d), dmin = fkv_f32_from_f16(b->dmin);
    const uint8_t *s = b->scales + 2 * (i % 8);
    for (int j = 0; j < 32; j++) w->q[j] = b->qs[32 * (i % 8 / 4) + j] >> 2 * (i % 4) & 3;
    for (int h = 0; h < 2; h++) w->scale[h] = d * (float)(s[h] & 15);
    w->offset = -dmin * (float)(s[0] >> 4);
    w->more = -dmin * (float)(s[1] >> 4) - w->offset;
}

void fkv_unpack_q3_k(const void *row, int i, struct fkv_weights32 *w)
{
    const struct fkv_block_q3_k *b = (const struct fkv_block_q3_k *)row + i / 8;
    for (int j = 0; j < 32; j++) {
        const int low = b->qs[32 * (i % 8 / 4) + j] >> 2 * (i % 4) & 3, high = b->hmask[j] >> i % 8 & 1;
        w->q[j] = (int16_t)((low | high << 2) - 4);
    }
    for (int h = 0; h < 2; h++) {
        const int s = 2 * (i % 8) + h;
        const int low = b->scales[s % 8] >> 4 * (s / 8) & 15, high = b->scales[8 + s % 4] >> 2 * (s / 4) & 3;
        w->scale[h] = fkv_f32_from_f16(b->d) * (float)((low | high << 4) - 32);
    }
    w->offset = w->more = 0;
}

void fkv_unpack_q5_1(const void *row, int i, struct fkv_weights32 *w)
{
    const struct fkv_block_q5_1 *b = (const struct fkv_block_q5_1 *)row + i;
    for (int j = 0; j < 32; j++) {
        const int low = b->qs[j % 16] >> 4 * (j / 16) & 15, high = b->qh[j / 8] >> j % 8 & 1;
        w->q[j] = (int16_t)(low | high << 4);
    }
    set_scale(w, fkv_f32_from_f16(b->d), fkv_f32_from_f16(b->m));
}
