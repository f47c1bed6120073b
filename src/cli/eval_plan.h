/* eval_plan.h: what `eval` is asked for, and what came of it. */
#ifndef FKV_CLI_EVAL_PLAN_H
#define FKV_CLI_EVAL_PLAN_H

#include "cli/settings.h"
#include "eval/run.h"

enum { EVAL_TASKS_MAX = 64, EVAL_NAME = 64 };

struct eval_variant {
    char name[EVAL_NAME];
    struct fkv_kv_params kv;
};

struct eval_plan {
    const struct settings *settings;
    const struct eval_task *tasks[EVAL_TASKS_MAX];
    struct eval_variant variants[OPTION_LIST_MAX];
    int n_tasks, n_variants;
    struct eval_sources sources;
};

/* Reads --tasks, --policies, --variant and the texts. Prints why not and returns false; nothing is held then. */
bool eval_plan_open(struct eval_plan *plan, const struct settings *settings);
/* "seen", "hidden" or "alone": how the question is put, for tables and files. */
const char *eval_question_is(const struct settings *settings);
void eval_plan_close(struct eval_plan *plan);

/* One sample, measured. */
struct eval_record {
    int task, length, index; /* task: in the plan; length: tokens aimed at */
    int n_prompt;            /* tokens it has */
    struct eval_metrics full;
    struct eval_metrics *variants; /* [n_variants] */
};
struct eval_records {
    struct eval_record *items; /* [n] */
    int n, capacity;
};
/* Appends a record without measurements; NULL, said by then, when memory runs out. */
struct eval_record *eval_records_add(struct eval_records *records, const struct eval_plan *plan);
bool eval_records_have(const struct eval_records *records, int task, int length, int index);
/* Frees texts, which the table does not need. */
void eval_record_forget_texts(struct eval_record *record, const struct eval_plan *plan);
void eval_records_release(struct eval_records *records, const struct eval_plan *plan);

#endif
