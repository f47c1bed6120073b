/* The KV cache's tiles: rows of floats into them, and whole tiles back to floats. */
#include "simd/reference/reference.h"

#include <math.h>

static int min_int(int a, int b) { return a < b ? a : b; }

typedef size_t index_fn(int entry, int channel);

static void *tile_at(const void *tiles, int type, int d, int tile)
{
    return (char *)tiles + tile * fkv_tile_bytes(type, d);
}

/* q8_0: the 32 channels of one entry that share a scale, n of them from x and the rest zero. */
static void pack_q8_0(const float *x, int n, int dp, int entry, int channel, index_fn *index, char *tile)
{
    float largest = 0;
    for (int c = 0; c < n; c++) largest = fmaxf(largest, fabsf(x[c]));
    const fkv_f16 stored = fkv_f16_from_f32(fminf(largest / 127, 65504));
    const float scale = fkv_f32_from_f16(stored);
    fkv_f16 *scales = (fkv_f16 *)tile;
    int8_t *values = (int8_t *)(tile + (size_t)dp * sizeof *scales);
    scales[channel / 32 * FKV_TILE + entry] = stored;
    for (int c = 0; c < 32; c++) {
        const float q = c < n && scale > 0 ? rintf(x[c] / scale) : 0;
        values[index(entry, channel + c)] = (int8_t)fmaxf(-127, fminf(127, q));
    }
}

static void pack_entry(const float *x, int d, int type, int entry, index_fn *index, void *tile)
{
    const int dp = fkv_padded_head(d);
    if (type == FKV_ELEM_Q8_0) {
        for (int c = 0; c < dp; c += 32) pack_q8_0(x + c, min_int(32, d - c), dp, entry, c, index, tile);
        return;
    }
    for (int c = 0; c < dp; c++) {
        const float value = c < d ? x[c] : 0;
        const size_t at = index(entry, c);
        if (type == FKV_ELEM_F32)
            ((float *)tile)[at] = value;
        else if (type == FKV_ELEM_F16)
            ((fkv_f16 *)tile)[at] = fkv_f16_from_f32(value);
        else
            ((fkv_bf16 *)tile)[at] = fkv_bf16_from_f32(value);
    }
}

static void pack_rows(const struct fkv_kv_rows *r, const float *x, int type, index_fn *index, void *tiles)
{
    static const float zeros[FKV_MAX_HEAD];
    const int end = r->first + r->n, padded_end = (end + FKV_TILE - 1) / FKV_TILE * FKV_TILE;
    for (int e = r->first; e < padded_end; e++)
        pack_entry(e < end ? x + (e - r->first) * r->ld : zeros, r->d, type, e % FKV_TILE, index,
                   tile_at(tiles, type, r->d, e / FKV_TILE));
}

void fkv_kv_pack_reference(const struct fkv_kv_rows *r)
{
    if (r->n == 0) return;
    if (r->k) pack_rows(r, r->k, r->k_type, fkv_k_index, r->k_tiles);
    if (r->v) pack_rows(r, r->v, r->v_type, fkv_v_index, r->v_tiles);
}

static float load(const char *tile, int type, int dp, int entry, int channel, size_t at)
{
    if (type == FKV_ELEM_F32) return ((const float *)tile)[at];
    if (type == FKV_ELEM_F16) return fkv_f32_from_f16(((const fkv_f16 *)tile)[at]);
    if (type == FKV_ELEM_BF16) return fkv_f32_from_bf16(((const fkv_bf16 *)tile)[at]);
    const fkv_f16 *scales = (const fkv_f16 *)tile;
    const int8_t *values = (const int8_t *)(tile + (size_t)dp * FKV_TILE / 32 * sizeof *scales);
    return fkv_f32_from_f16(scales[channel / 32 * FKV_TILE + entry]) * (float)values[at];
}

void fkv_expand_k(const void *tiles, int type, int d, int tile, fkv_k_floats out)
{
    const char *from = tile_at(tiles, type, d, tile);
    for (int c = 0; c < d; c++)
        for (int e = 0; e < FKV_TILE; e++) out[c][e] = load(from, type, fkv_padded_head(d), e, c, fkv_k_index(e, c));
}

void fkv_expand_v(const void *tiles, int type, int d, int tile, fkv_v_floats out)
{
    const char *from = tile_at(tiles, type, d, tile);
    for (int e = 0; e < FKV_TILE; e++)
        for (int c = 0; c < d; c++) out[e][c] = load(from, type, fkv_padded_head(d), e, c, fkv_v_index(e, c));
}
