#include <string.h>

#include "base/hash.h"
#include "gguf/gguf_internal.h"

enum { SAMPLES = 4, SAMPLE_BYTES = 256 }; /* of a tensor's data: its ends, and between */

static uint64_t add_key(uint64_t hash, const struct fkv_gguf_key *k)
{
    hash = fkv_hash(hash, k->name.data, k->name.n);
    hash = fkv_hash(hash, &k->elem, sizeof k->elem);
    hash = fkv_hash(hash, &k->count, sizeof k->count);
    if (k->elem != FKV_GGUF_STRING) return fkv_hash(hash, k->data, (size_t)k->count * fkv_gguf_kind_bytes(k->elem));
    for (uint64_t i = 0; i < k->count; i++) {
        const uint8_t *at = k->data + (k->strings ? k->strings[i] : 0);
        uint64_t n;
        memcpy(&n, at, sizeof n);
        hash = fkv_hash(hash, at, sizeof n + (size_t)n);
    }
    return hash;
}

static uint64_t add_tensor(uint64_t hash, const struct fkv_gguf_tensor *t)
{
    hash = fkv_hash(hash, t->name, strlen(t->name));
    hash = fkv_hash(hash, &t->type, sizeof t->type);
    hash = fkv_hash(hash, t->dims, sizeof t->dims);
    if (t->bytes <= SAMPLES * SAMPLE_BYTES) return fkv_hash(hash, t->data, (size_t)t->bytes);
    for (int i = 0; i < SAMPLES; i++)
        hash = fkv_hash(hash, t->data + (t->bytes - SAMPLE_BYTES) / (SAMPLES - 1) * (uint64_t)i, SAMPLE_BYTES);
    return hash;
}

uint64_t fkv_gguf_fingerprint(const struct fkv_gguf *g)
{
    struct fkv_str arch = {"", 0};
    uint64_t hash = FKV_HASH;
    fkv_gguf_str(g, "general.architecture", &arch, NULL);
    for (size_t i = 0; i < g->n_keys; i++) {
        const struct fkv_str *name = &g->keys[i].name;
        if (name->n > arch.n && memcmp(name->data, arch.data, arch.n) == 0 && name->data[arch.n] == '.')
            hash = add_key(hash, &g->keys[i]);
    }
    for (size_t i = 0; i < g->n_tensors; i++) hash = add_tensor(hash, &g->tensors[i].tensor);
    return hash;
}
