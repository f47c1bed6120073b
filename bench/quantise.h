/* quantise.h: plain quantisers, to make weights for measuring: nearest values, no search for better scales. */
#ifndef FKV_BENCH_QUANTISE_H
#define FKV_BENCH_QUANTISE_H

#include <stdint.h>

/* One block of a type that has fast products (enum fkv_type): its block_elements values at x, to its block_bytes at
   block. */
void bench_quantise_block(uint32_t type, const float *x, void *block);

#endif
