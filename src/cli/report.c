#include <math.h>

#include "cli/console.h"
#include "cli/machine.h"
#include "cli/report.h"

double tokens_per_s(uint64_t tokens, double seconds) { return seconds > 0 ? (double)tokens / seconds : 0; }

struct work prompt_work(const struct fkv_session_stats *before, const struct fkv_session_stats *after)
{
    const struct work decoded = answer_work(before, after);
    return (struct work){after->prefill_tokens - before->prefill_tokens + decoded.tokens,
                         after->prefill_s - before->prefill_s + decoded.seconds};
}

struct work answer_work(const struct fkv_session_stats *before, const struct fkv_session_stats *after)
{
    return (struct work){after->decode_tokens - before->decode_tokens, after->decode_s - before->decode_s};
}

static const char *tokens(char text[48], uint64_t n)
{
    snprintf(text, 48, "%s token%s", COUNT(n), n == 1 ? "" : "s");
    return text;
}
#define TOKENS(n) tokens((char[48]){""}, n)

void report_model(FILE *out, const struct fkv_model_info *info)
{
    fprintf(out, "model   %s (%s, %s, %s parameters, %s); %s, %s, %d thread%s\n",
            *info->name ? info->name : "without a name", info->arch, info->quantisation, COUNT(info->n_params),
            SIZE(info->weight_bytes), info->device, info->isa, info->n_threads, info->n_threads == 1 ? "" : "s");
    if (*info->note) fprintf(out, "device  %s\n", info->note);
    if (info->gpu_layers)
        fprintf(out, "layers  %d of %d on the GPU: weights %s of its %s%s\n", info->gpu_layers, info->n_layer,
                SIZE(info->gpu_weight_bytes), SIZE(info->gpu_bytes),
                info->gpu_layers < info->n_layer ? "; the others and the output on the CPU" : "");
}

void report_warnings(FILE *out, const fkv_engine *engine)
{
    const char *text;
    for (size_t i = 0; (text = fkv_engine_warning(engine, i)); i++) fprintf(out, "warning %s\n", text);
}

const char *report_available(char text[320], const struct fkv_memory_plan *p)
{
    snprintf(text, 320, "%s available%s%s", p->available ? SIZE(p->available) : "an unknown amount",
             *p->limit ? ": " : "", p->limit);
    return text;
}

void report_need(FILE *out, const struct memory_need *need, const char *policy)
{
    const struct fkv_memory_plan *p = &need->plan;
    fprintf(out,
            "plan    %s prompt + %s answer tokens: weights %s, KV %s (%s; full attention %s), prefill %s, scratch %s; "
            "%s\n",
            COUNT(need->n_prompt), COUNT(need->n_answer), SIZE(p->weights), SIZE(p->kv), policy, SIZE(p->kv_full),
            SIZE(p->kv_prefill), SIZE(p->scratch), report_available((char[320]){""}, p));
}

static void report_kept(FILE *out, const struct kept *kept, const char *policy, uint64_t peak_bytes)
{
    fprintf(out, "kept    %s", COUNT(kept->n_min));
    if (kept->n_max != kept->n_min) fprintf(out, " to %s", COUNT(kept->n_max));
    fprintf(out, " of %s entries per head (%s)", COUNT(kept->n_prompt), policy);
    if (kept->tsp_layer >= 0)
        fprintf(out, "; %s tokens went past layer %d", COUNT(kept->n_propagated), kept->tsp_layer);
    fprintf(out, "\nKV      %s after the prompt, %.1f %% of full attention's %s; peak %s\n", SIZE(kept->bytes),
            kept->full_bytes ? 100 * (double)kept->bytes / (double)kept->full_bytes : 0, SIZE(kept->full_bytes),
            SIZE(peak_bytes));
}

bool report_signals(FILE *out, const struct fkv_signals *s, double self_check)
{
    const struct {
        const char *name;
        double x;
    } others[] = {{"halves", s->halves}, {"overlap", s->overlap}, {"agreement", s->agreement}, {"entropy", s->entropy}};
    if (s->n_layers)
        fprintf(out, "%.1f %% of the window's attention is on what was kept (least heads %.1f %%)", 100 * s->mass,
                100 * s->mass_least);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (s->n_layers && !isnan(others[i].x)) fprintf(out, ", %s %.2f", others[i].name, others[i].x);
    for (int i = 0; i < s->n_checks; i++)
        fprintf(out, "%s%.4f", i ? ", then " : s->n_layers ? "; self-check KL " : "self-check KL ", s->check[i]);
    if (s->n_checks && s->times > 1)
        fprintf(out, ": %d times as much is kept%s", s->times, s->alike ? "" : ", and the answer may still change");
    else if (s->n_checks)
        fputs(s->alike ? ": the answer does not change" : ": the answer may change", out);
    else if (!isnan(self_check))
        fprintf(out, "%sself-check KL %.4f", s->n_layers ? "; " : "", self_check);
    return s->n_layers || s->n_checks || !isnan(self_check);
}

/* Of a window that is not a number of last tokens. */
static void report_window(FILE *out, const struct generator *g)
{
    const float *weight;
    const int n = fkv_session_window(g->session, &weight);
    int counted = 0;
    if (!weight) return;
    for (int i = 0; i < n; i++) counted += weight[i] > 0;
    fprintf(out, "window  %d of the last %d tokens score the others; marked: ", counted, n);
    if (g->marks.question_n)
        fprintf(out, "a question of %s", TOKENS(g->marks.question_n));
    else
        fputs("no question", out);
    fprintf(out, ", a head of %s\n", TOKENS(g->marks.head_n));
}

void report_run(FILE *out, const struct generator *g, const struct kept *kept, const struct generated *generated)
{
    static const char *const ends[] = {
        [STOP_EOS] = "end token",
        [STOP_LENGTH] = "length",
        [STOP_STRING] = "stop string",
        [STOP_INTERRUPT] = "Ctrl-C",
    };
    struct fkv_session_stats stats;
    struct fkv_signals signals;
    fkv_session_get_stats(g->session, &stats);
    const struct work prompt = prompt_work(&(struct fkv_session_stats){0}, &kept->stats),
                      answer = answer_work(&kept->stats, &stats);
    fprintf(out, "prompt  %s in %.2f s, %.1f tokens/s\n", TOKENS(prompt.tokens), prompt.seconds,
            tokens_per_s(prompt.tokens, prompt.seconds));
    fprintf(out, "answer  %s, %.1f tokens/s; ended by %s\n", TOKENS(generated->n),
            tokens_per_s(answer.tokens, answer.seconds), ends[generated->stop]);
    report_window(out, g);
    report_kept(out, kept, g->settings->session.kv.policy, stats.kv_peak_bytes);
    fkv_session_get_signals(g->session, &signals);
    if (signals.n_layers || signals.n_checks || !isnan(kept->self_check)) fputs("signals ", out);
    if (report_signals(out, &signals, kept->self_check)) fputc('\n', out);
    fprintf(out, "memory  %s at most; loaded in %.2f s", SIZE(machine_peak_rss()), g->load_s);
    if (g->settings->sampler.temperature > 0) fprintf(out, "; seed %lld", (long long)g->settings->seed);
    fputc('\n', out);
}

void report_turn(FILE *out, const struct generator *g, const struct fkv_session_stats *before,
                 const struct fkv_session_stats *prompt)
{
    struct fkv_session_stats now;
    fkv_session_get_stats(g->session, &now);
    const struct work asked = prompt_work(before, prompt), said = answer_work(prompt, &now);
    fprintf(out, "[prompt %s, %.1f/s; answer %s, %.1f/s; context %s of %s; KV %s of %s]\n", TOKENS(asked.tokens),
            tokens_per_s(asked.tokens, asked.seconds), TOKENS(said.tokens), tokens_per_s(said.tokens, said.seconds),
            COUNT(fkv_session_n_seen(g->session)), COUNT((uint64_t)g->n_ctx), SIZE(now.kv_bytes),
            SIZE(now.kv_full_bytes));
}
