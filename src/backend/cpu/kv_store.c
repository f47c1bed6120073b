/* The store of one layer's K and V: per head, positions, and tiles as simd.h lays them out, in segments that forked
   stores share. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu_backend.h"
#include "base/memory.h"

/* ---- segments -------------------------------------------------------------------------------------- */

static size_t tiles_of(int entries) { return ((size_t)entries + FKV_TILE - 1) / FKV_TILE; }

/* NULL when there is no memory. */
static struct kv_segment *segment_create(const struct fkv_kv_store *s)
{
    struct kv_segment *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    g->bytes = (size_t)s->shape.heads * (s->k_stride + s->v_stride);
    g->memory = fkv_reserve(g->bytes);
    if (!g->memory) {
        free(g);
        return NULL;
    }
    atomic_init(&g->uses, 1);
    return g;
}

static void segment_release(struct kv_segment *g)
{
    if (!g || atomic_fetch_sub_explicit(&g->uses, 1, memory_order_acq_rel) > 1) return;
    fkv_unreserve(g->memory, g->bytes);
    free(g);
}

/* Which segment holds an entry of a head. */
static int segment_of(const struct kv_head *h, int entry)
{
    int i = 0;
    while (entry >= h->from[i + 1]) i++;
    return i;
}

int cpu_kv_segment_end(const struct fkv_kv_store *s, int head, int entry)
{
    const struct kv_head *h = &s->head[head];
    return h->from[segment_of(h, entry) + 1];
}

/* The part of a head in a segment, whose first entry has the number `from`. */
static struct kv_part part_in(const struct fkv_kv_store *s, const struct kv_segment *g, int from, int head, bool is_k)
{
    const int type = is_k ? s->shape.k_type : s->shape.v_type;
    const size_t at = is_k ? (size_t)head * s->k_stride
                           : (size_t)s->shape.heads * s->k_stride + (size_t)head * s->v_stride;
    const uintptr_t zero = (uintptr_t)g->memory + at - (size_t)(from / FKV_TILE) * fkv_tile_bytes(type, s->shape.d);
    return (struct kv_part){(uint8_t *)zero, type, is_k};
}

struct kv_part cpu_kv_part(const struct fkv_kv_store *s, int head, bool is_k, int entry)
{
    const int i = segment_of(&s->head[head], entry);
    return part_in(s, s->segment[i], s->head[head].from[i], head, is_k);
}

/* ---- a store ----------------------------------------------------------------------------------------- */

fkv_status cpu_kv_create(struct fkv_backend *b, struct fkv_kv_store **store, const struct fkv_kv_shape *shape,
                         int capacity, bool whole)
{
    (void)whole; /* pages of what is reserved here are taken as entries come */
    struct fkv_kv_store *s = calloc(1, sizeof *s + (size_t)shape->heads * sizeof s->head[0]);
    if (!s) return FKV_ERROR_MEMORY;
    s->b = (struct cpu_backend *)b;
    s->shape = *shape;
    s->capacity = capacity;
    s->k_stride = tiles_of(capacity) * fkv_tile_bytes(shape->k_type, shape->d);
    s->v_stride = tiles_of(capacity) * fkv_tile_bytes(shape->v_type, shape->d);
    s->pos_bytes = (size_t)shape->heads * (size_t)capacity * sizeof *s->pos;
    s->pos = fkv_reserve(s->pos_bytes);
    s->segment[KV_OWN] = segment_create(s);
    if (!s->pos || !s->segment[KV_OWN]) {
        cpu_kv_destroy(s);
        return FKV_ERROR_MEMORY;
    }
    for (int h = 0; h < shape->heads; h++) {
        s->head[h].pos = s->pos + (size_t)h * (size_t)capacity;
        s->head[h].from[KV_OWN + 1] = INT_MAX;
    }
    *store = s;
    return FKV_OK;
}

void cpu_kv_destroy(struct fkv_kv_store *s)
{
    if (!s) return;
    for (int i = 0; i <= KV_OWN; i++) segment_release(s->segment[i]);
    fkv_unreserve(s->pos, s->pos_bytes);
    free(s);
}

fkv_status cpu_kv_reserve(struct fkv_kv_store *s, int n, int32_t last)
{
    (void)s, (void)n, (void)last;
    return FKV_OK;
}

int cpu_kv_count(const struct fkv_kv_store *s, int head) { return s->head[head].n; }

const int32_t *cpu_kv_positions(struct fkv_kv_store *s, int head) { return s->head[head].pos; }

static uint64_t tile_pair_bytes(const struct fkv_kv_shape *shape)
{
    return fkv_tile_bytes(shape->k_type, shape->d) + fkv_tile_bytes(shape->v_type, shape->d);
}

uint64_t cpu_kv_bytes(const struct fkv_kv_store *s)
{
    uint64_t tiles = 0;
    for (int h = 0; h < s->shape.heads; h++) tiles += tiles_of(s->head[h].n);
    return tiles * tile_pair_bytes(&s->shape);
}

uint64_t cpu_kv_bytes_of(const struct fkv_backend *b, const struct fkv_kv_shape *shape, int n)
{
    (void)b;
    return (uint64_t)shape->heads * tiles_of(n) * tile_pair_bytes(shape);
}

/* ---- appending and cutting --------------------------------------------------------------------------- */

static void append_head(struct fkv_kv_store *s, int h, const float *k, const float *v, size_t ld, const int32_t *pos,
                        int n)
{
    struct kv_head *head = &s->head[h];
    assert(head->n + n <= s->capacity && (head->n == 0 || pos[0] > head->pos[head->n - 1]));
    const struct kv_part keys = cpu_kv_part(s, h, true, head->n), values = cpu_kv_part(s, h, false, head->n);
    const size_t at = (size_t)h * (size_t)s->shape.d;
    s->b->k->kv_pack(&(struct fkv_kv_rows){.k = k + at,
                                           .v = v + at,
                                           .ld = ld,
                                           .n = n,
                                           .d = s->shape.d,
                                           .first = head->n,
                                           .k_tiles = keys.tiles,
                                           .v_tiles = values.tiles,
                                           .k_type = keys.type,
                                           .v_type = values.type});
    memcpy(head->pos + head->n, pos, (size_t)n * sizeof *pos);
    head->n += n;
}

/* A task is one head of one sequence. */
void cpu_kv_append(struct fkv_run *r, struct fkv_kv_store *const *stores, struct fkv_tensor k, struct fkv_tensor v,
                   size_t ld, const struct fkv_rows *rows)
{
    const double t0 = fkv_clock_s();
    const int heads = stores[0]->shape.heads;
    int groups = 0;
    for (int row = 0; row < rows->n; row = fkv_rows_end(rows, row)) groups++;
    fkv_team_barrier(r->b->team);
    for (int task; (task = fkv_team_take(r->b->team, r->thread, groups * heads)) >= 0;) {
        int row = 0;
        for (int i = 0; i < task / heads; i++) row = fkv_rows_end(rows, row);
        append_head(stores[rows->sequence ? rows->sequence[row] : 0], task % heads, cpu_floats(k) + (size_t)row * ld,
                    cpu_floats(v) + (size_t)row * ld, ld, rows->pos + row, fkv_rows_end(rows, row) - row);
    }
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_ROWS, t0);
}

/* A head's entries end at n. If that is within a shared segment, the last, incomplete chunk moves to the store's own
   one, so that it can grow again. */
static void cut_head(struct fkv_kv_store *s, int h, int n)
{
    struct kv_head *head = &s->head[h];
    const int chunk = n / CPU_CHUNK * CPU_CHUNK;
    if (chunk < head->from[KV_OWN]) {
        const struct kv_head before = *head;
        const int holds = segment_of(head, chunk);
        for (int i = holds + 1; i <= KV_OWN; i++) head->from[i] = chunk;
        for (int is_k = 0; is_k < 2; is_k++) {
            const struct kv_part to = part_in(s, s->segment[KV_OWN], chunk, h, is_k),
                                 from = part_in(s, s->segment[holds], before.from[holds], h, is_k);
            const size_t bytes = fkv_tile_bytes(to.type, s->shape.d), at = (size_t)(chunk / FKV_TILE) * bytes;
            memcpy(to.tiles + at, from.tiles + at, tiles_of(n - chunk) * bytes);
        }
    }
    head->n = n;
    if (n < head->base) head->base = n;
}

void cpu_kv_cut(struct fkv_kv_store *s, int32_t pos)
{
    for (int h = 0; h < s->shape.heads; h++) {
        const int n = cpu_first_at(s->head[h].pos, s->head[h].n, pos);
        if (n < s->head[h].n) cut_head(s, h, n);
    }
    while (s->n_shared > 0) {
        const int last = s->n_shared - 1;
        for (int h = 0; h < s->shape.heads; h++)
            if (s->head[h].from[last] < s->head[h].from[last + 1]) return;
        segment_release(s->segment[last]);
        s->segment[last] = NULL;
        s->n_shared--;
    }
}

/* ---- forking ------------------------------------------------------------------------------------------- */

/* Whole chunks of the store's own segment become a shared one; the rest, or everything if there are too many segments,
   moves to a new own one. */
static fkv_status share_own(struct fkv_kv_store *s)
{
    bool any = false;
    for (int h = 0; h < s->shape.heads; h++) any = any || s->head[h].n - s->head[h].from[KV_OWN] >= CPU_CHUNK;
    if (!any) return FKV_OK;
    struct kv_segment *own = segment_create(s);
    if (!own) return FKV_ERROR_MEMORY;
    const bool flatten = s->n_shared == KV_SHARED;
    for (int h = 0; h < s->shape.heads; h++) {
        struct kv_head *head = &s->head[h];
        const int from = flatten ? 0 : head->n / CPU_CHUNK * CPU_CHUNK;
        for (int is_k = 0; is_k < 2; is_k++) {
            const struct kv_part to = part_in(s, own, from, h, is_k);
            for (int entry = from, end; entry < head->n; entry = end) {
                const struct kv_part part = cpu_kv_part(s, h, is_k, entry);
                const size_t bytes = fkv_tile_bytes(to.type, s->shape.d), at = (size_t)(entry / FKV_TILE) * bytes;
                end = cpu_kv_segment_end(s, h, entry) < head->n ? cpu_kv_segment_end(s, h, entry) : head->n;
                memcpy(to.tiles + at, part.tiles + at, tiles_of(end - entry) * bytes);
            }
        }
        for (int i = flatten ? 0 : s->n_shared + 1; i <= KV_OWN; i++) head->from[i] = from;
    }
    if (flatten) {
        for (int i = 0; i <= KV_OWN; i++) {
            segment_release(s->segment[i]);
            s->segment[i] = NULL;
        }
        s->n_shared = 0;
    } else {
        s->segment[s->n_shared++] = s->segment[KV_OWN];
    }
    s->segment[KV_OWN] = own;
    return FKV_OK;
}

/* The check path attends to all entries in one piece: there nothing is shared. */
fkv_status cpu_kv_fork(struct fkv_kv_store *s, int32_t pos, struct fkv_kv_store **child)
{
    struct fkv_kv_store *c = NULL;
    fkv_status status = s->b->base.exact ? FKV_OK : share_own(s);
    if (status == FKV_OK) status = cpu_kv_create(&s->b->base, &c, &s->shape, s->capacity, false);
    if (status != FKV_OK) return status;
    c->n_shared = s->n_shared;
    for (int i = 0; i < s->n_shared; i++) {
        c->segment[i] = s->segment[i];
        atomic_fetch_add_explicit(&c->segment[i]->uses, 1, memory_order_relaxed);
    }
    for (int h = 0; h < s->shape.heads; h++) {
        struct kv_head *to = &c->head[h];
        const struct kv_head *from = &s->head[h];
        memcpy(to->from, from->from, sizeof to->from);
        memcpy(to->pos, from->pos, (size_t)from->n * sizeof *to->pos);
        to->n = from->n;
        for (int is_k = 0; is_k < 2; is_k++)
            cpu_kv_copy(c, from->from[KV_OWN], s, h, is_k, from->from[KV_OWN], NULL, from->n - from->from[KV_OWN]);
    }
    cpu_kv_cut(c, pos);
    *child = c;
    return FKV_OK;
}
