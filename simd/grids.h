/* grids.h: the values that codes of the IQ types and of MXFP4 stand for: facts of the file format. */
#ifndef FKV_SIMD_GRIDS_H
#define FKV_SIMD_GRIDS_H

#include <stdint.h>

extern const int8_t fkv_iq4_values[16];   /* a nibble's in IQ4_NL and IQ4_XS */
extern const int8_t fkv_mxfp4_values[16]; /* a nibble's in MXFP4, doubled */

/* Four magnitudes a point, the first in the lowest byte. */
extern const uint32_t fkv_grid_iq3_xxs[256], fkv_grid_iq3_s[512];

/* Eight values a point, two bits each, the first in the lowest: what 0, 1 and 2 of them are, the types say. */
extern const uint16_t fkv_grid_iq2_xxs[256], fkv_grid_iq2_xs[512], fkv_grid_iq2_s[1024], fkv_grid_iq1[2048];

/* Eight signs, a bit each, of the seven that are stored: an even number of values is negative. */
static inline uint8_t fkv_eight_signs(uint32_t seven)
{
    const uint32_t folded = seven ^ seven >> 4, odd = 0x6996u >> (folded & 15) & 1;
    return (uint8_t)(seven | odd << 7);
}

#endif
