#include "eval/task.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define TASK(name) extern const struct eval_task eval_task_##name;
#include "eval/tasks.def"
#undef TASK

static const struct eval_task *const tasks[] = {
#define TASK(name) &eval_task_##name,
#include "eval/tasks.def"
#undef TASK
};
enum { N_TASKS = sizeof tasks / sizeof *tasks, DEPTHS = 40 };

const struct eval_task *eval_task_list(int i) { return i >= 0 && i < N_TASKS ? tasks[i] : NULL; }

void eval_sample_release(struct eval_sample *sample)
{
    free(sample->system.s);
    free(sample->context.s);
    free(sample->question.s);
    free(sample->earlier.s);
    free(sample->earlier_answer.s);
    free(sample->prefix.s);
    free(sample->answer.s);
    for (int i = 0; i < EVAL_REFERENCES; i++) free(sample->reference[i].s);
    *sample = (struct eval_sample){0};
}

void eval_sample_close_book(struct eval_sample *sample)
{
    sample->context.n = sample->n_instruction;
    sample->context.s[sample->context.n] = '\0';
}

static bool whole(const struct eval_sample *s)
{
    bool failed = s->system.failed || s->context.failed || s->question.failed || s->prefix.failed || s->answer.failed ||
                  s->earlier.failed || s->earlier_answer.failed;
    for (int i = 0; i < s->n_references; i++) failed |= s->reference[i].failed;
    return !failed;
}

static uint64_t seed_of(const struct eval_task *task, uint64_t seed, int length, int index)
{
    const uint64_t numbers[] = {seed, (uint64_t)length, (uint64_t)index};
    const char *name = task->family ? task->family : task->name;
    uint64_t hash = fkv_hash(FKV_HASH, name, strlen(name));
    for (int i = 0; i < 3; i++) { /* bytes in one order on every machine */
        unsigned char bytes[8];
        for (int b = 0; b < 8; b++) bytes[b] = (unsigned char)(numbers[i] >> (8 * b));
        hash = fkv_hash(hash, bytes, sizeof bytes);
    }
    return hash;
}

bool eval_task_sample(const struct eval_task *task, const struct eval_sources *sources, uint64_t seed, int length,
                      int index, eval_measure measure, void *user, struct eval_sample *sample)
{
    struct eval_maker first = {sources, {{0}}, length, (double)(index * 17 % DEPTHS) / (DEPTHS - 1)};
    int least = 0, most = length; /* no unit is smaller than a token */
    eval_random_start(&first.random, seed_of(task, seed, length, index));
    *sample = (struct eval_sample){0};
    while (least < most) {
        const int units = least + (most - least + 1) / 2;
        struct eval_maker maker = first;
        struct eval_sample tried = {.units = units};
        task->make(&maker, units, &tried);
        const size_t n = whole(&tried) ? measure(user, task, &tried) : 0;
        if (n == 0) {
            eval_sample_release(&tried);
            break;
        }
        struct eval_sample *unwanted = n <= (size_t)length ? sample : &tried;
        if (n <= (size_t)length)
            least = units;
        else
            most = units - 1;
        eval_sample_release(unwanted);
        if (unwanted == sample) *sample = tried;
    }
    if (least == most && least > 0) return true;
    eval_sample_release(sample);
    return false;
}
