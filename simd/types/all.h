/* all.h: every type of unpacked.def, and how a stored block of it becomes 32 values after the other, for panels. */
#ifndef FKV_SIMD_TYPES_ALL_H
#define FKV_SIMD_TYPES_ALL_H

#include <math.h>

#include "simd/types/iq3_s.h"
#include "simd/types/iq3_xxs.h"
#include "simd/types/iq4_nl.h"
#include "simd/types/iq4_xs.h"
#include "simd/types/mxfp4.h"
#include "simd/types/q2_k.h"
#include "simd/types/q3_k.h"
#include "simd/types/q5_1.h"

/* w = scale q + offset, each half of 16 with its own. */
struct unpacked32 {
    int8_t q[32];
    float scale[2], offset[2];
};

/* parts: 32s of a block, 1 or 8. */
struct unpacked_type {
    size_t bytes;
    int parts, bits, scales;
    bool has_offset;
    void (*unpack)(const uint8_t *block, struct unpacked32 *o);
};

typedef void scales_fn(const uint8_t *block, struct block_scales *s);
typedef struct bytes32 unpack_fn(const uint8_t *block, const struct block_scales *s, int j);

INLINE void unpack_block(scales_fn *scales, unpack_fn *values, int parts, int n_scales, bool has_offset,
                         const uint8_t *block, struct unpacked32 *o)
{
    struct block_scales s;
    scales(block, &s);
#pragma GCC unroll 8
    for (int j = 0; j < parts; j++, o++) {
        const struct bytes32 v = values(block, &s, j);
        memcpy(o->q, &v.low, 16);
        memcpy(o->q + 16, &v.high, 16);
        for (int h = 0; h < 2; h++) {
            const int i = n_scales * j + (n_scales == 2 ? h : 0);
            o->scale[h] = parts == 1 ? s.d : s.d * (float)s.scale[i];
            o->offset[h] = !has_offset ? 0 : parts == 1 ? s.offset : s.offset * (float)s.minimum[i];
        }
    }
}

#define UNPACKED(NAME, name, values, bits, scales, has_offset)                                   \
    static inline void unpack_block_##name(const uint8_t *block, struct unpacked32 *o)           \
    {                                                                                            \
        unpack_block(scales_##name, values_##name, (values) / 32, scales, has_offset, block, o); \
    }                                                                                            \
    static const struct unpacked_type unpacked_##name =                                          \
        {sizeof(struct fkv_block_##name), (values) / 32, bits, scales, has_offset, unpack_block_##name};
#include "simd/unpacked.def"

/* Rounds to bytes of one scale and without offset, where there are two scales: half a step of the largest at most. */
static inline void one_scale(struct unpacked32 *u)
{
    float w[32], top = 0, broken = 0; /* or NaN, where a scale is not finite */
    for (int i = 0; i < 32; i++) {
        w[i] = u->scale[i / 16] * (float)u->q[i] + u->offset[i / 16];
        top = fmaxf(top, fabsf(w[i]));
        broken += 0 * w[i];
    }
    const float by = top > 0x1p-100f && broken == 0 ? 127 / top : 0;
    for (int i = 0; i < 32; i++) u->q[i] = (int8_t)(by > 0 ? lrintf(w[i] * by) : 0);
    u->scale[0] = u->scale[1] = top / 127 + broken;
    u->offset[0] = u->offset[1] = 0;
}

#endif
