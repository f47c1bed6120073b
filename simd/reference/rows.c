/* Operations on rows of floats. */
#include "simd/reference/reference.h"

#include <math.h>

void fkv_rms_norm_reference(const float *x, const float *w, int n, float eps, float *y)
{
    double squares = 0;
    for (int i = 0; i < n; i++) squares += (double)x[i] * (double)x[i];
    const float scale = (float)(1 / sqrt(squares / n + (double)eps));
    for (int i = 0; i < n; i++) y[i] = x[i] * scale * w[i];
}

/* Turns (x[a], x[b]) by the angle whose cosine and sine are given. */
static void rotate(float *x, int a, int b, const float cos_sin[2])
{
    const float xa = x[a], xb = x[b];
    x[a] = xa * cos_sin[0] - xb * cos_sin[1];
    x[b] = xa * cos_sin[1] + xb * cos_sin[0];
}

void fkv_rope_half_reference(float *x, int heads, int d, int n_rot, const float *cos_sin)
{
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < n_rot / 2; i++) rotate(x + (size_t)h * d, i, i + n_rot / 2, cos_sin + 2 * i);
}

void fkv_rope_pair_reference(float *x, int heads, int d, int n_rot, const float *cos_sin)
{
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < n_rot / 2; i++) rotate(x + (size_t)h * d, 2 * i, 2 * i + 1, cos_sin + 2 * i);
}

void fkv_swiglu_reference(const float *gate, const float *up, int n, float *y)
{
    for (int i = 0; i < n; i++) y[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

/* (1 + tanh t) / 2 is 1 / (1 + exp(-2 t)). */
void fkv_geglu_reference(const float *gate, const float *up, int n, float *y)
{
    for (int i = 0; i < n; i++) {
        const float g = gate[i], t2 = FKV_GELU_TWICE * (g + FKV_GELU_CUBE * g * g * g);
        y[i] = g / (1 + expf(-t2)) * up[i];
    }
}

void fkv_add_reference(const float *x, int n, float *y)
{
    for (int i = 0; i < n; i++) y[i] += x[i];
}
