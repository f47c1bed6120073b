/* sequence.h: one timeline of tokens: the ids seen, and what every layer has kept of them.

   What a layer keeps lies in a store of its back end: per KV head a list of entries (absolute position, K already
   rotated, V). Counts differ per layer and head. The next position is the number of tokens seen, never a count of
   entries. */
#ifndef FKV_KV_SEQUENCE_H
#define FKV_KV_SEQUENCE_H

#include "backend/backend.h"

/* Tokens first .. end - 1 came as one turn, of which a policy dropped something: it can be extended, not cut. */
struct fkv_sequence_turn {
    size_t first, end;
    char policy[FKV_KV_TEXT_BYTES]; /* and its values: see fkv_kv_text() */
};

/* Where the store of a layer is, and its shape. */
struct fkv_sequence_layer {
    struct fkv_backend *b;
    struct fkv_kv_shape shape;
    struct fkv_kv_store *store;
};

struct fkv_sequence {
    int capacity; /* most tokens */
    int n_layer;
    struct fkv_sequence_layer *layer; /* [n_layer] */
    int32_t *ids;                     /* [capacity] */
    size_t n_seen;
    size_t pruned_until;            /* the last turn's end: there is no cutting back before it */
    struct fkv_sequence_turn *turn; /* [n_turns] ascending */
    size_t n_turns, turn_room;
    bool forked; /* its stores may share memory with another's */
    size_t ids_bytes;
};

/* layers: [n_layer] back ends and shapes; copied. Memory is taken as entries come. */
fkv_status fkv_sequence_create(struct fkv_sequence **q, const struct fkv_sequence_layer *layers, int n_layer,
                               int capacity);
/* NULL is allowed. */
void fkv_sequence_destroy(struct fkv_sequence *q);

/* Room for n more tokens in every layer, the latest at position `last`; FKV_ERROR_MEMORY leaves what it holds. */
fkv_status fkv_sequence_reserve(struct fkv_sequence *q, int n, int32_t last);
/* Forgets the tokens from position n on. The caller has seen to it that n is 0 or at least pruned_until. */
void fkv_sequence_cut(struct fkv_sequence *q, size_t n);
/* Room for one more turn: fkv_sequence_add_turn() takes none. */
fkv_status fkv_sequence_reserve_turn(struct fkv_sequence *q);
/* Notes that a policy (its text is copied) dropped something of the tokens first .. end - 1, the latest. */
void fkv_sequence_add_turn(struct fkv_sequence *q, size_t first, size_t end, const char *policy);
/* A sequence of the first n tokens, which shares memory with this one where the back end can. The same holds for n. */
fkv_status fkv_sequence_fork(struct fkv_sequence *q, size_t n, struct fkv_sequence **child);

/* Bytes of the entries held, whole tiles; most entries of any head. */
uint64_t fkv_sequence_bytes(const struct fkv_sequence *q);
int fkv_sequence_longest(const struct fkv_sequence *q);

#endif
