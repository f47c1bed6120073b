/* Weights brought to the device: in the file's blocks where the shaders read them, else as halves, or as floats on the
   check path. */
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"
#include "vulkan/vk_internal.h"

enum { STAGING_BYTES = 1 << 20 };

/* What the shaders read a type as: see shaders/weights.glsl. */
static uint32_t device_type(uint32_t type, bool exact)
{
    switch (type) {
    case FKV_TYPE_F32:
    case FKV_TYPE_F16:
    case FKV_TYPE_BF16:
    case FKV_TYPE_Q4_0:
    case FKV_TYPE_Q4_1:
    case FKV_TYPE_Q5_0:
    case FKV_TYPE_Q5_1:
    case FKV_TYPE_Q8_0:
    case FKV_TYPE_Q4_K:
    case FKV_TYPE_Q5_K:
    case FKV_TYPE_Q6_K: return type;
    default: return exact ? FKV_TYPE_F32 : FKV_TYPE_F16;
    }
}

void vk_write_slice(struct vk_context *c, struct vk_slice to, const void *from)
{
    for (uint64_t done = 0; done < to.bytes; done += STAGING_BYTES) {
        const uint64_t n = to.bytes - done < STAGING_BYTES ? to.bytes - done : STAGING_BYTES;
        if (!vk_enter(c, n)) return;
        const struct vk_slice staged = vk_upload(c, (const char *)from + done, n);
        vk_copy(c, staged.buffer, to.buffer, &(VkBufferCopy){staged.offset, to.offset + done, n}, 1);
        vk_leave(c);
    }
}

/* Rows [row, row + n) of a weight that no shader reads, converted: n * w->cols values of the part's type. */
static void convert_rows(const struct fkv_weight *w, int row, int n, uint32_t type, float *floats, void *to)
{
    const struct fkv_quant_type *q = fkv_quant_find(w->type);
    for (int i = 0; i < n; i++) {
        float *x = type == FKV_TYPE_F32 ? (float *)to + (size_t)i * (size_t)w->cols : floats;
        fkv_f16 *halves = (fkv_f16 *)to + (size_t)i * (size_t)w->cols;
        q->dequantize((const char *)w->data + (size_t)(row + i) * w->stride, x, (size_t)w->cols);
        for (int c = 0; type == FKV_TYPE_F16 && c < w->cols; c++) halves[c] = fkv_f16_from_f32(x[c]);
    }
}

/* false: no memory to convert in. */
static bool write_converted(struct vk_context *c, const struct fkv_weight *w, const struct vk_weight *d, int part,
                            int rows)
{
    int at_once = (int)(STAGING_BYTES / d->stride);
    if (at_once < 1) at_once = 1;
    float *floats = malloc((size_t)w->cols * sizeof *floats);
    void *converted = malloc((size_t)at_once * d->stride);
    for (int row = 0; floats && converted && row < rows; row += at_once) {
        const int n = rows - row < at_once ? rows - row : at_once;
        convert_rows(w, part * d->part_rows + row, n, d->type, floats, converted);
        vk_write_slice(c,
                       (struct vk_slice){d->part[part].buffer, d->part[part].offset + (uint64_t)row * d->stride,
                                         (uint64_t)n * d->stride},
                       converted);
    }
    const bool done = floats && converted;
    free(floats);
    free(converted);
    return done;
}

/* Copies whole words: a part's last bytes are followed by zeros. */
static void write_stored(struct vk_context *c, const struct fkv_weight *w, const struct vk_weight *d, int part,
                         int rows)
{
    const char *from = (const char *)w->data + (size_t)part * (size_t)d->part_rows * w->stride;
    const uint64_t bytes = (uint64_t)rows * w->stride, whole = bytes & ~(uint64_t)3;
    uint32_t last = 0;
    const struct vk_slice *s = &d->part[part];
    vk_write_slice(c, (struct vk_slice){s->buffer, s->offset, whole}, from);
    memcpy(&last, from + whole, bytes - whole);
    if (bytes > whole) vk_write_slice(c, (struct vk_slice){s->buffer, s->offset + whole, 4}, &last);
}

static struct vk_weight *create(struct vk_backend *b, const struct fkv_weight *w)
{
    const uint32_t type = device_type(w->type, b->base.exact);
    const struct fkv_quant_type *q = fkv_quant_find(type);
    const size_t stride = fkv_quant_row_bytes(q, (size_t)w->cols);
    /* An even number of rows, so that a part's bytes are whole words. */
    const uint64_t fit = (b->c.max_range - VK_ALIGNMENT) / stride & ~(uint64_t)1;
    const int part_rows = fit < (uint64_t)w->rows ? (int)fit : w->rows,
              n_parts = part_rows ? (w->rows + part_rows - 1) / part_rows : 0;
    struct vk_weight *d = n_parts ? calloc(1, sizeof *d + (size_t)n_parts * sizeof d->part[0]) : NULL;
    if (!d) return NULL;
    *d = (struct vk_weight){.next = b->weights,
                            .type = type,
                            .stride = (uint32_t)stride,
                            .part_rows = part_rows,
                            .n_parts = n_parts};
    b->weights = d;
    for (int i = 0; i < n_parts; i++) {
        const int rows = w->rows - i * part_rows < part_rows ? w->rows - i * part_rows : part_rows;
        if (!vk_slice_alloc(&b->c, (uint64_t)rows * stride, &d->part[i])) return NULL;
    }
    return d;
}

uint64_t vk_weight_bytes(const struct fkv_backend *b, const struct fkv_weight *w)
{
    const struct fkv_quant_type *q = fkv_quant_find(device_type(w->type, b->exact));
    return (uint64_t)w->rows * fkv_quant_row_bytes(q, (size_t)w->cols);
}

static fkv_status no_memory(struct vk_backend *b, const char *name, struct fkv_error *e)
{
    return fkv_fail(e, FKV_ERROR_MEMORY, "%s: no memory for it on the Vulkan device %s, which has given %llu MiB", name,
                    b->base.device, (unsigned long long)(vk_memory_bytes(&b->c) >> 20));
}

static fkv_status loaded(struct vk_backend *b, struct fkv_error *e)
{
    return vk_ok(&b->c) ? FKV_OK : fkv_fail(e, b->c.status, "%s", b->c.error.text);
}

fkv_status vk_load_weight(struct fkv_backend *base, struct fkv_weight *w, const char *name, struct fkv_error *e)
{
    struct vk_backend *b = (struct vk_backend *)base;
    if (w->cols % 32 || w->n > 1)
        return fkv_fail(
            e, FKV_ERROR_UNSUPPORTED,
            "%s: expected one matrix with rows that divide by 32 for a Vulkan device, found %d of %d values", name,
            w->n, w->cols);
    const struct vk_weight *d = create(b, w);
    if (!d) return no_memory(b, name, e);
    for (int i = 0; i < d->n_parts; i++) {
        const int rows = w->rows - i * d->part_rows < d->part_rows ? w->rows - i * d->part_rows : d->part_rows;
        if (d->type == w->type)
            write_stored(&b->c, w, d, i, rows);
        else if (!write_converted(&b->c, w, d, i, rows))
            return no_memory(b, name, e);
    }
    w->data = d;
    return loaded(b, e);
}

fkv_status vk_load_vector(struct fkv_backend *base, struct fkv_tensor *v, const float *from, size_t n, const char *name,
                          struct fkv_error *e)
{
    struct vk_backend *b = (struct vk_backend *)base;
    struct fkv_buffer *x = vk_buffer_create(b, n);
    if (!x) return no_memory(b, name, e);
    vk_write_slice(&b->c, x->slice, from);
    *v = (struct fkv_tensor){x, 0};
    return loaded(b, e);
}
