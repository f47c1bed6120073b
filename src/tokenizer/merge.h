/* merge.h: repeated merging of neighbours, best pair first; the step that byte-level BPE and SentencePiece share.

   Symbols are a linked list; candidate pairs wait in a heap. A pair that has meanwhile changed is recognised when it
   comes up and dropped, so n symbols take O(n log n) whatever they are. The leftmost of equally good pairs goes
   first. */
#ifndef FKV_TOKENIZER_MERGE_H
#define FKV_TOKENIZER_MERGE_H

#include "base/error.h"

struct fkv_symbol {
    uint32_t start, n;  /* its bytes in the text; n = 0: merged into its left neighbour */
    int32_t id;         /* its token, or -1 */
    int32_t prev, next; /* -1 at the ends */
};

struct fkv_pair {
    uint64_t order; /* priority << 32 | left symbol */
    int32_t id;
    uint32_t n; /* bytes of both when it was found */
};

/* Scratch memory, used again for word after word. Starts zeroed. */
struct fkv_merger {
    struct fkv_symbol *symbols; /* [cap], n_symbols used; symbol 0 is always the first of the list */
    struct fkv_pair *heap;      /* [2 cap], n_pairs used */
    size_t n_symbols, n_pairs, cap;
};

/* What two neighbours become: a token id, or -1; *priority: lower goes first. */
typedef int32_t fkv_pair_rule(const void *context, const struct fkv_symbol *left, const struct fkv_symbol *right,
                              uint32_t *priority);

/* Empties the list and makes room for n < 2^31 symbols. */
fkv_status fkv_merger_start(struct fkv_merger *merger, size_t n, struct fkv_error *e);
/* Appends a symbol; at most the n of fkv_merger_start(). */
void fkv_merger_add(struct fkv_merger *merger, size_t start, size_t n, int32_t id);
/* Merges until no pair is left. What remains is the list from symbol 0 by `next`. */
void fkv_merger_run(struct fkv_merger *merger, fkv_pair_rule *rule, const void *context);
void fkv_merger_free(struct fkv_merger *merger);

#endif
