#include <stdio.h>
#include <string.h>

#include "cli/bench_table.h"
#include "cli/console.h"

#define AT(member) offsetof(struct measure, member)
static const struct bench_column fixed_columns[] = {
    {"TTFT s", "ttft_s", 1, 3, AT(ttft_s)},
    {"prefill t/s", "prefill_tokens_per_s", 1, 1, AT(prefill_tps)},
    {"decode t/s", "decode_tokens_per_s", 1, 2, AT(decode_tps)},
    {"KV MiB", "kv_bytes", 1 << 20, 1, AT(kv)},
    {"full KV MiB", "kv_full_bytes", 1 << 20, 1, AT(kv_full)},
    {"peak KV MiB", "kv_peak_bytes", 1 << 20, 1, AT(kv_peak)},
    {"peak RSS MiB", "peak_rss_bytes", 1 << 20, 0, AT(rss_peak)},
    {"decode reads GB/s", "decode_bytes_per_s", 1e9, 1, AT(decode_bandwidth)},
    {"machine reads GB/s", "machine_bytes_per_s", 1e9, 1, AT(read_bandwidth)},
};
enum { N_FIXED = sizeof fixed_columns / sizeof *fixed_columns };

static double value(const struct measure *m, const struct bench_column *c)
{
    return *(const double *)((const char *)m + c->at);
}

/* ---- Markdown -------------------------------------------------------------------------------- */

static void md_begin(const struct bench_table *t)
{
    const struct fkv_model_info *info = t->info;
    printf("%s (%s, %s); fastkv %s, %s, %s, %d threads; ", info->name, info->arch, info->quantisation, fkv_version(),
           info->device, info->isa, info->n_threads);
    printf("%d tokens decoded, median of %d\n\n| policy | prompt", t->settings->n_predict, t->settings->repetitions);
    for (int i = 0; i < t->n_columns; i++) printf(" | %s", t->columns[i].title);
    fputs(" |\n|---|---:|", stdout);
    for (int i = 0; i < t->n_columns; i++) fputs("---:|", stdout);
    putchar('\n');
}

static void md_row(const struct bench_table *t, const char *policy, int length, const struct measure *m)
{
    printf("| %s | %s", policy, COUNT((uint64_t)length));
    for (int i = 0; i < t->n_columns; i++) {
        const struct bench_column *c = &t->columns[i];
        printf(" | %.*f", c->decimals, value(m, c) / c->unit);
    }
    puts(" |");
}

/* ---- CSV ------------------------------------------------------------------------------------- */

static void csv_begin(const struct bench_table *t)
{
    fputs("isa,threads,policy,prompt_tokens", stdout);
    for (int i = 0; i < t->n_columns; i++) {
        const char *quote = strchr(t->columns[i].key, ',') ? "\"" : "";
        printf(",%s%s%s", quote, t->columns[i].key, quote);
    }
    putchar('\n');
}

static void csv_row(const struct bench_table *t, const char *policy, int length, const struct measure *m)
{
    printf("%s,%d,%s,%d", t->info->isa, t->info->n_threads, policy, length);
    for (int i = 0; i < t->n_columns; i++) printf(",%.10g", value(m, &t->columns[i]));
    putchar('\n');
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void json_row(const struct bench_table *t, const char *policy, int length, const struct measure *m)
{
    json_t *row = json_pack("{s:s, s:i, s:s, s:i}", "isa", t->info->isa, "threads", t->info->n_threads, "policy",
                            policy, "prompt_tokens", length);
    for (int i = 0; i < t->n_columns; i++) {
        const struct bench_column *c = &t->columns[i];
        json_object_set_new(row, c->key, c->unit > 1 ? json_integer((json_int_t)value(m, c)) : json_real(value(m, c)));
    }
    json_array_append_new(t->rows, row);
}

/* ---- any ------------------------------------------------------------------------------------- */

void bench_table_begin(struct bench_table *t, const struct settings *settings, const struct fkv_model_info *info)
{
    *t = (struct bench_table){.settings = settings, .info = info, .n_columns = N_FIXED};
    memcpy(t->columns, fixed_columns, sizeof fixed_columns);
    const char *stage;
    for (int i = 0; settings->stages && i < BENCH_STAGES_MAX && (stage = fkv_stage_name(i)); i++)
        t->columns[t->n_columns++] = (struct bench_column){stage, stage, 1, 3,
                                                           AT(stage_s) + (size_t)i * sizeof(double)};
    if (settings->output == OUTPUT_JSON)
        t->rows = json_array();
    else if (settings->output == OUTPUT_CSV)
        csv_begin(t);
    else
        md_begin(t);
}

void bench_table_row(struct bench_table *t, const char *policy, int length, const struct measure *m)
{
    if (t->settings->output == OUTPUT_JSON)
        json_row(t, policy, length, m);
    else if (t->settings->output == OUTPUT_CSV)
        csv_row(t, policy, length, m);
    else
        md_row(t, policy, length, m);
    fflush(stdout);
}

void bench_table_end(struct bench_table *t)
{
    if (!t->rows) return;
    json_dumpf(t->rows, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(10));
    putchar('\n');
    json_decref(t->rows);
}
