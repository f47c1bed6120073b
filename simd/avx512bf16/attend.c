/* Attention by bf16 products: K, V, queries and weights in bf16, sums in fp32. fp32 tiles are the check path: fp32
   throughout. */
#include <immintrin.h>

#include "simd/avx512/avx512.h"
#include "simd/avx512bf16/avx512bf16.h"
#include "simd/avx512bf16/cells_bf16.h"

static inline __m512 multiply_add(__m512 sum, __m512i cell, __m512i row)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)cell, (__m512bh)row);
}

#include "simd/avx512/tile.inc"

TILE_FUNCTIONS(multiply_f16, load_f16_pairs)

enum { GROUP_ROWS = MOST_ROWS, GROUP_STEP = 1 };

/* f16 is converted in flight for one group, and once for several. */
static tile_function *const *multiply_stored(int type, bool shared)
{
    return type == FKV_ELEM_BF16 ? multiply_cells : type == FKV_ELEM_F16 && !shared ? multiply_f16 : NULL;
}

static bool is_stored(int type, bool shared) { return multiply_stored(type, shared); }

#include "simd/avx512/attend_cells.inc"

void fkv_attend_avx512bf16(const struct fkv_attend *a)
{
    if (a->k_type == FKV_ELEM_F32 || a->v_type == FKV_ELEM_F32)
        fkv_attend_avx512(a);
    else
        fkv_attend_by_places(attend, a);
}
