#include "tokenizer/vocab.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char tokens_key[] = "tokenizer.ggml.tokens", types_key[] = "tokenizer.ggml.token_type";

static uint64_t hash_text(const char *text, size_t n, uint64_t seed)
{
    uint64_t h = seed ^ n, word;
    for (; n >= sizeof word; text += sizeof word, n -= sizeof word) {
        memcpy(&word, text, sizeof word);
        h = fkv_mix(h ^ word);
    }
    word = 0;
    memcpy(&word, text, n);
    return fkv_mix(h ^ word);
}

static fkv_status load_texts(struct fkv_vocab *v, const struct fkv_gguf *gguf, struct fkv_error *e)
{
    uint64_t count;
    const fkv_status status = fkv_gguf_array(gguf, tokens_key, FKV_GGUF_STRING, &count, e);
    if (status) return status;
    if (count == 0) return fkv_fail(e, FKV_ERROR_FORMAT, "%s: missing or empty", tokens_key);
    if (count > INT32_MAX)
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: %" PRIu64 " tokens, at most 2^31 - 1 are possible", tokens_key,
                        count);
    v->n = (int)count;
    v->texts.begin = malloc((count + 1) * sizeof *v->texts.begin);
    if (!v->texts.begin) return fkv_fail(e, FKV_ERROR_MEMORY, "%s: no memory for %d tokens", tokens_key, v->n);
    size_t total = 0;
    for (int i = 0; i < v->n; i++) {
        const struct fkv_str text = fkv_gguf_array_str(gguf, tokens_key, (uint64_t)i);
        if (text.n > FKV_TOKEN_BYTES)
            return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "%s[%d]: a token of %zu bytes, at most %d are supported",
                            tokens_key, i, text.n, FKV_TOKEN_BYTES);
        v->texts.begin[i] = total;
        total += text.n;
    }
    v->texts.begin[v->n] = total;
    v->texts.data = malloc(total + 1);
    if (!v->texts.data) return fkv_fail(e, FKV_ERROR_MEMORY, "%s: no memory for %zu bytes", tokens_key, total);
    for (int i = 0; i < v->n; i++) {
        const struct fkv_str text = fkv_gguf_array_str(gguf, tokens_key, (uint64_t)i);
        if (text.n) memcpy(v->texts.data + v->texts.begin[i], text.data, text.n);
    }
    return FKV_OK;
}

static fkv_status load_types(struct fkv_vocab *v, const struct fkv_gguf *gguf, struct fkv_warnings *warnings,
                             struct fkv_error *e)
{
    v->type = malloc(v->n);
    if (!v->type) return fkv_fail(e, FKV_ERROR_MEMORY, "%s: no memory for %d types", types_key, v->n);
    memset(v->type, FKV_TOKEN_NORMAL, v->n);
    if (!fkv_gguf_has(gguf, types_key)) return FKV_OK;
    uint64_t count;
    const fkv_status status = fkv_gguf_array(gguf, types_key, FKV_GGUF_I32, &count, e);
    if (status) return status;
    if (count != (uint64_t)v->n)
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: expected %d entries, one per token, file has %" PRIu64, types_key,
                        v->n, count);
    int n_unknown = 0, first = 0;
    for (int i = 0; i < v->n; i++) {
        const int64_t type = fkv_gguf_array_int(gguf, types_key, (uint64_t)i);
        if (type > 0 && type <= FKV_TOKEN_BYTE)
            v->type[i] = (uint8_t)type;
        else if (type != 0 && n_unknown++ == 0) /* 0 is "undefined": as good as normal */
            first = i;
    }
    if (n_unknown)
        fkv_warn(warnings,
                 "%s: %d of %d types are not 1 to %d, the first is [%d] = %" PRId64 ": taken for normal tokens",
                 types_key, n_unknown, v->n, FKV_TOKEN_BYTE, first,
                 fkv_gguf_array_int(gguf, types_key, (uint64_t)first));
    return FKV_OK;
}

static bool same(struct fkv_str a, struct fkv_str b) { return a.n == b.n && memcmp(a.data, b.data, a.n) == 0; }

/* Fills by_text under its seed; false when a probe is full or two different texts share a hash. */
static bool index_texts(struct fkv_vocab *v)
{
    for (int i = 0; i < v->n; i++) {
        const struct fkv_str text = fkv_vocab_text(v, i);
        if (text.n == 0) continue;
        const uint64_t *id = fkv_table_put(&v->by_text, hash_text(text.data, text.n, v->by_text.seed), (uint64_t)i);
        if (!id || !same(text, fkv_vocab_text(v, (int)*id))) return false;
    }
    return true;
}

fkv_status fkv_vocab_index(struct fkv_vocab *vocab, const char *what, struct fkv_error *e)
{
    for (uint64_t seed = 0; seed < FKV_TABLE_SEEDS; seed++) {
        if (!fkv_table_reset(&vocab->by_text, vocab->n, seed))
            return fkv_fail(e, FKV_ERROR_MEMORY, "%s: no memory for an index of %d tokens", what, vocab->n);
        if (index_texts(vocab)) return FKV_OK;
    }
    return fkv_fail(e, FKV_ERROR_FORMAT, "%s: made to collide in a hash table", what);
}

fkv_status fkv_vocab_load(struct fkv_vocab *vocab, const struct fkv_gguf *gguf, struct fkv_warnings *warnings,
                          struct fkv_error *e)
{
    fkv_status status;
    *vocab = (struct fkv_vocab){0};
    if ((status = load_texts(vocab, gguf, e)) || (status = load_types(vocab, gguf, warnings, e))) return status;
    return fkv_vocab_index(vocab, tokens_key, e);
}

void fkv_vocab_free(struct fkv_vocab *vocab)
{
    free(vocab->texts.data);
    free(vocab->texts.begin);
    free(vocab->type);
    fkv_table_free(&vocab->by_text);
}

int32_t fkv_vocab_find(const struct fkv_vocab *vocab, const char *text, size_t n)
{
    if (n == 0 || n > FKV_TOKEN_BYTES) return -1;
    const uint64_t id = fkv_table_get(&vocab->by_text, hash_text(text, n, vocab->by_text.seed));
    return id != FKV_TABLE_NONE && same((struct fkv_str){text, n}, fkv_vocab_text(vocab, (int32_t)id)) ? (int32_t)id
                                                                                                       : -1;
}
