#define _GNU_SOURCE
#include "tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/bpe.h"
#include "tokenizer/ends.h"
#include "tokenizer/special.h"
#include "tokenizer/spm.h"

/* Every byte may become a U+2581, and symbols are counted in 31 bits. */
enum { TEXT_BYTES = 1 << 29 };

struct fkv_tokenizer {
    struct fkv_vocab vocab;
    struct fkv_strings bytes; /* what each token stands for */
    struct fkv_specials specials;
    bool is_spm;
    bool marks_spaces;  /* tokens spell them U+2581, and bytes <0xXX> */
    struct fkv_bpe bpe; /* when not is_spm */
    struct fkv_spm spm; /* when is_spm */
    int32_t bos, eos;   /* -1: none */
    bool add_bos, add_eos, space_prefix;
    bool *ends_turn;          /* [vocab.n] */
    struct fkv_error refusal; /* why text does not become ids; "": it does */
};

static bool makes_token(const void *context, int32_t id)
{
    const struct fkv_tokenizer *t = context;
    if (*t->refusal.text) return false;
    return t->is_spm ? fkv_spm_makes(&t->spm, id) : fkv_bpe_makes(&t->bpe, id);
}

static fkv_status decode_tokens(struct fkv_tokenizer *t, struct fkv_error *e)
{
    const int n = t->vocab.n;
    t->bytes.data = malloc(t->vocab.texts.begin[n] + 1);
    t->bytes.begin = malloc(((size_t)n + 1) * sizeof *t->bytes.begin);
    if (!t->bytes.data || !t->bytes.begin)
        return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for a vocabulary of %d tokens", n);
    size_t used = 0;
    for (int32_t id = 0; id < n; id++) {
        const struct fkv_str text = fkv_vocab_text(&t->vocab, id);
        const enum fkv_token_type type = t->vocab.type[id];
        char *to = t->bytes.data + used;
        t->bytes.begin[id] = used;
        if (t->marks_spaces) {
            used += fkv_spm_decode(text, type, to);
        } else if (type == FKV_TOKEN_NORMAL || type == FKV_TOKEN_UNUSED || type == FKV_TOKEN_BYTE) {
            used += fkv_bpe_decode(text, to);
        } else { /* special tokens stand outside the byte alphabet */
            memcpy(to, text.data, text.n);
            used += text.n;
        }
    }
    t->bytes.begin[n] = used;
    return FKV_OK;
}

/* How text becomes ids. Not to know it is a failure only of those who have a text. */
static fkv_status load_rules(struct fkv_tokenizer *t, const struct fkv_gguf *gguf, int32_t unknown,
                             struct fkv_warnings *warnings, struct fkv_error *e)
{
    const struct fkv_str lines = {"gemma4", 6}, key = {NULL, 0};
    if (*t->refusal.text) return FKV_OK;
    if (t->is_spm) return fkv_spm_load(&t->spm, &t->vocab, gguf, unknown, warnings, e);
    struct fkv_error why = {""};
    const fkv_status status = fkv_bpe_load(&t->bpe, &t->vocab, gguf, t->marks_spaces ? lines : key, warnings, &why);
    if (status == FKV_ERROR_UNSUPPORTED) t->refusal = why;
    if (status == FKV_OK) t->marks_spaces = t->bpe.pre->flags & FKV_PRE_CHARACTERS;
    return status && status != FKV_ERROR_UNSUPPORTED ? fkv_fail(e, status, "%s", why.text) : FKV_OK;
}

/* Finds out which of the kinds this is, and loads it. *add_bos: the kind's default. */
static fkv_status load_model(struct fkv_tokenizer *t, const struct fkv_gguf *gguf, bool *add_bos,
                             struct fkv_warnings *warnings, struct fkv_error *e)
{
    static const char key[] = "tokenizer.ggml.model";
    struct fkv_str model = {NULL, 0};
    fkv_status status = fkv_gguf_str(gguf, key, &model, e);
    if (status) return status;
    if (!model.data) return fkv_fail(e, FKV_ERROR_FORMAT, "%s: missing", key);
    const bool gemma4 = fkv_str_is(model, "gemma4"), llama = fkv_str_is(model, "llama");
    t->marks_spaces = !fkv_str_is(model, "gpt2"); /* many a kind does */
    t->is_spm = t->marks_spaces && !gemma4;
    if (t->is_spm && !llama) {
        fkv_fail(&t->refusal, FKV_ERROR_UNSUPPORTED, "%s: \"%.*s\" is not supported (supported: gpt2, llama, gemma4)",
                 key, model.n < 40 ? (int)model.n : 40, model.data);
        if (!fkv_gguf_has(gguf, "tokenizer.ggml.tokens")) return FKV_OK;
    }
    if ((status = fkv_vocab_load(&t->vocab, gguf, warnings, e))) return status;

    int32_t unknown = -1;
    if (llama && t->vocab.n > 2) unknown = 0, t->bos = 1, t->eos = 2; /* SentencePiece's own numbering */
    fkv_read_token_id(&unknown, &t->vocab, gguf, "tokenizer.ggml.unknown_token_id", warnings);
    fkv_read_token_id(&t->bos, &t->vocab, gguf, "tokenizer.ggml.bos_token_id", warnings);
    status = load_rules(t, gguf, unknown, warnings, e);
    *add_bos = llama || (t->bpe.pre && (t->bpe.pre->flags & FKV_PRE_ADD_BOS));
    return status;
}

/* The flag under a key, which needs a token: without it the flag is off, with a warning. */
static void read_flag(bool *flag, const struct fkv_gguf *gguf, const char *key, int32_t token, const char *token_key,
                      struct fkv_warnings *warnings)
{
    struct fkv_error why = {""};
    if (fkv_gguf_bool(gguf, key, flag, &why)) fkv_warn(warnings, "%.400s: ignored", why.text);
    if (!*flag || token >= 0) return;
    *flag = false;
    fkv_warn(warnings, "%s is true, but there is no %s: ignored", key, token_key);
}

static void load_flags(struct fkv_tokenizer *t, const struct fkv_gguf *gguf, bool add_bos,
                       struct fkv_warnings *warnings)
{
    t->add_bos = add_bos && t->bos >= 0;
    t->space_prefix = t->is_spm;
    read_flag(&t->add_bos, gguf, "tokenizer.ggml.add_bos_token", t->bos, "tokenizer.ggml.bos_token_id", warnings);
    read_flag(&t->add_eos, gguf, "tokenizer.ggml.add_eos_token", t->eos, "tokenizer.ggml.eos_token_id", warnings);
    read_flag(&t->space_prefix, gguf, "tokenizer.ggml.add_space_prefix", 0, NULL, warnings);
}

/* What is known of single tokens. */
static fkv_status load_tokens(struct fkv_tokenizer *t, const struct fkv_gguf *gguf, bool add_bos,
                              struct fkv_warnings *warnings, struct fkv_error *e)
{
    t->ends_turn = calloc(t->vocab.n, sizeof *t->ends_turn);
    if (!t->ends_turn) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for a vocabulary of %d tokens", t->vocab.n);
    fkv_ends_find(t->ends_turn, &t->eos, &t->vocab, gguf, makes_token, t, warnings);
    load_flags(t, gguf, add_bos, warnings);
    const fkv_status status = decode_tokens(t, e);
    return status ? status : fkv_specials_build(&t->specials, &t->vocab, e);
}

/* Without a vocabulary the one end is what the key says. */
static fkv_status load_end(struct fkv_tokenizer *t, const struct fkv_gguf *gguf, struct fkv_error *e)
{
    uint32_t eos = UINT32_MAX;
    const fkv_status status = fkv_gguf_u32(gguf, "tokenizer.ggml.eos_token_id", &eos, e);
    if (!status && eos <= INT32_MAX) t->eos = (int32_t)eos;
    return status;
}

fkv_status fkv_tokenizer_create(struct fkv_tokenizer **tokenizer, const struct fkv_gguf *gguf,
                                struct fkv_warnings *warnings, struct fkv_error *e)
{
    bool add_bos = false;
    struct fkv_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for a tokenizer");
    t->bos = t->eos = -1;
    fkv_status status = load_model(t, gguf, &add_bos, warnings, e);
    if (!status) status = t->vocab.n ? load_tokens(t, gguf, add_bos, warnings, e) : load_end(t, gguf, e);
    if (!status && *t->refusal.text) fkv_warn(warnings, "prompts can be given as ids only: %s", t->refusal.text);
    if (status)
        fkv_tokenizer_destroy(t);
    else
        *tokenizer = t;
    return status;
}

void fkv_tokenizer_destroy(struct fkv_tokenizer *t)
{
    if (!t) return;
    fkv_vocab_free(&t->vocab);
    fkv_specials_free(&t->specials);
    fkv_bpe_free(&t->bpe);
    fkv_spm_free(&t->spm);
    free(t->bytes.data);
    free(t->bytes.begin);
    free(t->ends_turn);
    free(t);
}

int fkv_tokenizer_n_vocab(const struct fkv_tokenizer *t) { return t->vocab.n; }
int32_t fkv_tokenizer_bos(const struct fkv_tokenizer *t) { return t->bos; }
int32_t fkv_tokenizer_eos(const struct fkv_tokenizer *t) { return t->eos; }
bool fkv_tokenizer_is_end(const struct fkv_tokenizer *t, int32_t id)
{
    return id >= 0 && (id < t->vocab.n ? t->ends_turn[id] : id == t->eos);
}

size_t fkv_tokenizer_bytes(const struct fkv_tokenizer *t, int32_t id, bool special, const char **bytes)
{
    *bytes = "";
    if (id < 0 || id >= t->vocab.n) return 0;
    if (!special && (t->vocab.type[id] == FKV_TOKEN_CONTROL || t->vocab.type[id] == FKV_TOKEN_UNKNOWN)) return 0;
    const struct fkv_str text = fkv_strings_get(&t->bytes, id);
    *bytes = text.data;
    return text.n;
}

/* ---- marks ------------------------------------------------------------------------------------- */

enum { MARK = sizeof FKV_MARK - 1 };

static bool is_mark(const char *text, size_t n) { return n >= MARK && !memcmp(text, FKV_MARK, MARK); }

/* Bytes of the character that begins the text; what is no UTF-8 is one of one byte. */
static size_t first_character(const char *text, size_t n)
{
    size_t bytes = 1;
    while (bytes < n && ((uint8_t)text[0] & 0xC0) == 0xC0 && ((uint8_t)text[bytes] & 0xC0) == 0x80) bytes++;
    return bytes;
}

/* A copy of n bytes without marks; NULL: no memory. *n: what is left. */
static char *without_marks(const char *text, size_t *n)
{
    char *copy = malloc(*n + 1), *to = copy;
    for (size_t i = 0; copy && i < *n;) {
        if (is_mark(text + i, *n - i))
            i += MARK;
        else
            *to++ = text[i++];
    }
    if (copy) *n = (size_t)(to - copy);
    return copy;
}

/* Does a token begin the text that only control finds? A longer user-defined one is what encoding would find. */
static bool spells_control(const struct fkv_tokenizer *t, const char *text, size_t n)
{
    size_t length;
    if (!t->specials.nodes) return false;
    const int32_t id = fkv_specials_match(&t->specials, &t->vocab, text, n, true, &length);
    return id >= 0 && t->vocab.type[id] != FKV_TOKEN_USER_DEFINED;
}

fkv_status fkv_tokenizer_mark(const struct fkv_tokenizer *t, const char *text, char **marked, struct fkv_error *e)
{
    size_t n = strlen(text);
    char *plain = without_marks(text, &n), *copy = malloc((MARK + 1) * n + 1), *to = copy;
    for (size_t i = 0, bytes; plain && copy && i < n; i += bytes) {
        bytes = first_character(plain + i, n - i);
        memcpy(to, plain + i, bytes);
        to += bytes;
        if (!spells_control(t, plain + i, n - i)) continue;
        memcpy(to, FKV_MARK, MARK);
        to += MARK;
    }
    free(plain);
    if (!plain || !copy) {
        free(copy);
        return fkv_fail(e, FKV_ERROR_MEMORY, "no memory to look for control tokens in %zu bytes", n);
    }
    *to = '\0';
    *marked = copy;
    return FKV_OK;
}

/* ---- text to ids ------------------------------------------------------------------------------- */

static fkv_status encode_plain(const struct fkv_tokenizer *t, const char *text, size_t n, struct fkv_merger *merger,
                               struct fkv_ids *ids, struct fkv_error *e)
{
    return t->is_spm ? fkv_spm_encode(&t->spm, text, n, t->space_prefix, merger, ids, e)
                     : fkv_bpe_encode(&t->bpe, text, n, merger, ids, e);
}

/* A text between special tokens; marked: it may have marks. */
static fkv_status encode_piece(const struct fkv_tokenizer *t, const char *text, size_t n, bool marked,
                               struct fkv_merger *merger, struct fkv_ids *ids, struct fkv_error *e)
{
    if (!marked || !memmem(text, n, FKV_MARK, MARK)) return encode_plain(t, text, n, merger, ids, e);
    char *plain = without_marks(text, &n);
    if (!plain) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for a text of %zu bytes", n);
    const fkv_status status = n ? encode_plain(t, plain, n, merger, ids, e) : FKV_OK;
    free(plain);
    return status;
}

/* The text between special tokens, and the specials themselves. */
static fkv_status encode_text(const struct fkv_tokenizer *t, const char *text, size_t n, bool control,
                              struct fkv_merger *merger, struct fkv_ids *ids, struct fkv_error *e)
{
    fkv_status status = FKV_OK;
    size_t start = 0, len = 1;
    for (size_t i = 0; i <= n && !status; i += len) {
        const int32_t id = i < n ? fkv_specials_match(&t->specials, &t->vocab, text + i, n - i, control, &len) : -1;
        if (id < 0) len = 1;
        if (id < 0 && i < n) continue;
        if (i > start) status = encode_piece(t, text + start, i - start, control, merger, ids, e);
        if (id >= 0 && !status) status = fkv_ids_push(ids, id, e);
        start = i + len;
    }
    return status;
}

fkv_status fkv_tokenizer_encode(const struct fkv_tokenizer *t, const char *text, size_t n, unsigned flags,
                                int32_t **ids_out, size_t *n_ids, struct fkv_error *e)
{
    struct fkv_ids ids = {0};
    struct fkv_merger merger = {0};
    fkv_status status = FKV_OK;
    if (*t->refusal.text) return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "%s", t->refusal.text);
    if (n > TEXT_BYTES)
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "a text of %zu bytes, at most %d can be tokenised at once", n,
                        TEXT_BYTES);
    const bool add_special = flags & FKV_TOKENIZE_ADD_SPECIAL, parse_special = flags & FKV_TOKENIZE_PARSE_SPECIAL;
    if (add_special && t->add_bos) status = fkv_ids_push(&ids, t->bos, e);
    if (!status) status = encode_text(t, text, n, parse_special, &merger, &ids, e);
    if (!status && add_special && t->add_eos) status = fkv_ids_push(&ids, t->eos, e);
    fkv_merger_free(&merger);
    if (!status && !ids.id) ids.id = malloc(sizeof *ids.id); /* an empty result is an array as well */
    if (!status && !ids.id) status = fkv_fail(e, FKV_ERROR_MEMORY, "no memory for token ids");
    if (status) {
        free(ids.id);
        return status;
    }
    *ids_out = ids.id;
    *n_ids = ids.n;
    return FKV_OK;
}
