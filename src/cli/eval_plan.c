#include "cli/eval_plan.h"

#include <stdlib.h>
#include <string.h>

#include "cli/console.h"
#include "cli/options.h"
#include "cli/retention.h"

/* ---- tasks ----------------------------------------------------------------------------------- */

static bool unknown_task(const char *name, size_t n)
{
    char all[1024] = "ruler, long";
    size_t used = strlen(all);
    for (int i = 0; eval_task_list(i) && used < sizeof all; i++)
        used += (size_t)snprintf(all + used, sizeof all - used, ", %s", eval_task_list(i)->name);
    console_error("--tasks: expected some of %s, found %.*s", all, (int)(n < 100 ? n : 100), name);
    return false;
}

static bool add_task(struct eval_plan *p, const struct eval_task *task)
{
    for (int i = 0; i < p->n_tasks; i++)
        if (p->tasks[i] == task) return true;
    if (p->n_tasks < EVAL_TASKS_MAX) p->tasks[p->n_tasks++] = task;
    return true;
}

/* The name of a task, or of a suite for all of its tasks. */
static bool take_tasks(void *user, const char *name, size_t n)
{
    const bool ruler = n == 5 && !memcmp(name, "ruler", n), is_long = n == 4 && !memcmp(name, "long", n);
    bool found = false;
    for (int i = 0; eval_task_list(i); i++) {
        const struct eval_task *task = eval_task_list(i);
        if ((task->is_long ? is_long : ruler) || (strlen(task->name) == n && !memcmp(task->name, name, n)))
            found = add_task(user, task);
    }
    return found || unknown_task(name, n);
}

/* ---- variants -------------------------------------------------------------------------------- */

static bool add_variant(struct eval_plan *p, const char *name, size_t n, const struct fkv_kv_params *kv)
{
    if (n == 0 || n >= EVAL_NAME || p->n_variants == OPTION_LIST_MAX) {
        console_error("--variant: expected at most %d variants with names of 1 to %d bytes", OPTION_LIST_MAX,
                      EVAL_NAME - 1);
        return false;
    }
    struct eval_variant *v = &p->variants[p->n_variants];
    snprintf(v->name, sizeof v->name, "%.*s", (int)n, name);
    v->kv = *kv;
    for (int i = 0; i < p->n_variants; i++) {
        if (strcmp(p->variants[i].name, v->name)) continue;
        console_error("--variant: expected names that differ, found %s twice", v->name);
        return false;
    }
    p->n_variants++;
    return true;
}

/* "kv-retain=0.2" */
static bool take_option(void *user, const char *part, size_t n)
{
    char pair[256], err[FKV_ERROR_BYTES];
    snprintf(pair, sizeof pair, "%.*s", (int)(n < sizeof pair ? n : sizeof pair - 1), part);
    char *value = strchr(pair, '=');
    if (!value) {
        console_error("--variant: expected OPTION=VALUE, found %s", pair);
        return false;
    }
    *value++ = '\0';
    if (fkv_kv_set(user, pair, value, err) == FKV_OK) return true;
    console_error("--variant: %s", err);
    return false;
}

/* "NAME=POLICY,OPTION=VALUE,...", or a preset in the policy's place, over the options that are given for all. */
static bool take_variant(struct eval_plan *p, const char *text)
{
    const char *equals = strchr(text, '='), *policy = equals ? equals + 1 : text, *name, *about;
    const size_t n = strcspn(policy, ",");
    struct fkv_kv_params kv = p->settings->session.kv;
    for (int i = 0; equals && fkv_policy_list(i, &name, &about); i++) {
        if (strlen(name) != n || memcmp(name, policy, n)) continue;
        retention_choose(p->settings, name, &kv);
        return eval_text_split(policy + n, ',', take_option, &kv) && add_variant(p, text, (size_t)(equals - text), &kv);
    }
    for (int i = 0; equals && fkv_kv_preset_list(i, &name, &about); i++) {
        if (strlen(name) != n || memcmp(name, policy, n)) continue;
        return fkv_kv_preset(&kv, name, NULL) == FKV_OK && eval_text_split(policy + n, ',', take_option, &kv) &&
               add_variant(p, text, (size_t)(equals - text), &kv);
    }
    console_error("--variant: expected NAME=POLICY|PRESET,OPTION=VALUE,..., found %.100s", text);
    return false;
}

static bool take_variants(struct eval_plan *p)
{
    const struct settings *s = p->settings;
    for (int i = 0; i < s->policies.n; i++) {
        struct fkv_kv_params kv = s->session.kv;
        const char *policy = s->policies.items[i];
        retention_choose(s, policy, &kv);
        if (strcmp(policy, "full") && !add_variant(p, policy, strlen(policy), &kv)) return false;
    }
    for (int i = 0; i < s->variants.n; i++)
        if (!take_variant(p, s->variants.items[i])) return false;
    return true;
}

bool eval_plan_open(struct eval_plan *plan, const struct settings *settings)
{
    char err[EVAL_ERROR_BYTES];
    *plan = (struct eval_plan){.settings = settings};
    if (!eval_text_split(settings->tasks, ',', take_tasks, plan) || !take_variants(plan)) return false;
    if (!plan->n_tasks) return unknown_task("nothing", 7);
    if (eval_sources_open(&plan->sources, settings->texts, err)) return true;
    console_error("--texts: %s", err);
    return false;
}

const char *eval_question_is(const struct settings *settings)
{
    return settings->closed_book ? "alone" : settings->hidden ? "hidden" : "seen";
}

void eval_plan_close(struct eval_plan *plan) { eval_sources_close(&plan->sources); }

/* ---- records --------------------------------------------------------------------------------- */

struct eval_record *eval_records_add(struct eval_records *records, const struct eval_plan *plan)
{
    if (records->n == records->capacity) {
        const int capacity = records->capacity ? 2 * records->capacity : 64;
        struct eval_record *more = realloc(records->items, (size_t)capacity * sizeof *more);
        if (!more) {
            console_error("out of memory for %d samples", capacity);
            return NULL;
        }
        records->items = more;
        records->capacity = capacity;
    }
    struct eval_record *r = &records->items[records->n];
    *r = (struct eval_record){.variants = calloc((size_t)plan->n_variants + 1, sizeof *r->variants)};
    if (r->variants) {
        records->n++;
        return r;
    }
    console_error("out of memory for a sample");
    return NULL;
}

bool eval_records_have(const struct eval_records *records, int task, int length, int index)
{
    for (int i = 0; i < records->n; i++) {
        const struct eval_record *r = &records->items[i];
        if (r->task == task && r->length == length && r->index == index) return true;
    }
    return false;
}

void eval_record_forget_texts(struct eval_record *record, const struct eval_plan *plan)
{
    free(record->full.text);
    record->full.text = NULL;
    for (int v = 0; v < plan->n_variants; v++) {
        free(record->variants[v].text);
        record->variants[v].text = NULL;
    }
}

void eval_records_release(struct eval_records *records, const struct eval_plan *plan)
{
    for (int i = 0; i < records->n; i++) {
        eval_record_forget_texts(&records->items[i], plan);
        free(records->items[i].variants);
    }
    free(records->items);
    *records = (struct eval_records){0};
}
