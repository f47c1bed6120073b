#include "kv/kv_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct fkv_kv_cache {
    struct fkv_backend **b; /* [n_layer] */
    int n_layer, heads, capacity;
    struct fkv_kv_store **store; /* [n_layer] */
    int32_t *pos;                /* [n_layer][heads][capacity] */
    size_t pos_bytes;
};

static int32_t *positions(const struct fkv_kv_cache *c, int layer, int head)
{
    return c->pos + ((size_t)layer * (size_t)c->heads + (size_t)head) * (size_t)c->capacity;
}

fkv_status fkv_kv_cache_create(struct fkv_kv_cache **cache, struct fkv_backend *const *b, int n_layer, int heads, int d,
                               int k_type, int v_type, int capacity)
{
    fkv_status status = FKV_ERROR_MEMORY;
    struct fkv_kv_cache *c = calloc(1, sizeof *c);
    if (!c) return status;
    *c = (struct fkv_kv_cache){.n_layer = n_layer, .heads = heads, .capacity = capacity};
    c->pos_bytes = (size_t)n_layer * (size_t)heads * (size_t)capacity * sizeof *c->pos;
    c->pos = fkv_reserve(c->pos_bytes);
    c->store = calloc((size_t)n_layer, sizeof(struct fkv_kv_store *));
    c->b = calloc((size_t)n_layer, sizeof *c->b);
    if (!c->pos || !c->store || !c->b) goto error;
    memcpy(c->b, b, (size_t)n_layer * sizeof *c->b);
    for (int l = 0; l < n_layer; l++) {
        status = b[l]->ops->kv_create(b[l], &c->store[l], heads, d, k_type, v_type, capacity, false);
        if (status != FKV_OK) goto error;
    }
    *cache = c;
    return FKV_OK;
error:
    fkv_kv_cache_destroy(c);
    return status;
}

void fkv_kv_cache_destroy(struct fkv_kv_cache *c)
{
    if (!c) return;
    for (int l = 0; c->store && c->b && l < c->n_layer; l++)
        if (c->store[l]) c->b[l]->ops->kv_destroy(c->store[l]);
    free(c->store);
    free(c->b);
    fkv_unreserve(c->pos, c->pos_bytes);
    free(c);
}

int fkv_kv_cache_count(const struct fkv_kv_cache *c, int layer, int head)
{
    return c->b[layer]->ops->kv_count(c->store[layer], head);
}

const int32_t *fkv_kv_cache_positions(const struct fkv_kv_cache *c, int layer, int head)
{
    return positions(c, layer, head);
}

struct fkv_kv_store *fkv_kv_cache_store(const struct fkv_kv_cache *c, int layer) { return c->store[layer]; }

uint64_t fkv_kv_cache_bytes(const struct fkv_kv_cache *c)
{
    uint64_t bytes = 0;
    for (int l = 0; l < c->n_layer; l++) bytes += c->b[l]->ops->kv_bytes(c->store[l]);
    return bytes;
}

int fkv_kv_cache_longest(const struct fkv_kv_cache *c)
{
    int longest = 0;
    for (int l = 0; l < c->n_layer; l++)
        for (int h = 0; h < c->heads; h++) {
            const int n = fkv_kv_cache_count(c, l, h);
            if (n > longest) longest = n;
        }
    return longest;
}

void fkv_kv_cache_append(struct fkv_run *r, struct fkv_kv_cache *c, int layer, const float *k, const float *v,
                         int32_t pos)
{
    if (r->thread == 0)
        for (int h = 0; h < c->heads; h++) positions(c, layer, h)[fkv_kv_cache_count(c, layer, h)] = pos;
    r->b->ops->kv_append(r, c->store[layer], k, v, 0, 1);
}

void fkv_kv_cache_note(struct fkv_kv_cache *c, int layer, const int32_t *rows, int n, const int32_t *pos)
{
    for (int h = 0; h < c->heads; h++) {
        const int count = fkv_kv_cache_count(c, layer, h);
        assert(count >= n);
        int32_t *to = positions(c, layer, h) + count - n;
        for (int i = 0; i < n; i++) to[i] = pos[rows ? rows[(size_t)h * (size_t)n + (size_t)i] : i];
    }
}

void fkv_kv_cache_cut(struct fkv_kv_cache *c, int32_t pos)
{
    for (int l = 0; l < c->n_layer; l++)
        for (int h = 0; h < c->heads; h++) {
            int n = fkv_kv_cache_count(c, l, h);
            while (n > 0 && positions(c, l, h)[n - 1] >= pos) n--;
            c->b[l]->ops->kv_cut(c->store[l], h, n);
        }
}
