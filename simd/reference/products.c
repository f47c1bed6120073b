/* Products Y = X W^T. Quantised weights: X is rounded to 8 bits per 32 values, each pair of blocks gives one integer
   sum per 16 values, and the scaled sums are added in fp32 in the order of k. Float weights: 16 partial sums by k mod
   16, per piece of k. */
#include "simd/reference/reference.h"
#include "simd/reference/weights.h"

#include <math.h>

enum { PIECE = 2048 }; /* weights unpacked at a time: small enough for L1, a multiple of 256 */

/* 32 rounded activations: x = scale q. */
struct x32 {
    int16_t q[32];
    float scale, sum, second; /* scale times the sum of q, and of its second half */
};

static size_t round_up_64(size_t bytes) { return (bytes + 63) & ~(size_t)63; }
static int min_int(int a, int b) { return a < b ? a : b; }

/* ---- packed activations ---------------------------------------------------------------------- */

size_t fkv_x8_bytes_reference(int m, int k) { return round_up_64((size_t)m * (k / 32) * sizeof(struct x32)); }
size_t fkv_v8_bytes_reference(int k) { return fkv_x8_bytes_reference(1, k); }
size_t fkv_x16_bytes_reference(int m, int k) { return round_up_64((size_t)m * k * sizeof(float)); }

static void round_block(const float *x, struct x32 *out)
{
    float largest = 0;
    for (int i = 0; i < 32; i++) largest = fmaxf(largest, fabsf(x[i]));
    out->scale = largest / 127;
    int sum[2] = {0, 0};
    for (int i = 0; i < 32; i++) {
        out->q[i] = (int16_t)(out->scale > 0 ? lrintf(x[i] / out->scale) : 0);
        sum[i / 16] += out->q[i];
    }
    out->sum = out->scale * (float)(sum[0] + sum[1]);
    out->second = out->scale * (float)sum[1];
}

void fkv_v8_pack_reference(const float *x, int k, void *packed)
{
    struct x32 *out = packed;
    for (int i = 0; i < k / 32; i++) round_block(x + 32 * i, out + i);
}

void fkv_x8_pack_reference(const float *x, size_t ldx, int m, int k, int row0, int row1, void *packed)
{
    (void)m;
    struct x32 *out = packed;
    for (int r = row0; r < row1; r++) fkv_v8_pack_reference(x + r * ldx, k, out + (size_t)r * (k / 32));
}

void fkv_x16_pack_reference(const float *x, size_t ldx, int m, int k, int row0, int row1, void *packed)
{
    (void)m;
    float *out = packed;
    for (int r = row0; r < row1; r++)
        for (int i = 0; i < k; i++) out[(size_t)r * k + i] = fkv_f32_from_bf16(fkv_bf16_from_f32(x[r * ldx + i]));
}

/* ---- quantised weights ----------------------------------------------------------------------- */

static float dot_block(const struct fkv_weights32 *w, const struct x32 *x)
{
    int low = 0, high = 0;
    for (int i = 0; i < 16; i++) low += w->q[i] * x->q[i];
    for (int i = 16; i < 32; i++) high += w->q[i] * x->q[i];
    const float dot = x->scale * (w->scale[0] * (float)low + w->scale[1] * (float)high) + w->offset * x->sum;
    return w->more != 0 ? dot + w->more * x->second : dot;
}

typedef void unpack_fn(const void *row, int i, struct fkv_weights32 *w);

/* x: m rows of k / 32 blocks, x_stride bytes apart. */
static void multiply_quantised(unpack_fn *unpack, const void *w, size_t w_stride, int n, int k, const void *x,
                               size_t x_stride, int m, float *y, size_t ldy)
{
    struct fkv_weights32 piece[PIECE / 32];
    const int n_blocks = k / 32;
    for (int j = 0; j < n; j++) {
        for (int r = 0; r < m; r++) y[r * ldy + j] = 0;
        for (int first = 0; first < n_blocks; first += PIECE / 32) {
            const int count = min_int(n_blocks - first, PIECE / 32);
            for (int i = 0; i < count; i++) unpack((const char *)w + j * w_stride, first + i, &piece[i]);
            for (int r = 0; r < m; r++) {
                const struct x32 *row = (const struct x32 *)((const char *)x + r * x_stride) + first;
                float sum = y[r * ldy + j];
                for (int i = 0; i < count; i++) sum += dot_block(&piece[i], &row[i]);
                y[r * ldy + j] = sum;
            }
        }
    }
}

#define QUANTISED_PRODUCT(type)                                                                                      \
    void fkv_panel_##type##_reference(const struct fkv_panel *p)                                                     \
    {                                                                                                                \
        multiply_quantised(fkv_unpack_##type, p->w, p->w_stride, p->n, p->k, p->x,                                   \
                           (size_t)(p->k / 32) * sizeof(struct x32), p->m, p->y, p->ldy);                            \
    }                                                                                                                \
    void fkv_matvec_##type##_reference(const struct fkv_matvec *p)                                                   \
    {                                                                                                                \
        multiply_quantised(fkv_unpack_##type, p->w, p->w_stride, p->n, p->k, p->v, p->v_stride, p->m, p->y, p->ldy); \
    }
QUANTISED_PRODUCT(q8_0)
QUANTISED_PRODUCT(q4_0)
QUANTISED_PRODUCT(q4_1)
QUANTISED_PRODUCT(q5_0)
QUANTISED_PRODUCT(q4_k)
QUANTISED_PRODUCT(q5_k)
QUANTISED_PRODUCT(q6_k)
#define UNPACKED(NAME, name, values, bits, scales, has_offset) QUANTISED_PRODUCT(name)
#include "simd/unpacked.def"

/* ---- float weights --------------------------------------------------------------------------- */

static void expand_f16(const void *w, int first, int count, float *out)
{
    for (int i = 0; i < count; i++) {
        fkv_f16 h;
        memcpy(&h, (const char *)w + sizeof h * (first + i), sizeof h);
        out[i] = fkv_f32_from_f16(h);
    }
}

static void expand_bf16(const void *w, int first, int count, float *out)
{
    for (int i = 0; i < count; i++) {
        fkv_bf16 h;
        memcpy(&h, (const char *)w + sizeof h * (first + i), sizeof h);
        out[i] = fkv_f32_from_bf16(h);
    }
}

static void expand_f32(const void *w, int first, int count, float *out)
{
    memcpy(out, (const char *)w + sizeof *out * first, sizeof *out * count);
}

static float dot_floats(const float *a, const float *b, int n)
{
    float sums[16] = {0};
    int i = 0;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; l++) sums[l] += a[i + l] * b[i + l];
    for (; i < n; i++) sums[i % 16] += a[i] * b[i];
    for (int step = 8; step > 0; step /= 2)
        for (int l = 0; l < step; l++) sums[l] += sums[l + step];
    return sums[0];
}

typedef void expand_fn(const void *w, int first, int count, float *out);

static void multiply_floats(expand_fn *expand, const void *w, size_t w_stride, int n, int k, const float *x, size_t ldx,
                            int m, float *y, size_t ldy)
{
    float piece[PIECE];
    for (int j = 0; j < n; j++) {
        for (int r = 0; r < m; r++) y[r * ldy + j] = 0;
        for (int first = 0; first < k; first += PIECE) {
            const int count = min_int(k - first, PIECE);
            expand((const char *)w + j * w_stride, first, count, piece);
            for (int r = 0; r < m; r++) y[r * ldy + j] += dot_floats(piece, x + r * ldx + first, count);
        }
    }
}

void fkv_panel_f16_reference(const struct fkv_panel *p)
{
    multiply_floats(expand_f16, p->w, p->w_stride, p->n, p->k, p->x, p->k, p->m, p->y, p->ldy);
}
void fkv_panel_bf16_reference(const struct fkv_panel *p)
{
    multiply_floats(expand_bf16, p->w, p->w_stride, p->n, p->k, p->x, p->k, p->m, p->y, p->ldy);
}
void fkv_panel_f32_reference(const struct fkv_panel *p)
{
    multiply_floats(expand_f32, p->w, p->w_stride, p->n, p->k, p->x, p->ldx, p->m, p->y, p->ldy);
}

void fkv_matvec_f16_reference(const struct fkv_matvec *p)
{
    multiply_floats(expand_f16, p->w, p->w_stride, p->n, p->k, p->v, p->v_stride / sizeof(float), p->m, p->y, p->ldy);
}

void fkv_matvec_bf16_reference(const struct fkv_matvec *p)
{
    multiply_floats(expand_bf16, p->w, p->w_stride, p->n, p->k, p->v, p->v_stride / sizeof(float), p->m, p->y, p->ldy);
}

void fkv_matvec_f32_reference(const struct fkv_matvec *p)
{
    multiply_floats(expand_f32, p->w, p->w_stride, p->n, p->k, p->v, p->v_stride / sizeof(float), p->m, p->y, p->ldy);
}
