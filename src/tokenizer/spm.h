/* spm.h: SentencePiece's byte-pair models (Llama 1 and 2, Gemma).

   Spaces become U+2581, every character starts as a symbol, and the neighbours whose joint text is the token of the
   highest score merge first. A character that is no token falls back to the tokens of its bytes, <0x00> to <0xFF>.
   Source: Kudo and Richardson 2018 (arXiv 1808.06226). */
#ifndef FKV_TOKENIZER_SPM_H
#define FKV_TOKENIZER_SPM_H

#include "tokenizer/ids.h"
#include "tokenizer/merge.h"
#include "tokenizer/vocab.h"

struct fkv_spm {
    const struct fkv_vocab *vocab;
    uint32_t *priority; /* [vocab->n] order of the scores, highest first */
    int32_t byte_id[256];
    bool joins_space[256]; /* some token has this byte just before an inner U+2581: no word may be cut there */
};

/* Reads tokenizer.ggml.scores (missing: all equal, with a warning). unknown: the token for bytes that have none, or -1.
   vocab must outlive it; *spm is zeroed first; free it also after a failure. */
fkv_status fkv_spm_load(struct fkv_spm *spm, const struct fkv_vocab *vocab, const struct fkv_gguf *gguf,
                        int32_t unknown, struct fkv_warnings *warnings, struct fkv_error *e);
void fkv_spm_free(struct fkv_spm *spm);

/* Whether two other tokens can merge into this one. */
bool fkv_spm_makes(const struct fkv_spm *spm, int32_t id);

/* Appends the ids of n bytes of anything. space_prefix: as if a space stood before them. */
fkv_status fkv_spm_encode(const struct fkv_spm *spm, const char *text, size_t n, bool space_prefix,
                          struct fkv_merger *merger, struct fkv_ids *ids, struct fkv_error *e);

/* *marked: malloc'ed, the n bytes of text with U+2581 for each space, and one before them when space_prefix. */
fkv_status fkv_mark_spaces(const char *text, size_t n, bool space_prefix, char **marked, size_t *n_marked,
                           struct fkv_error *e);

/* Turns a token's text into the bytes it stands for: at most text.n of them. Returns their number. */
size_t fkv_spm_decode(struct fkv_str text, enum fkv_token_type type, char *bytes);

#endif
