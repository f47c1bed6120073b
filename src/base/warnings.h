/* warnings.h: what a user should know of a file that runs all the same, a line each. */
#ifndef FKV_BASE_WARNINGS_H
#define FKV_BASE_WARNINGS_H

#include "fastkv.h"

struct fkv_warnings {
    char **text; /* [n] */
    size_t n;
};

/* Control characters become spaces: a text from a file may hold what a terminal obeys. */
void fkv_make_plain(char *text);
/* Adds a line, made plain, unless it is there already. w may be NULL. Without memory the line is lost: it is no reason
   to fail. */
void fkv_warn(struct fkv_warnings *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fkv_warnings_destroy(struct fkv_warnings *w);

#endif
