/* AMX with its tiles in memory and plain C for its instructions: what the manual says of tileloadd, tilestored and
   tdpbf16ps, with its order of the sums (even k, odd k) and its zeros for subnormals. Where the processor would raise a
   fault, this aborts. */
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "simd/amx/tiles.h"
#include "simd/blocks.h"

struct tile_register {
    uint8_t rows, row_bytes; /* nothing until configured */
    _Alignas(64) uint8_t data[16][64];
};
static _Thread_local struct tile_register tiles[8];

static void must(bool condition)
{
    if (!condition) abort();
}

void amx_model_configure(const void *config)
{
    uint8_t c[64];
    memcpy(c, config, sizeof c);
    must(c[0] == 1 && c[1] == 0);
    for (int t = 0; t < 8; t++) tiles[t] = (struct tile_register){.rows = c[48 + t], .row_bytes = c[16 + 2 * t]};
}

void amx_model_release(void) { memset(tiles, 0, sizeof tiles); }

static struct tile_register *configured(int tile)
{
    must(tiles[tile].rows > 0);
    return &tiles[tile];
}

void amx_model_zero(int tile) { memset(configured(tile)->data, 0, sizeof tiles[tile].data); }

void amx_model_load(int tile, const void *from, size_t stride)
{
    struct tile_register *t = configured(tile);
    memset(t->data, 0, sizeof t->data);
    for (int r = 0; r < t->rows; r++) memcpy(t->data[r], (const char *)from + (size_t)r * stride, t->row_bytes);
}

void amx_model_store(int tile, void *to, size_t stride)
{
    const struct tile_register *t = configured(tile);
    for (int r = 0; r < t->rows; r++) memcpy((char *)to + (size_t)r * stride, t->data[r], t->row_bytes);
}

static float normal(float x) { return fabsf(x) < FLT_MIN ? copysignf(0, x) : x; }
static float value(fkv_bf16 x) { return normal(fkv_f32_from_bf16(x)); }

void amx_model_dot_bf16(int sums, int a, int b)
{
    struct tile_register *c = configured(sums);
    const int pairs = configured(a)->row_bytes / 4;
    must(configured(b)->rows == pairs && tiles[b].row_bytes == c->row_bytes && tiles[a].rows == c->rows);
    fkv_bf16 w[16][16][2], x[2];
    memcpy(w, tiles[b].data, sizeof w);
    for (int row = 0; row < c->rows; row++) {
        float even[16] = {0}, odd[16] = {0}, sum[16];
        for (int pair = 0; pair < pairs; pair++) {
            memcpy(x, tiles[a].data[row] + 4 * pair, sizeof x);
            for (int n = 0; n < 16; n++) {
                even[n] = normal(even[n] + value(x[0]) * value(w[pair][n][0]));
                odd[n] = normal(odd[n] + value(x[1]) * value(w[pair][n][1]));
            }
        }
        memcpy(sum, c->data[row], sizeof sum);
        for (int n = 0; n < c->row_bytes / 4; n++) sum[n] = normal(normal(sum[n]) + normal(even[n] + odd[n]));
        memcpy(c->data[row], sum, sizeof sum);
    }
}
