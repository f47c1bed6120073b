/* cells.h: 32 channels x 32 entries of a cache tile as steps of 32 lanes of 32 bits: a lane holds one float
   (cells_f32.h) or a pair of bf16 (avx512bf16/cells_bf16.h), and so does each word of the rows it is multiplied by.
       QK   lanes are entries, steps run over channels, rows are queries
       PV   lanes are channels, steps run over entries, rows are weights */
#ifndef FKV_AVX512_CELLS_H
#define FKV_AVX512_CELLS_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#include "simd/inline.h"

enum {
    STEP_BYTES = 128,
    MOST_CELL_BYTES = 32 * STEP_BYTES,
    ROW_WORDS = 256 + 16, /* from row to row; not a power of two, so that rows do not share cache sets */
};

/* An arithmetic: what lanes and words hold, and what is done with them. A constant, whose functions are inlined. */
struct cells {
    int steps; /* of a cell */
    __m512 (*multiply_add)(__m512 sum, __m512i cell, __m512i row);
    /* Cell c of a tile of K (is_k) or V. */
    void (*expand)(int type, const char *tile, int c, int d, bool is_k, char *cell);
    void (*pack_query)(const float *q, int d, float scale, uint32_t *row); /* q scale, zeros up to the padded head */
    __m512 (*weight)(__m512 x);                                            /* 2^x, x <= 0 */
    /* Weights j .. j + 31 as words of s, which they overwrite from its start. */
    void (*store_weights)(float *s, int j, __m512 a, __m512 b);
};

INLINE int cell_bytes(const struct cells *cells) { return cells->steps * STEP_BYTES; }

#endif
