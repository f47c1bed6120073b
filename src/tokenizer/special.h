/* special.h: finds special tokens in text, the longest one at each place. A trie, so no text byte is looked at more
   than FKV_TOKEN_BYTES times even for hostile vocabularies, and about once for ordinary ones. */
#ifndef FKV_TOKENIZER_SPECIAL_H
#define FKV_TOKENIZER_SPECIAL_H

#include "tokenizer/vocab.h"

struct fkv_specials {
    struct fkv_trie_node
        *nodes; /* breadth first: the children of a node are neighbours, ascending by byte; [0] is the root */
    int32_t root_child[256]; /* the root's child of each byte, or -1 */
};

/* Takes in every control, user-defined and unknown token of the vocabulary. Free it also after a failure. */
fkv_status fkv_specials_build(struct fkv_specials *specials, const struct fkv_vocab *vocab, struct fkv_error *e);
void fkv_specials_free(struct fkv_specials *specials);

/* The longest special token that starts n > 0 bytes of text, its length in *len; -1: none does. User-defined tokens are
   always recognised, the others only with `control`. */
int32_t fkv_specials_match(const struct fkv_specials *specials, const struct fkv_vocab *vocab, const char *text,
                           size_t n, bool control, size_t *len);

#endif
