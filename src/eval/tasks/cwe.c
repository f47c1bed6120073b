/* RULER, common words extraction: a numbered list of words, ten of which come up far more often. */
#include <stdlib.h>

#include "eval/task.h"

enum { COMMON = 10, LONG = 4096 }; /* words; tokens from which on there is room for the large counts */

/* The i-th word in a random order of all: nouns and adjectives alone, then one of each joined. */
static void print_word(const struct eval_sources *sources, const int *order, int i, struct eval_text *out)
{
    const int nouns = sources->nouns.n, all = nouns + sources->adjectives.n, word = order[i % all];
    if (i >= all) eval_text_print(out, "%s", sources->adjectives.items[order[i / all] % sources->adjectives.n]);
    eval_text_print(out, "%s", word < nouns ? sources->nouns.items[word] : sources->adjectives.items[word - nouns]);
}

static void write_list(struct eval_maker *m, const int *words, int units, struct eval_sample *s)
{
    const int often = m->length < LONG ? 6 : 30, seldom = m->length < LONG ? 1 : 3;
    const int n = COMMON * often + units * seldom;
    int *order = malloc((size_t)n * sizeof *order);
    if (!order) {
        s->context.failed = true;
        return;
    }
    eval_random_order(&m->random, order, n);
    for (int i = 0; i < n; i++) {
        const int place = order[i];
        eval_text_print(&s->context, "%s%d. ", i ? " " : "", i + 1);
        print_word(m->sources, words,
                   place < COMMON * often ? place / often : COMMON + (place - COMMON * often) / seldom, &s->context);
    }
    free(order);
}

static void make(struct eval_maker *m, int units, struct eval_sample *s)
{
    const int all = m->sources->nouns.n + m->sources->adjectives.n;
    int *words = malloc((size_t)all * sizeof *words);
    if (!words) {
        s->context.failed = true;
        return;
    }
    eval_random_order(&m->random, words, all);
    eval_text_print(&s->context,
                    "Below is a numbered list of words. In these words, some appear more often than others. "
                    "Memorize the ones that appear most often.\n");
    s->n_instruction = s->context.n;
    for (int i = 0; i < COMMON; i++) {
        print_word(m->sources, words, i, &s->reference[s->n_references++]);
        eval_text_print(&s->answer, " %d. %s", i + 1, s->reference[i].s ? s->reference[i].s : "");
    }
    write_list(m, words, units, s);
    eval_text_print(&s->question, "Question: What are the %d most common words in the above list?", COMMON);
    eval_text_print(&s->prefix, "Answer: The top %d words that appear most often in the list are:", COMMON);
    free(words);
}

const struct eval_task eval_task_cwe = {.name = "cwe",
                                        .about = "the ten words that a list has most often",
                                        .scoring = EVAL_ALL,
                                        .n_predict = 120,
                                        .make = make};
