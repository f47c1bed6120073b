/* What question_last asks, in a second turn: the documents were compressed for another question. */
#include "eval/cards.h"

static void make(struct eval_maker *maker, int units, struct eval_sample *sample)
{
    eval_cards_ask(EVAL_SECOND_TURN, maker, units, sample);
}

const struct eval_task eval_task_second_turn = {.name = "second_turn",
                                                .about =
                                                    "a fact that is asked when the documents were read for another one",
                                                .is_long = true,
                                                .family = "question",
                                                .scoring = EVAL_ANY,
                                                .n_predict = 32,
                                                .make = make};
