/* tiles.h: the instructions on tiles of registers, which go by numbers written in the source. Alone in its file so that
   the level's twins can take a model of them (tests/kernels/amx_model).

   Pauses. In a virtual machine whose cores are shared, tile instructions that follow each other closely become slow for
   seconds or minutes at a time, most likely while another machine uses the core's other hardware thread: four loads and
   four products, 29 ns as a rule, take 115, but 77 with 12 no-operations after each, which cost nothing otherwise
   (Emerald Rapids). */
#ifndef FKV_AMX_TILES_H
#define FKV_AMX_TILES_H

#include <immintrin.h>

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

#endif
