#include "support/plain_forward.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"
#include "support/tiny_model.h"

enum { MOST_LAYERS = 16 };

struct layer {
    int n_head, n_kv, d, n_rot, window; /* window: 0 for a layer that sees all */
    double base, scale;                 /* of the angles; of the logits */
};

struct model {
    const struct fkv_gguf *g;
    char arch[16];
    int n_layer, d_model, most_kv, most_d;
    double eps, stretch;
    struct layer layer[MOST_LAYERS];
};

struct state {
    struct model m;
    int capacity;
    double *k, *v; /* [layer][most_kv][capacity][most_d] kept entries, k rotated */
    int32_t *pos;  /* [layer][most_kv][capacity] */
    int *count;    /* [layer][most_kv] */
};

static double *doubles(size_t n) { return calloc(n, sizeof(double)); }

/* The number, or a layer's of an array of this kind: 0 when there is none. */
static int read_int(const struct model *m, const char *suffix, enum fkv_gguf_kind kind, int layer)
{
    char key[96];
    uint32_t x = 0;
    uint64_t n = 0;
    snprintf(key, sizeof key, "%s.%s", m->arch, suffix);
    if (fkv_gguf_array(m->g, key, kind, &n, NULL) == FKV_OK && n > 0)
        return (int)fkv_gguf_array_int(m->g, key, (uint64_t)layer);
    if (fkv_gguf_u32(m->g, key, &x, NULL) != FKV_OK) abort();
    return (int)x;
}

static double read_float(const struct model *m, const char *suffix, float missing)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", m->arch, suffix);
    if (fkv_gguf_f32(m->g, key, &missing, NULL) != FKV_OK) abort();
    return (double)missing;
}

static struct layer read_layer(const struct model *m, int l)
{
    struct layer x = {.n_head = read_int(m, "attention.head_count", FKV_GGUF_I32, l),
                      .n_kv = read_int(m, "attention.head_count_kv", FKV_GGUF_I32, l),
                      .d = read_int(m, "attention.key_length", FKV_GGUF_I32, l),
                      .n_rot = read_int(m, "rope.dimension_count", FKV_GGUF_I32, l)};
    char key[96];
    uint64_t n = 0;
    if (!x.n_rot) x.n_rot = x.d;
    x.base = read_float(m, "rope.freq_base", 10000);
    x.scale = 1 / sqrt(x.d);
    if (read_int(m, "attention.sliding_window_pattern", FKV_GGUF_BOOL, l)) {
        x.window = read_int(m, "attention.sliding_window", FKV_GGUF_I32, l);
        x.base = read_float(m, "rope.freq_base_swa", 10000);
    }
    snprintf(key, sizeof key, "%s." TINY_SCALE, m->arch);
    fkv_gguf_array(m->g, key, FKV_GGUF_F32, &n, NULL);
    if (n > 0 && fkv_gguf_array_f32(m->g, key, (uint64_t)l) > 0)
        x.scale = (double)fkv_gguf_array_f32(m->g, key, (uint64_t)l);
    return x;
}

static struct model read_model(const struct fkv_gguf *g)
{
    struct model m = {.g = g};
    struct fkv_str arch = {"", 0};
    fkv_gguf_str(g, "general.architecture", &arch, NULL);
    snprintf(m.arch, sizeof m.arch, "%.*s", (int)arch.n, arch.data);
    m.n_layer = read_int(&m, "block_count", FKV_GGUF_I32, 0);
    m.d_model = read_int(&m, "embedding_length", FKV_GGUF_I32, 0);
    m.stretch = read_float(&m, "rope.scaling.factor", 1) * read_float(&m, "rope.scale_linear", 1);
    m.eps = read_float(&m, "attention.layer_norm_rms_epsilon", 1e-5f);
    if (m.n_layer > MOST_LAYERS) abort();
    for (int l = 0; l < m.n_layer; l++) {
        m.layer[l] = read_layer(&m, l);
        if (m.layer[l].n_kv > m.most_kv) m.most_kv = m.layer[l].n_kv;
        if (m.layer[l].d > m.most_d) m.most_d = m.layer[l].d;
    }
    return m;
}

static bool is_gemma3(const struct model *m) { return strcmp(m->arch, "gemma3") == 0; }

/* A tensor as floats, or NULL. layer -1: not of a layer. */
static float *tensor(const struct model *m, int layer, const char *name)
{
    char full[96];
    if (layer < 0)
        snprintf(full, sizeof full, "%s", name);
    else
        snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    const struct fkv_gguf_tensor *t = fkv_gguf_find_tensor(m->g, full);
    if (!t) return NULL;
    const size_t n = (size_t)(t->dims[0] * t->dims[1] * t->dims[2]);
    float *x = malloc(n * sizeof *x);
    fkv_quant_find(t->type)->dequantize(t->data, x, n);
    return x;
}

/* y[n][rows] = x[n][cols] W^T + bias. */
static void multiply(const struct model *m, int layer, const char *name, const char *bias_name, const double *x, int n,
                     int rows, int cols, double *y)
{
    float *w = tensor(m, layer, name), *bias = bias_name ? tensor(m, layer, bias_name) : NULL;
    for (int i = 0; i < n; i++)
        for (int r = 0; r < rows; r++) {
            double sum = bias ? (double)bias[r] : 0;
            for (int c = 0; c < cols; c++) sum += x[i * cols + c] * (double)w[r * cols + c];
            y[i * rows + r] = sum;
        }
    free(w);
    free(bias);
}

/* Rows of d values each, normalised. */
static void norm(const struct model *m, int layer, const char *name, const double *x, int n, int d, double *y)
{
    float *w = tensor(m, layer, name);
    for (int i = 0; w && i < n; i++) {
        double sum = 0;
        for (int c = 0; c < d; c++) sum += x[i * d + c] * x[i * d + c];
        const double scale = 1 / sqrt(sum / d + m->eps);
        for (int c = 0; c < d; c++) y[i * d + c] = x[i * d + c] * scale * (double)w[c];
    }
    free(w);
}

static void rotate(const struct model *m, const struct layer *l, double *x, int n, int heads, const int32_t *pos)
{
    float *freqs = is_gemma3(m) && l->window ? NULL : tensor(m, -1, "rope_freqs.weight"); /* its local ones: plain */
    const int half = l->n_rot / 2, pairs = m->arch[0] == 'l';
    for (int i = 0; i < n; i++)
        for (int h = 0; h < heads; h++)
            for (int j = 0; j < half; j++) {
                double *head = x + (i * heads + h) * l->d, *a = head + (pairs ? 2 * j : j),
                       *b = head + (pairs ? 2 * j + 1 : j + half);
                const double angle = pos[i] / m->stretch * pow(l->base, -2.0 * j / l->n_rot) /
                                     (freqs ? (double)freqs[j] : 1),
                             x0 = *a, x1 = *b;
                *a = x0 * cos(angle) - x1 * sin(angle);
                *b = x1 * cos(angle) + x0 * sin(angle);
            }
    free(freqs);
}

static size_t kept_at(const struct state *s, int layer, int head, int entry)
{
    return ((size_t)layer * (size_t)s->m.most_kv + (size_t)head) * (size_t)s->capacity + (size_t)entry;
}

static double *kept_row(const struct state *s, double *base, int layer, int head, int entry)
{
    return base + kept_at(s, layer, head, entry) * (size_t)s->m.most_d;
}

static void keep(struct state *s, int layer, int head, const double *k, const double *v, int32_t pos)
{
    const int i = s->count[layer * s->m.most_kv + head]++;
    const size_t bytes = (size_t)s->m.layer[layer].d * sizeof *k;
    memcpy(kept_row(s, s->k, layer, head, i), k, bytes);
    memcpy(kept_row(s, s->v, layer, head, i), v, bytes);
    s->pos[kept_at(s, layer, head, i)] = pos;
}

/* Keys at positions pos[keys], `stride` apart. */
struct keys {
    const double *k;
    const int32_t *pos;
    int stride;
};

/* p[n] = softmax of a query at position `at` over the first n keys. */
static void probabilities(const struct layer *l, const double *q, int32_t at, struct keys keys, int n, double *p)
{
    double top = -INFINITY, sum = 0;
    for (int j = 0; j < n; j++) {
        p[j] = 0;
        for (int c = 0; c < l->d; c++) p[j] += q[c] * keys.k[j * keys.stride + c] * l->scale;
        if (l->window && at - keys.pos[j] >= l->window) p[j] = -INFINITY;
        top = fmax(top, p[j]);
    }
    for (int j = 0; j < n; j++) sum += p[j] = exp(p[j] - top);
    for (int j = 0; j < n; j++) p[j] /= sum;
}

static void weigh(const struct layer *l, const double *p, const double *v, int stride, int keys, double *out)
{
    for (int c = 0; c < l->d; c++) {
        out[c] = 0;
        for (int j = 0; j < keys; j++) out[c] += p[j] * v[j * stride + c];
    }
}

static const struct fkv_gguf_tensor *find(const struct model *m, int layer, const char *name)
{
    char full[96];
    snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    return fkv_gguf_find_tensor(m->g, full);
}

static double activated(const struct model *m, double x)
{
    if (is_gemma3(m)) return x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x))) / 2;
    return x / (1 + exp(-x));
}

/* y = the MLP of x, which may be y. */
static void mlp(const struct model *m, int layer, const double *x, int n, double *y)
{
    const int d_ff = (int)find(m, layer, "ffn_down.weight")->dims[0];
    double *gate = doubles((size_t)(n * d_ff)), *up = doubles((size_t)(n * d_ff));
    multiply(m, layer, "ffn_gate.weight", "ffn_gate.bias", x, n, d_ff, m->d_model, gate);
    multiply(m, layer, "ffn_up.weight", "ffn_up.bias", x, n, d_ff, m->d_model, up);
    for (int i = 0; i < n * d_ff; i++) gate[i] = activated(m, gate[i]) * up[i];
    multiply(m, layer, "ffn_down.weight", "ffn_down.bias", gate, n, m->d_model, d_ff, y);
    free(gate), free(up);
}

/* The weights of one row's experts: the softmax of the used best, 0 for the others. */
static void choose_experts(const double *logits, int n, int used, double *weight)
{
    double sum = 0;
    for (int e = 0; e < n; e++) weight[e] = 0;
    for (int i = 0; i < used; i++) {
        int best = -1;
        for (int e = 0; e < n; e++)
            if (weight[e] == 0 && (best < 0 || logits[e] > logits[best])) best = e;
        sum += weight[best] = exp(logits[best]);
    }
    for (int e = 0; e < n; e++) weight[e] /= sum;
}

/* y = what one expert makes of a row. */
static void expert(const struct model *m, const float *gate, const float *up, const float *down, int d_ff,
                   const double *x, double weight, double *y)
{
    for (int f = 0; f < d_ff; f++) {
        double g = 0, u = 0;
        for (int c = 0; c < m->d_model; c++) {
            g += x[c] * (double)gate[f * m->d_model + c];
            u += x[c] * (double)up[f * m->d_model + c];
        }
        for (int c = 0; c < m->d_model; c++) y[c] += weight * activated(m, g) * u * (double)down[c * d_ff + f];
    }
}

/* y = the experts' MLP of x. */
static void experts(const struct model *m, int layer, const double *x, int n, double *y)
{
    const struct fkv_gguf_tensor *t = find(m, layer, "ffn_down_exps.weight");
    const int d_ff = (int)t->dims[0], d = m->d_model, n_expert = (int)t->dims[2],
              used = read_int(m, "expert_used_count", FKV_GGUF_I32, layer);
    float *gate = tensor(m, layer, "ffn_gate_exps.weight"), *up = tensor(m, layer, "ffn_up_exps.weight"),
          *down = tensor(m, layer, "ffn_down_exps.weight");
    double *logits = doubles((size_t)(n * n_expert)), *weight = doubles((size_t)n_expert);
    multiply(m, layer, "ffn_gate_inp.weight", NULL, x, n, n_expert, d, logits);
    for (int i = 0; i < n * d; i++) y[i] = 0;
    for (int i = 0; i < n; i++) {
        choose_experts(logits + i * n_expert, n_expert, used, weight);
        for (int e = 0; e < n_expert; e++)
            if (weight[e] > 0)
                expert(m, gate + e * d_ff * d, up + e * d_ff * d, down + e * d_ff * d, d_ff, x + i * d, weight[e],
                       y + i * d);
    }
    free(gate), free(up), free(down), free(logits), free(weight);
}

/* x += attention output projected; then the MLP, or the experts. */
static void second_half(const struct model *m, int layer, double *x, int n, const double *att)
{
    const int q = m->layer[layer].n_head * m->layer[layer].d;
    double *y = doubles((size_t)(n * m->d_model)), *z = doubles((size_t)(n * m->d_model));
    multiply(m, layer, "attn_output.weight", "attn_output.bias", att, n, m->d_model, q, y);
    norm(m, layer, "post_attention_norm.weight", y, n, m->d_model, y);
    for (int i = 0; i < n * m->d_model; i++) x[i] += y[i];
    norm(m, layer, "ffn_norm.weight", x, n, m->d_model, y);
    if (find(m, layer, "ffn_gate_inp.weight"))
        experts(m, layer, y, n, z);
    else
        mlp(m, layer, y, n, z);
    norm(m, layer, "post_ffw_norm.weight", z, n, m->d_model, z);
    for (int i = 0; i < n * m->d_model; i++) x[i] += z[i];
    free(y), free(z);
}

static void first_half(const struct model *m, int layer, const double *x, int n, const int32_t *pos, double *q,
                       double *k, double *v)
{
    const struct layer *l = &m->layer[layer];
    double *y = doubles((size_t)(n * m->d_model));
    norm(m, layer, "attn_norm.weight", x, n, m->d_model, y);
    multiply(m, layer, "attn_q.weight", "attn_q.bias", y, n, l->n_head * l->d, m->d_model, q);
    multiply(m, layer, "attn_k.weight", "attn_k.bias", y, n, l->n_kv * l->d, m->d_model, k);
    multiply(m, layer, "attn_v.weight", "attn_v.bias", y, n, l->n_kv * l->d, m->d_model, v);
    norm(m, layer, "attn_q_norm.weight", q, n * l->n_head, l->d, q);
    norm(m, layer, "attn_k_norm.weight", k, n * l->n_kv, l->d, k);
    rotate(m, l, q, n, l->n_head, pos);
    rotate(m, l, k, n, l->n_kv, pos);
    free(y);
}

/* g[n_kv][n - w]: fastkv paper, section 3.2, with max pooling. */
static double *window_scores(const struct layer *l, const double *q, const double *k, const int32_t *pos, int n, int w,
                             int kernel)
{
    double *g = doubles((size_t)(l->n_kv * n)), *p = doubles((size_t)n), *sum = doubles((size_t)n);
    for (int h = 0; h < l->n_head; h++) {
        const int kv = h / (l->n_head / l->n_kv);
        const struct keys keys = {k + kv * l->d, pos, l->n_kv * l->d};
        for (int j = 0; j < n; j++) sum[j] = 0;
        for (int i = n - w; i < n; i++) {
            probabilities(l, q + (i * l->n_head + h) * l->d, pos[i], keys, i + 1, p);
            for (int j = 0; j < n - w; j++) sum[j] += p[j];
        }
        for (int j = 0; j < n - w; j++) {
            double best = -INFINITY;
            for (int t = j - kernel / 2; t <= j + kernel / 2; t++)
                if (t >= 0 && t < n - w) best = fmax(best, sum[t]);
            g[kv * (n - w) + j] += best;
        }
    }
    free(p), free(sum);
    return g;
}

/* rows[cap]: the cap - w best of score[n - w] and the window, ascending; by repeated search for the best. */
static void choose(const double *score, int n, int w, int cap, int sinks, int32_t *rows)
{
    char *taken = calloc((size_t)n, 1);
    for (int i = n - w; i < n; i++) taken[i] = 1;
    for (int c = 0; c < cap - w; c++) {
        int best = -1;
        for (int i = 0; i < n - w; i++)
            if (!taken[i] && (best < 0 || (i >= sinks && best >= sinks && (float)score[i] > (float)score[best])))
                best = i;
        taken[best] = 1;
    }
    for (int i = 0, r = 0; i < n; i++)
        if (taken[i]) rows[r++] = i;
    free(taken);
}

static int budget(int n, double rate, int w, int sinks)
{
    const int count = (int)trunc(n * rate);
    return count < w + sinks ? w + sinks : count;
}

/* Retention of one layer: what is kept goes to the state and the result. */
static void retain(struct state *s, struct plain_result *r, int layer, const double *k, const double *v,
                   const int32_t *pos, int n, const double *g, const struct plain_policy *p)
{
    const struct layer *l = &s->m.layer[layer];
    const int cap = budget(n, layer <= p->tsp_layer ? p->kv_rate : p->kv_rate / p->tsp_rate, p->window, p->sinks),
              count = l->window ? l->window : cap, kept = cap < n && count < n ? count : n;
    int32_t *rows = malloc((size_t)n * sizeof *rows);
    for (int h = 0; h < l->n_kv; h++) {
        for (int i = 0; i < n; i++) rows[i] = l->window ? n - kept + i : i;
        if (cap < n && !l->window) choose(g + h * (n - p->window), n, p->window, cap, p->sinks, rows);
        for (int i = 0; i < kept; i++) {
            const int at = (rows[i] * l->n_kv + h) * l->d;
            keep(s, layer, h, k + at, v + at, pos[rows[i]]);
            r->kept[(layer * r->n_kv_head + h) * r->n + i] = pos[rows[i]];
        }
    }
    r->n_kept[layer] = kept;
    free(rows);
}

/* Rows that go past the TSP layer, moved to the front; returns their number. */
static int propagate(const struct model *m, int heads, struct plain_result *r, double *x, int32_t *pos, int n,
                     const double *g, const struct plain_policy *p)
{
    const int cap = budget(n, p->tsp_rate, p->window, p->sinks), scored = n - p->window;
    if (cap >= n) return n;
    double *sum = doubles((size_t)scored);
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < scored; i++) sum[i] += g[h * scored + i];
    choose(sum, n, p->window, cap, p->sinks, r->propagated);
    for (int i = 0; i < cap; i++) {
        const int row = r->propagated[i];
        memmove(x + i * m->d_model, x + row * m->d_model, (size_t)m->d_model * sizeof *x);
        pos[i] = pos[row];
        r->propagated[i] = pos[i];
    }
    r->n_propagated = cap;
    free(sum);
    return cap;
}

static int prefill_layer(struct state *s, struct plain_result *r, int layer, double *x, int32_t *pos, int n,
                         const struct plain_policy *p)
{
    const struct model *m = &s->m;
    const struct layer *l = &m->layer[layer];
    const int kv_stride = l->n_kv * l->d, q_stride = l->n_head * l->d;
    double *q = doubles((size_t)(n * q_stride)), *k = doubles((size_t)(n * kv_stride)),
           *v = doubles((size_t)(n * kv_stride));
    double *att = doubles((size_t)(n * q_stride)), *prob = doubles((size_t)n);
    first_half(m, layer, x, n, pos, q, k, v);
    for (int i = 0; i < n; i++)
        for (int h = 0; h < l->n_head; h++) {
            const int kv = h / (l->n_head / l->n_kv), at = i * q_stride + h * l->d;
            probabilities(l, q + at, pos[i], (struct keys){k + kv * l->d, pos, kv_stride}, i + 1, prob);
            weigh(l, prob, v + kv * l->d, kv_stride, i + 1, att + at);
        }
    double *g = n > p->window ? window_scores(l, q, k, pos, n, p->window, p->kernel) : NULL;
    retain(s, r, layer, k, v, pos, n, g, p);
    second_half(m, layer, x, n, att);
    if (layer == p->tsp_layer && layer < m->n_layer - 1 && g) n = propagate(m, l->n_kv, r, x, pos, n, g, p);
    free(q), free(k), free(v), free(att), free(prob), free(g);
    return n;
}

static void decode_layer(struct state *s, int layer, double *x, int32_t pos)
{
    const struct model *m = &s->m;
    const struct layer *l = &m->layer[layer];
    double *q = doubles((size_t)(l->n_head * l->d)), *k = doubles((size_t)(l->n_kv * l->d)),
           *v = doubles((size_t)(l->n_kv * l->d));
    double *att = doubles((size_t)(l->n_head * l->d)), *prob = doubles((size_t)s->capacity);
    first_half(m, layer, x, 1, &pos, q, k, v);
    for (int h = 0; h < l->n_kv; h++) keep(s, layer, h, k + h * l->d, v + h * l->d, pos);
    for (int h = 0; h < l->n_head; h++) {
        const int kv = h / (l->n_head / l->n_kv), count = s->count[layer * m->most_kv + kv];
        const struct keys keys = {kept_row(s, s->k, layer, kv, 0), s->pos + kept_at(s, layer, kv, 0), m->most_d};
        probabilities(l, q + h * l->d, pos, keys, count, prob);
        weigh(l, prob, kept_row(s, s->v, layer, kv, 0), m->most_d, count, att + h * l->d);
    }
    second_half(m, layer, x, 1, att);
    free(q), free(k), free(v), free(att), free(prob);
}

static void embed(const struct model *m, const int32_t *ids, int n, double *x)
{
    float *table = tensor(m, -1, "token_embd.weight");
    for (int i = 0; i < n; i++)
        for (int c = 0; c < m->d_model; c++)
            x[i * m->d_model + c] = (double)table[ids[i] * m->d_model + c] * (is_gemma3(m) ? sqrt(m->d_model) : 1);
    free(table);
}

struct plain_result *plain_forward(const struct fkv_gguf *g, const int32_t *ids, int n, int n_more,
                                   const struct plain_policy *p)
{
    struct state s = {.m = read_model(g), .capacity = n + n_more};
    const struct model *m = &s.m;
    const size_t entries = (size_t)(m->n_layer * m->most_kv) * (size_t)s.capacity;
    struct plain_result *r = calloc(1, sizeof *r);
    double *x = doubles((size_t)(n * m->d_model)), *y = doubles((size_t)m->d_model);
    int32_t *pos = malloc((size_t)n * sizeof *pos);
    const int n_vocab = (int)fkv_gguf_find_tensor(g, "token_embd.weight")->dims[1];
    s.k = doubles(entries * (size_t)m->most_d), s.v = doubles(entries * (size_t)m->most_d);
    s.pos = calloc(entries, sizeof *s.pos);
    s.count = calloc((size_t)(m->n_layer * m->most_kv), sizeof(int));
    *r = (struct plain_result){doubles((size_t)n_vocab),
                               -1,
                               calloc((size_t)n, sizeof(int32_t)),
                               calloc((size_t)(m->n_layer * m->most_kv * n), sizeof(int32_t)),
                               calloc((size_t)m->n_layer, sizeof(int)),
                               m->most_kv,
                               n};
    for (int i = 0; i < n; i++) pos[i] = i;
    embed(m, ids, n, x);
    int alive = n;
    for (int l = 0; l < m->n_layer; l++) alive = prefill_layer(&s, r, l, x, pos, alive, p);
    double *last = x + (alive - 1) * m->d_model;
    for (int i = 0; i < n_more; i++) {
        last = x;
        embed(m, ids + n + i, 1, x);
        for (int l = 0; l < m->n_layer; l++) decode_layer(&s, l, x, n + i);
    }
    norm(m, -1, "output_norm.weight", last, 1, m->d_model, y);
    multiply(m, -1, fkv_gguf_find_tensor(g, "output.weight") ? "output.weight" : "token_embd.weight", "output.bias", y,
             1, n_vocab, m->d_model, r->logits);
    free(x), free(y), free(pos), free(s.k), free(s.v), free(s.pos), free(s.count);
    return r;
}

void plain_free(struct plain_result *r)
{
    free(r->logits), free(r->propagated), free(r->kept), free(r->n_kept), free(r);
}
