#include "tokenizer/merge.h"

#include <stdlib.h>

fkv_status fkv_merger_start(struct fkv_merger *merger, size_t n, struct fkv_error *e)
{
    merger->n_symbols = merger->n_pairs = 0;
    if (n <= merger->cap) return FKV_OK;
    fkv_merger_free(merger);
    const size_t cap = n < 64 ? 64 : n + n / 2;
    merger->symbols = malloc(cap * sizeof *merger->symbols);
    merger->heap = malloc(2 * cap * sizeof *merger->heap);
    if (!merger->symbols || !merger->heap) {
        fkv_merger_free(merger);
        return fkv_fail(e, FKV_ERROR_MEMORY, "no memory to tokenise a word of %zu symbols", n);
    }
    merger->cap = cap;
    return FKV_OK;
}

void fkv_merger_add(struct fkv_merger *merger, size_t start, size_t n, int32_t id)
{
    const int32_t i = (int32_t)merger->n_symbols++;
    merger->symbols[i] = (struct fkv_symbol){(uint32_t)start, (uint32_t)n, id, i - 1, -1};
    if (i > 0) merger->symbols[i - 1].next = i;
}

/* Lets pair sink from place i until none of its children goes before it. */
static void sink(struct fkv_pair *heap, size_t n, size_t i, struct fkv_pair pair)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1].order < heap[child].order) child++;
        if (pair.order <= heap[child].order) break;
        heap[i] = heap[child];
    }
    heap[i] = pair;
}

static void push(struct fkv_merger *m, struct fkv_pair pair)
{
    size_t i = m->n_pairs++;
    for (size_t parent; i > 0 && pair.order < m->heap[parent = (i - 1) / 2].order; i = parent)
        m->heap[i] = m->heap[parent];
    m->heap[i] = pair;
}

static struct fkv_pair pop(struct fkv_merger *m)
{
    const struct fkv_pair best = m->heap[0];
    m->n_pairs--;
    if (m->n_pairs) sink(m->heap, m->n_pairs, 0, m->heap[m->n_pairs]);
    return best;
}

/* The pair of symbol i and the next one; false when they do not merge. */
static bool find_pair(const struct fkv_merger *m, int32_t i, fkv_pair_rule *rule, const void *context,
                      struct fkv_pair *pair)
{
    if (i < 0 || m->symbols[i].next < 0) return false;
    const struct fkv_symbol *left = &m->symbols[i], *right = &m->symbols[left->next];
    uint32_t priority;
    pair->id = rule(context, left, right, &priority);
    if (pair->id < 0) return false;
    pair->order = (uint64_t)priority << 32 | (uint32_t)i;
    pair->n = left->n + right->n;
    return true;
}

void fkv_merger_run(struct fkv_merger *m, fkv_pair_rule *rule, const void *context)
{
    struct fkv_pair pair;
    for (size_t i = 0; i + 1 < m->n_symbols; i++)
        if (find_pair(m, (int32_t)i, rule, context, &pair)) m->heap[m->n_pairs++] = pair;
    for (size_t i = m->n_pairs / 2; i-- > 0;) sink(m->heap, m->n_pairs, i, m->heap[i]);

    /* Every merge takes one pair off and puts at most two on: 2 n places are enough. */
    while (m->n_pairs) {
        pair = pop(m);
        const int32_t i = (int32_t)(uint32_t)pair.order;
        struct fkv_symbol *left = &m->symbols[i];
        if (left->n == 0 || left->next < 0) continue;
        struct fkv_symbol *right = &m->symbols[left->next];
        if (left->n + right->n != pair.n) continue; /* one of the two has grown: symbols only ever grow to the right */
        left->n = pair.n;
        left->id = pair.id;
        left->next = right->next;
        right->n = 0;
        if (left->next >= 0) m->symbols[left->next].prev = i;
        struct fkv_pair found;
        if (find_pair(m, left->prev, rule, context, &found)) push(m, found);
        if (find_pair(m, i, rule, context, &found)) push(m, found);
    }
}

void fkv_merger_free(struct fkv_merger *merger)
{
    free(merger->symbols);
    free(merger->heap);
    *merger = (struct fkv_merger){0};
}
