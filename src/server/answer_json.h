/* answer_json.h: the parts of answers that several doors write alike. */
#ifndef FKV_SERVER_ANSWER_JSON_H
#define FKV_SERVER_ANSWER_JSON_H

#include "server/json_out.h"
#include "server/request.h"

/* Tokens of all prompts and branches. */
struct usage {
    size_t prompt, cached, completion;
};
struct usage usage_of(const struct request *r);
/* "usage": {...} */
void put_usage(struct json_out *j, const struct request *r);
/* "timings": {...} of a branch so far. */
void put_timings(struct json_out *j, const struct branch *b);
/* "fastkv": {...}, the report of the branch's prompt. */
void put_fastkv(struct json_out *j, const struct branch *b);
/* "prompt_progress": {...} */
void put_progress(struct json_out *j, const struct prompt *p, size_t processed, double ms);

/* Tokens of the branch whose text is part of what was said; `from` is where to begin. */
size_t logprobs_said(const struct branch *b, size_t from);
/* One element of "content" or "completion_probabilities": token, bytes, logprob, and of native its id. */
void put_logprob(struct json_out *j, const struct branch *b, size_t token, bool with_id);

/* The members of every chunk and answer: id, object, created, model, system_fingerprint. */
void put_head(struct json_out *j, const struct request *r, const char *object);

/* The answer of a request that does not stream: head, "choices" as put_choice writes them, usage, timings, "fastkv". */
void answer_whole(const struct request *r, const char *object,
                  void (*put_choice)(struct json_out *j, const struct branch *b));

/* Text to write an event into, and its end, which sends it. */
struct event {
    struct eval_text text;
    struct json_out j;
};
void event_begin(struct event *e);
void event_send(struct event *e, const struct request *r);
/* [DONE], and nothing more. */
void stream_done(const struct request *r);

#endif
