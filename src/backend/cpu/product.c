/* Products of activations and weights, by panels of weight rows.

   Rows of activations are prepared once (normalised, rounded as the weights' kernels want them), each thread its share;
   then the threads take panels: 32 weight rows are unpacked once and serve all rows of the block. One row, or a few
   that shall get the bits of one, takes the stored weights as they lie, which memory feeds. The fp32 check path, and
   types without kernels of their own, dequantise and multiply floats. Precise products of many rows take quantised
   weights as bf16, so that activations are not rounded to 8 bits. */
#include "backend/cpu/product.h"

#include <assert.h>
#include <string.h>

#include "quant/quant.h"

enum { VECTOR_ROWS = 64, STEP_ROWS = 32, BLAS_LEAST_ROWS = 16, PIECES = 8 };

_Static_assert((int)FKV_STEP_ROWS <= (int)FKV_STEP_VECTORS, "a decode step is one matvec call");

/* How weights of one type are multiplied. */
struct format {
    enum cpu_form input;
    void (*panel)(const struct fkv_panel *p);
    void (*matvec)(const struct fkv_matvec *p);
    bool as_bf16; /* weights are turned into it first */
};

bool cpu_as_vectors(const struct cpu_backend *b, int n, bool alone) { return (n == 1 || alone) && !b->base.exact; }

static bool as_vectors(struct fkv_run *r, const struct fkv_input *in)
{
    return cpu_as_vectors(cpu_of(r), in->n, in->alone);
}

static struct format format_of_weight(const struct cpu_backend *b, const struct fkv_weight *w)
{
    const struct fkv_kernels *k = b->k;
    if (!b->base.exact && cpu_padded(w->cols) == w->cols) switch (w->type) {
        case FKV_TYPE_Q8_0: return (struct format){PREPARED_X8, k->panel_q8_0, k->matvec_q8_0, false};
        case FKV_TYPE_Q4_0: return (struct format){PREPARED_X8, k->panel_q4_0, k->matvec_q4_0, false};
        case FKV_TYPE_Q4_1: return (struct format){PREPARED_X8, k->panel_q4_1, k->matvec_q4_1, false};
        case FKV_TYPE_Q5_0: return (struct format){PREPARED_X8, k->panel_q5_0, k->matvec_q5_0, false};
        case FKV_TYPE_Q4_K: return (struct format){PREPARED_X8, k->panel_q4_k, k->matvec_q4_k, false};
        case FKV_TYPE_Q5_K: return (struct format){PREPARED_X8, k->panel_q5_k, k->matvec_q5_k, false};
        case FKV_TYPE_Q6_K: return (struct format){PREPARED_X8, k->panel_q6_k, k->matvec_q6_k, false};
        case FKV_TYPE_F16: return (struct format){PREPARED_X16, k->panel_f16, k->matvec_f16, false};
        case FKV_TYPE_BF16: return (struct format){PREPARED_X16, k->panel_bf16, k->matvec_bf16, false};
#define UNPACKED(NAME, name, values, bits, scales, has_offset) \
    case FKV_TYPE_##NAME:                                      \
        return (struct format){PREPARED_X8, k->panel_##name, k->matvec_##name, false};
#include "simd/unpacked.def"
        default: break;
        }
    return (struct format){PREPARED_FLOATS, k->panel_f32, k->matvec_f32, false};
}

bool cpu_wants_blas(const struct cpu_backend *b, const struct fkv_weight *w)
{
    return !b->base.exact && format_of_weight(b, w).input == PREPARED_FLOATS;
}

static struct format format_of(const struct cpu_backend *b, bool vectors, const struct fkv_weight *w, bool precise)
{
    const struct format f = format_of_weight(b, w);
    if (f.input != PREPARED_X8 || b->k->x8_is_bf16 || vectors || !(precise || b->base.precise)) return f;
    return (struct format){PREPARED_X16, b->k->panel_bf16, NULL, true};
}

unsigned cpu_wanted(const struct cpu_backend *b, bool vectors, const struct fkv_weight *w, bool precise)
{
    return 1u << format_of(b, vectors, w, precise).input;
}

/* ---- the input ------------------------------------------------------------------------------- */

static bool is_copied(const struct fkv_input *in, int k) { return fkv_tensor_is(in->norm) || cpu_padded(k) != k; }

void cpu_copy_row(const struct fkv_kernels *kernels, const struct fkv_input *in, int row, int k, float *y)
{
    const float *x = cpu_floats(in->x) + (size_t)row * in->ld;
    if (fkv_tensor_is(in->norm))
        kernels->rms_norm(x, cpu_floats(in->norm), k, in->eps, y);
    else
        memcpy(y, x, (size_t)k * sizeof *y);
    for (int i = k; i < cpu_padded(k); i++) y[i] = 0;
}

/* Prepares the forms that `wanted` (1 << form) names. Ends with a barrier. */
static struct cpu_input prepare_rows(struct fkv_run *r, const struct fkv_input *in, int k, unsigned wanted)
{
    struct cpu_backend *b = cpu_of(r);
    char *at = b->packed;
    struct cpu_input p = {{cpu_floats(in->x), NULL, NULL}, in->ld, in->n, cpu_padded(k), false};
    int lo, hi;
    fkv_team_share(b->base.team, r->thread, in->n, FKV_PACK_ROWS, &lo, &hi);
    if (is_copied(in, k)) {
        p.form[PREPARED_FLOATS] = at;
        p.ldf = (size_t)p.k;
        for (int i = lo; i < hi; i++) cpu_copy_row(b->k, in, i, k, (float *)at + (size_t)i * p.ldf);
        at += (size_t)in->n * p.ldf * sizeof(float);
    }
    if (wanted & 1u << PREPARED_X8) {
        if (lo < hi) b->k->x8_pack(p.form[PREPARED_FLOATS], p.ldf, in->n, k, lo, hi, at);
        p.form[PREPARED_X8] = at;
        at += b->k->x8_bytes(in->n, k);
    }
    if (wanted & 1u << PREPARED_X16) {
        if (lo < hi) b->k->x16_pack(p.form[PREPARED_FLOATS], p.ldf, in->n, k, lo, hi, at);
        p.form[PREPARED_X16] = at;
    }
    fkv_team_barrier(b->base.team);
    return p;
}

/* One row for the stored weights' kernels: floats, copied to `rows` if need be, and v8 at `vector`. */
static struct cpu_input prepare_vector(const struct cpu_backend *b, const struct fkv_input *in, int row, int k,
                                       unsigned wanted, float *rows, void *vector)
{
    const float *x = cpu_floats(in->x) + (size_t)row * in->ld;
    struct cpu_input p = {{x, vector, x}, in->ld, 1, cpu_padded(k), true};
    if (is_copied(in, k)) {
        cpu_copy_row(b->k, in, row, k, rows);
        p.form[PREPARED_FLOATS] = p.form[PREPARED_X16] = rows;
    }
    if (wanted & 1u << PREPARED_X8) b->k->v8_pack(p.form[PREPARED_FLOATS], k, vector);
    return p;
}

/* A single row every thread prepares for itself, which costs less than waiting for it; several are shared out, and a
   barrier follows. */
static struct cpu_input prepare_vectors(struct fkv_run *r, const struct fkv_input *in, int k, unsigned wanted)
{
    struct cpu_backend *b = cpu_of(r);
    struct cpu_scratch *s = cpu_scratch_of(r);
    if (in->n == 1) return prepare_vector(b, in, 0, k, wanted, s->rows, s->vector);
    const size_t rows = FKV_STEP_ROWS * (size_t)cpu_padded(k) * sizeof(float), bytes = b->k->v8_bytes(k);
    struct cpu_input p = {{cpu_floats(in->x), (char *)b->packed + ((rows + 63) & ~(size_t)63), cpu_floats(in->x)},
                          in->ld,
                          in->n,
                          cpu_padded(k),
                          true};
    int lo, hi;
    fkv_team_share(b->base.team, r->thread, in->n, 1, &lo, &hi);
    for (int i = lo; i < hi; i++)
        prepare_vector(b, in, i, k, wanted, (float *)b->packed + (size_t)i * (size_t)p.k,
                       (char *)(uintptr_t)p.form[PREPARED_X8] + (size_t)i * bytes);
    fkv_team_barrier(b->base.team);
    if (is_copied(in, k)) {
        p.form[PREPARED_FLOATS] = p.form[PREPARED_X16] = b->packed;
        p.ldf = (size_t)p.k;
    }
    return p;
}

static struct cpu_input prepare(struct fkv_run *r, const struct fkv_input *in, int k, unsigned wanted)
{
    return as_vectors(r, in) ? prepare_vectors(r, in, k, wanted) : prepare_rows(r, in, k, wanted);
}

/* ---- a piece of the output ------------------------------------------------------------------- */

int cpu_piece_rows(struct fkv_run *r, bool vectors, int n, const struct fkv_weight *w, int copies)
{
    if (vectors) return n == 1 ? VECTOR_ROWS : STEP_ROWS;
    const struct format f = format_of_weight(cpu_of(r), w);
    if (f.input == PREPARED_FLOATS) return CPU_FLOAT_ROWS;
    if (format_of(cpu_of(r), false, w, true).as_bf16) return FKV_PANEL_ROWS;
    const int share = w->rows * copies / (PIECES * fkv_team_size(r->b->team)) / FKV_PANEL_ROWS * FKV_PANEL_ROWS,
              most = cpu_of(r)->k->panel_rows;
    return share < FKV_PANEL_ROWS ? FKV_PANEL_ROWS : share < most ? share : most;
}

static int piece_rows(struct fkv_run *r, const struct fkv_input *in, const struct fkv_weight *w)
{
    return cpu_piece_rows(r, as_vectors(r, in), in->n, w, 1);
}

static const uint8_t *weight_row(const struct fkv_weight *w, int row)
{
    return (const uint8_t *)w->data + (size_t)row * w->stride;
}

/* Weight rows [row, row + n) as floats, padded: the stored ones, or dequantised into scratch. */
static const float *weight_floats(struct cpu_scratch *s, const struct fkv_weight *w, int row, int n)
{
    const size_t ld = (size_t)cpu_padded(w->cols), cols = (size_t)w->cols;
    if (w->type == FKV_TYPE_F32 && w->stride == ld * sizeof(float))
        return (const float *)(const void *)weight_row(w, row);
    const struct fkv_quant_type *q = fkv_quant_find(w->type);
    for (int i = 0; i < n; i++) {
        float *to = s->floats + (size_t)i * ld;
        q->dequantize(weight_row(w, row + i), to, cols);
        for (size_t c = cols; c < ld; c++) to[c] = 0;
    }
    return s->floats;
}

/* The same as bf16, FKV_PANEL_ROWS at most; they lie behind the floats. */
static const fkv_bf16 *weight_bf16(struct cpu_scratch *s, const struct fkv_weight *w, int row, int n)
{
    const size_t cols = (size_t)w->cols;
    const float *floats = weight_floats(s, w, row, n);
    fkv_bf16 *halves = (fkv_bf16 *)(void *)(s->floats + FKV_PANEL_ROWS * cols);
    for (size_t i = 0; i < (size_t)n * cols; i++) halves[i] = fkv_bf16_from_f32(floats[i]);
    return halves;
}

static void float_rows(struct fkv_run *r, const struct cpu_input *in, const struct fkv_weight *w, int row, int n,
                       float *y, size_t ld)
{
    const struct cpu_backend *b = cpu_of(r);
    struct cpu_scratch *s = cpu_scratch_of(r);
    const float *floats = weight_floats(s, w, row, n), *x = in->form[PREPARED_FLOATS];
    if (!b->base.exact && in->n >= BLAS_LEAST_ROWS &&
        fkv_blas_product(&b->blas, in->n, n, in->k, x, in->ldf, floats, y, ld))
        return;
    for (int i = 0; i < n; i += FKV_PANEL_ROWS) {
        const int here = n - i < FKV_PANEL_ROWS ? n - i : FKV_PANEL_ROWS;
        b->k->panel_f32(&(struct fkv_panel){.w = floats + (size_t)i * (size_t)in->k,
                                            .w_stride = (size_t)in->k * sizeof(float),
                                            .n = here,
                                            .k = in->k,
                                            .x = x,
                                            .ldx = in->ldf,
                                            .m = in->n,
                                            .y = y + i,
                                            .ldy = ld,
                                            .scratch = s->panel});
    }
}

static void multiply_vectors(struct fkv_run *r, const struct cpu_input *p, struct format f, const struct fkv_weight *w,
                             int row, int n, float *y, size_t ld)
{
    const bool as_floats = f.input == PREPARED_FLOATS;
    const void *weights = weight_row(w, row);
    if (as_floats) weights = weight_floats(cpu_scratch_of(r), w, row, n);
    const size_t stride = as_floats ? (size_t)p->k * sizeof(float) : w->stride;
    const size_t step = f.input == PREPARED_X8 ? cpu_of(r)->k->v8_bytes(w->cols) : p->ldf * sizeof(float);
    f.matvec(&(struct fkv_matvec){.w = weights,
                                  .w_stride = stride,
                                  .n = n,
                                  .k = as_floats ? p->k : w->cols,
                                  .v = p->form[f.input],
                                  .v_stride = step,
                                  .m = p->n,
                                  .y = y,
                                  .ldy = ld});
}

void cpu_multiply(struct fkv_run *r, const struct cpu_input *p, const struct fkv_weight *w, bool precise, int row,
                  int n, float *y, size_t ld)
{
    const struct format f = format_of(cpu_of(r), p->vectors, w, precise);
    struct cpu_scratch *s = cpu_scratch_of(r);
    if (p->vectors) {
        multiply_vectors(r, p, f, w, row, n, y, ld);
    } else if (f.input == PREPARED_FLOATS) {
        float_rows(r, p, w, row, n, y, ld);
    } else {
        struct fkv_panel panel = {.w = weight_row(w, row),
                                  .w_stride = w->stride,
                                  .n = n,
                                  .k = w->cols,
                                  .x = p->form[f.input],
                                  .m = p->n,
                                  .y = y,
                                  .ldy = ld,
                                  .prefetch = row + 2 * n <= w->rows ? weight_row(w, row + n) : NULL,
                                  .scratch = s->panel};
        if (f.as_bf16) {
            panel.w = weight_bf16(s, w, row, n);
            panel.w_stride = (size_t)w->cols * sizeof(fkv_bf16);
            panel.prefetch = NULL;
        }
        f.panel(&panel);
    }
}

/* tile[m][ldt] += bias of weight rows [row, row + n), if there is one. */
static void add_bias(const struct fkv_kernels *k, struct fkv_tensor bias, int row, int n, int m, float *tile,
                     size_t ldt)
{
    for (int i = 0; i < m && fkv_tensor_is(bias); i++) k->add(cpu_floats(bias) + row, n, tile + (size_t)i * ldt);
}

/* y[row of x][0 .. n) = or += tile + bias. */
static void finish(const struct fkv_kernels *k, const struct fkv_output *out, int row, int n, int m, float *tile,
                   size_t ldt)
{
    add_bias(k, out->bias, row, n, m, tile, ldt);
    for (int i = 0; i < m; i++, tile += ldt) {
        float *y = cpu_floats(out->y) + (size_t)i * out->ld + row;
        if (out->add)
            k->add(tile, n, y);
        else
            memcpy(y, tile, (size_t)n * sizeof *y);
    }
}

static void product_piece(struct fkv_run *r, const struct fkv_input *in, const struct cpu_input *p,
                          const struct fkv_output *out, int row, int rows)
{
    const int n = out->w->rows - row < rows ? out->w->rows - row : rows;
    if (!fkv_tensor_is(out->bias) && !out->add) {
        cpu_multiply(r, p, out->w, out->precise, row, n, cpu_floats(out->y) + row, out->ld);
        return;
    }
    float *tile = cpu_scratch_of(r)->tile[0];
    cpu_multiply(r, p, out->w, out->precise, row, n, tile, (size_t)rows);
    finish(cpu_of(r)->k, out, row, n, in->n, tile, (size_t)rows);
}

/* ---- activations ----------------------------------------------------------------------------- */

/* So that swiglu of them is the clamped activation: a g / (1 + exp(-a g)) (u + 1) / a. */
static void clamp(float *gate, float *up, int n)
{
    const float a = 1.702f, most = 7;
    for (int i = 0; i < n; i++) {
        const float g = gate[i] < most ? gate[i] : most, low = up[i] > -most ? up[i] : -most;
        gate[i] = a * g;
        up[i] = ((low < most ? low : most) + 1) * (1 / a);
    }
}

void cpu_activate(const struct fkv_kernels *k, enum fkv_activation activation, float *gate, float *up, int n, float *y)
{
    if (activation == FKV_SILU_CLAMPED) clamp(gate, up, n);
    (activation == FKV_GELU ? k->geglu : k->swiglu)(gate, up, n, y);
}

/* ---- the operations -------------------------------------------------------------------------- */

/* In debug builds: is this an input that the scratch has room for? */
__attribute__((unused)) static bool is_input(const struct fkv_run *r, const struct fkv_input *in,
                                             const struct fkv_weight *w)
{
    const struct cpu_backend *b = (const struct cpu_backend *)r->b;
    return fkv_tensor_is(in->x) && in->n >= 1 && in->n <= (in->alone ? FKV_STEP_ROWS : b->base.block_rows) &&
           w->cols <= b->max_cols && in->ld >= (size_t)w->cols;
}

void cpu_product(struct fkv_run *r, const struct fkv_input *in, const struct fkv_output *out, int n_out)
{
    const double t0 = fkv_clock_s();
    for (int o = 0; o < n_out; o++) assert(is_input(r, in, out[o].w) && out[o].w->cols == out[0].w->cols);
    unsigned wanted = 0;
    int pieces = 0;
    for (int o = 0; o < n_out; o++) {
        const int rows = piece_rows(r, in, out[o].w);
        wanted |= cpu_wanted(cpu_of(r), as_vectors(r, in), out[o].w, out[o].precise);
        pieces += (out[o].w->rows + rows - 1) / rows;
    }
    const struct cpu_input p = prepare(r, in, out[0].w->cols, wanted);
    for (int piece; (piece = fkv_team_take(r->b->team, r->thread, pieces)) >= 0;)
        for (int o = 0; o < n_out; o++) {
            const int rows = piece_rows(r, in, out[o].w), here = (out[o].w->rows + rows - 1) / rows;
            if (piece < here) {
                product_piece(r, in, &p, &out[o], piece * rows, rows);
                break;
            }
            piece -= here;
        }
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_PRODUCT, t0);
}

void cpu_gated(struct fkv_run *r, const struct fkv_input *in, const struct fkv_gate *g, struct fkv_tensor y, size_t ld)
{
    const double t0 = fkv_clock_s();
    const struct fkv_kernels *k = cpu_of(r)->k;
    struct cpu_scratch *s = cpu_scratch_of(r);
    assert(is_input(r, in, g->gate) && g->up->rows == g->gate->rows && g->up->cols == g->gate->cols);
    const unsigned wanted = cpu_wanted(cpu_of(r), as_vectors(r, in), g->gate, false) |
                            cpu_wanted(cpu_of(r), as_vectors(r, in), g->up, false);
    const int rows_gate = piece_rows(r, in, g->gate), rows_up = piece_rows(r, in, g->up),
              rows = rows_gate < rows_up ? rows_gate : rows_up, all = g->gate->rows;
    const struct cpu_input p = prepare(r, in, g->gate->cols, wanted);
    for (int piece; (piece = fkv_team_take(r->b->team, r->thread, (all + rows - 1) / rows)) >= 0;) {
        const int row = piece * rows, n = all - row < rows ? all - row : rows;
        cpu_multiply(r, &p, g->gate, false, row, n, s->tile[0], (size_t)rows);
        cpu_multiply(r, &p, g->up, false, row, n, s->tile[1], (size_t)rows);
        add_bias(k, g->gate_bias, row, n, in->n, s->tile[0], (size_t)rows);
        add_bias(k, g->up_bias, row, n, in->n, s->tile[1], (size_t)rows);
        for (int i = 0; i < in->n; i++)
            cpu_activate(k, g->activation, s->tile[0] + i * rows, s->tile[1] + i * rows, n,
                         cpu_floats(y) + (size_t)i * ld + row);
    }
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_PRODUCT, t0);
}

void cpu_embed(struct fkv_run *r, const struct fkv_weight *table, const int32_t *ids, int n, float scale,
               struct fkv_tensor x)
{
    const struct fkv_quant_type *q = fkv_quant_find(table->type);
    const size_t d = (size_t)table->cols;
    int lo, hi;
    fkv_team_share(r->b->team, r->thread, n, 1, &lo, &hi);
    for (int i = lo; i < hi; i++) {
        float *to = cpu_floats(x) + (size_t)i * d;
        q->dequantize(weight_row(table, ids[i]), to, d);
        for (size_t c = 0; c < d && scale != 1; c++) to[c] *= scale;
    }
    fkv_team_barrier(r->b->team);
}
