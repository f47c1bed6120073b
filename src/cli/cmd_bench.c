/* Measures each policy at each prompt length, every time in a fresh session. Within a repetition the policies take
   turns, so that what else happens on the machine meets all of them. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/bench_table.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/generate.h"
#include "cli/machine.h"
#include "cli/report.h"
#include "cli/retention.h"

enum { WARM_UP = 32 }; /* tokens */

struct bench {
    struct generator g;
    const struct settings *settings;
    struct bench_table table;
    int32_t *ids;            /* [longest length] */
    struct measure *samples; /* [policies][repetitions] of the length under way */
};

/* ---- one measurement ------------------------------------------------------------------------- */

/* The same pseudo-random plain tokens each time: no text is special, and none is known from before. */
static bool make_ids(const fkv_engine *engine, int32_t *ids, int n)
{
    int n_vocab = fkv_engine_info(engine)->n_vocab, rejected = 0;
    uint64_t state = 1;
    for (int i = 0; i < n;) {
        const char *bytes;
        state = state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
        int32_t id = (int32_t)((state >> 33) % (uint64_t)n_vocab);
        if (fkv_token_bytes(engine, id, false, &bytes))
            ids[i++] = id;
        else if (++rejected > 100 * (i + 100))
            return false; /* hardly a plain token in this vocabulary */
    }
    return true;
}

static int decode(struct generator *g, int n)
{
    int status = EXIT_SUCCESS;
    for (int i = 0; i < n && status == EXIT_SUCCESS; i++) {
        int32_t id = fkv_sample(g->sampler, fkv_session_logits(g->session));
        status = generator_append(g, id);
    }
    return status;
}

static int measure(struct bench *b, const char *policy, int length, struct measure *m)
{
    struct fkv_session_params params = b->settings->session;
    struct fkv_session_stats prompt, end;
    struct generator *g = &b->g;
    const struct fkv_model_info *info = fkv_engine_info(g->engine);
    retention_choose(b->settings, policy, &params.kv);
    int status = generator_start(g, &params);
    if (status != EXIT_SUCCESS) return status;
    machine_reset_peak_rss();
    double start = fkv_clock_s();
    const struct fkv_marks none = FKV_MARKS_INIT;
    if ((status = generator_prefill(g, b->ids, (size_t)length, &none)) != EXIT_SUCCESS) return status;
    double ttft_s = fkv_clock_s() - start;
    fkv_session_get_stats(g->session, &prompt);
    status = decode(g, b->settings->n_predict);
    fkv_session_get_stats(g->session, &end);
    const struct work asked = prompt_work(&(struct fkv_session_stats){0}, &prompt), said = answer_work(&prompt, &end);
    const double decode_tps = tokens_per_s(said.tokens, said.seconds);
    *m = (struct measure){
        .ttft_s = ttft_s,
        .prefill_tps = tokens_per_s(asked.tokens, asked.seconds),
        .decode_tps = decode_tps,
        .kv = (double)prompt.kv_bytes,
        .kv_full = (double)prompt.kv_full_bytes,
        .kv_peak = (double)end.kv_peak_bytes,
        .rss_peak = (double)machine_peak_rss(),
        .decode_bandwidth = (double)(info->weight_bytes + prompt.kv_bytes) * decode_tps,
    };
    memcpy(m->stage_s, prompt.stage_s, sizeof m->stage_s);
    m->read_bandwidth = machine_read_bandwidth(info->n_threads);
    return status;
}

/* ---- medians --------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of each member by itself. */
static struct measure median(const struct measure *samples, int n)
{
    enum { MEMBERS = sizeof(struct measure) / sizeof(double), REPETITIONS_MAX = 99 };
    struct measure m;
    double sorted[REPETITIONS_MAX];
    for (size_t k = 0; k < MEMBERS; k++) {
        for (int i = 0; i < n; i++) sorted[i] = ((const double *)&samples[i])[k];
        qsort(sorted, (size_t)n, sizeof *sorted, compare);
        ((double *)&m)[k] = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
    }
    return m;
}

/* ---- all ------------------------------------------------------------------------------------- */

static int run_length(struct bench *b, int length)
{
    const struct option_texts *policies = &b->settings->policies;
    int repetitions = b->settings->repetitions;
    for (int r = 0; r < repetitions; r++) {
        for (int p = 0; p < policies->n; p++) {
            if (b->g.progress.shown)
                fprintf(stderr, "\r%s, %s tokens, %d of %d\x1b[K", policies->items[p], COUNT((uint64_t)length), r + 1,
                        repetitions);
            int status = measure(b, policies->items[p], length, &b->samples[p * repetitions + r]);
            if (b->g.progress.shown) fputs("\r\x1b[K", stderr);
            if (status != EXIT_SUCCESS) return status;
        }
    }
    for (int p = 0; p < policies->n; p++) {
        struct measure m = median(b->samples + p * repetitions, repetitions);
        bench_table_row(&b->table, policies->items[p], length, &m);
    }
    return EXIT_SUCCESS;
}

/* Refuses before the first measurement what the last could not do; *longest: of the lengths. */
static int check(const struct bench *b, int *longest)
{
    const struct settings *s = b->settings;
    struct fkv_session_params params = s->session;
    struct memory_need need;
    *longest = 0;
    for (int i = 0; i < s->lengths.n; i++)
        if (s->lengths.items[i] > *longest) *longest = s->lengths.items[i];
    if (*longest + (int64_t)s->n_predict > b->g.n_ctx)
        return console_error("--lengths: %s tokens and %s decoded ones exceed the context of %s",
                             COUNT((uint64_t)*longest), COUNT((uint64_t)s->n_predict), COUNT((uint64_t)b->g.n_ctx));
    for (int p = 0; p < s->policies.n; p++) {
        retention_choose(s, s->policies.items[p], &params.kv);
        int status = generator_plan(&b->g, &params, (size_t)*longest, s->n_predict, &need);
        if (status == EXIT_SUCCESS) status = generator_check_memory(&b->g, &need.plan);
        if (status != EXIT_SUCCESS) return status;
    }
    return EXIT_SUCCESS;
}

static int run(struct bench *b)
{
    const struct settings *s = b->settings;
    int longest, status = check(b, &longest);
    if (status != EXIT_SUCCESS) return status;
    b->ids = malloc((size_t)longest * sizeof *b->ids);
    b->samples = calloc((size_t)(s->policies.n * s->repetitions), sizeof *b->samples);
    if (!b->ids || !b->samples) return console_error("out of memory");
    if (!make_ids(b->g.engine, b->ids, longest))
        return console_error("the vocabulary has too few plain tokens to make a prompt of");
    struct measure ignored; /* the first pages the weights in */
    status = measure(b, s->policies.items[0], longest < WARM_UP ? longest : WARM_UP, &ignored);
    if (status != EXIT_SUCCESS) return status;
    bench_table_begin(&b->table, s, fkv_engine_info(b->g.engine));
    for (int i = 0; i < s->lengths.n && status == EXIT_SUCCESS; i++) status = run_length(b, s->lengths.items[i]);
    bench_table_end(&b->table);
    return status;
}

int cmd_bench(struct settings *settings)
{
    struct bench b = {.settings = settings};
    settings->sampler.temperature = 0;
    int status = generator_open(&b.g, settings);
    if (status == EXIT_SUCCESS) status = run(&b);
    free(b.samples);
    free(b.ids);
    generator_close(&b.g);
    return status;
}
