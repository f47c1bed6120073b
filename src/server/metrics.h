/* metrics.h: what is counted, as Prometheus reads it. Any thread. */
#ifndef FKV_SERVER_METRICS_H
#define FKV_SERVER_METRICS_H

#include <pthread.h>

#include "eval/text.h"

struct branch;
struct prompt;

enum metric_id {
#define METRIC(name, kind, help) METRIC_##name,
#include "server/metrics.def"
#undef METRIC
    N_METRICS
};

enum histogram_id { HISTOGRAM_FIRST_TOKEN, HISTOGRAM_TOKEN, HISTOGRAM_QUEUE, N_HISTOGRAMS };
enum { HISTOGRAM_BUCKETS = 14, METRIC_APIS = 8 };

struct metrics {
    pthread_mutex_t lock;
    double value[N_METRICS];
    struct {
        unsigned long long count[HISTOGRAM_BUCKETS + 1]; /* the last: more than all */
        double sum;
    } histogram[N_HISTOGRAMS];
    struct {
        const char *api; /* NULL: unused */
        unsigned long long ok, failed, refused;
    } requests[METRIC_APIS];
};

void metrics_open(struct metrics *m);
void metrics_close(struct metrics *m);
void metrics_set(struct metrics *m, enum metric_id id, double value);
void metrics_observe(struct metrics *m, enum histogram_id id, double seconds);
/* api: a constant. status: as HTTP has it. */
void metrics_count_request(struct metrics *m, const char *api, int status);
void metrics_count_prompt(struct metrics *m, const struct prompt *p);
void metrics_count_answer(struct metrics *m, const struct branch *b);
void metrics_count_pass(struct metrics *m, int n_rows);
/* The text of /metrics. */
void metrics_print(struct metrics *m, struct eval_text *out);

#endif
