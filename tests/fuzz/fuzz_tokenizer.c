/* The tokenizers over any text, with small built-in vocabularies: ids in range, and where no byte can be lost, decoding
   gives the text back. The first byte of the input chooses vocabulary and flags. */
#include <stdlib.h>
#include <string.h>

#include "support/tiny_vocab.h"
#include "tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { SPM, GEMMA4, N_VOCABS = 13 };

static struct fkv_tokenizer *load(int which)
{
    static const char *const rules[N_VOCABS] = {NULL,          "gemma4",         "gpt-2",  "smollm", "qwen2",
                                                "llama-bpe",   "tekken",         "gpt-4o", "qwen35", "minicpm5",
                                                "deepseek-v3", "deepseek-coder", "default"};
    struct tiny_vocab v = which == SPM || which == GEMMA4 ? tiny_spm() : tiny_bpe(rules[which]);
    if (which == GEMMA4) {
        v.model = "gemma4";
        v.merge[v.n_merges++] = "l l";
        v.merge[v.n_merges++] = "\xe2\x96\x81 h";
    }
    size_t bytes;
    uint8_t *file = tiny_file(&v, &bytes);
    struct fkv_gguf *gguf;
    struct fkv_tokenizer *t;
    if (fkv_gguf_open_memory(&gguf, file, bytes, NULL) || fkv_tokenizer_create(&t, gguf, NULL, NULL)) abort();
    fkv_gguf_close(gguf);
    free(file);
    return t;
}

/* The text is all ASCII: then nothing is repaired, and every byte comes back. */
static bool is_ascii(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] & 0x80) return false;
    return true;
}

static void check_round_trip(const struct fkv_tokenizer *t, const char *text, size_t n, const int32_t *ids,
                             size_t n_ids)
{
    size_t at = 0;
    for (size_t i = 0; i < n_ids; i++) {
        const char *piece;
        const size_t n_piece = fkv_tokenizer_bytes(t, ids[i], true, &piece);
        if (n_piece > n - at || memcmp(text + at, piece, n_piece) != 0) abort();
        at += n_piece;
    }
    if (at != n) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct fkv_tokenizer *tokenizers[N_VOCABS]; /* kept until the end of the process */
    if (bytes == 0) return 0;
    const int which = data[0] % N_VOCABS;
    const unsigned flags = (data[0] / N_VOCABS) & (FKV_TOKENIZE_ADD_SPECIAL | FKV_TOKENIZE_PARSE_SPECIAL);
    if (!tokenizers[which]) tokenizers[which] = load(which);
    const struct fkv_tokenizer *t = tokenizers[which];
    const char *text = (const char *)data + 1;
    const size_t n = bytes - 1;
    int32_t *ids;
    size_t n_ids;
    if (fkv_tokenizer_encode(t, text, n, flags, &ids, &n_ids, NULL)) abort();
    for (size_t i = 0; i < n_ids; i++)
        if (ids[i] < 0 || ids[i] >= fkv_tokenizer_n_vocab(t)) abort();
    if (which != SPM && !(flags & FKV_TOKENIZE_ADD_SPECIAL) && is_ascii(text, n))
        check_round_trip(t, text, n, ids, n_ids);
    free(ids);
    return 0;
}
