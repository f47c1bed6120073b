/* Prefill products with block-quantised weights: Y = X W^T by exact integer dots per block, scaled and added in fp32 in
   the order of k.

   A panel is unpacked to signed bytes by chunks of 512 k (16 KiB and its scales), which all rows of X then use from L1.
   All values fit a signed byte once the zero point is off, so no start values are needed. A scale is multiplied with
   that of X's block and enters by one fmla. Weight rows past n repeat the last one; they and rows of X past m are not
   stored.

   All is exact but Q6_K, which has a scale per 16 values: converting, scaling and adding sums of 16 would cost twice
   the products' own instructions (smmla 30 % of the inner loop, 45 % with a scale per 32). Its weights are rounded to
   one scale per 32 (weights.h). */
#include "simd/neon/quantised.h"
#include "simd/neon/weights.h"

enum { CHUNK_BLOCKS = 16, STRIPS = FKV_PANEL_ROWS / STRIP, GROUPS = FKV_BLOCK_ROWS / X_ROWS };
enum { MOST_BLOCK_BYTES = 4 * STEP_BYTES + PAIRS_SCALES * 4 };

struct panel_scratch {
    int8_t w[STRIPS][CHUNK_BLOCKS * MOST_BLOCK_BYTES]; /* quantised.h, enum layout */
    float offset[STRIPS][CHUNK_BLOCKS][STRIP];         /* what multiplies the sum of x */
    float sums[GROUPS][STRIPS][X_ROWS][STRIP];
};
_Static_assert(sizeof(struct panel_scratch) <= FKV_PANEL_SCRATCH, "panel scratch");

/* ---- unpacking: 4 weight rows of a block at a time ------------------------------------------- */

/* Where 4 rows of a block go. */
struct place {
    int8_t *block;
    enum layout layout;
    int quad; /* rows 4 quad .. 4 quad + 3 of the strip */
};

INLINE void store_scales(const struct place *to, float32x4_t scale)
{
    float *at = (float *)(to->block + 4 * STEP_BYTES) + (to->layout == PAIRS ? 8 : 4) * to->quad;
    if (to->layout == PAIRS) {
        vst1q_f32(at, low_halves(scale, scale));
        vst1q_f32(at + 4, high_halves(scale, scale));
    } else {
        vst1q_f32(at, scale);
    }
}

/* v[r]: row r's 16 values of steps `step` and `step` + 1. */
INLINE void store_values(const struct place *to, int step, const int8x16_t v[4])
{
    float32x4_t f[4]; /* moved, not computed with */
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) f[r] = vreinterpretq_f32_s8(v[r]);
    float *first = (float *)(to->block + step * STEP_BYTES), *second = (float *)(to->block + (step + 1) * STEP_BYTES);
    if (to->layout == PAIRS) {
        for (int i = 0; i < 2; i++) {
            vst1q_f32(first + 8 * to->quad + 4 * i, low_halves(f[2 * i], f[2 * i + 1]));
            vst1q_f32(second + 8 * to->quad + 4 * i, high_halves(f[2 * i], f[2 * i + 1]));
        }
    } else {
        transpose_4x4(f);
        for (int i = 0; i < 2; i++) {
            vst1q_f32(first + 8 * i + 4 * to->quad, f[i]);
            vst1q_f32(second + 8 * i + 4 * to->quad, f[2 + i]);
        }
    }
}

INLINE void store_block(const struct place *to, const struct bytes32 v[4])
{
    const int8x16_t low[4] = {v[0].low, v[1].low, v[2].low, v[3].low},
                    high[4] = {v[0].high, v[1].high, v[2].high, v[3].high};
    store_values(to, 0, low);
    store_values(to, 2, high);
}

INLINE float32x4_t four_halves(const uint8_t *const row[4], size_t at)
{
    uint16_t h[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) memcpy(&h[i], row[i] + at, sizeof h[i]);
    return load_4_f16(h);
}

typedef struct bytes32 values_fn(const uint8_t *block);
typedef struct bytes32 values_k_fn(const uint8_t *block, int j);

/* Block `at` bytes on: one scale d first; with an offset, m after it. */
INLINE void unpack_32(const uint8_t *const row[4], size_t at, struct place *to, values_fn *values, float *offset)
{
    struct bytes32 v[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) v[i] = values(row[i] + at);
    store_block(to, v);
    store_scales(to, four_halves(row, at));
    if (offset) vst1q_f32(offset + 4 * to->quad, four_halves(row, at + 2));
}

/* The eight blocks of a Q4_K or Q5_K block. */
INLINE void unpack_k(const uint8_t *const row[4], size_t at, struct place *to, size_t block_bytes, values_k_fn *values,
                     float (*offset)[STRIP])
{
    float32x4_t scale[2][4], minimum[2][4];
    for (int i = 0; i < 4; i++) {
        float32x4_t s[2], m[2];
        scales_q4_k(row[i] + at, s, m);
        scale[0][i] = s[0], scale[1][i] = s[1], minimum[0][i] = m[0], minimum[1][i] = m[1];
    }
    for (int h = 0; h < 2; h++) {
        transpose_4x4(scale[h]);
        transpose_4x4(minimum[h]);
    }
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++, to->block += block_bytes) {
        struct bytes32 v[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) v[i] = values(row[i] + at, j);
        store_block(to, v);
        store_scales(to, scale[j / 4][j % 4]);
        vst1q_f32(offset[j] + 4 * to->quad, minimum[j / 4][j % 4]);
    }
}

INLINE void unpack_q6_k(const uint8_t *const row[4], size_t at, struct place *to, size_t block_bytes)
{
    int16_t factor[4][16];
    float32x4_t scale[2][4];
    for (int i = 0; i < 4; i++) {
        float32x4_t s[2];
        scales_q6_k(row[i] + at, factor[i], s);
        scale[0][i] = s[0], scale[1][i] = s[1];
    }
    for (int h = 0; h < 2; h++) transpose_4x4(scale[h]);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++, to->block += block_bytes) {
        struct bytes32 v[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) v[i] = scaled_q6_k(row[i] + at, j, factor[i] + 2 * j);
        store_block(to, v);
        store_scales(to, scale[j / 4][j % 4]);
    }
}

/* unpacked.def. Where a scale serves 16 values, they are rounded to one per 32, as those of Q6_K. */
INLINE void unpack_block_of_4(const struct unpacked_type *t, const uint8_t *const row[4], size_t at, struct place *to,
                              size_t block_bytes, float (*offset)[STRIP])
{
    struct unpacked32 u[4][8];
    for (int i = 0; i < 4; i++) t->unpack(row[i] + at, u[i]);
    for (int j = 0; j < t->parts; j++, to->block += block_bytes) {
        struct bytes32 v[4];
        float scale[4], moved[4];
        for (int i = 0; i < 4; i++) {
            if (t->scales == 2) one_scale(&u[i][j]);
            v[i] = (struct bytes32){vld1q_s8(u[i][j].q), vld1q_s8(u[i][j].q + 16)};
            scale[i] = u[i][j].scale[0];
            moved[i] = u[i][j].offset[0];
        }
        store_block(to, v);
        store_scales(to, vld1q_f32(scale));
        vst1q_f32(offset[j] + 4 * to->quad, vld1q_f32(moved));
    }
}

/* ---- the formats ----------------------------------------------------------------------------- */

static const struct format {
    size_t bytes; /* of a stored block */
    int blocks;   /* of 32 values in it */
    bool has_offset;
} formats[FKV_TYPE_LIMIT] = {
    [FKV_TYPE_Q8_0] = {sizeof(struct fkv_block_q8_0), 1, false},
    [FKV_TYPE_Q4_0] = {sizeof(struct fkv_block_q4_0), 1, false},
    [FKV_TYPE_Q4_1] = {sizeof(struct fkv_block_q4_1), 1, true},
    [FKV_TYPE_Q5_0] = {sizeof(struct fkv_block_q5_0), 1, false},
    [FKV_TYPE_Q4_K] = {sizeof(struct fkv_block_q4_k), 8, true},
    [FKV_TYPE_Q5_K] = {sizeof(struct fkv_block_q5_k), 8, true},
    [FKV_TYPE_Q6_K] = {sizeof(struct fkv_block_q6_k), 8, false},
#define UNPACKED(NAME, name, values, bits, scales, has_offset) \
    [FKV_TYPE_##NAME] = {sizeof(struct fkv_block_##name), (values) / 32, (has_offset) && (scales) == 1},
#include "simd/unpacked.def"
};

/* Bytes of an unpacked block of 32. */
static size_t unpacked_bytes(enum layout layout)
{
    return 4 * STEP_BYTES + 4 * (layout == PAIRS ? PAIRS_SCALES : QUADS_SCALES);
}

static void unpack_stored(enum fkv_type type, const uint8_t *const row[4], size_t at, struct place *to,
                          size_t block_bytes, float (*offset)[STRIP])
{
    switch (type) {
    case FKV_TYPE_Q8_0: unpack_32(row, at, to, values_q8_0, NULL); break;
    case FKV_TYPE_Q4_0: unpack_32(row, at, to, values_q4_0, NULL); break;
    case FKV_TYPE_Q4_1: unpack_32(row, at, to, values_q4_1, offset[0]); break;
    case FKV_TYPE_Q5_0: unpack_32(row, at, to, values_q5_0, NULL); break;
    case FKV_TYPE_Q4_K: unpack_k(row, at, to, block_bytes, values_q4_k, offset); break;
    case FKV_TYPE_Q5_K: unpack_k(row, at, to, block_bytes, values_q5_k, offset); break;
#define UNPACKED(NAME, name, values, bits, scales, has_offset)                 \
    case FKV_TYPE_##NAME:                                                      \
        unpack_block_of_4(&unpacked_##name, row, at, to, block_bytes, offset); \
        break;
#include "simd/unpacked.def"
    default: unpack_q6_k(row, at, to, block_bytes);
    }
}

/* Blocks [block0, block0 + n_blocks) of 32 k of all the panel's rows. */
static void unpack_chunk(const struct fkv_panel *p, enum fkv_type type, enum layout layout, int block0, int n_blocks,
                         struct panel_scratch *s)
{
    const struct format *f = &formats[type];
    const size_t block_bytes = unpacked_bytes(layout);
    for (int first = 0; first < (p->n + STRIP - 1) / STRIP * STRIP; first += 4) {
        const uint8_t *row[4];
        for (int i = 0; i < 4; i++)
            row[i] = (const uint8_t *)p->w + (size_t)(first + i < p->n ? first + i : p->n - 1) * p->w_stride;
        for (int b = 0; b < n_blocks; b += f->blocks) {
            struct place to = {s->w[first / STRIP] + (size_t)b * block_bytes, layout, first % STRIP / 4};
            unpack_stored(type, row, (size_t)((block0 + b) / f->blocks) * f->bytes, &to, block_bytes,
                          s->offset[first / STRIP] + b);
        }
    }
}

/* ---- one panel ------------------------------------------------------------------------------- */

/* sums[6][8] += offsets times the sums of X's blocks. */
static void add_offsets(const float (*offset)[STRIP], const struct x_sums *x, int n_blocks, float *sums)
{
    float32x4_t a[X_ROWS][2];
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) a[i / 2][i % 2] = vld1q_f32(sums + 4 * i);
    for (int b = 0; b < n_blocks; b++) {
        const float32x4_t o[2] = {vld1q_f32(offset[b]), vld1q_f32(offset[b] + 4)}, low = vld1q_f32(x[b].sum);
        const float32x2_t high = vld1_f32(x[b].sum + 4);
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            a[0][j] = vfmaq_laneq_f32(a[0][j], o[j], low, 0);
            a[1][j] = vfmaq_laneq_f32(a[1][j], o[j], low, 1);
            a[2][j] = vfmaq_laneq_f32(a[2][j], o[j], low, 2);
            a[3][j] = vfmaq_laneq_f32(a[3][j], o[j], low, 3);
            a[4][j] = vfmaq_lane_f32(a[4][j], o[j], high, 0);
            a[5][j] = vfmaq_lane_f32(a[5][j], o[j], high, 1);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) vst1q_f32(sums + 4 * i, a[i / 2][i % 2]);
}

/* The next panel's lines of one chunk come in while this one's is multiplied: part `i` of `parts`, one weight row after
   the other. */
INLINE void prefetch_part(const struct fkv_panel *p, size_t offset, size_t bytes, int i, int parts)
{
    if (!p->prefetch) return;
    const int lines = p->n * (int)((bytes + 63) / 64);
    for (int line = lines * i / parts; line < lines * (i + 1) / parts; line++)
        __builtin_prefetch((const char *)p->prefetch + (size_t)(line % p->n) * p->w_stride + offset +
                               (size_t)(line / p->n) * 64,
                           0, 2);
}

static void store_rows(const struct fkv_panel *p, const struct panel_scratch *s)
{
    for (int row = 0; row < p->m; row++)
        for (int j = 0; j < p->n; j += STRIP)
            memcpy(p->y + (size_t)row * p->ldy + j, s->sums[row / X_ROWS][j / STRIP][row % X_ROWS],
                   (size_t)(p->n - j < STRIP ? p->n - j : STRIP) * 4);
}

void fkv_neon_panel(const struct fkv_panel *p, enum fkv_type type, const struct tile *tile)
{
    struct panel_scratch *s = p->scratch;
    const struct format *f = &formats[type];
    const int groups = x8_groups(p->m), blocks = p->k / 32, strips = (p->n + STRIP - 1) / STRIP;
    memset(s->sums, 0, (size_t)groups * sizeof s->sums[0]);
    for (int b = 0; b < blocks; b += CHUNK_BLOCKS) {
        const int n_blocks = blocks - b < CHUNK_BLOCKS ? blocks - b : CHUNK_BLOCKS;
        unpack_chunk(p, type, tile->layout, b, n_blocks, s);
        for (int g = 0; g < groups; g++) {
            const size_t at = (size_t)g * (size_t)blocks + (size_t)b;
            prefetch_part(p, (size_t)(b / f->blocks) * f->bytes, (size_t)(n_blocks / f->blocks) * f->bytes, g, groups);
            for (int i = 0; i < strips; i++) {
                tile->multiply(s->w[i], x8_blocks(p->x) + at, n_blocks, s->sums[g][i][0]);
                if (f->has_offset)
                    add_offsets((const float(*)[STRIP])s->offset[i], x8_sums(p->x, p->m, p->k) + at, n_blocks,
                                s->sums[g][i][0]);
            }
        }
    }
    store_rows(p, s);
}
