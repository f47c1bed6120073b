/* support.h: what the kernel checks share: memory between unreadable pages, random numbers, and the checks'
   prototypes. */
#ifndef FKV_TESTS_KERNELS_SUPPORT_H
#define FKV_TESTS_KERNELS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "simd/simd.h"
#include "tests/kernels/error_sum.h"

/* One check per slot: `level` against fp64 or, where the result is exact, against `reference`, the plain-C level. */
typedef void check_fn(const struct fkv_kernels *level, const struct fkv_kernels *reference);
#define KERNEL(result, name, args) check_fn check_##name;
#include "simd/kernels.def"
#undef KERNEL

/* Memory that ends at an unreadable page (or starts behind one), filled with 0xcd. 64-byte aligned if it starts behind
   one or bytes divides by 64. The slack on the other side is watched. Lives until guarded_release(). */
enum guard_side { GUARD_AFTER, GUARD_BEFORE };
void *guarded(size_t bytes, enum guard_side side);
static inline float *guarded_floats(size_t n, enum guard_side side) { return guarded(n * sizeof(float), side); }
/* Fails the test when somebody wrote into the slack of any. */
void guarded_release(void);
/* The same without looking: after a test that failed half-way. */
void guarded_forget(void);

/* Whether a float still is as guarded() left it. */
static inline bool is_untouched(float x) { return fkv_bits_from_f32(x) == 0xcdcdcdcdu; }
void assert_same_floats(const float *a, const float *b, size_t n, const char *what);

void random_restart(uint64_t seed); /* any number */
uint32_t random_u32(void);
int random_int(int n);      /* 0 .. n - 1 */
float random_uniform(void); /* 0 < x < 1 */
float random_normal(void);

#endif
