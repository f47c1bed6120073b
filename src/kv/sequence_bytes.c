/* A sequence as bytes: in the machine's byte order, one after the other, each at a multiple of 8 bytes

       struct head
       int32_t ids[n_seen]
       per layer: struct shape, int32_t count[heads]
       per layer, per head: int32_t positions[count], keys, values: entries in list order, elements of the stored type
       side by side (q8_0: per 32 channels an f16 scale and 32 int8)

   This is what a session file holds of a session (docs of the server); the file adds its own header and checksums. */
#include <stdlib.h>
#include <string.h>

#include "kv/sequence.h"

struct head {
    char magic[8];
    uint32_t version, n_layer;
    uint64_t model; /* its fingerprint */
    uint64_t n_seen, pruned_until;
    char pruned_by[32];
};
struct shape {
    int32_t heads, d, k_type, v_type;
};

static const char magic[8] = {'F', 'K', 'V', 'S', 'E', 'Q', 0, 0};
enum { VERSION = 2 };

static size_t padded(size_t bytes) { return (bytes + 7) & ~(size_t)7; }

/* ---- out --------------------------------------------------------------------------------------------- */

static int count_of(const struct fkv_sequence_layer *l, int head) { return l->b->ops->kv_count(l->store, head); }

static size_t layer_bytes(const struct fkv_sequence_layer *l)
{
    size_t bytes = padded(sizeof(struct shape)) + padded((size_t)l->shape.heads * sizeof(int32_t));
    for (int h = 0; h < l->shape.heads; h++) {
        const size_t n = (size_t)count_of(l, h);
        bytes += padded(n * sizeof(int32_t)) + padded(n * fkv_kv_entry_bytes(l->shape.k_type, l->shape.d)) +
                 padded(n * fkv_kv_entry_bytes(l->shape.v_type, l->shape.d));
    }
    return bytes;
}

static void put(uint8_t **at, const void *from, size_t bytes)
{
    memcpy(*at, from, bytes);
    *at += padded(bytes);
}

static void put_shape(uint8_t **at, const struct fkv_sequence_layer *l)
{
    const struct shape shape = {l->shape.heads, l->shape.d, l->shape.k_type, l->shape.v_type};
    put(at, &shape, sizeof shape);
    int32_t *count = (int32_t *)(void *)*at;
    for (int h = 0; h < l->shape.heads; h++) count[h] = count_of(l, h);
    *at += padded((size_t)l->shape.heads * sizeof *count);
}

static void put_entries(uint8_t **at, const struct fkv_sequence_layer *l)
{
    for (int h = 0; h < l->shape.heads; h++) {
        const int n = count_of(l, h);
        put(at, l->b->ops->kv_positions(l->store, h), (size_t)n * sizeof(int32_t));
        l->b->ops->kv_export(l->store, h, true, 0, n, *at);
        *at += padded((size_t)n * fkv_kv_entry_bytes(l->shape.k_type, l->shape.d));
        l->b->ops->kv_export(l->store, h, false, 0, n, *at);
        *at += padded((size_t)n * fkv_kv_entry_bytes(l->shape.v_type, l->shape.d));
    }
}

fkv_status fkv_sequence_export(struct fkv_sequence *q, uint64_t model, void **data, size_t *bytes)
{
    struct head head = {.version = VERSION,
                        .n_layer = (uint32_t)q->n_layer,
                        .model = model,
                        .n_seen = q->n_seen,
                        .pruned_until = q->pruned_until};
    size_t all = padded(sizeof head) + padded(q->n_seen * sizeof *q->ids);
    for (int l = 0; l < q->n_layer; l++) all += layer_bytes(&q->layer[l]);
    uint8_t *made = calloc(all, 1), *at = made;
    if (!made) return FKV_ERROR_MEMORY;
    memcpy(head.magic, magic, sizeof magic);
    memcpy(head.pruned_by, q->pruned_by, sizeof head.pruned_by);
    put(&at, &head, sizeof head);
    put(&at, q->ids, q->n_seen * sizeof *q->ids);
    for (int l = 0; l < q->n_layer; l++) put_shape(&at, &q->layer[l]);
    for (int l = 0; l < q->n_layer; l++) put_entries(&at, &q->layer[l]);
    for (int l = 0; l < q->n_layer; l++) {
        const fkv_status status = q->layer[l].b->ops->wait(q->layer[l].b);
        if (status == FKV_OK) continue;
        free(made);
        return status;
    }
    *data = made;
    *bytes = all;
    return FKV_OK;
}

/* ---- in ---------------------------------------------------------------------------------------------- */

struct reader {
    const uint8_t *at;
    size_t left;
};

/* The next n things of that size, or NULL when there are fewer. */
static const void *take(struct reader *r, size_t n, size_t size)
{
    if (n > r->left / size || padded(n * size) > r->left) return NULL;
    const void *at = r->at;
    r->at += padded(n * size);
    r->left -= padded(n * size);
    return at;
}

static fkv_status too_short(struct fkv_error *e, const char *what)
{
    return fkv_fail(e, FKV_ERROR_FORMAT, "a saved session: expected %s, the data ends before", what);
}

static fkv_status check_head(const struct fkv_sequence *q, uint64_t model, const struct head *h, struct fkv_error *e)
{
    if (memcmp(h->magic, magic, sizeof magic) != 0)
        return fkv_fail(e, FKV_ERROR_FORMAT, "a saved session: it does not begin like one");
    if (h->version != VERSION)
        return fkv_fail(e, FKV_ERROR_FORMAT, "a saved session: expected version %d, found %u", VERSION, h->version);
    if (h->model != model)
        return fkv_fail(e, FKV_ERROR_FORMAT,
                        "a saved session: it is another model's: expected fingerprint %016llx, found %016llx",
                        (unsigned long long)model, (unsigned long long)h->model);
    if (h->n_layer != (uint32_t)q->n_layer)
        return fkv_fail(e, FKV_ERROR_FORMAT, "a saved session: expected %d layers, found %u", q->n_layer, h->n_layer);
    if (h->n_seen > (uint64_t)q->capacity)
        return fkv_fail(e, FKV_ERROR_CONTEXT, "a saved session: %llu tokens do not fit the context of %d",
                        (unsigned long long)h->n_seen, q->capacity);
    if (h->pruned_until > h->n_seen)
        return fkv_fail(e, FKV_ERROR_FORMAT, "a saved session: expected it pruned up to token %llu at most, found %llu",
                        (unsigned long long)h->n_seen, (unsigned long long)h->pruned_until);
    return FKV_OK;
}

static fkv_status check_shape(const struct fkv_sequence_layer *l, int layer, const struct shape *s, struct fkv_error *e)
{
    const struct fkv_kv_shape *want = &l->shape;
    if (s->heads == want->heads && s->d == want->d && s->k_type == want->k_type && s->v_type == want->v_type)
        return FKV_OK;
    return fkv_fail(
        e, FKV_ERROR_FORMAT,
        "a saved session, layer %d: expected %d KV heads of %d, types %d and %d, found %d of %d, types %d and %d",
        layer, want->heads, want->d, want->k_type, want->v_type, s->heads, s->d, s->k_type, s->v_type);
}

/* Ascending and below n_seen. */
static bool are_positions(const int32_t *pos, int n, uint64_t n_seen)
{
    for (int i = 0; i < n; i++)
        if (pos[i] < 0 || (uint64_t)pos[i] >= n_seen || (i > 0 && pos[i] <= pos[i - 1])) return false;
    return true;
}

static fkv_status read_entries(struct fkv_sequence *q, struct reader *r, int layer, const int32_t *count,
                               uint64_t n_seen, struct fkv_error *e)
{
    struct fkv_sequence_layer *l = &q->layer[layer];
    int most = 0;
    for (int h = 0; h < l->shape.heads; h++) most = count[h] > most ? count[h] : most;
    const fkv_status status = l->b->ops->kv_reserve(l->store, most, (int32_t)n_seen - 1);
    if (status != FKV_OK)
        return fkv_fail(e, status, "a saved session, layer %d: no memory for %d entries in a head", layer, most);
    for (int h = 0; h < l->shape.heads; h++) {
        const size_t n = (size_t)count[h];
        const int32_t *pos = take(r, n, sizeof *pos);
        const void *k = pos ? take(r, n, fkv_kv_entry_bytes(l->shape.k_type, l->shape.d)) : NULL;
        const void *v = k ? take(r, n, fkv_kv_entry_bytes(l->shape.v_type, l->shape.d)) : NULL;
        if (!v) return too_short(e, "the entries of every layer");
        if (!are_positions(pos, count[h], n_seen))
            return fkv_fail(e, FKV_ERROR_FORMAT,
                            "a saved session, layer %d, head %d: expected ascending positions below %llu", layer, h,
                            (unsigned long long)n_seen);
        l->b->ops->kv_import(l->store, h, pos, k, v, count[h]);
    }
    return FKV_OK;
}

static fkv_status read_all(struct fkv_sequence *q, uint64_t model, struct reader *r, int n_vocab, struct fkv_error *e)
{
    struct head head;
    const void *at = take(r, 1, sizeof head);
    if (!at) return too_short(e, "a head");
    memcpy(&head, at, sizeof head);
    fkv_status status = check_head(q, model, &head, e);
    if (status != FKV_OK) return status;
    const int32_t *ids = take(r, (size_t)head.n_seen, sizeof *ids);
    if (!ids) return too_short(e, "the token ids");
    for (uint64_t i = 0; i < head.n_seen; i++)
        if (ids[i] < 0 || ids[i] >= n_vocab)
            return fkv_fail(e, FKV_ERROR_FORMAT, "a saved session, token %llu: expected an id below %d, found %d",
                            (unsigned long long)i, n_vocab, ids[i]);
    struct reader counts = *r;
    for (int l = 0; l < q->n_layer; l++) {
        const struct shape *shape = take(r, 1, sizeof *shape);
        if (!shape) return too_short(e, "the shape of every layer");
        status = check_shape(&q->layer[l], l, shape, e);
        if (status != FKV_OK) return status;
        const int32_t *count = take(r, (size_t)shape->heads, sizeof *count);
        if (!count) return too_short(e, "the counts of every head");
        for (int h = 0; h < shape->heads; h++)
            if (count[h] < 0 || (uint64_t)count[h] > head.n_seen)
                return fkv_fail(e, FKV_ERROR_FORMAT,
                                "a saved session, layer %d, head %d: expected 0 to %llu entries, found %d", l, h,
                                (unsigned long long)head.n_seen, count[h]);
    }
    for (int l = 0; l < q->n_layer; l++) {
        const struct shape *shape = take(&counts, 1, sizeof *shape);
        status = read_entries(q, r, l, take(&counts, (size_t)shape->heads, sizeof(int32_t)), head.n_seen, e);
        if (status != FKV_OK) return status;
    }
    if (r->left) return fkv_fail(e, FKV_ERROR_FORMAT, "a saved session: %zu bytes after its end", r->left);
    memcpy(q->ids, ids, (size_t)head.n_seen * sizeof *ids);
    memcpy(q->pruned_by, head.pruned_by, sizeof q->pruned_by);
    q->pruned_by[sizeof q->pruned_by - 1] = '\0';
    q->pruned_until = (size_t)head.pruned_until;
    q->n_seen = (size_t)head.n_seen;
    return FKV_OK;
}

fkv_status fkv_sequence_import(struct fkv_sequence *q, uint64_t model, const void *data, size_t bytes, int n_vocab,
                               struct fkv_error *e)
{
    struct reader r = {data, bytes};
    const fkv_status status = read_all(q, model, &r, n_vocab, e);
    if (status != FKV_OK) fkv_sequence_cut(q, 0);
    return status;
}
