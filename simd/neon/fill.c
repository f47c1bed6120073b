#include "simd/neon/neon.h"

void fkv_fill_neon(struct fkv_kernels *k)
{
#define KERNEL(result, name, args) k->name = fkv_##name##_neon;
#include "simd/kernels.def"
#undef KERNEL
    k->kv_elem = FKV_ELEM_F16;
    k->batch_invariant = true;
}
