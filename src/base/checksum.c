#include "base/checksum.h"

#define XXH_INLINE_ALL
#include <assert.h>
#include <string.h>
#include <xxhash.h>

static_assert(sizeof(XXH3_state_t) <= sizeof(struct fkv_checksum), "the state of XXH3 has grown");

static XXH3_state_t *state_of(struct fkv_checksum *sum) { return (XXH3_state_t *)(void *)sum->state; }

void fkv_checksum_begin(struct fkv_checksum *sum)
{
    memset(sum, 0, sizeof *sum);
    XXH3_64bits_reset(state_of(sum));
}

void fkv_checksum_add(struct fkv_checksum *sum, const void *bytes, size_t n)
{
    if (n) XXH3_64bits_update(state_of(sum), bytes, n);
}

uint64_t fkv_checksum_end(const struct fkv_checksum *sum)
{
    return XXH3_64bits_digest((const XXH3_state_t *)(const void *)sum->state);
}

uint64_t fkv_checksum64(const void *bytes, size_t n) { return XXH3_64bits(bytes, n); }

void fkv_checksum128(const void *bytes, size_t n, uint8_t sum[16])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, n));
    memcpy(sum, canonical.digest, sizeof canonical.digest);
}
