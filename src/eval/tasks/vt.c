/* RULER, variable tracking: a chain of assignments among sentences that repeat; which variables have the value? */
#include "eval/haystack.h"

enum { VARIABLES = 5, LETTERS = 5 };

static void make_name(struct eval_maker *m, char name[LETTERS + 1])
{
    for (int i = 0; i < LETTERS; i++) name[i] = (char)('A' + eval_random_below(&m->random, 26));
    name[LETTERS] = '\0';
}

/* Names that are alike would be a mistake of ours in one of some million samples. */
static void make(struct eval_maker *m, int units, struct eval_sample *s)
{
    struct eval_haystack haystack = {.hay = EVAL_HAY_NOISE};
    char name[VARIABLES][LETTERS + 1];
    const size_t value = 10000 + eval_random_below(&m->random, 90000);
    eval_haystack_depths(&haystack, m, VARIABLES);
    for (int i = 0; i < VARIABLES; i++) {
        make_name(m, name[i]);
        if (i == 0)
            eval_text_print(&haystack.needle[i], "VAR %s = %zu", name[i], value);
        else
            eval_text_print(&haystack.needle[i], "VAR %s = VAR %s", name[i], name[i - 1]);
        eval_text_print(&s->reference[s->n_references++], "%s", name[i]);
        eval_text_print(&s->answer, " %s", name[i]);
    }
    eval_text_print(&s->context,
                    "Memorize and track the chain of variable assignments hidden in the following text.\n");
    s->n_instruction = s->context.n;
    eval_haystack_write(&haystack, m, units, &s->context);
    eval_text_print(&s->question, "Question: Find all variables that are assigned the value %zu in the text above.",
                    value);
    eval_text_print(&s->prefix,
                    "Answer: According to the chain of variable assignments in the text above, %d variables are "
                    "assigned the value %zu, they are:",
                    VARIABLES, value);
}

const struct eval_task eval_task_vt = {.name = "vt",
                                       .about = "a chain of five variables with one value",
                                       .scoring = EVAL_ALL,
                                       .n_predict = 32,
                                       .make = make};
