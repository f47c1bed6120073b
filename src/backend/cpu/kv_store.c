/* The store of one layer's K and V: per head, tiles as simd.h lays them out. */
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu_backend.h"
#include "base/memory.h"

fkv_status cpu_kv_create(struct fkv_backend *b, struct fkv_kv_store **store, int heads, int d, int k_type, int v_type,
                         int capacity, bool whole)
{
    (void)whole; /* pages are taken as entries come */
    const size_t tiles = ((size_t)capacity + FKV_TILE - 1) / FKV_TILE;
    struct fkv_kv_store *s = calloc(1, sizeof *s + (size_t)heads * sizeof s->head[0]);
    if (!s) return FKV_ERROR_MEMORY;
    s->heads = heads;
    s->d = d;
    s->k_type = k_type;
    s->v_type = v_type;
    s->capacity = capacity;
    s->kernels = ((struct cpu_backend *)b)->k;
    s->k_stride = tiles * fkv_tile_bytes(k_type, d);
    s->v_stride = tiles * fkv_tile_bytes(v_type, d);
    s->bytes = (size_t)heads * (s->k_stride + s->v_stride);
    s->memory = fkv_reserve(s->bytes);
    if (!s->memory) {
        free(s);
        return FKV_ERROR_MEMORY;
    }
    for (int h = 0; h < heads; h++) {
        s->head[h].k = s->memory + (size_t)h * s->k_stride;
        s->head[h].v = s->memory + (size_t)heads * s->k_stride + (size_t)h * s->v_stride;
    }
    *store = s;
    return FKV_OK;
}

void cpu_kv_destroy(struct fkv_kv_store *s)
{
    if (!s) return;
    fkv_unreserve(s->memory, s->bytes);
    free(s);
}

void cpu_kv_cut(struct fkv_kv_store *s, int head, int n)
{
    if (n < s->head[head].n) s->head[head].n = n;
    if (n < s->head[head].base) s->head[head].base = n;
}

int cpu_kv_count(const struct fkv_kv_store *s, int head) { return s->head[head].n; }

uint64_t cpu_kv_bytes(const struct fkv_kv_store *s)
{
    uint64_t tiles = 0;
    for (int h = 0; h < s->heads; h++) tiles += (uint64_t)(s->head[h].n + FKV_TILE - 1) / FKV_TILE;
    return tiles * (fkv_tile_bytes(s->k_type, s->d) + fkv_tile_bytes(s->v_type, s->d));
}

void cpu_kv_append(struct fkv_run *r, struct fkv_kv_store *s, const float *k, const float *v, size_t ld, int n)
{
    const double t0 = fkv_clock_s();
    fkv_team_barrier(r->b->team);
    for (int h; (h = fkv_team_take(r->b->team, r->thread, s->heads)) >= 0;) {
        struct kv_head *head = &s->head[h];
        const size_t at = (size_t)h * (size_t)s->d;
        s->kernels->kv_pack(
            &(struct fkv_kv_rows){k + at, v + at, ld, n, s->d, head->n, head->k, head->v, s->k_type, s->v_type});
        head->n += n;
    }
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_ROWS, t0);
}

/* ---- entries from store to store ------------------------------------------------------------- */

/* K or V of one head. */
struct part {
    uint8_t *tiles;
    int type;
    bool is_k;
};

static struct part part_of(const struct fkv_kv_store *s, int h, bool is_k)
{
    return is_k ? (struct part){s->head[h].k, s->k_type, true} : (struct part){s->head[h].v, s->v_type, false};
}

static inline __attribute__((always_inline)) void read_as(int type, const uint8_t *tile, bool is_k, int d, int e,
                                                          float *x)
{
    const int8_t *q8 = (const int8_t *)tile + (size_t)fkv_padded_head(d) * sizeof(fkv_f16);
    for (int c = 0; c < d; c++) {
        const size_t i = is_k ? fkv_k_index(e, c) : fkv_v_index(e, c);
        switch (type) {
        case FKV_ELEM_F32: x[c] = ((const float *)(const void *)tile)[i]; break;
        case FKV_ELEM_F16: x[c] = fkv_f32_from_f16(((const fkv_f16 *)(const void *)tile)[i]); break;
        case FKV_ELEM_BF16: x[c] = fkv_f32_from_bf16(((const fkv_bf16 *)(const void *)tile)[i]); break;
        default:
            x[c] = fkv_f32_from_f16(((const fkv_f16 *)(const void *)tile)[c / 32 * FKV_TILE + e]) * (float)q8[i];
            break;
        }
    }
}

/* x[d] of one entry. */
static void read_entry(struct part p, int d, int entry, float *x)
{
    const uint8_t *tile = p.tiles + (size_t)(entry / FKV_TILE) * fkv_tile_bytes(p.type, d);
    const int e = entry % FKV_TILE;
    switch (p.type) {
    case FKV_ELEM_F32: read_as(FKV_ELEM_F32, tile, p.is_k, d, e, x); break;
    case FKV_ELEM_F16: read_as(FKV_ELEM_F16, tile, p.is_k, d, e, x); break;
    case FKV_ELEM_BF16: read_as(FKV_ELEM_BF16, tile, p.is_k, d, e, x); break;
    default: read_as(FKV_ELEM_Q8_0, tile, p.is_k, d, e, x); break;
    }
}

/* Entries rows[0 .. n), or 0 .. n - 1, counted from `base`, through floats: exact but for a change of type. */
static void copy_entries(const struct fkv_kv_store *to, const struct fkv_kv_store *from, int h, bool is_k, int base,
                         const int32_t *rows, int n)
{
    const struct part source = part_of(from, h, is_k);
    float x[FKV_TILE * FKV_MAX_HEAD];
    for (int i = 0; i < n;) {
        const int first = to->head[h].n + i;
        int here = 0;
        for (; here < FKV_TILE && i < n; here++, i++)
            read_entry(source, from->d, base + (rows ? rows[i] : i), x + here * from->d);
        to->kernels->kv_pack(&(struct fkv_kv_rows){is_k ? x : NULL, is_k ? NULL : x, (size_t)to->d, here, to->d, first,
                                                   to->head[h].k, to->head[h].v, to->k_type, to->v_type});
    }
}

static bool is_half(int type) { return type == FKV_ELEM_F16 || type == FKV_ELEM_BF16; }

/* The 16-bit types differ in their elements, not in where these lie. */
static void copy_tiles(void *to, int to_type, const void *from, int from_type, size_t bytes)
{
    const size_t n = bytes / sizeof(uint16_t);
    if (to_type == from_type)
        memcpy(to, from, bytes);
    else if (to_type == FKV_ELEM_BF16)
        for (size_t i = 0; i < n; i++)
            ((fkv_bf16 *)to)[i] = fkv_bf16_from_f32(fkv_f32_from_f16(((const fkv_f16 *)from)[i]));
    else
        for (size_t i = 0; i < n; i++)
            ((fkv_f16 *)to)[i] = fkv_f16_from_f32(fkv_f32_from_bf16(((const fkv_bf16 *)from)[i]));
}

static void copy_part(const struct fkv_kv_store *to, const struct fkv_kv_store *from, int h, bool is_k, int base,
                      const int32_t *rows, int n)
{
    const struct part t = part_of(to, h, is_k), f = part_of(from, h, is_k);
    if (rows || base % FKV_TILE || to->head[h].n % FKV_TILE ||
        (t.type != f.type && !(is_half(t.type) && is_half(f.type)))) {
        copy_entries(to, from, h, is_k, base, rows, n);
        return;
    }
    const size_t bytes = fkv_tile_bytes(t.type, to->d);
    copy_tiles(t.tiles + (size_t)(to->head[h].n / FKV_TILE) * bytes, t.type,
               f.tiles + (size_t)(base / FKV_TILE) * bytes, f.type, (size_t)(n + FKV_TILE - 1) / FKV_TILE * bytes);
}

void cpu_kv_assign(struct fkv_kv_store *s, const struct fkv_kv_store *from)
{
    for (int h = 0; h < s->heads; h++) {
        s->head[h].n = 0;
        for (int i = 0; i < 2 && from; i++) copy_part(s, from, h, i == 0, 0, NULL, from->head[h].n);
        s->head[h].n = s->head[h].base = from ? from->head[h].n : 0;
    }
}

void cpu_retain(struct fkv_run *r, struct fkv_kv_store *to, const struct fkv_kv_store *from, const int32_t *rows, int n)
{
    const double t0 = fkv_clock_s();
    for (int task; (task = fkv_team_take(r->b->team, r->thread, 2 * to->heads)) >= 0;) {
        const int h = task / 2;
        copy_part(to, from, h, task % 2 == 0, from->head[h].base, rows ? rows + (size_t)h * (size_t)n : NULL, n);
    }
    fkv_team_barrier(r->b->team); /* K and V of a head may be two threads' */
    for (int h = 0; h < to->heads && r->thread == 0; h++) to->head[h].n += n;
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_SELECT, t0);
}
