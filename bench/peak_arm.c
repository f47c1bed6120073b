/* Peak probes for aarch64: sixteen independent sums. In assembly, so that this file needs no level's flags; a probe
   runs only where its level is there. */
#include "bench.h"

enum { PASSES = 2000, SUMS = 16 };

#define SIXTEEN(a, b)                                                                                            \
    a "0" b a "1" b a "2" b a "3" b a "4" b a "5" b a "6" b a "7" b a "8" b a "9" b a "10" b a "11" b a "12" b a \
      "13" b a "14" b a "15" b
#define PROBE(name, extension, instruction, operands)                                                                  \
    static void name(void)                                                                                             \
    {                                                                                                                  \
        long n = PASSES;                                                                                               \
        __asm__ volatile(extension                                                                                     \
                             SIXTEEN("movi v", ".16b, #0\n\t") "movi v16.16b, #0\n\tmovi v17.16b, #0\n1:\n\t" SIXTEEN( \
                                 instruction " v", operands "\n\t") "subs %0, %0, #1\n\tb.ne 1b"                       \
                         : "+r"(n)                                                                                     \
                         :                                                                                             \
                         : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12",      \
                           "v13", "v14", "v15", "v16", "v17");                                                         \
    }
PROBE(run_fmla, "", "fmla", ".4s, v16.4s, v17.4s")
PROBE(run_smlal, "", "smlal", ".4s, v16.4h, v17.4h")
PROBE(run_sdot, ".arch armv8.2-a+dotprod\n\t", "sdot", ".4s, v16.16b, v17.16b")
PROBE(run_bfmmla, ".arch armv8.2-a+bf16\n\t", "bfmmla", ".4s, v16.8h, v17.8h")
PROBE(run_smmla, ".arch armv8.2-a+dotprod+i8mm\n\t", "smmla", ".4s, v16.16b, v17.16b")

#define OPERATIONS(per_instruction) ((double)PASSES * SUMS * (per_instruction))

const struct peak bench_peaks[] = {
    {"reference", PEAK_F32, "fmla 4s", OPERATIONS(8), run_fmla},
    {"reference", PEAK_HALF, "fmla 4s", OPERATIONS(8), run_fmla},
    {"i8mm", PEAK_HALF, "bfmmla 4s", OPERATIONS(32), run_bfmmla},
    {"reference", PEAK_INT8, "smlal 4s", OPERATIONS(8), run_smlal},
    {"dotprod", PEAK_INT8, "sdot 4s", OPERATIONS(32), run_sdot},
    {"i8mm", PEAK_INT8, "smmla 4s", OPERATIONS(64), run_smmla},
    {0},
};
