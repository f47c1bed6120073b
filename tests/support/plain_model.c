#include "support/plain_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant/quant.h"
#include "support/tiny_model.h"

/* The number, or a layer's of an array of this kind: 0 when there is none. */
static int read_int(const struct plain_model *m, const char *suffix, enum fkv_gguf_kind kind, int layer)
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

static double read_float(const struct plain_model *m, const char *suffix, float missing)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", m->arch, suffix);
    if (fkv_gguf_f32(m->g, key, &missing, NULL) != FKV_OK) abort();
    return (double)missing;
}

/* A tensor as floats, or NULL. layer -1: not of a layer. */
static float *tensor(const struct plain_model *m, int layer, const char *name)
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

static struct plain_layer read_layer(const struct plain_model *m, int l)
{
    struct plain_layer x = {.n_head = read_int(m, "attention.head_count", FKV_GGUF_I32, l),
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
    float *sinks = tensor(m, l, "attn_sinks.weight");
    for (int h = 0; h < PLAIN_MOST_HEADS; h++) x.sink[h] = sinks && h < x.n_head ? (double)sinks[h] : -INFINITY;
    free(sinks);
    snprintf(key, sizeof key, "%s." TINY_SCALE, m->arch);
    fkv_gguf_array(m->g, key, FKV_GGUF_F32, &n, NULL);
    if (n > 0 && fkv_gguf_array_f32(m->g, key, (uint64_t)l) > 0)
        x.scale = (double)fkv_gguf_array_f32(m->g, key, (uint64_t)l);
    return x;
}

static void read_scaling(struct plain_model *m)
{
    struct fkv_str type = {"", 0};
    char key[96];
    snprintf(key, sizeof key, "%s.rope.scaling.type", m->arch);
    fkv_gguf_str(m->g, key, &type, NULL);
    m->yarn = fkv_str_is(type, "yarn");
    m->stretch = read_float(m, "rope.scaling.factor", 1) * read_float(m, "rope.scale_linear", 1);
    m->ctx = read_int(m, "context_length", FKV_GGUF_I32, 0);
    m->original_ctx = read_int(m, "rope.scaling.original_context_length", FKV_GGUF_I32, 0);
    if (m->original_ctx == 0) m->original_ctx = m->ctx;
    m->beta_fast = read_float(m, "rope.scaling.yarn_beta_fast", 32);
    m->beta_slow = read_float(m, "rope.scaling.yarn_beta_slow", 1);
    const double growth = m->yarn && m->stretch > 1 ? 0.1 * log(m->stretch) : 0;
    m->magnitude = (growth + 1) / (growth * read_float(m, "rope.scaling.yarn_log_multiplier", 0) + 1);
    m->magnitude *= read_float(m, "rope.scaling.attn_factor", 1);
}

struct plain_model plain_read(const struct fkv_gguf *g)
{
    struct plain_model m = {.g = g};
    struct fkv_str arch = {"", 0};
    fkv_gguf_str(g, "general.architecture", &arch, NULL);
    snprintf(m.arch, sizeof m.arch, "%.*s", (int)arch.n, arch.data);
    m.n_layer = read_int(&m, "block_count", FKV_GGUF_I32, 0);
    m.d_model = read_int(&m, "embedding_length", FKV_GGUF_I32, 0);
    read_scaling(&m);
    m.eps = read_float(&m, "attention.layer_norm_rms_epsilon", 1e-5f);
    if (m.n_layer > PLAIN_MOST_LAYERS) abort();
    for (int l = 0; l < m.n_layer; l++) {
        m.layer[l] = read_layer(&m, l);
        if (m.layer[l].n_kv > m.most_kv) m.most_kv = m.layer[l].n_kv;
        if (m.layer[l].d > m.most_d) m.most_d = m.layer[l].d;
    }
    return m;
}

static bool is_gemma3(const struct plain_model *m) { return strcmp(m->arch, "gemma3") == 0; }
static bool is_gpt_oss(const struct plain_model *m) { return strcmp(m->arch, "gpt-oss") == 0; }

void plain_multiply(const struct plain_model *m, int layer, const char *name, const char *bias_name, const double *x,
                    int n, int rows, int cols, double *y)
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

void plain_norm(const struct plain_model *m, int layer, const char *name, const double *x, int n, int d, double *y)
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

/* The pair that turns `beta` times in the context before it was stretched. */
static double yarn_pair(const struct plain_model *m, const struct plain_layer *l, double beta)
{
    return l->n_rot * log(m->original_ctx / (beta * 2 * acos(-1))) / (2 * log(l->base));
}

/* The angle per position of pair j, before it is divided. */
static double frequency(const struct plain_model *m, const struct plain_layer *l, int j)
{
    const double f = pow(l->base, -2.0 * j / l->n_rot);
    if (!m->yarn) return f / m->stretch;
    double low = yarn_pair(m, l, m->beta_fast), high = yarn_pair(m, l, m->beta_slow);
    if (!is_gpt_oss(m)) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, l->n_rot - 1);
    const double ramp = fmin(fmax((j - low) / fmax(high - low, 0.001), 0), 1);
    return f * (1 - ramp) + f / m->stretch * ramp;
}

static float *divisors(const struct plain_model *m, const struct plain_layer *l)
{
    if (is_gemma3(m) && l->window) return NULL; /* its local ones are plain */
    float *by_length = tensor(m, -1,
                              m->ctx > m->original_ctx ? "rope_factors_long.weight" : "rope_factors_short.weight");
    return by_length ? by_length : tensor(m, -1, "rope_freqs.weight");
}

static void rotate(const struct plain_model *m, const struct plain_layer *l, double *x, int n, int heads,
                   const int32_t *pos)
{
    float *by = divisors(m, l);
    const int half = l->n_rot / 2, pairs = m->arch[0] == 'l';
    for (int j = 0; j < half; j++) {
        const double turn = frequency(m, l, j) / (by ? (double)by[j] : 1);
        for (int i = 0; i < n * heads; i++) {
            double *head = x + i * l->d, *a = head + (pairs ? 2 * j : j), *b = head + (pairs ? 2 * j + 1 : j + half);
            const double angle = pos[i / heads] * turn, x0 = *a * m->magnitude, x1 = *b * m->magnitude;
            *a = x0 * cos(angle) - x1 * sin(angle);
            *b = x1 * cos(angle) + x0 * sin(angle);
        }
    }
    free(by);
}

static const struct fkv_gguf_tensor *find(const struct plain_model *m, int layer, const char *name)
{
    char full[96];
    snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    return fkv_gguf_find_tensor(m->g, full);
}

static double activated(const struct plain_model *m, double g, double u)
{
    if (is_gpt_oss(m)) return (fmax(fmin(u, 7), -7) + 1) * fmin(g, 7) / (1 + exp(-1.702 * fmin(g, 7)));
    if (is_gemma3(m)) return g * (1 + tanh(sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g))) / 2 * u;
    return g / (1 + exp(-g)) * u;
}

/* y = the MLP of x, which may be y. */
static void mlp(const struct plain_model *m, int layer, const double *x, int n, double *y)
{
    const int d_ff = (int)find(m, layer, "ffn_down.weight")->dims[0];
    double *gate = doubles((size_t)(n * d_ff)), *up = doubles((size_t)(n * d_ff));
    plain_multiply(m, layer, "ffn_gate.weight", "ffn_gate.bias", x, n, d_ff, m->d_model, gate);
    plain_multiply(m, layer, "ffn_up.weight", "ffn_up.bias", x, n, d_ff, m->d_model, up);
    for (int i = 0; i < n * d_ff; i++) gate[i] = activated(m, gate[i], up[i]);
    plain_multiply(m, layer, "ffn_down.weight", "ffn_down.bias", gate, n, m->d_model, d_ff, y);
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

/* The experts' tensors: weights of gate, up and down, and their biases, or NULL. */
struct experts {
    float *w[3], *bias[3];
    int d_ff;
};

/* y += what expert e makes of a row, weighed. */
static void expert(const struct plain_model *m, const struct experts *all, int e, const double *x, double weight,
                   double *y)
{
    const int d_ff = all->d_ff, d = m->d_model;
    const float *gate = all->w[0] + e * d_ff * d, *up = all->w[1] + e * d_ff * d, *down = all->w[2] + e * d_ff * d;
    for (int f = 0; f < d_ff; f++) {
        double g = all->bias[0] ? (double)all->bias[0][e * d_ff + f] : 0,
               u = all->bias[1] ? (double)all->bias[1][e * d_ff + f] : 0;
        for (int c = 0; c < d; c++) {
            g += x[c] * (double)gate[f * d + c];
            u += x[c] * (double)up[f * d + c];
        }
        const double a = weight * activated(m, g, u);
        for (int c = 0; c < d; c++) y[c] += a * (double)down[c * d_ff + f];
    }
    for (int c = 0; c < d && all->bias[2]; c++) y[c] += weight * (double)all->bias[2][e * d + c];
}

/* y = the experts' MLP of x. */
static void experts(const struct plain_model *m, int layer, const double *x, int n, double *y)
{
    static const char *const names[] = {"gate", "up", "down"};
    const struct fkv_gguf_tensor *t = find(m, layer, "ffn_down_exps.weight");
    const int d = m->d_model, n_expert = (int)t->dims[2], used = read_int(m, "expert_used_count", FKV_GGUF_I32, layer);
    struct experts all = {.d_ff = (int)t->dims[0]};
    char name[64];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "ffn_%s_exps.weight", names[i]);
        all.w[i] = tensor(m, layer, name);
        snprintf(name, sizeof name, "ffn_%s_exps.bias", names[i]);
        all.bias[i] = tensor(m, layer, name);
    }
    double *logits = doubles((size_t)(n * n_expert)), *weight = doubles((size_t)n_expert);
    plain_multiply(m, layer, "ffn_gate_inp.weight", "ffn_gate_inp.bias", x, n, n_expert, d, logits);
    for (int i = 0; i < n * d; i++) y[i] = 0;
    for (int i = 0; i < n; i++) {
        choose_experts(logits + i * n_expert, n_expert, used, weight);
        for (int e = 0; e < n_expert; e++)
            if (weight[e] > 0) expert(m, &all, e, x + i * d, weight[e], y + i * d);
    }
    for (int i = 0; i < 3; i++) free(all.w[i]), free(all.bias[i]);
    free(logits), free(weight);
}

void plain_second_half(const struct plain_model *m, int layer, double *x, int n, const double *att)
{
    const int q = m->layer[layer].n_head * m->layer[layer].d;
    double *y = doubles((size_t)(n * m->d_model)), *z = doubles((size_t)(n * m->d_model));
    plain_multiply(m, layer, "attn_output.weight", "attn_output.bias", att, n, m->d_model, q, y);
    if (!is_gpt_oss(m)) plain_norm(m, layer, "post_attention_norm.weight", y, n, m->d_model, y);
    for (int i = 0; i < n * m->d_model; i++) x[i] += y[i];
    plain_norm(m, layer, is_gpt_oss(m) ? "post_attention_norm.weight" : "ffn_norm.weight", x, n, m->d_model, y);
    if (find(m, layer, "ffn_gate_inp.weight"))
        experts(m, layer, y, n, z);
    else
        mlp(m, layer, y, n, z);
    plain_norm(m, layer, "post_ffw_norm.weight", z, n, m->d_model, z);
    for (int i = 0; i < n * m->d_model; i++) x[i] += z[i];
    free(y), free(z);
}

void plain_first_half(const struct plain_model *m, int layer, const double *x, int n, const int32_t *pos, double *q,
                      double *k, double *v)
{
    const struct plain_layer *l = &m->layer[layer];
    double *y = doubles((size_t)(n * m->d_model));
    plain_norm(m, layer, "attn_norm.weight", x, n, m->d_model, y);
    plain_multiply(m, layer, "attn_q.weight", "attn_q.bias", y, n, l->n_head * l->d, m->d_model, q);
    plain_multiply(m, layer, "attn_k.weight", "attn_k.bias", y, n, l->n_kv * l->d, m->d_model, k);
    plain_multiply(m, layer, "attn_v.weight", "attn_v.bias", y, n, l->n_kv * l->d, m->d_model, v);
    plain_norm(m, layer, "attn_q_norm.weight", q, n * l->n_head, l->d, q);
    plain_norm(m, layer, "attn_k_norm.weight", k, n * l->n_kv, l->d, k);
    rotate(m, l, q, n, l->n_head, pos);
    rotate(m, l, k, n, l->n_kv, pos);
    free(y);
}

void plain_embed(const struct plain_model *m, const int32_t *ids, int n, double *x)
{
    float *table = tensor(m, -1, "token_embd.weight");
    for (int i = 0; i < n; i++)
        for (int c = 0; c < m->d_model; c++)
            x[i * m->d_model + c] = (double)table[ids[i] * m->d_model + c] * (is_gemma3(m) ? sqrt(m->d_model) : 1);
    free(table);
}
