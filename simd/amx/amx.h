/* amx.h: prototypes of the AMX level, and how it configures the tiles. */
#ifndef FKV_AMX_AMX_H
#define FKV_AMX_AMX_H

#include "simd/amx/tiles.h"
#include "simd/level.h"

#define KERNEL(result, name, args) result fkv_##name##_amx args;
#include "simd/kernels.def"
#undef KERNEL

enum { TILE_BYTES = 1024 };

struct tiles_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
/* All eight are 16 rows of 64 bytes. */
static const struct tiles_config whole_tiles = {.palette = 1,
                                                .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                                .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

#endif
