#include "support/gguf_visit.h"

#include <stdio.h>
#include <stdlib.h>

#include "quant/quant.h"

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                        \
        }                                                                   \
    } while (0)

static uint64_t sum_str(struct fkv_str s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s.n; i++) sum += (uint8_t)s.data[i];
    return sum;
}

static uint64_t visit_array(const struct fkv_gguf *g, const char *key, enum fkv_gguf_kind elem)
{
    uint64_t count = 0, sum = 0;
    CHECK(fkv_gguf_array(g, key, elem, &count, NULL) == FKV_OK);
    for (uint64_t i = 0; i < count; i++) {
        if (elem == FKV_GGUF_STRING)
            sum += sum_str(fkv_gguf_array_str(g, key, i));
        else if (elem == FKV_GGUF_F32 || elem == FKV_GGUF_F64)
            sum += fkv_bits_from_f32(fkv_gguf_array_f32(g, key, i));
        else
            sum += (uint64_t)fkv_gguf_array_int(g, key, i);
    }
    return sum;
}

static uint64_t visit_key(const struct fkv_gguf *g, size_t i)
{
    enum fkv_gguf_kind kind, elem;
    uint64_t count, sum = 0;
    const struct fkv_str name = fkv_gguf_key(g, i, &kind, &elem, &count);
    char *key = calloc(1, name.n + 1);
    CHECK(key);
    memcpy(key, name.data, name.n);
    if (strlen(key) == name.n) {
        CHECK(fkv_gguf_has(g, key));
        uint32_t u = 0;
        float f = 0;
        bool b = false;
        struct fkv_str s = {0};
        const bool u_ok = fkv_gguf_u32(g, key, &u, NULL) == FKV_OK, f_ok = fkv_gguf_f32(g, key, &f, NULL) == FKV_OK;
        const bool b_ok = fkv_gguf_bool(g, key, &b, NULL) == FKV_OK, s_ok = fkv_gguf_str(g, key, &s, NULL) == FKV_OK;
        CHECK(u_ok + f_ok + b_ok + s_ok <= 1);
        CHECK(kind == FKV_GGUF_ARRAY || (count == 1 && elem == kind));
        sum = u + fkv_bits_from_f32(f) + b + sum_str(s) + (kind == FKV_GGUF_ARRAY ? visit_array(g, key, elem) : 0);
    }
    free(key);
    return sum;
}

static uint64_t visit_tensor(const struct fkv_gguf *g, size_t i)
{
    const struct fkv_gguf_tensor *t = fkv_gguf_tensor(g, i);
    const struct fkv_quant_type *q = fkv_quant_find(t->type);
    CHECK(q && fkv_gguf_find_tensor(g, t->name) == t);
    CHECK(t->n_dims >= 1 && t->n_dims <= 4 && t->bytes > 0);
    CHECK(t->dims[0] % q->block_elements == 0);
    CHECK(t->bytes == fkv_quant_row_bytes(q, t->dims[0]) * t->dims[1] * t->dims[2] * t->dims[3]);
    return (uint64_t)t->data[0] + t->data[t->bytes - 1];
}

uint64_t gguf_visit(const struct fkv_gguf *gguf)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < fkv_gguf_n_keys(gguf); i++) sum += visit_key(gguf, i);
    for (size_t i = 0; i < fkv_gguf_n_tensors(gguf); i++) sum += visit_tensor(gguf, i);
    return sum;
}
