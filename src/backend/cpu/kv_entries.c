/* Entries of a store: from store to store, out of it and into it. */
#include <assert.h>
#include <string.h>

#include "backend/cpu/cpu_backend.h"

/* ---- one entry ------------------------------------------------------------------------------------- */

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

static uint8_t *tile_of(struct kv_part p, int d, int entry)
{
    return p.tiles + (size_t)(entry / FKV_TILE) * fkv_tile_bytes(p.type, d);
}

/* x[d] of one entry. */
static void read_entry(struct kv_part p, int d, int entry, float *x)
{
    const uint8_t *tile = tile_of(p, d, entry);
    const int e = entry % FKV_TILE;
    switch (p.type) {
    case FKV_ELEM_F32: read_as(FKV_ELEM_F32, tile, p.is_k, d, e, x); break;
    case FKV_ELEM_F16: read_as(FKV_ELEM_F16, tile, p.is_k, d, e, x); break;
    case FKV_ELEM_BF16: read_as(FKV_ELEM_BF16, tile, p.is_k, d, e, x); break;
    default: read_as(FKV_ELEM_Q8_0, tile, p.is_k, d, e, x); break;
    }
}

void cpu_kv_read(const struct fkv_kv_store *s, int head, bool is_k, int entry, int n, float *x)
{
    for (int i = 0; i < n; i++)
        read_entry(cpu_kv_part(s, head, is_k, entry + i), s->shape.d, entry + i, x + i * s->shape.d);
}

/* ---- from store to store ----------------------------------------------------------------------------- */

/* Entries rows[0 .. n), or entry .. entry + n - 1, through floats: exact but for a change of type. */
static void copy_entries(const struct fkv_kv_store *to, int at, const struct fkv_kv_store *from, int h, bool is_k,
                         int entry, const int32_t *rows, int n)
{
    const struct kv_part target = cpu_kv_part(to, h, is_k, at);
    float x[FKV_TILE * FKV_MAX_HEAD];
    const int d = to->shape.d;
    for (int i = 0; i < n;) {
        const int first = at + i;
        int here = 0;
        for (; here < FKV_TILE && i < n; here++, i++) {
            const int e = entry + (rows ? rows[i] : i);
            read_entry(cpu_kv_part(from, h, is_k, e), d, e, x + here * d);
        }
        to->b->k->kv_pack(&(struct fkv_kv_rows){.k = is_k ? x : NULL,
                                                .v = is_k ? NULL : x,
                                                .ld = (size_t)d,
                                                .n = here,
                                                .d = d,
                                                .first = first,
                                                .k_tiles = target.tiles,
                                                .v_tiles = target.tiles,
                                                .k_type = target.type,
                                                .v_type = target.type});
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

/* Entries that lie in one segment. Whole tiles go as they are. */
static void copy_run(const struct fkv_kv_store *to, int at, const struct fkv_kv_store *from, int h, bool is_k,
                     int entry, int n)
{
    const struct kv_part t = cpu_kv_part(to, h, is_k, at), f = cpu_kv_part(from, h, is_k, entry);
    if (entry % FKV_TILE || at % FKV_TILE || (t.type != f.type && !(is_half(t.type) && is_half(f.type))))
        copy_entries(to, at, from, h, is_k, entry, NULL, n);
    else
        copy_tiles(tile_of(t, to->shape.d, at), t.type, tile_of(f, to->shape.d, entry), f.type,
                   (size_t)(n + FKV_TILE - 1) / FKV_TILE * fkv_tile_bytes(t.type, to->shape.d));
}

void cpu_kv_copy(const struct fkv_kv_store *to, int at, const struct fkv_kv_store *from, int head, bool is_k, int entry,
                 const int32_t *rows, int n)
{
    if (rows) {
        copy_entries(to, at, from, head, is_k, entry, rows, n);
        return;
    }
    while (n > 0) {
        const int left = cpu_kv_segment_end(from, head, entry) - entry, here = left < n ? left : n;
        copy_run(to, at, from, head, is_k, entry, here);
        at += here;
        entry += here;
        n -= here;
    }
}

void cpu_kv_assign(struct fkv_kv_store *s, const struct fkv_kv_store *from)
{
    assert(s->n_shared == 0);
    for (int h = 0; h < s->shape.heads; h++) {
        const int n = from ? from->head[h].n : 0;
        for (int is_k = 0; is_k < 2 && n; is_k++) cpu_kv_copy(s, 0, from, h, is_k, 0, NULL, n);
        if (n) memcpy(s->head[h].pos, from->head[h].pos, (size_t)n * sizeof *s->head[h].pos);
        s->head[h].n = s->head[h].base = n;
    }
}

/* How many entries of a head a retention takes, and which; NULL: as they stand. */
static int chosen(const struct fkv_kv_store *from, const struct fkv_choice *c, int h, const int32_t **rows)
{
    *rows = c ? cpu_choice_rows(c, h) : NULL;
    return c ? c->count[h] : from->head[h].n - from->head[h].base;
}

static void retain_positions(struct fkv_kv_store *to, const struct fkv_kv_store *from, const struct fkv_choice *c,
                             int h)
{
    const int32_t *rows, *pos = from->head[h].pos + from->head[h].base;
    const int n = chosen(from, c, h, &rows);
    int32_t *at = to->head[h].pos + to->head[h].n;
    for (int i = 0; i < n; i++) at[i] = pos[rows ? rows[i] : i];
    to->head[h].n += n;
}

void cpu_retain(struct fkv_run *r, struct fkv_kv_store *to, const struct fkv_kv_store *from, const struct fkv_choice *c)
{
    const double t0 = fkv_clock_s();
    assert(to->shape.heads == from->shape.heads && to->shape.d == from->shape.d);
    for (int task; (task = fkv_team_take(r->b->team, r->thread, 2 * to->shape.heads)) >= 0;) {
        const int h = task / 2;
        const int32_t *rows;
        const int n = chosen(from, c, h, &rows);
        cpu_kv_copy(to, to->head[h].n, from, h, task % 2 == 0, from->head[h].base, rows, n);
    }
    fkv_team_barrier(r->b->team); /* K and V of a head may be two threads' */
    for (int h = 0; h < to->shape.heads && r->thread == 0; h++) retain_positions(to, from, c, h);
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_SELECT, t0);
}

/* ---- in canonical form ----------------------------------------------------------------------------------- */

/* One entry out of its tile, or into it. */
static void move_entry(struct kv_part p, int d, int entry, uint8_t *canonical, bool out)
{
    uint8_t *tile = tile_of(p, d, entry);
    const int e = entry % FKV_TILE, dp = fkv_padded_head(d);
    const size_t size = p.type == FKV_ELEM_Q8_0 ? 1 : p.type == FKV_ELEM_F32 ? 4 : 2;
    uint8_t *values = tile + (p.type == FKV_ELEM_Q8_0 ? (size_t)dp * sizeof(fkv_f16) : 0);
    for (int c = 0; c < (p.type == FKV_ELEM_Q8_0 ? dp : d); c++) {
        if (p.type == FKV_ELEM_Q8_0 && c % 32 == 0) {
            uint8_t *scale = tile + (size_t)(c / 32 * FKV_TILE + e) * sizeof(fkv_f16);
            memcpy(out ? canonical : scale, out ? scale : canonical, sizeof(fkv_f16));
            canonical += sizeof(fkv_f16);
        }
        uint8_t *value = values + (p.is_k ? fkv_k_index(e, c) : fkv_v_index(e, c)) * size;
        memcpy(out ? canonical : value, out ? value : canonical, size);
        canonical += size;
    }
}

void cpu_kv_export(struct fkv_kv_store *s, int head, bool keys, int first, int n, void *to)
{
    const size_t bytes = fkv_kv_entry_bytes(keys ? s->shape.k_type : s->shape.v_type, s->shape.d);
    for (int i = 0; i < n; i++)
        move_entry(cpu_kv_part(s, head, keys, first + i), s->shape.d, first + i, (uint8_t *)to + (size_t)i * bytes,
                   true);
}

/* The rest of the last tile is zero, as kv_pack leaves it. */
static void import_part(struct fkv_kv_store *s, int head, bool keys, const void *from, int n)
{
    const int first = s->head[head].n, d = s->shape.d;
    const struct kv_part p = cpu_kv_part(s, head, keys, first);
    const size_t bytes = fkv_kv_entry_bytes(p.type, d), tile = fkv_tile_bytes(p.type, d);
    for (int i = 0; i < n; i++) {
        if ((first + i) % FKV_TILE == 0) memset(tile_of(p, d, first + i), 0, tile);
        move_entry(p, d, first + i, (uint8_t *)(uintptr_t)from + (size_t)i * bytes, false);
    }
}

void cpu_kv_import(struct fkv_kv_store *s, int head, const int32_t *pos, const void *k, const void *v, int n)
{
    import_part(s, head, true, k, n);
    import_part(s, head, false, v, n);
    memcpy(s->head[head].pos + s->head[head].n, pos, (size_t)n * sizeof *pos);
    s->head[head].n += n;
}
