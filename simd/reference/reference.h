/* reference.h: the kernels in plain C. They define correct; every other level is compared with them. */
#ifndef FKV_SIMD_REFERENCE_REFERENCE_H
#define FKV_SIMD_REFERENCE_REFERENCE_H

#include "simd/simd.h"

#define KERNEL(result, name, args) result fkv_##name##_reference args;
#include "simd/kernels.def"
#undef KERNEL

/* Channels of the widest head, entries of a tile: one cache tile as floats. */
typedef float fkv_k_floats[FKV_MAX_HEAD][FKV_TILE];
typedef float fkv_v_floats[FKV_TILE][FKV_MAX_HEAD];

/* Tile number `tile` of a head's K as floats, channels 0 .. d - 1. */
void fkv_expand_k(const void *tiles, int type, int d, int tile, fkv_k_floats out);
void fkv_expand_v(const void *tiles, int type, int d, int tile, fkv_v_floats out);

/* logits[j] = sum over c of q[c] k[c][j], in order of c, for the entries of a tile. */
void fkv_dot_tile(const float *q, int d, fkv_k_floats k, float logits[FKV_TILE]);

#endif
