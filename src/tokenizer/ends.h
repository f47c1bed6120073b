/* ends.h: which tokens end a turn, by the file's metadata and by name. */
#ifndef FKV_TOKENIZER_ENDS_H
#define FKV_TOKENIZER_ENDS_H

#include "tokenizer/vocab.h"

/* Whether ordinary text can become this token. */
typedef bool fkv_makes_token(const void *context, int32_t id);

/* Sets ends[vocab->n] for the ids under eos_token_id (*eos: its default, then it), eot, eom, fim_pad, fim_rep and
   fim_sep, for the array eos_token_ids, and for the well-known names of end tokens. A token of such a name becomes a
   control token, unless it is a normal token that text can become: then it has the name by chance, and stays. Ids
   outside of the vocabulary are warned of. */
void fkv_ends_find(bool *ends, int32_t *eos, struct fkv_vocab *vocab, const struct fkv_gguf *gguf,
                   fkv_makes_token *makes, const void *context, struct fkv_warnings *warnings);

/* The token id under a key; *id stays as it was when there is none, or none that the vocabulary has (a warning). */
void fkv_read_token_id(int32_t *id, const struct fkv_vocab *vocab, const struct fkv_gguf *gguf, const char *key,
                       struct fkv_warnings *warnings);

#endif
