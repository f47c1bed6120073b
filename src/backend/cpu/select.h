/* select.h: which rows a head keeps (fastkv paper, section 3.3), from scores to an index list. */
#ifndef FKV_BACKEND_CPU_SELECT_H
#define FKV_BACKEND_CPU_SELECT_H

#include "simd/simd.h"

/* Of n rows, of which all but the last w have scores[n - w]: the cap - w best, ties to the lower row, and the window,
   ascending in rows[]. The first `sinks` rows are in front of the ranking: they take scored places. cap >= n keeps all.
   Returns the count. keys[n], copy[n]: scratch. w <= cap, sinks <= cap - w. */
int fkv_select_rows(const struct fkv_kernels *k, const float *scores, int n, int w, int cap, int sinks, uint32_t *keys,
                    float *copy, int32_t *rows);

#endif
