/* What the processor has. Compiled without any level's flags; the built-in also asks whether the system saves the registers. */
#include "simd/level.h"

#include <cpuid.h>

bool fkv_has_reference(void) { return true; }

/* F16C is older than AVX2 and in every processor that has it; clang 14 does not know its name here. */
bool fkv_has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"); }

/* The built-in of gcc 12 and clang 14 does not know it. */
bool fkv_has_avxvnni(void)
{
    unsigned a = 0, b, c, d;
    return fkv_has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && a & 1u << 4;
}

bool fkv_has_avx512(void)
{
    return fkv_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd");
}

bool fkv_has_avx512vnni(void) { return fkv_has_avx512() && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi"); }

bool fkv_has_avx512bf16(void) { return fkv_has_avx512vnni() && __builtin_cpu_supports("avx512bf16"); }
