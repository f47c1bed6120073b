/* /completion: the native door, as llama.cpp's server has it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/retention.h"
#include "server/answer_json.h"
#include "server/json_in.h"
#include "server/native.h"
#include "server/prompts.h"
#include "server/server.h"

static bool read_native(struct request *r, struct api_error *error)
{
    int64_t n = 0;
    if (!json_get_int(r->body, "n_probs", 0, REQUEST_MOST_LOGPROBS, &n, error)) return false;
    r->want_logprobs = n > 0;
    r->n_logprobs = (int)n;
    if (r->n > 1) return api_fail_field(error, "n", "n: expected 1, found %d: send several prompts", r->n);
    return prompts_read(r, error);
}

/* ---- settings ---------------------------------------------------------------------------------- */

void put_sampling(struct json_out *j, const struct fkv_sampler_params *s)
{
    put_real(j, "temperature", (double)s->temperature);
    put_int(j, "top_k", s->top_k);
    put_real(j, "top_p", (double)s->top_p);
    put_real(j, "min_p", (double)s->min_p);
    put_real(j, "repeat_penalty", (double)s->repeat_penalty);
    put_int(j, "repeat_last_n", s->repeat_last_n);
    put_real(j, "presence_penalty", (double)s->presence_penalty);
    put_real(j, "frequency_penalty", (double)s->frequency_penalty);
}

/* A number, or one of the option's words. */
static void put_option(struct json_out *j, const char *name, const struct fkv_kv_option *option, double value)
{
    char word[RETENTION_NAME];
    if (option->kind == FKV_OPTION_WORD)
        put_string(j, name, retention_text(option, value, word));
    else
        put_real(j, name, value);
}

void put_retention(struct json_out *j, const struct fkv_kv_params *kv)
{
    struct fkv_kv_option option;
    char name[RETENTION_NAME];
    double value;
    put_string(j, "kv_policy", kv->policy);
    for (int i = 0; retention_name(i, name, &option); i++) {
        if (!fkv_kv_get(kv, name + 2, &value)) continue;
        for (char *c = name; *c; c++)
            if (*c == '-') *c = '_';
        put_option(j, name + 2, &option, value);
    }
}

static void put_settings(struct json_out *j, const struct branch *b)
{
    const struct request *r = b->request;
    out_key(j, "generation_settings");
    out_open(j, '{');
    put_int(j, "n_ctx", r->server->n_ctx);
    put_int(j, "n_predict", r->n_predict);
    put_int(j, "seed", r->seed);
    put_sampling(j, &r->sampler);
    put_bool(j, "ignore_eos", r->ignore_eos);
    put_bool(j, "stream", r->stream);
    put_bool(j, "cache_prompt", r->cache_prompt);
    put_int(j, "n_probs", r->n_logprobs);
    out_key(j, "stop");
    out_open(j, '[');
    for (int i = 0; i < r->stops.n; i++) out_string(j, r->stops.items[i]);
    out_close(j, ']');
    out_key(j, "logit_bias");
    out_open(j, '[');
    for (size_t i = 0; i < r->sampler.n_bias; i++) {
        out_open(j, '[');
        out_int(j, r->bias[i].id);
        if (isinf(r->bias[i].bias))
            out_bool(j, false);
        else
            out_real(j, (double)r->bias[i].bias);
        out_close(j, ']');
    }
    out_close(j, ']');
    put_retention(j, &r->kv);
    out_close(j, '}');
}

/* ---- answers ----------------------------------------------------------------------------------- */

static void put_probabilities(struct json_out *j, const struct branch *b, size_t from, size_t to)
{
    if (!b->request->want_logprobs) return;
    out_key(j, "completion_probabilities");
    out_open(j, '[');
    for (size_t i = from; i < to; i++) put_logprob(j, b, i, true);
    out_close(j, ']');
}

static void put_tokens(struct json_out *j, const struct branch *b, size_t from)
{
    out_key(j, "tokens");
    out_open(j, '[');
    for (size_t i = from; b->request->return_tokens && i < b->n_ids; i++) out_int(j, b->ids[i]);
    out_close(j, ']');
}

/* The end of an answer. from: bytes of text, and tokens, that were sent before. */
static void put_end(struct json_out *j, const struct branch *b, size_t from, size_t token)
{
    static const char *const types[] = {[FINISH_EOS] = "eos", [FINISH_LENGTH] = "limit", [FINISH_STOP] = "word"};
    const struct request *r = b->request;
    const struct prompt *p = &r->prompts[b->prompt];
    put_int(j, "index", b->index);
    out_key(j, "content");
    out_bytes(j, b->answer.n ? b->answer.text + from : "", b->answer.n - from);
    put_tokens(j, b, token);
    put_bool(j, "stop", true);
    put_string(j, "model", r->server->model_id);
    put_string(j, "stop_type", types[b->finish]);
    put_string(j, "stopping_word", b->finish == FINISH_STOP ? b->answer.stopped_by : "");
    put_bool(j, "truncated", b->cut);
    put_int(j, "tokens_predicted", (int64_t)b->n_ids);
    put_int(j, "tokens_evaluated", (int64_t)p->n);
    put_int(j, "tokens_cached", (int64_t)b->n_held);
    put_probabilities(j, b, b->n_logprobs_sent, logprobs_said(b, b->n_logprobs_sent));
    put_settings(j, b);
    put_timings(j, b);
    put_fastkv(j, b);
}

static void begin(struct request *r) { exchange_write(r->x, ": accepted\n\n", 12); }

static void progress(struct request *r, struct prompt *p, size_t processed, double ms)
{
    struct event e;
    event_begin(&e);
    put_string(&e.j, "content", "");
    put_bool(&e.j, "stop", false);
    put_progress(&e.j, p, processed, ms);
    event_send(&e, r);
}

static void delta(struct branch *b)
{
    struct request *r = b->request;
    struct event e;
    const size_t said = logprobs_said(b, b->n_logprobs_sent);
    if (b->answer.n == b->n_sent) return;
    event_begin(&e);
    put_int(&e.j, "index", b->index);
    out_key(&e.j, "content");
    out_bytes(&e.j, b->answer.text + b->n_sent, b->answer.n - b->n_sent);
    put_tokens(&e.j, b, b->n_ids_sent);
    put_bool(&e.j, "stop", false);
    put_int(&e.j, "tokens_predicted", (int64_t)b->n_ids);
    put_int(&e.j, "tokens_evaluated", (int64_t)r->prompts[b->prompt].n);
    put_probabilities(&e.j, b, b->n_logprobs_sent, said);
    if (r->timings_per_token) put_timings(&e.j, b);
    event_send(&e, r);
    b->n_sent = b->answer.n;
    b->n_ids_sent = b->n_ids;
    b->n_logprobs_sent = said;
}

static void finish(struct branch *b)
{
    struct event e;
    event_begin(&e);
    put_end(&e.j, b, b->n_sent, b->n_ids_sent);
    event_send(&e, b->request);
}

static void complete(struct request *r)
{
    struct eval_text text = {0};
    struct json_out j = {&text, false};
    if (r->stream) {
        exchange_end(r->x);
        return;
    }
    if (r->many) out_open(&j, '[');
    for (int i = 0; i < r->n_branches; i++) {
        out_open(&j, '{');
        put_end(&j, &r->branches[i], 0, 0);
        out_close(&j, '}');
    }
    if (r->many) out_close(&j, ']');
    exchange_answer_json(r->x, &text);
}

const struct dialect dialect_native = {"native", "cmpl-", read_native, begin, progress, delta, finish, complete};
