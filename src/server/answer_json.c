#include "server/answer_json.h"

#include <stdlib.h>
#include <string.h>

#include "server/messages.h"
#include "server/server.h"

struct usage usage_of(const struct request *r)
{
    struct usage u = {0};
    for (int i = 0; i < r->n_prompts; i++) {
        u.prompt += r->prompts[i].n;
        u.cached += r->prompts[i].n_cached;
    }
    for (int i = 0; i < r->n_branches; i++) u.completion += r->branches[i].n_ids;
    return u;
}

void put_usage(struct json_out *j, const struct request *r)
{
    const struct usage u = usage_of(r);
    out_key(j, "usage");
    out_open(j, '{');
    put_int(j, "prompt_tokens", (int64_t)u.prompt);
    put_int(j, "completion_tokens", (int64_t)u.completion);
    put_int(j, "total_tokens", (int64_t)(u.prompt + u.completion));
    out_key(j, "prompt_tokens_details");
    out_open(j, '{');
    put_int(j, "cached_tokens", (int64_t)u.cached);
    out_close(j, '}');
    out_key(j, "completion_tokens_details");
    out_open(j, '{');
    put_int(j, "reasoning_tokens", 0);
    out_close(j, '}');
    out_close(j, '}');
}

static void put_speed(struct json_out *j, const char *names[4], size_t n, double ms)
{
    put_int(j, names[0], (int64_t)n);
    put_real(j, names[1], ms);
    put_real(j, names[2], n ? ms / (double)n : 0);
    put_real(j, names[3], ms > 0 ? 1e3 * (double)n / ms : 0);
}

void put_timings(struct json_out *j, const struct branch *b)
{
    static const char *prompt[] = {"prompt_n", "prompt_ms", "prompt_per_token_ms", "prompt_per_second"},
                      *predicted[] = {"predicted_n", "predicted_ms", "predicted_per_token_ms", "predicted_per_second"};
    const struct prompt *p = &b->request->prompts[b->prompt];
    out_key(j, "timings");
    out_open(j, '{');
    put_int(j, "cache_n", (int64_t)p->n_cached);
    put_speed(j, prompt, p->n - p->n_cached, p->ms);
    put_speed(j, predicted, b->n_ids, 1e3 * (b->last_s - b->first_s));
    out_close(j, '}');
}

/* What the policy found by decoding the last token again, and how much it then kept. */
static void put_checks(struct json_out *j, const struct fkv_signals *s)
{
    out_key(j, "self_check");
    if (!s->n_checks) {
        out_null(j);
        return;
    }
    out_open(j, '{');
    out_key(j, "kl");
    out_open(j, '[');
    for (int i = 0; i < s->n_checks; i++) out_real(j, s->check[i]);
    out_close(j, ']');
    put_int(j, "times", s->times);
    put_bool(j, "alike", s->alike);
    out_close(j, '}');
}

static void put_kept(struct json_out *j, const struct prompt *p)
{
    const struct kept_report *k = &p->kept;
    out_key(j, "propagated");
    if (k->n_propagated < 0) {
        out_null(j);
    } else {
        out_open(j, '{');
        put_int(j, "layer", k->tsp_layer);
        put_int(j, "tokens", k->n_propagated);
        out_close(j, '}');
    }
    out_key(j, "kept");
    out_open(j, '{');
    put_int(j, "min", (int64_t)k->min);
    put_real(j, "mean", k->mean);
    put_int(j, "max", (int64_t)k->max);
    out_close(j, '}');
    put_checks(j, &k->signals);
    put_int(j, "kv_bytes", (int64_t)k->bytes);
    put_int(j, "kv_full_bytes", (int64_t)k->full_bytes);
}

static void put_cache(struct json_out *j, const struct prompt *p, const fkv_engine *engine)
{
    static const char *const sources[] =
        {[FKV_PREFIX_NONE] = "none", [FKV_PREFIX_RAM] = "ram", [FKV_PREFIX_DISK] = "disk"};
    const struct fkv_prefix_found *f = &p->found;
    const bool missed = f->miss != FKV_PREFIX_HIT;
    out_key(j, "cache");
    out_open(j, '{');
    put_string(j, "source", p->adopted ? "parked" : sources[f->source]);
    put_int(j, "tokens", (int64_t)p->n_cached);
    put_string(j, "miss", missed ? fkv_prefix_miss_name(f->miss) : NULL);
    out_key(j, "differs_at");
    if (missed && f->differs_at) {
        const size_t message = messages_at(engine, p, f->differs_at);
        out_open(j, '{');
        put_int(j, "token", (int64_t)f->differs_at);
        if (p->n_messages) put_int(j, "message", (int64_t)message);
        if (p->n_messages) put_string(j, "role", p->messages[message].role);
        out_close(j, '}');
    } else {
        out_null(j);
    }
    out_close(j, '}');
}

void put_fastkv(struct json_out *j, const struct branch *b)
{
    const struct request *r = b->request;
    const struct prompt *p = &r->prompts[b->prompt];
    out_key(j, "fastkv");
    out_open(j, '{');
    put_string(j, "policy", r->kv.policy);
    put_bool(j, "compressed", p->kept.compressed);
    put_string(j, "reason", p->reason ? p->reason : r->reason);
    out_key(j, "turn");
    out_open(j, '{');
    put_int(j, "first", (int64_t)p->n_cached);
    put_int(j, "tokens", (int64_t)(p->n - p->n_cached));
    out_close(j, '}');
    put_kept(j, p);
    put_cache(j, p, r->server->engine);
    put_real(j, "queue_ms", 1e3 * (r->begun_s - r->queued_s));
    put_int(j, "seed", r->seed + b->index % r->n);
    if (p->map.n) {
        out_key(j, "map");
        eval_text_add(j->text, p->map.s, p->map.n);
        j->text->failed |= p->map.failed;
        j->comma = true;
    }
    out_close(j, '}');
}

void put_progress(struct json_out *j, const struct prompt *p, size_t processed, double ms)
{
    out_key(j, "prompt_progress");
    out_open(j, '{');
    put_int(j, "total", (int64_t)p->n);
    put_int(j, "cache", (int64_t)p->n_kept_before);
    put_int(j, "processed", (int64_t)processed);
    put_real(j, "time_ms", ms);
    out_close(j, '}');
}

size_t logprobs_said(const struct branch *b, size_t from)
{
    while (from < b->n_ids && b->logprobs && b->logprobs[from].start < b->answer.n) from++;
    return from;
}

static void put_chance(struct json_out *j, const struct branch *b, const struct token_chance *c, bool with_id)
{
    const char *bytes;
    const size_t n = fkv_token_bytes(b->request->server->engine, c->id, true, &bytes);
    if (with_id) put_int(j, "id", c->id);
    out_key(j, "token");
    out_bytes(j, bytes, n);
    out_key(j, "bytes");
    out_byte_array(j, bytes, n);
    put_real(j, "logprob", (double)c->logprob);
}

void put_logprob(struct json_out *j, const struct branch *b, size_t token, bool with_id)
{
    const struct logprob *l = &b->logprobs[token];
    out_open(j, '{');
    put_chance(j, b, &l->chosen, with_id);
    out_key(j, "top_logprobs");
    out_open(j, '[');
    for (int i = 0; i < l->n_top; i++) {
        out_open(j, '{');
        put_chance(j, b, &l->top[i], with_id);
        out_close(j, '}');
    }
    out_close(j, ']');
    out_close(j, '}');
}

void put_head(struct json_out *j, const struct request *r, const char *object)
{
    put_string(j, "id", r->id);
    put_string(j, "object", object);
    put_int(j, "created", r->created);
    put_string(j, "model", r->server->model_id);
    put_string(j, "system_fingerprint", r->server->fingerprint);
}

void answer_whole(const struct request *r, const char *object,
                  void (*put_choice)(struct json_out *j, const struct branch *b))
{
    struct eval_text text = {0};
    struct json_out j = {&text, false};
    out_open(&j, '{');
    put_head(&j, r, object);
    out_key(&j, "choices");
    out_open(&j, '[');
    for (int i = 0; i < r->n_branches; i++) put_choice(&j, &r->branches[i]);
    out_close(&j, ']');
    put_usage(&j, r);
    put_timings(&j, &r->branches[0]);
    put_fastkv(&j, &r->branches[0]);
    out_close(&j, '}');
    exchange_answer_json(r->x, &text);
}

void event_begin(struct event *e)
{
    *e = (struct event){0};
    e->j.text = &e->text;
    eval_text_add(&e->text, "data: ", 6);
    out_open(&e->j, '{');
}

void event_send(struct event *e, const struct request *r)
{
    out_close(&e->j, '}');
    eval_text_add(&e->text, "\n\n", 2);
    if (!e->text.failed) exchange_write(r->x, e->text.s, e->text.n);
    free(e->text.s);
}

void stream_done(const struct request *r)
{
    exchange_write(r->x, "data: [DONE]\n\n", 14);
    exchange_end(r->x);
}
