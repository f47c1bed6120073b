/* haystack.h: text with lines hidden in it at given depths. */
#ifndef FKV_EVAL_HAYSTACK_H
#define FKV_EVAL_HAYSTACK_H

#include "eval/task.h"

enum eval_hay {
    EVAL_HAY_NOISE,   /* five short sentences over and over; a unit is one of them */
    EVAL_HAY_TEXT,    /* sentences of the sources in random order; a unit is a word */
    EVAL_HAY_NEEDLES, /* lines that `other` writes; a unit is a line */
};

enum { EVAL_NEEDLES = 16 };
struct eval_haystack {
    enum eval_hay hay;
    void (*other)(void *user, struct eval_maker *maker, struct eval_text *out); /* a needle that is not asked for */
    void *user;
    struct eval_text needle[EVAL_NEEDLES];
    double depth[EVAL_NEEDLES]; /* ascending, in [0, 1] */
    int n;
};

/* Appends `units` of hay with the needles in it, each as a sentence between sentences, and releases the needles. */
void eval_haystack_write(struct eval_haystack *haystack, struct eval_maker *maker, int units, struct eval_text *out);

/* Depths of n needles, ascending: the first of the maker's, the others at random. */
void eval_haystack_depths(struct eval_haystack *haystack, struct eval_maker *maker, int n);

#endif
