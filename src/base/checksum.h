/* checksum.h: XXH3 of bytes, at once or as they come. Finds damage; whoever means to can make other bytes of the same
   sum. */
#ifndef FKV_BASE_CHECKSUM_H
#define FKV_BASE_CHECKSUM_H

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

struct fkv_checksum {
    alignas(64) unsigned char state[576]; /* XXH3_state_t */
};

void fkv_checksum_begin(struct fkv_checksum *sum);
void fkv_checksum_add(struct fkv_checksum *sum, const void *bytes, size_t n);
uint64_t fkv_checksum_end(const struct fkv_checksum *sum);

uint64_t fkv_checksum64(const void *bytes, size_t n);
/* Bytes of the canonical form. */
void fkv_checksum128(const void *bytes, size_t n, uint8_t sum[16]);

#endif
