/* Products of float weights in fp32: F32, and F16 and BF16 widened, which is exact.

   Panels: 32 weight rows become [k][32] floats, 256 k at a time. Tile: R rows of X, up to 12, times 2 vectors of 16
   weight rows: 24 sums, 2 weights, 1 broadcast. X is read in place; packed X is plain floats. A chunk is summed over k
   in order and added to the chunks before it, whatever R. */
#include "simd/avx512/avx512.h"

#include "simd/avx512/panel.h"

enum { GROUP = 12, CHUNK = 256, AHEAD = 8192 };

/* 16 weights at element i of a row. */
typedef __m512 load_fn(const uint8_t *row, int i, __mmask16 mask);

INLINE __m512 load_f32(const uint8_t *row, int i, __mmask16 mask)
{
    return _mm512_maskz_loadu_ps(mask, row + 4 * (size_t)i);
}
INLINE __m512 load_f16(const uint8_t *row, int i, __mmask16 mask)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row + 2 * (size_t)i));
}
INLINE __m512 load_bf16(const uint8_t *row, int i, __mmask16 mask)
{
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, row + 2 * (size_t)i)), 16));
}

/* ---- panels ---------------------------------------------------------------------------------- */

INLINE void multiply(const int rows, const struct panel_tile *t)
{
    const struct fkv_panel *p = t->p;
    const float *w = t->panel, *x[GROUP];
    __m512 f[GROUP][2];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        x[r] = (const float *)p->x + (size_t)(t->group * GROUP + r) * p->ldx + t->k0;
        f[r][0] = f[r][1] = _mm512_setzero_ps();
    }
    for (int k = 0; k < t->k; k += 4) { /* four at a time: there are not enough registers for the rows' addresses */
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const __m512 w0 = _mm512_load_ps(w + (k + i) * 32), w1 = _mm512_load_ps(w + (k + i) * 32 + 16);
#pragma GCC unroll 12
            for (int r = 0; r < rows; r++) {
                const __m512 xv = _mm512_set1_ps(x[r][k + i]);
                f[r][0] = _mm512_fmadd_ps(w0, xv, f[r][0]);
                f[r][1] = _mm512_fmadd_ps(w1, xv, f[r][1]);
            }
        }
    }
    const bool last = t->k0 + t->k == p->k;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        if (t->k0) {
            f[r][0] = _mm512_add_ps(f[r][0], _mm512_load_ps(t->sums + 32 * r));
            f[r][1] = _mm512_add_ps(f[r][1], _mm512_load_ps(t->sums + 32 * r + 16));
        }
        if (last)
            store_row(p->y + (size_t)(t->group * GROUP + r) * p->ldy, p->n, f[r][0], f[r][1]);
        else
            store_row(t->sums + 32 * r, FKV_PANEL_ROWS, f[r][0], f[r][1]);
    }
}

#define MULTIPLY(R) \
    static __attribute__((noinline)) void multiply_##R(const struct panel_tile *t) { multiply(R, t); }
/* clang-format off */
MULTIPLY(1) MULTIPLY(2) MULTIPLY(3) MULTIPLY(4) MULTIPLY(5) MULTIPLY(6) MULTIPLY(7) MULTIPLY(8) MULTIPLY(9) MULTIPLY(10)
MULTIPLY(11) MULTIPLY(12)
    /* clang-format on */

    static void tile(const struct panel_tile *t)
{
    static void (*const by_rows[GROUP])(
        const struct panel_tile *) = {multiply_1, multiply_2, multiply_3, multiply_4,  multiply_5,  multiply_6,
                                      multiply_7, multiply_8, multiply_9, multiply_10, multiply_11, multiply_12};
    const int rest = t->p->m - t->group * GROUP;
    by_rows[(rest < GROUP ? rest : GROUP) - 1](t);
}

/* k divides by 16. */
INLINE void unpack(load_fn load, const uint8_t *const row[FKV_PANEL_ROWS], int k, float *panel)
{
    for (int i = 0; i < k; i += 16)
        for (int half = 0; half < 2; half++) {
            __m512i v[16];
            for (int r = 0; r < 16; r++) v[r] = _mm512_castps_si512(load(row[16 * half + r], i, 0xffff));
            transpose_16x16(v);
#pragma GCC unroll 16
            for (int j = 0; j < 16; j++) _mm512_store_si512(panel + (i + j) * 32 + 16 * half, v[j]);
        }
}

#define UNPACK(type)                                                                            \
    static uint32_t unpack_##type(const uint8_t *const row[FKV_PANEL_ROWS], int k, void *panel) \
    {                                                                                           \
        unpack(load_##type, row, k, panel);                                                     \
        return 0;                                                                               \
    }
UNPACK(f32)
UNPACK(f16)
UNPACK(bf16)

/* Packed rows are a line longer than k, so that rows of 2^n floats do not share cache sets. */
static size_t packed_ld(int k) { return (size_t)k + 16; }

size_t fkv_x16_bytes_avx512(int m, int k) { return m * packed_ld(k) * sizeof(float); }

void fkv_x16_pack_avx512(const float *x, size_t ldx, int m, int k, int row0, int row1, void *packed)
{
    (void)m;
    for (int r = row0; r < row1; r++) {
        float *row = (float *)packed + r * packed_ld(k);
        memcpy(row, x + r * ldx, sizeof(float) * k);
        memset(row + k, 0, sizeof(float) * (packed_ld(k) - k));
    }
}

void fkv_panel_f32_avx512(const struct fkv_panel *p)
{
    static const struct panel_plan plan = {CHUNK, CHUNK * sizeof(float), GROUP, unpack_f32, tile};
    fkv_panel_run_avx512(p, &plan);
}

#define PANEL(type)                                                                                          \
    void fkv_panel_##type##_avx512(const struct fkv_panel *p)                                                \
    {                                                                                                        \
        static const struct panel_plan plan = {CHUNK, CHUNK * sizeof(uint16_t), GROUP, unpack_##type, tile}; \
        struct fkv_panel q = *p;                                                                             \
        q.ldx = packed_ld(p->k);                                                                             \
        fkv_panel_run_avx512(&q, &plan);                                                                     \
    }
PANEL(f16)
PANEL(bf16)

/* ---- matvec: two sums of 16 lanes per row, so that an addition does not wait for the last one --- */

INLINE float dot_row(load_fn load, size_t bytes, const uint8_t *row, int k, const float *v)
{
    __m512 a = _mm512_setzero_ps(), b = a;
    int i = 0;
    for (; i + 32 <= k; i += 32) {
        _mm_prefetch((const char *)row + i * bytes + AHEAD, _MM_HINT_T0);
        if (bytes == 4) _mm_prefetch((const char *)row + i * bytes + AHEAD + 64, _MM_HINT_T0);
        a = _mm512_fmadd_ps(load(row, i, 0xffff), _mm512_loadu_ps(v + i), a);
        b = _mm512_fmadd_ps(load(row, i + 16, 0xffff), _mm512_loadu_ps(v + i + 16), b);
    }
    for (; i < k; i += 16) {
        const __mmask16 mask = (__mmask16)(k - i < 16 ? (1u << (k - i)) - 1 : 0xffff);
        a = _mm512_fmadd_ps(load(row, i, mask), _mm512_maskz_loadu_ps(mask, v + i), a);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(a, b));
}

#define MATVEC(type, bytes)                                                                          \
    static void few_##type(const struct fkv_matvec *p)                                               \
    {                                                                                                \
        for (int j = 0; j < p->m; j++)                                                               \
            for (int i = 0; i < p->n; i++)                                                           \
                fkv_matvec_result(p, j)[i] = dot_row(load_##type, bytes, fkv_matvec_row(p, i), p->k, \
                                                     fkv_matvec_vector(p, j));                       \
    }                                                                                                \
    void fkv_matvec_##type##_avx512(const struct fkv_matvec *p) { fkv_matvec_by_few(p, few_##type); }
MATVEC(f32, 4)
MATVEC(f16, 2)
MATVEC(bf16, 2)
