/* Measures quality: every sample under full attention and under each variant, in turn over lengths and tasks, so that a
   run that is ended early has some of each. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/eval_log.h"
#include "cli/eval_table.h"
#include "cli/generate.h"
#include "cli/interrupt.h"
#include "cli/prompt.h"
#include "eval/score.h"

struct evaluation {
    struct generator g; /* its engine; sessions are the runner's */
    const struct settings *settings;
    struct eval_plan plan;
    struct eval_runner runner;
    struct eval_records records;
    struct eval_log log;
    FILE *dump;
    bool stopped; /* Ctrl-C */
    /* progress, in tokens of prompts */
    double start_s, done, all;
    int n_different; /* samples whose variant dropped nothing and yet differs from full attention */
};

/* ---- what the runner asks -------------------------------------------------------------------- */

static bool go_on(void *user, uint64_t done, uint64_t all)
{
    struct evaluation *e = user;
    (void)done;
    (void)all;
    e->stopped |= interrupted();
    return !e->stopped;
}

/* Watching a session forgets an earlier Ctrl-C. */
static void watch(void *user, fkv_session *session)
{
    go_on(user, 0, 0);
    interrupt_watch(session);
}

static void show(struct evaluation *e, const struct eval_task *task, int length)
{
    const double spent = fkv_clock_s() - e->start_s, left = e->done > 0 ? spent * (e->all - e->done) / e->done : 0;
    if (!e->g.progress.shown) return;
    fprintf(stderr, "\r%3.0f %%  %s at %s tokens", 100 * e->done / e->all, task->name, COUNT((uint64_t)length));
    if (e->done > 0 && left >= 3600)
        fprintf(stderr, "  %.0f h %02.0f min left", left / 3600, (double)((int)left / 60 % 60));
    else if (e->done > 0)
        fprintf(stderr, "  %d min %02d s left", (int)left / 60, (int)left % 60);
    fputs("\x1b[K", stderr);
    fflush(stderr);
}

/* ---- one sample ------------------------------------------------------------------------------ */

static void score(const struct eval_task *task, const struct eval_sample *sample, struct eval_metrics *m)
{
    m->score = eval_score(task, sample, m->text);
    m->strict = eval_score_strict(task, sample, m->text);
}

/* Keeping everything is full attention, whatever the policy is called. */
static void check_identity(struct evaluation *e, const struct eval_record *r, int v)
{
    const struct eval_metrics *full = &r->full, *m = &r->variants[v];
    if (!m->all_kept || (m->kl == 0 && m->kl_reference == 0 && m->gold == 0 && !strcmp(m->text, full->text))) return;
    e->n_different++;
    console_warning("%s dropped nothing of %s, %d tokens, sample %d, and differs from full attention: KL %g",
                    e->plan.variants[v].name, e->plan.tasks[r->task]->name, r->length, r->index, m->kl);
}

static int measure(struct evaluation *e, struct eval_record *r, const struct eval_sample *sample,
                   const struct eval_request *request)
{
    const struct eval_task *task = e->plan.tasks[r->task];
    char err[FKV_ERROR_BYTES] = "";
    const struct fkv_kv_params *kv[OPTION_LIST_MAX];
    for (int v = 0; v < e->plan.n_variants; v++) kv[v] = &e->plan.variants[v].kv;
    fkv_status status = eval_run_start(&e->runner, request, kv, e->plan.n_variants, err);
    if (status == FKV_OK) status = eval_run_full(&e->runner, task->n_predict, &r->full, err);
    if (status == FKV_OK) score(task, sample, &r->full);
    for (int v = 0; v < e->plan.n_variants && status == FKV_OK; v++) {
        status = eval_run_variant(&e->runner, task->n_predict, v, &r->variants[v], err);
        if (status != FKV_OK) break;
        score(task, sample, &r->variants[v]);
        check_identity(e, r, v);
    }
    eval_run_end(&e->runner);
    if (status != FKV_OK) return exit_status_of(status, err);
    return eval_log_add(&e->log, &e->plan, r, sample) ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Says which of the prompt's ids are the question. */
static fkv_status mark(const struct evaluation *e, const struct eval_sample *sample, struct eval_request *request,
                       char *err)
{
    const size_t n_message = sample->question.n + (sample->earlier.n ? 0 : sample->context.n + 1);
    char *text;
    size_t n;
    const fkv_status status = eval_request_text(e->g.engine, sample, &text, &n, err);
    if (status != FKV_OK) return status;
    request->marks = prompt_marks(e->g.engine, text, n, request->ids, request->n, sample->question.s,
                                  sample->question.n, n_message);
    fkv_free(text);
    return FKV_OK;
}

static int make(struct evaluation *e, const struct eval_task *task, int length, int index, struct eval_sample *sample,
                struct eval_request *request)
{
    struct eval_meter meter = {.engine = e->g.engine};
    char err[FKV_ERROR_BYTES];
    if (!eval_task_sample(task, &e->plan.sources, (uint64_t)e->settings->seed, length, index, eval_request_measure,
                          &meter, sample)) {
        if (*meter.err) return console_error("%s", meter.err);
        return console_error("--lengths: %s does not fit %d tokens with its answer", task->name, length);
    }
    if (e->settings->closed_book) eval_sample_close_book(sample);
    fkv_status status = eval_request_make(e->g.engine, sample, request, err);
    if (status == FKV_OK && (status = mark(e, sample, request, err)) != FKV_OK) eval_request_release(request);
    if (status == FKV_OK) return EXIT_SUCCESS;
    eval_sample_release(sample);
    return exit_status_of(status, err);
}

static int run_sample(struct evaluation *e, int task, int length, int index)
{
    struct eval_sample sample;
    struct eval_request request;
    int status = make(e, e->plan.tasks[task], length, index, &sample, &request);
    if (status != EXIT_SUCCESS) return status;
    struct eval_record *r = eval_records_add(&e->records, &e->plan);
    if (r) {
        r->task = task;
        r->length = length;
        r->index = index;
        r->n_prompt = (int)request.n;
        if (e->dump)
            status = eval_dump_line(e->dump, &e->plan, e->g.engine, r, &sample) ? EXIT_SUCCESS : EXIT_FAILURE;
        else
            status = measure(e, r, &sample, &request);
        eval_record_forget_texts(r, &e->plan);
        if (status != EXIT_SUCCESS) {
            free(r->variants);
            e->records.n--;
        }
    }
    eval_request_release(&request);
    eval_sample_release(&sample);
    return r ? status : EXIT_FAILURE;
}

/* ---- all ------------------------------------------------------------------------------------- */

static int run_all(struct evaluation *e)
{
    const struct settings *s = e->settings;
    int status = EXIT_SUCCESS;
    for (int counting = 1; counting >= 0; counting--) { /* what is left to do is counted first */
        for (int i = 0; i < s->samples; i++) {
            for (int l = 0; l < s->lengths.n; l++) {
                for (int t = 0; t < e->plan.n_tasks; t++) {
                    const int length = s->lengths.items[l];
                    if (eval_records_have(&e->records, t, length, i)) continue;
                    if (counting) {
                        e->all += length;
                        continue;
                    }
                    show(e, e->plan.tasks[t], length);
                    status = run_sample(e, t, length, i);
                    if (status != EXIT_SUCCESS) return status;
                    if (!go_on(e, 0, 0)) return EXIT_INTERRUPTED;
                    e->done += length;
                }
            }
        }
    }
    return status;
}

/* Refuses before the first sample what the last could not do. */
static int check(const struct evaluation *e, int longest)
{
    const struct settings *s = e->settings;
    const struct fkv_kv_params *kv[OPTION_LIST_MAX];
    if (s->dump) return EXIT_SUCCESS; /* only the vocabulary is loaded */
    if (longest > e->g.n_ctx)
        return console_error("--lengths: %s tokens exceed the context of %s", COUNT((uint64_t)longest),
                             COUNT((uint64_t)e->g.n_ctx));
    for (int v = 0; v < e->plan.n_variants; v++) kv[v] = &e->plan.variants[v].kv;
    return generator_check_variants(&e->g, (size_t)longest, kv, e->plan.n_variants);
}

static int check_shortest(struct evaluation *e, int shortest)
{
    int status = EXIT_SUCCESS;
    for (int t = 0; t < e->plan.n_tasks && status == EXIT_SUCCESS; t++) {
        struct eval_sample sample;
        struct eval_request request;
        status = make(e, e->plan.tasks[t], shortest, 0, &sample, &request);
        if (status != EXIT_SUCCESS) return status;
        eval_request_release(&request);
        eval_sample_release(&sample);
    }
    return status;
}

static int prepare(struct evaluation *e)
{
    enum { ROOM = 2 * EVAL_FORCED }; /* tokens beyond the answer's limit: a right answer that is led through */
    const struct settings *s = e->settings;
    int longest = 0, shortest = INT32_MAX;
    for (int i = 0; i < s->lengths.n; i++) {
        if (s->lengths.items[i] > longest) longest = s->lengths.items[i];
        if (s->lengths.items[i] < shortest) shortest = s->lengths.items[i];
    }
    int status = check(e, longest);
    if (status == EXIT_SUCCESS) status = check_shortest(e, shortest);
    if (status != EXIT_SUCCESS) return status;
    if (s->dump) return console_open(&e->dump, s->dump) ? EXIT_SUCCESS : EXIT_FAILURE;
    e->runner = (struct eval_runner){.engine = e->g.engine,
                                     .session = s->session,
                                     .hidden = s->hidden,
                                     .go_on = go_on,
                                     .watch = watch,
                                     .user = e};
    e->runner.session.n_ctx = longest + ROOM;
    if (!eval_runner_open(&e->runner)) return console_error("out of memory for the logits");
    return eval_log_open(&e->log, &e->plan, e->g.engine, &e->records) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int finish(struct evaluation *e, int status)
{
    interrupt_unwatch();
    if (e->g.progress.shown) fputs("\r\x1b[K", stderr);
    if (!console_close(e->dump, e->settings->dump) && status == EXIT_SUCCESS) status = EXIT_FAILURE;
    if (!eval_log_close(&e->log) && status == EXIT_SUCCESS) status = EXIT_FAILURE;
    if (status == EXIT_INTERRUPTED)
        fprintf(stderr, "interrupted%s\n", e->settings->json ? ": --resume goes on from here" : "");
    if (status == EXIT_SUCCESS && !e->settings->dump)
        status = eval_table_print(stdout, &e->plan, e->g.engine, &e->records) ? EXIT_SUCCESS : EXIT_FAILURE;
    if (status == EXIT_SUCCESS && e->n_different)
        status = console_error("in %d measurements nothing was dropped, and yet they differ from full attention",
                               e->n_different);
    return status;
}

int cmd_eval(struct settings *settings)
{
    struct evaluation *e = calloc(1, sizeof *e);
    if (!e) return console_error("out of memory");
    e->settings = settings;
    const char *wrong = settings->resume && !settings->json         ? "--resume: expected --json FILE, found none"
                        : settings->closed_book && settings->hidden ? "--closed-book: expected no --hidden, found it"
                                                                    : NULL;
    if (wrong) {
        free(e);
        return console_error("%s", wrong);
    }
    settings->engine.vocab_only = settings->dump != NULL;
    int status = eval_plan_open(&e->plan, settings) ? EXIT_SUCCESS : EXIT_FAILURE;
    if (status == EXIT_SUCCESS) status = generator_open(&e->g, settings);
    if (status == EXIT_SUCCESS) status = prepare(e);
    if (status == EXIT_SUCCESS) {
        e->start_s = fkv_clock_s();
        interrupt_watch(NULL);
        status = finish(e, run_all(e));
    }
    eval_runner_close(&e->runner);
    eval_records_release(&e->records, &e->plan);
    eval_plan_close(&e->plan);
    generator_close(&e->g);
    free(e);
    return status;
}
