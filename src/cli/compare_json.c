#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "cli/compare.h"
#include "cli/json.h"

enum { FORMAT = 1, PASSAGES = 16, QUOTE = 200 };

static json_t *shares_of(const float *x, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_real((double)x[i]));
    return list;
}

/* What full attention and all others have. */
static json_t *way_of(const struct compared *x)
{
    return json_pack("{s:o, s:i, s:I, s:I, s:f, s:f}", "text", json_of_text(x->m.text), "n_answer", x->m.n_answer,
                     "kv_bytes", (json_int_t)x->kept.bytes, "kv_full_bytes", (json_int_t)x->kept.full_bytes,
                     "prefill_s", x->m.prefill_s, "decode_tokens_per_s", x->decode_s > 0 ? 1 / x->decode_s : 0.0);
}

static json_t *known(double x) { return isnan(x) ? json_null() : json_real(x); }

static json_t *signals_of(const struct eval_metrics *m)
{
    const struct fkv_signals *s = &m->signals;
    json_t *checks = json_array();
    for (int i = 0; i < s->n_checks; i++) json_array_append_new(checks, json_real(s->check[i]));
    return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:b}", "layers", s->n_layers, "mass",
                     known(s->mass), "mass_least", known(s->mass_least), "halves", known(s->halves), "overlap",
                     known(s->overlap), "agreement", known(s->agreement), "entropy", known(s->entropy), "self_check",
                     known(m->self_check), "back_off", checks, "times", s->n_checks ? s->times : 1, "alike",
                     !s->n_checks || s->alike);
}

static json_t *variant_of(const struct comparison *c, const struct compared *x)
{
    json_t *o = way_of(x);
    json_object_update_new(o, json_pack("{s:s, s:o, s:o, s:i, s:f, s:f, s:f, s:i, s:f, s:i, s:b, s:[I, I]}", "policy",
                                        x->kv.policy, "options", json_of_options(&x->kv), "budget",
                                        x->budget > 0 ? json_real(x->budget) : json_null(), "n_same", x->m.n_same, "kl",
                                        x->m.kl, "kl_first", x->m.kl_first, "kl_worst", x->m.kl_worst, "worst",
                                        x->m.worst, "top1", x->m.top1, "n_compared", x->m.n_compared, "all_kept",
                                        x->m.all_kept, "kept", (json_int_t)x->kept.n_min, (json_int_t)x->kept.n_max));
    json_object_set_new(o, "signals", signals_of(&x->m));
    if (c->looked)
        json_object_update_new(o, json_pack("{s:f, s:f}", "attention", x->seen, "attention_least", x->seen_least));
    if (x->kept.tsp_layer >= 0)
        json_object_set_new(o, "propagated",
                            json_pack("{s:i, s:I}", "layer", x->kept.tsp_layer, "rows",
                                      (json_int_t)x->kept.n_propagated));
    return o;
}

static json_t *dropped_of(const struct comparison *c)
{
    struct passage passages[PASSAGES];
    json_t *list = json_array();
    const int n = c->looked ? compare_dropped(c, passages, PASSAGES) : 0;
    for (int i = 0; i < n; i++) {
        struct eval_text quote = {0};
        compare_quote(c, passages[i].from, passages[i].to, QUOTE, &quote);
        json_array_append_new(list, json_pack("{s:I, s:I, s:f, s:o}", "from", (json_int_t)passages[i].from, "to",
                                              (json_int_t)passages[i].to, "share", passages[i].lost, "text",
                                              json_of_text(quote.failed ? "" : quote.s)));
        free(quote.s);
    }
    return list;
}

bool compare_json(FILE *out, const struct comparison *c)
{
    const struct fkv_model_info *info = fkv_engine_info(c->g.engine);
    json_t *variants = json_array();
    for (int i = 1; i < c->n; i++) json_array_append_new(variants, variant_of(c, &c->all[i]));
    json_t *o = json_pack("{s:i, s:s, s:{s:s, s:o, s:s}, s:s, s:s, s:I, s:o, s:o, s:o, s:{s:o, s:o}}", "fastkv_compare",
                          FORMAT, "version", fkv_version(), "model", "arch", info->arch, "name",
                          json_of_text(info->name), "quantisation", info->quantisation, "device", info->device, "isa",
                          info->isa, "n_prompt", (json_int_t)c->request.n, "full", way_of(&c->all[0]), "variants",
                          variants, "dropped", dropped_of(c), "tokens", "kept", shares_of(c->shares.kept, c->request.n),
                          "looked", shares_of(c->shares.looked, c->request.n));
    if (!o) return false;
    json_dumpf(o, out, JSON_COMPACT | JSON_REAL_PRECISION(6));
    fputc('\n', out);
    json_decref(o);
    return true;
}
