/* avx512.h: the kernels of the AVX-512 level that other files name (F, BW, VL, DQ, CD; no bf16, no VNNI). */
#ifndef FKV_AVX512_AVX512_H
#define FKV_AVX512_AVX512_H

#include "simd/simd.h"

void fkv_attend_avx512(const struct fkv_attend *a);
void fkv_kv_pack_avx512(const struct fkv_kv_rows *r);

void fkv_window_logits_avx512(const float *q, size_t ldq, int w, const void *k, int k_type, int d, int n, float scale,
                              float *logits, size_t ld);
void fkv_window_sums_avx512(float *logits, size_t ld, int w, int n, const int32_t *first, float sink, float *sums);
void fkv_pool_max_avx512(const float *x, int n, int kernel, float *y);
void fkv_pool_avg_avx512(const float *x, int n, int kernel, float *y);
void fkv_top_k_avx512(const float *x, int n, int k, uint32_t *keys, int32_t *indices);

void fkv_rms_norm_avx512(const float *x, const float *w, int n, float eps, float *y);
void fkv_rope_half_avx512(float *x, int heads, int d, int n_rot, const float *cos_sin);
void fkv_rope_pair_avx512(float *x, int heads, int d, int n_rot, const float *cos_sin);
void fkv_swiglu_avx512(const float *gate, const float *up, int n, float *y);
void fkv_add_avx512(const float *x, int n, float *y);

#endif
