/* level.h: what a level's files share with the dispatcher. the table in simd/meson.build has one row per level. */
#ifndef FKV_SIMD_LEVEL_H
#define FKV_SIMD_LEVEL_H

#include "simd/simd.h"

/* Every level defines fkv_fill_<level>(k): overwrite the slots it has. Called after the levels it builds on.
   Every level's need is tested by fkv_has_<level>() in detect_<cpu>.c, compiled without the level's flags. */
#define LEVEL(name)                              \
    void fkv_fill_##name(struct fkv_kernels *k); \
    bool fkv_has_##name(void);
#include "levels.inc"
#undef LEVEL

/* Kernels that go over the weights once per vector take a few rows at a time, which stay in the first cache: so memory
   gives each weight once. `few` multiplies the rows it is given by all vectors. */
static inline void fkv_matvec_by_few(const struct fkv_matvec *p, void (*few)(const struct fkv_matvec *p))
{
    const int fit = p->w_stride < 5 << 10 ? (int)((20 << 10) / p->w_stride) : 4, rows = p->m == 1 ? p->n : fit;
    for (int i = 0; i < p->n; i += rows) {
        struct fkv_matvec part = *p;
        part.w = fkv_matvec_row(p, i);
        part.n = p->n - i < rows ? p->n - i : rows;
        part.y += i;
        few(&part);
    }
}

#endif
