/* wide.h: attention's scratch has places of 256 channels for FKV_ATTEND_ROWS rows. A head of more takes two a row, and
   a call half as many rows. */
#ifndef FKV_SIMD_WIDE_H
#define FKV_SIMD_WIDE_H

#include "simd/simd.h"

enum { FKV_PLACE = 256 };
_Static_assert(FKV_MAX_HEAD <= 2 * FKV_PLACE, "a row takes two places at most");

static inline int fkv_places(int d) { return d > FKV_PLACE ? 2 : 1; }

/* Calls it for as many rows at a time as there are places for. */
static inline void fkv_attend_by_places(void (*call)(const struct fkv_attend *), const struct fkv_attend *a)
{
    const int most = FKV_ATTEND_ROWS / fkv_places(a->d);
    for (int row = 0; row < a->n_rows; row += most) {
        struct fkv_attend part = *a;
        part.q += (size_t)row * a->ldq;
        part.out += (size_t)row * a->ldo;
        part.n_keys += row;
        if (a->first_keys) part.first_keys += row;
        part.max += row;
        part.sum += row;
        part.n_rows = a->n_rows - row < most ? a->n_rows - row : most;
        call(&part);
    }
}

#endif
