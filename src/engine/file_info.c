/* What the model's file holds, for programs that show it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "quant/quant.h"

bool fkv_tensor_list(const fkv_engine *e, size_t i, struct fkv_tensor_info *tensor)
{
    if (i >= fkv_gguf_n_tensors(e->gguf)) return false;
    const struct fkv_gguf_tensor *t = fkv_gguf_tensor(e->gguf, i);
    *tensor = (struct fkv_tensor_info){.name = t->name,
                                       .type = fkv_quant_find(t->type)->name,
                                       .n_dims = t->n_dims,
                                       .bytes = t->bytes};
    memcpy(tensor->dims, t->dims, sizeof tensor->dims);
    return true;
}

static const char *kind_name(enum fkv_gguf_kind kind)
{
    static const char *const names[] = {
        [FKV_GGUF_U8] = "u8",         [FKV_GGUF_I8] = "i8",       [FKV_GGUF_U16] = "u16", [FKV_GGUF_I16] = "i16",
        [FKV_GGUF_U32] = "u32",       [FKV_GGUF_I32] = "i32",     [FKV_GGUF_F32] = "f32", [FKV_GGUF_BOOL] = "bool",
        [FKV_GGUF_STRING] = "string", [FKV_GGUF_ARRAY] = "array", [FKV_GGUF_U64] = "u64", [FKV_GGUF_I64] = "i64",
        [FKV_GGUF_F64] = "f64",
    };
    return names[kind];
}

bool fkv_metadata_list(const fkv_engine *e, size_t i, struct fkv_metadata *m)
{
    enum fkv_gguf_kind kind, elem;
    uint64_t count;
    if (i >= fkv_gguf_n_keys(e->gguf)) return false;
    const struct fkv_str key = fkv_gguf_key(e->gguf, i, &kind, &elem, &count);
    *m = (struct fkv_metadata){.key_bytes = key.n,
                               .type = kind_name(elem),
                               .is_array = kind == FKV_GGUF_ARRAY,
                               .count = count};
    m->key = key.data;
    return true;
}

size_t fkv_metadata_text(const fkv_engine *e, const char *key, char *text, size_t size)
{
    struct fkv_str s = {"", 0};
    char number[32] = "";
    uint32_t whole;
    float real;
    bool truth;
    if (!fkv_gguf_has(e->gguf, key))
        s.n = 0;
    else if (fkv_gguf_str(e->gguf, key, &s, NULL) == FKV_OK)
        number[0] = '\0';
    else if (fkv_gguf_bool(e->gguf, key, &truth, NULL) == FKV_OK)
        snprintf(number, sizeof number, "%s", truth ? "true" : "false");
    else if (fkv_gguf_u32(e->gguf, key, &whole, NULL) == FKV_OK)
        snprintf(number, sizeof number, "%" PRIu32, whole);
    else if (fkv_gguf_f32(e->gguf, key, &real, NULL) == FKV_OK)
        snprintf(number, sizeof number, "%.9g", (double)real);
    if (*number) s = (struct fkv_str){number, strlen(number)};
    if (size) {
        const size_t n = s.n < size ? s.n : size - 1;
        memcpy(text, s.data, n);
        text[n] = '\0';
    }
    return s.n;
}
