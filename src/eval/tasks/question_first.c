/* What question_last asks, before the documents: their end says nothing of it. */
#include "eval/cards.h"

static void make(struct eval_maker *maker, int units, struct eval_sample *sample)
{
    eval_cards_ask(EVAL_FIRST, maker, units, sample);
}

const struct eval_task eval_task_question_first = {.name = "question_first",
                                                   .about = "a fact that is asked before the documents",
                                                   .is_long = true,
                                                   .family = "question",
                                                   .scoring = EVAL_ANY,
                                                   .n_predict = 32,
                                                   .make = make};
