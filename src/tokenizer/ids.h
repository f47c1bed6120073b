/* ids.h: a growing list of token ids. */
#ifndef FKV_TOKENIZER_IDS_H
#define FKV_TOKENIZER_IDS_H

#include "base/error.h"

#include <stdlib.h>

struct fkv_ids {
    int32_t *id; /* malloc'ed [cap], n used; NULL while empty */
    size_t n, cap;
};

static inline fkv_status fkv_ids_push(struct fkv_ids *ids, int32_t id, struct fkv_error *e)
{
    if (ids->n == ids->cap) {
        const size_t cap = ids->cap ? 2 * ids->cap : 64;
        int32_t *grown = realloc(ids->id, cap * sizeof *grown);
        if (!grown) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for %zu token ids", cap);
        ids->id = grown;
        ids->cap = cap;
    }
    ids->id[ids->n++] = id;
    return FKV_OK;
}

#endif
