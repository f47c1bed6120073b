/* The AMX level: tiles in the processor's own registers. */
#include <immintrin.h>

#include "simd/level.h"

#define TILES_CONFIGURE(config) _tile_loadconfig(config)
#define TILES_RELEASE() _tile_release()
#define TILE_ZERO(tile) _tile_zero(tile)
/* gcc 12's _tile_loadd does not say that it reads memory, so that stores might be put off until after it. */
#define TILE_LOAD(tile, from, stride)      \
    do {                                   \
        __asm__ volatile("" ::: "memory"); \
        _tile_loadd(tile, from, stride);   \
    } while (0)
#define TILE_STORE(tile, to, stride) _tile_stored(tile, to, stride)
#define TILE_DOT_BF16(sums, a, b) _tile_dpbf16ps(sums, a, b)
#define TILE_PAUSE() __asm__ volatile(".rept 12\n\tnop\n\t.endr")
#define FILL fkv_fill_amx
#include "simd/amx/amx.inc"
