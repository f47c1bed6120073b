/* panel.h: the loop over one weight panel, common to the 512-bit products, and what their kernels share.

   A panel of 32 weight rows is unpacked a chunk of k at a time into the order its micro-kernel ("tile") reads, and each
   chunk is used for all rows of X before the next one is unpacked. Partial sums wait in the scratch memory between
   chunks; the last chunk's tile writes y. The weights needed next are prefetched into L2 a few lines per tile, so that
   unpacking never waits. */
#ifndef FKV_AVX512_PANEL_H
#define FKV_AVX512_PANEL_H

#include <immintrin.h>

#include "simd/inline.h"
#include "simd/simd.h"

/* A tile multiplies the unpacked chunk [k0, k0 + k) by group g of X's rows. */
struct panel_tile {
    const struct fkv_panel *p;
    const void *panel;
    int group, k0, k;
    float *sums; /* the group's partial sums, [rows of a group][32]; the tile's own between chunks */
};

struct panel_plan {
    int chunk;          /* k per chunk */
    size_t chunk_bytes; /* of a weight row */
    int group;          /* rows of X per tile, a divisor of FKV_PACK_ROWS */
    /* Unpacks k <= chunk values of 32 rows (of which some may be equal) to panel, 64-byte aligned, 32 KiB. Returns a
       bit per row whose result the panel cannot express because a scale is infinite or NaN: it becomes NaN. */
    uint32_t (*unpack)(const uint8_t *const row[FKV_PANEL_ROWS], int k, void *panel);
    void (*tile)(const struct panel_tile *t);
};

void fkv_panel_run_avx512(const struct fkv_panel *p, const struct panel_plan *plan);

/* Stores a row of 32 results, of which the first n exist; n may be more. */
INLINE void store_row(float *y, int n, __m512 v0, __m512 v1)
{
    const uint32_t mask = n < FKV_PANEL_ROWS ? (1u << n) - 1 : ~0u;
    _mm512_mask_storeu_ps(y, (__mmask16)mask, v0);
    _mm512_mask_storeu_ps(y + 16, (__mmask16)(mask >> 16), v1);
}

/* v[i] dword j -> v[j] dword i. 64 shuffles. */
INLINE void transpose_16x16(__m512i v[16])
{
    __m512i t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        v[4 * i + 0] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        v[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        v[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        v[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* 128-bit lane l of v[4q + i]: column 4l + i of rows 4q .. 4q + 3 */
        const __m512i a = _mm512_shuffle_i32x4(v[i], v[4 + i], 0x88), b = _mm512_shuffle_i32x4(v[i], v[4 + i], 0xdd);
        const __m512i c = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0x88),
                      d = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0xdd);
        t[i] = _mm512_shuffle_i32x4(a, c, 0x88);
        t[4 + i] = _mm512_shuffle_i32x4(b, d, 0x88);
        t[8 + i] = _mm512_shuffle_i32x4(a, c, 0xdd);
        t[12 + i] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) v[i] = t[i];
}

#endif
