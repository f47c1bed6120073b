/* bpe.h: byte-pair encoding, of bytes (GPT-2 and all who followed) or of characters (Gemma 4).

   The vocabulary spells each byte as one visible character: printable Latin-1 bytes as themselves, the other 68 as
   U+0100 upwards. Text is cut into pieces by the model's pre-tokeniser, every byte of a piece starts as its own token,
   and neighbours merge in the order of tokenizer.ggml.merges. Source: Sennrich et al. 2016 (arXiv 1508.07909); GPT-2's
   encoder. */
#ifndef FKV_TOKENIZER_BPE_H
#define FKV_TOKENIZER_BPE_H

#include "tokenizer/ids.h"
#include "tokenizer/merge.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/vocab.h"

struct fkv_bpe {
    const struct fkv_vocab *vocab;
    const struct fkv_pretokenizer *pre;
    int32_t byte_id[256]; /* the token of a byte; none (-1, or >= vocab->n): such bytes are dropped from the text */
    /* Texts that merges name though they are no tokens, with ids from vocab->n: what is merged into one goes out byte
       by byte, if no further merge makes a token of it. */
    struct fkv_vocab missing;
    struct fkv_table merges; /* left id << 32 | right id -> rank << 32 | merged id */
};

/* Reads tokenizer.ggml.merges (may be empty), with warnings for what they lack. pre: the rule by which text is cut;
   {NULL}: the key tokenizer.ggml.pre says (missing or empty: "default"). vocab must outlive it; *bpe is zeroed first;
   free it also after a failure. */
fkv_status fkv_bpe_load(struct fkv_bpe *bpe, const struct fkv_vocab *vocab, const struct fkv_gguf *gguf,
                        struct fkv_str pre, struct fkv_warnings *warnings, struct fkv_error *e);
void fkv_bpe_free(struct fkv_bpe *bpe);

/* Whether a merge makes this token. Looks at all of them. */
bool fkv_bpe_makes(const struct fkv_bpe *bpe, int32_t id);

/* Appends the ids of n bytes of anything; bad UTF-8 as fkv_utf8_repair() has it. */
fkv_status fkv_bpe_encode(const struct fkv_bpe *bpe, const char *text, size_t n, struct fkv_merger *merger,
                          struct fkv_ids *ids, struct fkv_error *e);

/* Turns a token's text into the bytes it stands for: at most text.n of them. Returns their number. */
size_t fkv_bpe_decode(struct fkv_str text, char *bytes);

#endif
