/* sha256.h: FIPS 180-4, to say in 64 digits what a run has read. */
#ifndef FKV_EVAL_SHA256_H
#define FKV_EVAL_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct eval_sha256 {
    uint32_t state[8], k[64]; /* k: the rounds' constants */
    uint64_t n;               /* bytes so far */
    unsigned char block[64];
};

void eval_sha256_start(struct eval_sha256 *sha);
void eval_sha256_add(struct eval_sha256 *sha, const void *bytes, size_t n);
/* hex: 64 digits and a NUL. */
void eval_sha256_end(struct eval_sha256 *sha, char hex[65]);

#endif
