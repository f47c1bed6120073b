/* A fact of a place that no document is about: does the model say so? */
#include "eval/cards.h"

static void make(struct eval_maker *maker, int units, struct eval_sample *sample)
{
    eval_cards_ask_in_vain(maker, units, sample);
}

const struct eval_task eval_task_unanswerable = {.name = "unanswerable",
                                                 .about = "a fact that no document has: refusals count",
                                                 .is_long = true,
                                                 .scoring = EVAL_ANY,
                                                 .n_predict = 32,
                                                 .make = make};
