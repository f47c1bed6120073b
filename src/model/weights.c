/* Weights: from the tensors of the file, every shape checked, to the places where they are used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "quant/quant.h"

const struct fkv_fused fkv_fused_qkv = {"attn_qkv.weight",
                                        {"attn_q.weight", "attn_k.weight", "attn_v.weight"},
                                        {FKV_DIM_Q, FKV_DIM_KV, FKV_DIM_KV}};
const struct fkv_fused fkv_fused_qkv_bias = {"attn_qkv.bias",
                                             {"attn_q.bias", "attn_k.bias", "attn_v.bias"},
                                             {FKV_DIM_Q, FKV_DIM_KV, FKV_DIM_KV}};
const struct fkv_fused fkv_fused_gate_up = {"ffn_up.weight",
                                            {"ffn_gate.weight", "ffn_up.weight"},
                                            {FKV_DIM_FF, FKV_DIM_FF}};
const struct fkv_fused fkv_fused_gate_up_exps = {"ffn_gate_up_exps.weight",
                                                 {"ffn_gate_exps.weight", "ffn_up_exps.weight"},
                                                 {FKV_DIM_FF_EXPERT, FKV_DIM_FF_EXPERT}};

bool fkv_layer_has_experts(const struct fkv_hparams *h, int layer) { return h->layer[layer].d_ff_expert > 0; }
bool fkv_layer_is_dense(const struct fkv_hparams *h, int layer) { return !fkv_layer_has_experts(h, layer); }

/* ---- a row of the table, in one layer -------------------------------------------------------- */

enum { NAME_BYTES = 96 };

/* The model's only weight of that name, or a layer's. */
struct instance {
    const struct fkv_weight_name *w;
    int layer; /* 0 for the model's */
};

static int dim(const struct fkv_hparams *h, int layer, enum fkv_dim d)
{
    const struct fkv_layer_hparams *l = &h->layer[layer];
    switch (d) {
    case FKV_DIM_ONE: return 1;
    case FKV_DIM_MODEL: return h->d_model;
    case FKV_DIM_Q: return l->n_head * l->d_head;
    case FKV_DIM_KV: return l->n_kv_head * l->d_head;
    case FKV_DIM_HEAD: return l->d_head;
    case FKV_DIM_HEADS: return l->n_head;
    case FKV_DIM_FF: return l->d_ff;
    case FKV_DIM_VOCAB: return h->n_vocab;
    case FKV_DIM_EXPERTS: return h->n_expert;
    case FKV_DIM_FF_EXPERT: return l->d_ff_expert;
    case FKV_DIM_ROT_HALF:
        for (int i = 0; i < h->n_ropes; i++)
            if (h->ropes[i].divided != FKV_UNDIVIDED) return h->ropes[i].n_rot / 2;
        return 0;
    }
    return 0;
}

static void tensor_name(char name[NAME_BYTES], enum fkv_where where, int layer, const char *own)
{
    if (where == FKV_AT_LAYER)
        snprintf(name, NAME_BYTES, "blk.%d.%s", layer, own);
    else
        snprintf(name, NAME_BYTES, "%s", own);
}

static void *place_of(const struct fkv_model *m, struct instance i)
{
    char *object = i.w->where == FKV_AT_LAYER ? (char *)&m->layer[i.layer] : (char *)m;
    return object + i.w->offset;
}

static bool is_vector(struct instance i) { return i.w->rows == FKV_DIM_ONE; }
static int vector_size(const struct fkv_model *m, struct instance i)
{
    return dim(&m->h, i.layer, i.w->matrices) * dim(&m->h, i.layer, i.w->cols);
}

/* The next instance of the table, the first after {NULL}; false past the last. */
static bool next(const struct fkv_model *m, struct instance *i)
{
    do {
        if (!i->w)
            *i = (struct instance){m->arch->weights, 0};
        else if (i->w->where == FKV_AT_LAYER && i->layer + 1 < m->h.n_layer)
            i->layer++;
        else
            *i = (struct instance){i->w + 1, 0};
    } while (i->w->name && i->w->in_layer && !i->w->in_layer(&m->h, i->layer));
    return i->w->name != NULL;
}

/* ---- which tensor serves --------------------------------------------------------------------- */

/* A tensor of the file, and where in it a weight begins: rows of a matrix, elements of a vector. */
struct source {
    char name[NAME_BYTES];
    size_t i; /* tensors of the file: there is none */
    int first, all;
};

static const struct fkv_gguf_tensor *tensor_of(const struct fkv_gguf *g, const struct source *s)
{
    return s->i < fkv_gguf_n_tensors(g) ? fkv_gguf_tensor(g, s->i) : NULL;
}

/* A tensor that is the weight's own. */
static struct source own_source(const struct fkv_model *m, const struct fkv_gguf *g, struct instance i)
{
    struct source s = {.all = dim(&m->h, i.layer, is_vector(i) ? i.w->cols : i.w->rows)};
    tensor_name(s.name, i.w->where, i.layer, i.w->name);
    s.i = fkv_gguf_find(g, s.name);
    return s;
}

/* A fused tensor, unless the file has one of the separate ones. */
static bool find_fused(const struct fkv_model *m, const struct fkv_gguf *g, struct instance i, struct source *s)
{
    const struct fkv_fused *f = i.w->fused;
    bool shares_a_name = false;
    char name[NAME_BYTES];
    if (!f) return false;
    *s = (struct source){.first = 0};
    for (int p = 0; p < FKV_FUSED_PARTS && f->part[p]; p++) {
        const int rows = dim(&m->h, i.layer, f->rows[p]);
        if (p < i.w->part) s->first += rows;
        s->all += rows;
        tensor_name(name, i.w->where, i.layer, f->part[p]);
        if (strcmp(f->part[p], f->name) == 0)
            shares_a_name = true;
        else if (fkv_gguf_find_tensor(g, name))
            return false;
    }
    tensor_name(s->name, i.w->where, i.layer, f->name);
    s->i = fkv_gguf_find(g, s->name);
    const struct fkv_gguf_tensor *t = tensor_of(g, s);
    return t && (!shares_a_name || t->dims[is_vector(i) ? 0 : 1] == (uint64_t)s->all);
}

/* ---- binding --------------------------------------------------------------------------------- */

static fkv_status check_shape(const struct fkv_gguf_tensor *t, int n, int rows, int cols, struct fkv_error *e)
{
    if (t->dims[0] == (uint64_t)cols && t->dims[1] == (uint64_t)rows && t->dims[2] == (uint64_t)n && t->dims[3] == 1)
        return FKV_OK;
    char found[96] = "", wanted[64] = "";
    for (int i = t->n_dims - 1; i >= 0; i--)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%llu%s", (unsigned long long)t->dims[i],
                 i ? " x " : "");
    if (n > 1) snprintf(wanted, sizeof wanted, "%d x ", n);
    if (n > 1 || rows > 1) snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "%d x ", rows);
    return fkv_fail(e, FKV_ERROR_FORMAT, "%s: expected [%s%d], file has [%s]", t->name, wanted, cols, found);
}

/* n values of a vector from its `first` on. */
static fkv_status read_vector(const struct fkv_gguf_tensor *t, int first, int n, float *x, struct fkv_error *e)
{
    const struct fkv_quant_type *q = fkv_quant_find(t->type);
    if ((uint64_t)first % q->block_elements || (uint64_t)n % q->block_elements)
        return fkv_fail(e, FKV_ERROR_UNSUPPORTED,
                        "%s: expected parts of whole blocks, found %d values of %s from %d on", t->name, n, q->name,
                        first);
    q->dequantize(t->data + fkv_quant_row_bytes(q, (size_t)first), x, (size_t)n);
    return FKV_OK;
}

/* The tensor that serves a weight, if the file has one. */
static struct source source_of(const struct fkv_model *m, const struct fkv_gguf *g, struct instance i)
{
    struct source s;
    return find_fused(m, g, i, &s) ? s : own_source(m, g, i);
}

/* Binds one weight to its place. *vectors: where the next vector's floats go. */
static fkv_status bind(struct fkv_model *m, const struct fkv_gguf *g, struct instance i, bool *seen, float **vectors,
                       struct fkv_error *e)
{
    const struct source s = source_of(m, g, i);
    const struct fkv_gguf_tensor *t = tensor_of(g, &s);
    const int rows = dim(&m->h, i.layer, i.w->rows), cols = dim(&m->h, i.layer, i.w->cols),
              n = dim(&m->h, i.layer, i.w->matrices);
    if (!t && i.w->optional) return FKV_OK;
    if (!t)
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: expected [%d x %d], the file has no such tensor", s.name, rows, cols);
    seen[s.i] = true;
    fkv_status status = is_vector(i) ? check_shape(t, 1, n, s.all, e) : check_shape(t, n, s.all, cols, e);
    if (status != FKV_OK) return status;
    if (is_vector(i)) {
        status = read_vector(t, s.first, n * cols, *vectors, e);
        if (i.w->where == FKV_AT_HOST)
            *(const float **)place_of(m, i) = *vectors;
        else
            *(struct fkv_tensor *)place_of(m, i) = (struct fkv_tensor){(struct fkv_buffer *)(void *)*vectors, 0};
        *vectors += n * cols;
    } else {
        const size_t stride = fkv_quant_row_bytes(fkv_quant_find(t->type), (size_t)cols);
        *(struct fkv_weight *)place_of(m, i) = (struct fkv_weight){
            t->data + (size_t)s.first * stride, stride, (size_t)s.all * stride, t->type, rows, cols, n};
    }
    return status;
}

/* Floats of the vectors that the file has. */
static size_t vector_floats(const struct fkv_model *m, const struct fkv_gguf *g)
{
    size_t n = 0;
    for (struct instance i = {NULL, 0}; next(m, &i);) {
        const struct source s = source_of(m, g, i);
        const struct fkv_gguf_tensor *t = tensor_of(g, &s);
        if (!is_vector(i) || !t) continue;
        const uint64_t wanted = (uint64_t)vector_size(m, i), there = t->dims[0] * t->dims[1];
        n += (size_t)(wanted < there ? wanted : there);
    }
    return n;
}

fkv_status fkv_model_bind(struct fkv_model *m, const struct fkv_gguf *g, bool *seen, struct fkv_error *e)
{
    fkv_status status = FKV_OK;
    m->vectors = calloc(vector_floats(m, g) + 1, sizeof *m->vectors);
    if (!m->vectors) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for the norms of %d layers", m->h.n_layer);
    float *vectors = m->vectors;
    for (struct instance i = {NULL, 0}; status == FKV_OK && next(m, &i);) status = bind(m, g, i, seen, &vectors, e);
    if (!m->output.data) m->output = m->token_embd;
    return status;
}

/* ---- placing --------------------------------------------------------------------------------- */

/* Does a weight go where the first n layers are computed? The head comes after the last. */
static bool goes(const struct fkv_model *m, struct instance i, int n_layers)
{
    switch (i.w->where) {
    case FKV_AT_LAYER: return i.layer < n_layers;
    case FKV_AT_INPUT: return n_layers > 0;
    case FKV_AT_HEAD: return n_layers == m->h.n_layer;
    case FKV_AT_HOST: break;
    }
    return false;
}

/* Brings one weight to the back end. */
static fkv_status place(struct fkv_model *m, struct instance i, struct fkv_backend *b, struct fkv_error *e)
{
    char name[NAME_BYTES];
    void *at = place_of(m, i);
    tensor_name(name, i.w->where, i.layer, i.w->name);
    if (is_vector(i)) {
        struct fkv_tensor *vector = at;
        const float *from = (const float *)(const void *)vector->buffer;
        return from ? b->ops->load_vector(b, vector, from, (size_t)vector_size(m, i), name, e) : FKV_OK;
    }
    struct fkv_weight *weight = at;
    return weight->data ? b->ops->load_weight(b, weight, name, e) : FKV_OK;
}

fkv_status fkv_model_place(struct fkv_model *m, struct fkv_backend *b, int n_layers, struct fkv_error *e)
{
    fkv_status status = FKV_OK;
    const bool tied = m->output.data == m->token_embd.data;
    for (struct instance i = {NULL, 0}; status == FKV_OK && next(m, &i);) {
        const bool twice = tied && place_of(m, i) == (void *)&m->output;
        if (goes(m, i, n_layers) && !twice) status = place(m, i, b, e);
    }
    if (tied && n_layers == m->h.n_layer) m->output = m->token_embd;
    return status;
}

uint64_t fkv_model_place_bytes(const struct fkv_model *m, const struct fkv_backend *b, int n_layers)
{
    uint64_t bytes = 0;
    const bool tied = m->output.data == m->token_embd.data;
    for (struct instance i = {NULL, 0}; next(m, &i);) {
        const struct fkv_weight *weight = place_of(m, i);
        const bool twice = tied && weight == &m->output;
        if (goes(m, i, n_layers) && !is_vector(i) && !twice && weight->data) bytes += b->ops->weight_bytes(b, weight);
    }
    return bytes;
}
