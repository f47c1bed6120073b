/* What the processor has. Compiled without any level's flags; the built-in also asks whether the system saves the
   registers. */
#define _DEFAULT_SOURCE /* syscall */
#include "simd/level.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

bool fkv_has_reference(void) { return true; }

/* F16C is older than AVX2 and in every processor that has it; clang 14 does not know its name here. */
bool fkv_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

/* The built-in of gcc 12 and clang 14 does not know it. */
bool fkv_has_avxvnni(void)
{
    unsigned a = 0, b, c, d;
    return fkv_has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && a & 1u << 4;
}

bool fkv_has_avx512(void)
{
    return fkv_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512cd");
}

bool fkv_has_avx512vnni(void)
{
    return fkv_has_avx512() && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
}

bool fkv_has_avx512bf16(void) { return fkv_has_avx512vnni() && __builtin_cpu_supports("avx512bf16"); }

/* The tiles' registers are 8 KiB a thread: Linux saves them only for processes that asked (arch_prctl(2), from 5.16
   on). The permission holds for all threads. */
static bool may_use_tiles(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

bool fkv_has_amx(void)
{
    enum { BF16 = 1 << 22, TILES = 1 << 24 };
    unsigned a, b, c, d = 0;
    return fkv_has_avx512bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && d & BF16 && d & TILES && may_use_tiles();
}
