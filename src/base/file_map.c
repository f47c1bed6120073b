#define _GNU_SOURCE
#include "base/file_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

fkv_status fkv_file_map_open(struct fkv_file_map *map, const char *path, struct fkv_error *e)
{
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fkv_fail(e, FKV_ERROR_IO, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return fkv_fail(e, FKV_ERROR_IO, "%s: expected a regular file", path);
    }
    *map = (struct fkv_file_map){NULL, (size_t)st.st_size};
    if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            const int reason = errno;
            close(fd);
            return fkv_fail(e, FKV_ERROR_IO, "%s: cannot map %lld bytes: %s", path, (long long)st.st_size,
                            strerror(reason));
        }
        map->data = p;
    }
    close(fd);
    return FKV_OK;
}

void fkv_file_map_close(struct fkv_file_map *map)
{
    if (map->data) munmap((void *)(uintptr_t)map->data, map->bytes);
    *map = (struct fkv_file_map){0};
}
