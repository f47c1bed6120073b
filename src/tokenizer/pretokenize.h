/* pretokenize.h: cuts text into the pieces inside which BPE may merge.

   Every rule is published as a regular expression and written here as a scanner: one pass, no backtracking, linear
   time. p{L} and p{N} are Unicode's letters and numbers (utf8proc), \s is its White_Space property. */
#ifndef FKV_TOKENIZER_PRETOKENIZE_H
#define FKV_TOKENIZER_PRETOKENIZE_H

#include "gguf/gguf.h"

/* A rule: the length of the first piece of n > 0 bytes of repaired UTF-8 (fkv_utf8_repair()), at least 1. */
typedef size_t fkv_split_rule(const char *text, size_t n);

enum fkv_pre_flags {
    FKV_PRE_WHOLE_WORDS = 1, /* a piece that is a token is that token, whatever the merges say */
    FKV_PRE_ADD_BOS = 2,     /* when the metadata does not say */
    FKV_PRE_NFC = 4,         /* text is composed first (normalize.h) */
    FKV_PRE_CHARACTERS = 8,  /* of characters, not of bytes (bpe.h) */
};

struct fkv_pretokenizer {
    const char *name; /* tokenizer.ggml.pre */
    fkv_split_rule *split;
    unsigned flags; /* enum fkv_pre_flags */
};

/* NULL when the name is unknown. */
const struct fkv_pretokenizer *fkv_pretokenizer_find(struct fkv_str name);
/* The known names, for messages: "default, gpt-2, ...", cut to fit. */
void fkv_pretokenizer_names(char *text, size_t bytes);

#endif
