#include "cli/console.h"
#include "cli/machine.h"
#include "cli/report.h"

double tokens_per_s(uint64_t tokens, double seconds) { return seconds > 0 ? (double)tokens / seconds : 0; }

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

void report_need(FILE *out, const struct memory_need *need, const char *policy)
{
    const struct fkv_memory_plan *p = &need->plan;
    fprintf(out,
            "plan    %s prompt + %s answer tokens: weights %s, KV %s (%s; full attention %s), prefill %s, scratch %s; "
            "%s available\n",
            COUNT(need->n_prompt), COUNT(need->n_answer), SIZE(p->weights), SIZE(p->kv), policy, SIZE(p->kv_full),
            SIZE(p->kv_prefill), SIZE(p->scratch), p->available ? SIZE(p->available) : "an unknown amount");
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

void report_run(FILE *out, const struct generator *g, const struct kept *kept, const struct generated *generated)
{
    static const char *const ends[] = {
        [STOP_EOS] = "end token",
        [STOP_LENGTH] = "length",
        [STOP_STRING] = "stop string",
        [STOP_INTERRUPT] = "Ctrl-C",
    };
    struct fkv_session_stats stats;
    fkv_session_get_stats(g->session, &stats);
    fprintf(out, "prompt  %s tokens in %.2f s, %.1f tokens/s\n", COUNT(stats.prefill_tokens), stats.prefill_s,
            tokens_per_s(stats.prefill_tokens, stats.prefill_s));
    fprintf(out, "answer  %s tokens, %.1f tokens/s; ended by %s\n", COUNT(generated->n),
            tokens_per_s(stats.decode_tokens, stats.decode_s), ends[generated->stop]);
    report_kept(out, kept, g->settings->session.kv.policy, stats.kv_peak_bytes);
    fprintf(out, "memory  %s at most; loaded in %.2f s", SIZE(machine_peak_rss()), g->load_s);
    if (g->settings->sampler.temperature > 0) fprintf(out, "; seed %lld", (long long)g->settings->seed);
    fputc('\n', out);
}

void report_turn(FILE *out, const struct generator *g, const struct fkv_session_stats *before)
{
    struct fkv_session_stats now;
    fkv_session_get_stats(g->session, &now);
    uint64_t prompt = now.prefill_tokens - before->prefill_tokens, answer = now.decode_tokens - before->decode_tokens;
    fprintf(out, "[prompt %s tokens, %.1f/s; answer %s tokens, %.1f/s; context %s of %s; KV %s of %s]\n", COUNT(prompt),
            tokens_per_s(prompt, now.prefill_s - before->prefill_s), COUNT(answer),
            tokens_per_s(answer, now.decode_s - before->decode_s), COUNT(fkv_session_n_seen(g->session)),
            COUNT((uint64_t)g->n_ctx), SIZE(now.kv_bytes), SIZE(now.kv_full_bytes));
}
