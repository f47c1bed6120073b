/* score.h: how right an answer is, exactly. */
#ifndef FKV_EVAL_SCORE_H
#define FKV_EVAL_SCORE_H

#include "eval/task.h"

/* In [0, 1]. Answer and references are compared without case (of ASCII), with control characters taken for spaces and
   none at the ends: an answer that contains a reference has it. */
double eval_score(const struct eval_task *task, const struct eval_sample *sample, const char *answer);
/* The same for whole words only, case and all: a copy that goes on, as "71234567" for "1234567" does, is wrong. */
double eval_score_strict(const struct eval_task *task, const struct eval_sample *sample, const char *answer);

#endif
