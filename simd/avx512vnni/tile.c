/* The int8 micro-kernel: sums[6][32] += panel chunk x 6 rows of X.

   Registers: 12 int32 and 12 fp32 accumulators (6 rows x 2 vectors of 16 weight rows), 2 weight vectors, 1 broadcast of
   4 bytes of X, 2 scales, temporaries: 31 of 32. Per 4 k: 2 loads and 6 broadcast loads for 12 vpdpbusd. Per 32 k and
   accumulator: 8 vpdpbusd and 1 FMA share two ports, so 8/9 of vpdpbusd's peak is the limit; conversions and the
   exponent's addition go to the other two. */
#include "simd/avx512vnni/vnni.h"

/* f += the block's constants times the rows' totals: one more FMA per accumulator, so 8/10 of the peak is the limit. */
INLINE void add_constants(__m512 f[X8_GROUP][2], const float *constant, const struct x8_block *x)
{
    const __m512 c0 = _mm512_load_ps(constant), c1 = _mm512_load_ps(constant + 16);
#pragma GCC unroll 6
    for (int c = 0; c < X8_GROUP; c++) {
        const __m512 total = _mm512_set1_ps(x->total[c]);
        f[c][0] = _mm512_fmadd_ps(c0, total, f[c][0]);
        f[c][1] = _mm512_fmadd_ps(c1, total, f[c][1]);
    }
}

INLINE void add_block(__m512 f[X8_GROUP][2], const uint8_t (*w)[2][64], const float (*scale)[32],
                      const struct x8_block *x)
{
    __m512i a[X8_GROUP][2];
#pragma GCC unroll 6
    for (int c = 0; c < X8_GROUP; c++) a[c][0] = a[c][1] = _mm512_set1_epi32(x->start[c]);
#pragma GCC unroll 8
    for (int s = 0; s < 8; s++) {
        const __m512i w0 = _mm512_load_si512(w[s][0]), w1 = _mm512_load_si512(w[s][1]);
#pragma GCC unroll 6
        for (int c = 0; c < X8_GROUP; c++) {
            int32_t four;
            memcpy(&four, x->x[s][c], sizeof four);
            const __m512i xv = _mm512_set1_epi32(four);
            a[c][0] = dpbusd(a[c][0], w0, xv);
            a[c][1] = dpbusd(a[c][1], w1, xv);
        }
    }
#pragma GCC unroll 6
    for (int c = 0; c < X8_GROUP; c++) {
        const float *s = scale[0] + x->copy[c];
        const __m512i e = _mm512_set1_epi32(x->exponent[c]);
        const __m512 s0 = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_load_si512(s), e));
        const __m512 s1 = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_load_si512(s + 16), e));
        f[c][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(a[c][0]), s0, f[c][0]);
        f[c][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(a[c][1]), s1, f[c][1]);
    }
}

INLINE void tile(const struct panel_tile *t, const bool with_constants)
{
    const struct fkv_panel *p = t->p;
    const struct panel8 *panel = t->panel;
    const struct x8_block *x = (const struct x8_block *)p->x +
                               x8_block_index(x8_groups(p->m), p->k, t->group, t->k0 / 32);
    float *sums = t->sums;
    __m512 f[X8_GROUP][2];
#pragma GCC unroll 6
    for (int c = 0; c < X8_GROUP; c++) {
        f[c][0] = t->k0 ? _mm512_load_ps(sums + c * 32) : _mm512_setzero_ps();
        f[c][1] = t->k0 ? _mm512_load_ps(sums + c * 32 + 16) : _mm512_setzero_ps();
    }
    for (int b = 0; b < t->k / 32; b++) {
        add_block(f, panel->w + 8 * b, panel->scale[b], x + b);
        if (with_constants) add_constants(f, panel->constant[b], x + b);
    }

    if (t->k0 + t->k < p->k) {
#pragma GCC unroll 6
        for (int c = 0; c < X8_GROUP; c++) {
            _mm512_store_ps(sums + c * 32, f[c][0]);
            _mm512_store_ps(sums + c * 32 + 16, f[c][1]);
        }
        return;
    }
    const int row = t->group * X8_GROUP;
    const float *row_scale = x8_row_scales(p->x, p->m, p->k) + row;
#pragma GCC unroll 6
    for (int c = 0; c < X8_GROUP; c++) {
        if (row + c >= p->m) break;
        const __m512 s = _mm512_set1_ps(row_scale[c]);
        store_row(p->y + (row + c) * p->ldy, p->n, _mm512_mul_ps(f[c][0], s), _mm512_mul_ps(f[c][1], s));
    }
}

void fkv_x8_tile_avx512vnni(const struct panel_tile *t) { tile(t, false); }

void fkv_x8_tile_constant_avx512vnni(const struct panel_tile *t) { tile(t, true); }
