/* As RULER's qa_2, over generated cards in place of HotpotQA. */
#include "eval/cards.h"

static void make(struct eval_maker *maker, int units, struct eval_sample *sample)
{
    eval_cards_make(2, maker, units, sample);
}

const struct eval_task eval_task_qa_2 = {.name = "qa_2",
                                         .about = "a fact of the place that an author founded",
                                         .scoring = EVAL_ANY,
                                         .n_predict = 32,
                                         .make = make};
