#include "kv/sequence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

fkv_status fkv_sequence_create(struct fkv_sequence **sequence, const struct fkv_sequence_layer *layers, int n_layer,
                               int capacity)
{
    fkv_status status = FKV_ERROR_MEMORY;
    struct fkv_sequence *q = calloc(1, sizeof *q);
    if (!q) return status;
    *q = (struct fkv_sequence){.capacity = capacity, .ids_bytes = (size_t)capacity * sizeof *q->ids};
    q->ids = fkv_reserve(q->ids_bytes);
    q->layer = calloc((size_t)n_layer, sizeof *q->layer);
    if (!q->ids || !q->layer) goto error;
    for (; q->n_layer < n_layer; q->n_layer++) {
        struct fkv_sequence_layer *l = &q->layer[q->n_layer];
        *l = layers[q->n_layer];
        l->store = NULL;
        status = l->b->ops->kv_create(l->b, &l->store, &l->shape, capacity, false);
        if (status != FKV_OK) goto error;
    }
    *sequence = q;
    return FKV_OK;
error:
    fkv_sequence_destroy(q);
    return status;
}

void fkv_sequence_destroy(struct fkv_sequence *q)
{
    if (!q) return;
    for (int l = 0; l < q->n_layer; l++) q->layer[l].b->ops->kv_destroy(q->layer[l].store);
    free(q->layer);
    free(q->turn);
    fkv_unreserve(q->ids, q->ids_bytes);
    free(q);
}

fkv_status fkv_sequence_reserve(struct fkv_sequence *q, int n, int32_t last)
{
    fkv_status status = FKV_OK;
    for (int l = 0; l < q->n_layer && status == FKV_OK; l++)
        status = q->layer[l].b->ops->kv_reserve(q->layer[l].store, n, last);
    return status;
}

void fkv_sequence_cut(struct fkv_sequence *q, size_t n)
{
    for (int l = 0; l < q->n_layer; l++) q->layer[l].b->ops->kv_cut(q->layer[l].store, (int32_t)n);
    q->n_seen = n;
    if (n > 0) return;
    q->pruned_until = q->n_turns = 0;
}

fkv_status fkv_sequence_reserve_turn(struct fkv_sequence *q)
{
    if (q->n_turns < q->turn_room) return FKV_OK;
    const size_t room = 2 * q->turn_room + 1;
    struct fkv_sequence_turn *more = realloc(q->turn, room * sizeof *more);
    if (!more) return FKV_ERROR_MEMORY;
    q->turn = more;
    q->turn_room = room;
    return FKV_OK;
}

void fkv_sequence_add_turn(struct fkv_sequence *q, size_t first, size_t end, const char *policy)
{
    struct fkv_sequence_turn *turn = &q->turn[q->n_turns++];
    *turn = (struct fkv_sequence_turn){.first = first, .end = end};
    snprintf(turn->policy, sizeof turn->policy, "%s", policy);
    q->pruned_until = end;
}

fkv_status fkv_sequence_fork(struct fkv_sequence *q, size_t n, struct fkv_sequence **child)
{
    struct fkv_sequence *c = calloc(1, sizeof *c);
    if (!c) return FKV_ERROR_MEMORY;
    *c = *q;
    c->n_layer = 0;
    c->n_seen = n;
    c->turn = NULL;
    c->turn_room = 0;
    c->ids = fkv_reserve(q->ids_bytes);
    c->layer = calloc((size_t)q->n_layer, sizeof *c->layer);
    if (q->n_turns) c->turn = malloc(q->n_turns * sizeof *c->turn);
    fkv_status status = c->ids && c->layer && (c->turn || !q->n_turns) ? FKV_OK : FKV_ERROR_MEMORY;
    for (; status == FKV_OK && c->n_layer < q->n_layer; c->n_layer++) {
        const struct fkv_sequence_layer *from = &q->layer[c->n_layer];
        c->layer[c->n_layer] = *from;
        status = from->b->ops->kv_fork(from->store, (int32_t)n, &c->layer[c->n_layer].store);
        if (status != FKV_OK) break;
    }
    if (status != FKV_OK) {
        fkv_sequence_destroy(c);
        return status;
    }
    memcpy(c->ids, q->ids, n * sizeof *c->ids);
    if (q->n_turns) memcpy(c->turn, q->turn, q->n_turns * sizeof *c->turn);
    c->turn_room = q->n_turns;
    q->forked = c->forked = true;
    *child = c;
    return FKV_OK;
}

uint64_t fkv_sequence_bytes(const struct fkv_sequence *q)
{
    uint64_t bytes = 0;
    for (int l = 0; l < q->n_layer; l++) bytes += q->layer[l].b->ops->kv_bytes(q->layer[l].store);
    return bytes;
}

int fkv_sequence_longest(const struct fkv_sequence *q)
{
    int longest = 0;
    for (int l = 0; l < q->n_layer; l++)
        for (int h = 0; h < q->layer[l].shape.heads; h++) {
            const int n = q->layer[l].b->ops->kv_count(q->layer[l].store, h);
            if (n > longest) longest = n;
        }
    return longest;
}
