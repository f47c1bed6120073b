/* A fact of a place among documents, asked behind them; question_first and second_turn ask the same otherwise. */
#include "eval/cards.h"

static void make(struct eval_maker *maker, int units, struct eval_sample *sample)
{
    eval_cards_ask(EVAL_LAST, maker, units, sample);
}

const struct eval_task eval_task_question_last = {.name = "question_last",
                                                  .about = "a fact that is asked behind the documents",
                                                  .is_long = true,
                                                  .family = "question",
                                                  .scoring = EVAL_ANY,
                                                  .n_predict = 32,
                                                  .make = make};
