#include "eval/random.h"

void eval_random_start(struct eval_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        random->s[i] = z ^ (z >> 31);
    }
}

static uint64_t rotate(uint64_t x, int k) { return x << k | x >> (64 - k); }

uint64_t eval_random_next(struct eval_random *random)
{
    uint64_t *s = random->s;
    const uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

size_t eval_random_below(struct eval_random *random, size_t n)
{
    const uint64_t most = UINT64_MAX - UINT64_MAX % n; /* from here on some would be likelier */
    uint64_t x;
    do x = eval_random_next(random);
    while (x >= most);
    return (size_t)(x % n);
}

void eval_random_order(struct eval_random *random, int *order, int n)
{
    for (int i = 0; i < n; i++) {
        const int j = (int)eval_random_below(random, (size_t)i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}
