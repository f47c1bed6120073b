/* products.h: the float products of the AVX-512 level. */
#ifndef FKV_AVX512_PRODUCTS_H
#define FKV_AVX512_PRODUCTS_H

#include "simd/simd.h"

size_t fkv_x16_bytes_avx512(int m, int k);
void fkv_x16_pack_avx512(const float *x, size_t ldx, int m, int k, int row0, int row1, void *packed);

void fkv_panel_f32_avx512(const struct fkv_panel *p);
void fkv_panel_f16_avx512(const struct fkv_panel *p);
void fkv_panel_bf16_avx512(const struct fkv_panel *p);

void fkv_matvec_f32_avx512(const void *w, size_t w_stride, int n, int k, const void *v, float *y);
void fkv_matvec_f16_avx512(const void *w, size_t w_stride, int n, int k, const void *v, float *y);
void fkv_matvec_bf16_avx512(const void *w, size_t w_stride, int n, int k, const void *v, float *y);

#endif
