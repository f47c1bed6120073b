/* retention.h: the options that a policy has of its own, by fkv_kv_option_list(): `--<policy>-<name> X`. */
#ifndef FKV_CLI_RETENTION_H
#define FKV_CLI_RETENTION_H

#include <stdio.h>

#include "cli/settings.h"

enum { RETENTION_NAME = 64 };

/* The i-th of them as it is typed; false past the last. */
bool retention_name(int i, char name[RETENTION_NAME], struct fkv_kv_option *option);
/* Is name[n] one of them? */
bool retention_has(const char *name, size_t n);
/* Checks what was given against the policies that are chosen, of which there are n; an error goes to err
   (FKV_ERROR_BYTES). */
bool retention_check(const struct settings *settings, const char *const *policies, int n, char *err);
/* kv with this policy, and what was given for it. */
void retention_choose(const struct settings *settings, const char *policy, struct fkv_kv_params *kv);

#endif
