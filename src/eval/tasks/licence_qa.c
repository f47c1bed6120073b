/* As LongBench's Qasper and MultiFieldQA, over the licence texts that come with the program: a question on one of them,
   an excerpt of which lies among others. Models may know them by heart. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "eval/task.h"

struct question {
    const char *licence, *question, *passage, *answer, *otherwise;
};
static const struct question questions[] = {
#define QUESTION(licence, question, passage, answer, otherwise) {licence, question, passage, answer, otherwise},
#include "eval/licence_questions.def"
#undef QUESTION
};
enum { N_QUESTIONS = sizeof questions / sizeof *questions, LICENCES_MOST = 32 };
static const char space[] = " \t\n\v\f\r";

/* ---- words ----------------------------------------------------------------------------------- */

static int count_words(const char *text, size_t n)
{
    int words = 0;
    for (size_t i = 0; i < n; i++) words += text[i] != ' ' && (i == 0 || text[i - 1] == ' ');
    return words;
}

/* Appends words [from, from + n) of those there are, with single spaces; returns how many that is. */
static int write_words(const char *text, int from, int n, struct eval_text *out)
{
    int word = 0;
    for (; word < from + n && *(text += strspn(text, space)); word++) {
        const size_t bytes = strcspn(text, space);
        if (word > from) eval_text_add(out, " ", 1);
        if (word >= from) eval_text_add(out, text, bytes);
        text += bytes;
    }
    return word > from ? word - from : 0;
}

/* Words of other licences, one after the other in the order given from `first` on, over and over. */
static void write_others(const int *order, int n, int asked, int first, int step, int words, struct eval_text *out)
{
    for (int i = first; words > 0; i = (i + step + n) % n) {
        const char *name, *text = eval_sources_licence(order[i], &name);
        if (order[i] == asked) continue;
        eval_text_print(out, "\n\n=== %s ===\n", name);
        words -= write_words(text, 0, words, out);
    }
}

/* ---- a sample -------------------------------------------------------------------------------- */

/* text: the licence asked about, with single spaces. The passage lies at the maker's depth of the excerpt, and where
   the licence is shorter than what is wanted, the licence does among the others. */
static void write_context(struct eval_maker *m, const struct question *q, int asked, const struct eval_text *text,
                          int units, struct eval_text *out)
{
    int order[LICENCES_MOST], n = 0;
    const char *name, *passage = strstr(text->s, q->passage);
    while (n < LICENCES_MOST && eval_sources_licence(n, &name)) n++;
    eval_random_order(&m->random, order, n);
    if (!passage) passage = text->s; /* a question on what is not there: a test looks for it */
    const int there = count_words(text->s, text->n), needed = count_words(q->passage, strlen(q->passage));
    const int wanted = units < needed ? needed : units, taken = wanted < there ? wanted : there;
    int start = count_words(text->s, (size_t)(passage - text->s)) - (int)(m->depth * (taken - needed));
    if (start > there - taken) start = there - taken;
    if (start < 0) start = 0;
    const int ahead = (int)(m->depth * (wanted - taken));
    write_others(order, n, asked, 0, 1, ahead, out);
    eval_text_print(out, "\n\n=== %s ===\n", q->licence);
    write_words(text->s, start, taken, out);
    write_others(order, n, asked, n - 1, -1, wanted - taken - ahead, out);
}

static void make(struct eval_maker *m, int units, struct eval_sample *s)
{
    static const char instruction[] =
        "Answer the question based on the given licences. Only give me the answer and do not output any other words.";
    const struct question *q = &questions[eval_random_below(&m->random, N_QUESTIONS)];
    const char *name = "", *text = "";
    struct eval_text licence = {0};
    int asked = -1;
    while (text && strcmp(name, q->licence)) text = eval_sources_licence(++asked, &name);
    write_words(text ? text : "", 0, INT_MAX, &licence);
    eval_text_print(&s->context, "%s", instruction);
    s->n_instruction = s->context.n;
    s->context.failed |= !licence.s || licence.failed;
    if (!s->context.failed) write_context(m, q, asked, &licence, units, &s->context);
    free(licence.s);
    eval_text_print(&s->question, "\n%s\nQuestion on %s: %s", instruction, q->licence, q->question);
    eval_text_print(&s->prefix, "Answer:");
    eval_text_print(&s->answer, " %s", q->answer);
    eval_text_print(&s->reference[s->n_references++], "%s", q->answer);
    if (q->otherwise) eval_text_print(&s->reference[s->n_references++], "%s", q->otherwise);
}

const struct eval_task eval_task_licence_qa = {.name = "licence_qa",
                                               .about = "a short answer from a licence among others",
                                               .is_long = true,
                                               .scoring = EVAL_ANY,
                                               .n_predict = 64,
                                               .make = make};
