/* Peak probes for x86-64: twelve independent sums, enough to cover the latency of two instructions a cycle. In
   assembly, so that this file needs no level's flags; a probe runs only where its level is there. */
#include "bench.h"

enum { PASSES = 2000, SUMS = 12 };

#define SIX(text, a, b, c, d, e, f) text a "\n\t" text b "\n\t" text c "\n\t" text d "\n\t" text e "\n\t" text f "\n\t"
#define TWICE(text) text text
#define TWELVE(text) SIX(text, "0", "1", "2", "3", "4", "5") SIX(text, "6", "7", "8", "9", "10", "11")

/* Every register used is cleared first: what it held might be denormal. */
#define PROBE(name, clear, instruction, end)                                                                     \
    static void name(void)                                                                                       \
    {                                                                                                            \
        long n = PASSES;                                                                                         \
        __asm__ volatile(TWELVE(clear) clear "12\n\t" clear                                                      \
                                             "13\n1:\n\t" TWELVE(instruction) "dec %0\n\tjnz 1b\n\t" end         \
                         : "+r"(n)                                                                               \
                         :                                                                                       \
                         : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
                           "xmm10", "xmm11", "xmm12", "xmm13");                                                  \
    }
#define CLEAR_XMM "subps %%xmm15, %%xmm15\n\tmovaps %%xmm15, %%xmm"
#define CLEAR_YMM "vxorps %%xmm15, %%xmm15, %%xmm15\n\tvmovaps %%ymm15, %%ymm"
#define CLEAR_ZMM "vxorps %%xmm15, %%xmm15, %%xmm15\n\tvmovaps %%zmm15, %%zmm"

PROBE(run_mulps, CLEAR_XMM, "mulps %%xmm12, %%xmm", "")
PROBE(run_pmaddwd, CLEAR_XMM, "pmaddwd %%xmm12, %%xmm", "")
PROBE(run_fma_ymm, CLEAR_YMM, "vfmadd231ps %%ymm12, %%ymm13, %%ymm", "vzeroupper")
PROBE(run_maddubs_ymm, CLEAR_YMM, "vpmaddubsw %%ymm12, %%ymm13, %%ymm", "vzeroupper")
PROBE(run_fma_zmm, CLEAR_ZMM, "vfmadd231ps %%zmm12, %%zmm13, %%zmm", "vzeroupper")
PROBE(run_maddubs_zmm, CLEAR_ZMM, "vpmaddubsw %%zmm12, %%zmm13, %%zmm", "vzeroupper")
PROBE(run_dpbusd, CLEAR_ZMM, "vpdpbusd %%zmm12, %%zmm13, %%zmm", "vzeroupper")
PROBE(run_dpbf16, CLEAR_ZMM, "vdpbf16ps %%zmm12, %%zmm13, %%zmm", "vzeroupper")

/* Six sums of the eight tiles; the instruction takes 16 cycles and its result 52. All tiles are 16 rows of 64 bytes. */
static void run_tdpbf16(void)
{
    static const uint8_t config[64] =
        {[0] = 1,   [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64, [26] = 64, [28] = 64, [30] = 64,
         [48] = 16, [49] = 16, [50] = 16, [51] = 16, [52] = 16, [53] = 16, [54] = 16, [55] = 16};
    long n = PASSES;
    __asm__ volatile(
        "ldtilecfg %1\n1:\n\t" /* which clears the tiles */
        TWICE(SIX("tdpbf16ps %%tmm6, %%tmm7, %%tmm", "0", "1", "2", "3", "4", "5")) "dec %0\n\tjnz 1b\n\ttilerelease"
        : "+r"(n)
        : "m"(config)
        : "cc");
}

#define OPERATIONS(per_instruction) ((double)PASSES * SUMS * (per_instruction))

/* SSE has no multiply-and-add of floats: mulps counts alone, the additions go to another port. */
const struct peak bench_peaks[] = {
    {"reference", PEAK_F32, "mulps xmm (x 2)", OPERATIONS(8), run_mulps},
    {"avx2", PEAK_F32, "vfmadd231ps ymm", OPERATIONS(16), run_fma_ymm},
    {"avx512", PEAK_F32, "vfmadd231ps zmm", OPERATIONS(32), run_fma_zmm},
    {"reference", PEAK_HALF, "mulps xmm (x 2)", OPERATIONS(8), run_mulps},
    {"avx2", PEAK_HALF, "vfmadd231ps ymm", OPERATIONS(16), run_fma_ymm},
    {"avx512", PEAK_HALF, "vfmadd231ps zmm", OPERATIONS(32), run_fma_zmm},
    {"avx512bf16", PEAK_HALF, "vdpbf16ps zmm", OPERATIONS(64), run_dpbf16},
    {"amx", PEAK_HALF, "tdpbf16ps", OPERATIONS(16384), run_tdpbf16},
    {"reference", PEAK_INT8, "pmaddwd xmm", OPERATIONS(16), run_pmaddwd},
    {"avx2", PEAK_INT8, "vpmaddubsw ymm", OPERATIONS(64), run_maddubs_ymm},
    {"avx512", PEAK_INT8, "vpmaddubsw zmm", OPERATIONS(128), run_maddubs_zmm},
    {"avx512vnni", PEAK_INT8, "vpdpbusd zmm", OPERATIONS(128), run_dpbusd},
    {"amx", PEAK_INT8, "tdpbf16ps", OPERATIONS(16384), run_tdpbf16}, /* what quantised weights become, see simd/amx */
    {0},
};
