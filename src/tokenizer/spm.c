#include "tokenizer/spm.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char scores_key[] = "tokenizer.ggml.scores";
static const char space_mark[] = "\xe2\x96\x81"; /* U+2581 */
enum { SPACE_MARK_BYTES = 3 };

static bool is_space_mark(const char *text, size_t n)
{
    return n >= SPACE_MARK_BYTES && memcmp(text, space_mark, SPACE_MARK_BYTES) == 0;
}

/* The byte of "<0x0A>", or -1. */
static int byte_of_text(struct fkv_str text)
{
    static const char digits[] = "0123456789ABCDEF";
    if (text.n != 6 || memcmp(text.data, "<0x", 3) != 0 || text.data[5] != '>') return -1;
    const char *high = memchr(digits, text.data[3], 16), *low = memchr(digits, text.data[4], 16);
    return high && low ? (int)(high - digits) * 16 + (int)(low - digits) : -1;
}

size_t fkv_spm_decode(struct fkv_str text, enum fkv_token_type type, char *bytes)
{
    const int byte = type == FKV_TOKEN_BYTE ? byte_of_text(text) : -1;
    size_t n = 0;
    if (byte >= 0) {
        bytes[0] = (char)byte;
        return 1;
    }
    for (size_t i = 0; i < text.n;) {
        const bool mark = is_space_mark(text.data + i, text.n - i);
        bytes[n++] = mark ? ' ' : text.data[i];
        i += mark ? SPACE_MARK_BYTES : 1;
    }
    return n;
}

/* Control and byte tokens are never made of text, nor is the unknown token. */
static bool is_text(const struct fkv_vocab *v, int32_t id)
{
    return v->type[id] != FKV_TOKEN_CONTROL && v->type[id] != FKV_TOKEN_BYTE && v->type[id] != FKV_TOKEN_UNKNOWN;
}

/* Maps scores to integers in falling order, -0 and 0 alike: the bits of a float, read as sign and magnitude. */
static uint32_t priority_of(float score)
{
    uint32_t bits;
    const float value = score + 0.0f;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 31 ? bits : ~bits & 0x7fffffff;
}

static fkv_status load_scores(struct fkv_spm *spm, const struct fkv_gguf *gguf, struct fkv_warnings *warnings,
                              struct fkv_error *e)
{
    uint64_t count;
    const int n = spm->vocab->n;
    const fkv_status status = fkv_gguf_array(gguf, scores_key, FKV_GGUF_F32, &count, e);
    if (status) return status;
    const bool none = !fkv_gguf_has(gguf, scores_key);
    if (none) fkv_warn(warnings, "%s: missing: all tokens are taken for equally good", scores_key);
    if (!none && count != (uint64_t)n)
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: expected %d entries, one per token, file has %" PRIu64, scores_key, n,
                        count);
    spm->priority = calloc((size_t)n, sizeof *spm->priority);
    if (!spm->priority) return fkv_fail(e, FKV_ERROR_MEMORY, "%s: no memory for %d scores", scores_key, n);
    for (int i = 0; i < n && !none; i++) {
        const float score = fkv_gguf_array_f32(gguf, scores_key, (uint64_t)i);
        if (isnan(score)) return fkv_fail(e, FKV_ERROR_FORMAT, "%s[%d]: not a number", scores_key, i);
        spm->priority[i] = priority_of(score);
    }
    return FKV_OK;
}

static fkv_status find_bytes(struct fkv_spm *spm, int32_t unknown, struct fkv_error *e)
{
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        const char itself = (char)byte;
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
        int32_t id = fkv_vocab_find(spm->vocab, text, 6);
        if (id < 0) id = fkv_vocab_find(spm->vocab, &itself, 1);
        if (id < 0) id = unknown;
        if (id < 0)
            return fkv_fail(
                e, FKV_ERROR_FORMAT,
                "tokenizer.ggml.tokens: no token for the byte %s, and tokenizer.ggml.unknown_token_id names none",
                text);
        spm->byte_id[byte] = id;
    }
    return FKV_OK;
}

fkv_status fkv_spm_load(struct fkv_spm *spm, const struct fkv_vocab *vocab, const struct fkv_gguf *gguf,
                        int32_t unknown, struct fkv_warnings *warnings, struct fkv_error *e)
{
    *spm = (struct fkv_spm){.vocab = vocab};
    fkv_status status;
    if ((status = load_scores(spm, gguf, warnings, e)) || (status = find_bytes(spm, unknown, e))) return status;
    for (int32_t id = 0; id < vocab->n; id++) {
        const struct fkv_str text = fkv_vocab_text(vocab, id);
        for (size_t i = 1; is_text(vocab, id) && i < text.n; i++)
            if (is_space_mark(text.data + i, text.n - i)) spm->joins_space[(uint8_t)text.data[i - 1]] = true;
    }
    return FKV_OK;
}

void fkv_spm_free(struct fkv_spm *spm) { free(spm->priority); }

/* The token of a stretch of text, or -1. */
static int32_t find_text(const struct fkv_spm *spm, const char *text, size_t n)
{
    const int32_t id = fkv_vocab_find(spm->vocab, text, n);
    return id >= 0 && is_text(spm->vocab, id) ? id : -1;
}

bool fkv_spm_makes(const struct fkv_spm *spm, int32_t id)
{
    const struct fkv_str text = fkv_vocab_text(spm->vocab, id);
    for (size_t i = 1; i < text.n; i++)
        if (find_text(spm, text.data, i) >= 0 && find_text(spm, text.data + i, text.n - i) >= 0) return true;
    return false;
}

struct words {
    const struct fkv_spm *spm;
    const char *text;
};

static int32_t merge_rule(const void *context, const struct fkv_symbol *left, const struct fkv_symbol *right,
                          uint32_t *priority)
{
    const struct words *w = context;
    const int32_t id = find_text(w->spm, w->text + left->start, left->n + right->n);
    if (id >= 0) *priority = w->spm->priority[id];
    return id;
}

/* Bytes of the character at the start of n > 0 bytes, by its first byte alone: what follows is taken as it is, so that
   bad UTF-8 falls back to the same byte tokens as in llama.cpp. */
static size_t char_bytes(const char *text, size_t n)
{
    const uint8_t lead = (uint8_t)*text;
    const size_t len = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    return len < n ? len : n;
}

/* Merges the n bytes at text + start. */
static fkv_status encode_word(const struct words *w, size_t start, size_t n, struct fkv_merger *merger,
                              struct fkv_ids *ids, struct fkv_error *e)
{
    fkv_status status = fkv_merger_start(merger, n, e);
    if (status) return status;
    for (size_t i = start, len; i < start + n; i += len) {
        len = char_bytes(w->text + i, start + n - i);
        fkv_merger_add(merger, i, len, find_text(w->spm, w->text + i, len));
    }
    fkv_merger_run(merger, merge_rule, w);
    for (int32_t i = 0; i >= 0 && !status; i = merger->symbols[i].next) {
        const struct fkv_symbol *s = &merger->symbols[i];
        if (s->id >= 0) status = fkv_ids_push(ids, s->id, e);
        for (uint32_t k = 0; s->id < 0 && k < s->n && !status; k++)
            status = fkv_ids_push(ids, w->spm->byte_id[(uint8_t)w->text[s->start + k]], e);
    }
    return status;
}

fkv_status fkv_mark_spaces(const char *text, size_t n, bool space_prefix, char **marked, size_t *n_marked,
                           struct fkv_error *e)
{
    char *out = malloc(SPACE_MARK_BYTES * (n + 1)), *to = out;
    if (!out) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory to tokenise %zu bytes", n);
    if (space_prefix) to = (char *)memcpy(to, space_mark, SPACE_MARK_BYTES) + SPACE_MARK_BYTES;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ')
            to = (char *)memcpy(to, space_mark, SPACE_MARK_BYTES) + SPACE_MARK_BYTES;
        else
            *to++ = text[i];
    }
    *marked = out;
    *n_marked = (size_t)(to - out);
    return FKV_OK;
}

fkv_status fkv_spm_encode(const struct fkv_spm *spm, const char *text, size_t n, bool space_prefix,
                          struct fkv_merger *merger, struct fkv_ids *ids, struct fkv_error *e)
{
    if (n == 0) return FKV_OK;
    char *marked;
    size_t n_marked, start = 0;
    fkv_status status = fkv_mark_spaces(text, n, space_prefix, &marked, &n_marked, e);
    if (status) return status;
    const struct words words = {spm, marked};
    /* Where no token reaches over the place before a space, merging word by word gives the same ids, and the heap stays
       small. */
    for (size_t i = 0, len; i < n_marked && !status; i += len) {
        len = char_bytes(marked + i, n_marked - i);
        if (i == start || !is_space_mark(marked + i, len) || spm->joins_space[(uint8_t)marked[i - 1]]) continue;
        status = encode_word(&words, start, i - start, merger, ids, e);
        start = i;
    }
    if (!status) status = encode_word(&words, start, n_marked - start, merger, ids, e);
    free(marked);
    return status;
}
