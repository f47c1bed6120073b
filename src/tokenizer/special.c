#include "tokenizer/special.h"

#include <stdlib.h>
#include <string.h>

struct fkv_trie_node {
    int32_t first_child, token; /* token: that ends here, or -1 */
    uint16_t n_children;
    uint8_t byte; /* on the way from the parent */
};

/* While the trie is built: the sorted texts [begin, end) share the first `depth` bytes, those of the node with this
   index. */
struct span {
    int32_t begin, end, depth;
};

static bool is_special(const struct fkv_vocab *v, int32_t id)
{
    return v->type[id] == FKV_TOKEN_CONTROL || v->type[id] == FKV_TOKEN_USER_DEFINED ||
           v->type[id] == FKV_TOKEN_UNKNOWN;
}

/* The texts to sort, with their ids: qsort() hands no context to the comparison. */
struct entry {
    struct fkv_str text;
    int32_t id;
};

static int by_text(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    const int order = memcmp(a->text.data, b->text.data, a->text.n < b->text.n ? a->text.n : b->text.n);
    if (order) return order;
    return a->text.n < b->text.n ? -1 : a->text.n > b->text.n;
}

/* How many bytes two texts begin with together. */
static size_t shared_bytes(struct fkv_str a, struct fkv_str b)
{
    size_t n = 0;
    while (n < a.n && n < b.n && a.data[n] == b.data[n]) n++;
    return n;
}

/* The distinct texts of the special tokens, sorted. *n_nodes: how many nodes their trie has, the root included. */
static struct entry *sorted_specials(const struct fkv_vocab *v, int32_t *n, size_t *n_nodes)
{
    struct entry *entries = malloc((size_t)v->n * sizeof *entries);
    if (!entries) return NULL;
    *n = 0;
    for (int32_t id = 0; id < v->n; id++) {
        const struct fkv_str text = fkv_vocab_text(v, id);
        if (is_special(v, id) && fkv_vocab_find(v, text.data, text.n) == id) entries[(*n)++] = (struct entry){text, id};
    }
    qsort(entries, *n, sizeof *entries, by_text);
    *n_nodes = 1;
    for (int32_t i = 0; i < *n; i++)
        *n_nodes += entries[i].text.n - (i > 0 ? shared_bytes(entries[i - 1].text, entries[i].text) : 0);
    return entries;
}

/* Gives node `parent` its token and its children, which go behind the n nodes there are; returns the new n. */
static int32_t grow(struct fkv_trie_node *nodes, struct span *spans, int32_t n, int32_t parent,
                    const struct entry *sorted)
{
    struct span s = spans[parent];
    struct fkv_trie_node *node = &nodes[parent];
    node->token = -1;
    if (s.begin < s.end && sorted[s.begin].text.n == (size_t)s.depth) node->token = sorted[s.begin++].id;
    node->first_child = n;
    while (s.begin < s.end) {
        const uint8_t byte = (uint8_t)sorted[s.begin].text.data[s.depth];
        const int32_t begin = s.begin;
        while (s.begin < s.end && (uint8_t)sorted[s.begin].text.data[s.depth] == byte) s.begin++;
        nodes[n].byte = byte;
        spans[n++] = (struct span){begin, s.begin, s.depth + 1};
    }
    node->n_children = (uint16_t)(n - node->first_child);
    return n;
}

fkv_status fkv_specials_build(struct fkv_specials *specials, const struct fkv_vocab *vocab, struct fkv_error *e)
{
    int32_t n;
    size_t n_nodes = 0;
    struct span *spans = NULL;
    struct entry *sorted = sorted_specials(vocab, &n, &n_nodes);
    *specials = (struct fkv_specials){0};
    if (n_nodes < INT32_MAX) {
        specials->nodes = malloc(n_nodes * sizeof *specials->nodes);
        spans = malloc(n_nodes * sizeof *spans);
    }
    const bool built = sorted && specials->nodes && spans;
    if (built) {
        int32_t filled = 1;
        spans[0] = (struct span){0, n, 0};
        for (int32_t i = 0; i < filled; i++) filled = grow(specials->nodes, spans, filled, i, sorted);
        memset(specials->root_child, 0xff, sizeof specials->root_child);
        const struct fkv_trie_node *root = &specials->nodes[0];
        for (int32_t i = 0; i < root->n_children; i++)
            specials->root_child[specials->nodes[root->first_child + i].byte] = root->first_child + i;
    }
    free(sorted);
    free(spans);
    return built ? FKV_OK : fkv_fail(e, FKV_ERROR_MEMORY, "no memory for the %zu nodes of the special tokens", n_nodes);
}

void fkv_specials_free(struct fkv_specials *specials)
{
    free(specials->nodes);
    specials->nodes = NULL;
}

/* The child of a node by binary search, or -1. */
static int32_t child_of(const struct fkv_trie_node *nodes, const struct fkv_trie_node *node, uint8_t byte)
{
    int32_t low = node->first_child, high = low + node->n_children;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (nodes[middle].byte < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low < node->first_child + node->n_children && nodes[low].byte == byte ? low : -1;
}

int32_t fkv_specials_match(const struct fkv_specials *specials, const struct fkv_vocab *vocab, const char *text,
                           size_t n, bool control, size_t *len)
{
    int32_t best = -1;
    int32_t at = specials->root_child[(uint8_t)text[0]];
    for (size_t i = 1; at >= 0; i++) {
        const struct fkv_trie_node *node = &specials->nodes[at];
        if (node->token >= 0 && (control || vocab->type[node->token] == FKV_TOKEN_USER_DEFINED)) {
            best = node->token;
            *len = i;
        }
        if (i == n) break;
        at = child_of(specials->nodes, node, (uint8_t)text[i]);
    }
    return best;
}
