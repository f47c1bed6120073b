/* Attention by bf16 products: K, V, queries and weights in bf16, sums in fp32. fp32 tiles are the check path: fp32
   throughout. */
#include "simd/avx512/attend_cells.h"
#include "simd/avx512/avx512.h"
#include "simd/avx512bf16/avx512bf16.h"
#include "simd/avx512bf16/cells_bf16.h"

TILE_FUNCTIONS(multiply_cells, &cells_bf16, load_cell)
TILE_FUNCTIONS(multiply_f16, &cells_bf16, load_f16_pairs)

/* f16 is converted in flight for one group, and once for several. */
static tile_function *const *multiply_stored(const struct fkv_attend *a, int type)
{
    const bool one_group = a->n_rows <= MOST_ROWS;
    return type == FKV_ELEM_BF16 ? multiply_cells : type == FKV_ELEM_F16 && one_group ? multiply_f16 : NULL;
}

static void attend(const struct fkv_attend *a)
{
    attend_by_cells(&cells_bf16, multiply_cells, multiply_stored(a, a->k_type), multiply_stored(a, a->v_type), a);
}

void fkv_attend_avx512bf16(const struct fkv_attend *a)
{
    if (a->k_type == FKV_ELEM_F32 || a->v_type == FKV_ELEM_F32)
        fkv_attend_avx512(a);
    else
        fkv_attend_by_places(attend, a);
}
