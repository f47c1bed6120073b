#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/logits.h"
#include "cli/console.h"
#include "cli/machine.h"
#include "cli/report.h"
#include "cli/retention.h"
#include "cli/trace.h"

enum { TOP = 64 };

/* ---- values ---------------------------------------------------------------------------------- */

/* JSON has no infinity: a text stands for it. */
static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_string(isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
}

/* Names in a file may be anything; JSON takes UTF-8 only. */
static json_t *text(const char *s)
{
    json_t *json = json_string(s);
    return json ? json : json_string("");
}

static json_t *id_list(const int32_t *ids, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_integer(ids[i]));
    return list;
}

/* Writes a value and lets go of it. */
static void value(FILE *f, json_t *json)
{
    json_dumpf(json, f, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    json_decref(json);
}

/* The same under a name; every member but the last is followed by the next. */
static void member(FILE *f, const char *name, json_t *json)
{
    fprintf(f, "\"%s\": ", name);
    value(f, json);
    fputs(",\n", f);
}

/* ---- after the prefill ----------------------------------------------------------------------- */

/* NULL: another policy's. */
static json_t *option_value(const struct fkv_kv_params *kv, const char *name, const struct fkv_kv_option *option)
{
    char text[RETENTION_NAME];
    double x;
    if (!fkv_kv_get(kv, name, &x)) return NULL;
    if (option->kind == FKV_OPTION_WORD) return json_string(retention_text(option, x, text));
    return option->kind == FKV_OPTION_COUNT && !option->policy ? json_integer((json_int_t)x) : json_real(x);
}

static json_t *policy(const fkv_session *session)
{
    static const char *const types[] = {"auto", "f32", "f16", "bf16", "q8_0"};
    struct fkv_session_params p = FKV_SESSION_PARAMS_INIT;
    struct fkv_kv_option option;
    char name[RETENTION_NAME];
    fkv_session_get_params(session, &p);
    json_t *json = json_pack("{s:s, s:s, s:s, s:i}", "name", p.kv.policy, "cache_type_k", types[p.k_type],
                             "cache_type_v", types[p.v_type], "ctx_size", p.n_ctx);
    for (int i = 0; retention_name(i, name, &option); i++) {
        json_t *x = option_value(&p.kv, name + 2, &option);
        for (char *c = name; *c && !option.policy; c++) *c = *c == '-' ? '_' : *c; /* kv_retain, but structkv-decay */
        if (x) json_object_set_new(json, name + 2, x);
    }
    return json;
}

/* What each of the last rows counted. */
static json_t *window(const fkv_session *session)
{
    const float *weight;
    const int n = fkv_session_window(session, &weight);
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_real(weight ? (double)weight[i] : 1));
    return list;
}

static json_t *propagated(const fkv_session *session)
{
    const int32_t *positions;
    int layer, n = fkv_session_propagated(session, &layer, &positions);
    if (n < 0) return json_null();
    return json_pack("{s:i, s:o}", "layer", layer, "positions", id_list(positions, (size_t)n));
}

static void write_kept(FILE *f, const fkv_session *session, const struct fkv_model_info *info)
{
    const int32_t *positions;
    fputs("\"kept\": [", f);
    for (int layer = 0; layer < info->n_layer; layer++) {
        fputs(layer ? ",\n[" : "[", f);
        for (int head = 0, n; (n = fkv_session_kept(session, layer, head, &positions)) >= 0; head++) {
            if (head) fputs(", ", f);
            value(f, id_list(positions, (size_t)n));
        }
        fputs("]", f);
    }
    fputs("],\n", f);
}

/* The TOP largest, falling; the lower id first on a tie. */
static json_t *logits_top(const float *logits, int n_vocab)
{
    int32_t top[TOP];
    int n = 0;
    for (int id = 0; id < n_vocab; id++) {
        if (n == TOP && !(logits[id] > logits[top[n - 1]])) continue;
        int at = n < TOP ? n++ : n - 1;
        for (; at && logits[id] > logits[top[at - 1]]; at--) top[at] = top[at - 1];
        top[at] = id;
    }
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_pack("[i, o]", top[i], number((double)logits[top[i]])));
    return list;
}

void trace_prefill(FILE *f, const struct generator *g, const int32_t *ids, size_t n)
{
    const struct fkv_model_info *info = fkv_engine_info(g->engine);
    const float *logits = fkv_session_logits(g->session);
    if (!f) return;
    fputs("{", f);
    member(f, "version", json_integer(1));
    member(f, "model",
           json_pack("{s:o, s:o, s:i, s:i}", "arch", text(info->arch), "name", text(info->name), "layers",
                     info->n_layer, "kv_heads", info->n_kv_head));
    member(f, "device", json_string(info->device));
    member(f, "isa", json_string(info->isa));
    member(f, "policy", policy(g->session));
    member(f, "prompt_ids", id_list(ids, n));
    member(f, "marked",
           json_pack("{s:I, s:I, s:I}", "question_first", (json_int_t)g->marks.question_first, "question",
                     (json_int_t)g->marks.question_n, "head", (json_int_t)g->marks.head_n));
    member(f, "window", window(g->session));
    member(f, "propagated", propagated(g->session));
    write_kept(f, g->session, info);
    member(f, "logits_top", logits_top(logits, info->n_vocab));
    member(f, "logsumexp", number(fkv_log_sum_exp(logits, info->n_vocab)));
}

/* ---- after the answer ------------------------------------------------------------------------ */

void trace_answer(FILE *f, const struct generator *g, const struct kept *kept, const struct generated *generated)
{
    struct fkv_session_stats stats;
    if (!f) return;
    fkv_session_get_stats(g->session, &stats);
    const struct work prompt = prompt_work(&(struct fkv_session_stats){0}, &kept->stats),
                      answer = answer_work(&kept->stats, &stats);
    member(f, "generated_ids", id_list(generated->ids, generated->n));
    member(f, "stop", json_string(stop_name(generated->stop)));
    member(f, "ms",
           json_pack("{s:f, s:f, s:f}", "load", 1e3 * g->load_s, "prefill", 1e3 * prompt.seconds, "decode",
                     1e3 * answer.seconds));
    member(f, "tokens_per_s",
           json_pack("{s:f, s:f}", "prefill", tokens_per_s(prompt.tokens, prompt.seconds), "decode",
                     tokens_per_s(answer.tokens, answer.seconds)));
    fputs("\"bytes\": ", f);
    value(f, json_pack("{s:I, s:I, s:I, s:I}", "weights", (json_int_t)fkv_engine_info(g->engine)->weight_bytes,
                       "kv_after_prefill", (json_int_t)kept->bytes, "kv_full", (json_int_t)kept->full_bytes, "peak_rss",
                       (json_int_t)machine_peak_rss()));
    fputs("}\n", f);
}
