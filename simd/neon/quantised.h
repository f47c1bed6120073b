/* quantised.h: prefill products with block-quantised weights. Unpacking and the run over a panel are common to the ARM
   levels; a level brings the tile: 8 weight rows x 6 rows of X. */
#ifndef FKV_SIMD_NEON_QUANTISED_H
#define FKV_SIMD_NEON_QUANTISED_H

#include "simd/neon/activations.h"

enum { STRIP = 8, STEP_BYTES = 8 * STRIP }; /* weight rows of a tile; bytes of 8 k of them */

/* How 8 weight rows x 8 k lie in a step of 64 bytes, and the scales after the four steps that they serve (float):
   PAIRS: [4 pairs of rows][2 rows][8 k]; scales [4 pairs][s0, s1, s0, s1]. As smmla and smull take them.
   QUADS: [2 halves of 4 k][8 rows][4 k]; scales [8 rows]. As sdot takes them. */
enum layout { PAIRS, QUADS };
enum { PAIRS_SCALES = 16, QUADS_SCALES = 8 };

/* sums[6][8] += the scaled dots of n_blocks blocks of 32 k: w is [n_blocks][4 steps, scales]. x: one group's row of
   blocks. */
typedef void tile_fn(const int8_t *w, const struct x_block *x, int n_blocks, float *sums);

struct tile {
    enum layout layout;
    tile_fn *multiply;
};

/* The products of a level: fkv_panel_<format>_<level>() for all seven; of unpacked.def, one. */
#define QUANTISED_PANELS(level, tile)                                                                  \
    void fkv_panel_q8_0_##level(const struct fkv_panel *p) { fkv_neon_panel(p, FKV_TYPE_Q8_0, tile); } \
    void fkv_panel_q4_0_##level(const struct fkv_panel *p) { fkv_neon_panel(p, FKV_TYPE_Q4_0, tile); } \
    void fkv_panel_q4_1_##level(const struct fkv_panel *p) { fkv_neon_panel(p, FKV_TYPE_Q4_1, tile); } \
    void fkv_panel_q5_0_##level(const struct fkv_panel *p) { fkv_neon_panel(p, FKV_TYPE_Q5_0, tile); } \
    void fkv_panel_q4_k_##level(const struct fkv_panel *p) { fkv_neon_panel(p, FKV_TYPE_Q4_K, tile); } \
    void fkv_panel_q5_k_##level(const struct fkv_panel *p) { fkv_neon_panel(p, FKV_TYPE_Q5_K, tile); } \
    void fkv_panel_q6_k_##level(const struct fkv_panel *p) { fkv_neon_panel(p, FKV_TYPE_Q6_K, tile); }
#define UNPACKED_PANEL(level, tile, NAME, name) \
    void fkv_panel_##name##_##level(const struct fkv_panel *p) { fkv_neon_panel(p, FKV_TYPE_##NAME, tile); }
void fkv_neon_panel(const struct fkv_panel *p, enum fkv_type type, const struct tile *tile);

#endif
