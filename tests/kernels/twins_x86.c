#include "simd/level.h"
#include "twins.h"

const struct twin fkv_twins[] = {
    {"avxvnni_evex", "avx2", fkv_has_avx512vnni, fkv_fill_avxvnni_evex},
    {"amx_model", "avx512bf16", fkv_has_avx512bf16, fkv_fill_amx_model},
};
const int fkv_n_twins = sizeof fkv_twins / sizeof *fkv_twins;
