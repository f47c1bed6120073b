/* Prefill products with block-quantised weights, AVX2 without VNNI: Y = X W^T by exact integer dots per block.

   vpmaddubsw multiplies unsigned by signed bytes and adds neighbours into int16, saturating. Two facts make it exact:
   1. a pair of products of a weight of at most 6 bits and x8 cannot saturate: 2 x 63 x 127 < 32768;
   2. int16 additions may wrap round, only a block's sum has to fit. A half lane sums 16 products of a block of 32, 8 of one of
      16, and for (weight - zero point) 16 x 16 x 127 and 8 x 32 x 127 fit (and so do 16 x 15 x 127 of 4 bits without zero point).
   So the sum starts at -zero point times the sum of x, which lies ready in the packed X, and is widened once per block.
   8-bit weights take int16 panels and vpmaddwd: half the rate, and 16-bit X for nothing.

   Register plan: tile of 2 x 8 weight rows x 4 rows of X: 8 sums, 2 W, 1 X, products. The float sums stay in L1. A panel is
   unpacked by chunks that fit L1 (32 x 512 bytes) and used by all rows of X. Weight rows past n repeat the last one. */
#include "simd/avx2/activations.h"
#include "simd/avx2/weights.h"

enum { CHUNK_BYTES = 512, CHUNK_BLOCKS = CHUNK_BYTES / 32, HALF = FKV_PANEL_ROWS / 2, GROUPS = FKV_BLOCK_ROWS / X_ROWS };

/* What lies in the scratch memory. A half is 16 weight rows. */
struct panel_scratch {
    uint8_t w[2][CHUNK_BYTES / 4][HALF][4];   /* half, step of 4 k, weight row; int16: step of 2 k, [2] */
    float scale[2][2 * CHUNK_BLOCKS][HALF];   /* per block of 32, or of 16 for Q6_K */
    float offset[2][CHUNK_BLOCKS][HALF];      /* what multiplies the sum of x */
    float sums[GROUPS][2][X_ROWS][HALF];
};
_Static_assert(sizeof(struct panel_scratch) <= FKV_PANEL_SCRATCH, "panel scratch");

/* ---- unpacking: 8 weight rows at a time --------------------------------------------------------------------------- */

typedef __m256i values_fn(const uint8_t *block);
typedef __m256i values_k_fn(const uint8_t *block, int j);

struct eight_rows {
    const uint8_t *row[8];
    int half, column; /* where they go: columns `column` .. + 7 of a half */
};

INLINE struct eight_rows eight_rows(const struct fkv_panel *p, int first, size_t offset)
{
    struct eight_rows e = {.half = first / HALF, .column = first % HALF};
    for (int i = 0; i < 8; i++) e.row[i] = (const uint8_t *)p->w + (size_t)(first + i < p->n ? first + i : p->n - 1) * p->w_stride + offset;
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
INLINE void unpack_32(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s, size_t block_bytes, values_fn *values, bool has_minimum)
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

static void unpack_q4_0(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s) { unpack_32(p, block0, n_blocks, s, sizeof(struct fkv_block_q4_0), values_q4_0, false); }
static void unpack_q4_1(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s) { unpack_32(p, block0, n_blocks, s, sizeof(struct fkv_block_q4_1), values_q4_1, true); }
static void unpack_q5_0(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s) { unpack_32(p, block0, n_blocks, s, sizeof(struct fkv_block_q5_0), values_q5_0, false); }

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
                for (int i = 0; i < 8; i++) v[i] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(e.row[i] + at + 2 + 16 * h)));
                store_steps(s, &e, 16 * b + 8 * h, v);
            }
            _mm256_store_ps(s->scale[e.half][b] + e.column, eight_halves(&e, at));
        }
    }
}

/* Blocks of 8 x 32 with minima: w = scale q - minimum. zero: what the dot takes off q, the offset gives it back. */
INLINE void unpack_k(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s, size_t block_bytes, values_k_fn *values, float zero)
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
                _mm256_store_ps(s->offset[e.half][b + j] + e.column, _mm256_fmsub_ps(scale[j], _mm256_set1_ps(zero), minimum[j]));
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

static void unpack_q4_k(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s) { unpack_k(p, block0, n_blocks, s, sizeof(struct fkv_block_q4_k), values_q4_k, 0); }
static void unpack_q5_k(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s) { unpack_k(p, block0, n_blocks, s, sizeof(struct fkv_block_q5_k), values_q5_k, 16); }

static void unpack_q6_k(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
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
                for (int j = 0; j < 8; j++) _mm256_store_ps(s->scale[e.half][2 * b + 8 * h + j] + e.column, scale[h][j]);
            }
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++) {
                __m256i v[8];
#pragma GCC unroll 8
                for (int i = 0; i < 8; i++) v[i] = values_q6_k(e.row[i] + at, j);
                store_steps(s, &e, 8 * (b + j), v);
            }
        }
    }
}

/* ---- tiles: 16 weight rows x 4 rows of X, all blocks of a chunk ------------------------------------------------------ */

INLINE void add_scaled(float *sum, __m256i dot, __m256 scale)
{
    _mm256_store_ps(sum, _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, _mm256_load_ps(sum)));
}

/* The dots of n_steps x 4 k under one scale. start: [4] pairs of int16 to begin at times 2^double_start, NULL for zero. */
INLINE void add_dots(int n_steps, const uint8_t *w, const int8_t *x, const int16_t *start, int double_start, const float *scale, const float *x_scale, float *sums)
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
        const __m256i w0 = _mm256_load_si256((const __m256i *)(w + step * 64)), w1 = _mm256_load_si256((const __m256i *)(w + step * 64 + 32));
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
INLINE void tile_32(int zero, bool has_offset, const struct panel_scratch *s, int half, const struct x_block8 *x, int n_blocks, float *sums)
{
    for (int b = 0; b < n_blocks; b++) {
        add_dots(8, s->w[half][8 * b][0], x[b].q[0][0], zero ? x[b].start[0] : NULL, zero == 16, s->scale[half][b], x[b].scale, sums);
        if (has_offset) add_offsets(s->offset[half][b], x[b].scaled_sum, sums);
    }
}

static void tile_zero_8(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums) { tile_32(8, false, s, half, x, n_blocks, sums); }
static void tile_zero_16(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums) { tile_32(16, false, s, half, x, n_blocks, sums); }
static void tile_offset(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums) { tile_32(0, true, s, half, x, n_blocks, sums); }
static void tile_zero_16_offset(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums) { tile_32(16, true, s, half, x, n_blocks, sums); }

/* A scale per 16 values, zero point 32. */
static void tile_q6_k(const struct panel_scratch *s, int half, const void *x_blocks, int n_blocks, float *sums)
{
    const struct x_block8 *x = x_blocks;
    for (int b = 0; b < n_blocks; b++)
        for (int h = 0; h < 2; h++)
            add_dots(4, s->w[half][8 * b + 4 * h][0], x[b].q[4 * h][0], x[b].start_16[h][0], 0, s->scale[half][2 * b + h], x[b].scale, sums);
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
            const __m256i w0 = _mm256_load_si256((const __m256i *)(w + step * 64)), w1 = _mm256_load_si256((const __m256i *)(w + step * 64 + 32));
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

/* ---- one panel ------------------------------------------------------------------------------------------------------ */

struct plane {
    const char *x;      /* packed X, by group of 4 rows and block */
    size_t block_bytes;
    int chunk_blocks;   /* blocks of 32 k per chunk */
};

struct format {
    void (*unpack)(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s);
    void (*tile)(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums);
    size_t bytes, values; /* of a stored block */
};

/* The next panel's lines of one chunk come in while this one's is multiplied: part `i` of `parts`, one weight row after the other. */
INLINE void prefetch_part(const struct fkv_panel *p, size_t offset, size_t bytes, int i, int parts)
{
    if (!p->prefetch) return;
    const int lines = p->n * (int)((bytes + 63) / 64);
    for (int line = lines * i / parts; line < lines * (i + 1) / parts; line++)
        _mm_prefetch((const char *)p->prefetch + (size_t)(line % p->n) * p->w_stride + offset + (size_t)(line / p->n) * 64, _MM_HINT_T1);
}

static void store_rows(const struct fkv_panel *p, const struct panel_scratch *s)
{
    for (int row = 0; row < p->m; row++) {
        float *y = p->y + (size_t)row * p->ldy;
        const int first = p->n < HALF ? p->n : HALF;
        memcpy(y, s->sums[row / X_ROWS][0][row % X_ROWS], (size_t)first * 4);
        memcpy(y + first, s->sums[row / X_ROWS][1][row % X_ROWS], (size_t)(p->n - first) * 4);
    }
}

static void run_panel(const struct fkv_panel *p, const struct format *f, const struct plane *plane)
{
    struct panel_scratch *s = p->scratch;
    const int groups = x8_groups(p->m), blocks = p->k / 32, halves = p->n > HALF ? 2 : 1;
    memset(s->sums, 0, (size_t)groups * sizeof s->sums[0]);
    for (int b = 0; b < blocks; b += plane->chunk_blocks) {
        const int n_blocks = blocks - b < plane->chunk_blocks ? blocks - b : plane->chunk_blocks;
        f->unpack(p, b, n_blocks, s);
        for (int g = 0; g < groups; g++) {
            const void *x = plane->x + ((size_t)g * (size_t)blocks + (size_t)b) * plane->block_bytes;
            prefetch_part(p, 32 * (size_t)b / f->values * f->bytes, 32 * (size_t)n_blocks / f->values * f->bytes, g, groups);
            for (int half = 0; half < halves; half++) f->tile(s, half, x, n_blocks, s->sums[g][half][0]);
        }
    }
    store_rows(p, s);
}

static void run_panel8(const struct fkv_panel *p, const struct format *f)
{
    run_panel(p, f, &(struct plane){p->x, sizeof(struct x_block8), CHUNK_BLOCKS});
}

void fkv_panel_q8_0_avx2(const struct fkv_panel *p)
{
    const struct format f = {unpack_q8_0, tile_int16, sizeof(struct fkv_block_q8_0), 32};
    run_panel(p, &f, &(struct plane){(const char *)x8_plane16(p->x, p->m, p->k), sizeof(struct x_block16), CHUNK_BLOCKS / 2});
}

void fkv_panel_q4_0_avx2(const struct fkv_panel *p) { run_panel8(p, &(struct format){unpack_q4_0, tile_zero_8, sizeof(struct fkv_block_q4_0), 32}); }
void fkv_panel_q4_1_avx2(const struct fkv_panel *p) { run_panel8(p, &(struct format){unpack_q4_1, tile_offset, sizeof(struct fkv_block_q4_1), 32}); }
void fkv_panel_q5_0_avx2(const struct fkv_panel *p) { run_panel8(p, &(struct format){unpack_q5_0, tile_zero_16, sizeof(struct fkv_block_q5_0), 32}); }
void fkv_panel_q4_k_avx2(const struct fkv_panel *p) { run_panel8(p, &(struct format){unpack_q4_k, tile_offset, sizeof(struct fkv_block_q4_k), 256}); }
void fkv_panel_q5_k_avx2(const struct fkv_panel *p) { run_panel8(p, &(struct format){unpack_q5_k, tile_zero_16_offset, sizeof(struct fkv_block_q5_k), 256}); }
void fkv_panel_q6_k_avx2(const struct fkv_panel *p) { run_panel8(p, &(struct format){unpack_q6_k, tile_q6_k, sizeof(struct fkv_block_q6_k), 256}); }
