#include "eval/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

fkv_status eval_request_text(const fkv_engine *engine, const struct eval_sample *sample, char **text, size_t *n,
                             char *err)
{
    struct eval_text asked = {0};
    eval_text_print(&asked, "%s\n%s", sample->context.s, sample->question.s);
    if (asked.failed) {
        free(asked.s);
        snprintf(err, FKV_ERROR_BYTES, "out of memory for a prompt");
        return FKV_ERROR_MEMORY;
    }
    if (!fkv_chat_template(engine)) {
        eval_text_print(&asked, "\n");
        *text = asked.s;
        *n = asked.n;
        return FKV_OK;
    }
    const struct fkv_message message = {"user", asked.s};
    const fkv_status status = fkv_chat_format(engine, NULL, &message, 1, true, NULL, text, n, err);
    free(asked.s);
    return status;
}

/* How many ids of the prompt come before the question: those that the text up to there gives on its own, too. */
static fkv_status count_context(const fkv_engine *engine, const char *text, const struct eval_sample *sample,
                                unsigned flags, struct eval_request *r, char *err)
{
    const char *question = NULL;
    int32_t *ids;
    size_t n;
    for (const char *s = text; (s = strstr(s, sample->question.s)); s++) question = s;
    if (!question) question = text; /* a template that changes the text: all of it counts as the question */
    const fkv_status status = fkv_tokenize(engine, text, (size_t)(question - text), flags, &ids, &n, err);
    if (status != FKV_OK) return status;
    while (r->n_context < n && r->n_context < r->n && ids[r->n_context] == r->ids[r->n_context]) r->n_context++;
    fkv_free(ids);
    return FKV_OK;
}

fkv_status eval_request_make(const fkv_engine *engine, const struct eval_sample *sample, struct eval_request *request,
                             char *err)
{
    struct eval_request r = {0};
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
