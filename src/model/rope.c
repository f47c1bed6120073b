/* Rotary embedding: what the file says of positions that are scaled, and the tables. Formulas: YaRN (arXiv 2309.00071,
   section 3.2), LongRoPE (arXiv 2402.13753); keys: gguf-py, and the models' own code in transformers. */
#include <math.h>
#include <stdio.h>

#include "model/hparams_keys.h"
#include "model/model.h"

/* ---- keys ------------------------------------------------------------------------------------ */

/* A factor without a type is a linear one; its key was once scale_linear; 0 stands for none. */
static fkv_status read_factor(const struct fkv_reader *r, struct fkv_rope_scaling *s)
{
    char key[FKV_KEY_BYTES];
    struct fkv_str type = {"linear", 6};
    float factor = 0;
    const bool new_key = fkv_reader_has(r, "rope.scaling.factor");
    fkv_status status = fkv_read_float(r, new_key ? "rope.scaling.factor" : "rope.scale_linear", true, &factor);
    if (status == FKV_OK) status = fkv_gguf_str(r->g, fkv_reader_key(r, "rope.scaling.type", key), &type, r->e);
    if (status != FKV_OK) return status;
    const bool by_length = fkv_str_is(type, "longrope"), none = fkv_str_is(type, "none");
    s->yarn = fkv_str_is(type, "yarn");
    s->factor = factor > 0 && !none && !by_length ? factor : 1;
    if (none || by_length || s->yarn || fkv_str_is(type, "linear")) return FKV_OK;
    return fkv_fail(r->e, FKV_ERROR_UNSUPPORTED, "%s: expected none, linear, yarn or longrope, found \"%.*s\"", key,
                    (int)(type.n < 32 ? type.n : 32), type.data);
}

/* What cosine and sine are multiplied with. */
static fkv_status read_magnitude(const struct fkv_reader *r, const struct fkv_rope_scaling *s, float *magnitude)
{
    float given = 0, of_log = 0, times = 1;
    fkv_status status = fkv_read_float(r, "rope.scaling.attn_factor", false, &times);
    if (status == FKV_OK) status = fkv_read_float(r, "rope.scaling.yarn_attn_factor", true, &given);
    if (status == FKV_OK) status = fkv_read_float(r, "rope.scaling.yarn_log_multiplier", true, &of_log);
    const float growth = s->yarn && s->factor > 1 ? 0.1f * logf(s->factor) : 0;
    *magnitude = s->yarn && given > 0 ? given : (growth + 1) / (growth * of_log + 1);
    *magnitude *= times;
    return status;
}

static fkv_status read_scaling(const struct fkv_reader *r, int n_ctx_train, struct fkv_rope_scaling *s)
{
    *s = (struct fkv_rope_scaling){.factor = 1, .n_ctx = n_ctx_train, .beta_fast = 32, .beta_slow = 1};
    fkv_status status = read_factor(r, s);
    if (status == FKV_OK)
        status = fkv_read_int(r, "rope.scaling.original_context_length", FKV_ALL_LAYERS, 1, FKV_CONTEXT_MAX, &s->n_ctx);
    if (status == FKV_OK) status = fkv_read_float(r, "rope.scaling.yarn_beta_fast", false, &s->beta_fast);
    if (status == FKV_OK) status = fkv_read_float(r, "rope.scaling.yarn_beta_slow", false, &s->beta_slow);
    return status;
}

static fkv_status read_divisors(const struct fkv_reader *r, enum fkv_rope_divisors *divided)
{
    const bool freqs = fkv_gguf_find_tensor(r->g, "rope_freqs.weight"),
               far = fkv_gguf_find_tensor(r->g, "rope_factors_long.weight"),
               near = fkv_gguf_find_tensor(r->g, "rope_factors_short.weight");
    if (far != near || (far && freqs))
        return fkv_fail(r->e, FKV_ERROR_FORMAT,
                        "rope_factors_long.weight: expected it beside rope_factors_short.weight and without "
                        "rope_freqs.weight, found %d, %d and %d of them",
                        far, near, freqs);
    *divided = far ? FKV_DIVIDED_BY_LENGTH : freqs ? FKV_DIVIDED : FKV_UNDIVIDED;
    return FKV_OK;
}

fkv_status fkv_read_ropes(struct fkv_reader *r, struct fkv_hparams *h, bool pairs)
{
    struct fkv_rope_params *full = &r->rope[FKV_LAYER_FULL], *local = &r->rope[FKV_LAYER_LOCAL];
    struct fkv_rope_scaling *scaling = r->scaling;
    *full = (struct fkv_rope_params){.pairs = pairs, .base = 10000};
    fkv_status status = fkv_read_float(r, "rope.freq_base", false, &full->base);
    if (status == FKV_OK) status = read_divisors(r, &full->divided);
    if (status == FKV_OK) status = read_scaling(r, h->n_ctx_train, &scaling[FKV_LAYER_FULL]);
    if (status == FKV_OK) status = read_magnitude(r, &scaling[FKV_LAYER_FULL], &full->magnitude);
    if (status != FKV_OK) return status;
    full->scale = scaling[FKV_LAYER_FULL].factor;
    if (full->divided == FKV_DIVIDED_BY_LENGTH) h->short_ctx = scaling[FKV_LAYER_FULL].n_ctx;
    *local = *full;
    scaling[FKV_LAYER_LOCAL] = scaling[FKV_LAYER_FULL];
    if (!r->local) return FKV_OK;
    if (r->local->rope_plain) {
        *local = (struct fkv_rope_params){.pairs = pairs, .base = full->base, .scale = 1, .magnitude = 1};
        scaling[FKV_LAYER_LOCAL] = (struct fkv_rope_scaling){.factor = 1};
    }
    if (r->local->rope_base > 0) local->base = r->local->rope_base;
    return fkv_read_float(r, "rope.freq_base_swa", false, &local->base);
}

fkv_status fkv_hparams_check_sections(const struct fkv_hparams *h, const struct fkv_arch *arch,
                                      const struct fkv_gguf *g, struct fkv_error *e)
{
    char key[FKV_KEY_BYTES];
    uint64_t n = 0;
    int64_t sum = 0;
    snprintf(key, sizeof key, "%s.rope.dimension_sections", arch->name);
    if (!fkv_gguf_has(g, key)) return FKV_OK;
    const fkv_status status = fkv_gguf_array(g, key, FKV_GGUF_I32, &n, e);
    if (status != FKV_OK) return status;
    for (uint64_t i = 0; i < n; i++) sum += fkv_gguf_array_int(g, key, i);
    for (int r = 0; r < h->n_ropes; r++)
        if (sum < h->ropes[r].n_rot / 2)
            return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "%s: expected at least %d pairs of channels in all, found %lld",
                            key, h->ropes[r].n_rot / 2, (long long)sum);
    return FKV_OK;
}

/* ---- a layer's tables ------------------------------------------------------------------------ */

int fkv_hparams_rope(struct fkv_hparams *h, const struct fkv_rope_params *rope)
{
    for (int i = 0; i < h->n_ropes; i++) {
        const struct fkv_rope_params *o = &h->ropes[i];
        if (o->d_head == rope->d_head && o->n_rot == rope->n_rot && o->pairs == rope->pairs &&
            o->divided == rope->divided && o->base == rope->base && o->scale == rope->scale && o->from == rope->from &&
            o->width == rope->width && o->magnitude == rope->magnitude && o->growth == rope->growth &&
            o->growth_step == rope->growth_step)
            return i;
    }
    h->ropes[h->n_ropes] = *rope;
    return h->n_ropes++;
}

/* The pair that turns `beta` times within n_ctx positions. */
static double pair_of(const struct fkv_rope_params *p, int n_ctx, float beta)
{
    return p->n_rot * log(n_ctx / (2 * acos(-1) * (double)beta)) / (2 * log((double)p->base));
}

fkv_status fkv_read_rope_of(const struct fkv_reader *r, struct fkv_hparams *h, struct fkv_layer_hparams *l, int n_rot)
{
    const struct fkv_rope_scaling *s = &r->scaling[l->kind];
    struct fkv_rope_params p = r->rope[l->kind];
    p.d_head = l->d_head;
    p.n_rot = n_rot;
    p.from = -1; /* linear: all pairs are scaled */
    p.width = 1;
    if (s->yarn && s->factor != 1) {
        if (!(p.base > 1))
            return fkv_fail(r->e, FKV_ERROR_UNSUPPORTED, "%s.rope.freq_base: expected more than 1 with yarn, found %g",
                            r->arch, (double)p.base);
        double low = pair_of(&p, s->n_ctx, s->beta_fast), high = pair_of(&p, s->n_ctx, s->beta_slow);
        if (!r->yarn_unrounded) {
            low = floor(low);
            high = ceil(high);
        }
        low = fmax(low, 0);
        p.from = (float)low;
        p.width = (float)fmax(fmin(high, n_rot - 1) - low, 0.001);
    }
    l->rope = l->rope_q = fkv_hparams_rope(h, &p);
    return FKV_OK;
}

/* ---- the tables ------------------------------------------------------------------------------ */

/* The angle per position of pair i. */
static double frequency_of(const struct fkv_rope_params *p, const float *divisors, int i)
{
    const double share = fmin(fmax((i - (double)p->from) / (double)p->width, 0), 1); /* of it that is scaled */
    return pow((double)p->base, -2.0 * i / p->n_rot) / (divisors ? (double)divisors[i] : 1.0) *
           (1 - share + share / (double)p->scale);
}

static double magnitude_at(const struct fkv_rope_params *p, int position)
{
    if (p->growth == 0) return (double)p->magnitude;
    return (double)p->magnitude * (1 + (double)p->growth * log(1 + position / p->growth_step));
}

void fkv_rope_angles(const struct fkv_rope_params *p, const float *divisors, int first, int rows, float *table)
{
    for (int i = 0; i < p->n_rot / 2; i++) {
        const double frequency = frequency_of(p, divisors, i), c1 = cos(frequency), s1 = sin(frequency);
        double c = cos((double)first * frequency), s = sin((double)first * frequency);
        for (int row = 0; row < rows; row++) {
            const double magnitude = magnitude_at(p, first + row);
            float *at = table + (size_t)row * (size_t)p->n_rot + 2 * i;
            at[0] = (float)(magnitude * c);
            at[1] = (float)(magnitude * s);
            const double turned = c * c1 - s * s1;
            s = s * c1 + c * s1;
            c = turned;
        }
    }
}
