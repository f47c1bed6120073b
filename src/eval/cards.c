#include "eval/cards.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 48, TITLE = 96 };

/* ---- names ----------------------------------------------------------------------------------- */

static const char *const starts[] = {"b", "br", "c", "d",  "dr", "f",  "g", "gr", "h", "k",  "kr", "l", "m",  "n",
                                     "p", "r",  "s", "st", "t",  "tr", "v", "w",  "z", "th", "sk", "j", "fl", "gl"};
static const char *const middles[] = {"a", "e", "i", "o", "u", "ae", "ai", "ou", "ea"};
static const char *const ends[] = {"l", "n", "r", "s", "th", "m", "rn", "ld", "sk", "nd", "v", "x"};
#define PICK(random, list) list[eval_random_below(random, sizeof list / sizeof *list)]

/* Two or three syllables with a capital: more than a million. */
static void make_name(struct eval_random *r, const char *ending, char name[NAME])
{
    const size_t more = eval_random_below(r, 2);
    size_t n = 0;
    for (size_t i = 0; i <= more; i++)
        n += (size_t)snprintf(name + n, NAME - n, "%s%s", PICK(r, starts), PICK(r, middles));
    snprintf(name + n, NAME - n, "%s%s", PICK(r, ends), ending);
    name[0] = (char)(name[0] - 'a' + 'A');
}

/* ---- cards ----------------------------------------------------------------------------------- */

static const struct {
    const char *kind, *things, *verb; /* verb: "keep", which an s makes "keeps" */
} kinds[] = {{"Museum", "clocks", "keep"},  {"Library", "maps", "hold"},     {"Garden", "roses", "grow"},
             {"School", "pupils", "train"}, {"Harbour", "boats", "shelter"}, {"Theatre", "seats", "offer"},
             {"Mill", "looms", "run"},      {"Stable", "horses", "house"}};

/* A place and a book by the same person, if it is a pair. */
struct card {
    char place[NAME], town[NAME], first[NAME], last[NAME], title[TITLE];
    size_t kind, year, things, pages;
    bool book; /* the document is about the book, of a person with a place elsewhere */
};

static void make_card(struct eval_maker *m, struct card *c)
{
    struct eval_random *r = &m->random;
    const struct eval_list *adjectives = &m->sources->adjectives, *nouns = &m->sources->nouns;
    make_name(r, "", c->place);
    make_name(r, PICK(r, ((const char *const[]){"ere", "by", "ford", "ton"})), c->town);
    make_name(r, "a", c->first);
    make_name(r, "", c->last);
    char *adjective = adjectives->items[eval_random_below(r, (size_t)adjectives->n)];
    char *noun = nouns->items[eval_random_below(r, (size_t)nouns->n)];
    snprintf(c->title, TITLE, "The %c%s %c%s", *adjective - 'a' + 'A', adjective + 1, *noun - 'a' + 'A', noun + 1);
    c->kind = eval_random_below(r, sizeof kinds / sizeof *kinds);
    c->year = 1500 + eval_random_below(r, 500);
    c->things = 100 + eval_random_below(r, 9900);
    c->pages = 100 + eval_random_below(r, 800);
    c->book = false;
}

/* Is what a question would name the same? */
static bool alike(const struct card *a, const struct card *b)
{
    return !strcmp(a->place, b->place) || !strcmp(a->last, b->last) || !strcmp(a->title, b->title);
}

/* 4,120 */
static void print_number(struct eval_text *out, size_t n)
{
    if (n < 1000)
        eval_text_print(out, "%zu", n);
    else
        eval_text_print(out, "%zu,%03zu", n / 1000, n % 1000);
}

static void write_card(const struct card *c, int number, struct eval_text *out)
{
    eval_text_print(out, "\nDocument %d: ", number);
    if (c->book) {
        eval_text_print(out, "\"%s\" is a novel of %zu by %s %s. It has %zu pages.\n", c->title, c->year, c->first,
                        c->last, c->pages);
        return;
    }
    eval_text_print(out, "The %s %s in %s was founded in %zu by %s %s. It %ss ", c->place, kinds[c->kind].kind, c->town,
                    c->year, c->first, c->last, kinds[c->kind].verb);
    print_number(out, c->things);
    eval_text_print(out, " %s.\n", kinds[c->kind].things);
}

/* ---- questions ------------------------------------------------------------------------------- */

/* A number is right with and without its comma. */
static void answer_number(struct eval_sample *s, size_t n)
{
    print_number(&s->reference[s->n_references++], n);
    eval_text_print(&s->answer, " %s", s->reference[0].s ? s->reference[0].s : "");
    if (n >= 1000) eval_text_print(&s->reference[s->n_references++], "%zu", n);
}

static void answer_text(struct eval_sample *s, const char *first, const char *last)
{
    eval_text_print(&s->reference[s->n_references++], "%s%s%s", first, *last ? " " : "", last);
    eval_text_print(&s->answer, " %s", s->reference[0].s ? s->reference[0].s : "");
}

static void ask_fact(const struct card *c, size_t which, struct eval_sample *s)
{
    const char *kind = kinds[c->kind].kind;
    switch (which) {
    case 0:
        eval_text_print(&s->question, "In which year was the %s %s founded?", c->place, kind);
        eval_text_print(&s->reference[s->n_references++], "%zu", c->year);
        eval_text_print(&s->answer, " %zu", c->year);
        break;
    case 1:
        eval_text_print(&s->question, "Who founded the %s %s?", c->place, kind);
        answer_text(s, c->first, c->last);
        break;
    case 2:
        eval_text_print(&s->question, "In which town is the %s %s?", c->place, kind);
        answer_text(s, c->town, "");
        break;
    default:
        eval_text_print(&s->question, "How many %s does the %s %s %s?", kinds[c->kind].things, c->place, kind,
                        kinds[c->kind].verb);
        answer_number(s, c->things);
    }
}

static void ask_through_book(const struct card *c, size_t which, struct eval_sample *s)
{
    const char *kind = kinds[c->kind].kind, *title = c->title;
    if (which == 0) {
        eval_text_print(&s->question, "How many %s does the %s founded by the author of \"%s\" %s?",
                        kinds[c->kind].things, kind, title, kinds[c->kind].verb);
        answer_number(s, c->things);
    } else {
        eval_text_print(&s->question, "In which town is the %s founded by the author of \"%s\"?", kind, title);
        answer_text(s, c->town, "");
    }
}

/* ---- samples --------------------------------------------------------------------------------- */

/* The first cards are those asked about; with two hops each card is followed by its book. */
static void make_cards(int hops, struct eval_maker *m, const struct card *asked, int n_asked, struct card *cards, int n)
{
    for (int i = 0; i < n; i++) {
        if (hops == 2 && i % 2 == 1) {
            cards[i] = cards[i - 1];
            cards[i].book = true;
            cards[i].year = 1500 + eval_random_below(&m->random, 500);
            continue;
        }
        if (i < n_asked) {
            cards[i] = asked[i];
            continue;
        }
        bool taken = true;
        while (taken) {
            make_card(m, &cards[i]);
            taken = false;
            for (int a = 0; a < n_asked; a++) taken |= alike(&cards[i], &asked[a]);
        }
    }
}

/* The first place asked about lies at the maker's depth, all else anywhere. `left_out`: of the places asked about the
   first is not written, and what they share with it none of the others does. */
static void write_documents(int hops, struct eval_maker *m, const struct card *asked, int n_asked, int left_out, int n,
                            struct eval_text *out)
{
    struct card *cards = malloc((size_t)(n + left_out) * sizeof *cards);
    int *order = malloc((size_t)n * sizeof *order), at = 0;
    if (cards && order) {
        const int depth = (int)(m->depth * (n - 1) + 0.5);
        make_cards(hops, m, asked, n_asked, cards, n + left_out);
        eval_random_order(&m->random, order, n);
        while (order[at] != 0) at++;
        order[at] = order[depth];
        order[depth] = 0;
        for (int i = 0; i < n; i++) write_card(&cards[order[i] + left_out], i + 1, out);
    } else {
        out->failed = true;
    }
    free(cards);
    free(order);
}

static const char instruction[] = "Answer the question based on the given documents. Only give me the answer and do "
                                  "not output any other words.";
static const char introduction[] = "The following are given documents.";

void eval_cards_make(int hops, struct eval_maker *m, int units, struct eval_sample *s)
{
    struct card asked;
    make_card(m, &asked);
    eval_text_print(&s->question, "%s\nQuestion: ", instruction);
    const size_t which = eval_random_below(&m->random, 4);
    if (hops == 1)
        ask_fact(&asked, which, s);
    else
        ask_through_book(&asked, which % 2, s);
    eval_text_print(&s->prefix, "Answer:");
    eval_text_print(&s->context, "%s\n\n%s\n", instruction, introduction);
    s->n_instruction = s->context.n;
    write_documents(hops, m, &asked, 1, 0, units < hops ? hops : units, &s->context);
}

/* The other question becomes the earlier turn. */
static void ask_earlier(const struct card *c, size_t which, struct eval_sample *s)
{
    struct eval_sample other = {0};
    ask_fact(c, which, &other);
    if (!other.question.failed && !other.answer.failed) {
        eval_text_print(&s->earlier, "%s\nQuestion: %s", instruction, other.question.s);
        eval_text_print(&s->earlier_answer, "Answer:%s", other.answer.s);
    } else {
        s->earlier.failed = true;
    }
    eval_sample_release(&other);
}

void eval_cards_ask(enum eval_place place, struct eval_maker *m, int units, struct eval_sample *s)
{
    enum { ASKED = 2 };
    struct card asked[ASKED];
    struct eval_text first = {0};
    make_card(m, &asked[0]);
    do make_card(m, &asked[1]);
    while (alike(&asked[0], &asked[1]));
    const size_t which = eval_random_below(&m->random, 4), which_earlier = eval_random_below(&m->random, 4);
    eval_text_print(&s->question, "%s\nQuestion: ", instruction);
    ask_fact(&asked[0], which, s);
    eval_text_print(&s->prefix, "Answer:");
    if (place == EVAL_FIRST) { /* what stands behind the documents says nothing of what is asked */
        first = s->question;
        s->question = (struct eval_text){0};
        eval_text_print(&s->question, "Now answer the question that stands before the documents.");
        if (first.failed) s->question.failed = true;
    }
    eval_text_print(&s->context, "%s\n\n%s\n", first.n ? first.s : instruction, introduction);
    free(first.s);
    s->n_instruction = s->context.n;
    write_documents(1, m, asked, ASKED, 0, units < ASKED ? ASKED : units, &s->context);
    if (place == EVAL_SECOND_TURN) ask_earlier(&asked[1], which_earlier, s);
}

void eval_cards_ask_in_vain(struct eval_maker *m, int units, struct eval_sample *s)
{
    static const char refusal[] = "If the documents do not say, answer \"not in the documents\".";
    static const char *const refusals[] = {"not in the documents", "Not in the documents", "do not say",
                                           "not mentioned",        "no information",       "not provided",
                                           "not stated",           "not specified",        "not given"};
    struct eval_sample unasked = {0};
    struct card asked;
    make_card(m, &asked);
    ask_fact(&asked, eval_random_below(&m->random, 4), &unasked);
    if (!unasked.question.failed)
        eval_text_print(&s->question, "%s %s\nQuestion: %s", instruction, refusal, unasked.question.s);
    s->question.failed |= unasked.question.failed;
    eval_sample_release(&unasked);
    eval_text_print(&s->prefix, "Answer:");
    eval_text_print(&s->answer, " %s", refusals[0]);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        eval_text_print(&s->reference[s->n_references++], "%s", refusals[i]);
    eval_text_print(&s->context, "%s %s\n\n%s\n", instruction, refusal, introduction);
    s->n_instruction = s->context.n;
    write_documents(1, m, &asked, 1, 1, units, &s->context);
}
