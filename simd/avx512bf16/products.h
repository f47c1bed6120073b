/* products.h: the bf16 products. */
#ifndef FKV_AVX512BF16_PRODUCTS_H
#define FKV_AVX512BF16_PRODUCTS_H

#include "simd/avx512/panel.h"

size_t fkv_x16_bytes_avx512bf16(int m, int k);
void fkv_x16_pack_avx512bf16(const float *x, size_t ldx, int m, int k, int row0, int row1, void *packed);
void fkv_panel_f16_avx512bf16(const struct fkv_panel *p);
void fkv_panel_bf16_avx512bf16(const struct fkv_panel *p);

#endif
