/* The AVX-512 levels, and AMX above them, without AVX-512: all their files once more, over SIMDe and plain C (simde/,
   amx_model.c). A library of its own whose other names are hidden: they are those of the levels. */
#include "simd/level.h"
#include "twins.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT void fkv_fill_avx512_simde(struct fkv_kernels *k) { fkv_fill_avx512(k); }

EXPORT void fkv_fill_avx512vnni_simde(struct fkv_kernels *k)
{
    fkv_fill_avx512(k);
    fkv_fill_avx512vnni(k);
}

EXPORT void fkv_fill_avx512bf16_simde(struct fkv_kernels *k)
{
    fkv_fill_avx512vnni_simde(k);
    fkv_fill_avx512bf16(k);
}

EXPORT void fkv_fill_amx_simde(struct fkv_kernels *k)
{
    fkv_fill_avx512bf16_simde(k);
    fkv_fill_amx(k);
}
