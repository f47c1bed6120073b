/* Panels of the types of unpacked.def. Those of a scale per 32 values are exact; of those of a scale per 16, values are
   rounded to bytes with one scale per 32, as in Q6_K (panel_k.c). */
#include "simd/avx512vnni/unpack.h"
#include "simd/types/all.h"

enum { LANES = 16 };

/* Values and scales of the 32s b and b + 1 of 16 rows. */
static uint32_t store_two(struct panel8 *o, int b, int half, const struct unpacked32 *const u[LANES], int next)
{
    __m512i v[LANES];
    float scale[2][LANES], offset[2][LANES];
    for (int i = 0; i < LANES; i++) {
        const struct unpacked32 *two[2] = {u[i], u[i] + next};
        const __m512i q = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)two[0]->q)),
                                             _mm256_loadu_si256((const __m256i *)two[1]->q), 1);
        v[i] = _mm512_xor_si512(q, _mm512_set1_epi8((char)0x80));
        for (int j = 0; j < 2; j++) {
            scale[j][i] = two[j]->scale[0];
            offset[j][i] = two[j]->offset[0];
        }
    }
    store_values(o, 32 * b, half, v);
    uint32_t broken = 0;
    for (int j = 0; j < 2; j++) {
        const __m512 constant = _mm512_loadu_ps(offset[j]);
        _mm512_store_ps(o->constant[b + j] + LANES * half, constant);
        broken |= store_scales(o, b + j, half, _mm512_loadu_ps(scale[j]));
        broken |= (uint32_t)_mm512_fpclass_ps_mask(constant, 0x99) << LANES * half;
    }
    return broken;
}

/* An odd last 32 is stored twice, the second time past the chunk's end. */
static uint32_t unpack_rows(const struct unpacked_type *t, const uint8_t *const row[FKV_PANEL_ROWS], int k,
                            struct panel8 *o)
{
    uint32_t broken = 0;
    for (int half = 0; half < 2; half++)
        for (int b = 0; b < k / 32; b += 8) {
            struct unpacked32 u[LANES][8];
            const int n = k / 32 - b < 8 ? k / 32 - b : 8;
            for (int i = 0; i < LANES; i++)
                for (int j = 0; j < n; j++) {
                    if (j % t->parts == 0)
                        t->unpack(row[LANES * half + i] + (size_t)((b + j) / t->parts) * t->bytes, u[i] + j);
                    if (t->scales == 2) one_scale(u[i] + j);
                }
            for (int j = 0; j < n; j += 2) {
                const struct unpacked32 *at[LANES];
                for (int i = 0; i < LANES; i++) at[i] = u[i] + j;
                broken |= store_two(o, b + j, half, at, j + 1 < n);
            }
        }
    return broken;
}

#define UNPACKED(NAME, name, values, bits, scales, has_offset)                                                     \
    static uint32_t unpack_##name(const uint8_t *const row[FKV_PANEL_ROWS], int k, void *panel)                    \
    {                                                                                                              \
        return unpack_rows(&unpacked_##name, row, k, panel);                                                       \
    }                                                                                                              \
    void fkv_panel_##name##_avx512vnni(const struct fkv_panel *p)                                                  \
    {                                                                                                              \
        const struct panel_plan plan = {X8_CHUNK, X8_CHUNK / (values) * sizeof(struct fkv_block_##name), X8_GROUP, \
                                        unpack_##name,                                                             \
                                        (has_offset) && (scales) == 1 ? fkv_x8_tile_constant_avx512vnni            \
                                                                      : fkv_x8_tile_avx512vnni};                   \
        fkv_panel_run_avx512(p, &plan);                                                                            \
    }
#include "simd/unpacked.def"
