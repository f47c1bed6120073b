/* The store of one layer's K and V. */
#include <stdlib.h>
#include <string.h>

#include "vulkan/vk_internal.h"

enum { ROOM_UNIT = 64 }; /* entries: a head's memory is then aligned for a binding, whatever its type and size */

uint32_t vk_entry_words(int type, int d)
{
    const uint32_t chunks = vk_chunks(d);
    return type == FKV_ELEM_F32 ? 32 * chunks : type == FKV_ELEM_Q8_0 ? 9 * chunks : 16 * chunks;
}

static uint64_t head_bytes(const struct fkv_kv_store *s, int which) { return vk_head_words(s, which) * (uint64_t)4; }

int vk_visible_heads(const struct fkv_kv_store *s)
{
    if (s->room == 0) return s->heads; /* the device failed before there was an entry */
    const uint64_t k = head_bytes(s, VK_K), v = head_bytes(s, VK_V), fit = s->b->c.max_range / (k > v ? k : v);
    return fit < 1 ? 1 : fit < (uint64_t)s->heads ? (int)fit : s->heads;
}

struct vk_slice vk_kv_heads(const struct fkv_kv_store *s, int which, int head, int n)
{
    const uint64_t bytes = head_bytes(s, which);
    return (struct vk_slice){s->memory[which].buffer, s->memory[which].offset + (uint64_t)head * bytes,
                             (uint64_t)n * bytes};
}

void vk_count_keys(const struct fkv_kv_store *s, const int32_t *seen, int32_t *count)
{
    for (int h = 0; h < s->heads; h++) count[h] = seen ? s->base[h] + seen[0] : s->n[h];
}

/* ---- room ------------------------------------------------------------------------------------ */

/* The entries there are move to memory for `room` entries. */
static void move(struct fkv_kv_store *s, int which, struct vk_slice to, int room)
{
    const uint64_t old = head_bytes(s, which), bytes = (uint64_t)room * vk_entry_words(s->type[which], s->d) * 4;
    for (int h = 0; h < s->heads; h++)
        if (s->n[h])
            vk_copy(&s->b->c, s->memory[which].buffer, to.buffer,
                    &(VkBufferCopy){s->memory[which].offset + (uint64_t)h * old, to.offset + (uint64_t)h * bytes,
                                    (uint64_t)s->n[h] * vk_entry_words(s->type[which], s->d) * 4},
                    1);
}

static bool resize(struct fkv_kv_store *s, int room)
{
    struct vk_slice memory[2] = {{0}};
    bool ok = true;
    room = (room + ROOM_UNIT - 1) / ROOM_UNIT * ROOM_UNIT;
    for (int i = 0; i < 2 && ok; i++)
        ok = vk_alloc(&s->b->c, (uint64_t)s->heads * (uint64_t)room * vk_entry_words(s->type[i], s->d) * 4, &memory[i]);
    if (!ok) {
        for (int i = 0; i < 2; i++) vk_free(&s->b->c, &memory[i]);
        return false;
    }
    for (int i = 0; i < 2 && s->room; i++) move(s, i, memory[i], room);
    if (s->room) vk_finish(&s->b->c);
    for (int i = 0; i < 2; i++) {
        vk_free(&s->b->c, &s->memory[i]);
        s->memory[i] = memory[i];
    }
    s->room = room;
    return true;
}

/* Room for n more entries in every head, and a little more so that single tokens seldom ask. In an operation, before it
   uploads. */
static bool make_room(struct fkv_kv_store *s, int n)
{
    int longest = 0;
    for (int h = 0; h < s->heads; h++) longest = s->n[h] > longest ? s->n[h] : longest;
    const int wanted = longest + n;
    if (wanted <= s->room) return true;
    int room = s->room ? wanted + 192 + wanted / 8 : wanted;
    if (room > s->capacity) room = s->capacity;
    if (!resize(s, room)) return vk_check(&s->b->c, VK_ERROR_OUT_OF_DEVICE_MEMORY, "the KV cache grows");
    return vk_ok(&s->b->c);
}

fkv_status vk_kv_create(struct fkv_backend *b, struct fkv_kv_store **store, int heads, int d, int k_type, int v_type,
                        int capacity, bool whole)
{
    struct fkv_kv_store *s = calloc(1, sizeof *s);
    if (!s) return FKV_ERROR_MEMORY;
    *s = (struct fkv_kv_store){.b = (struct vk_backend *)b,
                               .heads = heads,
                               .d = d,
                               .type = {k_type, v_type},
                               .capacity = capacity};
    s->n = calloc((size_t)heads, sizeof *s->n);
    s->base = calloc((size_t)heads, sizeof *s->base);
    bool ok = s->n && s->base;
    for (int i = 0; i < 2; i++)
        ok = ok && (uint64_t)(capacity + ROOM_UNIT) * vk_entry_words(s->type[i], d) * 4 <=
                       s->b->c.max_range; /* a binding sees a whole head */
    if (ok && whole && vk_enter(&s->b->c, 0)) {
        ok = resize(s, capacity);
        vk_leave(&s->b->c);
    }
    if (!ok) {
        vk_kv_destroy(s);
        return FKV_ERROR_MEMORY;
    }
    *store = s;
    return FKV_OK;
}

void vk_kv_destroy(struct fkv_kv_store *s)
{
    if (!s) return;
    if (s->room && vk_enter(&s->b->c, 0)) {
        vk_finish(&s->b->c);
        for (int i = 0; i < 2; i++) vk_free(&s->b->c, &s->memory[i]);
        vk_leave(&s->b->c);
    }
    free(s->n);
    free(s->base);
    free(s);
}

void vk_kv_cut(struct fkv_kv_store *s, int head, int n)
{
    if (n < s->n[head]) s->n[head] = n;
    if (n < s->base[head]) s->base[head] = n;
}

int vk_kv_count(const struct fkv_kv_store *s, int head) { return s->n[head]; }

uint64_t vk_kv_bytes(const struct fkv_kv_store *s)
{
    uint64_t entries = 0;
    for (int h = 0; h < s->heads; h++) entries += (uint64_t)(s->n[h] + FKV_TILE - 1) / FKV_TILE * FKV_TILE;
    return entries * 4 * (vk_entry_words(s->type[VK_K], s->d) + vk_entry_words(s->type[VK_V], s->d));
}

/* ---- entries --------------------------------------------------------------------------------- */

/* Where entries come from: rows of floats, or a store. */
struct source {
    const struct fkv_kv_store *store; /* or NULL: */
    const float *x[2];                /* K and V, [n][ld], heads side by side */
    size_t ld;
};

/* The source's heads from `head` on, as kv_copy sees it. */
static struct vk_slice source_heads(struct vk_context *c, const struct source *from, int which, int d, int head,
                                    int heads, int n)
{
    if (from->store) return vk_kv_heads(from->store, which, head, heads);
    return vk_floats(c, from->x[which] + (size_t)head * (size_t)d,
                     (size_t)(n - 1) * from->ld + (size_t)heads * (size_t)d);
}

static void copy_heads(struct fkv_kv_store *to, const struct source *from, int which, int head, int heads,
                       struct vk_slice lists, bool has_rows, int n)
{
    struct vk_context *c = &to->b->c;
    const uint32_t chunks = vk_chunks(to->d);
    const struct fkv_kv_store *s = from->store;
    const uint32_t from_type = s ? (uint32_t)s->type[which] : FKV_ELEM_F32;
    const struct {
        uint32_t n, heads, head0, all_heads, d, chunks, has_rows, from_entry, from_head, to_entry, to_head;
    } push = {(uint32_t)n,
              (uint32_t)heads,
              (uint32_t)head,
              (uint32_t)to->heads,
              (uint32_t)to->d,
              chunks,
              has_rows,
              s ? vk_entry_words(s->type[which], s->d) : (uint32_t)from->ld,
              s ? vk_head_words(s, which) : (uint32_t)to->d,
              vk_entry_words(to->type[which], to->d),
              vk_head_words(to, which)};
    const uint64_t invocations = (uint64_t)heads * (uint64_t)n * chunks;
    vk_dispatch_some(c,
                     &(struct vk_call){VK_SHADER_kv_copy,
                                       {from_type, (uint32_t)to->type[which]},
                                       {source_heads(c, from, which, to->d, head, heads, n),
                                        vk_kv_heads(to, which, head, heads), lists},
                                       &push,
                                       sizeof push,
                                       (invocations + 63) / 64,
                                       (double)invocations * 32},
                     (double)heads * n * 4 * (push.to_entry + (s ? push.from_entry : (uint32_t)to->d)));
}

/* A list for kv_copy whose rows the device has chosen: where entries go and come from, uploaded at `s`, then what
   `found` holds and the window. */
static struct vk_slice device_list(struct vk_context *c, const struct vk_backend *b, struct vk_slice s, size_t heads,
                                   int n)
{
    const uint64_t word = sizeof(int32_t), head = (uint64_t)n * word, window = (uint64_t)b->window_rows * word,
                   chosen = head - window, start = 2 * heads * word;
    VkBufferCopy uploaded[VK_MAX_HEADS + 1], found[VK_MAX_HEADS];
    uploaded[heads] = (VkBufferCopy){s.offset, b->lists.offset, start};
    for (size_t h = 0; h < heads; h++) {
        const uint64_t to = b->lists.offset + start + h * head;
        found[h] = (VkBufferCopy){b->found.offset + h * chosen, to, chosen};
        uploaded[h] = (VkBufferCopy){s.offset + start, to + chosen, window};
    }
    vk_copy(c, b->found.buffer, b->lists.buffer, found, (uint32_t)heads);
    vk_copy(c, s.buffer, b->lists.buffer, uploaded, (uint32_t)heads + 1);
    return (struct vk_slice){b->lists.buffer, b->lists.offset, start + heads * head};
}

/* Appends entries first[h] + (rows[h][i] or i), i < n, of the source to every head. In an operation that has room for
   the lists. */
static void append(struct fkv_kv_store *to, const struct source *from, const int32_t *first, const int32_t *rows, int n)
{
    struct vk_context *c = &to->b->c;
    const size_t heads = (size_t)to->heads;
    const bool on_device = rows && rows == to->b->selected;
    to->b->selected = NULL;
    if (rows && !on_device) vk_settle(c);
    if (n == 0 || !make_room(to, n)) return;
    const size_t listed = !rows       ? 0
                          : on_device ? (size_t)to->b->window_rows
                                      : heads * (size_t)n,
                 words = 2 * heads + listed;
    void *room;
    struct vk_slice lists = vk_upload_room(c, words * sizeof(int32_t), &room);
    int32_t *list = room;
    for (size_t h = 0; h < heads; h++) {
        list[h] = to->n[h];
        list[heads + h] = first ? first[h] : 0;
    }
    if (rows) memcpy(list + 2 * heads, rows + (on_device ? (size_t)n - listed : 0), listed * sizeof *rows);
    if (on_device) lists = device_list(c, to->b, lists, heads, n);
    int step = vk_visible_heads(to);
    if (from->store && vk_visible_heads(from->store) < step) step = vk_visible_heads(from->store);
    for (int h = 0; h < to->heads; h += step)
        for (int which = 0; which < 2; which++)
            copy_heads(to, from, which, h, to->heads - h < step ? to->heads - h : step, lists, rows != NULL, n);
    for (size_t h = 0; h < heads; h++) to->n[h] += n;
}

static uint64_t list_bytes(const struct fkv_kv_store *s, bool rows, int n)
{
    return (uint64_t)s->heads * (2 + (rows ? (uint64_t)n : 0)) * sizeof(int32_t);
}

void vk_kv_append(struct fkv_run *r, struct fkv_kv_store *s, const float *k, const float *v, size_t ld, int n)
{
    struct vk_context *c = &vk_of(r)->c;
    if (!vk_enter(c, list_bytes(s, false, n))) return;
    append(s, &(struct source){NULL, {k, v}, ld}, NULL, NULL, n);
    vk_leave(c);
}

void vk_retain(struct fkv_run *r, struct fkv_kv_store *to, const struct fkv_kv_store *from, const int32_t *rows, int n)
{
    struct vk_context *c = &vk_of(r)->c;
    if (!vk_enter(c, list_bytes(to, rows, n))) return;
    append(to, &(struct source){.store = from}, from->base, rows, n);
    vk_leave(c);
}

/* Heads may differ in length: the shortest prefix at once, the rest head by head would be rare; so the longest is
   copied for all, and the counts set after. */
void vk_kv_assign(struct fkv_kv_store *s, const struct fkv_kv_store *from)
{
    struct vk_context *c = &s->b->c;
    int longest = 0;
    for (int h = 0; h < s->heads; h++) {
        s->n[h] = 0;
        if (from && from->n[h] > longest) longest = from->n[h];
    }
    if (longest && vk_enter(c, list_bytes(s, false, longest))) {
        append(s, &(struct source){.store = from}, NULL, NULL, longest);
        vk_leave(c);
    }
    for (int h = 0; h < s->heads; h++) s->n[h] = s->base[h] = from ? from->n[h] : 0;
}
