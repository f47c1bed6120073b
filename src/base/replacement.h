/* replacement.h: a file written whole or not at all: under a temporary name in the same folder, then renamed. */
#ifndef FKV_BASE_REPLACEMENT_H
#define FKV_BASE_REPLACEMENT_H

#include "base/error.h"

enum { FKV_NAME_BYTES = 256 };

struct fkv_replacement {
    int fd, folder;                                       /* -1: none */
    char name[FKV_NAME_BYTES], temporary[FKV_NAME_BYTES]; /* in the folder: ".NAME.tmp" */
    const char *path;                                     /* the caller's, for messages */
};

/* Makes the temporary file, mode 0600. What a killed process left under its name is removed; a name that another
   process writes now, or what is no regular file at the path, is FKV_ERROR_IO. */
fkv_status fkv_replacement_begin(struct fkv_replacement *r, const char *path, struct fkv_error *e);
/* Data on the disk, then the name, then the folder on the disk. A failure leaves what was there before. */
fkv_status fkv_replacement_commit(struct fkv_replacement *r, struct fkv_error *e);
/* Removes the temporary file, unless it has been committed. */
void fkv_replacement_abandon(struct fkv_replacement *r);

#endif
