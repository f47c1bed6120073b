#define _GNU_SOURCE
#include "base/blob.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool lies_within(const struct fkv_blob *blob, uint64_t at, size_t n)
{
    errno = 0;
    return at <= blob->bytes && n <= blob->bytes - at;
}

bool fkv_blob_read(const struct fkv_blob *blob, uint64_t at, void *to, size_t n)
{
    if (!lies_within(blob, at, n)) return false;
    if (blob->memory) {
        if (n) memcpy(to, blob->memory + at, n);
        return true;
    }
    for (size_t done = 0; done < n;) {
        const ssize_t some = pread(blob->fd, (uint8_t *)to + done, n - done, (off_t)(at + done));
        if (some < 0 && errno == EINTR) continue;
        if (some == 0) errno = 0; /* the file was cut meanwhile */
        if (some <= 0) return false;
        done += (size_t)some;
    }
    return true;
}

bool fkv_blob_write(const struct fkv_blob *blob, uint64_t at, const void *from, size_t n)
{
    if (!lies_within(blob, at, n)) return false;
    if (blob->memory) {
        if (n) memcpy(blob->memory + at, from, n);
        return true;
    }
    for (size_t done = 0; done < n;) {
        const ssize_t some = pwrite(blob->fd, (const uint8_t *)from + done, n - done, (off_t)(at + done));
        if (some < 0 && errno == EINTR) continue;
        if (some == 0) errno = EIO;
        if (some <= 0) return false;
        done += (size_t)some;
    }
    return true;
}
