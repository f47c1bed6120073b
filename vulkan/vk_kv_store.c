/* The store of one layer's K and V: its memory, and what the host asks of it. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
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

struct vk_slice vk_positions_of(const struct fkv_kv_store *s, int head, int n)
{
    const uint64_t bytes = (uint64_t)s->room * sizeof(int32_t);
    return (struct vk_slice){s->positions.buffer, s->positions.offset + (uint64_t)head * bytes, (uint64_t)n * bytes};
}

int vk_longest(const struct fkv_kv_store *s)
{
    int longest = 0;
    for (int h = 0; h < s->heads; h++) longest = s->n[h] > longest ? s->n[h] : longest;
    return longest;
}

/* ---- room ------------------------------------------------------------------------------------ */

/* What a store holds of every entry: keys, values, positions. */
enum { PARTS = 3 };

static struct vk_slice *part(struct fkv_kv_store *s, int i) { return i < 2 ? &s->memory[i] : &s->positions; }
static uint64_t part_words(const struct fkv_kv_store *s, int i) { return i < 2 ? vk_entry_words(s->type[i], s->d) : 1; }

/* Memory for `room` entries of every head, the store's own being forgotten. */
static bool take_room(struct fkv_kv_store *s, int room)
{
    bool ok = true;
    for (int i = 0; i < PARTS; i++) *part(s, i) = (struct vk_slice){0};
    for (int i = 0; i < PARTS && ok; i++)
        ok = vk_slice_alloc(&s->b->c, (uint64_t)s->heads * (uint64_t)room * part_words(s, i) * 4, part(s, i));
    for (int i = 0; i < PARTS && !ok; i++) vk_slice_free(&s->b->c, part(s, i));
    s->room = ok ? room : 0;
    return ok;
}

/* The first n[h] entries of every head, to a store of the same shape with room for them. */
static void copy_first(struct fkv_kv_store *to, struct fkv_kv_store *from, const int *n)
{
    for (int i = 0; i < PARTS; i++) {
        const uint64_t bytes = part_words(to, i) * 4;
        for (int h = 0; h < to->heads; h++)
            if (n[h])
                vk_copy(&to->b->c, part(from, i)->buffer, part(to, i)->buffer,
                        &(VkBufferCopy){part(from, i)->offset + (uint64_t)h * (uint64_t)from->room * bytes,
                                        part(to, i)->offset + (uint64_t)h * (uint64_t)to->room * bytes,
                                        (uint64_t)n[h] * bytes},
                        1);
    }
}

static int whole_units(int entries) { return (entries + ROOM_UNIT - 1) / ROOM_UNIT * ROOM_UNIT; }

static bool resize(struct fkv_kv_store *s, int room)
{
    struct fkv_kv_store old = *s;
    if (!take_room(s, whole_units(room))) {
        *s = old;
        return false;
    }
    if (!old.room) return true;
    copy_first(s, &old, s->n);
    vk_finish(&s->b->c);
    for (int i = 0; i < PARTS; i++) vk_slice_free(&s->b->c, part(&old, i));
    return true;
}

/* Memory for the whole capacity may be many times what is ever used, and a device lends no pages as entries come. So
   room is for so many tokens more than are there, no more than have a position left, and within the capacity; where
   memory is short, for none. */
enum { TOKENS_TO_COME = 512 };

static int smaller(int a, int b) { return a < b ? a : b; }

static bool grow(struct fkv_kv_store *s, int wanted, int32_t last)
{
    const int left = smaller(s->capacity - 1 - last, s->capacity - wanted);
    const int more = smaller(left, TOKENS_TO_COME + wanted / 8);
    return (more > 0 && resize(s, wanted + more)) || resize(s, wanted);
}

fkv_status vk_kv_reserve(struct fkv_kv_store *s, int n, int32_t last)
{
    struct vk_context *c = &s->b->c;
    const int wanted = vk_longest(s) + n;
    if (wanted <= s->room) return FKV_OK;
    if (!vk_enter(c, 0)) return c->status;
    const bool ok = grow(s, wanted, last);
    vk_leave(c);
    return ok ? c->status : FKV_ERROR_MEMORY;
}

fkv_status vk_kv_create(struct fkv_backend *b, struct fkv_kv_store **store, const struct fkv_kv_shape *shape,
                        int capacity, bool whole)
{
    struct fkv_kv_store *s = calloc(1, sizeof *s);
    if (!s) return FKV_ERROR_MEMORY;
    const size_t heads = (size_t)shape->heads;
    *s = (struct fkv_kv_store){.b = (struct vk_backend *)b,
                               .heads = shape->heads,
                               .d = shape->d,
                               .type = {shape->k_type, shape->v_type},
                               .capacity = capacity,
                               .last = -1,
                               .read_bytes = heads * (size_t)capacity * sizeof *s->read};
    s->n = calloc(heads, sizeof *s->n);
    s->base = calloc(heads, sizeof *s->base);
    s->read = fkv_reserve(s->read_bytes);
    bool ok = s->n && s->base && s->read;
    for (int i = 0; i < PARTS; i++) /* a binding sees a whole head */
        ok = ok && (uint64_t)(capacity + ROOM_UNIT) * part_words(s, i) * 4 <= s->b->c.max_range;
    if (ok && whole && vk_enter(&s->b->c, 0)) {
        ok = resize(s, capacity);
        vk_leave(&s->b->c);
    }
    if (!ok) {
        vk_kv_destroy(s);
        return vk_ok(&((struct vk_backend *)b)->c) ? FKV_ERROR_MEMORY : FKV_ERROR_DEVICE;
    }
    *store = s;
    return FKV_OK;
}

void vk_kv_destroy(struct fkv_kv_store *s)
{
    if (!s) return;
    if (s->room && vk_enter(&s->b->c, 0)) {
        vk_finish(&s->b->c);
        for (int i = 0; i < PARTS; i++) vk_slice_free(&s->b->c, part(s, i));
        vk_leave(&s->b->c);
    }
    if (s->read) fkv_unreserve(s->read, s->read_bytes);
    free(s->n);
    free(s->base);
    free(s);
}

int vk_kv_count(const struct fkv_kv_store *s, int head) { return s->n[head]; }

static uint64_t whole_tiles(int n) { return (uint64_t)(n + FKV_TILE - 1) / FKV_TILE * FKV_TILE; }

uint64_t vk_kv_bytes(const struct fkv_kv_store *s)
{
    uint64_t entries = 0;
    for (int h = 0; h < s->heads; h++) entries += whole_tiles(s->n[h]);
    return entries * 4 * (part_words(s, VK_K) + part_words(s, VK_V));
}

uint64_t vk_kv_bytes_of(const struct fkv_backend *b, const struct fkv_kv_shape *shape, int n)
{
    (void)b;
    return (uint64_t)shape->heads * whole_tiles(n) * 4 *
           (vk_entry_words(shape->k_type, shape->d) + vk_entry_words(shape->v_type, shape->d));
}

/* ---- positions ------------------------------------------------------------------------------- */

/* What a device that fails has not said is position 0. */
const int32_t *vk_kv_positions(struct fkv_kv_store *s, int head)
{
    struct vk_context *c = &s->b->c;
    for (int h = 0; h < s->heads && !s->is_read; h++) {
        int32_t *to = s->read + (size_t)h * (size_t)s->capacity;
        memset(to, 0, (size_t)s->n[h] * sizeof *to);
        if (s->n[h] == 0 || !vk_enter(c, 0)) continue;
        vk_download(c, vk_first(vk_positions_of(s, h, 1), (uint64_t)s->n[h]), to);
        vk_leave(c);
    }
    s->is_read = true;
    return s->read + (size_t)head * (size_t)s->capacity;
}

/* count[heads] of the entries at positions below pos. */
static void count_below(struct fkv_kv_store *s, int32_t pos, int *count)
{
    for (int h = 0; h < s->heads; h++) {
        count[h] = pos > 0 ? s->n[h] : 0;
        if (pos <= 0 || pos > s->last) continue;
        const int32_t *at = vk_kv_positions(s, h);
        while (count[h] > 0 && at[count[h] - 1] >= pos) count[h]--;
    }
}

void vk_kv_cut(struct fkv_kv_store *s, int32_t pos)
{
    int count[VK_MAX_HEADS];
    count_below(s, pos, count);
    for (int h = 0; h < s->heads; h++) {
        s->n[h] = count[h];
        if (s->base[h] > count[h]) s->base[h] = count[h];
    }
    if (s->last >= pos) s->last = pos - 1;
}

fkv_status vk_kv_fork(struct fkv_kv_store *s, int32_t pos, struct fkv_kv_store **child)
{
    struct vk_context *c = &s->b->c;
    const struct fkv_kv_shape shape = {s->heads, s->d, s->type[VK_K], s->type[VK_V]};
    struct fkv_kv_store *made = NULL;
    int count[VK_MAX_HEADS], longest = 0;
    const fkv_status status = vk_kv_create(&s->b->base, &made, &shape, s->capacity, false);
    if (status != FKV_OK) return status;
    count_below(s, pos, count);
    for (int h = 0; h < s->heads; h++) longest = count[h] > longest ? count[h] : longest;
    bool ok = vk_enter(c, 0);
    if (ok) {
        ok = longest == 0 || grow(made, longest, pos - 1);
        if (ok) copy_first(made, s, count);
        vk_leave(c);
    }
    if (!ok) {
        vk_kv_destroy(made);
        return vk_ok(c) ? FKV_ERROR_MEMORY : c->status;
    }
    memcpy(made->n, count, (size_t)s->heads * sizeof *made->n);
    made->last = s->last < pos ? s->last : pos - 1;
    *child = made;
    return FKV_OK;
}
