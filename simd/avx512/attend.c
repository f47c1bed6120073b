/* Attention in fp32: the check path of every AVX-512 machine, and all there is where bf16 products are missing. */
#include "simd/avx512/cells_f32.h"
#include "simd/avx512/exponential.h"
#include "simd/avx512/avx512.h"
#include "simd/avx512/tile.inc"

enum { GROUP_ROWS = MOST_ROWS, GROUP_STEP = 1 };

/* Even fp32 tiles are pairs. */
static tile_function *const *multiply_stored(int type, bool shared)
{
    (void)type;
    (void)shared;
    return NULL;
}

static bool is_stored(int type, bool shared) { return multiply_stored(type, shared); }

static void pack_query(const float *q, int d, float scale, uint32_t *row)
{
    float *words = (float *)row;
    for (int i = 0; i < d; i++) words[i] = q[i] * scale;
    for (int i = d; i < fkv_padded_head(d); i++) words[i] = 0;
}

static inline __m512 weight(__m512 x) { return exp2_precise(x); }

static inline void store_weights(float *s, int j, __m512 a, __m512 b)
{
    _mm512_store_ps(s + j, a);
    _mm512_store_ps(s + j + 16, b);
}

#include "simd/avx512/attend_cells.inc"

void fkv_attend_avx512(const struct fkv_attend *a) { fkv_attend_by_places(attend, a); }
