#include "model/hparams_keys.h"

#include <stdio.h>

const char *fkv_reader_key(const struct fkv_reader *r, const char *suffix, char key[FKV_KEY_BYTES])
{
    snprintf(key, FKV_KEY_BYTES, "%s.%s", r->arch, suffix);
    return key;
}

bool fkv_reader_has(const struct fkv_reader *r, const char *suffix)
{
    char key[FKV_KEY_BYTES];
    return fkv_gguf_has(r->g, fkv_reader_key(r, suffix, key));
}

fkv_status fkv_read_int(const struct fkv_reader *r, const char *suffix, int layer, int least, int most, int *value)
{
    char key[FKV_KEY_BYTES];
    fkv_reader_key(r, suffix, key);
    if (!fkv_gguf_has(r->g, key)) {
        if (*value >= 0) return FKV_OK;
        return fkv_fail(r->e, FKV_ERROR_FORMAT, "%s: expected a number, the file has no such key", key);
    }
    uint32_t u = 0;
    const fkv_status status = layer == FKV_ALL_LAYERS
                                  ? fkv_gguf_u32(r->g, key, &u, r->e)
                                  : fkv_gguf_u32_of(r->g, key, (uint64_t)layer, (uint64_t)r->n_block, &u, r->e);
    if (status != FKV_OK) return status;
    if (u < (uint32_t)least || u > (uint32_t)most)
        return fkv_fail(r->e, FKV_ERROR_FORMAT, "%s: expected %d to %d, found %u", key, least, most, u);
    *value = (int)u;
    return FKV_OK;
}

fkv_status fkv_read_int_of(const struct fkv_reader *r, const struct fkv_layer_hparams *l, const char *suffix, int layer,
                           int most, int *value)
{
    char local[FKV_KEY_BYTES / 2];
    snprintf(local, sizeof local, "%s_swa", suffix);
    const bool its_own = l->kind == FKV_LAYER_LOCAL && fkv_reader_has(r, local);
    return fkv_read_int(r, its_own ? local : suffix, layer, 2, most, value);
}

fkv_status fkv_read_float(const struct fkv_reader *r, const char *suffix, bool or_zero, float *value)
{
    char key[FKV_KEY_BYTES];
    const fkv_status status = fkv_gguf_f32(r->g, fkv_reader_key(r, suffix, key), value, r->e);
    if (status != FKV_OK) return status;
    if (!((*value > 0 || (or_zero && *value == 0)) && *value < 1e30f))
        return fkv_fail(r->e, FKV_ERROR_FORMAT, "%s: expected a positive number, found %g", key, (double)*value);
    return FKV_OK;
}
