/* twins.h: levels as machines without them can run them. A twin is a level's own source over other instructions, or
   over plain C that models them, so that everything but the instructions themselves is checked. Never part of the
   library. */
#ifndef FKV_TESTS_KERNELS_TWINS_H
#define FKV_TESTS_KERNELS_TWINS_H

#include "simd/simd.h"

struct twin {
    const char *name;
    const char *base; /* the level whose table it fills anew: the one below the level it is a twin of */
    bool (*has)(void);
    void (*fill)(struct fkv_kernels *k);
};

extern const struct twin fkv_twins[];
extern const int fkv_n_twins;

void fkv_fill_avxvnni_evex(struct fkv_kernels *k);
void fkv_fill_amx_model(struct fkv_kernels *k);
void fkv_fill_avx512_simde(struct fkv_kernels *k);
void fkv_fill_avx512vnni_simde(struct fkv_kernels *k);
void fkv_fill_avx512bf16_simde(struct fkv_kernels *k);
void fkv_fill_amx_simde(struct fkv_kernels *k);

#endif
