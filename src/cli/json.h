/* json.h: values of the program as JSON. */
#ifndef FKV_CLI_JSON_H
#define FKV_CLI_JSON_H

#include <jansson.h>

#include "fastkv.h"

/* Any bytes but NUL: those that are no UTF-8 become U+FFFD. NULL when memory runs out. */
json_t *json_of_text(const char *text);
/* The options of retention that a policy has, with the values in force. */
json_t *json_of_options(const struct fkv_kv_params *kv);

#endif
