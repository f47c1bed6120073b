/* random.h: the numbers that make samples: xoshiro256** (Blackman, Vigna) seeded by splitmix64. The same seed, task,
   length and index give the same sample on every machine. */
#ifndef FKV_EVAL_RANDOM_H
#define FKV_EVAL_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct eval_random {
    uint64_t s[4];
};

void eval_random_start(struct eval_random *random, uint64_t seed);
uint64_t eval_random_next(struct eval_random *random);
/* A whole number in [0, n), all equally likely; n > 0. */
size_t eval_random_below(struct eval_random *random, size_t n);
/* order: [n] 0 .. n - 1 in random order. */
void eval_random_order(struct eval_random *random, int *order, int n);

#endif
