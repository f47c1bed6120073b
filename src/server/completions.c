/* /v1/completions. */
#include <stdlib.h>
#include <string.h>

#include "server/answer_json.h"
#include "server/json_in.h"
#include "server/prompts.h"
#include "server/server.h"

enum { USUAL_TOKENS = 16 }; /* of an answer, where the protocol's client says nothing */

static bool read_completions(struct request *r, struct api_error *error)
{
    int64_t n = -1;
    const json_t *logprobs = json_field(r->body, "logprobs");
    if (json_is_boolean(logprobs)) /* as in the chat protocol: some clients send it */
        n = json_is_true(logprobs) ? 0 : -1;
    else if (!json_get_int(r->body, "logprobs", 0, REQUEST_MOST_LOGPROBS, &n, error))
        return false;
    r->want_logprobs = n >= 0;
    r->n_logprobs = n > 0 ? (int)n : 0;
    if (!json_field(r->body, "max_tokens") && !json_field(r->body, "max_completion_tokens") &&
        !json_field(r->body, "n_predict"))
        r->n_predict = USUAL_TOKENS;
    return prompts_read(r, error);
}

static const char *token_text(const struct branch *b, int32_t id, size_t *n)
{
    const char *bytes;
    *n = fkv_token_bytes(b->request->server->engine, id, true, &bytes);
    return bytes;
}

/* {"text": logprob, ...}; of two tokens of one spelling, the likelier. */
static void put_top(struct json_out *j, const struct branch *b, const struct logprob *l)
{
    out_open(j, '{');
    for (int i = 0; i < l->n_top; i++) {
        size_t n, n_before;
        const char *text = token_text(b, l->top[i].id, &n);
        bool twice = false;
        for (int k = 0; k < i; k++) {
            const char *before = token_text(b, l->top[k].id, &n_before);
            twice = twice || (n == n_before && !memcmp(text, before, n));
        }
        if (twice) continue;
        out_bytes(j, text, n);
        eval_text_add(j->text, ":", 1);
        j->comma = false;
        out_real(j, (double)l->top[i].logprob);
    }
    out_close(j, '}');
}

static void put_logprobs(struct json_out *j, const struct branch *b, size_t from, size_t to)
{
    out_key(j, "logprobs");
    if (!b->request->want_logprobs) {
        out_null(j);
        return;
    }
    out_open(j, '{');
    out_key(j, "tokens");
    out_open(j, '[');
    for (size_t i = from, n; i < to; i++) {
        const char *text = token_text(b, b->logprobs[i].chosen.id, &n);
        out_bytes(j, text, n);
    }
    out_close(j, ']');
    out_key(j, "token_logprobs");
    out_open(j, '[');
    for (size_t i = from; i < to; i++) out_real(j, (double)b->logprobs[i].chosen.logprob);
    out_close(j, ']');
    out_key(j, "top_logprobs");
    out_open(j, '[');
    for (size_t i = from; i < to; i++) put_top(j, b, &b->logprobs[i]);
    out_close(j, ']');
    out_key(j, "text_offset");
    out_open(j, '[');
    for (size_t i = from; i < to; i++) out_int(j, (int64_t)b->logprobs[i].start);
    out_close(j, ']');
    out_close(j, '}');
}

static void put_choice(struct json_out *j, const struct branch *b, size_t from, size_t first_token, size_t end_token,
                       const char *finish_reason)
{
    out_open(j, '{');
    out_key(j, "text");
    out_bytes(j, b->answer.n ? b->answer.text + from : "", b->answer.n - from);
    put_int(j, "index", b->index);
    put_logprobs(j, b, first_token, end_token);
    put_string(j, "finish_reason", finish_reason);
    out_close(j, '}');
}

static void chunk_begin(struct event *e, const struct request *r)
{
    event_begin(e);
    put_head(&e->j, r, "text_completion");
    out_key(&e->j, "choices");
    out_open(&e->j, '[');
}

static void chunk_send(struct event *e, const struct request *r)
{
    if (r->include_usage) {
        out_key(&e->j, "usage");
        out_null(&e->j);
    }
    event_send(e, r);
}

static void send_text(struct branch *b, const char *finish_reason)
{
    struct request *r = b->request;
    struct event e;
    const size_t said = logprobs_said(b, b->n_logprobs_sent);
    chunk_begin(&e, r);
    put_choice(&e.j, b, b->n_sent, b->n_logprobs_sent, said, finish_reason);
    out_close(&e.j, ']');
    if (finish_reason || r->timings_per_token) put_timings(&e.j, b);
    if (finish_reason) put_fastkv(&e.j, b);
    chunk_send(&e, r);
    b->n_sent = b->answer.n;
    b->n_logprobs_sent = said;
}

static void begin(struct request *r) { exchange_write(r->x, ": accepted\n\n", 12); }

static void progress(struct request *r, struct prompt *p, size_t processed, double ms)
{
    struct event e;
    chunk_begin(&e, r);
    out_close(&e.j, ']');
    put_progress(&e.j, p, processed, ms);
    chunk_send(&e, r);
}

static void delta(struct branch *b)
{
    if (b->answer.n > b->n_sent) send_text(b, NULL);
}

static void finish(struct branch *b) { send_text(b, finish_name(b->finish)); }

static void end_stream(struct request *r)
{
    struct event e;
    if (r->include_usage) {
        chunk_begin(&e, r);
        out_close(&e.j, ']');
        put_usage(&e.j, r);
        event_send(&e, r);
    }
    stream_done(r);
}

static void put_whole_choice(struct json_out *j, const struct branch *b)
{
    put_choice(j, b, 0, 0, logprobs_said(b, 0), finish_name(b->finish));
}

static void complete(struct request *r)
{
    if (r->stream)
        end_stream(r);
    else
        answer_whole(r, "text_completion", put_whole_choice);
}

const struct dialect dialect_completions = {"completions", "cmpl-", read_completions, begin,
                                            progress,      delta,   finish,           complete};
