/* vocab.h: the token strings of a GGUF file, found by id and by text. */
#ifndef FKV_TOKENIZER_VOCAB_H
#define FKV_TOKENIZER_VOCAB_H

#include "base/warnings.h"
#include "gguf/gguf.h"
#include "tokenizer/table.h"

/* No token of any known vocabulary is half as long, and with a bound even hostile vocabularies keep every search
   short. */
enum { FKV_TOKEN_BYTES = 1024 };

enum fkv_token_type { /* numbers of tokenizer.ggml.token_type */
                      FKV_TOKEN_NORMAL = 1,
                      FKV_TOKEN_UNKNOWN,
                      FKV_TOKEN_CONTROL,
                      FKV_TOKEN_USER_DEFINED,
                      FKV_TOKEN_UNUSED,
                      FKV_TOKEN_BYTE
};

/* n strings in one block. */
struct fkv_strings {
    char *data;
    size_t *begin; /* [n + 1]: string i is data[begin[i] .. begin[i + 1]) */
};

struct fkv_vocab {
    int n;
    struct fkv_strings texts; /* as the file spells them: byte-level characters, U+2581 for spaces */
    uint8_t *type;            /* [n] enum fkv_token_type */
    struct fkv_table by_text; /* hash of a text -> id; of equal texts the lowest id. Empty texts are not in it. */
};

/* Reads tokenizer.ggml.tokens and .token_type (missing: all normal; a type without a meaning: normal, with a warning).
   *vocab is zeroed first; free it also after a failure. */
fkv_status fkv_vocab_load(struct fkv_vocab *vocab, const struct fkv_gguf *gguf, struct fkv_warnings *warnings,
                          struct fkv_error *e);
/* Fills by_text from n and texts; what: the key at fault, for messages. */
fkv_status fkv_vocab_index(struct fkv_vocab *vocab, const char *what, struct fkv_error *e);
void fkv_vocab_free(struct fkv_vocab *vocab);

/* The id whose text is these n bytes, or -1. O(n). */
int32_t fkv_vocab_find(const struct fkv_vocab *vocab, const char *text, size_t n);

static inline struct fkv_str fkv_strings_get(const struct fkv_strings *strings, int i)
{
    return (struct fkv_str){strings->data + strings->begin[i], strings->begin[i + 1] - strings->begin[i]};
}

static inline struct fkv_str fkv_vocab_text(const struct fkv_vocab *vocab, int32_t id)
{
    return fkv_strings_get(&vocab->texts, id);
}

#endif
