/* As RULER's qa_1, over generated cards in place of SQuAD. */
#include "eval/cards.h"

static void make(struct eval_maker *maker, int units, struct eval_sample *sample)
{
    eval_cards_make(1, maker, units, sample);
}

const struct eval_task eval_task_qa_1 = {.name = "qa_1",
                                         .about = "a fact of a named place among documents",
                                         .scoring = EVAL_ANY,
                                         .n_predict = 32,
                                         .make = make};
