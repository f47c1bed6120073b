/* tiny_vocab.h: GGUF files with nothing but a small vocabulary, good ones and whatever a test makes of them. */
#ifndef FKV_TESTS_TINY_VOCAB_H
#define FKV_TESTS_TINY_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TINY_TOKENS = 400, TINY_MERGES = 64, TINY_NONE = -2, TINY_EMPTY = -1 };

struct tiny_vocab {
    const char *model, *pre; /* NULL: no such key */
    const char *token[TINY_TOKENS];
    int32_t type[TINY_TOKENS];
    float score[TINY_TOKENS];
    const char *merge[TINY_MERGES];
    int n_tokens, n_types, n_scores, n_merges; /* 0: no such key; n_merges may be TINY_EMPTY */
    int bos, eos, eot, fim_pad, unknown;       /* TINY_NONE: no such key */
    int32_t eos_ids[4];                        /* n_eos_ids used; 0: no such key */
    int n_eos_ids;
    int add_bos, add_eos, add_space_prefix;
};

/* Byte-level BPE: the 256 bytes in order of their values (id = byte), then merged and special tokens. */
struct tiny_vocab tiny_bpe(const char *pre);
/* SentencePiece: <unk> <s> </s>, the 256 bytes from id 3, then pieces with scores. */
struct tiny_vocab tiny_spm(void);
/* Adds a token; returns its id. The text must stay. */
int tiny_add(struct tiny_vocab *v, const char *text, int type, float score);
/* The file, malloc'ed. */
uint8_t *tiny_file(const struct tiny_vocab *v, size_t *bytes);

#endif
