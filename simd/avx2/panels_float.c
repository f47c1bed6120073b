/* Prefill products with float weights: f16, bf16 and f32, all multiplied as fp32.

   Register plan: tile of 16 weight rows x 6 rows of X: 12 sums, 2 W, 1 X broadcast. A panel is widened and transposed
   by chunks of 128 k (16 KiB) and used by all rows of X. The sum over k runs in order within a chunk, then over the
   chunks, whatever m is. Weight rows past n and rows of X past m repeat the last one and are not stored. */
#include "simd/avx2/activations.h"

enum { CHUNK = 128, ROWS = 6, HALF = FKV_PANEL_ROWS / 2, GROUPS = FKV_BLOCK_ROWS / ROWS };

struct panel_scratch {
    float w[2][CHUNK][HALF];
    float sums[GROUPS][2][ROWS][HALF];
};
_Static_assert(sizeof(struct panel_scratch) <= FKV_PANEL_SCRATCH, "panel scratch");

typedef __m256 load_8_fn(const void *p);

INLINE void unpack(const struct fkv_panel *p, int k0, int n_k, struct panel_scratch *s, size_t value_bytes,
                   load_8_fn *load)
{
    for (int first = 0; first < (p->n > HALF ? 2 * HALF : HALF); first += 8) {
        const char *row[8];
        for (int i = 0; i < 8; i++)
            row[i] = (const char *)p->w + (size_t)(first + i < p->n ? first + i : p->n - 1) * p->w_stride +
                     (size_t)k0 * value_bytes;
        for (int k = 0; k < n_k; k += 8) {
            __m256 v[8];
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) v[i] = load(row[i] + (size_t)k * value_bytes);
            transpose_8x8_f32(v);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) _mm256_store_ps(&s->w[first / HALF][k + i][first % HALF], v[i]);
        }
    }
}

static void unpack_f16(const struct fkv_panel *p, int k0, int n_k, struct panel_scratch *s)
{
    unpack(p, k0, n_k, s, 2, load_8_f16);
}
static void unpack_bf16(const struct fkv_panel *p, int k0, int n_k, struct panel_scratch *s)
{
    unpack(p, k0, n_k, s, 2, load_8_bf16);
}
static void unpack_f32(const struct fkv_panel *p, int k0, int n_k, struct panel_scratch *s)
{
    unpack(p, k0, n_k, s, 4, load_8_f32);
}

static void tile(const float (*w)[HALF], const float *const x[ROWS], int n_k, float (*sums)[HALF])
{
    const float *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3], *x4 = x[4], *x5 = x[5];
    __m256 a[ROWS][2];
#pragma GCC unroll 6
    for (int c = 0; c < ROWS; c++) a[c][0] = a[c][1] = _mm256_setzero_ps();
    for (int k = 0; k < n_k; k++) {
        const __m256 w0 = _mm256_load_ps(w[k]), w1 = _mm256_load_ps(w[k] + 8);
        const float *const at[ROWS] = {x0 + k, x1 + k, x2 + k, x3 + k, x4 + k, x5 + k};
#pragma GCC unroll 6
        for (int c = 0; c < ROWS; c++) {
            const __m256 xv = _mm256_broadcast_ss(at[c]);
            a[c][0] = _mm256_fmadd_ps(w0, xv, a[c][0]);
            a[c][1] = _mm256_fmadd_ps(w1, xv, a[c][1]);
        }
    }
#pragma GCC unroll 6
    for (int c = 0; c < ROWS; c++) {
        _mm256_store_ps(sums[c], _mm256_add_ps(_mm256_load_ps(sums[c]), a[c][0]));
        _mm256_store_ps(sums[c] + 8, _mm256_add_ps(_mm256_load_ps(sums[c] + 8), a[c][1]));
    }
}

static void store_rows(const struct fkv_panel *p, const struct panel_scratch *s)
{
    for (int row = 0; row < p->m; row++) {
        float *y = p->y + (size_t)row * p->ldy;
        const int first = p->n < HALF ? p->n : HALF;
        memcpy(y, s->sums[row / ROWS][0][row % ROWS], (size_t)first * 4);
        memcpy(y + first, s->sums[row / ROWS][1][row % ROWS], (size_t)(p->n - first) * 4);
    }
}

typedef void unpack_fn(const struct fkv_panel *p, int k0, int n_k, struct panel_scratch *s);

static void run_rows(const struct fkv_panel *p, size_t ldx, size_t value_bytes, unpack_fn *unpack_chunk)
{
    struct panel_scratch *s = p->scratch;
    const int groups = (p->m + ROWS - 1) / ROWS, halves = p->n > HALF ? 2 : 1;
    memset(s->sums, 0, (size_t)groups * sizeof s->sums[0]);
    for (int k = 0; k < p->k; k += CHUNK) {
        const int n_k = p->k - k < CHUNK ? p->k - k : CHUNK;
        unpack_chunk(p, k, n_k, s);
        for (int g = 0; g < groups; g++) {
            const float *x[ROWS];
            for (int c = 0; c < ROWS; c++) {
                const int row = g * ROWS + c;
                x[c] = (const float *)p->x + (size_t)(row < p->m ? row : p->m - 1) * ldx + k;
            }
            if (p->prefetch && g < p->n)
                for (size_t at = 0; at < (size_t)n_k * value_bytes; at += 64)
                    _mm_prefetch((const char *)p->prefetch + (size_t)g * p->w_stride + (size_t)k * value_bytes + at,
                                 _MM_HINT_T1);
            for (int half = 0; half < halves; half++) tile(s->w[half], x, n_k, s->sums[g][half]);
        }
    }
    store_rows(p, s);
}

/* 32 weight rows after the other. */
static void run_panel(const struct fkv_panel *p, size_t ldx, size_t value_bytes, unpack_fn *unpack_chunk)
{
    for (int first = 0; first < p->n; first += FKV_PANEL_ROWS) {
        struct fkv_panel part = *p;
        part.w = (const char *)p->w + (size_t)first * p->w_stride;
        part.y += first;
        part.n = p->n - first < FKV_PANEL_ROWS ? p->n - first : FKV_PANEL_ROWS;
        if (first + 2 * FKV_PANEL_ROWS <= p->n) part.prefetch = (const char *)part.w + FKV_PANEL_ROWS * p->w_stride;
        run_rows(&part, ldx, value_bytes, unpack_chunk);
    }
}

void fkv_panel_f16_avx2(const struct fkv_panel *p) { run_panel(p, x16_stride(p->k), 2, unpack_f16); }
void fkv_panel_bf16_avx2(const struct fkv_panel *p) { run_panel(p, x16_stride(p->k), 2, unpack_bf16); }
void fkv_panel_f32_avx2(const struct fkv_panel *p) { run_panel(p, p->ldx, 4, unpack_f32); }
