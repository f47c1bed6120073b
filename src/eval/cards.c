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

/* The first card is the one asked about; with two hops each card is followed by its book. */
static void make_cards(int hops, struct eval_maker *m, const struct card *asked, struct card *cards, int n)
{
    cards[0] = *asked;
    for (int i = 1; i < n; i++) {
        if (hops == 2 && i % 2 == 1) {
            cards[i] = cards[i - 1];
            cards[i].book = true;
            cards[i].year = 1500 + eval_random_below(&m->random, 500);
            continue;
        }
        do make_card(m, &cards[i]);
        while (alike(&cards[i], asked));
    }
}

/* The place asked about lies at the maker's depth, all else anywhere. */
static void write_documents(int hops, struct eval_maker *m, const struct card *asked, int n, struct eval_text *out)
{
    struct card *cards = malloc((size_t)n * sizeof *cards);
    int *order = malloc((size_t)n * sizeof *order), at = 0;
    if (cards && order) {
        const int depth = (int)(m->depth * (n - 1) + 0.5);
        make_cards(hops, m, asked, cards, n);
        eval_random_order(&m->random, order, n);
        while (order[at] != 0) at++;
        order[at] = order[depth];
        order[depth] = 0;
        for (int i = 0; i < n; i++) write_card(&cards[order[i]], i + 1, out);
    } else {
        out->failed = true;
    }
    free(cards);
    free(order);
}

void eval_cards_make(int hops, struct eval_maker *m, int units, struct eval_sample *s)
{
    static const char instruction[] =
        "Answer the question based on the given documents. Only give me the answer and do "
        "not output any other words.";
    struct card asked;
    make_card(m, &asked);
    eval_text_print(&s->question, "%s\nQuestion: ", instruction);
    const size_t which = eval_random_below(&m->random, 4);
    if (hops == 1)
        ask_fact(&asked, which, s);
    else
        ask_through_book(&asked, which % 2, s);
    eval_text_print(&s->prefix, "Answer:");
    eval_text_print(&s->context, "%s\n\nThe following are given documents.\n", instruction);
    write_documents(hops, m, &asked, units < hops ? hops : units, &s->context);
}
