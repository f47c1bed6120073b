/* Prefill products of block-quantised weights by vpdpbusd on 256 bits.

   The structure is that of AVX2 (simd/avx2/panel.h) with other dots: one instruction in place of two or three, exact
   for 8 bits. Weights become unsigned bytes: those with a zero point w + 128, and the sum starts at -128 times the
   sum of x, which lies ready in the packed X; those with a minimum as they are. */
#include "simd/avx2/panel.h"
#include "simd/avx2/rounding.h"
#include "simd/avxvnni/avxvnni.h"
#include "simd/avxvnni/dpbusd.h"

/* ---- packed X: [group of 6 rows][block] ------------------------------------------------------ */

enum { X_ROWS = 6 };

struct x_block {                 /* 32 values of 6 rows: x = scale q */
    int8_t q[8][X_ROWS][4];      /* 4 consecutive k per row and step */
    int32_t start[X_ROWS];       /* -128 times the sum of q */
    int32_t start_16[2][X_ROWS]; /* the same of the first and of the second 16 values */
    float scale[X_ROWS];
    float scaled_sum[X_ROWS]; /* scale * sum of q */
};

static inline int x8_groups(int m) { return (m + X_ROWS - 1) / X_ROWS; }

size_t fkv_x8_bytes_avxvnni(int m, int k)
{
    return ((size_t)x8_groups(m) * (size_t)(k / 32) * sizeof(struct x_block) + 63) & ~(size_t)63;
}

static void pack_row(const float *x, int row, struct x_block *o)
{
    const struct rounded r = round_to_8(x);
    int32_t steps[8];
    _mm256_storeu_si256((__m256i *)steps, r.bytes);
    for (int s = 0; s < 8; s++) memcpy(o->q[s][row], &steps[s], 4);
    o->start_16[0][row] = -128 * r.sum[0];
    o->start_16[1][row] = -128 * r.sum[1];
    o->start[row] = -128 * (r.sum[0] + r.sum[1]);
    o->scale[row] = r.scale;
    o->scaled_sum[row] = r.scale * (float)(r.sum[0] + r.sum[1]);
}

void fkv_x8_pack_avxvnni(const float *x, size_t ldx, int m, int k, int row0, int row1, void *packed)
{
    (void)m;
    const int blocks = k / 32;
    for (int row = row0; row < row1; row += X_ROWS) {
        struct x_block *o = (struct x_block *)packed + (size_t)(row / X_ROWS) * (size_t)blocks;
        const int rows = row1 - row < X_ROWS ? row1 - row : X_ROWS;
        for (int b = 0; b < blocks; b++, o++) {
            if (rows < X_ROWS) memset(o, 0, sizeof *o);
            for (int r = 0; r < rows; r++) pack_row(x + (size_t)(row + r) * ldx + 32 * (size_t)b, r, o);
        }
    }
}

/* ---- prefill ------------------------------------------------------------------------------------

   Register plan: tile of 2 x 8 weight rows x 6 rows of X: 12 sums, 2 W, 1 X. Per 4 k: 8 loads for 12 vpdpbusd. The
   float sums stay in L1. */

INLINE __m256i plus_128(int zero, __m256i v) { return _mm256_add_epi8(v, _mm256_set1_epi8((char)(128 - zero))); }
INLINE __m256i bytes_q8_0(const uint8_t *block) { return plus_128(0, values_q8_0(block)); }
INLINE __m256i bytes_q4_0(const uint8_t *block) { return plus_128(8, values_q4_0(block)); }
INLINE __m256i bytes_q5_0(const uint8_t *block) { return plus_128(16, values_q5_0(block)); }
INLINE __m256i bytes_q6_k(const uint8_t *block, int j) { return plus_128(32, values_q6_k(block, j)); }

static void unpack_q8_0(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_32(p, block0, n_blocks, s, sizeof(struct fkv_block_q8_0), bytes_q8_0, false);
}
static void unpack_q4_0(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_32(p, block0, n_blocks, s, sizeof(struct fkv_block_q4_0), bytes_q4_0, false);
}
static void unpack_q4_1(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_32(p, block0, n_blocks, s, sizeof(struct fkv_block_q4_1), values_q4_1, true);
}
static void unpack_q5_0(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_32(p, block0, n_blocks, s, sizeof(struct fkv_block_q5_0), bytes_q5_0, false);
}
static void unpack_q4_k(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_k(p, block0, n_blocks, s, sizeof(struct fkv_block_q4_k), values_q4_k, 0);
}
static void unpack_q5_k(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_k(p, block0, n_blocks, s, sizeof(struct fkv_block_q5_k), values_q5_k, 0);
}
static void unpack_q6_k(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_6(p, block0, n_blocks, s, bytes_q6_k);
}

INLINE void dots(int n_steps, const uint8_t *w, const int8_t *x, __m256i a[X_ROWS][2])
{
#pragma GCC unroll 8
    for (int step = 0; step < n_steps; step++) {
        const __m256i w0 = _mm256_load_si256((const __m256i *)(w + step * 64)),
                      w1 = _mm256_load_si256((const __m256i *)(w + step * 64 + 32));
#pragma GCC unroll 6
        for (int c = 0; c < X_ROWS; c++) {
            int32_t four;
            memcpy(&four, x + step * 4 * X_ROWS + c * 4, 4);
            const __m256i xv = _mm256_set1_epi32(four);
            a[c][0] = dpbusd(a[c][0], w0, xv);
            a[c][1] = dpbusd(a[c][1], w1, xv);
        }
    }
}

/* The compiler must not keep the float sums of the next block in registers it does not have: it would spill them and
   store them twice. */
INLINE void stay_in_memory(void) { __asm__ volatile("" ::: "memory"); }

/* sum[8] += dot x scale, and what `offset` holds for the 8 rows times the sum of x. */
INLINE void add_8(__m256i dot, __m256 scale, bool has_offset, const float *offset, __m256 x_sum, float *sum)
{
    __m256 s = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, _mm256_load_ps(sum));
    if (has_offset) s = _mm256_fmadd_ps(_mm256_load_ps(offset), x_sum, s);
    _mm256_store_ps(sum, s);
}

/* n_steps x 4 k under one scale, from step `first` of the block. start: NULL for zero. */
INLINE void multiply_block(int first, int n_steps, const uint8_t *w, const struct x_block *x, const int32_t *start,
                           const float *scale, bool has_offset, const float *offset, float *sums)
{
    __m256i a[X_ROWS][2];
#pragma GCC unroll 6
    for (int c = 0; c < X_ROWS; c++) a[c][0] = a[c][1] = start ? _mm256_set1_epi32(start[c]) : _mm256_setzero_si256();
    dots(n_steps, w + first * 64, x->q[first][0], a);
    stay_in_memory();
    const __m256 s0 = _mm256_load_ps(scale), s1 = _mm256_load_ps(scale + 8);
#pragma GCC unroll 6
    for (int c = 0; c < X_ROWS; c++) {
        const __m256 by = _mm256_set1_ps(x->scale[c]), x_sum = _mm256_set1_ps(x->scaled_sum[c]);
        add_8(a[c][0], _mm256_mul_ps(s0, by), has_offset, offset, x_sum, sums + c * HALF);
        add_8(a[c][1], _mm256_mul_ps(s1, by), has_offset, has_offset ? offset + 8 : NULL, x_sum, sums + c * HALF + 8);
    }
}

static void tile_signed(const struct panel_scratch *s, int half, const void *x_blocks, int n_blocks, float *sums)
{
    const struct x_block *x = x_blocks;
    for (int b = 0; b < n_blocks; b++)
        multiply_block(0, 8, s->w[half][8 * b][0], x + b, x[b].start, s->scale[half][b], false, s->offset[half][b],
                       sums);
}

static void tile_offset(const struct panel_scratch *s, int half, const void *x_blocks, int n_blocks, float *sums)
{
    const struct x_block *x = x_blocks;
    for (int b = 0; b < n_blocks; b++)
        multiply_block(0, 8, s->w[half][8 * b][0], x + b, NULL, s->scale[half][b], true, s->offset[half][b], sums);
}

/* A scale per 16 values. */
static void tile_16(const struct panel_scratch *s, int half, const void *x_blocks, int n_blocks, float *sums)
{
    const struct x_block *x = x_blocks;
    for (int b = 0; b < n_blocks; b++)
        for (int h = 0; h < 2; h++)
            multiply_block(4 * h, 4, s->w[half][8 * b][0], x + b, x[b].start_16[h], s->scale[half][2 * b + h], false,
                           s->offset[half][b], sums);
}

#define PANEL(type, tile, values)                                                                       \
    void fkv_panel_##type##_avxvnni(const struct fkv_panel *p)                                          \
    {                                                                                                   \
        static const struct format f = {unpack_##type, tile, sizeof(struct fkv_block_##type), values};  \
        fkv_panel_run_avx2(p, &f, &(struct plane){p->x, X_ROWS, sizeof(struct x_block), CHUNK_BLOCKS}); \
    }
PANEL(q8_0, tile_signed, 32)
PANEL(q4_0, tile_signed, 32)
PANEL(q4_1, tile_offset, 32)
PANEL(q5_0, tile_signed, 32)
PANEL(q4_k, tile_offset, 256)
PANEL(q5_k, tile_offset, 256)
PANEL(q6_k, tile_16, 256)

/* ---- unpacked.def ---------------------------------------------------------------------------- */

/* Bytes q + 128, so that all start at -128 times the sum of x, a scale and an offset per 32 values or per 16. */
INLINE void tile_unpacked(int n_scales, bool has_offset, const struct panel_scratch *s, int half, const void *x_blocks,
                          int n_blocks, float *sums)
{
    const struct x_block *x = x_blocks;
    for (int b = 0; b < n_blocks; b++, x++)
#pragma GCC unroll 2
        for (int h = 0; h < n_scales; h++) {
            const int32_t *start = n_scales == 2 ? x->start_16[h] : x->start;
            const int at = n_scales * b + h, steps = 8 / n_scales;
            multiply_block(steps * h, steps, s->w[half][8 * b][0], x, start, s->scale[half][at], false, NULL, sums);
            for (int c = 0; c < X_ROWS && has_offset; c++) {
                const __m256 x_sum = _mm256_set1_ps((float)start[c] * (-1.0f / 128) * x->scale[c]);
                for (int r = 0; r < HALF; r += 8)
                    _mm256_store_ps(sums + c * HALF + r, _mm256_fmadd_ps(_mm256_load_ps(s->offset[half][at] + r), x_sum,
                                                                         _mm256_load_ps(sums + c * HALF + r)));
            }
        }
}

#define UNPACKED(NAME, name, values, bits, scales, has_offset)                                                 \
    static void unpack_##name(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)    \
    {                                                                                                          \
        unpack_bytes(p, &unpacked_##name, 128, block0, n_blocks, s);                                           \
    }                                                                                                          \
    static void tile_##name(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums) \
    {                                                                                                          \
        tile_unpacked(scales, has_offset, s, half, x, n_blocks, sums);                                         \
    }                                                                                                          \
    PANEL(name, tile_##name, values)
#include "simd/unpacked.def"
