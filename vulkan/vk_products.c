/* Products and operations on rows. */
#include "vulkan/vk_internal.h"

enum { TILE = 64, TILE_MATRICES = 8, MATVEC_ROWS = 4, LONG_ROW = 4096 }; /* of the shaders product and matvec */

static uint64_t up_to(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit; }

static size_t extent(int n, size_t ld, size_t cols) { return (size_t)(n - 1) * ld + cols; }

/* ---- products ---------------------------------------------------------------------------------------------------------------------------- */

struct matrix {
    struct vk_slice at;
    size_t ld;
    int n;
};

/* y = x / rms(x) * norm for `heads` pieces of d of every row. */
static void norm_rows(struct vk_context *c, struct matrix x, int heads, int d, const float *norm, float eps, struct matrix y)
{
    const struct {
        uint32_t heads, d, ldx, ldy;
        float eps;
    } push = {(uint32_t)heads, (uint32_t)d, (uint32_t)x.ld, (uint32_t)y.ld, eps};
    vk_dispatch(c, &(struct vk_call){VK_SHADER_rms_norm, {0}, {x.at, vk_floats(c, norm, (size_t)d), y.at}, &push, sizeof push, (uint64_t)x.n * (uint64_t)heads,
                                     (double)x.n * heads * d});
}

/* A product's input: normalised where it asks for that. */
static struct matrix input(struct vk_backend *b, const struct fkv_input *in, int cols)
{
    struct matrix x = {vk_floats(&b->c, in->x, extent(in->n, in->ld, (size_t)cols)), in->ld, in->n};
    if (!in->norm) return x;
    const struct matrix normed = {vk_first(b->normed, (uint64_t)in->n * (uint64_t)cols), (size_t)cols, in->n};
    norm_rows(&b->c, x, 1, cols, in->norm, in->eps, normed);
    vk_barrier(&b->c);
    return normed;
}

/* Rows [row, row + n) of the weight lie in the part. */
static void multiply_part(struct vk_backend *b, const struct vk_weight *d, int part, int n, int cols, struct matrix x, struct vk_slice bias, bool has_bias,
                          struct matrix y, bool add)
{
    const double work = (double)x.n * n * cols;
    if (vk_single(b, x.n)) {
        const struct {
            uint32_t n, k, stride, has_bias, add;
        } push = {(uint32_t)n, (uint32_t)cols, d->stride, has_bias, add};
        vk_dispatch(&b->c, &(struct vk_call){VK_SHADER_matvec, {d->type, cols < LONG_ROW ? 64 : 256}, {d->part[part], x.at, bias, y.at}, &push, sizeof push, up_to((uint64_t)n, MATVEC_ROWS), work});
        return;
    }
    const struct {
        uint32_t m, n, k, ldx, ldy, stride, has_bias, add;
    } push = {(uint32_t)x.n, (uint32_t)n, (uint32_t)cols, (uint32_t)x.ld, (uint32_t)y.ld, d->stride, has_bias, add};
    struct vk_call call = {VK_SHADER_product, {d->type}, {d->part[part], x.at, bias, y.at}, &push, sizeof push, 0, work};
    const uint64_t side = vk_matrix_side(&b->c, call.shader, call.constants), tile = side ? TILE_MATRICES * side : TILE;
    call.groups = up_to((uint64_t)x.n, tile) * up_to((uint64_t)n, tile);
    vk_dispatch(&b->c, &call);
}

/* A slice of floats from the n-th on. */
static struct vk_slice from(struct vk_slice s, size_t n) { return (struct vk_slice){s.buffer, s.offset + n * sizeof(float), s.bytes - n * sizeof(float)}; }

static void multiply(struct vk_backend *b, const struct fkv_weight *w, struct matrix x, struct vk_slice bias, struct matrix y, bool add)
{
    const struct vk_weight *d = w->data;
    for (int i = 0; i < d->n_parts && vk_ok(&b->c); i++) {
        const int row = i * d->part_rows, n = w->rows - row < d->part_rows ? w->rows - row : d->part_rows;
        const struct matrix to = {from(y.at, (size_t)row), y.ld, y.n};
        const bool has_bias = bias.bytes > 0;
        /* a binding has to hold something */
        multiply_part(b, d, i, n, w->cols, x, has_bias ? from(bias, (size_t)row) : to.at, has_bias, to, add);
    }
}

void vk_product(struct fkv_run *r, const struct fkv_input *in, const struct fkv_output *out, int n_out)
{
    struct vk_backend *b = vk_of(r);
    struct vk_context *c = &b->c;
    if (!vk_enter(c, 0)) return;
    const struct matrix x = input(b, in, out[0].w->cols);
    for (int o = 0; o < n_out && vk_ok(c); o++) {
        const size_t rows = (size_t)out[o].w->rows;
        const struct vk_slice bias = out[o].bias ? vk_floats(c, out[o].bias, rows) : (struct vk_slice){0};
        multiply(b, out[o].w, x, bias, (struct matrix){vk_floats(c, out[o].y, extent(in->n, out[o].ld, rows)), out[o].ld, in->n}, out[o].add);
    }
    vk_leave(c);
}

void vk_gated(struct fkv_run *r, const struct fkv_input *in, const struct fkv_weight *gate, const struct fkv_weight *up, float *y, size_t ld)
{
    struct vk_backend *b = vk_of(r);
    struct vk_context *c = &b->c;
    const size_t rows = (size_t)gate->rows;
    if (!vk_enter(c, 0)) return;
    const struct matrix x = input(b, in, gate->cols), g = {vk_floats(c, y, extent(in->n, ld, rows)), ld, in->n}, u = {vk_first(b->up, (uint64_t)in->n * rows), rows, in->n};
    multiply(b, gate, x, (struct vk_slice){0}, g, false);
    multiply(b, up, x, (struct vk_slice){0}, u, false);
    vk_barrier(c);
    const struct {
        uint32_t n, cols, ld, ld_up;
    } push = {(uint32_t)in->n, (uint32_t)rows, (uint32_t)ld, (uint32_t)rows};
    vk_dispatch(c, &(struct vk_call){VK_SHADER_swiglu, {0}, {g.at, u.at}, &push, sizeof push, up_to((uint64_t)in->n * rows, 64), (double)in->n * (double)rows});
    vk_leave(c);
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------------------------ */

void vk_embed(struct fkv_run *r, const struct fkv_weight *table, const int32_t *ids, int n, float *x)
{
    struct vk_context *c = &vk_of(r)->c;
    const struct vk_weight *d = table->data;
    const size_t cols = (size_t)table->cols;
    if (!vk_enter(c, (uint64_t)n * sizeof *ids)) return;
    const struct vk_slice list = vk_upload(c, ids, (uint64_t)n * sizeof *ids);
    /* a binding sees so many rows of x */
    const int most = (int)((c->max_range - VK_ALIGNMENT) / (cols * sizeof(float)));
    for (int i = 0; i < n && vk_ok(c); i += most)
        for (int part = 0; part < d->n_parts; part++) {
            const int here = n - i < most ? n - i : most, row = part * d->part_rows;
            const struct {
                uint32_t n, cols, stride, row0, rows;
            } push = {(uint32_t)here, (uint32_t)cols, d->stride, (uint32_t)row, (uint32_t)(table->rows - row < d->part_rows ? table->rows - row : d->part_rows)};
            const struct vk_slice to = vk_floats(c, x + (size_t)i * cols, (size_t)here * cols);
            vk_dispatch_some(c, &(struct vk_call){VK_SHADER_embed, {d->type}, {d->part[part], from(list, (size_t)i), to}, &push, sizeof push,
                                             up_to((uint64_t)here * cols / 8, 64), (double)here * (double)cols},
                                 (double)here * ((double)d->stride + 4.0 * (double)cols));
        }
    vk_leave(c);
}

void vk_head_norm(struct fkv_run *r, float *x, size_t ld, int n, int heads, int d, const float *norm, float eps)
{
    struct vk_context *c = &vk_of(r)->c;
    if (!vk_enter(c, 0)) return;
    const struct matrix rows = {vk_floats(c, x, extent(n, ld, (size_t)heads * (size_t)d)), ld, n};
    norm_rows(c, rows, heads, d, norm, eps, rows);
    vk_leave(c);
}

void vk_rope(struct fkv_run *r, const struct fkv_rope *rope, float *x, size_t ld, int n, int heads, const int32_t *pos)
{
    struct vk_context *c = &vk_of(r)->c;
    if (!vk_enter(c, (uint64_t)n * sizeof *pos)) return;
    int32_t last = 0;
    for (int i = 0; i < n; i++) last = pos[i] > last ? pos[i] : last;
    const struct vk_slice list = vk_upload(c, pos, (uint64_t)n * sizeof *pos);
    const struct vk_slice table = vk_floats(c, rope->cos_sin, (size_t)(last + 1) * (size_t)rope->n_rot);
    const uint64_t pairs = (uint64_t)n * (uint64_t)heads * (uint64_t)(rope->n_rot / 2);
    const struct {
        uint32_t n, heads, ld, d, n_rot, pairs;
    } push = {(uint32_t)n, (uint32_t)heads, (uint32_t)ld, (uint32_t)rope->d, (uint32_t)rope->n_rot, rope->pairs};
    vk_dispatch_some(c, &(struct vk_call){VK_SHADER_rope, {0}, {vk_floats(c, x, extent(n, ld, (size_t)heads * (size_t)rope->d)), table, list}, &push, sizeof push,
                                     up_to(pairs, 64), (double)pairs}, 24.0 * (double)pairs); /* a pair is read, turned by two angles, written */
    vk_leave(c);
}

/* Through scratch, some rows at a time: rows only move towards the front, so what a later batch reads was not written by an earlier one. */
void vk_gather(struct fkv_run *r, float *x, size_t d, const int32_t *rows, int n)
{
    enum { BATCH = 256 };
    struct vk_backend *b = vk_of(r);
    struct vk_context *c = &b->c;
    const uint64_t bytes = d * sizeof *x;
    VkBufferCopy regions[BATCH];
    if (!vk_enter(c, 0)) return;
    for (int i = 0; i < n; i += BATCH) {
        const int here = n - i < BATCH ? n - i : BATCH;
        const struct vk_slice to = vk_floats(c, x + (size_t)i * d, (size_t)here * d);
        for (int j = 0; j < here; j++)
            regions[j] = (VkBufferCopy){vk_floats(c, x + (size_t)rows[i + j] * d, d).offset, b->normed.offset + (uint64_t)j * bytes, bytes};
        vk_copy(c, to.buffer, b->normed.buffer, regions, (uint32_t)here);
        vk_barrier(c);
        vk_copy(c, b->normed.buffer, to.buffer, &(VkBufferCopy){b->normed.offset, to.offset, (uint64_t)here * bytes}, 1);
        vk_barrier(c);
    }
    vk_leave(c);
}
