/* The store of one layer's K and V: per head, tiles as simd.h lays them out. */
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu_backend.h"
#include "base/memory.h"

fkv_status cpu_kv_create(struct fkv_backend *b, struct fkv_kv_store **store, int heads, int d, int k_type, int v_type, int capacity, bool whole)
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

static void append_rows(struct fkv_kv_store *s, int h, const float *k, const float *v, size_t ld, int n)
{
    s->kernels->kv_pack(&(struct fkv_kv_rows){k, v, ld, n, s->d, s->head[h].n, s->head[h].k, s->head[h].v, s->k_type, s->v_type});
    s->head[h].n += n;
}

void cpu_kv_append(struct fkv_run *r, struct fkv_kv_store *s, const float *k, const float *v, size_t ld, int n)
{
    const double t0 = fkv_clock_s();
    fkv_team_barrier(r->b->team);
    for (int h; (h = fkv_team_take(r->b->team, r->thread, s->heads)) >= 0;)
        append_rows(s, h, k + (size_t)h * (size_t)s->d, v + (size_t)h * (size_t)s->d, ld, n);
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_ROWS, t0);
}

/* ---- entries from store to store ---------------------------------------------------------------------------------------- */

/* x[channels] of one entry; index gives a channel's place within the tile. */
static void read_entry(const uint8_t *tiles, int type, int d, int entry, size_t (*index)(int, int), float *x)
{
    const uint8_t *tile = tiles + (size_t)(entry / FKV_TILE) * fkv_tile_bytes(type, d);
    const int e = entry % FKV_TILE;
    const int8_t *q8 = (const int8_t *)tile + (size_t)fkv_padded_head(d) * sizeof(fkv_f16);
    for (int c = 0; c < d; c++) {
        const size_t i = index(e, c);
        switch (type) {
        case FKV_ELEM_F32: x[c] = ((const float *)(const void *)tile)[i]; break;
        case FKV_ELEM_F16: x[c] = fkv_f32_from_f16(((const fkv_f16 *)(const void *)tile)[i]); break;
        case FKV_ELEM_BF16: x[c] = fkv_f32_from_bf16(((const fkv_bf16 *)(const void *)tile)[i]); break;
        default: x[c] = fkv_f32_from_f16(((const fkv_f16 *)(const void *)tile)[c / 32 * FKV_TILE + e]) * (float)q8[i]; break;
        }
    }
}

/* Entries rows[0 .. n), or 0 .. n - 1, counted from `base`, through floats: exact but for a change of type. */
static void copy_entries(struct fkv_kv_store *to, const struct fkv_kv_store *from, int h, int base, const int32_t *rows, int n)
{
    float k[FKV_TILE * FKV_MAX_HEAD], v[FKV_TILE * FKV_MAX_HEAD];
    for (int i = 0; i < n;) {
        int here = 0;
        for (; here < FKV_TILE && i < n; here++, i++) {
            const int entry = base + (rows ? rows[i] : i);
            read_entry(from->head[h].k, from->k_type, from->d, entry, fkv_k_index, k + here * from->d);
            read_entry(from->head[h].v, from->v_type, from->d, entry, fkv_v_index, v + here * from->d);
        }
        append_rows(to, h, k, v, (size_t)from->d, here);
    }
}

static void copy_head(struct fkv_kv_store *to, const struct fkv_kv_store *from, int h, int base, const int32_t *rows, int n)
{
    const bool same = to->k_type == from->k_type && to->v_type == from->v_type;
    if (rows || !same || base % FKV_TILE || to->head[h].n % FKV_TILE) {
        copy_entries(to, from, h, base, rows, n);
        return;
    }
    const size_t tiles = (size_t)(n + FKV_TILE - 1) / FKV_TILE, k_bytes = fkv_tile_bytes(to->k_type, to->d), v_bytes = fkv_tile_bytes(to->v_type, to->d);
    memcpy(to->head[h].k + (size_t)(to->head[h].n / FKV_TILE) * k_bytes, from->head[h].k + (size_t)(base / FKV_TILE) * k_bytes, tiles * k_bytes);
    memcpy(to->head[h].v + (size_t)(to->head[h].n / FKV_TILE) * v_bytes, from->head[h].v + (size_t)(base / FKV_TILE) * v_bytes, tiles * v_bytes);
    to->head[h].n += n;
}

void cpu_kv_assign(struct fkv_kv_store *s, const struct fkv_kv_store *from)
{
    for (int h = 0; h < s->heads; h++) {
        s->head[h].n = 0;
        if (from) copy_head(s, from, h, 0, NULL, from->head[h].n);
        s->head[h].base = s->head[h].n;
    }
}

void cpu_retain(struct fkv_run *r, struct fkv_kv_store *to, const struct fkv_kv_store *from, const int32_t *rows, int n)
{
    const double t0 = fkv_clock_s();
    for (int h; (h = fkv_team_take(r->b->team, r->thread, to->heads)) >= 0;)
        copy_head(to, from, h, from->head[h].base, rows ? rows + (size_t)h * (size_t)n : NULL, n);
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_SELECT, t0);
}
