/* RULER, frequent words extraction: coded words whose counts follow a zeta distribution with exponent 2; the first rank
   is dots, the next three are asked for. */
#include <stdlib.h>

#include "eval/task.h"

enum { ASKED = 3, RANKS = 2000, LETTERS = 6 };
static const double zeta_2 = 1.6449340668482264; /* pi^2 / 6 */

/* A word for each rank, the first being dots; *names: [RANKS][LETTERS + 1]. */
static void make_words(struct eval_maker *m, char (*names)[LETTERS + 1])
{
    for (int rank = 0; rank < RANKS; rank++) {
        for (int i = 0; i < LETTERS; i++) names[rank][i] = rank ? (char)('a' + eval_random_below(&m->random, 26)) : '.';
        names[rank][LETTERS] = '\0';
    }
}

/* How often a rank is among `units` words; those that are left over go to the last ranks, one each. */
static int count_of(int rank, int units) { return (int)(units / (zeta_2 * (rank + 1) * (rank + 1)) + 0.5); }

static void write_words(struct eval_maker *m, char (*names)[LETTERS + 1], int units, struct eval_sample *s)
{
    int *order = malloc((size_t)units * 2 * sizeof *order), *rank_of = order + units, n = 0;
    if (!order) {
        s->context.failed = true;
        return;
    }
    for (int rank = 0; n < units; rank++) {
        const int count = rank < RANKS ? count_of(rank, units) : 1;
        for (int i = 0; i < (count ? count : 1) && n < units; i++) rank_of[n++] = rank % RANKS;
    }
    eval_random_order(&m->random, order, units);
    for (int i = 0; i < units; i++) eval_text_print(&s->context, "%s%s", i ? " " : "", names[rank_of[order[i]]]);
    free(order);
}

static void make(struct eval_maker *m, int units, struct eval_sample *s)
{
    char(*names)[LETTERS + 1] = malloc((size_t)RANKS * sizeof *names);
    if (!names) {
        s->context.failed = true;
        return;
    }
    make_words(m, names);
    eval_text_print(&s->context, "Read the following coded text and track the frequency of each coded word. Find the "
                                 "three most frequently appeared coded words.\n");
    s->n_instruction = s->context.n;
    for (int i = 1; i <= ASKED; i++) {
        eval_text_print(&s->reference[s->n_references++], "%s", names[i]);
        eval_text_print(&s->answer, "%s%s", i > 1 ? ", " : " ", names[i]);
    }
    write_words(m, names, units, s);
    eval_text_print(&s->question, "Question: Do not provide any explanation. Please ignore the dots '......'. What are "
                                  "the three most frequently appeared words in the above coded text?");
    eval_text_print(&s->prefix, "Answer: According to the coded text above, the three most frequently appeared words "
                                "are:");
    free(names);
}

const struct eval_task eval_task_fwe = {.name = "fwe",
                                        .about = "the three coded words that a text has most often",
                                        .scoring = EVAL_ALL,
                                        .n_predict = 64,
                                        .make = make};
