#include "eval/needles.h"

#include <stdio.h>
#include <string.h>

enum { WORD = 64 };

/* Version 4: random but for two marks. */
static void make_uuid(struct eval_random *r, char text[WORD])
{
    const uint64_t a = eval_random_next(r), b = eval_random_next(r);
    snprintf(text, WORD, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xffff),
             (unsigned)(a & 0xfff), (unsigned)(0x8000 | (b >> 48 & 0x3fff)), (unsigned long long)(b & 0xffffffffffff));
}

static void make_key(const struct eval_needles *n, struct eval_maker *m, char text[WORD])
{
    const struct eval_list *adjectives = &m->sources->adjectives, *nouns = &m->sources->nouns;
    if (n->uuid_keys) {
        make_uuid(&m->random, text);
        return;
    }
    const size_t adjective = eval_random_below(&m->random, (size_t)adjectives->n);
    snprintf(text, WORD, "%s-%s", adjectives->items[adjective],
             nouns->items[eval_random_below(&m->random, (size_t)nouns->n)]);
}

static void make_value(bool uuid, struct eval_maker *m, char text[WORD])
{
    if (uuid)
        make_uuid(&m->random, text);
    else
        snprintf(text, WORD, "%zu", 1000000 + eval_random_below(&m->random, 9000000));
}

static void add_needle(bool uuid, const char *key, const char *value, struct eval_text *out)
{
    eval_text_print(out, "One of the special magic %s for %s is: %s.", uuid ? "UUIDs" : "numbers", key, value);
}

/* The keys of a sample. */
struct keys {
    const struct eval_needles *needles;
    char key[EVAL_NEEDLES][WORD];
    int n;
};

static void make_new_key(struct keys *k, struct eval_maker *m, char text[WORD])
{
    bool known = true;
    while (known) {
        make_key(k->needles, m, text);
        known = false;
        for (int i = 0; i < k->n; i++) known |= !strcmp(k->key[i], text);
    }
}

static void other(void *user, struct eval_maker *m, struct eval_text *out)
{
    struct keys *k = user;
    char key[WORD], value[WORD];
    make_new_key(k, m, key);
    make_value(k->needles->uuid_values, m, value);
    add_needle(k->needles->uuid_values, key, value, out);
}

/* "a", "a and b", "a, b, and c": of the keys asked for, which are the first. */
static void list_keys(const struct keys *k, struct eval_text *out)
{
    const int n = k->needles->asked;
    for (int i = 0; i < n; i++)
        eval_text_print(out, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : n == 2 ? " and " : ", and ", k->key[i]);
}

static void ask(const struct keys *k, struct eval_sample *s)
{
    const bool one = s->n_references == 1;
    const char *what = k->needles->uuid_values ? "UUID" : "number", *many = one ? "" : "s";
    eval_text_print(&s->question, "What %s the special magic %s%s for ", one ? "is" : "are all", what, many);
    list_keys(k, &s->question);
    eval_text_print(&s->question, " mentioned in the provided text?");
    eval_text_print(&s->prefix, "The special magic %s%s for ", what, many);
    list_keys(k, &s->prefix);
    eval_text_print(&s->prefix, " mentioned in the provided text %s", one ? "is" : "are");
}

/* Lines are made in the order of keys and lie in random order. */
static void make_lines(struct keys *k, struct eval_haystack *h, struct eval_maker *m, struct eval_sample *s)
{
    const struct eval_needles *n = k->needles;
    int order[EVAL_NEEDLES];
    eval_haystack_depths(h, m, n->keys * n->values);
    eval_random_order(&m->random, order, h->n);
    for (int i = 0; i < h->n; i++) {
        char value[WORD];
        if (i % n->values == 0) {
            make_new_key(k, m, k->key[k->n]);
            k->n++;
        }
        make_value(n->uuid_values, m, value);
        add_needle(n->uuid_values, k->key[k->n - 1], value, &h->needle[order[i]]);
        if (k->n > n->asked) continue;
        eval_text_print(&s->reference[s->n_references], "%s", value);
        eval_text_print(&s->answer, "%s%s", s->n_references ? ", " : " ", value);
        s->n_references++;
    }
}

void eval_needles_make(const struct eval_needles *needles, struct eval_maker *maker, int units,
                       struct eval_sample *sample)
{
    struct keys keys = {.needles = needles};
    struct eval_haystack haystack = {.hay = needles->hay, .other = other, .user = &keys};
    make_lines(&keys, &haystack, maker, sample);
    ask(&keys, sample);
    eval_text_print(&sample->context,
                    "Some special magic %s are hidden within the following text. Memorize them: afterwards I will ask "
                    "for some of them.\n",
                    needles->uuid_values ? "UUIDs" : "numbers");
    sample->n_instruction = sample->context.n;
    eval_haystack_write(&haystack, maker, units, &sample->context);
}
