/* Prefill products with block-quantised weights, AVX2 without VNNI: Y = X W^T by exact integer dots per block.

   vpmaddubsw multiplies unsigned by signed bytes and adds neighbours into int16, saturating. Two facts make it exact:
   1. a pair of products of a weight of at most 6 bits and x8 cannot saturate: 2 x 63 x 127 < 32768;
   2. int16 additions may wrap round, only a block's sum has to fit. A half lane sums 16 products of a block of 32, 8 of
      one of 16, and for (weight - zero point) 16 x 16 x 127 and 8 x 32 x 127 fit (and so do 16 x 15 x 127 of 4 bits
      without zero point).
   So the sum starts at -zero point times the sum of x, which lies ready in the packed X; a minimum is an offset.
   vpmaddwd, which adds the two half lanes, multiplies them by the part's scale on the way: 15 bits of it in units of
   the row's largest of the chunk (factors()); 32767 x 2 x 32512 fits in 31 bits. What that rounds off is 1/200 of what
   rounding X does. So a part costs, beside its products, vpmaddwd, a conversion and an FMA by the scale of X.
   8-bit weights take int16 panels and vpmaddwd: half the rate, and 16-bit X for nothing.

   Register plan: tile of 2 x 8 weight rows x 4 rows of X: 8 sums, 2 W, 1 X, products. The float sums stay in L1. */
#include "simd/avx2/activations.h"
#include "simd/avx2/panel.h"
#include "simd/avx2/rounding.h"

/* ---- unpacking ------------------------------------------------------------------------------- */

/* scale = unit x factor, |factor| < 2^15, and the offsets in that unit. What is not a number becomes the unit. */
INLINE void factors(struct panel_scratch *s, int n_halves, int n_parts, int n_offsets)
{
    const __m256i low = _mm256_set1_epi32(0xffff);
    for (int half = 0; half < n_halves; half++)
        for (int r = 0; r < HALF; r += 8) {
            __m256i top = _mm256_castps_si256(_mm256_set1_ps(0x1p-100f));
            for (int part = 0; part < n_parts; part++)
                top = _mm256_max_epi32(top, magnitude_bits(_mm256_load_ps(s->scale[half][part] + r)));
            const __m256 largest = _mm256_castsi256_ps(top), to = _mm256_div_ps(_mm256_set1_ps(32767), largest);
            _mm256_store_ps(s->unit[half] + r, _mm256_mul_ps(largest, _mm256_set1_ps(1.0f / 32767)));
            for (int part = 0; part < n_parts; part++) {
                const __m256i f = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_load_ps(s->scale[half][part] + r), to));
                _mm256_store_si256((__m256i *)s->factor[half][part][r],
                                   _mm256_or_si256(_mm256_and_si256(f, low), _mm256_slli_epi32(f, 16)));
            }
            for (int b = 0; b < n_offsets; b++)
                _mm256_store_ps(s->offset[half][b] + r, _mm256_mul_ps(_mm256_load_ps(s->offset[half][b] + r), to));
        }
}

static void unpack_q4_0(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_32(p, block0, n_blocks, s, sizeof(struct fkv_block_q4_0), values_q4_0, false);
    factors(s, padded_rows(p) / HALF, n_blocks, 0);
}
static void unpack_q4_1(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_32(p, block0, n_blocks, s, sizeof(struct fkv_block_q4_1), values_q4_1, true);
    factors(s, padded_rows(p) / HALF, n_blocks, n_blocks);
}
static void unpack_q5_0(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_32(p, block0, n_blocks, s, sizeof(struct fkv_block_q5_0), values_q5_0, false);
    factors(s, padded_rows(p) / HALF, n_blocks, 0);
}

static void unpack_q4_k(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_k(p, block0, n_blocks, s, sizeof(struct fkv_block_q4_k), values_q4_k, 0);
    factors(s, padded_rows(p) / HALF, n_blocks, n_blocks);
}
static void unpack_q5_k(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_k(p, block0, n_blocks, s, sizeof(struct fkv_block_q5_k), values_q5_k, 16);
    factors(s, padded_rows(p) / HALF, n_blocks, n_blocks);
}
static void unpack_q6_k(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s)
{
    unpack_6(p, block0, n_blocks, s, values_q6_k);
    factors(s, padded_rows(p) / HALF, 2 * n_blocks, 0);
}

/* To int16: a block takes 16 steps of 2 k. */
static void unpack_int16(const struct fkv_panel *p, const struct unpacked_type *t, int block0, int n_blocks,
                         struct panel_scratch *s)
{
    for (int first = 0; first < padded_rows(p); first += 8) {
        const struct eight_rows e = eight_rows(p, first, (size_t)(block0 / t->parts) * t->bytes);
        struct unpacked32 all[8][8], u[8];
        for (int b = 0; b < n_blocks; b++) {
            for (int i = 0; i < 8 && b % t->parts == 0; i++)
                t->unpack(e.row[i] + (size_t)(b / t->parts) * t->bytes, all[i]);
            for (int i = 0; i < 8; i++) u[i] = all[i][b % t->parts];
            for (int h = 0; h < 2; h++) {
                __m256i v[8];
                for (int i = 0; i < 8; i++)
                    v[i] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(u[i].q + 16 * h)));
                store_steps(s, &e, 16 * b + 8 * h, v);
            }
            _mm256_store_ps(s->scale[e.half][b] + e.column, OF_EIGHT(u, scale[0]));
        }
    }
}

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

/* The compiler must not keep the float sums of the next part in registers it does not have: it would spill them and
   store them twice. */
INLINE void stay_in_memory(void) { __asm__ volatile("" ::: "memory"); }

/* sums += scale of X x dot x factor, and with an offset what it is times the sum of x. */
INLINE void add_part(__m256i a[X_ROWS][2], const int16_t (*factor)[2], const float *offset, const float *x_scale,
                     const float *x_sum, float *sums)
{
    stay_in_memory();
#pragma GCC unroll 4
    for (int c = 0; c < X_ROWS; c++) {
        const __m256 by = _mm256_broadcast_ss(x_scale + c);
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            const __m256i dot = _mm256_madd_epi16(a[c][h], _mm256_load_si256((const __m256i *)factor[8 * h]));
            float *at = sums + c * HALF + 8 * h;
            __m256 sum = _mm256_load_ps(at);
            if (offset) sum = _mm256_fmadd_ps(_mm256_load_ps(offset + 8 * h), _mm256_broadcast_ss(x_sum + c), sum);
            sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), by, sum);
            _mm256_store_ps(at, sum);
        }
    }
}

/* The dots of n_steps x 4 k under one scale. start: [4] pairs of int16 to begin at times 2^double_start, NULL for
   zero. */
INLINE void dots(int n_steps, const uint8_t *w, const int8_t *x, const int16_t *start, int double_start,
                 __m256i a[X_ROWS][2])
{
#pragma GCC unroll 4
    for (int c = 0; c < X_ROWS && start; c++) {
        int32_t pair;
        memcpy(&pair, start + 2 * c, 4);
        a[c][0] = a[c][1] = _mm256_slli_epi16(_mm256_set1_epi32(pair), double_start);
    }
#pragma GCC unroll 8
    for (int step = 0; step < n_steps; step++) {
        const __m256i w0 = _mm256_load_si256((const __m256i *)(w + step * 64)),
                      w1 = _mm256_load_si256((const __m256i *)(w + step * 64 + 32));
#pragma GCC unroll 4
        for (int c = 0; c < X_ROWS; c++) {
            int32_t four;
            memcpy(&four, x + step * 4 * X_ROWS + c * 4, 4);
            const __m256i xv = _mm256_set1_epi32(four), p0 = _mm256_maddubs_epi16(w0, xv),
                          p1 = _mm256_maddubs_epi16(w1, xv);
            a[c][0] = step == 0 && !start ? p0 : _mm256_add_epi16(a[c][0], p0);
            a[c][1] = step == 0 && !start ? p1 : _mm256_add_epi16(a[c][1], p1);
        }
    }
}

/* x_sum[r] = scale * sum of q over the half. */
INLINE void sums_of_16(const struct x_block8 *x, int half, float x_sum[X_ROWS])
{
    const __m128i starts = _mm_loadu_si128((const __m128i *)x->start_16[half]);
    const __m128 sums = _mm_cvtepi32_ps(_mm_madd_epi16(starts, _mm_set1_epi16(1)));
    _mm_storeu_ps(x_sum, _mm_mul_ps(_mm_mul_ps(sums, _mm_set1_ps(-1.0f / 32)), _mm_loadu_ps(x->scale)));
}

/* zero: the zero point, 0, 8 or 16; 32: of a scale, and an offset, per 16 values. */
INLINE void tile(int zero, bool has_offset, const struct panel_scratch *s, int half, const struct x_block8 *x,
                 int n_blocks, float *sums)
{
    _Alignas(32) float chunk[X_ROWS * HALF] = {0}; /* in units of the rows */
    const int parts = zero == 32 ? 2 : 1, steps = 8 / parts;
    for (int b = 0; b < n_blocks; b++, x++)
#pragma GCC unroll 2
        for (int part = 0; part < parts; part++) {
            __m256i a[X_ROWS][2];
            float x_sum[X_ROWS];
            if (parts == 2 && has_offset) sums_of_16(x, part, x_sum);
            dots(steps, s->w[half][8 * b + steps * part][0], x->q[steps * part][0],
                 zero == 32 ? x->start_16[part][0]
                 : zero     ? x->start[0]
                            : NULL,
                 zero == 16, a);
            add_part(a, s->factor[half][parts * b + part], has_offset ? s->offset[half][parts * b + part] : NULL,
                     x->scale, parts == 2 ? x_sum : x->scaled_sum, chunk);
        }
    for (int i = 0; i < X_ROWS * HALF; i += 8)
        _mm256_store_ps(sums + i, _mm256_fmadd_ps(_mm256_load_ps(chunk + i), _mm256_load_ps(s->unit[half] + i % HALF),
                                                  _mm256_load_ps(sums + i)));
}

static void tile_zero_8(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums)
{
    tile(8, false, s, half, x, n_blocks, sums);
}
static void tile_offset(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums)
{
    tile(0, true, s, half, x, n_blocks, sums);
}
static void tile_zero_16(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums)
{
    tile(16, false, s, half, x, n_blocks, sums);
}
static void tile_zero_16_offset(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums)
{
    tile(16, true, s, half, x, n_blocks, sums);
}
static void tile_zero_32_offset(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums)
{
    tile(32, true, s, half, x, n_blocks, sums);
}
static void tile_zero_32(const struct panel_scratch *s, int half, const void *x, int n_blocks, float *sums)
{
    tile(32, false, s, half, x, n_blocks, sums);
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
        stay_in_memory();
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
    fkv_panel_run_avx2(p, f, &(struct plane){p->x, X_ROWS, sizeof(struct x_block8), CHUNK_BLOCKS});
}

static void run_panel16(const struct fkv_panel *p, const struct format *f)
{
    const char *x = (const char *)x8_plane16(p->x, p->m, p->k);
    fkv_panel_run_avx2(p, f, &(struct plane){x, X_ROWS, sizeof(struct x_block16), CHUNK_BLOCKS / 2});
}

void fkv_panel_q8_0_avx2(const struct fkv_panel *p)
{
    run_panel16(p, &(struct format){unpack_q8_0, tile_int16, sizeof(struct fkv_block_q8_0), 32});
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
    run_panel8(p, &(struct format){unpack_q6_k, tile_zero_32, sizeof(struct fkv_block_q6_k), 256});
}

/* Types of unpacked.def: those of more than 5 bits as int16, others with a zero point of 16, or, of a scale per 16
   values, of 32. */
#define UNPACKED(NAME, name, values, bits, scales, has_offset)                                              \
    static void unpack_##name(const struct fkv_panel *p, int block0, int n_blocks, struct panel_scratch *s) \
    {                                                                                                       \
        if ((bits) > 5) {                                                                                   \
            unpack_int16(p, &unpacked_##name, block0, n_blocks, s);                                         \
            return;                                                                                         \
        }                                                                                                   \
        unpack_bytes(p, &unpacked_##name, (scales) == 2 ? 32 : 16, block0, n_blocks, s);                    \
        factors(s, padded_rows(p) / HALF, (scales)*n_blocks, (has_offset) ? (scales)*n_blocks : 0);         \
    }                                                                                                       \
    void fkv_panel_##name##_avx2(const struct fkv_panel *p)                                                 \
    {                                                                                                       \
        const struct format f = {unpack_##name,                                                             \
                                 (bits) > 5      ? tile_int16                                               \
                                 : (scales) == 2 ? ((has_offset) ? tile_zero_32_offset : tile_zero_32)      \
                                 : (has_offset)  ? tile_zero_16_offset                                      \
                                                 : tile_zero_16,                                             \
                                 sizeof(struct fkv_block_##name), values};                                  \
        ((bits) > 5 ? run_panel16 : run_panel8)(p, &f);                                                     \
    }
#include "simd/unpacked.def"
