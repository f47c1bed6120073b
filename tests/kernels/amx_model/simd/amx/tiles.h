/* tiles.h: in place of the level's, which are instructions: tiles in memory (../../../../amx_model.c). */
#ifndef FKV_AMX_TILES_H
#define FKV_AMX_TILES_H

#include <immintrin.h>

void amx_model_configure(const void *config);
void amx_model_release(void);
void amx_model_zero(int tile);
void amx_model_load(int tile, const void *from, size_t stride);
void amx_model_store(int tile, void *to, size_t stride);
void amx_model_dot_bf16(int sums, int a, int b);

#define TILES_CONFIGURE(config) amx_model_configure(config)
#define TILES_RELEASE() amx_model_release()
#define TILE_ZERO(tile) amx_model_zero(tile)
#define TILE_LOAD(tile, from, stride) amx_model_load(tile, from, stride)
#define TILE_STORE(tile, to, stride) amx_model_store(tile, to, stride)
#define TILE_DOT_BF16(sums, a, b) amx_model_dot_bf16(sums, a, b)
#define TILE_PAUSE() (void)0

#endif
