/* score.h: how right an answer is, exactly. */
#ifndef FKV_EVAL_SCORE_H
#define FKV_EVAL_SCORE_H

#include "eval/task.h"

/* In [0, 1]. Answer and references are compared without case (of ASCII), with control characters taken for spaces and
   none at the ends: an answer that contains a reference has it.
   EVAL_LINE: 1 - Levenshtein distance / length of the longer, in bytes, of the reference and the answer's first line
   that is neither empty nor a comment nor a fence, without blanks at their ends.
   EVAL_RULES: no empty answer obeys any. "begins WORD", "ends WORD": first and last word, case and punctuation aside;
   "lines N": so many lines are not empty; "lower-case": no capital letter; "no-comma". */
double eval_score(const struct eval_task *task, const struct eval_sample *sample, const char *answer);
/* The same for whole words only, case and all: a copy that goes on, as "71234567" for "1234567" does, is wrong. Of
   lines: 1 if they are the same; of rules: 1 if all are obeyed. */
double eval_score_strict(const struct eval_task *task, const struct eval_sample *sample, const char *answer);

#endif
