/* cards.h: documents about places, people and books that are nowhere else: no model can know them, so every right
   answer was read. For questions of one hop (a fact of a named place) and of two (a fact of the place that the author
   of a named book founded). */
#ifndef FKV_EVAL_CARDS_H
#define FKV_EVAL_CARDS_H

#include "eval/task.h"

/* hops: 1 or 2. A unit is a document. */
void eval_cards_make(int hops, struct eval_maker *maker, int units, struct eval_sample *sample);

/* One hop, of two cards that are asked about: the one that counts behind the documents or before them, or behind them
   in a later turn, when the other one was asked about and answered. */
enum eval_place { EVAL_LAST, EVAL_FIRST, EVAL_SECOND_TURN };
void eval_cards_ask(enum eval_place place, struct eval_maker *maker, int units, struct eval_sample *sample);

/* One hop, about a card that is not there: right is any answer that says so. */
void eval_cards_ask_in_vain(struct eval_maker *maker, int units, struct eval_sample *sample);

#endif
