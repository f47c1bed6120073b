#include "kv/sequence_bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"

enum { PIECE = 512 }; /* entries moved at a time */

/* A part on its way, and room for a piece of it. */
struct stream {
    const struct fkv_blob *blob;
    uint64_t first, at, end;
    struct fkv_checksum sum;
    void *piece;
};

/* The largest entry of any layer. */
static size_t most_entry_bytes(const struct fkv_sequence *q)
{
    size_t most = sizeof(uint32_t);
    for (int l = 0; l < q->n_layer; l++) {
        const struct fkv_kv_shape *s = &q->layer[l].shape;
        const size_t k = fkv_kv_entry_bytes(s->k_type, s->d), v = fkv_kv_entry_bytes(s->v_type, s->d);
        most = k > most ? k : most;
        most = v > most ? v : most;
    }
    return most;
}

static bool open_streams(struct stream s[FKV_N_PARTS], const struct fkv_sequence *q, const struct fkv_blob *blob,
                         const struct fkv_part part[FKV_N_PARTS])
{
    const size_t bytes = PIECE * most_entry_bytes(q);
    bool ok = true;
    for (int i = 0; i < FKV_N_PARTS; i++) {
        s[i] = (struct stream){.blob = blob, .first = part[i].at, .at = part[i].at, .end = part[i].at + part[i].bytes};
        fkv_checksum_begin(&s[i].sum);
        s[i].piece = malloc(bytes);
        ok = ok && s[i].piece;
    }
    return ok;
}

static void close_streams(struct stream s[FKV_N_PARTS])
{
    for (int i = 0; i < FKV_N_PARTS; i++) free(s[i].piece);
}

static size_t sum_of_heads(const struct fkv_sequence *q)
{
    size_t heads = 0;
    for (int l = 0; l < q->n_layer; l++) heads += (size_t)q->layer[l].shape.heads;
    return heads;
}

/* ---- out --------------------------------------------------------------------------------------------- */

static int count_of(const struct fkv_sequence_layer *l, int head) { return l->b->ops->kv_count(l->store, head); }

void fkv_sequence_measure(const struct fkv_sequence *q, struct fkv_part part[FKV_N_PARTS])
{
    bool all = true;
    memset(part, 0, FKV_N_PARTS * sizeof *part);
    part[FKV_PART_COUNTS].bytes = sum_of_heads(q) * sizeof(uint32_t);
    for (int l = 0; l < q->n_layer; l++)
        for (int h = 0; h < q->layer[l].shape.heads; h++) {
            const struct fkv_kv_shape *s = &q->layer[l].shape;
            const uint64_t n = (uint64_t)count_of(&q->layer[l], h);
            all = all && n == q->n_seen;
            part[FKV_PART_POSITIONS].bytes += n * sizeof(uint32_t);
            part[FKV_PART_KEYS].bytes += n * fkv_kv_entry_bytes(s->k_type, s->d);
            part[FKV_PART_VALUES].bytes += n * fkv_kv_entry_bytes(s->v_type, s->d);
        }
    if (all) part[FKV_PART_POSITIONS].bytes = 0;
}

static bool put(struct stream *s, const void *from, size_t bytes)
{
    fkv_checksum_add(&s->sum, from, bytes);
    const bool ok = fkv_blob_write(s->blob, s->at, from, bytes);
    s->at += bytes;
    return ok;
}

static bool put_head(struct stream s[FKV_N_PARTS], const struct fkv_sequence_layer *l, int head, bool positions)
{
    const struct fkv_ops *ops = l->b->ops;
    const size_t k = fkv_kv_entry_bytes(l->shape.k_type, l->shape.d),
                 v = fkv_kv_entry_bytes(l->shape.v_type, l->shape.d);
    const int n = count_of(l, head);
    bool ok = !positions || put(&s[FKV_PART_POSITIONS], ops->kv_positions(l->store, head), (size_t)n * sizeof(int32_t));
    for (int i = 0, some; i < n && ok; i += some) {
        some = n - i < PIECE ? n - i : PIECE;
        ops->kv_export(l->store, head, true, i, some, s[FKV_PART_KEYS].piece);
        ops->kv_export(l->store, head, false, i, some, s[FKV_PART_VALUES].piece);
        ok = put(&s[FKV_PART_KEYS], s[FKV_PART_KEYS].piece, (size_t)some * k) &&
             put(&s[FKV_PART_VALUES], s[FKV_PART_VALUES].piece, (size_t)some * v);
    }
    return ok;
}

fkv_status fkv_sequence_write(struct fkv_sequence *q, const struct fkv_blob *to, struct fkv_part part[FKV_N_PARTS],
                              struct fkv_error *e)
{
    struct stream s[FKV_N_PARTS];
    if (!open_streams(s, q, to, part)) {
        close_streams(s);
        return fkv_fail(e, FKV_ERROR_MEMORY, "no memory to write a session");
    }
    bool ok = true;
    for (int l = 0; l < q->n_layer && ok; l++)
        for (int h = 0; h < q->layer[l].shape.heads && ok; h++) {
            const uint32_t count = (uint32_t)count_of(&q->layer[l], h);
            ok = put(&s[FKV_PART_COUNTS], &count, sizeof count) &&
                 put_head(s, &q->layer[l], h, part[FKV_PART_POSITIONS].bytes > 0);
        }
    fkv_status status = ok ? FKV_OK : fkv_fail(e, FKV_ERROR_IO, "cannot write a session: %s", strerror(errno));
    for (int i = 0; i < FKV_N_PARTS; i++) part[i].sum = fkv_checksum_end(&s[i].sum);
    close_streams(s);
    for (int l = 0; l < q->n_layer && status == FKV_OK; l++) {
        struct fkv_backend *b = q->layer[l].b;
        if (b->ops->wait(b) != FKV_OK) status = fkv_fail(e, FKV_ERROR_DEVICE, "%s", b->error.text);
    }
    return status;
}

/* ---- in ---------------------------------------------------------------------------------------------- */

static fkv_status ended(struct fkv_error *e)
{
    return errno ? fkv_fail(e, FKV_ERROR_IO, "a saved session: %s", strerror(errno))
                 : fkv_fail(e, FKV_ERROR_FORMAT, "a saved session: the data ends before its entries do");
}

/* The next bytes; false: there are fewer. */
static bool take(struct stream *s, void *to, size_t bytes)
{
    errno = 0;
    if (bytes > s->end - s->at || !fkv_blob_read(s->blob, s->at, to, bytes)) return false;
    fkv_checksum_add(&s->sum, to, bytes);
    s->at += bytes;
    return true;
}

/* Ascending from *last on, and below n_seen. */
static bool are_positions(const int32_t *pos, int n, size_t n_seen, int32_t *last)
{
    for (int i = 0; i < n; i++) {
        if (pos[i] <= *last || (size_t)pos[i] >= n_seen) return false;
        *last = pos[i];
    }
    return true;
}

static fkv_status read_head(struct stream s[FKV_N_PARTS], const struct fkv_sequence_layer *l, int layer, int head,
                            int count, size_t n_seen, struct fkv_error *e)
{
    int32_t *pos = s[FKV_PART_POSITIONS].piece, last = -1;
    void *k = s[FKV_PART_KEYS].piece, *v = s[FKV_PART_VALUES].piece;
    const bool all = s[FKV_PART_POSITIONS].end == s[FKV_PART_POSITIONS].first && count == (int)n_seen;
    for (int i = 0, some; i < count; i += some) {
        some = count - i < PIECE ? count - i : PIECE;
        for (int j = 0; all && j < some; j++) pos[j] = i + j;
        if ((!all && !take(&s[FKV_PART_POSITIONS], pos, (size_t)some * sizeof *pos)) ||
            !take(&s[FKV_PART_KEYS], k, (size_t)some * fkv_kv_entry_bytes(l->shape.k_type, l->shape.d)) ||
            !take(&s[FKV_PART_VALUES], v, (size_t)some * fkv_kv_entry_bytes(l->shape.v_type, l->shape.d)))
            return ended(e);
        if (!are_positions(pos, some, n_seen, &last))
            return fkv_fail(e, FKV_ERROR_FORMAT,
                            "a saved session, layer %d, head %d: expected ascending positions below %zu", layer, head,
                            n_seen);
        l->b->ops->kv_import(l->store, head, pos, k, v, some);
    }
    return FKV_OK;
}

static fkv_status read_layer(struct stream s[FKV_N_PARTS], const struct fkv_sequence_layer *l, int layer,
                             const uint32_t *count, size_t n_seen, struct fkv_error *e)
{
    int most = 0;
    for (int h = 0; h < l->shape.heads; h++) {
        if (count[h] > n_seen)
            return fkv_fail(e, FKV_ERROR_FORMAT,
                            "a saved session, layer %d, head %d: expected 0 to %zu entries, found %u", layer, h, n_seen,
                            count[h]);
        most = (int)count[h] > most ? (int)count[h] : most;
    }
    fkv_status status = l->b->ops->kv_reserve(l->store, most, (int32_t)n_seen - 1);
    if (status != FKV_OK)
        return fkv_fail(e, status, "a saved session, layer %d: no memory for %d entries in a head", layer, most);
    for (int h = 0; h < l->shape.heads && status == FKV_OK; h++)
        status = read_head(s, l, layer, h, (int)count[h], n_seen, e);
    return status;
}

fkv_status fkv_sequence_read(struct fkv_sequence *q, size_t n_seen, const struct fkv_blob *from,
                             const struct fkv_part part[FKV_N_PARTS], struct fkv_error *e)
{
    struct stream s[FKV_N_PARTS];
    const size_t heads = sum_of_heads(q);
    uint32_t *count = malloc((heads + 1) * sizeof *count), *at = count;
    fkv_status status = FKV_OK;
    if (!open_streams(s, q, from, part) || !count)
        status = fkv_fail(e, FKV_ERROR_MEMORY, "no memory to read a session");
    else if (part[FKV_PART_COUNTS].bytes != heads * sizeof *count ||
             !take(&s[FKV_PART_COUNTS], count, heads * sizeof *count))
        status = fkv_fail(e, FKV_ERROR_FORMAT, "a saved session: expected the counts of %zu heads", heads);
    for (int l = 0; l < q->n_layer && status == FKV_OK; at += q->layer[l++].shape.heads)
        status = read_layer(s, &q->layer[l], l, at, n_seen, e);
    for (int i = 0; i < FKV_N_PARTS && status == FKV_OK; i++)
        if (s[i].at != s[i].end || fkv_checksum_end(&s[i].sum) != part[i].sum)
            status = fkv_fail(e, FKV_ERROR_FORMAT, "a saved session: its entries are damaged: another checksum");
    close_streams(s);
    free(count);
    return status;
}
