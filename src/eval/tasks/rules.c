/* The system message has five rules for the answer, which say nothing of the text behind it: are they obeyed still? (As
   in studies of instructions that compression loses.) */
#include <stdlib.h>

#include "eval/haystack.h"

enum { RULES = 5 };

static const char *pick(struct eval_maker *m, const struct eval_list *list)
{
    return list->items[eval_random_below(&m->random, (size_t)list->n)];
}

/* The system message tells them in random order. */
static void write_rules(struct eval_maker *m, const char *first, const char *last, int lines, struct eval_sample *s)
{
    struct eval_text told[RULES] = {0};
    int order[RULES];
    eval_text_print(&told[0], "The first word of your answer is \"%s\".", first);
    eval_text_print(&told[1], "The last word of your answer is \"%s\".", last);
    eval_text_print(&told[2], "Your answer has exactly %d lines.", lines);
    eval_text_print(&told[3], "Use lower case letters only, no capitals.");
    eval_text_print(&told[4], "Do not use any comma.");
    eval_text_print(&s->reference[0], "begins %s", first);
    eval_text_print(&s->reference[1], "ends %s", last);
    eval_text_print(&s->reference[2], "lines %d", lines);
    eval_text_print(&s->reference[3], "lower-case");
    eval_text_print(&s->reference[4], "no-comma");
    s->n_references = RULES;
    eval_text_print(&s->system, "Every answer of yours obeys these rules:");
    eval_random_order(&m->random, order, RULES);
    for (int i = 0; i < RULES; i++) {
        s->system.failed |= told[order[i]].failed;
        eval_text_print(&s->system, "\n%d. %s", i + 1, told[order[i]].failed ? "" : told[order[i]].s);
    }
    for (int i = 0; i < RULES; i++) free(told[i].s);
}

static void make(struct eval_maker *m, int units, struct eval_sample *s)
{
    struct eval_haystack haystack = {.hay = EVAL_HAY_TEXT};
    const char *first = pick(m, &m->sources->adjectives), *last = pick(m, &m->sources->nouns);
    const int lines = 2 + (int)eval_random_below(&m->random, 4);
    write_rules(m, first, last, lines, s);
    eval_text_print(&s->context, "Read the following text.\n\n");
    s->n_instruction = s->context.n;
    eval_haystack_write(&haystack, m, units, &s->context);
    eval_text_print(&s->question, "\nTell me in a few words what the text above is about.");
    eval_text_print(&s->prefix, "%s", "");
    eval_text_print(&s->answer, "%s", first);
    for (int i = 0; i < lines; i++) eval_text_print(&s->answer, "%s of licences and rights", i ? "\n" : "");
    eval_text_print(&s->answer, " and %s", last);
}

const struct eval_task eval_task_rules = {.name = "rules",
                                          .about = "five rules of the system message before a long text",
                                          .is_long = true,
                                          .scoring = EVAL_RULES,
                                          .n_predict = 128,
                                          .make = make};
