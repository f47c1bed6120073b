/* tile.h: the product of rows and cells (cells.h) that the cache kernels of these levels are made of.

   R rows are multiplied at once: out[r][lane] = start[r][lane] + sum over the steps: row[r][step] . cell[step][lane].
   Registers: 2 R sums, 2 vectors of the cell, 1 broadcast word; R up to 12.
   Every sum runs over the steps in order, so a row's result does not depend on R. */
#ifndef FKV_AVX512_TILE_H
#define FKV_AVX512_TILE_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "simd/avx512/cells.h"

/* The sums live in registers only if the loops over rows are unrolled in full. */
#ifdef __clang__
#define UNROLL_ROWS _Pragma("clang loop unroll(full)")
#else
#define UNROLL_ROWS _Pragma("GCC unroll 12")
#endif

enum { MOST_ROWS = 12 }; /* R at most */
static const float no_correction[MOST_ROWS] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

struct tile_product {
    const char *cells; /* n_cells, cell_stride bytes apart */
    size_t cell_stride;
    int n_cells;
    const uint32_t *rows;    /* [R][ROW_WORDS] */
    const float *correction; /* [R]: out starts at out x correction; NULL: at zero */
    float *out;              /* [R][out_stride], 32 floats each */
    size_t out_stride;
    const char
        *ahead; /* cache memory wanted soon: two lines of it are fetched to L2 at each step, ahead_step bytes on */
    size_t ahead_step;
};

/* Cells that a row of words reaches for; what is longer is multiplied in parts. */
INLINE int row_cells(const struct cells *cells) { return 256 / cells->steps; }

INLINE __m512i broadcast_word(const uint32_t *word)
{
    int x;
    memcpy(&x, word, sizeof x); /* it may have been written as a float or as bf16 */
    return _mm512_set1_epi32(x);
}

/* 64 bytes of a stored tile as the lanes of half a step. */
typedef __m512i load_lanes(const char *stored);

INLINE __m512i load_cell(const char *stored) { return _mm512_load_si512(stored); }

INLINE void multiply_tile(const struct cells *cells, load_lanes *const load, const int n_rows,
                          const struct tile_product *t)
{
    __m512 sum[MOST_ROWS][2];
    const uint32_t *rows = t->rows;
    const char *ahead = t->ahead;
    const size_t ahead_step = t->ahead_step;
    UNROLL_ROWS
    for (int r = 0; r < n_rows; r++) {
        sum[r][0] = sum[r][1] = _mm512_setzero_ps();
        if (t->correction) {
            const __m512 c = _mm512_set1_ps(t->correction[r]);
            sum[r][0] = _mm512_mul_ps(c, _mm512_load_ps(t->out + r * t->out_stride));
            sum[r][1] = _mm512_mul_ps(c, _mm512_load_ps(t->out + r * t->out_stride + 16));
        }
    }
    for (int c = 0; c < t->n_cells; c++) {
        const char *cell = t->cells + c * t->cell_stride;
        for (int i = 0; i < cells->steps; i++, cell += STEP_BYTES, rows++, ahead += ahead_step) {
            const __m512i a0 = load(cell), a1 = load(cell + 64);
            _mm_prefetch(ahead, _MM_HINT_T1);
            _mm_prefetch(ahead + 64, _MM_HINT_T1);
            UNROLL_ROWS
            for (int r = 0; r < n_rows; r++) {
                const __m512i x = broadcast_word(rows + r * ROW_WORDS);
                sum[r][0] = cells->multiply_add(sum[r][0], a0, x);
                sum[r][1] = cells->multiply_add(sum[r][1], a1, x);
            }
        }
    }
    UNROLL_ROWS
    for (int r = 0; r < n_rows; r++) {
        _mm512_store_ps(t->out + r * t->out_stride, sum[r][0]);
        _mm512_store_ps(t->out + r * t->out_stride + 16, sum[r][1]);
    }
}

/* name[R] multiplies R rows. */
typedef void tile_function(const struct tile_product *t);

/* clang-format off */
#define TILE_FUNCTION(name, cells, load, R)                                                                            \
    static __attribute__((noinline)) void name##_##R(const struct tile_product *t) { multiply_tile(cells, load, R, t); }
#define TILE_FUNCTIONS(name, cells, load)                                                                              \
    TILE_FUNCTION(name, cells, load, 1) TILE_FUNCTION(name, cells, load, 2) TILE_FUNCTION(name, cells, load, 3)        \
    TILE_FUNCTION(name, cells, load, 4) TILE_FUNCTION(name, cells, load, 5) TILE_FUNCTION(name, cells, load, 6)        \
    TILE_FUNCTION(name, cells, load, 7) TILE_FUNCTION(name, cells, load, 8) TILE_FUNCTION(name, cells, load, 9)        \
    TILE_FUNCTION(name, cells, load, 10) TILE_FUNCTION(name, cells, load, 11) TILE_FUNCTION(name, cells, load, 12)     \
    static tile_function *const name[MOST_ROWS + 1] = {                                                                \
        NULL, name##_1, name##_2, name##_3, name##_4, name##_5, name##_6, name##_7,                                    \
        name##_8, name##_9, name##_10, name##_11, name##_12};
/* clang-format on */

#endif
