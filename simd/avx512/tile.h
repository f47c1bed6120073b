/* tile.h: the product every cache kernel of these levels is made of.

   A cell is 32 channels x 32 entries of a cache tile as steps of 32 lanes of 32 bits: a lane holds one float (cells_f32.h, STEP_VALUES 1)
   or a pair of bf16 (STEP_VALUES 2), and so does each word of a row.
       QK   lanes are entries, steps run over channels, rows are queries
       PV   lanes are channels, steps run over entries, rows are weights
   R rows are multiplied at once: out[r][lane] = start[r][lane] + sum over the steps: row[r][step] . cell[step][lane].
   Registers: 2 R sums, 2 vectors of the cell, 1 broadcast word; R up to 12.
   Every sum runs over the steps in order, so a row's result does not depend on R.

   The file that includes this has defined multiply_add() and STEP_VALUES. */
#ifndef FKV_AVX512_TILE_H
#define FKV_AVX512_TILE_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The sums live in registers only if the loops over rows are unrolled in full. */
#ifdef __clang__
#define UNROLL_ROWS _Pragma("clang loop unroll(full)")
#else
#define UNROLL_ROWS _Pragma("GCC unroll 12")
#endif

enum {
    MOST_ROWS = 12,                 /* R at most */
    CELL_STEPS = 32 / STEP_VALUES,
    CELL_BYTES = CELL_STEPS * 128,
    ROW_WORDS = 256 + 16,           /* from row to row; not a power of two, so that rows do not share cache sets */
};

struct tile_product {
    const char *cells;         /* n_cells, cell_stride bytes apart */
    size_t cell_stride;
    int n_cells;
    const uint32_t *rows;      /* [R][ROW_WORDS] */
    const float *correction;   /* [R]: out starts at out x correction; NULL: at zero */
    float *out;                /* [R][out_stride], 32 floats each */
    size_t out_stride;
    const char *ahead;         /* cache memory wanted soon: two lines of it are fetched to L2 at each step, ahead_step bytes on */
    size_t ahead_step;
};

static inline __m512i broadcast_word(const uint32_t *word)
{
    int x;
    memcpy(&x, word, sizeof x); /* it may have been written as a float or as bf16 */
    return _mm512_set1_epi32(x);
}

/* 64 bytes of a stored tile as the lanes of half a step. */
typedef __m512i load_lanes(const char *stored);

static inline __m512i load_cell(const char *stored) { return _mm512_load_si512(stored); }

static inline __attribute__((always_inline)) void multiply_tile(const int n_rows, load_lanes *const load, const struct tile_product *t)
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
        for (int i = 0; i < CELL_STEPS; i++, cell += 128, rows++, ahead += ahead_step) {
            const __m512i a0 = load(cell), a1 = load(cell + 64);
            _mm_prefetch(ahead, _MM_HINT_T1);
            _mm_prefetch(ahead + 64, _MM_HINT_T1);
            UNROLL_ROWS
            for (int r = 0; r < n_rows; r++) {
                const __m512i x = broadcast_word(rows + r * ROW_WORDS);
                sum[r][0] = multiply_add(sum[r][0], a0, x);
                sum[r][1] = multiply_add(sum[r][1], a1, x);
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

#define TILE_FUNCTION(name, load, R) static __attribute__((noinline)) void name##_##R(const struct tile_product *t) { multiply_tile(R, load, t); }
#define TILE_FUNCTIONS(name, load)                                                                                                    \
    TILE_FUNCTION(name, load, 1) TILE_FUNCTION(name, load, 2) TILE_FUNCTION(name, load, 3) TILE_FUNCTION(name, load, 4)               \
    TILE_FUNCTION(name, load, 5) TILE_FUNCTION(name, load, 6) TILE_FUNCTION(name, load, 7) TILE_FUNCTION(name, load, 8)               \
    TILE_FUNCTION(name, load, 9) TILE_FUNCTION(name, load, 10) TILE_FUNCTION(name, load, 11) TILE_FUNCTION(name, load, 12)            \
    static tile_function *const name[MOST_ROWS + 1] = {NULL, name##_1, name##_2, name##_3, name##_4, name##_5, name##_6,              \
                                                       name##_7, name##_8, name##_9, name##_10, name##_11, name##_12};

TILE_FUNCTIONS(multiply_cells, load_cell)

#endif
