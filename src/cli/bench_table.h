/* bench_table.h: what bench measures, and its output as a table, CSV or JSON. */
#ifndef FKV_CLI_BENCH_TABLE_H
#define FKV_CLI_BENCH_TABLE_H

#include <jansson.h>

#include "cli/settings.h"

enum { BENCH_STAGES_MAX = sizeof((struct fkv_session_stats *)0)->stage_s / sizeof(double) };

/* All double, so that medians and columns go by member. */
struct measure {
    double ttft_s, prefill_tps, decode_tps; /* time to first token; tokens per second */
    double kv, kv_full, kv_peak,
        rss_peak; /* bytes: after the prompt; full attention's; most of KV and of the process */
    double decode_bandwidth,
        read_bandwidth; /* bytes per second: weights and KV read by decoding; what the machine reads */
    double stage_s[BENCH_STAGES_MAX];
};

struct bench_column {
    const char *title, *key; /* of the table; of csv and json, which have plain units */
    double unit;             /* the table shows value / unit */
    int decimals;
    size_t at; /* offset in struct measure */
};

struct bench_table {
    const struct settings *settings;
    const struct fkv_model_info *info;
    struct bench_column columns[16 + BENCH_STAGES_MAX];
    int n_columns;
    json_t *rows; /* JSON only */
};

/* Rows are printed as they come; JSON at the end. */
void bench_table_begin(struct bench_table *table, const struct settings *settings, const struct fkv_model_info *info);
void bench_table_row(struct bench_table *table, const char *policy, int length, const struct measure *measure);
void bench_table_end(struct bench_table *table);

#endif
