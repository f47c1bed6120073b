#define _GNU_SOURCE
#include "support/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "quant/quant.h"

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Uniform in (-1, 1). */
static float next_float(uint32_t *state) { return (float)next_random(state) / 8388608.0f - 1.0f; }

/* `blocks` blocks of a type with random contents: every field is random but the f16 scales, which are kept small. */
static void random_blocks(uint32_t *state, uint32_t type, uint8_t *out, size_t blocks, size_t block_bytes, float scale)
{
    /* where the scales of a block stand, -1: there is none */
    static const struct {
        uint32_t type;
        int scale[2];
        float divisor;
    } scales[] = {{FKV_TYPE_Q8_0, {0, -1}, 90},     {FKV_TYPE_Q4_0, {0, -1}, 6},      {FKV_TYPE_Q5_0, {0, -1}, 12},
                  {FKV_TYPE_Q4_K, {0, 2}, 150},     {FKV_TYPE_Q6_K, {208, -1}, 2000}, {FKV_TYPE_IQ4_NL, {0, -1}, 90},
                  {FKV_TYPE_IQ4_XS, {0, -1}, 1500}, {FKV_TYPE_IQ3_S, {0, -1}, 150},   {FKV_TYPE_IQ3_XXS, {0, -1}, 150},
                  {FKV_TYPE_IQ2_XS, {0, -1}, 60},   {FKV_TYPE_IQ1_S, {0, -1}, 10}};
    for (size_t i = 0; i < blocks * block_bytes; i++) out[i] = (uint8_t)next_random(state);
    for (size_t b = 0; type == FKV_TYPE_MXFP4 && b < blocks; b++) /* an exponent: scale / 6, or half of it */
        out[b * block_bytes] = (uint8_t)(128 + ilogbf(scale / 6) - out[b * block_bytes] % 2);
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++)
        for (size_t b = 0; scales[s].type == type && b < blocks; b++)
            for (int f = 0; f < 2 && scales[s].scale[f] >= 0; f++) {
                const fkv_f16 d = fkv_f16_from_f32(scale / scales[s].divisor * (1.5f + next_float(state)));
                memcpy(out + b * block_bytes + scales[s].scale[f], &d, sizeof d);
            }
}

struct maker {
    struct gguf_writer *w;
    uint32_t state;
};

/* rows of a matrix, malloc'ed. */
static uint8_t *make_rows(struct maker *m, uint32_t type, int rows, int cols, size_t *bytes)
{
    const struct fkv_quant_type *q = fkv_quant_find(type);
    const size_t n = (size_t)rows * (size_t)cols;
    const float scale = 1.2f / sqrtf((float)cols);
    *bytes = n / q->block_elements * q->block_bytes;
    uint8_t *data = malloc(*bytes);
    if (q->block_elements > 1) {
        random_blocks(&m->state, type, data, n / q->block_elements, q->block_bytes, scale);
    } else {
        for (size_t i = 0; i < n; i++) {
            const float x = scale * next_float(&m->state) * 1.7f;
            const uint16_t half = type == FKV_TYPE_BF16 ? fkv_bf16_from_f32(x) : fkv_f16_from_f32(x);
            if (type == FKV_TYPE_F32)
                memcpy(data + 4 * i, &x, 4);
            else
                memcpy(data + 2 * i, &half, 2);
        }
    }
    return data;
}

/* Of type F32 where blocks do not fit. */
static void put_matrix(struct maker *m, const char *name, uint32_t type, int rows, int cols)
{
    size_t bytes;
    if ((uint32_t)cols % fkv_quant_find(type)->block_elements) type = FKV_TYPE_F32;
    uint8_t *data = make_rows(m, type, rows, cols, &bytes);
    gguf_put_tensor(m->w, name, type, 2, (const uint64_t[]){(uint64_t)cols, (uint64_t)rows}, data, bytes);
    free(data);
}

/* Matrices of n numbers of rows, one below the other, as they would be alone. */
static void put_fused(struct maker *m, const char *name, uint32_t type, int n, const int *rows, int cols)
{
    uint8_t *all = NULL;
    size_t all_bytes = 0, bytes;
    int all_rows = 0;
    for (int i = 0; i < n; i++) {
        uint8_t *data = make_rows(m, type, rows[i], cols, &bytes);
        all = realloc(all, all_bytes + bytes);
        memcpy(all + all_bytes, data, bytes);
        all_bytes += bytes;
        all_rows += rows[i];
        free(data);
    }
    gguf_put_tensor(m->w, name, type, 2, (const uint64_t[]){(uint64_t)cols, (uint64_t)all_rows}, all, all_bytes);
    free(all);
}

/* n matrices of rows in one tensor; or, of each matrix the rows of one and of another, one below the other. */
static void put_stack(struct maker *m, const char *name, uint32_t type, bool twice, int n, int rows, int cols)
{
    size_t bytes;
    if ((uint32_t)cols % fkv_quant_find(type)->block_elements) type = FKV_TYPE_F32;
    uint8_t *one = make_rows(m, type, n * rows, cols, &bytes), *all = one;
    const size_t each = bytes / (size_t)n;
    if (twice) {
        uint8_t *other = make_rows(m, type, n * rows, cols, &bytes);
        all = malloc(2 * bytes);
        for (size_t i = 0; i < (size_t)n; i++) {
            memcpy(all + 2 * i * each, one + i * each, each);
            memcpy(all + (2 * i + 1) * each, other + i * each, each);
        }
        free(one);
        free(other);
        bytes *= 2;
        rows *= 2;
    }
    gguf_put_tensor(m->w, name, type, 3, (const uint64_t[]){(uint64_t)cols, (uint64_t)rows, (uint64_t)n}, all, bytes);
    free(all);
}

/* A vector around `middle`. */
static void put_vector(struct maker *m, const char *name, int n, float middle, float spread)
{
    float *x = malloc((size_t)n * sizeof *x);
    for (int i = 0; i < n; i++) x[i] = middle + spread * next_float(&m->state);
    gguf_put_tensor(m->w, name, FKV_TYPE_F32, 1, (const uint64_t[]){(uint64_t)n}, x, (size_t)n * sizeof *x);
    free(x);
}

/* n of them, one after the other. */
static void put_vectors(struct maker *m, const char *name, int n, int size, float spread)
{
    float *x = malloc((size_t)(n * size) * sizeof *x);
    for (int i = 0; i < n * size; i++) x[i] = spread * next_float(&m->state);
    gguf_put_tensor(m->w, name, FKV_TYPE_F32, 2, (const uint64_t[]){(uint64_t)size, (uint64_t)n}, x,
                    (size_t)(n * size) * sizeof *x);
    free(x);
}

static bool is_gemma3(const struct tiny_model *t) { return strcmp(t->arch, "gemma3") == 0; }
static bool is_gpt_oss(const struct tiny_model *t) { return strcmp(t->arch, "gpt-oss") == 0; }

static struct tiny_layer layer_of(const struct tiny_model *t, int l)
{
    const bool local = (is_gemma3(t) && l % 3 != 2) || (is_gpt_oss(t) && l % 2 == 0);
    return t->layers ? t->layers[l] : (struct tiny_layer){t->n_head, t->n_kv_head, t->d_head, local, 0};
}

static int window_of(const struct tiny_model *t)
{
    return t->window || !(is_gemma3(t) || is_gpt_oss(t)) ? t->window : TINY_WINDOW;
}

int tiny_model_window(const struct tiny_model *t, int l) { return layer_of(t, l).local ? window_of(t) : 0; }

#define NAME(suffix) (snprintf(name, sizeof name, "blk.%d." suffix, l), name)

static void put_qkv(struct maker *m, const struct tiny_model *t, int l)
{
    const struct tiny_layer s = layer_of(t, l);
    const int q = s.n_head * s.d_head, kv = s.n_kv_head * s.d_head;
    const bool biases = t->biases || strcmp(t->arch, "qwen2") == 0 || is_gpt_oss(t);
    char name[64];
    if (t->fused) {
        put_fused(m, NAME("attn_qkv.weight"), t->type, 3, (const int[]){q, kv, kv}, t->d_model);
        if (biases) put_vector(m, NAME("attn_qkv.bias"), q + 2 * kv, 0, 0.5f);
        return;
    }
    put_matrix(m, NAME("attn_q.weight"), t->type, q, t->d_model);
    put_matrix(m, NAME("attn_k.weight"), t->type, kv, t->d_model);
    put_matrix(m, NAME("attn_v.weight"), t->type, kv, t->d_model);
    if (!biases) return;
    put_vector(m, NAME("attn_q.bias"), q, 0, 0.5f);
    put_vector(m, NAME("attn_k.bias"), kv, 0, 0.5f);
    put_vector(m, NAME("attn_v.bias"), kv, 0, 0.5f);
}

int tiny_model_n_expert(const struct tiny_model *t)
{
    return t->n_expert ? t->n_expert : strcmp(t->arch, "qwen3moe") == 0 || is_gpt_oss(t) ? TINY_EXPERTS : 0;
}
static int n_expert_used(const struct tiny_model *t) { return t->n_expert ? t->n_expert_used : TINY_USED; }

static void put_experts(struct maker *m, const struct tiny_model *t, int l)
{
    const int n = tiny_model_n_expert(t), d_ff = t->d_ff + l * t->d_ff_more;
    char name[64];
    put_matrix(m, NAME("ffn_gate_inp.weight"), FKV_TYPE_F32, n, t->d_model);
    put_stack(m, t->fused ? NAME("ffn_gate_up_exps.weight") : NAME("ffn_gate_exps.weight"), t->type, t->fused, n, d_ff,
              t->d_model);
    if (!t->fused) put_stack(m, NAME("ffn_up_exps.weight"), t->type, false, n, d_ff, t->d_model);
    put_stack(m, NAME("ffn_down_exps.weight"), t->type, false, n, t->d_model, d_ff);
    if (!is_gpt_oss(t)) return;
    put_vector(m, NAME("ffn_gate_inp.bias"), n, 0, 0.5f);
    put_vectors(m, NAME("ffn_gate_exps.bias"), n, d_ff, 5); /* some are beyond the activation's bound */
    put_vectors(m, NAME("ffn_up_exps.bias"), n, d_ff, 5);
    put_vectors(m, NAME("ffn_down_exps.bias"), n, t->d_model, 0.2f);
}

static void put_mlp(struct maker *m, const struct tiny_model *t, int l)
{
    const int d_ff = t->d_ff + l * t->d_ff_more;
    char name[64];
    put_vector(m, is_gpt_oss(t) ? NAME("post_attention_norm.weight") : NAME("ffn_norm.weight"), t->d_model, 1, 0.1f);
    if (tiny_model_n_expert(t)) {
        put_experts(m, t, l);
        return;
    }
    if (t->fused) {
        put_fused(m, NAME("ffn_up.weight"), t->type, 2, (const int[]){d_ff, d_ff}, t->d_model);
    } else {
        put_matrix(m, NAME("ffn_gate.weight"), t->type, d_ff, t->d_model);
        put_matrix(m, NAME("ffn_up.weight"), t->type, d_ff, t->d_model);
    }
    put_matrix(m, NAME("ffn_down.weight"), t->type, t->d_model, d_ff);
    if (!t->biases) return;
    put_vector(m, NAME("ffn_gate.bias"), d_ff, 0, 0.5f);
    put_vector(m, NAME("ffn_up.bias"), d_ff, 0, 0.5f);
    put_vector(m, NAME("ffn_down.bias"), t->d_model, 0, 0.2f);
}

static void put_layer(struct maker *m, const struct tiny_model *t, int l)
{
    const struct tiny_layer s = layer_of(t, l);
    char name[64];
    put_vector(m, NAME("attn_norm.weight"), t->d_model, 1, 0.1f);
    put_qkv(m, t, l);
    if (is_gemma3(t)) {
        put_vector(m, NAME("post_attention_norm.weight"), t->d_model, 1, 0.5f);
        put_vector(m, NAME("post_ffw_norm.weight"), t->d_model, 1, 0.5f);
    }
    if (strncmp(t->arch, "qwen3", 5) == 0 || is_gemma3(t)) {
        put_vector(m, NAME("attn_q_norm.weight"), s.d_head, 1.5f, 0.3f);
        put_vector(m, NAME("attn_k_norm.weight"), s.d_head, 1.5f, 0.3f);
    }
    put_matrix(m, NAME("attn_output.weight"), t->type, t->d_model, s.n_head * s.d_head);
    if (t->biases || is_gpt_oss(t)) put_vector(m, NAME("attn_output.bias"), t->d_model, 0, 0.2f);
    if (is_gpt_oss(t)) put_vector(m, NAME("attn_sinks.weight"), s.n_head, 1, 1);
    put_mlp(m, t, l);
}

/* Byte tokens and letters: enough for any text. */
static void put_vocabulary(struct gguf_writer *w)
{
    static char text[TINY_VOCAB][8];
    const char *tokens[TINY_VOCAB];
    float scores[TINY_VOCAB];
    int32_t types[TINY_VOCAB];
    for (int i = 0; i < TINY_VOCAB; i++) {
        static const char *const control[] = {"<unk>", "<s>", "</s>"};
        if (i < 3)
            snprintf(text[i], sizeof text[i], "%s", control[i]);
        else if (i < 259)
            snprintf(text[i], sizeof text[i], "<0x%02X>", i - 3);
        else
            snprintf(text[i], sizeof text[i], "%c%s", 'a' + (i - 259) % 26, i < 285 ? "" : i < 311 ? "a" : "b");
        tokens[i] = text[i];
        scores[i] = -(float)i;
        types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
    }
    gguf_put_str(w, "tokenizer.ggml.model", "llama");
    gguf_put_array_str(w, "tokenizer.ggml.tokens", tokens, TINY_VOCAB);
    gguf_put_array(w, "tokenizer.ggml.scores", FKV_GGUF_F32, scores, TINY_VOCAB);
    gguf_put_array(w, "tokenizer.ggml.token_type", FKV_GGUF_I32, types, TINY_VOCAB);
    gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 2);
    gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", 0);
}

/* A number that every layer may have its own of. */
static void put_per_layer(struct gguf_writer *w, const struct tiny_model *t, const char *key, int first, int more)
{
    int32_t values[64];
    for (int l = 0; l < t->n_layer; l++) values[l] = first + l * more;
    if (t->arrays || more)
        gguf_put_array(w, key, FKV_GGUF_I32, values, (uint64_t)t->n_layer);
    else
        gguf_put_u32(w, key, (uint32_t)first);
}

/* Numbers of heads, and which layers are local. */
static void put_heads(struct gguf_writer *w, const struct tiny_model *t)
{
    enum { HEADS, KV_HEADS, KEYS, VALUES, N };
    static const char *const names[N] = {"head_count", "head_count_kv", "key_length", "value_length"};
    int32_t values[N][64];
    uint8_t local[64];
    float scale[64];
    bool scaled = false;
    char key[64];
    for (int l = 0; l < t->n_layer; l++) {
        const struct tiny_layer s = layer_of(t, l);
        values[HEADS][l] = s.n_head;
        values[KV_HEADS][l] = s.n_kv_head;
        values[KEYS][l] = values[VALUES][l] = s.d_head;
        local[l] = s.local;
        scale[l] = s.scale;
        scaled = scaled || s.scale > 0;
    }
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "%s.attention.%s", t->arch, names[i]);
        if (t->arrays || t->layers)
            gguf_put_array(w, key, FKV_GGUF_I32, values[i], (uint64_t)t->n_layer);
        else
            gguf_put_u32(w, key, (uint32_t)values[i][0]);
    }
    snprintf(key, sizeof key, "%s." TINY_SCALE, t->arch);
    if (scaled) gguf_put_array(w, key, FKV_GGUF_F32, scale, (uint64_t)t->n_layer);
    if (!window_of(t)) return;
    snprintf(key, sizeof key, "%s.attention.sliding_window", t->arch);
    gguf_put_u32(w, key, (uint32_t)window_of(t));
    snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", t->arch);
    gguf_put_array(w, key, FKV_GGUF_BOOL, local, (uint64_t)t->n_layer);
    snprintf(key, sizeof key, "%s.rope.freq_base_swa", t->arch);
    gguf_put_f32(w, key, 500);
}

static void put_hparams(struct gguf_writer *w, const struct tiny_model *t)
{
    char key[64];
#define KEY(suffix) (snprintf(key, sizeof key, "%s." suffix, t->arch), key)
    gguf_put_str(w, "general.architecture", t->arch);
    gguf_put_str(w, "general.name", "tiny");
    gguf_put_u32(w, KEY("block_count"), (uint32_t)t->n_layer);
    gguf_put_u32(w, KEY("context_length"), (uint32_t)(t->n_ctx ? t->n_ctx : TINY_CONTEXT));
    gguf_put_u32(w, KEY("embedding_length"), (uint32_t)t->d_model);
    put_per_layer(w, t, KEY("feed_forward_length"), t->d_ff, t->d_ff_more);
    put_heads(w, t);
    if (tiny_model_n_expert(t)) {
        gguf_put_u32(w, KEY("expert_count"), (uint32_t)tiny_model_n_expert(t));
        gguf_put_u32(w, KEY("expert_used_count"), (uint32_t)n_expert_used(t));
        if (strcmp(t->arch, "llama") != 0)
            put_per_layer(w, t, KEY("expert_feed_forward_length"), t->d_ff, t->d_ff_more);
    }
    if (t->n_rot) gguf_put_u32(w, KEY("rope.dimension_count"), (uint32_t)t->n_rot);
    gguf_put_f32(w, KEY("attention.layer_norm_rms_epsilon"), 1e-5f);
    gguf_put_f32(w, KEY("rope.freq_base"), 10000);
#undef KEY
}

static struct gguf_writer *start(const struct tiny_model *t)
{
    struct maker m = {gguf_writer_new(3, 0), t->seed};
    gguf_writer_leave_out(m.w, t->without);
    put_hparams(m.w, t);
    put_vocabulary(m.w);
    put_matrix(&m, "token_embd.weight", t->type, TINY_VOCAB, t->d_model);
    put_vector(&m, "output_norm.weight", t->d_model, 1, 0.1f);
    if (t->own_output) put_matrix(&m, "output.weight", t->type, TINY_VOCAB, t->d_model);
    if (t->biases) put_vector(&m, "output.bias", TINY_VOCAB, 0, 0.5f);
    if (t->rope_freqs) put_vector(&m, "rope_freqs.weight", (t->n_rot ? t->n_rot : t->d_head) / 2, 4, 3);
    for (int l = 0; l < t->n_layer; l++) put_layer(&m, t, l);
    gguf_writer_leave_out(m.w, NULL);
    if (t->also) t->also(m.w);
    return m.w;
}

uint8_t *tiny_model_make(const struct tiny_model *t, size_t *bytes) { return gguf_writer_finish(start(t), bytes); }

void tiny_model_write(const struct tiny_model *t, char path[64])
{
    snprintf(path, 64, "/tmp/fastkv-tiny-XXXXXX");
    const int fd = mkstemp(path);
    if (fd < 0) abort();
    close(fd);
    gguf_writer_finish_to_file(start(t), path);
}

void tiny_model_prompt(uint32_t seed, int32_t *ids, int n)
{
    for (int i = 0; i < n; i++) ids[i] = 3 + (int32_t)(next_random(&seed) % (TINY_VOCAB - 3));
}
