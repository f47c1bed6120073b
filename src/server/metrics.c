#include "server/metrics.h"

#include <string.h>

#include "server/request.h"

static const struct {
    const char *name, *kind, *help;
} rows[N_METRICS] = {
#define METRIC(name, kind, help) {#name, #kind, help},
#include "server/metrics.def"
#undef METRIC
};

static const struct {
    const char *name, *help;
} histograms[N_HISTOGRAMS] = {
    [HISTOGRAM_FIRST_TOKEN] = {"time_to_first_token_seconds", "from the request to the first token"},
    [HISTOGRAM_TOKEN] = {"time_per_output_token_seconds", "mean of an answer"},
    [HISTOGRAM_QUEUE] = {"queue_seconds", "from the queue to the first work"},
};

static const double bounds[HISTOGRAM_BUCKETS] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300};

void metrics_open(struct metrics *m)
{
    *m = (struct metrics){0};
    pthread_mutex_init(&m->lock, NULL);
}

void metrics_close(struct metrics *m) { pthread_mutex_destroy(&m->lock); }

void metrics_set(struct metrics *m, enum metric_id id, double value)
{
    pthread_mutex_lock(&m->lock);
    m->value[id] = value;
    pthread_mutex_unlock(&m->lock);
}

void metrics_observe(struct metrics *m, enum histogram_id id, double seconds)
{
    int i = 0;
    while (i < HISTOGRAM_BUCKETS && seconds > bounds[i]) i++;
    pthread_mutex_lock(&m->lock);
    m->histogram[id].count[i]++;
    m->histogram[id].sum += seconds;
    pthread_mutex_unlock(&m->lock);
}

void metrics_count_request(struct metrics *m, const char *api, int status)
{
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < METRIC_APIS; i++) {
        if (m->requests[i].api && strcmp(m->requests[i].api, api)) continue;
        m->requests[i].api = api;
        if (status < 400)
            m->requests[i].ok++;
        else if (status < 500)
            m->requests[i].refused++;
        else
            m->requests[i].failed++;
        break;
    }
    pthread_mutex_unlock(&m->lock);
}

void metrics_count_prompt(struct metrics *m, const struct prompt *p)
{
    pthread_mutex_lock(&m->lock);
    m->value[METRIC_prompt_tokens_total] += (double)p->n;
    m->value[METRIC_prompt_tokens_cached_total] += (double)p->n_cached;
    m->value[METRIC_prompt_seconds_total] += p->ms / 1e3;
    if (p->kept.n_propagated > 0) m->value[METRIC_tokens_propagated_total] += p->kept.n_propagated;
    m->value[METRIC_entries_kept_total] += p->kept.mean;
    pthread_mutex_unlock(&m->lock);
}

void metrics_count_answer(struct metrics *m, const struct branch *b)
{
    const double seconds = b->last_s - b->first_s;
    pthread_mutex_lock(&m->lock);
    m->value[METRIC_tokens_predicted_total] += (double)b->n_ids;
    m->value[METRIC_tokens_predicted_seconds_total] += seconds;
    pthread_mutex_unlock(&m->lock);
    if (b->n_ids > 1) metrics_observe(m, HISTOGRAM_TOKEN, seconds / (double)(b->n_ids - 1));
}

void metrics_count_pass(struct metrics *m, int n_rows)
{
    pthread_mutex_lock(&m->lock);
    m->value[METRIC_decode_passes_total]++;
    m->value[METRIC_decode_rows_total] += n_rows;
    m->value[METRIC_decode_batch_size] = n_rows;
    pthread_mutex_unlock(&m->lock);
}

static void print_histogram(const struct metrics *m, int h, struct eval_text *out)
{
    unsigned long long sum = 0;
    const char *name = histograms[h].name;
    eval_text_print(out, "# HELP fastkv_%s %s\n# TYPE fastkv_%s histogram\n", name, histograms[h].help, name);
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        eval_text_print(out, "fastkv_%s_bucket{le=\"%g\"} %llu\n", name, bounds[i], sum += m->histogram[h].count[i]);
    sum += m->histogram[h].count[HISTOGRAM_BUCKETS];
    eval_text_print(out, "fastkv_%s_bucket{le=\"+Inf\"} %llu\nfastkv_%s_sum %.6f\nfastkv_%s_count %llu\n", name, sum,
                    name, m->histogram[h].sum, name, sum);
}

void metrics_print(struct metrics *m, struct eval_text *out)
{
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < N_METRICS; i++)
        eval_text_print(out, "# HELP fastkv_%s %s\n# TYPE fastkv_%s %s\nfastkv_%s %.15g\n", rows[i].name, rows[i].help,
                        rows[i].name, rows[i].kind, rows[i].name, m->value[i]);
    eval_text_print(out,
                    "# HELP fastkv_requests_total requests that have ended\n# TYPE fastkv_requests_total counter\n");
    for (int i = 0; i < METRIC_APIS && m->requests[i].api; i++)
        eval_text_print(out,
                        "fastkv_requests_total{api=\"%s\",status=\"2xx\"} %llu\n"
                        "fastkv_requests_total{api=\"%s\",status=\"4xx\"} %llu\n"
                        "fastkv_requests_total{api=\"%s\",status=\"5xx\"} %llu\n",
                        m->requests[i].api, m->requests[i].ok, m->requests[i].api, m->requests[i].refused,
                        m->requests[i].api, m->requests[i].failed);
    for (int h = 0; h < N_HISTOGRAMS; h++) print_histogram(m, h, out);
    pthread_mutex_unlock(&m->lock);
}
