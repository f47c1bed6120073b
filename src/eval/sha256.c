#include "eval/sha256.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static uint32_t rotate(uint32_t x, int k) { return x >> k | x << (32 - k); }

/* The first 64 primes' roots make the constants: the first 32 bits of the fractions of cube roots (n = 3), or of square
   roots (n = 2). Doubles have 20 bits to spare for them. */
static void fractions(uint32_t *k, int n_constants, int n)
{
    int prime = 1;
    for (int i = 0; i < n_constants; i++) {
        bool composite = true;
        while (composite) {
            composite = false;
            prime++;
            for (int d = 2; d * d <= prime; d++) composite |= prime % d == 0;
        }
        const double root = n == 3 ? cbrt(prime) : sqrt(prime);
        k[i] = (uint32_t)((root - floor(root)) * 4294967296.0);
    }
}

static void block(uint32_t state[8], const unsigned char *b, const uint32_t k[64])
{
    uint32_t w[64], h[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)b[4 * i] << 24 | (uint32_t)b[4 * i + 1] << 16 | (uint32_t)b[4 * i + 2] << 8 | b[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(h, state, sizeof h);
    for (int i = 0; i < 64; i++) {
        const uint32_t choice = (h[4] & h[5]) ^ (~h[4] & h[6]),
                       majority = (h[0] & h[1]) ^ (h[0] & h[2]) ^ (h[1] & h[2]),
                       t1 = h[7] + (rotate(h[4], 6) ^ rotate(h[4], 11) ^ rotate(h[4], 25)) + choice + k[i] + w[i],
                       t2 = (rotate(h[0], 2) ^ rotate(h[0], 13) ^ rotate(h[0], 22)) + majority;
        memmove(h + 1, h, 7 * sizeof *h);
        h[4] += t1;
        h[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) state[i] += h[i];
}

void eval_sha256_start(struct eval_sha256 *sha)
{
    fractions(sha->state, 8, 2);
    fractions(sha->k, 64, 3);
    sha->n = 0;
}

void eval_sha256_add(struct eval_sha256 *sha, const void *bytes, size_t n)
{
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i++) {
        sha->block[sha->n++ % 64] = b[i];
        if (sha->n % 64 == 0) block(sha->state, sha->block, sha->k);
    }
}

void eval_sha256_end(struct eval_sha256 *sha, char hex[65])
{
    const uint64_t bits = sha->n * 8;
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)(bits >> (56 - 8 * i));
    eval_sha256_add(sha, "\x80", 1);
    while (sha->n % 64 != 56) eval_sha256_add(sha, "", 1);
    eval_sha256_add(sha, length, 8);
    for (int i = 0; i < 8; i++) snprintf(hex + 8 * i, 9, "%08x", (unsigned)sha->state[i]);
}
