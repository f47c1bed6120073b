#include "simd/level.h"
#include "twins.h"

/* Where the levels themselves can be had, their twins say nothing more. */
static bool lacks_avx512(void) { return fkv_has_avx2() && !fkv_has_avx512(); }
static bool lacks_avx512vnni(void) { return fkv_has_avx2() && !fkv_has_avx512vnni(); }
static bool lacks_avx512bf16(void) { return fkv_has_avx2() && !fkv_has_avx512bf16(); }

const struct twin fkv_twins[] = {
    {"avxvnni_evex", "avx2", fkv_has_avx512vnni, fkv_fill_avxvnni_evex},
    {"avx512_simde", "avx2", lacks_avx512, fkv_fill_avx512_simde},
    {"avx512vnni_simde", "avx2", lacks_avx512vnni, fkv_fill_avx512vnni_simde},
    {"avx512bf16_simde", "avx2", lacks_avx512bf16, fkv_fill_avx512bf16_simde},
    {"amx_model", "avx512bf16", fkv_has_avx512bf16, fkv_fill_amx_model},
    {"amx_simde", "avx2", lacks_avx512bf16, fkv_fill_amx_simde},
};
const int fkv_n_twins = sizeof fkv_twins / sizeof *fkv_twins;
