/* Products of F16 and BF16 weights by vdpbf16ps: pairs of bf16, summed in fp32. F16 weights and X are rounded to bf16
   (relative RMS 0.24 %). The instruction takes subnormals for zero.

   Panel [pair of k][32 rows][2], 512 k at a time. Packed X [chunk of 512 k][group of 12 rows][pair of k][12 rows][2];
   rows past m are zero. Tile: 12 rows of X times 2 vectors of 16 weight rows: 24 sums, 2 weights, 1 broadcast pair.
   Matvec stays with fp32 (avx512/products.c): it waits for memory. */
#include "simd/avx512/panel.h"
#include "simd/avx512bf16/avx512bf16.h"

enum { GROUP = 12, CHUNK = 512 };

static int groups_of(int m) { return (m + GROUP - 1) / GROUP; }

/* Where a group's chunk starts, as an index of pairs. k0 is a multiple of CHUNK. */
static size_t pair_index(int m, int k, int group, int k0)
{
    const int here = k - k0 < CHUNK ? k - k0 : CHUNK;
    return ((size_t)k0 * groups_of(m) + (size_t)group * here) * GROUP / 2;
}

size_t fkv_x16_bytes_avx512bf16(int m, int k) { return (size_t)groups_of(m) * GROUP * k * sizeof(fkv_bf16); }

/* 32 k of up to 12 rows: a vector of 16 pairs per row, transposed to 16 pairs of all rows. */
static void pack_32(const float *x, size_t ldx, int rows, uint32_t *pairs)
{
    __m512i v[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++) {
        v[r] = _mm512_setzero_si512();
        if (r < rows)
            v[r] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + r * ldx + 16), _mm512_loadu_ps(x + r * ldx));
    }
    transpose_16x16(v);
#pragma GCC unroll 16
    for (int j = 0; j < 16; j++) _mm512_mask_storeu_epi32(pairs + j * GROUP, (1 << GROUP) - 1, v[j]);
}

void fkv_x16_pack_avx512bf16(const float *x, size_t ldx, int m, int k, int row0, int row1, void *packed)
{
    for (int row = row0; row < row1; row += GROUP)
        for (int i = 0; i < k; i += 32) {
            uint32_t *pairs = (uint32_t *)packed + pair_index(m, k, row / GROUP, i / CHUNK * CHUNK) +
                              i % CHUNK / 2 * GROUP;
            pack_32(x + row * ldx + i, ldx, row1 - row < GROUP ? row1 - row : GROUP, pairs);
        }
}

static void tile(const struct panel_tile *t)
{
    const struct fkv_panel *p = t->p;
    const char *w = t->panel;
    const int32_t *x = (const int32_t *)p->x + pair_index(p->m, p->k, t->group, t->k0);
    __m512 f[GROUP][2];
#pragma GCC unroll 12
    for (int r = 0; r < GROUP; r++) {
        f[r][0] = t->k0 ? _mm512_load_ps(t->sums + 32 * r) : _mm512_setzero_ps();
        f[r][1] = t->k0 ? _mm512_load_ps(t->sums + 32 * r + 16) : _mm512_setzero_ps();
    }
    for (int i = 0; i < t->k / 2; i++, w += 128, x += GROUP) {
        const __m512bh w0 = (__m512bh)_mm512_load_si512(w), w1 = (__m512bh)_mm512_load_si512(w + 64);
#pragma GCC unroll 12
        for (int r = 0; r < GROUP; r++) {
            const __m512bh xv = (__m512bh)_mm512_set1_epi32(x[r]);
            f[r][0] = _mm512_dpbf16_ps(f[r][0], w0, xv);
            f[r][1] = _mm512_dpbf16_ps(f[r][1], w1, xv);
        }
    }
    const int row = t->group * GROUP;
    const bool last = t->k0 + t->k == p->k;
#pragma GCC unroll 12
    for (int r = 0; r < GROUP; r++) {
        if (!last)
            store_row(t->sums + 32 * r, FKV_PANEL_ROWS, f[r][0], f[r][1]);
        else if (row + r < p->m)
            store_row(p->y + (size_t)(row + r) * p->ldy, p->n, f[r][0], f[r][1]);
    }
}

/* 32 weights as pairs. */
typedef __m512i pairs_fn(const uint8_t *w);

INLINE __m512i pairs_bf16(const uint8_t *w) { return _mm512_loadu_si512(w); }
INLINE __m512i pairs_f16(const uint8_t *w)
{
    const __m512i v = _mm512_loadu_si512(w);
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_cvtph_ps(_mm512_extracti64x4_epi64(v, 1)),
                                        _mm512_cvtph_ps(_mm512_castsi512_si256(v)));
}

INLINE void unpack(pairs_fn pairs, const uint8_t *const row[FKV_PANEL_ROWS], int k, char *panel)
{
    for (int i = 0; i < k; i += 32)
        for (int half = 0; half < 2; half++) {
            __m512i v[16];
            for (int r = 0; r < 16; r++) v[r] = pairs(row[16 * half + r] + 2 * i);
            transpose_16x16(v);
#pragma GCC unroll 16
            for (int j = 0; j < 16; j++) _mm512_store_si512(panel + (i / 2 + j) * 128 + 64 * half, v[j]);
        }
}

#define PANEL(type)                                                                                             \
    static uint32_t unpack_##type(const uint8_t *const row[FKV_PANEL_ROWS], int k, void *panel)                 \
    {                                                                                                           \
        unpack(pairs_##type, row, k, panel);                                                                    \
        return 0;                                                                                               \
    }                                                                                                           \
    static const struct panel_plan plan_##type = {CHUNK, CHUNK * sizeof(uint16_t), GROUP, unpack_##type, tile}; \
    void fkv_panel_##type##_avx512bf16(const struct fkv_panel *p) { fkv_panel_run_avx512(p, &plan_##type); }
PANEL(f16)
PANEL(bf16)
