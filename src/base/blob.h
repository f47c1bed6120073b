/* blob.h: bytes at places, in memory or in a file, for those who need not know which. */
#ifndef FKV_BASE_BLOB_H
#define FKV_BASE_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fkv_blob {
    uint8_t *memory; /* [bytes]; NULL: a file */
    int fd;
    uint64_t bytes; /* there are none beyond */
};

/* False: the bytes are not all there (errno is 0), or the system failed (errno says how). */
bool fkv_blob_read(const struct fkv_blob *blob, uint64_t at, void *to, size_t n);
bool fkv_blob_write(const struct fkv_blob *blob, uint64_t at, const void *from, size_t n);

#endif
