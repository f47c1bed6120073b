#include "cli/eval_table.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/console.h"
#include "eval/bootstrap.h"

enum { LEFT = 19, COLUMN = 24 };
static const double counted_from = 0.20; /* full attention's score below which a task says nothing of compression */

/* The samples of one length, or of all: a group is a task at a length. */
struct block {
    const struct eval_plan *plan;
    const struct eval_record **records; /* [n] */
    int *group;                         /* [n] */
    int n, n_groups;
    double *x;     /* [n] what is summed up now */
    int *of;       /* [n] its groups */
    bool *counted; /* [n_groups] */
};

/* ---- numbers of samples ---------------------------------------------------------------------- */

typedef double (*number)(const struct eval_record *record, int variant);

static double difference(const struct eval_record *r, int v) { return 100 * (r->variants[v].score - r->full.score); }
static double score(const struct eval_record *r, int v) { return 100 * (v < 0 ? r->full.score : r->variants[v].score); }
static double strict(const struct eval_record *r, int v)
{
    return 100 * (v < 0 ? r->full.strict : r->variants[v].strict);
}
static double strict_difference(const struct eval_record *r, int v)
{
    return 100 * (r->variants[v].strict - r->full.strict);
}
static double kl(const struct eval_record *r, int v) { return r->variants[v].kl; }
static double kl_p95(const struct eval_record *r, int v) { return r->variants[v].kl_p95; }
static double kl_first(const struct eval_record *r, int v) { return r->variants[v].kl_first; }
static double top1(const struct eval_record *r, int v) { return 100 * r->variants[v].top1; }
static double kl_reference(const struct eval_record *r, int v) { return r->variants[v].kl_reference; }
static double top1_reference(const struct eval_record *r, int v) { return 100 * r->variants[v].top1_reference; }
static double gold(const struct eval_record *r, int v) { return r->variants[v].gold; }
static double length(const struct eval_record *r, int v)
{
    return (double)r->variants[v].n_answer / (r->full.n_answer ? r->full.n_answer : 1);
}
static double kv(const struct eval_record *r, int v) { return 100 * r->variants[v].kv; }
static double prefill(const struct eval_record *r, int v) { return 100 * r->variants[v].prefill; }
static double prefill_s(const struct eval_record *r, int v)
{
    return v < 0 ? r->full.prefill_s : r->variants[v].prefill_s;
}

/* Rows below the scores. */
static const struct {
    const char *name;
    number take;
    int decimals;
    bool full, time;
} rows[] = {
    {"KL, nats", kl, 4, false, false},
    {"KL, 95th of 100", kl_p95, 4, false, false},
    {"KL, first token", kl_first, 4, false, false},
    {"same top-1, %", top1, 1, false, false},
    {"reference: KL", kl_reference, 4, false, false},
    {"reference: top-1 %", top1_reference, 1, false, false},
    {"reference: ln p", gold, 4, false, false},
    {"length of answer", length, 2, false, false},
    {"KV kept, %", kv, 1, false, false},
    {"prefill's work, %", prefill, 1, false, false},
    {"own prefill, s", prefill_s, 2, true, true},
};

/* ---- sums ------------------------------------------------------------------------------------ */

/* A task of the plan, or one of these. */
enum { ALL_TASKS = -1, COUNTED = -2, RULER = -3, LONG = -4 };

static bool is_of(const struct block *b, int i, int task)
{
    const int own = b->records[i]->task;
    if (task == COUNTED) return b->counted[b->group[i]];
    if (task == RULER || task == LONG) return b->plan->tasks[own]->is_long == (task == LONG);
    return task == ALL_TASKS || own == task;
}

static bool summary(struct block *b, number take, int variant, int task, struct eval_interval *interval)
{
    int n = 0;
    for (int i = 0; i < b->n; i++) {
        if (!is_of(b, i, task)) continue;
        b->x[n] = take(b->records[i], variant);
        b->of[n++] = b->group[i];
    }
    *interval = (struct eval_interval){0};
    return eval_bootstrap(b->x, b->of, n, b->n_groups, (uint64_t)b->plan->settings->seed, interval);
}

/* The mean alone, without the draws of an interval. */
static double mean(const struct block *b, number take, int variant, int task)
{
    double sum = 0;
    int groups = 0;
    for (int g = 0; g < b->n_groups; g++) {
        double within = 0;
        int n = 0;
        for (int i = 0; i < b->n; i++) {
            if (b->group[i] != g || !is_of(b, i, task)) continue;
            within += take(b->records[i], variant);
            n++;
        }
        groups += n > 0;
        if (n) sum += within / n;
    }
    return groups ? sum / groups : 0;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* A variant's part of a line; none is filled up at its end. */
static void print_cell(FILE *out, const struct block *b, int v, const char *text)
{
    fprintf(out, "  %-*s", v + 1 < b->plan->n_variants ? COLUMN : 0, text);
}

/* "75.0  -25.0 +-21.2" of each variant behind full attention's score. Samples that all differ by the same say nothing
   of how far others would: no interval is printed then. */
static void print_scores(FILE *out, struct block *b, const char *name, number of, number less, int task)
{
    struct eval_interval is;
    fprintf(out, "%-*s%6.1f", LEFT, name, mean(b, of, -1, task));
    for (int v = 0; v < b->plan->n_variants; v++) {
        char text[64] = "";
        if (summary(b, less, v, task, &is)) {
            const int n = snprintf(text, sizeof text, "%6.1f %+6.1f", mean(b, of, v, task), is.mean);
            if (is.deviation > 0) snprintf(text + n, sizeof text - (size_t)n, " +-%.1f", (is.high - is.low) / 2);
        }
        print_cell(out, b, v, text);
    }
    fputc('\n', out);
}

static void print_rows(FILE *out, const struct block *b)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].time && !b->plan->settings->times) continue;
        fprintf(out, "%-*s", LEFT, rows[i].name);
        if (rows[i].full)
            fprintf(out, "%6.*f", rows[i].decimals, mean(b, rows[i].take, -1, ALL_TASKS));
        else
            fprintf(out, "%6s", "");
        for (int v = 0; v < b->plan->n_variants; v++) {
            char text[64];
            snprintf(text, sizeof text, "%6.*f", rows[i].decimals, mean(b, rows[i].take, v, ALL_TASKS));
            print_cell(out, b, v, text);
        }
        fputc('\n', out);
    }
}

/* What the loss is at most in 19 of 20 cases. Where no sample differs from the others there is nothing to draw from:
   then by the share of samples that could be otherwise and still be missing among n. */
static double least(const struct eval_interval *is, int n)
{
    return is->deviation > 0 ? is->least : is->mean - 100 * (1 - pow(0.05, 1.0 / n));
}

/* Is a variant shown to lose less than a point, and if not, what would it take? */
static void print_verdict(FILE *out, struct block *b, int v)
{
    enum { NONE_DIFFERS = 299 }; /* samples of which none differs show that less than one in a hundred does */
    struct eval_interval is;
    if (!summary(b, difference, v, ALL_TASKS, &is)) return;
    const double bound = least(&is, b->n), needed = eval_samples_needed(-is.mean, 1, is.deviation);
    fprintf(out, "%s - full: %+.1f, one-sided 95 %%: >= %+.1f. ", b->plan->variants[v].name, is.mean, bound);
    if (bound >= -1)
        fputs("Within 1 point.\n", out);
    else if (is.mean <= -1)
        fputs("Not within 1 point.\n", out);
    else
        fprintf(out, "Not shown to be within 1 point: about %s samples would be needed.\n",
                COUNT((uint64_t)(needed > NONE_DIFFERS ? needed : NONE_DIFFERS)));
}

/* Two variants that keep the same are one: a difference between them is none. */
static void warn_of_same(const struct block *b)
{
    for (int v = 0; v < b->plan->n_variants; v++) {
        for (int w = v + 1; w < b->plan->n_variants; w++) {
            int same = 0;
            for (int i = 0; i < b->n; i++) same += b->records[i]->variants[v].kept == b->records[i]->variants[w].kept;
            if (same >= 0.99 * b->n)
                console_warning("%s and %s kept the same entries in %d of %d samples", b->plan->variants[v].name,
                                b->plan->variants[w].name, same, b->n);
        }
    }
}

/* The means of the two suites, where there are tasks of both. */
static void print_suites(FILE *out, struct block *b)
{
    bool have[2] = {false, false};
    for (int t = 0; t < b->plan->n_tasks; t++) have[b->plan->tasks[t]->is_long] = true;
    if (!have[0] || !have[1]) return;
    print_scores(out, b, "mean of ruler", score, difference, RULER);
    print_scores(out, b, "mean of long", score, difference, LONG);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static void print_uncounted(FILE *out, const struct block *b)
{
    const char *before = "  not counted, full below 20 %: ";
    for (int t = 0; t < b->plan->n_tasks; t++) {
        bool counted = true;
        for (int i = 0; i < b->n; i++)
            if (b->records[i]->task == t) counted = counted && b->counted[b->group[i]];
        if (counted) continue;
        fprintf(out, "%s%s", before, b->plan->tasks[t]->name);
        before = ", ";
    }
    fputs(*before == ',' ? "\n" : "", out);
}

static void print_block(FILE *out, struct block *b)
{
    char title[LEFT + 8];
    int n_counted = 0, n_groups = 0;
    for (int g = 0; g < b->n_groups; g++) {
        int n = 0;
        double full = 0;
        for (int i = 0; i < b->n; i++) {
            if (b->group[i] != g) continue;
            full += b->records[i]->full.score;
            n++;
        }
        b->counted[g] = n && full / n >= counted_from;
        n_counted += b->counted[g];
        n_groups += n > 0;
    }
    fprintf(out, "%-*s%6s", LEFT, "", "full");
    for (int v = 0; v < b->plan->n_variants; v++) print_cell(out, b, v, b->plan->variants[v].name);
    fputc('\n', out);
    for (int t = 0; t < b->plan->n_tasks; t++) print_scores(out, b, b->plan->tasks[t]->name, score, difference, t);
    print_suites(out, b);
    snprintf(title, sizeof title, "mean of %d", n_groups);
    print_scores(out, b, title, score, difference, ALL_TASKS);
    if (n_counted < n_groups && n_counted > 0) {
        snprintf(title, sizeof title, "counted (%d)", n_counted);
        print_scores(out, b, title, score, difference, COUNTED);
    }
    print_scores(out, b, "strict mean", strict, strict_difference, ALL_TASKS);
    print_rows(out, b);
    print_uncounted(out, b);
    for (int v = 0; v < b->plan->n_variants; v++) print_verdict(out, b, v);
}

/* of: the length, 0: all of them. */
static void choose(struct block *b, const struct eval_records *records, int of)
{
    const struct option_ints *lengths = &b->plan->settings->lengths;
    b->n = 0;
    for (int i = 0; i < records->n; i++) {
        const struct eval_record *r = &records->items[i];
        int place = 0;
        while (place < lengths->n && lengths->items[place] != r->length) place++;
        if (place == lengths->n || r->index >= b->plan->settings->samples || (of && r->length != of)) continue;
        b->records[b->n] = r;
        b->group[b->n++] = r->task * lengths->n + place;
    }
}

static bool allocate(struct block *b, int n)
{
    const size_t room = (size_t)n + 1;
    b->records = malloc(room * sizeof *b->records);
    b->group = malloc(room * sizeof *b->group);
    b->x = malloc(room * sizeof *b->x);
    b->of = malloc(room * sizeof *b->of);
    b->counted = calloc((size_t)b->n_groups + 1, sizeof *b->counted);
    if (b->records && b->group && b->x && b->of && b->counted) return true;
    console_error("out of memory for the table");
    return false;
}

static void print_title(FILE *out, const struct block *b, const fkv_engine *engine, int of)
{
    const struct eval_plan *p = b->plan;
    const struct fkv_model_info *info = fkv_engine_info(engine);
    fprintf(out, "%s (%s)  texts %.6s  seed %lld  question %s  ", info->name, info->quantisation, p->sources.digest,
            (long long)p->settings->seed, eval_question_is(p->settings));
    if (of)
        fprintf(out, "%s tokens", COUNT((uint64_t)of));
    else
        fputs("all lengths", out);
    fprintf(out, "  %d task%s, %d samples\n", p->n_tasks, p->n_tasks == 1 ? "" : "s", b->n);
}

bool eval_table_print(FILE *out, const struct eval_plan *plan, const fkv_engine *engine,
                      const struct eval_records *records)
{
    const struct option_ints *lengths = &plan->settings->lengths;
    struct block b = {.plan = plan, .n_groups = plan->n_tasks * lengths->n};
    const bool ok = allocate(&b, records->n);
    for (int l = 0; ok && l <= lengths->n; l++) {
        const int of = l < lengths->n ? lengths->items[l] : 0;
        if (!of && lengths->n == 1) break;
        choose(&b, records, of);
        if (!b.n) continue;
        if (l) fputc('\n', out);
        print_title(out, &b, engine, of);
        print_block(out, &b);
        if (!of || lengths->n == 1) warn_of_same(&b);
    }
    free(b.records);
    free(b.group);
    free(b.x);
    free(b.of);
    free(b.counted);
    return ok;
}
