/* tiles.h: cache tiles made and read in the test's own plain way, by the index formulas of simd.h. */
#ifndef FKV_TESTS_KERNELS_TILES_H
#define FKV_TESTS_KERNELS_TILES_H

#include "support.h"

struct tiles {
    void *tiles;   /* guarded: the last tile ends at an unreadable page; entries from n on are zero */
    float *values; /* [n][d] what is stored */
};

/* n entries of random numbers. */
struct tiles tiles_random(int type, bool is_v, int d, int n, float scale);
void tiles_free(struct tiles *t);
/* The stored value of one channel of one entry. */
float tiles_value(const void *tiles, int type, bool is_v, int d, int entry, int channel);
size_t tiles_bytes(int type, int d, int n);

#endif
