#include "simd/level.h"
#include "simd/reference/reference.h"

void fkv_fill_reference(struct fkv_kernels *k)
{
#define KERNEL(result, name, args) k->name = fkv_##name##_reference;
#include "simd/kernels.def"
#undef KERNEL
    k->kv_elem = FKV_ELEM_F16;
    k->panel_rows = FKV_PANEL_ROWS;
    k->attend_rows = 96;
    k->batch_invariant = true;
}
