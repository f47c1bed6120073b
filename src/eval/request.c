#include "eval/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGES = 4 };

static void add_line(struct eval_text *out, const struct eval_text *line)
{
    if (line->n) eval_text_print(out, "%s\n", line->s);
}

/* The sample without a template: line after line. */
static void write_plain(const struct eval_sample *s, struct eval_text *out)
{
    const struct eval_text *const lines[] = {&s->system, &s->context, &s->earlier, &s->earlier_answer, &s->question};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) add_line(out, lines[i]);
}

/* in_user: the system message goes into the user's. */
static fkv_status format(const fkv_engine *engine, const struct eval_sample *s, bool in_user, char **text, size_t *n,
                         char *err)
{
    struct fkv_message messages[MESSAGES];
    struct eval_text first = {0};
    int count = 0;
    if (in_user) add_line(&first, &s->system);
    eval_text_print(&first, "%s\n%s", s->context.s, s->earlier.n ? s->earlier.s : s->question.s);
    if (first.failed) {
        free(first.s);
        snprintf(err, FKV_ERROR_BYTES, "out of memory for a prompt");
        return FKV_ERROR_MEMORY;
    }
    if (s->system.n && !in_user) messages[count++] = (struct fkv_message){"system", s->system.s};
    messages[count++] = (struct fkv_message){"user", first.s};
    if (s->earlier.n) {
        messages[count++] = (struct fkv_message){"assistant", s->earlier_answer.s};
        messages[count++] = (struct fkv_message){"user", s->question.s};
    }
    const fkv_status status = fkv_chat_format(engine, NULL, messages, (size_t)count, true, NULL, text, n, err);
    free(first.s);
    return status;
}

fkv_status eval_request_text(const fkv_engine *engine, const struct eval_sample *sample, char **text, size_t *n,
                             char *err)
{
    if (fkv_chat_template(engine)) {
        const fkv_status status = format(engine, sample, false, text, n, err);
        return status == FKV_OK || !sample->system.n ? status : format(engine, sample, true, text, n, err);
    }
    struct eval_text plain = {0};
    write_plain(sample, &plain);
    *text = plain.s;
    *n = plain.n;
    if (!plain.failed) return FKV_OK;
    free(plain.s);
    snprintf(err, FKV_ERROR_BYTES, "out of memory for a prompt");
    return FKV_ERROR_MEMORY;
}

/* The last place of `what` in text[.. end); NULL if there is none. */
static const char *last_of(const char *text, const char *end, const char *what)
{
    const char *found = NULL;
    for (const char *s = text; (s = strstr(s, what)) && s < end; s++) found = s;
    return found;
}

/* How many ids of the prompt come before the question, or an earlier answer: those that the text up to there gives on
   its own, too. */
static fkv_status count_context(const fkv_engine *engine, const char *text, const struct eval_sample *sample,
                                unsigned flags, struct eval_request *r, char *err)
{
    const char *start = last_of(text, text + strlen(text), sample->question.s);
    int32_t *ids;
    size_t n;
    if (start && sample->earlier.n) start = last_of(text, start, sample->earlier_answer.s);
    if (!start && sample->earlier.n) {
        snprintf(err, FKV_ERROR_BYTES, "chat template: expected an earlier answer as it was given, found it changed");
        return FKV_ERROR_UNSUPPORTED;
    }
    if (!start) start = text; /* a template that changes the text: all of it counts as the question */
    const fkv_status status = fkv_tokenize(engine, text, (size_t)(start - text), flags, &ids, &n, err);
    if (status != FKV_OK) return status;
    while (r->n_context < n && r->n_context < r->n && ids[r->n_context] == r->ids[r->n_context]) r->n_context++;
    fkv_free(ids);
    return FKV_OK;
}

fkv_status eval_request_make(const fkv_engine *engine, const struct eval_sample *sample, struct eval_request *request,
                             char *err)
{
    struct eval_request r = {.later = sample->earlier.n > 0, .marks = FKV_MARKS_INIT};
    char *text = NULL;
    size_t n = 0;
    unsigned flags = FKV_TOKENIZE_PARSE_SPECIAL;
    if (!fkv_chat_template(engine)) flags |= FKV_TOKENIZE_ADD_SPECIAL;
    fkv_status status = eval_request_text(engine, sample, &text, &n, err);
    if (status == FKV_OK) status = fkv_tokenize(engine, text, n, flags, &r.ids, &r.n, err);
    if (status == FKV_OK) status = count_context(engine, text, sample, flags, &r, err);
    if (status == FKV_OK)
        status = fkv_tokenize(engine, sample->prefix.s, sample->prefix.n, 0, &r.prefix, &r.n_prefix, err);
    if (status == FKV_OK)
        status = fkv_tokenize(engine, sample->answer.s, sample->answer.n, 0, &r.answer, &r.n_answer, err);
    fkv_free(text);
    if (status == FKV_OK)
        *request = r;
    else
        eval_request_release(&r);
    return status;
}

void eval_request_release(struct eval_request *request)
{
    fkv_free(request->ids);
    fkv_free(request->prefix);
    fkv_free(request->answer);
    *request = (struct eval_request){0};
}

size_t eval_request_measure(void *user, const struct eval_task *task, const struct eval_sample *sample)
{
    struct eval_meter *meter = user;
    struct eval_request r;
    if (eval_request_make(meter->engine, sample, &r, meter->err) != FKV_OK) return 0;
    const size_t n = r.n + r.n_prefix + (size_t)task->n_predict;
    eval_request_release(&r);
    return n;
}
