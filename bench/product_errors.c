/* The error of a product, and of the same product with activations rounded as llama.cpp rounds them for weights of the
   type. */
#include <math.h>
#include <stdlib.h>

#include "bench.h"
#include "quant/quant.h"

/* Weights n rows and X m rows of k. */
struct checked {
    int m, n, k;
    const float *w, *x;
};

static double dot(const float *a, const float *b, int k)
{
    double sum[8] = {0}; /* in a row they would wait for each other */
    for (int i = 0; i < k; i += 8)
        for (int l = 0; l < 8; l++) sum[l] += (double)a[i + l] * (double)b[i + l];
    return sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

static double *fp64_product(const struct checked *c, const float *x)
{
    double *y = bench_alloc((size_t)c->m * c->n * sizeof *y);
    for (int r = 0; r < c->m; r++)
        for (int j = 0; j < c->n; j++) y[r * c->n + j] = dot(x + (size_t)r * c->k, c->w + (size_t)j * c->k, c->k);
    return y;
}

/* int8 with one float scale per block. */
static void round_to_int8(float *x, int n)
{
    float most = 0;
    for (int i = 0; i < n; i++) most = fmaxf(most, fabsf(x[i]));
    const float scale = most / 127;
    for (int i = 0; i < n && scale > 0; i++) x[i] = scale * rintf(x[i] / scale);
}

static float half_rounded(float x, uint32_t type)
{
    if (type == FKV_TYPE_F16) return fkv_f32_from_f16(fkv_f16_from_f32(x));
    return type == FKV_TYPE_BF16 ? fkv_f32_from_bf16(fkv_bf16_from_f32(x)) : x;
}

/* int8 per 32 or, for the K types, 256 values; half floats for half floats. */
static float *rounded_by_peer(const struct checked *c, uint32_t type)
{
    const int block = (int)fkv_quant_find(type)->block_elements;
    const size_t n = (size_t)c->m * c->k;
    float *x = bench_alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = half_rounded(c->x[i], type);
    for (size_t i = 0; i < n && block > 1; i += block) round_to_int8(x + i, block);
    return x;
}

static double peer_error(const struct checked *c, uint32_t type, const double *wanted)
{
    if (type == FKV_TYPE_F32) return -1;
    float *x = rounded_by_peer(c, type);
    double *y = fp64_product(c, x);
    struct error_sum e = {0};
    for (int i = 0; i < c->m * c->n; i++) error_add(&e, y[i], wanted[i]);
    free(x);
    free(y);
    return error_rms(&e);
}

struct bench_errors bench_product_errors(const struct bench *b, uint32_t type, multiply_fn *multiply,
                                         const void *kernel)
{
    struct checked c = {b->sizes->checked_m, b->sizes->checked_n, b->sizes->k, NULL, NULL};
    const struct fkv_quant_type *q = fkv_quant_find(type);
    uint8_t *w = bench_weights(type, c.n, c.k);
    float *w_values = bench_alloc((size_t)c.n * c.k * sizeof *w_values),
          *y = bench_alloc((size_t)c.m * c.n * sizeof *y);
    q->dequantize(w, w_values, (size_t)c.n * c.k);
    c.w = w_values;
    double errors[2], peer_errors[2];
    for (int outliers = 0; outliers < 2; outliers++) {
        float *x = bench_activations(c.m, c.k, outliers);
        c.x = x;
        double *wanted = fp64_product(&c, x);
        struct error_sum e = {0};
        multiply(b, kernel, w, fkv_quant_row_bytes(q, c.k), c.n, c.k, x, c.m, y);
        for (int i = 0; i < c.m * c.n; i++) error_add(&e, (double)y[i], wanted[i]);
        errors[outliers] = error_rms(&e);
        peer_errors[outliers] = peer_error(&c, type, wanted);
        free(x);
        free(wanted);
    }
    free(w);
    free(w_values);
    free(y);
    return (struct bench_errors){errors[0], errors[1], peer_errors[0], peer_errors[1]};
}
