/* needles.h: the family of "needle in a haystack" tasks: lines that give a key its value, some of which are asked
   for. */
#ifndef FKV_EVAL_NEEDLES_H
#define FKV_EVAL_NEEDLES_H

#include "eval/haystack.h"

struct eval_needles {
    enum eval_hay hay;
    bool uuid_keys, uuid_values; /* else word-word, and numbers of 7 digits */
    int keys, values, asked;     /* keys with a line; values of each key; keys that the question asks for */
};

void eval_needles_make(const struct eval_needles *needles, struct eval_maker *maker, int units,
                       struct eval_sample *sample);

/* A task of the family, whose name is its file's. */
#define EVAL_NEEDLES_TASK(task, text, ...)                                                  \
    static void make(struct eval_maker *maker, int units, struct eval_sample *sample)       \
    {                                                                                       \
        eval_needles_make(&(const struct eval_needles){__VA_ARGS__}, maker, units, sample); \
    }                                                                                       \
    const struct eval_task eval_task_##task = {.name = #task,                               \
                                               .about = text,                               \
                                               .scoring = EVAL_ALL,                         \
                                               .n_predict = 128,                            \
                                               .make = make}

#endif
