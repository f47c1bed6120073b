/* unguarded LEVEL: runs a product of a level without asking whether the processor has it: 0, or an illegal instruction
   where it has not. */
#include <stdio.h>
#include <string.h>

#include "simd/level.h"

enum { K = 256 };

int main(int argc, char **argv)
{
    static struct fkv_kernels k;
    static _Alignas(64) char w[4 * K], x[16 * K], packed[64 * K], scratch[FKV_PANEL_SCRATCH];
    static float y[FKV_PANEL_ROWS];
    const char *level = argc > 1 ? argv[1] : "";
    fkv_fill_neon(&k);
    if (strcmp(level, "dotprod") == 0)
        fkv_fill_dotprod(&k);
    else if (strcmp(level, "i8mm") == 0)
        fkv_fill_i8mm(&k);
    else if (strcmp(level, "neon") != 0)
        return fprintf(stderr, "usage: unguarded neon|dotprod|i8mm\n"), 2;
    k.x8_pack((const float *)x, K, 1, K, 0, 1, packed);
    k.panel_q8_0(&(struct fkv_panel){.w = w,
                                     .w_stride = sizeof w,
                                     .n = 1,
                                     .k = K,
                                     .x = packed,
                                     .ldx = K,
                                     .m = 1,
                                     .y = y,
                                     .ldy = 1,
                                     .scratch = scratch});
    return 0;
}
