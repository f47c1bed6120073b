/* Products of activations and weights, by panels of weight rows.

   Rows of activations are prepared once (normalised, rounded as the weights' kernels want them), each thread its share;
   then the threads take panels: 32 weight rows are unpacked once and serve all rows of the block. One row takes the
   stored weights as they lie, which memory feeds. The fp32 check path, and types without kernels of their own,
   dequantise and multiply floats. Precise products of many rows take quantised weights as bf16, so that activations are
   not rounded to 8 bits. */
#include <string.h>

#include "backend/cpu/cpu_backend.h"
#include "quant/quant.h"

enum { VECTOR_ROWS = 64, BLAS_LEAST_ROWS = 16, PIECES = 8 };

enum prepared { PREPARED_FLOATS, PREPARED_X8, PREPARED_X16, N_PREPARED };

/* How weights of one type are multiplied. */
struct format {
    enum prepared input;
    void (*panel)(const struct fkv_panel *p);
    void (*matvec)(const void *w, size_t w_stride, int n, int k, const void *v, float *y);
    bool as_bf16; /* weights are turned into it first */
};

static bool as_vector(struct fkv_run *r, const struct fkv_input *in) { return in->n == 1 && !r->b->exact; }

/* The kernels want rows that divide by 32. Others, which only unquantised types have, are multiplied as floats with
   zeros behind them. */
static int padded(int k) { return (k + 31) & ~31; }

static struct format format_of_weight(const struct cpu_backend *b, const struct fkv_weight *w)
{
    const struct fkv_kernels *k = b->k;
    if (!b->base.exact && padded(w->cols) == w->cols) switch (w->type) {
        case FKV_TYPE_Q8_0: return (struct format){PREPARED_X8, k->panel_q8_0, k->matvec_q8_0, false};
        case FKV_TYPE_Q4_0: return (struct format){PREPARED_X8, k->panel_q4_0, k->matvec_q4_0, false};
        case FKV_TYPE_Q4_1: return (struct format){PREPARED_X8, k->panel_q4_1, k->matvec_q4_1, false};
        case FKV_TYPE_Q5_0: return (struct format){PREPARED_X8, k->panel_q5_0, k->matvec_q5_0, false};
        case FKV_TYPE_Q4_K: return (struct format){PREPARED_X8, k->panel_q4_k, k->matvec_q4_k, false};
        case FKV_TYPE_Q5_K: return (struct format){PREPARED_X8, k->panel_q5_k, k->matvec_q5_k, false};
        case FKV_TYPE_Q6_K: return (struct format){PREPARED_X8, k->panel_q6_k, k->matvec_q6_k, false};
        case FKV_TYPE_F16: return (struct format){PREPARED_X16, k->panel_f16, k->matvec_f16, false};
        case FKV_TYPE_BF16: return (struct format){PREPARED_X16, k->panel_bf16, k->matvec_bf16, false};
        default: break;
        }
    return (struct format){PREPARED_FLOATS, k->panel_f32, k->matvec_f32, false};
}

bool cpu_wants_blas(const struct cpu_backend *b, const struct fkv_weight *w)
{
    return !b->base.exact && format_of_weight(b, w).input == PREPARED_FLOATS;
}

static struct format format_of(struct fkv_run *r, const struct fkv_input *in, const struct fkv_weight *w, bool precise)
{
    const struct cpu_backend *b = cpu_of(r);
    const struct format f = format_of_weight(b, w);
    if (f.input != PREPARED_X8 || b->k->x8_is_bf16 || as_vector(r, in) || !(precise || b->base.precise)) return f;
    return (struct format){PREPARED_X16, b->k->panel_bf16, NULL, true};
}

/* ---- the input ------------------------------------------------------------------------------- */

/* Where each form of the input lies in the packed buffer; floats are the input itself when there is nothing to
   normalise or to pad. */
struct input {
    const void *form[N_PREPARED];
    size_t ldf;
    int n, k; /* k: of the floats, padded */
};

static bool is_copied(const struct fkv_input *in, int k) { return in->norm || padded(k) != k; }

/* y[padded(k)]: a row of the input, normalised or not, and zeros. */
static void copy_row(const struct fkv_kernels *kernels, const struct fkv_input *in, int row, int k, float *y)
{
    const float *x = in->x + (size_t)row * in->ld;
    if (in->norm)
        kernels->rms_norm(x, in->norm, k, in->eps, y);
    else
        memcpy(y, x, (size_t)k * sizeof *y);
    for (int i = k; i < padded(k); i++) y[i] = 0;
}

/* Prepares the forms that `wanted` (1 << form) names. Ends with a barrier. */
static struct input prepare_rows(struct fkv_run *r, const struct fkv_input *in, int k, unsigned wanted)
{
    struct cpu_backend *b = cpu_of(r);
    char *at = b->packed;
    struct input p = {{in->x, NULL, NULL}, in->ld, in->n, padded(k)};
    int lo, hi;
    fkv_team_share(b->base.team, r->thread, in->n, FKV_PACK_ROWS, &lo, &hi);
    if (is_copied(in, k)) {
        p.form[PREPARED_FLOATS] = at;
        p.ldf = (size_t)p.k;
        for (int i = lo; i < hi; i++) copy_row(b->k, in, i, k, (float *)at + (size_t)i * p.ldf);
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

/* The same for one row and the stored weights' kernels: every thread makes its own, which costs less than waiting for
   it. */
static struct input prepare_vector(struct fkv_run *r, const struct fkv_input *in, int k, unsigned wanted)
{
    struct cpu_backend *b = cpu_of(r);
    struct cpu_scratch *s = cpu_scratch_of(r);
    struct input p = {{in->x, s->vector, in->x}, in->ld, 1, padded(k)};
    if (is_copied(in, k)) {
        copy_row(b->k, in, 0, k, s->rows);
        p.form[PREPARED_FLOATS] = p.form[PREPARED_X16] = s->rows;
    }
    if (wanted & 1u << PREPARED_X8) b->k->v8_pack(p.form[PREPARED_FLOATS], k, s->vector);
    return p;
}

static struct input prepare(struct fkv_run *r, const struct fkv_input *in, int k, unsigned wanted)
{
    return as_vector(r, in) ? prepare_vector(r, in, k, wanted) : prepare_rows(r, in, k, wanted);
}

/* ---- a piece of the output ------------------------------------------------------------------- */

/* Weight rows of one piece of work: as many as a panel call takes, if that leaves every thread a few pieces. */
static int piece_rows(struct fkv_run *r, const struct fkv_input *in, const struct fkv_weight *w)
{
    if (as_vector(r, in)) return VECTOR_ROWS;
    const struct format f = format_of_weight(cpu_of(r), w);
    if (f.input == PREPARED_FLOATS) return CPU_FLOAT_ROWS;
    if (format_of(r, in, w, true).as_bf16) return FKV_PANEL_ROWS;
    const int share = w->rows / (PIECES * fkv_team_size(r->b->team)) / FKV_PANEL_ROWS * FKV_PANEL_ROWS,
              most = cpu_of(r)->k->panel_rows;
    return share < FKV_PANEL_ROWS ? FKV_PANEL_ROWS : share < most ? share : most;
}

static const uint8_t *weight_row(const struct fkv_weight *w, int row)
{
    return (const uint8_t *)w->data + (size_t)row * w->stride;
}

/* Weight rows [row, row + n) as floats, padded: the stored ones, or dequantised into scratch. */
static const float *weight_floats(struct cpu_scratch *s, const struct fkv_weight *w, int row, int n)
{
    const size_t ld = (size_t)padded(w->cols), cols = (size_t)w->cols;
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

static void float_rows(struct fkv_run *r, const struct input *in, const struct fkv_weight *w, int row, int n, float *y,
                       size_t ld)
{
    const struct cpu_backend *b = cpu_of(r);
    struct cpu_scratch *s = cpu_scratch_of(r);
    const float *floats = weight_floats(s, w, row, n), *x = in->form[PREPARED_FLOATS];
    if (!b->base.exact && in->n >= BLAS_LEAST_ROWS &&
        fkv_blas_product(&b->blas, in->n, n, in->k, x, in->ldf, floats, y, ld))
        return;
    for (int i = 0; i < n; i += FKV_PANEL_ROWS) {
        const int here = n - i < FKV_PANEL_ROWS ? n - i : FKV_PANEL_ROWS;
        b->k->panel_f32(&(struct fkv_panel){floats + (size_t)i * (size_t)in->k, (size_t)in->k * sizeof(float), here,
                                            in->k, x, in->ldf, in->n, y + i, ld, NULL, s->panel});
    }
}

/* y[n rows of x][rows of w] for weight rows [row, row + n). */
static void multiply(struct fkv_run *r, const struct fkv_input *in, const struct input *p, const struct fkv_weight *w,
                     bool precise, int row, int n, float *y, size_t ld)
{
    const struct format f = format_of(r, in, w, precise);
    struct cpu_scratch *s = cpu_scratch_of(r);
    if (as_vector(r, in)) {
        if (f.input == PREPARED_FLOATS)
            f.matvec(weight_floats(s, w, row, n), (size_t)p->k * sizeof(float), n, p->k, p->form[f.input], y);
        else
            f.matvec(weight_row(w, row), w->stride, n, w->cols, p->form[f.input], y);
    } else if (f.input == PREPARED_FLOATS) {
        float_rows(r, p, w, row, n, y, ld);
    } else if (f.as_bf16) {
        const size_t stride = (size_t)w->cols * sizeof(fkv_bf16);
        f.panel(&(struct fkv_panel){weight_bf16(s, w, row, n), stride, n, w->cols, p->form[f.input], 0, in->n, y, ld,
                                    NULL, s->panel});
    } else {
        const void *next = row + 2 * n <= w->rows ? weight_row(w, row + n) : NULL;
        f.panel(&(struct fkv_panel){weight_row(w, row), w->stride, n, w->cols, p->form[f.input], 0, in->n, y, ld, next,
                                    s->panel});
    }
}

/* y[row of x][0 .. n) = or += tile + bias. */
static void finish(const struct fkv_kernels *k, const struct fkv_output *out, int row, int n, int m, float *tile,
                   size_t ldt)
{
    for (int i = 0; i < m; i++, tile += ldt) {
        float *y = out->y + (size_t)i * out->ld + row;
        if (out->bias) k->add(out->bias + row, n, tile);
        if (out->add)
            k->add(tile, n, y);
        else
            memcpy(y, tile, (size_t)n * sizeof *y);
    }
}

static void product_piece(struct fkv_run *r, const struct fkv_input *in, const struct input *p,
                          const struct fkv_output *out, int row, int rows)
{
    const int n = out->w->rows - row < rows ? out->w->rows - row : rows;
    if (!out->bias && !out->add) {
        multiply(r, in, p, out->w, out->precise, row, n, out->y + row, out->ld);
        return;
    }
    float *tile = cpu_scratch_of(r)->tile[0];
    multiply(r, in, p, out->w, out->precise, row, n, tile, (size_t)rows);
    finish(cpu_of(r)->k, out, row, n, in->n, tile, (size_t)rows);
}

/* ---- the operations -------------------------------------------------------------------------- */

void cpu_product(struct fkv_run *r, const struct fkv_input *in, const struct fkv_output *out, int n_out)
{
    const double t0 = fkv_clock_s();
    unsigned wanted = 0;
    int pieces = 0;
    for (int o = 0; o < n_out; o++) {
        const int rows = piece_rows(r, in, out[o].w);
        wanted |= 1u << format_of(r, in, out[o].w, out[o].precise).input;
        pieces += (out[o].w->rows + rows - 1) / rows;
    }
    const struct input p = prepare(r, in, out[0].w->cols, wanted);
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

void cpu_gated(struct fkv_run *r, const struct fkv_input *in, const struct fkv_gate *g, float *y, size_t ld)
{
    const double t0 = fkv_clock_s();
    const struct fkv_kernels *k = cpu_of(r)->k;
    const struct fkv_weight *gate = g->gate, *up = g->up;
    struct cpu_scratch *s = cpu_scratch_of(r);
    const unsigned wanted = 1u << format_of(r, in, gate, false).input | 1u << format_of(r, in, up, false).input;
    const int rows_gate = piece_rows(r, in, gate), rows_up = piece_rows(r, in, up),
              rows = rows_gate < rows_up ? rows_gate : rows_up;
    const struct input p = prepare(r, in, gate->cols, wanted);
    for (int piece; (piece = fkv_team_take(r->b->team, r->thread, (gate->rows + rows - 1) / rows)) >= 0;) {
        const int row = piece * rows, n = gate->rows - row < rows ? gate->rows - row : rows;
        multiply(r, in, &p, gate, false, row, n, s->tile[0], (size_t)rows);
        multiply(r, in, &p, up, false, row, n, s->tile[1], (size_t)rows);
        for (int i = 0; i < in->n; i++) {
            if (g->gate_bias) k->add(g->gate_bias + row, n, s->tile[0] + i * rows);
            if (g->up_bias) k->add(g->up_bias + row, n, s->tile[1] + i * rows);
            k->swiglu(s->tile[0] + i * rows, s->tile[1] + i * rows, n, y + (size_t)i * ld + row);
        }
    }
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_PRODUCT, t0);
}

void cpu_embed(struct fkv_run *r, const struct fkv_weight *table, const int32_t *ids, int n, float *x)
{
    const struct fkv_quant_type *q = fkv_quant_find(table->type);
    int lo, hi;
    fkv_team_share(r->b->team, r->thread, n, 1, &lo, &hi);
    for (int i = lo; i < hi; i++)
        q->dequantize(weight_row(table, ids[i]), x + (size_t)i * (size_t)table->cols, (size_t)table->cols);
    fkv_team_barrier(r->b->team);
}
