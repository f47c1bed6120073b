#include "tokenizer/bpe.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/utf8.h"

static const char pre_key[] = "tokenizer.ggml.pre", merges_key[] = "tokenizer.ggml.merges";

/* Bytes 00-20, 7f-a0 and ad are not printable in Latin-1: in this order they are U+0100 to U+0143. */
static uint32_t char_of_byte(uint8_t byte)
{
    if (byte <= 0x20) return 0x100u + byte;
    if (byte >= 0x7f && byte <= 0xa0) return 0x121u + (byte - 0x7fu);
    return byte == 0xad ? 0x143 : byte;
}

/* -1 for a character that stands for no byte. */
static int byte_of_char(uint32_t code)
{
    if (code < 0x100) return char_of_byte((uint8_t)code) == code ? (int)code : -1;
    if (code < 0x121) return (int)code - 0x100;
    if (code < 0x143) return (int)code - 0x121 + 0x7f;
    return code == 0x143 ? 0xad : -1;
}

size_t fkv_bpe_decode(struct fkv_str text, char *bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n;) {
        uint32_t code;
        size_t len = fkv_utf8_get(text.data + i, text.n - i, &code);
        const int byte = len ? byte_of_char(code) : -1;
        if (byte >= 0) {
            bytes[n++] = (char)byte;
        } else { /* spelled outside the byte alphabet: it can only mean itself */
            if (len == 0) len = 1;
            memcpy(bytes + n, text.data + i, len);
            n += len;
        }
        i += len;
    }
    return n;
}

static fkv_status load_pretokenizer(struct fkv_bpe *bpe, const struct fkv_gguf *gguf, struct fkv_error *e)
{
    struct fkv_str name = {"default", 7};
    const fkv_status status = fkv_gguf_str(gguf, pre_key, &name, e);
    if (status) return status;
    bpe->pre = fkv_pretokenizer_find(name);
    if (bpe->pre) return FKV_OK;
    char known[400];
    fkv_pretokenizer_names(known, sizeof known);
    return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "%s: \"%.*s\" is not supported (supported: %s)", pre_key,
                    name.n < 40 ? (int)name.n : 40, name.data, known);
}

/* "left right": the ids of both and of what they merge into. */
static fkv_status parse_merge(const struct fkv_vocab *v, struct fkv_str text, uint64_t rank, int32_t ids[3],
                              struct fkv_error *e)
{
    char merged[FKV_TOKEN_BYTES];
    const char *space = text.n > 1 ? memchr(text.data + 1, ' ', text.n - 1) : NULL;
    const size_t n_left = space ? (size_t)(space - text.data) : 0;
    if (!space || n_left + 1 == text.n)
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s[%" PRIu64 "]: expected two tokens with a space between them",
                        merges_key, rank);
    if (text.n - 1 > sizeof merged)
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s[%" PRIu64 "]: %zu bytes, a token has at most %d", merges_key, rank,
                        text.n - 1, FKV_TOKEN_BYTES);
    memcpy(merged, text.data, n_left);
    memcpy(merged + n_left, space + 1, text.n - n_left - 1);
    const struct fkv_str parts[3] = {{text.data, n_left}, {space + 1, text.n - n_left - 1}, {merged, text.n - 1}};
    for (int i = 0; i < 3; i++) {
        ids[i] = fkv_vocab_find(v, parts[i].data, parts[i].n);
        if (ids[i] < 0)
            return fkv_fail(e, FKV_ERROR_FORMAT, "%s[%" PRIu64 "]: \"%.*s\" is not in tokenizer.ggml.tokens",
                            merges_key, rank, parts[i].n < 64 ? (int)parts[i].n : 64, parts[i].data);
    }
    return FKV_OK;
}

/* Fills the table under its seed. *placed: false when the table's probes were full. */
static fkv_status index_merges(struct fkv_bpe *bpe, const struct fkv_gguf *gguf, uint64_t count, bool *placed,
                               struct fkv_error *e)
{
    for (uint64_t rank = 0; rank < count; rank++) {
        int32_t ids[3];
        const fkv_status status = parse_merge(bpe->vocab, fkv_gguf_array_str(gguf, merges_key, rank), rank, ids, e);
        if (status) return status;
        *placed = fkv_table_put(&bpe->merges, (uint64_t)ids[0] << 32 | (uint32_t)ids[1], rank << 32 | (uint32_t)ids[2]);
        if (!*placed) break; /* a pair listed twice keeps its first rank */
    }
    return FKV_OK;
}

static fkv_status load_merges(struct fkv_bpe *bpe, const struct fkv_gguf *gguf, struct fkv_error *e)
{
    uint64_t count;
    fkv_status status = fkv_gguf_array(gguf, merges_key, FKV_GGUF_STRING, &count, e);
    if (status) return status;
    if (count == 0) return fkv_fail(e, FKV_ERROR_FORMAT, "%s: missing or empty", merges_key);
    if (count > INT32_MAX)
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: %" PRIu64 " merges, at most 2^31 - 1 are possible", merges_key,
                        count);
    for (uint64_t seed = 0; seed < FKV_TABLE_SEEDS; seed++) {
        bool placed = true;
        if (!fkv_table_reset(&bpe->merges, count, seed))
            return fkv_fail(e, FKV_ERROR_MEMORY, "%s: no memory for %" PRIu64 " merges", merges_key, count);
        status = index_merges(bpe, gguf, count, &placed, e);
        if (status || placed) return status;
    }
    return fkv_fail(e, FKV_ERROR_FORMAT, "%s: made to collide in a hash table", merges_key);
}

fkv_status fkv_bpe_load(struct fkv_bpe *bpe, const struct fkv_vocab *vocab, const struct fkv_gguf *gguf,
                        struct fkv_error *e)
{
    *bpe = (struct fkv_bpe){.vocab = vocab};
    for (int byte = 0; byte < 256; byte++) {
        char text[4];
        bpe->byte_id[byte] = fkv_vocab_find(vocab, text, fkv_utf8_put(char_of_byte((uint8_t)byte), text));
    }
    const fkv_status status = load_pretokenizer(bpe, gguf, e);
    return status ? status : load_merges(bpe, gguf, e);
}

void fkv_bpe_free(struct fkv_bpe *bpe) { fkv_table_free(&bpe->merges); }

static int32_t merge_rule(const void *context, const struct fkv_symbol *left, const struct fkv_symbol *right,
                          uint32_t *priority)
{
    const struct fkv_bpe *bpe = context;
    if (left->id < 0 || right->id < 0) return -1;
    const uint64_t merge = fkv_table_get(&bpe->merges, (uint64_t)left->id << 32 | (uint32_t)right->id);
    if (merge == FKV_TABLE_NONE) return -1;
    *priority = (uint32_t)(merge >> 32);
    return (int32_t)(uint32_t)merge;
}

/* The token that spells the whole piece, or -1. */
static int32_t whole_word(const struct fkv_bpe *bpe, const char *piece, size_t n)
{
    char text[FKV_TOKEN_BYTES];
    size_t n_text = 0;
    if (n > sizeof text / 2) return -1;
    for (size_t i = 0; i < n; i++) n_text += fkv_utf8_put(char_of_byte((uint8_t)piece[i]), text + n_text);
    return fkv_vocab_find(bpe->vocab, text, n_text);
}

static fkv_status encode_piece(const struct fkv_bpe *bpe, const char *piece, size_t n, struct fkv_merger *merger,
                               struct fkv_ids *ids, struct fkv_error *e)
{
    if (bpe->pre->whole_words) {
        const int32_t id = whole_word(bpe, piece, n);
        if (id >= 0) return fkv_ids_push(ids, id, e);
    }
    fkv_status status = fkv_merger_start(merger, n, e);
    if (status) return status;
    for (size_t i = 0; i < n; i++) fkv_merger_add(merger, i, 1, bpe->byte_id[(uint8_t)piece[i]]);
    fkv_merger_run(merger, merge_rule, bpe);
    for (int32_t i = 0; i >= 0 && !status; i = merger->symbols[i].next)
        if (merger->symbols[i].id >= 0) status = fkv_ids_push(ids, merger->symbols[i].id, e);
    return status;
}

fkv_status fkv_bpe_encode(const struct fkv_bpe *bpe, const char *text, size_t n, struct fkv_merger *merger,
                          struct fkv_ids *ids, struct fkv_error *e)
{
    fkv_status status = FKV_OK;
    char *clean = malloc(3 * n + 1);
    if (!clean) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory to tokenise %zu bytes", n);
    const size_t n_clean = fkv_utf8_repair(text, n, clean);
    for (size_t i = 0, len; i < n_clean && !status; i += len) {
        len = bpe->pre->split(clean + i, n_clean - i);
        status = encode_piece(bpe, clean + i, len, merger, ids, e);
    }
    free(clean);
    return status;
}
