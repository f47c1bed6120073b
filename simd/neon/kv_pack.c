/* kv_pack: rows of floats into cache tiles. A row is rounded to halves by vectors, then its values are spread: pairs of
   channels in K, single values in V. The other types take the plain-C path: a cache of floats is for checking, and that
   of q8_0 is bound by its scales. */
#include "simd/neon/neon.h"
#include "simd/reference/reference.h"

/* Round to nearest even; a NaN stays one. */
INLINE uint16x4_t narrow_bf16(float32x4_t x)
{
    const uint32x4_t u = vreinterpretq_u32_f32(x), odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    const uint16x4_t rounded = vaddhn_u32(u, vaddq_u32(odd, vdupq_n_u32(0x7fff))),
                     quiet = vorr_u16(vshrn_n_u32(u, 16), vdup_n_u16(0x40));
    return vbsl_u16(vmovn_u32(vceqq_f32(x, x)), rounded, quiet);
}

INLINE uint16x4_t narrow_f16(float32x4_t x) { return vreinterpret_u16_f16(vcvt_f16_f32(x)); }

/* d values of x, then zeros up to dp. */
static void round_row(const float *x, int d, int type, uint16_t *out)
{
    const int dp = fkv_padded_head(d);
    for (int c = 0; c < dp; c += 4) {
        const float32x4_t v = c < d ? load_first(x + c, d - c) : vdupq_n_f32(0);
        vst1_u16(out + c, type == FKV_ELEM_F16 ? narrow_f16(v) : narrow_bf16(v));
    }
}

static void pack_halves(const struct fkv_kv_rows *r, const float *x, int type, bool is_v, void *tiles)
{
    static const float zeros[FKV_MAX_HEAD];
    const int end = r->first + r->n, padded_end = (end + FKV_TILE - 1) / FKV_TILE * FKV_TILE,
              dp = fkv_padded_head(r->d);
    uint16_t row[FKV_MAX_HEAD];
    for (int e = r->first; e < padded_end; e++) {
        uint16_t *tile = (uint16_t *)((char *)tiles + (size_t)(e / FKV_TILE) * fkv_tile_bytes(type, r->d));
        round_row(e < end ? x + (size_t)(e - r->first) * r->ld : zeros, r->d, type, row);
        if (is_v)
            for (int c = 0; c < dp; c++) tile[fkv_v_index(e % FKV_TILE, c)] = row[c];
        else
            for (int c = 0; c < dp; c += 2) memcpy(tile + fkv_k_index(e % FKV_TILE, c), row + c, 4);
    }
}

static bool is_half(int type) { return type == FKV_ELEM_F16 || type == FKV_ELEM_BF16; }

void fkv_kv_pack_neon(const struct fkv_kv_rows *r)
{
    if (r->n == 0) return;
    struct fkv_kv_rows rest = *r;
    if (r->k && is_half(r->k_type)) {
        pack_halves(r, r->k, r->k_type, false, r->k_tiles);
        rest.k = NULL;
    }
    if (r->v && is_half(r->v_type)) {
        pack_halves(r, r->v, r->v_type, true, r->v_tiles);
        rest.v = NULL;
    }
    if (rest.k || rest.v) fkv_kv_pack_reference(&rest);
}
