/* error.h: the one way a message travels with a status. */
#ifndef FKV_BASE_ERROR_H
#define FKV_BASE_ERROR_H

#include "fastkv.h"

/* Holds the message of the first failure of an operation. */
struct fkv_error {
    char text[FKV_ERROR_BYTES];
};

/* Writes the message (what was wanted, what was found and where; cut to fit) and returns `status`. e may be NULL. */
fkv_status fkv_fail(struct fkv_error *e, fkv_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
