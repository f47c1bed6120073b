#include "tokenizer/bpe.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/normalize.h"
#include "tokenizer/spm.h"
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

static fkv_status load_pretokenizer(struct fkv_bpe *bpe, const struct fkv_gguf *gguf, struct fkv_str name,
                                    struct fkv_warnings *warnings, struct fkv_error *e)
{
    const fkv_status status = name.data ? FKV_OK : fkv_gguf_str(gguf, pre_key, &name, e);
    if (status) return status;
    if (name.n == 0) {
        fkv_warn(warnings, "%s: %s: text is cut by the rule \"default\", and answers may be worse for it", pre_key,
                 name.data ? "empty" : "missing");
        name = (struct fkv_str){"default", 7};
    }
    bpe->pre = fkv_pretokenizer_find(name);
    if (bpe->pre) return FKV_OK;
    char known[400];
    fkv_pretokenizer_names(known, sizeof known);
    return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "%s: \"%.*s\" is not supported (supported: %s)", pre_key,
                    name.n < 40 ? (int)name.n : 40, name.data, known);
}

static bool of_characters(const struct fkv_bpe *bpe) { return bpe->pre->flags & FKV_PRE_CHARACTERS; }

/* "left right" as left, right and what they merge into. */
struct merge {
    struct fkv_str part[3];
    char merged[FKV_TOKEN_BYTES];
};

/* false: the text is not two texts with a space between them, or makes more bytes than a token can have. */
static bool parse_merge(struct merge *m, struct fkv_str text)
{
    const char *space = text.n > 1 ? memchr(text.data + 1, ' ', text.n - 1) : NULL;
    const size_t n_left = space ? (size_t)(space - text.data) : 0;
    if (!space || n_left + 1 == text.n || text.n - 1 > sizeof m->merged) return false;
    m->part[0] = (struct fkv_str){text.data, n_left};
    m->part[1] = (struct fkv_str){space + 1, text.n - n_left - 1};
    m->part[2] = (struct fkv_str){m->merged, text.n - 1};
    memcpy(m->merged, text.data, n_left);
    memcpy(m->merged + n_left, m->part[1].data, m->part[1].n);
    return true;
}

/* -1: neither a token nor among the missing texts. */
static int32_t find_part(const struct fkv_bpe *bpe, struct fkv_str text)
{
    const int32_t id = fkv_vocab_find(bpe->vocab, text.data, text.n);
    if (id >= 0 || bpe->missing.n == 0) return id;
    const int32_t missing = fkv_vocab_find(&bpe->missing, text.data, text.n);
    return missing < 0 ? -1 : bpe->vocab->n + missing;
}

/* How many merges were left out, and the first of them. */
struct lost {
    uint64_t n, first;
};

static void lose(struct lost *lost, uint64_t rank)
{
    if (lost->n++ == 0) lost->first = rank;
}

/* Fills the table under its seed; false when the table's probes were full. */
static bool index_merges(struct fkv_bpe *bpe, const struct fkv_gguf *gguf, uint64_t count, struct lost *malformed,
                         struct lost *strange)
{
    *malformed = *strange = (struct lost){0};
    for (uint64_t rank = 0; rank < count; rank++) {
        struct merge m;
        int32_t ids[3] = {-1, -1, -1};
        if (!parse_merge(&m, fkv_gguf_array_str(gguf, merges_key, rank))) {
            lose(malformed, rank);
            continue;
        }
        for (int i = 0; i < 3; i++) ids[i] = find_part(bpe, m.part[i]);
        if (ids[0] < 0 || ids[1] < 0 || ids[2] < 0)
            lose(strange, rank);
        else if (!fkv_table_put(&bpe->merges, (uint64_t)ids[0] << 32 | (uint32_t)ids[1], rank << 32 | (uint32_t)ids[2]))
            return false; /* a pair listed twice keeps its first rank */
    }
    return true;
}

static fkv_status place_merges(struct fkv_bpe *bpe, const struct fkv_gguf *gguf, uint64_t count, struct lost *malformed,
                               struct lost *strange, struct fkv_error *e)
{
    for (uint64_t seed = 0; seed < FKV_TABLE_SEEDS; seed++) {
        if (!fkv_table_reset(&bpe->merges, count, seed))
            return fkv_fail(e, FKV_ERROR_MEMORY, "%s: no memory for %" PRIu64 " merges", merges_key, count);
        if (index_merges(bpe, gguf, count, malformed, strange)) return FKV_OK;
    }
    return fkv_fail(e, FKV_ERROR_FORMAT, "%s: made to collide in a hash table", merges_key);
}

/* Counts the texts in merges that are no tokens, and, where there is memory for them, writes them down. */
static size_t list_missing(struct fkv_bpe *bpe, const struct fkv_gguf *gguf, uint64_t count)
{
    struct fkv_vocab *missing = &bpe->missing;
    size_t used = 0;
    missing->n = 0;
    for (uint64_t rank = 0; rank < count; rank++) {
        struct merge m;
        if (!parse_merge(&m, fkv_gguf_array_str(gguf, merges_key, rank))) continue;
        for (int i = 0; i < 3; i++) {
            const struct fkv_str text = m.part[i];
            if (fkv_vocab_find(bpe->vocab, text.data, text.n) >= 0) continue;
            if (missing->texts.data) {
                memcpy(missing->texts.data + used, text.data, text.n);
                missing->texts.begin[missing->n + 1] = used + text.n;
            }
            used += text.n;
            missing->n++;
        }
    }
    return used;
}

static fkv_status load_missing(struct fkv_bpe *bpe, const struct fkv_gguf *gguf, uint64_t count, struct fkv_error *e)
{
    struct fkv_strings *texts = &bpe->missing.texts;
    const size_t bytes = list_missing(bpe, gguf, count);
    if (bpe->missing.n > INT32_MAX - bpe->vocab->n)
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: more than 2^31 tokens and missing tokens", merges_key);
    texts->data = malloc(bytes);
    texts->begin = calloc((size_t)bpe->missing.n + 1, sizeof *texts->begin);
    if (!texts->data || !texts->begin)
        return fkv_fail(e, FKV_ERROR_MEMORY, "%s: no memory for %zu bytes of missing tokens", merges_key, bytes);
    list_missing(bpe, gguf, count);
    return fkv_vocab_index(&bpe->missing, merges_key, e);
}

static void warn_of_merges(struct fkv_warnings *warnings, const struct fkv_gguf *gguf, uint64_t count,
                           const struct lost *lost, const char *what)
{
    if (lost->n == 0) return;
    const struct fkv_str text = fkv_gguf_array_str(gguf, merges_key, lost->first);
    fkv_warn(warnings, "%s: %" PRIu64 " of %" PRIu64 " %s, the first is [%" PRIu64 "] \"%.*s\"", merges_key, lost->n,
             count, what, lost->first, text.n < 64 ? (int)text.n : 64, text.data);
}

static fkv_status load_merges(struct fkv_bpe *bpe, const struct fkv_gguf *gguf, struct fkv_warnings *warnings,
                              struct fkv_error *e)
{
    uint64_t count;
    struct lost malformed, strange, none;
    fkv_status status = fkv_gguf_array(gguf, merges_key, FKV_GGUF_STRING, &count, e);
    if (status) return status;
    if (!fkv_gguf_has(gguf, merges_key)) return fkv_fail(e, FKV_ERROR_FORMAT, "%s: missing", merges_key);
    if (count == 0) fkv_warn(warnings, "%s: empty: text becomes single bytes", merges_key);
    if (count > INT32_MAX / 4)
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: %" PRIu64 " merges, at most 2^29 are possible", merges_key, count);
    if ((status = place_merges(bpe, gguf, count, &malformed, &strange, e))) return status;
    warn_of_merges(warnings, gguf, count, &malformed, "merges are not two tokens with a space between them: ignored");
    warn_of_merges(warnings, gguf, count, &strange, "merges name tokens that tokenizer.ggml.tokens lacks");
    if (strange.n == 0) return FKV_OK;
    status = load_missing(bpe, gguf, count, e);
    return status ? status : place_merges(bpe, gguf, count, &malformed, &none, e);
}

static void find_bytes(struct fkv_bpe *bpe)
{
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        size_t n = fkv_utf8_put(char_of_byte((uint8_t)byte), text);
        if (of_characters(bpe)) n = (size_t)snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
        bpe->byte_id[byte] = find_part(bpe, (struct fkv_str){text, n});
    }
}

fkv_status fkv_bpe_load(struct fkv_bpe *bpe, const struct fkv_vocab *vocab, const struct fkv_gguf *gguf,
                        struct fkv_str pre, struct fkv_warnings *warnings, struct fkv_error *e)
{
    *bpe = (struct fkv_bpe){.vocab = vocab};
    fkv_status status = load_pretokenizer(bpe, gguf, pre, warnings, e);
    if (!status) status = load_merges(bpe, gguf, warnings, e);
    if (!status) find_bytes(bpe);
    return status;
}

void fkv_bpe_free(struct fkv_bpe *bpe)
{
    fkv_table_free(&bpe->merges);
    fkv_vocab_free(&bpe->missing);
}

bool fkv_bpe_makes(const struct fkv_bpe *bpe, int32_t id)
{
    for (uint64_t i = 0; i <= bpe->merges.mask; i++) {
        const uint64_t value = bpe->merges.slots[i].value;
        if (value != FKV_TABLE_NONE && (int32_t)(uint32_t)value == id) return true;
    }
    return false;
}

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

/* The token that spells the whole piece, or -1; of characters, only newlines are looked up so. */
static int32_t whole_word(const struct fkv_bpe *bpe, const char *piece, size_t n)
{
    char text[FKV_TOKEN_BYTES];
    size_t n_text = 0;
    if (of_characters(bpe)) return *piece == '\n' ? fkv_vocab_find(bpe->vocab, piece, n) : -1;
    if (n > sizeof text / 2) return -1;
    for (size_t i = 0; i < n; i++) n_text += fkv_utf8_put(char_of_byte((uint8_t)piece[i]), text + n_text);
    return fkv_vocab_find(bpe->vocab, text, n_text);
}

static bool is_token(const struct fkv_bpe *bpe, int32_t id) { return id >= 0 && id < bpe->vocab->n; }

static fkv_status push_symbol(const struct fkv_bpe *bpe, const struct fkv_symbol *s, const char *piece,
                              struct fkv_ids *ids, struct fkv_error *e)
{
    if (is_token(bpe, s->id)) return fkv_ids_push(ids, s->id, e);
    fkv_status status = FKV_OK;
    for (uint32_t i = 0; i < s->n && !status; i++) {
        const int32_t id = bpe->byte_id[(uint8_t)piece[s->start + i]];
        if (is_token(bpe, id)) status = fkv_ids_push(ids, id, e);
    }
    return status;
}

static void add_symbols(const struct fkv_bpe *bpe, const char *piece, size_t n, struct fkv_merger *merger)
{
    if (!of_characters(bpe)) {
        for (size_t i = 0; i < n; i++) fkv_merger_add(merger, i, 1, bpe->byte_id[(uint8_t)piece[i]]);
        return;
    }
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t code;
        len = fkv_utf8_get(piece + i, n - i, &code);
        fkv_merger_add(merger, i, len, fkv_vocab_find(bpe->vocab, piece + i, len));
    }
}

static fkv_status encode_piece(const struct fkv_bpe *bpe, const char *piece, size_t n, struct fkv_merger *merger,
                               struct fkv_ids *ids, struct fkv_error *e)
{
    if (bpe->pre->flags & (FKV_PRE_WHOLE_WORDS | FKV_PRE_CHARACTERS)) {
        const int32_t id = whole_word(bpe, piece, n);
        if (id >= 0) return fkv_ids_push(ids, id, e);
    }
    fkv_status status = fkv_merger_start(merger, n, e);
    if (status) return status;
    add_symbols(bpe, piece, n, merger);
    fkv_merger_run(merger, merge_rule, bpe);
    for (int32_t i = 0; i >= 0 && !status; i = merger->symbols[i].next)
        status = push_symbol(bpe, &merger->symbols[i], piece, ids, e);
    return status;
}

/* Repairs the n bytes of text and does to it what the model's own tokenizer does: composes characters, marks spaces.
   *clean: malloc'ed. */
static fkv_status clean_text(const struct fkv_bpe *bpe, const char *text, size_t n, char **clean, size_t *n_clean,
                             struct fkv_error *e)
{
    char *repaired = malloc(3 * n + 1);
    if (!repaired) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory to tokenise %zu bytes", n);
    *n_clean = fkv_utf8_repair(text, n, repaired);
    *clean = repaired;
    if (!(bpe->pre->flags & (FKV_PRE_NFC | FKV_PRE_CHARACTERS))) return FKV_OK;
    const fkv_status status = bpe->pre->flags & FKV_PRE_NFC
                                  ? fkv_nfc(repaired, *n_clean, clean, n_clean, e)
                                  : fkv_mark_spaces(repaired, *n_clean, false, clean, n_clean, e);
    free(repaired);
    return status;
}

fkv_status fkv_bpe_encode(const struct fkv_bpe *bpe, const char *text, size_t n, struct fkv_merger *merger,
                          struct fkv_ids *ids, struct fkv_error *e)
{
    char *clean;
    size_t n_clean;
    fkv_status status = clean_text(bpe, text, n, &clean, &n_clean, e);
    if (status) return status;
    for (size_t i = 0, len; i < n_clean && !status; i += len) {
        len = bpe->pre->split(clean + i, n_clean - i);
        status = encode_piece(bpe, clean + i, len, merger, ids, e);
    }
    free(clean);
    return status;
}
