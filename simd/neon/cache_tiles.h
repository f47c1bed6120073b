/* cache_tiles.h: tiles of the cache (simd.h, "the KV cache's tiles") as floats in strips of 16 columns, for tile_f32.h.

   A tile is "pairs x 32 x 2": rows of K are channels and its columns entries, rows of V are entries and its columns
   channels. ld2 takes the two of a pair apart: strips[32 / 16][rows][16]. */
#ifndef FKV_SIMD_NEON_CACHE_TILES_H
#define FKV_SIMD_NEON_CACHE_TILES_H

#include "simd/neon/tile_f32.h"

/* 8 columns of a pair of rows. */
struct pair_8 {
    float32x4_t row[2][2];
};

INLINE struct pair_8 load_pair(int type, const char *p)
{
    if (type == FKV_ELEM_F32) {
        const float32x4x2_t a = vld2q_f32((const float *)p), b = vld2q_f32((const float *)p + 8);
        return (struct pair_8){{{a.val[0], b.val[0]}, {a.val[1], b.val[1]}}};
    }
    struct pair_8 out;
    if (type == FKV_ELEM_Q8_0) {
        const int8x8x2_t a = vld2_s8((const int8_t *)p);
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            const int16x8_t wide = vmovl_s8(a.val[i]);
            out.row[i][0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
            out.row[i][1] = vcvtq_f32_s32(vmovl_high_s16(wide));
        }
        return out;
    }
    const uint16x8x2_t a = vld2q_u16((const uint16_t *)p);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const uint16x4_t low = vget_low_u16(a.val[i]), high = vget_high_u16(a.val[i]);
        out.row[i][0] = type == FKV_ELEM_F16 ? widen_f16(low) : widen_bf16(low);
        out.row[i][1] = type == FKV_ELEM_F16 ? widen_f16(high) : widen_bf16(high);
    }
    return out;
}

static inline size_t value_bytes(int type) { return type == FKV_ELEM_F32 ? 4 : type == FKV_ELEM_Q8_0 ? 1 : 2; }

/* Rows 0 .. n_rows - 1 (even) of 32 columns; strip i starts at strips + i * strip_rows. row_scale[n_rows],
   column_scale[32]: of q8_0, one of them or the other. */
INLINE void widen_as(int type, const char *from, int n_rows, const float *row_scale, const float *column_scale,
                     float (*strips)[COLUMNS], size_t strip_rows)
{
    for (int row = 0; row < n_rows; row += 2, from += 64 * value_bytes(type))
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            struct pair_8 p = load_pair(type, from + 16 * (size_t)i * value_bytes(type));
#pragma GCC unroll 2
            for (int r = 0; r < 2; r++)
#pragma GCC unroll 2
                for (int h = 0; h < 2; h++) {
                    if (row_scale) p.row[r][h] = vmulq_n_f32(p.row[r][h], row_scale[row + r]);
                    if (column_scale) p.row[r][h] = vmulq_f32(p.row[r][h], vld1q_f32(column_scale + 8 * i + 4 * h));
                    vst1q_f32(&strips[(size_t)(i / 2) * strip_rows + (size_t)(row + r)][8 * (i % 2) + 4 * h],
                              p.row[r][h]);
                }
        }
}

static inline void widen_float(int type, const char *from, int n_rows, float (*strips)[COLUMNS], size_t strip_rows)
{
    if (type == FKV_ELEM_F16)
        widen_as(FKV_ELEM_F16, from, n_rows, NULL, NULL, strips, strip_rows);
    else if (type == FKV_ELEM_BF16)
        widen_as(FKV_ELEM_BF16, from, n_rows, NULL, NULL, strips, strip_rows);
    else
        widen_as(FKV_ELEM_F32, from, n_rows, NULL, NULL, strips, strip_rows);
}

static inline void load_scales(const char *from, float scale[FKV_TILE])
{
    for (int i = 0; i < FKV_TILE; i += 4) vst1q_f32(scale + i, load_4_f16(from + 2 * i));
}

/* A tile of K: strips[2][FKV_MAX_HEAD][16], rows are channels. The padding past d is not needed. */
static inline void widen_k(int type, const char *tile, int d, float strips[2][FKV_MAX_HEAD][COLUMNS])
{
    if (type != FKV_ELEM_Q8_0) {
        widen_float(type, tile, d, strips[0], FKV_MAX_HEAD);
        return;
    }
    const int dp = fkv_padded_head(d);
    for (int c = 0; c < dp; c += 32) { /* 32 scales of halves per 32 channels, then all values */
        float scale[FKV_TILE];
        load_scales(tile + 2 * c, scale);
        widen_as(FKV_ELEM_Q8_0, tile + 2 * dp + (size_t)c * FKV_TILE, 32, NULL, scale, &strips[0][c], FKV_MAX_HEAD);
    }
}

/* Channels c .. c + 31 of a tile of V: strips[2][32][16], rows are entries. */
static inline void widen_v(int type, const char *tile, int d, int c, float strips[2][FKV_TILE][COLUMNS])
{
    if (type != FKV_ELEM_Q8_0) {
        widen_float(type, tile + (size_t)c * FKV_TILE * value_bytes(type), FKV_TILE, strips[0], FKV_TILE);
        return;
    }
    float scale[FKV_TILE];
    load_scales(tile + 2 * c, scale);
    widen_as(FKV_ELEM_Q8_0, tile + 2 * fkv_padded_head(d) + (size_t)c * FKV_TILE, FKV_TILE, scale, NULL, strips[0],
             FKV_TILE);
}

#endif
