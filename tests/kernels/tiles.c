#include "tiles.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t tiles_bytes(int type, int d, int n) { return (size_t)((n + FKV_TILE - 1) / FKV_TILE) * fkv_tile_bytes(type, d); }

static char *tile_of(const void *tiles, int type, int d, int entry)
{
    return (char *)tiles + (size_t)(entry / FKV_TILE) * fkv_tile_bytes(type, d);
}

static size_t index_of(bool is_v, int entry, int channel)
{
    return is_v ? fkv_v_index(entry % FKV_TILE, channel) : fkv_k_index(entry % FKV_TILE, channel);
}

float tiles_value(const void *tiles, int type, bool is_v, int d, int entry, int channel)
{
    const char *tile = tile_of(tiles, type, d, entry);
    const size_t at = index_of(is_v, entry, channel);
    switch (type) {
    case FKV_ELEM_F32: return ((const float *)tile)[at];
    case FKV_ELEM_F16: return fkv_f32_from_f16(((const fkv_f16 *)tile)[at]);
    case FKV_ELEM_BF16: return fkv_f32_from_bf16(((const fkv_bf16 *)tile)[at]);
    default: {
        const fkv_f16 scale = ((const fkv_f16 *)tile)[channel / 32 * FKV_TILE + entry % FKV_TILE];
        return fkv_f32_from_f16(scale) * (float)((const int8_t *)tile)[2 * fkv_padded_head(d) + at];
    }
    }
}

/* q8_0: any scale will do, so this one is of the right size and random. */
static void store_scale(void *tiles, int d, int entry, int channel, float scale)
{
    fkv_f16 *scales = (fkv_f16 *)tile_of(tiles, FKV_ELEM_Q8_0, d, entry);
    scales[channel / 32 * FKV_TILE + entry % FKV_TILE] = fkv_f16_from_f32(scale * (0.5f + random_uniform()) / 64);
}

static void store_random(void *tiles, int type, bool is_v, int d, int entry, int channel, float scale)
{
    char *tile = tile_of(tiles, type, d, entry);
    const size_t at = index_of(is_v, entry, channel);
    const float x = scale * random_normal();
    if (type == FKV_ELEM_F32)
        ((float *)tile)[at] = x;
    else if (type == FKV_ELEM_F16)
        ((fkv_f16 *)tile)[at] = fkv_f16_from_f32(x);
    else if (type == FKV_ELEM_BF16)
        ((fkv_bf16 *)tile)[at] = fkv_bf16_from_f32(x);
    else {
        if (channel % 32 == 0) store_scale(tiles, d, entry, channel, scale);
        ((int8_t *)tile)[2 * fkv_padded_head(d) + at] = (int8_t)(random_int(255) - 127);
    }
}

struct tiles tiles_random(int type, bool is_v, int d, int n, float scale)
{
    const size_t bytes = tiles_bytes(type, d, n);
    struct tiles t = {guarded(bytes, GUARD_AFTER), malloc((size_t)n * d * sizeof(float) + 1)};
    assert_non_null(t.values);
    memset(t.tiles, 0, bytes);
    for (int e = 0; e < n; e++)
        for (int c = 0; c < d; c++) {
            store_random(t.tiles, type, is_v, d, e, c, scale);
            t.values[(size_t)e * d + c] = tiles_value(t.tiles, type, is_v, d, e, c);
        }
    return t;
}

void tiles_free(struct tiles *t) { free(t->values); }
