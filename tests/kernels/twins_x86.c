#include "simd/level.h"
#include "twins.h"

const struct twin fkv_twins[] = {
    {"avxvnni_evex", "avx2", fkv_has_avx512vnni, fkv_fill_avxvnni_evex},
};
const int fkv_n_twins = sizeof fkv_twins / sizeof *fkv_twins;
