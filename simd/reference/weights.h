/* weights.h: stored blocks of every quantised type as one common form of 32 values. */
#ifndef FKV_SIMD_REFERENCE_WEIGHTS_H
#define FKV_SIMD_REFERENCE_WEIGHTS_H

#include "simd/blocks.h"

/* w[i] = scale[i / 16] q[i] + offset, and of the second 16 values + more. q fits 8 bits; it is 16 wide because
   compilers know a 16-bit multiply-add. */
struct fkv_weights32 {
    int16_t q[32];
    float scale[2], offset, more;
};

/* Values 32 i .. 32 i + 31 of a row of stored blocks. */
void fkv_unpack_q8_0(const void *row, int i, struct fkv_weights32 *w);
void fkv_unpack_q4_0(const void *row, int i, struct fkv_weights32 *w);
void fkv_unpack_q4_1(const void *row, int i, struct fkv_weights32 *w);
void fkv_unpack_q5_0(const void *row, int i, struct fkv_weights32 *w);
void fkv_unpack_q4_k(const void *row, int i, struct fkv_weights32 *w);
void fkv_unpack_q5_k(const void *row, int i, struct fkv_weights32 *w);
void fkv_unpack_q6_k(const void *row, int i, struct fkv_weights32 *w);
#define UNPACKED(NAME, name, values, bits, scales, has_offset) \
    void fkv_unpack_##name(const void *row, int i, struct fkv_weights32 *w);
#include "simd/unpacked.def"

#endif
