#include "problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"

const struct format format_q8_0 = {"q8_0", FKV_TYPE_Q8_0, 32, {0, -1}, 2, 32, false, ROUNDS_TO_8_BITS, 0.02};
const struct format format_q4_0 = {"q4_0", FKV_TYPE_Q4_0, 32, {0, -1}, 2, 16, false, ROUNDS_TO_8_BITS, 0.02};
const struct format format_q4_1 = {"q4_1", FKV_TYPE_Q4_1, 32, {0, 2}, 4, 16, true, ROUNDS_TO_8_BITS, 0.02};
const struct format format_q5_0 = {"q5_0", FKV_TYPE_Q5_0, 32, {0, -1}, 2, 20, false, ROUNDS_TO_8_BITS, 0.02};
const struct format format_q4_k = {"q4_k", FKV_TYPE_Q4_K, 256, {0, 2}, 16, 128, true, ROUNDS_TO_8_BITS, 0.02};
const struct format format_q5_k = {"q5_k", FKV_TYPE_Q5_K, 256, {0, 2}, 16, 160, true, ROUNDS_TO_8_BITS, 0.02};
const struct format format_q6_k = {"q6_k", FKV_TYPE_Q6_K, 256, {208, -1}, 0, 192, true, ROUNDS_TO_8_BITS, 0.02};
const struct format format_iq4_nl = {"iq4_nl", FKV_TYPE_IQ4_NL, 32, {0, -1}, 2, 16, false, ROUNDS_TO_8_BITS, 0.02};
const struct format format_iq4_xs = {"iq4_xs", FKV_TYPE_IQ4_XS, 256, {0, -1}, 8, 128, false, ROUNDS_TO_8_BITS, 0.02};
const struct format format_mxfp4 = {"mxfp4", FKV_TYPE_MXFP4, 32, {-1, -1}, 1, 16, false, ROUNDS_TO_8_BITS, 0.02};
const struct format format_iq3_s = {"iq3_s", FKV_TYPE_IQ3_S, 256, {0, -1}, 2, 104, false, ROUNDS_TO_8_BITS, 0.02};
const struct format format_iq3_xxs = {"iq3_xxs", FKV_TYPE_IQ3_XXS, 256, {0, -1}, 2, 64, false, ROUNDS_TO_8_BITS, 0.02};
const struct format format_q2_k = {"q2_k", FKV_TYPE_Q2_K, 256, {80, 82}, 16, 64, true, ROUNDS_TO_8_BITS, 0.02};
const struct format format_q3_k = {"q3_k", FKV_TYPE_Q3_K, 256, {108, -1}, 0, 96, true, ROUNDS_TO_8_BITS, 0.02};
const struct format format_q5_1 = {"q5_1", FKV_TYPE_Q5_1, 32, {0, 2}, 4, 20, false, ROUNDS_TO_8_BITS, 0.02};
const struct format format_f16 = {"f16", FKV_TYPE_F16, 32, {-1, -1}, 0, 0, false, ROUNDS_TO_BF16, 0.005};
const struct format format_bf16 = {"bf16", FKV_TYPE_BF16, 32, {-1, -1}, 0, 0, false, ROUNDS_TO_BF16, 0.005};
const struct format format_f32 = {"f32", FKV_TYPE_F32, 32, {-1, -1}, 0, 0, false, ROUNDS_NOT, 1e-6};

static double max_double(double a, double b) { return a > b ? a : b; }

static bool is_float(const struct format *f) { return f->n_quants == 0; }

/* ---- weights --------------------------------------------------------------------------------- */

static float make_float(const struct format *f, enum w_kind kind)
{
    const float x = random_normal();
    switch (kind) {
    case W_ZERO:
    case W_ZERO_SCALE: return 0;
    case W_LARGE: return f->type == FKV_TYPE_F16 ? 16000 * fmaxf(-4, fminf(4, x)) : 1e15f * x;
    case W_SUBNORMAL: return f->type == FKV_TYPE_F16 ? 1e-6f * x : 1e-39f * x;
    default: return 0.05f * x;
    }
}

static void make_float_row(const struct format *f, int k, enum w_kind kind, uint8_t *row)
{
    for (int i = 0; i < k; i++) {
        const float x = make_float(f, kind);
        const uint16_t half = f->type == FKV_TYPE_F16 ? fkv_f16_from_f32(x) : fkv_bf16_from_f32(x);
        if (f->type == FKV_TYPE_F32)
            memcpy(row + 4 * i, &x, 4);
        else
            memcpy(row + 2 * i, &half, 2);
    }
}

/* The second half float of a block is its minimum: about what centres the values. */
static fkv_f16 make_scale(enum w_kind kind, int which)
{
    float x = (random_int(2) && which == 0 ? -0.002f : 0.002f) * (0.5f + random_uniform());
    if (which == 1) x *= -8;
    if (kind == W_ZERO || kind == W_ZERO_SCALE) x = 0;
    if (kind == W_LARGE) x = which == 0 ? 65504 : -65504;
    if (kind == W_SUBNORMAL) x = copysignf(3e-7f, x);
    return fkv_f16_from_f32(x);
}

/* MXFP4's exponent: those of a row near each other, as those of a matrix are. */
static uint8_t make_exponent(enum w_kind kind)
{
    switch (kind) {
    case W_ZERO:
    case W_ZERO_SCALE:
    case W_SUBNORMAL: return (uint8_t)random_int(2);
    case W_LARGE: return 143;
    default: return (uint8_t)(116 + random_int(6));
    }
}

static void make_row(const struct format *f, int k, enum w_kind kind, uint8_t *row)
{
    if (is_float(f) && kind != W_ANY_BYTES) {
        make_float_row(f, k, kind, row);
        return;
    }
    const struct fkv_quant_type *q = fkv_quant_find(f->type);
    const size_t bytes = fkv_quant_row_bytes(q, k);
    for (size_t i = 0; i < bytes; i++) row[i] = kind == W_ZERO ? 0 : (uint8_t)random_u32();
    if (kind == W_ANY_BYTES) return;
    /* K types: the minimum is subtracted, so its factor is positive. */
    const float sign = f->granule == 256 ? -1 : 1;
    for (size_t b = 0; b < bytes && f->type == FKV_TYPE_MXFP4; b += q->block_bytes) row[b] = make_exponent(kind);
    for (size_t b = 0; b < bytes; b += q->block_bytes)
        for (int h = 0; h < 2 && f->half_at[h] >= 0; h++) {
            const fkv_f16 scale = fkv_f16_from_f32((h == 1 ? sign : 1) * fkv_f32_from_f16(make_scale(kind, h)));
            memcpy(row + b + f->half_at[h], &scale, sizeof scale);
        }
}

/* What all-zero and all-one quants stand for bounds every value of the 32. */
static void find_range(const struct format *f, int k, const uint8_t *row, const float *values, float *range)
{
    memset(range, 0, sizeof *range * (k / 32));
    const struct fkv_quant_type *q = fkv_quant_find(f->type);
    const size_t bytes = fkv_quant_row_bytes(q, k);
    uint8_t *changed = malloc(bytes);
    float *extreme = malloc(sizeof *extreme * k);
    for (int pass = 0; pass < 3; pass++) {
        memcpy(changed, row, bytes);
        for (size_t b = 0; b < bytes && pass < 2; b += q->block_bytes)
            memset(changed + b + f->quants_at, pass ? 0xff : 0, f->n_quants);
        q->dequantize(changed, extreme, k);
        for (int i = 0; i < k; i++) range[i / 32] = fmaxf(range[i / 32], fmaxf(fabsf(extreme[i]), fabsf(values[i])));
    }
    free(changed);
    free(extreme);
}

/* ---- X --------------------------------------------------------------------------------------- */

static void make_x_row(float *x, int k, enum x_kind kind, int row)
{
    for (int i = 0; i < k; i++) {
        const float r = random_normal();
        switch (kind) {
        case X_ZERO: x[i] = 0; break;
        case X_EQUAL: x[i] = -2.5f; break;
        case X_HUGE: x[i] = 1e15f * r; break;
        case X_DENORMAL: x[i] = 1e-40f * r; break;
        case X_MIXED: x[i] = i / 32 % 3 == 1 ? 0 : ldexpf(r, i / 32 * 13 % 50 - 25); break;
        case X_ONE_HOT: x[i] = i == row % k; break;
        case X_OUTLIERS: x[i] = r * (i % 97 == 3 ? 50 : 1); break;
        default: x[i] = r;
        }
    }
}

void problem_make(struct problem *p, const struct format *f, int n, int m, int k, enum w_kind w_kind,
                  enum x_kind x_kind)
{
    const size_t row_bytes = fkv_quant_row_bytes(fkv_quant_find(f->type), k),
                 stride = row_bytes + n % 3 * (f->type == FKV_TYPE_F32 ? 4 : 2);
    const enum guard_side side = m % 2 ? GUARD_AFTER : GUARD_BEFORE;
    *p = (struct problem){f,      n,    m,         k,    guarded((n > 0) * ((n - 1) * stride + row_bytes), GUARD_AFTER),
                          stride, NULL, k + m % 5, NULL, NULL};
    p->w_values = malloc(sizeof(float) * n * k + 1);
    p->range = malloc(sizeof(float) * n * (k / 32) + 1);
    p->x = guarded_floats((m - 1) * p->ldx + k, side);
    for (int r = 0; r < m; r++) make_x_row(p->x + r * p->ldx, k, x_kind, r);
    for (int j = 0; j < n; j++) {
        uint8_t *row = p->w + j * stride;
        make_row(f, k, w_kind, row);
        fkv_quant_find(f->type)->dequantize(row, p->w_values + (size_t)j * k, k);
        find_range(f, k, row, p->w_values + (size_t)j * k, p->range + (size_t)j * (k / 32));
    }
}

void problem_free(struct problem *p)
{
    free(p->w_values);
    free(p->range);
}

/* ---- the bound ------------------------------------------------------------------------------- */

/* The most that rounding may move any value of a block of X. 8 bits: half a step of a scale that may lie up to 2^(1/4)
   above the exact one; a block far smaller than its row may vanish, and so may a denormal. bf16: half a unit of 8 bits,
   and as much for f16 weights that become bf16 on the way. */
static double x_error(const struct problem *p, double block_max, double row_max)
{
    switch (p->f->rounding) {
    case ROUNDS_TO_8_BITS: return 0.6 * block_max / 127 + 0x1p-24 * row_max + 0x1p-126;
    case ROUNDS_TO_BF16: return (p->f->type == FKV_TYPE_F16 ? 0x1.02p-7 : 0x1p-8) * block_max + 0x1p-126;
    default: return 0;
    }
}

static double largest(const float *x, int n)
{
    double max = 0;
    for (int i = 0; i < n; i++) max = max_double(max, fabs((double)x[i]));
    return max;
}

struct wanted {
    double value, bound;
};

/* ex[k / 32]: x_error of each block of the row. */
static struct wanted fp64_product(const struct problem *p, const float *x, const float *w, const float *range,
                                  const double *ex)
{
    double value = 0, bound = 0, magnitude = 0, sum_x = 0;
    for (int b = 0; b < p->k / 32; b++) {
        double block_x = 0, block_w = 0;
        for (int i = 32 * b; i < 32 * b + 32; i++) {
            value += (double)w[i] * (double)x[i];
            block_x += fabs((double)x[i]);
            block_w += fabs((double)w[i]);
        }
        const double ew = p->f->requantised ? 0.55 / 127 * (double)range[b] : 0;
        bound += block_w * ex[b] + ew * (block_x + 32 * ex[b]);
        magnitude += (double)range[b] * (block_x + 32 * ex[b]);
        sum_x += block_x;
    }
    const double adds = is_float(p->f) ? p->k / 4 + 24 : p->k / 32 + 24;
    return (struct wanted){value, bound + adds * 0x1p-24 * magnitude + 0x1p-90 * sum_x + 1e-44};
}

void problem_check(const struct problem *p, const float *y, size_t ldy, struct error_sum *sum)
{
    double *ex = malloc(sizeof *ex * (p->k / 32));
    for (int r = 0; r < p->m; r++) {
        const float *x = p->x + r * p->ldx;
        const double row_max = largest(x, p->k);
        for (int b = 0; b < p->k / 32; b++) ex[b] = x_error(p, largest(x + 32 * b, 32), row_max);
        for (int j = 0; j < p->n; j++) {
            const struct wanted t = fp64_product(p, x, p->w_values + (size_t)j * p->k,
                                                 p->range + (size_t)j * (p->k / 32), ex);
            const double got = (double)y[r * ldy + j];
            if (!(fabs(got - t.value) <= t.bound))
                fail_msg("%s, n %d, m %d, k %d: y[%d][%d]: expected %.9g, got %.9g, off by %.3g of %.3g", p->f->name,
                         p->n, p->m, p->k, r, j, t.value, got, fabs(got - t.value), t.bound);
            if (sum) error_add(sum, got, t.value);
        }
    }
    free(ex);
}
