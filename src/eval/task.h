/* task.h: the tasks that measure quality: a seeded maker of samples and how an answer is scored. A new one is a file in
   src/eval/tasks and a row in tasks.def. Two suites: "ruler" has the types of RULER (arXiv 2404.06654), "long" what
   users do with long texts besides. Texts, words and cards are ours. */
#ifndef FKV_EVAL_TASK_H
#define FKV_EVAL_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "eval/random.h"
#include "eval/sources.h"
#include "eval/text.h"

enum { EVAL_REFERENCES = 10 };

/* What a sample asks, and what is right. Texts are malloc'ed. */
struct eval_sample {
    struct eval_text system;   /* the system message; often none */
    struct eval_text context;  /* instruction and haystack; the user's message is this, "\n" and the question */
    size_t n_instruction;      /* bytes of the context before the haystack */
    struct eval_text question; /* the instruction's last part, which a user has in mind */
    /* An earlier turn on the same context, if there is one: the prompt is compressed when that turn's question is known
       and this one's is not. */
    struct eval_text earlier, earlier_answer;
    struct eval_text prefix; /* how the answer begins: "The special magic number for X is" */
    struct eval_text reference[EVAL_REFERENCES];
    int n_references;
    struct eval_text answer; /* the right answer as a model would write it after the prefix, from its space on */
    int units;               /* of haystack */
};

/* What a maker gets. */
struct eval_maker {
    const struct eval_sources *sources;
    struct eval_random random; /* the same at the start, whatever the units */
    int length;                /* tokens aimed at */
    double depth;              /* in [0, 1]: where the needle lies, spread over the samples of a task */
};

enum eval_scoring {
    EVAL_ALL,   /* share of the references that the answer contains */
    EVAL_ANY,   /* does it contain one? */
    EVAL_LINE,  /* edit similarity of its first line of code and the reference */
    EVAL_RULES, /* share of the references, which are rules ("lines 3"), that it obeys: score.h */
};

struct eval_task {
    const char *name, *about;
    bool is_long;       /* of the suite "long"; else of "ruler" */
    const char *family; /* tasks of one family have the same random numbers: they ask the same in other ways; or NULL */
    enum eval_scoring scoring;
    int n_predict; /* most tokens of an answer */
    /* Writes the sample with `units` of haystack, 1 or more. The references and the question are the same for any
       units; more units are a longer context. */
    void (*make)(struct eval_maker *maker, int units, struct eval_sample *sample);
};

/* The i-th task; NULL past the last. */
const struct eval_task *eval_task_list(int i);

/* How many tokens the prompt of a sample, its answer's beginning and its answer take in all; 0 when that cannot be
   said, which ends the making. */
typedef size_t (*eval_measure)(void *user, const struct eval_task *task, const struct eval_sample *sample);

/* The index-th sample of a task at a length in tokens: with as many units of haystack as fit. False when not even one
   does, when memory ran out, or the measure failed. */
bool eval_task_sample(const struct eval_task *task, const struct eval_sources *sources, uint64_t seed, int length,
                      int index, eval_measure measure, void *user, struct eval_sample *sample);
void eval_sample_release(struct eval_sample *sample);
/* Takes the haystack away: what a model answers then it did not read. */
void eval_sample_close_book(struct eval_sample *sample);

#endif
