/* native.h: settings as the native door shows them. */
#ifndef FKV_SERVER_NATIVE_H
#define FKV_SERVER_NATIVE_H

#include "fastkv.h"
#include "server/json_out.h"

void put_sampling(struct json_out *j, const struct fkv_sampler_params *s);
void put_retention(struct json_out *j, const struct fkv_kv_params *kv);

#endif
