/* Attention in fp32: the check path of every AVX-512 machine, and all there is where bf16 products are missing. */
#include "simd/avx512/attend_cells.h"
#include "simd/avx512/avx512.h"
#include "simd/avx512/cells_f32.h"

TILE_FUNCTIONS(multiply_cells, &cells_f32, load_cell)

/* Even fp32 tiles are pairs: none is multiplied as stored. */
static void attend(const struct fkv_attend *a) { attend_by_cells(&cells_f32, multiply_cells, NULL, NULL, a); }

void fkv_attend_avx512(const struct fkv_attend *a) { fkv_attend_by_places(attend, a); }
