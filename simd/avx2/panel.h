/* panel.h: prefill products with block-quantised weights in 16 registers: unpacking, and the run over a panel. A level
   brings the packed X, in groups of so many rows, and the tile: 16 weight rows x a group.

   32 weight rows are unpacked by chunks that fit L1 (32 x 512 bytes) and used by all rows of X; the float sums stay in
   L1 too. A call has several times 32 rows: X of many columns fits no cache. Weight rows past n repeat the last one. */
#ifndef FKV_SIMD_AVX2_PANEL_H
#define FKV_SIMD_AVX2_PANEL_H

#include "simd/avx2/weights.h"
#include "simd/types/all.h"

enum { CHUNK_BYTES = 512, CHUNK_BLOCKS = CHUNK_BYTES / 32, HALF = FKV_PANEL_ROWS / 2 };

/* What lies in the scratch memory. A half is 16 weight rows. */
struct panel_scratch {
    uint8_t w[2][CHUNK_BYTES / 4][HALF][4];       /* half, step of 4 k, weight row; int16: step of 2 k, [2] */
    float scale[2][2 * CHUNK_BLOCKS][HALF];       /* per block of 32, or of 16 for Q6_K */
    float offset[2][2 * CHUNK_BLOCKS][HALF];      /* what multiplies the sum of x, per block or half of it */
    int16_t factor[2][2 * CHUNK_BLOCKS][HALF][2]; /* AVX2: the scale in units of the row, twice */
    float unit[2][HALF];
    float sums[AVX2_PANEL_ROWS / FKV_PANEL_ROWS][FKV_BLOCK_ROWS * FKV_PANEL_ROWS]; /* [group][half][row of X][HALF] */
};
_Static_assert(sizeof(struct panel_scratch) <= FKV_PANEL_SCRATCH, "panel scratch");

/* ---- unpacking: 8 weight rows at a time ------------------------------------------------------ */

typedef __m256i values_fn(const uint8_t *block);
typedef __m256i values_k_fn(const uint8_t *block, int j);

struct eight_rows {
    const uint8_t *row[8];
    int half, column; /* where they go: columns `column` .. + 7 of a half */
};

INLINE struct eight_rows eight_rows(const struct fkv_panel *p, int first, size_t offset)
{
    struct eight_rows e = {.half = first / HALF, .column = first % HALF};
    for (int i = 0; i < 8; i++)
        e.row[i] = (const uint8_t *)p->w + (size_t)(first + i < p->n ? first + i : p->n - 1) * p->w_stride + offset;
    return e;
}

/* Rows of 8 steps to 8 steps of the half's rows. */
INLINE void store_steps(struct panel_scratch *s, const struct eight_rows *e, int step, __m256i v[8])
{
    transpose_8x8(v);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) _mm256_store_si256((__m256i *)s->w[e->half][step + i][e->column], v[i]);
}

INLINE __m256 eight_halves(const struct eight_rows *e, size_t offset)
{
    int16_t h[8];
    for (int i = 0; i < 8; i++) memcpy(&h[i], e->row[i] + offset, sizeof h[i]);
    return _mm256_cvtph_ps(_mm_setr_epi16(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]));
}

INLINE int padded_rows(const struct fkv_panel *p) { return p->n > HALF ? 2 * HALF : HALF; }

/* Blocks of 32 with one scale d first; with has_minimum, m after it. */
INLINE void unpack_32(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s, size_t block_bytes,
                      values_fn *values, bool has_minimum)
{
    for (int first = 0; first < padded_rows(p); first += 8) {
        const struct eight_rows e = eight_rows(p, first, (size_t)block0 * block_bytes);
        for (int b = 0; b < n_blocks; b++) {
            const size_t at = (size_t)b * block_bytes;
            __m256i v[8];
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) v[i] = values(e.row[i] + at);
            store_steps(s, &e, 8 * b, v);
            _mm256_store_ps(s->scale[e.half][b] + e.column, eight_halves(&e, at));
            if (has_minimum) _mm256_store_ps(s->offset[e.half][b] + e.column, eight_halves(&e, at + 2));
        }
    }
}

/* Blocks of 8 x 32 with minima: w = scale q - minimum. zero: what the dot takes off q, the offset gives it back. */
INLINE void unpack_k(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s, size_t block_bytes,
                     values_k_fn *values, float zero)
{
    for (int first = 0; first < padded_rows(p); first += 8) {
        const struct eight_rows e = eight_rows(p, first, (size_t)(block0 / 8) * block_bytes);
        for (int b = 0; b < n_blocks; b += 8) {
            const size_t at = (size_t)(b / 8) * block_bytes;
            __m256 scale[8], minimum[8];
            for (int i = 0; i < 8; i++) scales_q4_k(e.row[i] + at, &scale[i], &minimum[i]);
            transpose_8x8_f32(scale);
            transpose_8x8_f32(minimum);
            for (int j = 0; j < 8; j++) {
                _mm256_store_ps(s->scale[e.half][b + j] + e.column, scale[j]);
                _mm256_store_ps(s->offset[e.half][b + j] + e.column,
                                _mm256_fmsub_ps(scale[j], _mm256_set1_ps(zero), minimum[j]));
            }
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++) {
                __m256i v[8];
#pragma GCC unroll 8
                for (int i = 0; i < 8; i++) v[i] = values(e.row[i] + at, j);
                store_steps(s, &e, 8 * (b + j), v);
            }
        }
    }
}

/* A scale per 16 values. */
INLINE void unpack_6(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s, values_k_fn *values)
{
    for (int first = 0; first < padded_rows(p); first += 8) {
        const struct eight_rows e = eight_rows(p, first, (size_t)(block0 / 8) * sizeof(struct fkv_block_q6_k));
        for (int b = 0; b < n_blocks; b += 8) {
            const size_t at = (size_t)(b / 8) * sizeof(struct fkv_block_q6_k);
            __m256 scale[2][8];
            for (int i = 0; i < 8; i++) {
                __m256 both[2];
                scales_q6_k(e.row[i] + at, both);
                scale[0][i] = both[0];
                scale[1][i] = both[1];
            }
            for (int h = 0; h < 2; h++) {
                transpose_8x8_f32(scale[h]);
                for (int j = 0; j < 8; j++)
                    _mm256_store_ps(s->scale[e.half][2 * b + 8 * h + j] + e.column, scale[h][j]);
            }
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++) {
                __m256i v[8];
#pragma GCC unroll 8
                for (int i = 0; i < 8; i++) v[i] = values(e.row[i] + at, j);
                store_steps(s, &e, 8 * (b + j), v);
            }
        }
    }
}

/* One number of eight rows. */
#define OF_EIGHT(u, member)                                                                                  \
    _mm256_setr_ps((u)[0].member, (u)[1].member, (u)[2].member, (u)[3].member, (u)[4].member, (u)[5].member, \
                   (u)[6].member, (u)[7].member)

/* Types of unpacked.def, as bytes q + zero. */
static inline void unpack_bytes(const struct fkv_panel *p, const struct unpacked_type *t, int zero, int block0,
                                int n_blocks, struct panel_scratch *s)
{
    for (int first = 0; first < padded_rows(p); first += 8) {
        const struct eight_rows e = eight_rows(p, first, (size_t)(block0 / t->parts) * t->bytes);
        struct unpacked32 all[8][8], u[8];
        for (int b = 0; b < n_blocks; b++) {
            __m256i v[8];
            for (int i = 0; i < 8 && b % t->parts == 0; i++)
                t->unpack(e.row[i] + (size_t)(b / t->parts) * t->bytes, all[i]);
            for (int i = 0; i < 8; i++) {
                u[i] = all[i][b % t->parts];
                v[i] = _mm256_add_epi8(_mm256_loadu_si256((const __m256i *)u[i].q), _mm256_set1_epi8((char)zero));
            }
            store_steps(s, &e, 8 * b, v);
            for (int h = 0; h < t->scales; h++) {
                _mm256_store_ps(s->scale[e.half][t->scales * b + h] + e.column, OF_EIGHT(u, scale[h]));
                _mm256_store_ps(s->offset[e.half][t->scales * b + h] + e.column, OF_EIGHT(u, offset[h]));
            }
        }
    }
}

/* ---- one panel ------------------------------------------------------------------------------- */

/* Packed X. */
struct plane {
    const char *x;      /* by group and block */
    int x_rows;         /* of a group; a divisor of FKV_PACK_ROWS */
    size_t block_bytes; /* 32 k of a group */
    int chunk_blocks;   /* blocks per chunk */
};

struct format {
    void (*unpack)(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s);
    void (*tile)(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums);
    size_t bytes, values; /* of a stored block */
};

void fkv_panel_run_avx2(const struct fkv_panel *p, const struct format *f, const struct plane *plane);

#endif
