/* retention.h: the options of retention, by fkv_kv_option_list(): `--<name> X`; a policy's own are
   `--<policy>-<name> X`. */
#ifndef FKV_CLI_RETENTION_H
#define FKV_CLI_RETENTION_H

#include <stdio.h>

#include "cli/settings.h"

enum { RETENTION_NAME = 64 };

/* The i-th of them as it is typed; false past the last. */
bool retention_name(int i, char name[RETENTION_NAME], struct fkv_kv_option *option);
/* The option that name[n] is; false when it is none of them. */
bool retention_find(const char *name, size_t n, struct fkv_kv_option *option);
/* Takes one that was found, with its text ("" when there is none), which waits until the preset and the policies are
   known. An error goes to err (FKV_ERROR_BYTES), as below. */
bool retention_take(struct settings *settings, const struct fkv_kv_option *option, const struct option_pair *pair,
                    char *err);
/* Sets what policies share: by the preset, then as it was given. */
bool retention_settle(struct settings *settings, char *err);
/* Checks what was given for policies against those that are chosen, of which there are n. */
bool retention_check(const struct settings *settings, const char *const *policies, int n, char *err);
/* kv with this policy, and what was given for it. */
void retention_choose(const struct settings *settings, const char *policy, struct fkv_kv_params *kv);
/* A value of an option as it is typed: "0.1", "max". */
const char *retention_text(const struct fkv_kv_option *option, double value, char text[RETENTION_NAME]);

#endif
