#include "simd/avx512vnni/vnni.h"
#include "simd/level.h"

void fkv_fill_avx512vnni(struct fkv_kernels *k)
{
    k->x8_bytes = fkv_x8_bytes_avx512vnni;
    k->x8_pack = fkv_x8_pack_avx512vnni;
    k->v8_bytes = fkv_v8_bytes_avx512vnni;
    k->v8_pack = fkv_v8_pack_avx512vnni;
#define PRODUCTS(type)                               \
    k->panel_##type = fkv_panel_##type##_avx512vnni; \
    k->matvec_##type = fkv_matvec_##type##_avx512vnni;
    PRODUCTS(q8_0)
    PRODUCTS(q4_0)
    PRODUCTS(q4_1)
    PRODUCTS(q5_0)
    PRODUCTS(q4_k)
    PRODUCTS(q5_k)
    PRODUCTS(q6_k)
#undef PRODUCTS
}
