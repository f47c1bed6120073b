/* AVX-VNNI in another encoding (evex/): all the level's files once more, in a library of its own, whose other names are
   hidden: they are those of the level. */
#include "simd/level.h"
#include "twins.h"

__attribute__((visibility("default"))) void fkv_fill_avxvnni_evex(struct fkv_kernels *k) { fkv_fill_avxvnni(k); }
