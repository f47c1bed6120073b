/* As LongBench's LCC, over generated code: a module's last function is said to be another one's copy; what is its next
   line? It is nowhere in the module but in that other function. */
#include <stdio.h>
#include <string.h>

#include "eval/task.h"

enum { WORD = 64 };

/* def calm_river(stone, lake): ... */
struct function {
    char name[WORD];
    const char *x, *y;
    size_t times, less, modulus;
};

static const char *pick(struct eval_maker *m, const struct eval_list *list)
{
    return list->items[eval_random_below(&m->random, (size_t)list->n)];
}

static void make_function(struct eval_maker *m, struct function *f)
{
    const char *adjective = pick(m, &m->sources->adjectives);
    snprintf(f->name, sizeof f->name, "%s_%s", adjective, pick(m, &m->sources->nouns));
    f->x = pick(m, &m->sources->nouns);
    do f->y = pick(m, &m->sources->nouns);
    while (f->y == f->x);
    f->times = 2 + eval_random_below(&m->random, 998);
    f->less = 2 + eval_random_below(&m->random, 998);
    f->modulus = 100 + eval_random_below(&m->random, 900);
}

static void print_head(const struct function *f, const char *ending, struct eval_text *out)
{
    eval_text_print(out, "def %s%s(%s, %s):\n", f->name, ending, f->x, f->y);
}

static void print_line(const struct function *f, struct eval_text *out)
{
    eval_text_print(out, "    total = %s * %zu - %s * %zu", f->x, f->times, f->y, f->less);
}

/* The function that ends before the line asked for. */
static void print_cut(const struct function *f, struct eval_text *out)
{
    print_head(f, "_again", out);
    eval_text_print(out, "    # as in %s\n", f->name);
}

/* Other functions have other names. A function is a unit. */
static void write_module(struct eval_maker *m, const struct function *asked, int units, struct eval_text *out)
{
    const int at = (int)(m->depth * (units - 1) + 0.5);
    for (int i = 0; i < units; i++) {
        struct function f = *asked;
        while (i != at && !strcmp(f.name, asked->name)) make_function(m, &f);
        print_head(&f, "", out);
        print_line(&f, out);
        eval_text_print(out, "\n    return total %% %zu\n\n\n", f.modulus);
    }
}

static void make(struct eval_maker *m, int units, struct eval_sample *s)
{
    struct function asked;
    make_function(m, &asked);
    eval_text_print(&s->context, "Please complete the code given below.\n\n");
    s->n_instruction = s->context.n;
    write_module(m, &asked, units, &s->context);
    print_cut(&asked, &s->question);
    eval_text_print(&s->question, "\nComplete the last function. Only give me the code.");
    eval_text_print(&s->prefix, "```python\n");
    print_cut(&asked, &s->prefix);
    print_line(&asked, &s->answer);
    print_line(&asked, &s->reference[s->n_references++]);
}

const struct eval_task eval_task_code_line = {.name = "code_line",
                                              .about = "the next line of a module's last function",
                                              .is_long = true,
                                              .scoring = EVAL_LINE,
                                              .n_predict = 64,
                                              .make = make};
