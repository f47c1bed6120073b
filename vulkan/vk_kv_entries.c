/* Entries of a store: from rows of floats, from store to store, out of it and into it. */
#include <string.h>

#include "vulkan/vk_internal.h"

/* ---- entries that come ----------------------------------------------------------------------- */

/* Where entries come from: rows of floats and their positions, or a store. */
struct source {
    struct fkv_kv_store *store; /* or NULL: */
    struct fkv_tensor x[2];     /* K and V, [n][ld], heads side by side */
    size_t ld;
    struct vk_slice pos; /* [n] */
};

/* Which of a source's entries every head takes: kv_copy's lists, on the device. */
struct lists {
    struct vk_slice at;
    int most; /* of any head */
    int ld;   /* words from list to list of rows; 0: entries as they stand */
};

/* The source's heads from `head` on, as kv_copy sees it. */
static struct vk_slice source_heads(const struct source *from, int which, int d, int head, int heads, int n)
{
    if (from->store) return vk_kv_heads(from->store, which, head, heads);
    return vk_values(fkv_tensor_from(from->x[which], (size_t)head * (size_t)d),
                     (size_t)(n - 1) * from->ld + (size_t)heads * (size_t)d);
}

/* The dispatch for K brings the positions too. */
static void copy_heads(struct fkv_kv_store *to, const struct source *from, int which, int head, int heads,
                       const struct lists *lists)
{
    const uint32_t chunks = vk_chunks(to->d);
    const struct fkv_kv_store *s = from->store;
    const bool has_pos = which == VK_K;
    const struct {
        uint32_t n, heads, head0, all_heads, d, chunks, row_ld, from_entry, from_head, to_entry, to_head, has_pos,
            from_positions, to_positions;
    } push = {.n = (uint32_t)lists->most,
              .heads = (uint32_t)heads,
              .head0 = (uint32_t)head,
              .all_heads = (uint32_t)to->heads,
              .d = (uint32_t)to->d,
              .chunks = chunks,
              .row_ld = (uint32_t)lists->ld,
              .from_entry = s ? vk_entry_words(s->type[which], s->d) : (uint32_t)from->ld,
              .from_head = s ? vk_head_words(s, which) : (uint32_t)to->d,
              .to_entry = vk_entry_words(to->type[which], to->d),
              .to_head = vk_head_words(to, which),
              .has_pos = has_pos,
              .from_positions = s ? (uint32_t)s->room : 0,
              .to_positions = (uint32_t)to->room};
    const struct vk_slice made = vk_kv_heads(to, which, head, heads);
    const uint64_t entries = (uint64_t)heads * (uint64_t)lists->most, invocations = entries * chunks;
    vk_dispatch_some(&to->b->c,
                     &(struct vk_call){.shader = VK_SHADER_kv_copy,
                                       .constants = {s ? (uint32_t)s->type[which] : FKV_ELEM_F32,
                                                     (uint32_t)to->type[which]},
                                       .bind = {source_heads(from, which, to->d, head, heads, lists->most), made,
                                                lists->at, s ? vk_positions_of(s, head, heads) : from->pos,
                                                has_pos ? vk_positions_of(to, head, heads) : made},
                                       .push = &push,
                                       .push_bytes = sizeof push,
                                       .groups = (invocations + 63) / 64,
                                       .work = (double)invocations * 32},
                     (double)entries * 4 * (push.to_entry + (s ? push.from_entry : (uint32_t)to->d)));
}

static void copy_all(struct fkv_kv_store *to, const struct source *from, const struct lists *lists)
{
    int step = vk_visible_heads(to);
    if (from->store && vk_visible_heads(from->store) < step) step = vk_visible_heads(from->store);
    for (int h = 0; h < to->heads && lists->most > 0; h += step)
        for (int which = 0; which < 2; which++)
            copy_heads(to, from, which, h, to->heads - h < step ? to->heads - h : step, lists);
    to->is_read = false;
}

static uint64_t list_bytes(const struct fkv_kv_store *s)
{
    return (uint64_t)(VK_COPY_LISTS * s->heads) * sizeof(int32_t);
}

/* kv_copy's lists for count[heads] entries from the ends of `to` on, or `same` of each where count is NULL; first NULL:
   from the beginning. They count as there from now on. */
static struct vk_slice upload_lists(struct fkv_kv_store *to, const int *first, const int *count, int same)
{
    void *room;
    const struct vk_slice s = vk_upload_room(&to->b->c, list_bytes(to), &room);
    int32_t *list = room;
    for (int h = 0; h < to->heads; h++) {
        const int n = count ? count[h] : same;
        list[h] = to->n[h];
        list[to->heads + h] = first ? first[h] : 0;
        list[2 * to->heads + h] = n;
        to->n[h] += n;
    }
    return s;
}

static struct fkv_kv_store *store_of(struct fkv_kv_store *const *stores, const struct fkv_rows *rows, int row)
{
    return stores[rows->sequence ? rows->sequence[row] : 0];
}

static int groups_of(const struct fkv_rows *rows)
{
    int n = 0;
    for (int row = 0; row < rows->n; row = fkv_rows_end(rows, row)) n++;
    return n;
}

void vk_kv_append(struct fkv_run *r, struct fkv_kv_store *const *stores, struct fkv_tensor k, struct fkv_tensor v,
                  size_t ld, const struct fkv_rows *rows)
{
    struct vk_context *c = &vk_of(r)->c;
    if (!vk_enter(c, (uint64_t)groups_of(rows) * list_bytes(stores[0]) + (uint64_t)rows->n * sizeof *rows->pos)) return;
    for (int row = 0, end; row < rows->n; row = end) {
        struct fkv_kv_store *s = store_of(stores, rows, row);
        end = fkv_rows_end(rows, row);
        const int n = end - row;
        assert(vk_longest(s) + n <= s->room);
        const size_t at = (size_t)row * ld;
        const struct source from = {NULL,
                                    {fkv_tensor_from(k, at), fkv_tensor_from(v, at)},
                                    ld,
                                    vk_upload(c, rows->pos + row, (uint64_t)n * sizeof *rows->pos)};
        copy_all(s, &from, &(struct lists){upload_lists(s, NULL, NULL, n), n, 0});
        s->last = rows->pos[end - 1];
    }
    vk_leave(c);
}

void vk_retain(struct fkv_run *r, struct fkv_kv_store *to, const struct fkv_kv_store *from,
               const struct fkv_choice *choice)
{
    struct vk_context *c = &vk_of(r)->c;
    int count[VK_MAX_HEADS];
    struct lists lists = {.ld = choice ? choice->n : 0};
    for (int h = 0; h < to->heads; h++) {
        count[h] = choice ? choice->count[h] : from->n[h] - from->base[h];
        lists.most = count[h] > lists.most ? count[h] : lists.most;
    }
    if (!vk_enter(c, list_bytes(to))) return;
    for (int h = 0; h < to->heads; h++) assert(to->n[h] + count[h] <= to->room);
    const struct vk_slice uploaded = upload_lists(to, from->base, count, 0);
    lists.at = uploaded;
    if (choice) {
        lists.at = vk_copy_lists(choice, to->heads);
        vk_copy(c, uploaded.buffer, lists.at.buffer, &(VkBufferCopy){uploaded.offset, lists.at.offset, uploaded.bytes},
                1);
    }
    copy_all(to, &(struct source){.store = (struct fkv_kv_store *)(uintptr_t)from}, &lists);
    if (from->last > to->last) to->last = from->last;
    vk_leave(c);
}

static void empty(struct fkv_kv_store *s)
{
    memset(s->n, 0, (size_t)s->heads * sizeof *s->n);
    s->last = -1;
}

void vk_kv_assign(struct fkv_kv_store *s, const struct fkv_kv_store *from)
{
    struct vk_context *c = &s->b->c;
    const int longest = from ? vk_longest(from) : 0;
    empty(s);
    if (longest > 0 && vk_enter(c, list_bytes(s))) {
        assert(longest <= s->room);
        copy_all(s, &(struct source){.store = (struct fkv_kv_store *)(uintptr_t)from},
                 &(struct lists){upload_lists(s, NULL, from->n, 0), longest, 0});
        s->last = from->last;
        vk_leave(c);
    }
    memcpy(s->base, s->n, (size_t)s->heads * sizeof *s->n);
}

/* ---- entries in canonical form --------------------------------------------------------------- */

/* A store's q8_0 entry: scales as floats, then bytes; the canonical one: a half and 32 bytes, again and again. */
enum { Q8_BYTES = sizeof(fkv_f16) + 32 };

static size_t canonical_bytes(int type, int d)
{
    if (type == FKV_ELEM_Q8_0) return vk_chunks(d) * (size_t)Q8_BYTES;
    return (size_t)d * (type == FKV_ELEM_F32 ? sizeof(float) : sizeof(fkv_f16));
}

static void move_out(int type, int d, const uint32_t *entry, uint8_t *to)
{
    const uint32_t chunks = vk_chunks(d);
    if (type != FKV_ELEM_Q8_0) {
        memcpy(to, entry, canonical_bytes(type, d));
        return;
    }
    for (uint32_t i = 0; i < chunks; i++, to += Q8_BYTES) {
        float scale;
        memcpy(&scale, entry + i, sizeof scale);
        const fkv_f16 half = fkv_f16_from_f32(scale);
        memcpy(to, &half, sizeof half);
        memcpy(to + sizeof half, entry + chunks + 8 * i, 32);
    }
}

static void move_in(int type, int d, const uint8_t *from, uint32_t *entry)
{
    const uint32_t chunks = vk_chunks(d);
    if (type != FKV_ELEM_Q8_0) {
        memset(entry, 0, vk_entry_words(type, d) * sizeof *entry);
        memcpy(entry, from, canonical_bytes(type, d));
        return;
    }
    for (uint32_t i = 0; i < chunks; i++, from += Q8_BYTES) {
        fkv_f16 half;
        memcpy(&half, from, sizeof half);
        const float scale = fkv_f32_from_f16(half);
        memcpy(entry + i, &scale, sizeof scale);
        memcpy(entry + chunks + 8 * i, from + sizeof half, 32);
    }
}

/* Entries first .. first + n - 1 of a head. */
static struct vk_slice entries_of(const struct fkv_kv_store *s, int which, int head, int first, int n)
{
    const struct vk_slice all = vk_kv_heads(s, which, head, 1);
    const uint64_t bytes = vk_entry_words(s->type[which], s->d) * (uint64_t)4;
    return (struct vk_slice){all.buffer, all.offset + (uint64_t)first * bytes, (uint64_t)n * bytes};
}

void vk_kv_export(struct fkv_kv_store *s, int head, bool keys, int first, int n, void *to)
{
    struct vk_context *c = &s->b->c;
    const int which = keys ? VK_K : VK_V, type = s->type[which];
    const size_t words = vk_entry_words(s->type[which], s->d), bytes = canonical_bytes(type, s->d);
    const int most = (int)(VK_DOWNLOAD_BYTES / (words * 4));
    if (!vk_enter(c, 0)) return;
    for (int i = 0; i < n; i += most) {
        const int here = n - i < most ? n - i : most;
        const uint32_t *from = vk_download_here(c, entries_of(s, which, head, first + i, here));
        for (int j = 0; j < here && from; j++)
            move_out(type, s->d, from + (size_t)j * words, (uint8_t *)to + (size_t)(i + j) * bytes);
    }
    vk_leave(c);
}

static void import_part(struct fkv_kv_store *s, int which, int head, const uint8_t *from, int n)
{
    enum { PIECE_BYTES = 1 << 20 };
    struct vk_context *c = &s->b->c;
    const size_t words = vk_entry_words(s->type[which], s->d), bytes = canonical_bytes(s->type[which], s->d);
    const int most = (int)(PIECE_BYTES / (words * 4));
    for (int i = 0; i < n; i += most) {
        const int here = n - i < most ? n - i : most;
        const struct vk_slice to = entries_of(s, which, head, s->n[head] + i, here);
        void *room;
        if (!vk_enter(c, to.bytes)) return;
        const struct vk_slice uploaded = vk_upload_room(c, to.bytes, &room);
        for (int j = 0; j < here; j++)
            move_in(s->type[which], s->d, from + (size_t)(i + j) * bytes, (uint32_t *)room + (size_t)j * words);
        vk_copy(c, uploaded.buffer, to.buffer, &(VkBufferCopy){uploaded.offset, to.offset, to.bytes}, 1);
        vk_leave(c);
    }
}

void vk_kv_import(struct fkv_kv_store *s, int head, const int32_t *pos, const void *k, const void *v, int n)
{
    struct vk_context *c = &s->b->c;
    if (n == 0) return;
    assert(s->n[head] + n <= s->room);
    import_part(s, VK_K, head, k, n);
    import_part(s, VK_V, head, v, n);
    struct vk_slice to = vk_positions_of(s, head, 1);
    to.offset += (uint64_t)s->n[head] * sizeof *pos;
    vk_write_slice(c, vk_first(to, (uint64_t)n), pos);
    s->n[head] += n;
    s->is_read = false;
    if (pos[n - 1] > s->last) s->last = pos[n - 1];
}
