/* Choices: lists of rows that lie on the device, where selection makes and retention reads them. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "vulkan/vk_internal.h"

uint64_t vk_choice_bytes(const struct fkv_backend *b, int lists, int n)
{
    (void)b;
    return (uint64_t)lists * (uint64_t)(VK_COPY_LISTS + n) * sizeof(int32_t);
}

fkv_status vk_choice_create(struct fkv_backend *base, struct fkv_choice **choice, int lists, int n)
{
    struct vk_backend *b = (struct vk_backend *)base;
    const size_t heads = (size_t)lists, words = heads * (size_t)n;
    struct fkv_choice *c = calloc(1, sizeof *c);
    if (!c) return FKV_ERROR_MEMORY;
    *c = (struct fkv_choice){.b = b, .lists = lists, .n = n, .bytes = (heads + words) * sizeof *c->rows};
    c->count = fkv_reserve(c->bytes);
    bool ok = c->count && vk_enter(&b->c, 0);
    if (ok) {
        ok = vk_slice_alloc(&b->c, vk_choice_bytes(base, lists, n), &c->memory);
        vk_leave(&b->c);
    }
    if (!ok) {
        vk_choice_destroy(c);
        return vk_ok(&b->c) ? FKV_ERROR_MEMORY : b->c.status;
    }
    c->rows = c->count + lists;
    *choice = c;
    return FKV_OK;
}

void vk_choice_destroy(struct fkv_choice *c)
{
    if (!c) return;
    if (c->memory.bytes && vk_enter(&c->b->c, 0)) {
        vk_finish(&c->b->c);
        vk_slice_free(&c->b->c, &c->memory);
        vk_leave(&c->b->c);
    }
    if (c->count) fkv_unreserve(c->count, c->bytes);
    free(c);
}

void vk_choice_write(struct fkv_choice *c, int lists, const int32_t *count, const int32_t *rows)
{
    for (int l = 0; l < lists; l++) {
        const size_t n = (size_t)count[l];
        c->count[l] = count[l];
        memcpy(c->rows + (size_t)l * (size_t)c->n, rows, n * sizeof *rows);
        if (n > 0) vk_write_slice(&c->b->c, vk_first(vk_choice_rows(c, l), n), rows);
        rows += n;
    }
    c->is_read = true;
}

int vk_choice_count(const struct fkv_choice *c, int list) { return c->count[list]; }

/* What a device that fails has not said is row 0. */
static void read_rows(struct fkv_choice *c)
{
    struct vk_context *device = &c->b->c;
    const size_t n = (size_t)c->n;
    memset(c->rows, 0, (size_t)c->lists * n * sizeof *c->rows);
    c->is_read = true;
    if (!vk_enter(device, 0)) return;
    for (int l = 0; l < c->lists; l++)
        if (c->count[l] > 0)
            vk_download(device, vk_first(vk_choice_rows(c, l), (uint64_t)c->count[l]), c->rows + (size_t)l * n);
    vk_leave(device);
}

const int32_t *vk_choice_read(struct fkv_choice *c, int list)
{
    if (!c->is_read) read_rows(c);
    return c->rows + (size_t)list * (size_t)c->n;
}
