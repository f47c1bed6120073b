#include "quantise.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "simd/blocks.h"

static int nearest(float x, int least, int most)
{
    const long q = lrintf(x);
    return q < least ? least : q > most ? most : (int)q;
}

static float quotient(float x, float y) { return y != 0 ? x / y : 0; }

/* As it is stored. */
static float rounded(float x, fkv_f16 *half)
{
    *half = fkv_f16_from_f32(x);
    return fkv_f32_from_f16(*half);
}

/* The value of largest magnitude, with its sign. */
static float largest(const float *x, int n)
{
    float most = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(most)) most = x[i];
    return most;
}

/* Of x and 0. */
static void find_range(const float *x, int n, float *least, float *most)
{
    *least = *most = 0;
    for (int i = 0; i < n; i++) {
        *least = fminf(*least, x[i]);
        *most = fmaxf(*most, x[i]);
    }
}

/* ---- blocks of 32 ---------------------------------------------------------------------------- */

static void quantise_q8_0(const float *x, struct fkv_block_q8_0 *b)
{
    const float d = rounded(fabsf(largest(x, 32)) / 127, &b->d);
    for (int i = 0; i < 32; i++) b->qs[i] = (int8_t)nearest(quotient(x[i], d), -127, 127);
}

static void quantise_q4_0(const float *x, struct fkv_block_q4_0 *b)
{
    const float d = rounded(largest(x, 32) / -8, &b->d);
    for (int i = 0; i < 32; i++) b->qs[i % 16] |= (uint8_t)(nearest(quotient(x[i], d) + 8, 0, 15) << (i < 16 ? 0 : 4));
}

static void quantise_q4_1(const float *x, struct fkv_block_q4_1 *b)
{
    float least, most;
    find_range(x, 32, &least, &most);
    const float d = rounded((most - least) / 15, &b->d), m = rounded(least, &b->m);
    for (int i = 0; i < 32; i++) b->qs[i % 16] |= (uint8_t)(nearest(quotient(x[i] - m, d), 0, 15) << (i < 16 ? 0 : 4));
}

static void quantise_q5_0(const float *x, struct fkv_block_q5_0 *b)
{
    const float d = rounded(largest(x, 32) / -16, &b->d);
    for (int i = 0; i < 32; i++) {
        const int q = nearest(quotient(x[i], d) + 16, 0, 31);
        b->qs[i % 16] |= (uint8_t)((q & 15) << (i < 16 ? 0 : 4));
        b->qh[i / 8] |= (uint8_t)(q >> 4 << i % 8);
    }
}

/* ---- blocks of 256 --------------------------------------------------------------------------- */

/* Scale and minimum of sub-block j, six bits each. */
static void store_scale_min(uint8_t *scales, int j, int s, int m)
{
    if (j < 4) {
        scales[j] |= (uint8_t)s;
        scales[j + 4] |= (uint8_t)m;
        return;
    }
    scales[j + 4] = (uint8_t)((s & 15) | (m & 15) << 4);
    scales[j - 4] |= (uint8_t)(s >> 4 << 6);
    scales[j] |= (uint8_t)(m >> 4 << 6);
}

/* What Q4_K and Q5_K share: q[256] from 0 to `most`. */
static void quantise_with_minima(const float *x, int most, fkv_f16 *d_at, fkv_f16 *dmin_at, uint8_t *scales, uint8_t *q)
{
    float least[8], range[8];
    for (int j = 0; j < 8; j++) {
        find_range(x + 32 * j, 32, &least[j], &range[j]);
        range[j] -= least[j];
    }
    const float d = rounded(largest(range, 8) / (float)most / 63, d_at),
                dmin = rounded(-largest(least, 8) / 63, dmin_at);
    for (int j = 0; j < 8; j++) {
        const int s = nearest(quotient(range[j] / (float)most, d), 0, 63),
                  m = nearest(quotient(-least[j], dmin), 0, 63);
        store_scale_min(scales, j, s, m);
        for (int i = 32 * j; i < 32 * j + 32; i++)
            q[i] = (uint8_t)nearest(quotient(x[i] + dmin * (float)m, d * (float)s), 0, most);
    }
}

static void quantise_q4_k(const float *x, struct fkv_block_q4_k *b)
{
    uint8_t q[256];
    fkv_f16 d, dmin;
    quantise_with_minima(x, 15, &d, &dmin, b->scales, q);
    b->d = d;
    b->dmin = dmin;
    for (int i = 0; i < 256; i++) b->qs[i / 64 * 32 + i % 32] |= (uint8_t)(q[i] << 4 * (i / 32 % 2));
}

static void quantise_q5_k(const float *x, struct fkv_block_q5_k *b)
{
    uint8_t q[256];
    fkv_f16 d, dmin;
    quantise_with_minima(x, 31, &d, &dmin, b->scales, q);
    b->d = d;
    b->dmin = dmin;
    for (int i = 0; i < 256; i++) {
        b->qs[i / 64 * 32 + i % 32] |= (uint8_t)((q[i] & 15) << 4 * (i / 32 % 2));
        b->qh[i % 32] |= (uint8_t)(q[i] >> 4 << i / 32);
    }
}

static void quantise_q6_k(const float *x, struct fkv_block_q6_k *b)
{
    float scale[16];
    for (int j = 0; j < 16; j++) scale[j] = largest(x + 16 * j, 16) / -32;
    const float d = rounded(largest(scale, 16) / -128, &b->d);
    for (int j = 0; j < 16; j++) b->scales[j] = (int8_t)nearest(quotient(scale[j], d), -128, 127);
    for (int i = 0; i < 256; i++) {
        const int q = nearest(quotient(x[i], d * (float)b->scales[i / 16]) + 32, 0, 63), half = i / 128,
                  quarter = i % 128 / 32, l = i % 32;
        b->ql[64 * half + 32 * (quarter % 2) + l] |= (uint8_t)((q & 15) << 4 * (quarter / 2));
        b->qh[32 * half + l] |= (uint8_t)(q >> 4 << 2 * quarter);
    }
}

/* Types of unpacked.def: any quants, under a scale of about 0.02 for the largest. */
static void make_up(uint32_t type, const float *x, uint8_t *block, size_t bytes)
{
    const size_t at = type == FKV_TYPE_Q2_K ? 80 : type == FKV_TYPE_Q3_K ? 108 : 0;
    const bool has_second = type == FKV_TYPE_Q2_K || type == FKV_TYPE_Q5_1;
    const fkv_f16 d = fkv_f16_from_f32(3e-5f), m = fkv_f16_from_f32(type == FKV_TYPE_Q2_K ? 5e-5f : -5e-4f);
    for (size_t i = 0; i < bytes; i++) block[i] = (uint8_t)(fkv_bits_from_f32(x[i]) >> 5);
    if (type == FKV_TYPE_MXFP4)
        block[0] = 117;
    else
        memcpy(block + at, &d, sizeof d);
    if (has_second) memcpy(block + at + 2, &m, sizeof m);
}

static void store_f16(const float *x, fkv_f16 *half) { *half = fkv_f16_from_f32(*x); }
static void store_bf16(const float *x, fkv_bf16 *half) { *half = fkv_bf16_from_f32(*x); }

/* The quantisers set bits in zeroed blocks. */
#define ZEROED(quantise, type)       \
    {                                \
        type b;                      \
        memset(&b, 0, sizeof b);     \
        quantise(x, &b);             \
        memcpy(block, &b, sizeof b); \
        return;                      \
    }

void bench_quantise_block(uint32_t type, const float *x, void *block)
{
    switch (type) {
    case FKV_TYPE_Q8_0: ZEROED(quantise_q8_0, struct fkv_block_q8_0)
    case FKV_TYPE_Q4_0: ZEROED(quantise_q4_0, struct fkv_block_q4_0)
    case FKV_TYPE_Q4_1: ZEROED(quantise_q4_1, struct fkv_block_q4_1)
    case FKV_TYPE_Q5_0: ZEROED(quantise_q5_0, struct fkv_block_q5_0)
    case FKV_TYPE_Q4_K: ZEROED(quantise_q4_k, struct fkv_block_q4_k)
    case FKV_TYPE_Q5_K: ZEROED(quantise_q5_k, struct fkv_block_q5_k)
    case FKV_TYPE_Q6_K: ZEROED(quantise_q6_k, struct fkv_block_q6_k)
    case FKV_TYPE_F16: ZEROED(store_f16, fkv_f16)
    case FKV_TYPE_BF16: ZEROED(store_bf16, fkv_bf16)
#define UNPACKED(NAME, name, values, bits, scales, has_offset)    \
    case FKV_TYPE_##NAME:                                         \
        make_up(type, x, block, sizeof(struct fkv_block_##name)); \
        return;
#include "simd/unpacked.def"
    default: assert(type == FKV_TYPE_F32); memcpy(block, x, sizeof *x);
    }
}
