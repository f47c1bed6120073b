/* Checks of the KV cache's tiles. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tiles.h"

static enum guard_side side_of(int i) { return i % 2 ? GUARD_BEFORE : GUARD_AFTER; }

static void check_q8_0_group(const float *x, const float *stored, int n)
{
    double largest = 0, scale = 0;
    for (int c = 0; c < n; c++) largest = fmax(largest, fabs((double)x[c]));
    scale = largest / 127;
    /* the scale rounds to half precision: 2^-11, or 2^-25 below its normal range; then half a step */
    const double off = scale * 0x1p-11 + 0x1p-25, bound = 0.505 * (scale + off) + 127 * off;
    for (int c = 0; c < n; c++)
        if (fabs((double)(stored[c] - x[c])) > bound)
            fail_msg("q8_0: %g stored as %g, largest %g", x[c], stored[c], largest);
}

static void check_stored(const float *x, int type, const float *stored, int d)
{
    if (type == FKV_ELEM_Q8_0) {
        for (int c = 0; c < d; c += 32) check_q8_0_group(x + c, stored + c, d - c < 32 ? d - c : 32);
        return;
    }
    for (int c = 0; c < d; c++) {
        const float wanted = type == FKV_ELEM_F32   ? x[c]
                             : type == FKV_ELEM_F16 ? fkv_f32_from_f16(fkv_f16_from_f32(x[c]))
                                                    : fkv_f32_from_bf16(fkv_bf16_from_f32(x[c]));
        const bool flushed = type == FKV_ELEM_BF16 && stored[c] == 0 &&
                             fabsf(wanted) <= 0x1p-126f; /* the instruction does that */
        if (stored[c] != wanted && !flushed) fail_msg("type %d: %.9g stored as %.9g", type, x[c], stored[c]);
    }
}

static float make_value(int e)
{
    const float scales[] = {1, 1e-3f, 3e4f, 1e-7f, 0, 1e-41f, 1, 1};
    return scales[e % 8] * fmaxf(-2, fminf(2, random_normal()));
}

/* One of K and V after kv_pack: entries 0 .. first - 1 as before, then n from x, then zeros up to the tile's end. */
static void check_packed(const char *tiles, const char *before, int type, bool is_v, int d, int first, int n,
                         const float *x, size_t ld)
{
    const int dp = fkv_padded_head(d), end = (first + n + FKV_TILE - 1) / FKV_TILE * FKV_TILE;
    float stored[FKV_MAX_HEAD];
    for (int e = 0; e < end; e++) {
        for (int c = 0; c < dp; c++) stored[c] = tiles_value(tiles, type, is_v, d, e, c);
        if (e < first) {
            for (int c = 0; c < dp; c++) {
                const float old = tiles_value(before, type, is_v, d, e, c);
                assert_memory_equal(&stored[c], &old, sizeof old);
            }
            continue;
        }
        if (e < first + n) check_stored(x + (e - first) * ld, type, stored, d);
        for (int c = e < first + n ? d : 0; c < dp; c++) assert_true(stored[c] == 0);
    }
}

static void check_pack_case(const struct fkv_kernels *level, int k_type, int v_type, int d, int first, int n)
{
    const size_t ld = d + n % 4, k_bytes = tiles_bytes(k_type, d, first + n),
                 v_bytes = tiles_bytes(v_type, d, first + n);
    float *k = guarded_floats(n ? (n - 1) * ld + d : 0, side_of(first)),
          *v = guarded_floats(n ? (n - 1) * ld + d : 0, side_of(n));
    for (int e = 0; e < n; e++)
        for (int c = 0; c < d; c++) {
            k[e * ld + c] = make_value(e);
            v[e * ld + c] = make_value(e + 1);
        }
    char *k_tiles = guarded(k_bytes, GUARD_AFTER), *v_tiles = guarded(v_bytes, GUARD_AFTER),
         *k_before = malloc(k_bytes + 1), *v_before = malloc(v_bytes + 1);
    memcpy(k_before, k_tiles, k_bytes);
    memcpy(v_before, v_tiles, v_bytes);
    const struct fkv_kv_rows r = {.k = k,
                                  .v = v,
                                  .ld = ld,
                                  .n = n,
                                  .d = d,
                                  .first = first,
                                  .k_tiles = k_tiles,
                                  .v_tiles = v_tiles,
                                  .k_type = k_type,
                                  .v_type = v_type};
    level->kv_pack(&r);
    if (n > 0) {
        check_packed(k_tiles, k_before, k_type, false, d, first, n, k, ld);
        check_packed(v_tiles, v_before, v_type, true, d, first, n, v, ld);
    } else {
        assert_memory_equal(k_tiles, k_before, k_bytes);
    }
    /* The same rows one by one, K and V apart: the same bytes. */
    char *again = guarded(k_bytes, GUARD_AFTER);
    memcpy(again, k_before, k_bytes);
    for (int e = 0; e < n; e++)
        level->kv_pack(&(struct fkv_kv_rows){
            .k = k + e * ld, .ld = ld, .n = 1, .d = d, .first = first + e, .k_tiles = again, .k_type = k_type});
    assert_memory_equal(again, k_tiles, k_bytes);
    again = guarded(v_bytes, GUARD_AFTER);
    memcpy(again, v_before, v_bytes);
    level->kv_pack(
        &(struct fkv_kv_rows){.v = v, .ld = ld, .n = n, .d = d, .first = first, .v_tiles = again, .v_type = v_type});
    assert_memory_equal(again, v_tiles, v_bytes);
    free(k_before);
    free(v_before);
    guarded_release();
}

void check_kv_pack(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    const int heads[] = {32, 64, 80, 2, 34, 128, 256, 96, 320, 512};
    for (int types = 0; types < 16; types++) {
        for (int n = 0; n <= 65; n += 1 + n % 4) check_pack_case(level, types / 4, types % 4, 32, n * 11 % 70, n);
        for (int i = 0; i < 10; i++) check_pack_case(level, types / 4, types % 4, heads[i], 31, 34);
    }
    for (int type = 0; type < 4; type++)
        for (int first = 0; first <= 33; first++) check_pack_case(level, type, type, 80, first, 1 + first % 3);
}
