/* /v1/chat/completions. */
#include <stdlib.h>
#include <string.h>

#include "server/answer_json.h"
#include "server/json_in.h"
#include "server/messages.h"
#include "server/server.h"

static bool read_chat(struct request *r, struct api_error *error)
{
    int64_t top = 0;
    json_get_bool(r->body, "logprobs", &r->want_logprobs, error);
    if (!json_get_int(r->body, "top_logprobs", 0, REQUEST_MOST_LOGPROBS, &top, error)) return false;
    if (top && !r->want_logprobs) return api_fail_field(error, "top_logprobs", "top_logprobs: expected logprobs true");
    r->n_logprobs = (int)top;
    return messages_prompt(r, true, error);
}

/* ---- stream ------------------------------------------------------------------------------------ */

static void chunk_begin(struct event *e, const struct request *r)
{
    event_begin(e);
    put_head(&e->j, r, "chat.completion.chunk");
}

static void chunk_send(struct event *e, const struct request *r)
{
    if (r->include_usage) {
        out_key(&e->j, "usage");
        out_null(&e->j);
    }
    event_send(e, r);
}

/* "choices": [{index, delta: ... as far as its brace */
static void choice_begin(struct json_out *j, int index)
{
    out_key(j, "choices");
    out_open(j, '[');
    out_open(j, '{');
    put_int(j, "index", index);
    out_key(j, "delta");
    out_open(j, '{');
}

static void choice_end(struct json_out *j, const char *finish_reason)
{
    put_string(j, "finish_reason", finish_reason);
    out_close(j, '}');
    out_close(j, ']');
}

static void begin(struct request *r)
{
    for (int i = 0; i < r->n_branches; i++) {
        struct event e;
        chunk_begin(&e, r);
        choice_begin(&e.j, i);
        put_string(&e.j, "role", "assistant");
        put_string(&e.j, "content", "");
        out_close(&e.j, '}');
        choice_end(&e.j, NULL);
        chunk_send(&e, r);
    }
}

static void progress(struct request *r, struct prompt *p, size_t processed, double ms)
{
    struct event e;
    chunk_begin(&e, r);
    out_key(&e.j, "choices");
    out_open(&e.j, '[');
    out_close(&e.j, ']');
    put_progress(&e.j, p, processed, ms);
    chunk_send(&e, r);
}

/* "logprobs": of tokens [from, to). */
static void put_logprobs(struct json_out *j, const struct branch *b, size_t from, size_t to)
{
    out_key(j, "logprobs");
    if (!b->request->want_logprobs) {
        out_null(j);
        return;
    }
    out_open(j, '{');
    out_key(j, "content");
    out_open(j, '[');
    for (size_t i = from; i < to; i++) put_logprob(j, b, i, false);
    out_close(j, ']');
    out_close(j, '}');
}

static void delta(struct branch *b)
{
    struct request *r = b->request;
    const size_t said = logprobs_said(b, b->n_logprobs_sent);
    struct event e;
    if (b->answer.n == b->n_sent) return;
    chunk_begin(&e, r);
    choice_begin(&e.j, b->index);
    out_key(&e.j, "content");
    out_bytes(&e.j, b->answer.text + b->n_sent, b->answer.n - b->n_sent);
    out_close(&e.j, '}');
    put_logprobs(&e.j, b, b->n_logprobs_sent, said);
    choice_end(&e.j, NULL);
    if (r->timings_per_token) put_timings(&e.j, b);
    chunk_send(&e, r);
    b->n_sent = b->answer.n;
    b->n_logprobs_sent = said;
}

static void finish(struct branch *b)
{
    struct event e;
    delta(b);
    chunk_begin(&e, b->request);
    choice_begin(&e.j, b->index);
    out_close(&e.j, '}');
    choice_end(&e.j, finish_name(b->finish));
    put_timings(&e.j, b);
    put_fastkv(&e.j, b);
    chunk_send(&e, b->request);
}

static void end_stream(struct request *r)
{
    struct event e;
    if (r->include_usage) {
        chunk_begin(&e, r);
        out_key(&e.j, "choices");
        out_open(&e.j, '[');
        out_close(&e.j, ']');
        put_usage(&e.j, r);
        event_send(&e, r);
    }
    stream_done(r);
}

/* ---- a whole answer ---------------------------------------------------------------------------- */

static void put_choice(struct json_out *j, const struct branch *b)
{
    out_open(j, '{');
    put_int(j, "index", b->index);
    out_key(j, "message");
    out_open(j, '{');
    put_string(j, "role", "assistant");
    out_key(j, "content");
    out_bytes(j, b->answer.n ? b->answer.text : "", b->answer.n);
    out_close(j, '}');
    put_logprobs(j, b, 0, logprobs_said(b, 0));
    put_string(j, "finish_reason", finish_name(b->finish));
    out_close(j, '}');
}

static void complete(struct request *r)
{
    if (r->stream)
        end_stream(r);
    else
        answer_whole(r, "chat.completion", put_choice);
}

const struct dialect dialect_chat = {"chat", "chatcmpl-", read_chat, begin, progress, delta, finish, complete};
