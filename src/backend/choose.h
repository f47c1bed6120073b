/* choose.h: the choice of rows by their scores, on the host. */
#ifndef FKV_BACKEND_CHOOSE_H
#define FKV_BACKEND_CHOOSE_H

#include "simd/simd.h"

/* rows[cap]: the cap - w best of scores[n - w], the first `sinks` rows before all others, and the last w rows;
   ascending. Returns their number: n, all rows, when cap >= n. keys, copy: [n - w] scratch. */
int fkv_select_rows(const struct fkv_kernels *k, const float *scores, int n, int w, int cap, int sinks, uint32_t *keys,
                    float *copy, int32_t *rows);

#endif
