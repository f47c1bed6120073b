/* Products and operations on rows. */
#include "vulkan/vk_internal.h"

enum { TILE = 64, TILE_MATRICES = 8 }; /* of the shader product */
enum {
    MATVEC_ROWS = 4,
    LONG_ROW = 4096,
    SUBGROUPS = 4,
    LONG_SUBGROUPS = 8
};                                      /* of matvec: rows of a group, and its subgroups */
enum how { SET, ADD, GATE, GATE_GELU }; /* of shaders/finish.glsl */

static uint64_t up_to(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit; }

static size_t extent(int n, size_t ld, size_t cols) { return (size_t)(n - 1) * ld + cols; }

/* A slice of floats from the n-th on. */
static struct vk_slice from(struct vk_slice s, size_t n)
{
    return (struct vk_slice){s.buffer, s.offset + n * sizeof(float), s.bytes - n * sizeof(float)};
}

/* ---- products -------------------------------------------------------------------------------- */

struct matrix {
    struct vk_slice at;
    size_t ld;
    int n;
};

/* A product's input. Rows multiplied one by one are normalised by the product. */
struct input {
    struct matrix x;
    int cols;
    struct vk_slice norm; /* of such rows, or empty */
    float eps;
    bool halved; /* b->x_halves holds it too */
};

/* y = x / rms(x) * norm for `heads` pieces of d of every row, or y += that. */
static void norm_rows(struct vk_context *c, struct matrix x, int heads, int d, struct fkv_tensor norm, float eps,
                      bool add, struct matrix y)
{
    const struct {
        uint32_t heads, d, ldx, ldy;
        float eps;
        uint32_t add;
    } push = {(uint32_t)heads, (uint32_t)d, (uint32_t)x.ld, (uint32_t)y.ld, eps, add};
    vk_dispatch(c, &(struct vk_call){VK_SHADER_rms_norm,
                                     {0},
                                     {x.at, vk_values(norm, (size_t)d), y.at},
                                     &push,
                                     sizeof push,
                                     (uint64_t)x.n * (uint64_t)heads,
                                     (double)x.n * heads * d});
}

/* Are n rows multiplied one by one, by matvec? The check path computes every row alike, so that batches of any size
   give the same bits. */
static bool one_by_one(const struct vk_backend *b, int n) { return n <= VK_FEW_ROWS && !b->base.exact; }

static struct input input_of(struct vk_backend *b, const struct fkv_input *in, int cols)
{
    struct input x = {{vk_values(in->x, extent(in->n, in->ld, (size_t)cols)), in->ld, in->n},
                      cols,
                      {0},
                      in->eps,
                      false};
    if (!fkv_tensor_is(in->norm)) return x;
    if (one_by_one(b, in->n)) {
        x.norm = vk_values(in->norm, (size_t)cols);
        return x;
    }
    const struct matrix normed = {vk_first(b->normed, (uint64_t)in->n * (uint64_t)cols), (size_t)cols, in->n};
    norm_rows(&b->c, x.x, 1, cols, in->norm, in->eps, false, normed);
    x.x = normed;
    return x;
}

/* A product's result: columns of y, and what becomes of it. */
struct result {
    struct matrix y;
    struct vk_slice bias; /* or empty */
    enum how how;
};

/* The result's columns from `col` on. */
static struct result columns_from(const struct result *r, size_t col)
{
    return (struct result){{from(r->y.at, col), r->y.ld, r->y.n},
                           r->bias.bytes > 0 ? from(r->bias, col) : (struct vk_slice){0},
                           r->how};
}

/* n rows of a weight, for which one binding does. */
struct rows {
    struct vk_slice at;
    uint32_t type, stride;
    int n;
};

/* A row of a matrix, `cols` long. */
static struct vk_slice row_of(const struct matrix *m, int row, int cols)
{
    return vk_first(from(m->at, (size_t)row * m->ld), (uint64_t)cols);
}

static void multiply_row(struct vk_backend *b, const struct rows *w, const struct input *x, const struct result *r,
                         int row)
{
    const bool has_bias = r->bias.bytes > 0, has_norm = x->norm.bytes > 0;
    const uint32_t wanted = b->c.abilities.subgroup_size * (x->cols < LONG_ROW ? SUBGROUPS : LONG_SUBGROUPS),
                   lanes = wanted < VK_GROUP ? wanted : VK_GROUP;
    const struct vk_slice in = row_of(&x->x, row, x->cols), out = row_of(&r->y, row, w->n);
    const struct {
        uint32_t n, k, stride, has_bias, how, has_norm;
        float eps;
    } push = {(uint32_t)w->n, (uint32_t)x->cols, w->stride, has_bias, r->how, has_norm, x->eps};
    vk_dispatch(&b->c, &(struct vk_call){VK_SHADER_matvec,
                                         {w->type, lanes},
                                         {w->at, in, has_bias ? r->bias : out, out, has_norm ? x->norm : in},
                                         &push,
                                         sizeof push,
                                         up_to((uint64_t)w->n, MATVEC_ROWS),
                                         (double)w->n * x->cols});
}

/* The shader `product`, whose variants differ in their tiles. */
static void multiply_tiles(struct vk_backend *b, const struct rows *w, const struct matrix *x, int cols,
                           const struct result *r)
{
    const bool has_bias = r->bias.bytes > 0;
    const struct {
        uint32_t m, n, k, ldx, ldy, stride, has_bias, how;
    } push = {(uint32_t)x->n,    (uint32_t)w->n, (uint32_t)cols, (uint32_t)x->ld,
              (uint32_t)r->y.ld, w->stride,      has_bias,       r->how};
    struct vk_call call = {VK_SHADER_product,
                           {w->type},
                           {w->at, x->at, has_bias ? r->bias : r->y.at, r->y.at},
                           &push,
                           sizeof push,
                           0,
                           (double)x->n * w->n * cols};
    const uint64_t side = vk_matrix_side(&b->c, call.shader, call.constants), tile = side ? TILE_MATRICES * side : TILE;
    call.groups = up_to((uint64_t)x->n, tile) * up_to((uint64_t)w->n, tile);
    vk_dispatch(&b->c, &call);
}

/* y[n][ld] = rows of a weight, or of floats, as halves. */
static void halve(struct vk_context *c, const struct rows *w, int cols, size_t ld, struct vk_slice y)
{
    const struct {
        uint32_t n, k, stride, ld;
    } push = {(uint32_t)w->n, (uint32_t)cols, w->stride, (uint32_t)ld};
    const uint64_t eights = (uint64_t)w->n * ld / 8;
    vk_dispatch(c, &(struct vk_call){VK_SHADER_halve,
                                     {w->type},
                                     {w->at, y},
                                     &push,
                                     sizeof push,
                                     up_to(eights, 64),
                                     8.0 * (double)eights});
}

/* Room for so many bytes, as many as there are at most. What lay there is overwritten when the products that read it
   are done. */
static struct vk_slice take_halves(struct vk_backend *b, uint64_t bytes)
{
    if (b->halves_used + bytes > b->w_halves.bytes) b->halves_used = 0;
    const struct vk_slice s = {b->w_halves.buffer, b->w_halves.offset + b->halves_used, bytes};
    b->halves_used += vk_aligned(bytes);
    return s;
}

/* By a variant that multiplies halves: x and then the weight's rows, as many at once as there is room for, are turned
   to them. */
static void multiply_halves(struct vk_backend *b, const struct rows *w, struct input *x, const struct result *r)
{
    const size_t ld = (size_t)vk_halves_ld(x->cols);
    const uint64_t row_bytes = ld * 2;
    const struct matrix halves = {{b->x_halves.buffer, b->x_halves.offset, (uint64_t)x->x.n * row_bytes}, ld, x->x.n};
    if (!x->halved)
        halve(&b->c, &(struct rows){x->x.at, FKV_TYPE_F32, (uint32_t)(x->x.ld * sizeof(float)), x->x.n}, x->cols, ld,
              halves.at);
    x->halved = true;
    const int most = (int)(b->w_halves.bytes / row_bytes) & ~1; /* an even row begins at a whole word */
    for (int row = 0; row < w->n && vk_ok(&b->c); row += most) {
        const int n = w->n - row < most ? w->n - row : most;
        const struct rows stored = {{w->at.buffer, w->at.offset + (uint64_t)row * w->stride, (uint64_t)n * w->stride},
                                    w->type,
                                    w->stride,
                                    n};
        const struct rows some = {take_halves(b, (uint64_t)n * row_bytes), FKV_TYPE_F16, (uint32_t)row_bytes, n};
        const struct result to = columns_from(r, (size_t)row);
        halve(&b->c, &stored, x->cols, ld, some.at);
        multiply_tiles(b, &some, &halves, x->cols, &to);
    }
}

static void multiply(struct vk_backend *b, const struct fkv_weight *w, struct input *x, const struct result *r)
{
    const struct vk_weight *d = w->data;
    for (int i = 0; i < d->n_parts && vk_ok(&b->c); i++) {
        const int row = i * d->part_rows, n = w->rows - row < d->part_rows ? w->rows - row : d->part_rows;
        const struct rows part = {d->part[i], d->type, d->stride, n};
        const struct result to = columns_from(r, (size_t)row);
        if (one_by_one(b, x->x.n))
            for (int j = 0; j < x->x.n; j++) multiply_row(b, &part, x, &to, j);
        else if (vk_multiplies_halves(&b->c, (uint32_t[VK_MAX_CONSTANTS]){d->type}))
            multiply_halves(b, &part, x, &to);
        else
            multiply_tiles(b, &part, &x->x, x->cols, &to);
    }
}

static struct vk_slice bias_of(struct fkv_tensor bias, int n)
{
    return fkv_tensor_is(bias) ? vk_values(bias, (size_t)n) : (struct vk_slice){0};
}

void vk_product(struct fkv_run *r, const struct fkv_input *in, const struct fkv_output *out, int n_out)
{
    struct vk_backend *b = vk_of(r);
    struct vk_context *c = &b->c;
    if (!vk_enter(c, 0)) return;
    struct input x = input_of(b, in, out[0].w->cols);
    for (int o = 0; o < n_out && vk_ok(c); o++) {
        const size_t rows = (size_t)out[o].w->rows;
        const struct result to = {{vk_values(out[o].y, extent(in->n, out[o].ld, rows)), out[o].ld, in->n},
                                  bias_of(out[o].bias, (int)rows),
                                  out[o].add ? ADD : SET};
        multiply(b, out[o].w, &x, &to);
    }
    vk_leave(c);
}

void vk_gated(struct fkv_run *r, const struct fkv_input *in, const struct fkv_gate *gate, struct fkv_tensor y,
              size_t ld)
{
    struct vk_backend *b = vk_of(r);
    const int rows = gate->gate->rows;
    if (!vk_enter(&b->c, 0)) return;
    struct input x = input_of(b, in, gate->gate->cols);
    struct result to = {{vk_values(y, extent(in->n, ld, (size_t)rows)), ld, in->n},
                        bias_of(gate->gate_bias, rows),
                        SET};
    multiply(b, gate->gate, &x, &to);
    to.bias = bias_of(gate->up_bias, rows);
    to.how = gate->activation == FKV_GELU ? GATE_GELU : GATE;
    multiply(b, gate->up, &x, &to);
    vk_leave(&b->c);
}

/* ---- rows ------------------------------------------------------------------------------------ */

void vk_embed(struct fkv_run *r, const struct fkv_weight *table, const int32_t *ids, int n, float scale,
              struct fkv_tensor x)
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
                float scale;
            } push = {(uint32_t)here,
                      (uint32_t)cols,
                      d->stride,
                      (uint32_t)row,
                      (uint32_t)(table->rows - row < d->part_rows ? table->rows - row : d->part_rows),
                      scale};
            const struct vk_slice to = vk_values(fkv_tensor_from(x, (size_t)i * cols), (size_t)here * cols);
            vk_dispatch_some(c,
                             &(struct vk_call){VK_SHADER_embed,
                                               {d->type},
                                               {d->part[part], from(list, (size_t)i), to},
                                               &push,
                                               sizeof push,
                                               up_to((uint64_t)here * cols / 8, 64),
                                               (double)here * (double)cols},
                             (double)here * ((double)d->stride + 4.0 * (double)cols));
        }
    vk_leave(c);
}

void vk_head_norm(struct fkv_run *r, struct fkv_tensor x, size_t ld, int n, int heads, int d, struct fkv_tensor norm,
                  float eps)
{
    struct vk_context *c = &vk_of(r)->c;
    if (!vk_enter(c, 0)) return;
    const struct matrix rows = {vk_values(x, extent(n, ld, (size_t)heads * (size_t)d)), ld, n};
    norm_rows(c, rows, heads, d, norm, eps, false, rows);
    vk_leave(c);
}

void vk_add_normed(struct fkv_run *r, struct fkv_tensor y, int n, int d, struct fkv_tensor norm, float eps,
                   struct fkv_tensor x)
{
    struct vk_context *c = &vk_of(r)->c;
    const size_t ld = (size_t)d, values = (size_t)n * ld;
    if (!vk_enter(c, 0)) return;
    norm_rows(c, (struct matrix){vk_values(y, values), ld, n}, 1, d, norm, eps, true,
              (struct matrix){vk_values(x, values), ld, n});
    vk_leave(c);
}

void vk_rope(struct fkv_run *r, const struct fkv_rope *rope, struct fkv_tensor x, size_t ld, int n, int heads,
             const int32_t *pos)
{
    struct vk_context *c = &vk_of(r)->c;
    if (!vk_enter(c, (uint64_t)n * sizeof *pos)) return;
    int32_t last = 0;
    for (int i = 0; i < n; i++) last = pos[i] > last ? pos[i] : last;
    const struct vk_slice list = vk_upload(c, pos, (uint64_t)n * sizeof *pos);
    const struct vk_slice table = vk_values(rope->cos_sin, (size_t)(last + 1) * (size_t)rope->n_rot);
    const uint64_t pairs = (uint64_t)n * (uint64_t)heads * (uint64_t)(rope->n_rot / 2);
    const struct {
        uint32_t n, heads, ld, d, n_rot, pairs;
    } push = {(uint32_t)n, (uint32_t)heads, (uint32_t)ld, (uint32_t)rope->d, (uint32_t)rope->n_rot, rope->pairs};
    vk_dispatch_some(c,
                     &(struct vk_call){VK_SHADER_rope,
                                       {0},
                                       {vk_values(x, extent(n, ld, (size_t)heads * (size_t)rope->d)), table, list},
                                       &push,
                                       sizeof push,
                                       up_to(pairs, 64),
                                       (double)pairs},
                     24.0 * (double)pairs); /* a pair is read, turned by two angles, written */
    vk_leave(c);
}

/* Through scratch, some rows at a time: rows only move towards the front, so what a later batch reads was not written
   by an earlier one. The host has read the rows or does so now: it wants to know the positions that go on anyway. */
void vk_gather(struct fkv_run *r, struct fkv_tensor x, size_t d, const struct fkv_choice *choice)
{
    enum { MOST = 256 };
    struct vk_backend *b = vk_of(r);
    struct vk_context *c = &b->c;
    const int32_t *rows = vk_choice_read((struct fkv_choice *)(uintptr_t)choice, 0);
    const uint64_t bytes = d * sizeof(float), fit = b->normed.bytes / bytes;
    const int n = choice->count[0], most = fit < MOST ? (int)fit : MOST;
    VkBufferCopy regions[MOST];
    if (!vk_enter(c, 0)) return;
    for (int i = 0; i < n; i += most) {
        const int here = n - i < most ? n - i : most;
        const struct vk_slice to = vk_values(fkv_tensor_from(x, (size_t)i * d), (size_t)here * d);
        for (int j = 0; j < here; j++)
            regions[j] = (VkBufferCopy){vk_values(fkv_tensor_from(x, (size_t)rows[i + j] * d), d).offset,
                                        b->normed.offset + (uint64_t)j * bytes, bytes};
        vk_copy(c, to.buffer, b->normed.buffer, regions, (uint32_t)here);
        vk_copy(c, b->normed.buffer, to.buffer, &(VkBufferCopy){b->normed.offset, to.offset, (uint64_t)here * bytes},
                1);
    }
    vk_leave(c);
}
