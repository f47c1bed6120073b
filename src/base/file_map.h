/* file_map.h: a whole file, mapped read-only. */
#ifndef FKV_BASE_FILE_MAP_H
#define FKV_BASE_FILE_MAP_H

#include "base/error.h"

struct fkv_file_map {
    const uint8_t *data; /* NULL when the file is empty */
    size_t bytes;
};

/* FKV_ERROR_IO with the path and the system's reason. */
fkv_status fkv_file_map_open(struct fkv_file_map *map, const char *path, struct fkv_error *e);
void fkv_file_map_close(struct fkv_file_map *map);

#endif
