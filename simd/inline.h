/* inline.h: functions that take other functions, or structures of them, as constants: they cost nothing if all of it is
   inlined. */
#ifndef FKV_SIMD_INLINE_H
#define FKV_SIMD_INLINE_H

#define INLINE static inline __attribute__((always_inline))

#endif
