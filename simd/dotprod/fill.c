#include "simd/dotprod/dotprod.h"

void fkv_fill_dotprod(struct fkv_kernels *k)
{
#define USE(name) k->name = fkv_##name##_dotprod
    USE(panel_q8_0);
    USE(panel_q4_0);
    USE(panel_q4_1);
    USE(panel_q5_0);
    USE(panel_q4_k);
    USE(panel_q5_k);
    USE(panel_q6_k);
    USE(matvec_q8_0);
    USE(matvec_q4_0);
    USE(matvec_q4_1);
    USE(matvec_q5_0);
    USE(matvec_q4_k);
    USE(matvec_q5_k);
    USE(matvec_q6_k);
#define UNPACKED(NAME, name, values, bits, scales, has_offset) \
    USE(panel_##name);                                         \
    USE(matvec_##name);
#include "simd/unpacked.def"
#undef USE
}
