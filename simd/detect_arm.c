/* What the processor has, as the kernel says. Compiled for the base: Armv8.0. */
#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "simd/level.h"

bool fkv_has_reference(void) { return true; }

bool fkv_has_neon(void) { return getauxval(AT_HWCAP) & HWCAP_ASIMD; }

bool fkv_has_dotprod(void)
{
    const unsigned long needed = HWCAP_ASIMD | HWCAP_ASIMDDP | HWCAP_FPHP | HWCAP_ASIMDHP | HWCAP_ATOMICS |
                                 HWCAP_CRC32 | HWCAP_ASIMDRDM;
    return (getauxval(AT_HWCAP) & needed) == needed; /* all that the level's -march lets the compiler use */
}

bool fkv_has_i8mm(void)
{
    const unsigned long needed = HWCAP2_I8MM | HWCAP2_BF16;
    return fkv_has_dotprod() && (getauxval(AT_HWCAP2) & needed) == needed;
}
