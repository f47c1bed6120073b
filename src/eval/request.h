/* request.h: a sample as token ids: the prompt by the model's chat template, the beginning of the answer, and the
   right answer. */
#ifndef FKV_EVAL_REQUEST_H
#define FKV_EVAL_REQUEST_H

#include "eval/task.h"
#include "fastkv.h"

/* Arrays are freed by eval_request_release(). */
struct eval_request {
    int32_t *ids; /* [n] the prompt */
    size_t n;
    size_t n_context;       /* ids before the question; with an earlier turn, those before that turn's answer */
    bool later;             /* the ids behind n_context come as a later turn, whatever else is asked for */
    struct fkv_marks marks; /* what the ids are: of eval_request_make() FKV_MARKS_INIT, for the caller to say more */
    int32_t *prefix;        /* [n_prefix] what the answer begins with: after the prompt, and not compressed with it */
    size_t n_prefix;
    int32_t *answer; /* [n_answer] the right answer, after the prefix */
    size_t n_answer;
};

/* The system message, if there is one, an earlier turn, if there is one, and a user message of context and question, by
   the model's template; without a template the text as it stands. A template that takes no system message has it at the
   head of the user's; one that changes an earlier answer cannot be used. err: FKV_ERROR_BYTES. */
fkv_status eval_request_make(const fkv_engine *engine, const struct eval_sample *sample, struct eval_request *request,
                             char *err);
void eval_request_release(struct eval_request *request);
/* The text of the prompt, to be shown: malloc'ed, freed with fkv_free(). */
fkv_status eval_request_text(const fkv_engine *engine, const struct eval_sample *sample, char **text, size_t *n,
                             char *err);

/* An eval_measure whose user is the struct below: prompt, prefix and the longest answer. */
struct eval_meter {
    const fkv_engine *engine;
    char err[FKV_ERROR_BYTES]; /* why it failed */
};
size_t eval_request_measure(void *meter, const struct eval_task *task, const struct eval_sample *sample);

#endif
