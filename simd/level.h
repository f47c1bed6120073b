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

#endif
