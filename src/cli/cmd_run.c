#include <stdlib.h>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/machine.h"
#include "cli/prompt.h"
#include "cli/prompt_cache.h"
#include "cli/report.h"
#include "cli/trace.h"

/* The prompt is in the session. */
static int answer(struct generator *g, FILE *trace, const struct prompt_cache *cache, const int32_t *ids, size_t n)
{
    struct generated generated = {.answer = {.out = stdout, .stops = &g->settings->stops}};
    struct kept kept;
    kept_of(g->session, &kept);
    if (g->settings->self_check && n > 1 && fkv_session_self_check(g->session, &kept.self_check) != FKV_OK)
        return console_error("%s", fkv_session_error(g->session));
    trace_prefill(trace, g, ids, n);
    int status = generator_answer(g, &generated);
    if (generated.answer.n) putchar('\n');
    fflush(stdout);
    if (status != EXIT_FAILURE) {
        fputc('\n', stderr);
        prompt_cache_report(stderr, cache, g);
        report_run(stderr, g, &kept, &generated);
        trace_answer(trace, g, &kept, &generated);
    }
    generated_free(&generated);
    return status;
}

static int run(struct generator *g, FILE *trace)
{
    const struct settings *s = g->settings;
    int32_t *ids = NULL;
    size_t n = 0;
    struct fkv_marks marks;
    struct memory_need need;
    struct prompt_cache cache = {.computed = NULL};
    int status = prompt_ids(s, g->engine, &ids, &n, &marks) ? EXIT_SUCCESS : EXIT_FAILURE;
    if (status == EXIT_SUCCESS && !n) status = console_error("the prompt is empty");
    if (status == EXIT_SUCCESS) report_model(stderr, fkv_engine_info(g->engine));
    if (status == EXIT_SUCCESS) status = generator_plan(g, &s->session, n, s->n_predict, &need);
    if (status == EXIT_SUCCESS) report_need(stderr, &need, s->session.kv.policy);
    if (status == EXIT_SUCCESS) status = generator_check_memory(g, &need.plan);
    if (status == EXIT_SUCCESS) status = generator_start(g, &s->session);
    if (status == EXIT_SUCCESS) prompt_cache_load(&cache, g, ids, n);
    if (status == EXIT_SUCCESS) status = generator_prefill(g, ids, n, &marks);
    if (status == EXIT_SUCCESS) status = prompt_cache_keep(&cache, g);
    if (status == EXIT_SUCCESS) {
        for (size_t i = 0; i < n; i++) fkv_sampler_accept(g->sampler, ids[i]);
        status = answer(g, trace, &cache, ids, n);
    }
    if (prompt_cache_save(&cache, g) != EXIT_SUCCESS) status = EXIT_FAILURE;
    if (status == EXIT_INTERRUPTED) fputs("interrupted\n", stderr);
    fkv_free(ids);
    return status;
}

int cmd_run(struct settings *settings)
{
    struct generator g = {0};
    FILE *trace = NULL;
    int status = prompt_asked(settings) ? prompt_cache_check(settings) : EXIT_FAILURE;
    if (settings->seed < 0) settings->seed = machine_random_seed();
    if (status == EXIT_SUCCESS && !console_open(&trace, settings->trace)) status = EXIT_FAILURE;
    if (status == EXIT_SUCCESS) status = generator_open(&g, settings);
    if (status == EXIT_SUCCESS) status = run(&g, trace);
    generator_close(&g);
    if (!console_close(trace, settings->trace) && status == EXIT_SUCCESS) status = EXIT_FAILURE;
    return status;
}
