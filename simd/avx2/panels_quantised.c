/* Prefill products with block-quantised weights, AVX2 without VNNI: Y = X W^T by exact integer dots per block.

   vpmaddubsw multiplies unsigned by signed bytes and adds neighbours into int16, saturating. Two facts make it exact:
   1. a pair of products of a weight of at most 6 bits and x8 cannot saturate: 2 x 63 x 127 < 32768;
   2. int16 additions may wrap round, only a block's sum has to fit. A half lane sums 16 products of a block of 32, 8 of
      one of 16, and for (weight - zero point) 16 x 16 x 127 and 8 x 32 x 127 fit (and so do 16 x 15 x 127 of 4 bits
      without zero point).
   So the sum starts at -zero point times the sum of x, which lies ready in the packed X, and is widened once per block.
   8-bit weights take int16 panels and vpmaddwd: half the rate, and 16-bit X for nothing.

   Register plan: tile of 2 x 8 weight rows x 4 rows of X: 8 sums, 2 W, 1 X, products. The float sums stay in L1. */
#include "simd/avx2/activations.h"
#include "simd/avx2/panel.inc"

/* ---- unpacking ------------------------------------------------------------------------------- */

static void unpack_q4_0(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_32(p, block0, n_blocks, s, sizeof(struct fkv_block_q4_0), values_q4_0, false);
}
static void unpack_q4_1(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_32(p, block0, n_blocks, s, sizeof(struct fkv_block_q4_1), values_q4_1, true);
}
static void unpack_q5_0(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_32(p, block0, n_blocks, s, sizeof(struct fkv_block_q5_0), values_q5_0, false);
}

static void unpack_q4_k(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_k(p, block0, n_blocks, s, sizeof(struct fkv_block_q4_k), values_q4_k, 0);
}
static void unpack_q5_k(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_k(p, block0, n_blocks, s, sizeof(struct fkv_block_q5_k), values_q5_k, 16);
}
static void unpack_q6_k(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_6(p, block0, n_blocks, s, values_q6_k);
}

/* To int16: a block takes 16 steps of 2 k. */
static void unpack_q8_0(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    const size_t block_bytes = sizeof(struct fkv_block_q8_0);
    for (int first = 0; first < padded_rows(p); first += 8) {
        const struct eight_rows e = eight_rows(p, first, (size_t)block0 * block_bytes);
        for (int b = 0; b < n_blocks; b++) {
            const size_t at = (size_t)b * block_bytes;
            for (int h = 0; h < 2; h++) {
                __m256i v[8];
#pragma GCC unroll 8
                for (int i = 0; i < 8; i++)
                    v[i] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(e.row[i] + at + 2 + 16 * h)));
                store_steps(s, &e, 16 * b + 8 * h, v);
            }
            _mm256_store_ps(s->scale[e.half][b] + e.column, eight_halves(&e, at));
        }
    }
}

/* ---- tiles: 16 weight rows x 4 rows of X, all blocks of a chunk ------------------------------ */

INLINE void add_scaled(float *sum, __m256i dot, __m256 scale)
{
    _mm256_store_ps(sum, _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, _mm256_load_ps(sum)));
}

/* The dots of n_steps x 4 k under one scale. start: [4] pairs of int16 to begin at times 2^double_start, NULL for
   zero. */
INLINE void add_dots(int n_steps, const uint8_t *w, const int8_t *x, const int16_t *start, int double_start,
                     const float *scale, const float *x_scale, float *sums)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i a[X_ROWS][2];
#pragma GCC unroll 4
    for (int c = 0; c < X_ROWS; c++) {
        int32_t pair = 0;
        if (start) memcpy(&pair, start + 2 * c, 4);
        a[c][0] = a[c][1] = _mm256_slli_epi16(_mm256_set1_epi32(pair), double_start);
    }
#pragma GCC unroll 8
    for (int step = 0; step < n_steps; step++) {
        const __m256i w0 = _mm256_load_si256((const __m256i *)(w + step * 64)),
                      w1 = _mm256_load_si256((const __m256i *)(w + step * 64 + 32));
#pragma GCC unroll 4
        for (int c = 0; c < X_ROWS; c++) {
            int32_t four;
            memcpy(&four, x + step * 16 + c * 4, 4);
            const __m256i xv = _mm256_set1_epi32(four);
            a[c][0] = _mm256_add_epi16(a[c][0], _mm256_maddubs_epi16(w0, xv));
            a[c][1] = _mm256_add_epi16(a[c][1], _mm256_maddubs_epi16(w1, xv));
        }
    }
    const __m256 s0 = _mm256_load_ps(scale), s1 = _mm256_load_ps(scale + 8);
#pragma GCC unroll 4
    for (int c = 0; c < X_ROWS; c++) {
        const __m256 xs = _mm256_set1_ps(x_scale[c]);
        add_scaled(sums + c * HALF, _mm256_madd_epi16(a[c][0], ones), _mm256_mul_ps(s0, xs));
        add_scaled(sums + c * HALF + 8, _mm256_madd_epi16(a[c][1], ones), _mm256_mul_ps(s1, xs));
    }
}

INLINE void add_offsets(const float *offset, const float *x_sum, float *sums)
{
    const __m256 o0 = _mm256_load_ps(offset), o1 = _mm256_load_ps(offset + 8);
#pragma GCC unroll 4
    for (int c = 0; c < X_ROWS; c++) {
        const __m256 xs = _mm256_set1_ps(x_sum[c]);
        _mm256_store_ps(sums + c * HALF, _mm256_fmadd_ps(o0, xs, _mm256_load_ps(sums + c * HALF)));
        _mm256_store_ps(sums + c * HALF + 8, _mm256_fmadd_ps(o1, xs, _mm256_load_ps(sums + c * HALF + 8)));
    }
}

/* zero: the zero point, 0, 8 or 16. */
INLINE void tile_32(int zero, bool has_offset, const struct panel_scratch *s, int half, const struct x_block8 *x,
                    int n_blocks, float *sums)
{
    for (int b = 0; b < n_blocks; b++) {
        add_dots(8, s->w[half][8 * b][0], x[b].q[0][0], zero ? x[b].start[0] : NULL, zero == 16, s->scale[half][b],
                 x[b].scale, sums);
        if (has_offset) add_offsets(s->offset[half][b], x[b].scaled_sum, sums);
    }
}

static void tile_zero_8(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums)
{
    tile_32(8, false, s, half, x, n_blocks, sums);
}
static void tile_zero_16(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums)
{
    tile_32(16, false, s, half, x, n_blocks, sums);
}
static void tile_offset(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums)
{
    tile_32(0, true, s, half, x, n_blocks, sums);
}
static void tile_zero_16_offset(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums)
{
    tile_32(16, true, s, half, x, n_blocks, sums);
}

/* A scale per 16 values, zero point 32. */
static void tile_q6_k(const struct panel_scratch *s, int half, const void *x_blocks, int n_blocks, float *sums)
{
    const struct x_block8 *x = x_blocks;
    for (int b = 0; b < n_blocks; b++)
        for (int h = 0; h < 2; h++)
            add_dots(4, s->w[half][8 * b + 4 * h][0], x[b].q[4 * h][0], x[b].start_16[h][0], 0,
                     s->scale[half][2 * b + h], x[b].scale, sums);
}

static void tile_int16(const struct panel_scratch *s, int half, const void *x_blocks, int n_blocks, float *sums)
{
    const struct x_block16 *x = x_blocks;
    for (int b = 0; b < n_blocks; b++) {
        const uint8_t *w = s->w[half][16 * b][0];
        __m256i a[X_ROWS][2];
#pragma GCC unroll 4
        for (int c = 0; c < X_ROWS; c++) a[c][0] = a[c][1] = _mm256_setzero_si256();
#pragma GCC unroll 16
        for (int step = 0; step < 16; step++) {
            const __m256i w0 = _mm256_load_si256((const __m256i *)(w + step * 64)),
                          w1 = _mm256_load_si256((const __m256i *)(w + step * 64 + 32));
#pragma GCC unroll 4
            for (int c = 0; c < X_ROWS; c++) {
                int32_t two;
                memcpy(&two, x[b].q[step][c], 4);
                const __m256i xv = _mm256_set1_epi32(two);
                a[c][0] = _mm256_add_epi32(a[c][0], _mm256_madd_epi16(w0, xv));
                a[c][1] = _mm256_add_epi32(a[c][1], _mm256_madd_epi16(w1, xv));
            }
        }
        const __m256 s0 = _mm256_load_ps(s->scale[half][b]), s1 = _mm256_load_ps(s->scale[half][b] + 8);
#pragma GCC unroll 4
        for (int c = 0; c < X_ROWS; c++) {
            const __m256 xs = _mm256_set1_ps(x[b].scale[c]);
            add_scaled(sums + c * HALF, a[c][0], _mm256_mul_ps(s0, xs));
            add_scaled(sums + c * HALF + 8, a[c][1], _mm256_mul_ps(s1, xs));
        }
    }
}

/* ---- the panels ------------------------------------------------------------------------------ */

static void run_panel8(const struct fkv_panel *p, const struct format *f)
{
    run_panel(p, f, &(struct plane){p->x, sizeof(struct x_block8), CHUNK_BLOCKS});
}

void fkv_panel_q8_0_avx2(const struct fkv_panel *p)
{
    const struct format f = {unpack_q8_0, tile_int16, sizeof(struct fkv_block_q8_0), 32};
    run_panel(p, &f,
              &(struct plane){(const char *)x8_plane16(p->x, p->m, p->k), sizeof(struct x_block16), CHUNK_BLOCKS / 2});
}

void fkv_panel_q4_0_avx2(const struct fkv_panel *p)
{
    run_panel8(p, &(struct format){unpack_q4_0, tile_zero_8, sizeof(struct fkv_block_q4_0), 32});
}
void fkv_panel_q4_1_avx2(const struct fkv_panel *p)
{
    run_panel8(p, &(struct format){unpack_q4_1, tile_offset, sizeof(struct fkv_block_q4_1), 32});
}
void fkv_panel_q5_0_avx2(const struct fkv_panel *p)
{
    run_panel8(p, &(struct format){unpack_q5_0, tile_zero_16, sizeof(struct fkv_block_q5_0), 32});
}
void fkv_panel_q4_k_avx2(const struct fkv_panel *p)
{
    run_panel8(p, &(struct format){unpack_q4_k, tile_offset, sizeof(struct fkv_block_q4_k), 256});
}
void fkv_panel_q5_k_avx2(const struct fkv_panel *p)
{
    run_panel8(p, &(struct format){unpack_q5_k, tile_zero_16_offset, sizeof(struct fkv_block_q5_k), 256});
}
void fkv_panel_q6_k_avx2(const struct fkv_panel *p)
{
    run_panel8(p, &(struct format){unpack_q6_k, tile_q6_k, sizeof(struct fkv_block_q6_k), 256});
}
