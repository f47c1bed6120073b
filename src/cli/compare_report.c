#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/compare.h"
#include "cli/console.h"
#include "cli/report.h"
#include "cli/utf8.h"

enum { LEFT = 17, PASSAGES = 3, QUOTE = 90 };
static const char *const mark = ">>>"; /* where answers part */

static void label(FILE *out, const char *text) { fprintf(out, "%-*s", LEFT, text); }

/* ---- answers --------------------------------------------------------------------------------- */

static void print_text(FILE *out, const char *text, size_t n)
{
    struct eval_text clean = {0};
    utf8_add_clean(&clean, text, n);
    for (size_t i = 0; !clean.failed && i < clean.n; i++) {
        const char c = clean.s[i];
        if (c == '\n') {
            fputc(c, out);
            if (i + 1 == clean.n || clean.s[i + 1] != '\n') fprintf(out, "%*s", LEFT, "");
        } else {
            fputc((unsigned char)c < ' ' && c != '\t' ? ' ' : c, out); /* a terminal obeys others */
        }
    }
    free(clean.s);
}

/* parting: where the mark goes, or the text's length. */
static void print_answer(FILE *out, const char *name, const char *text, size_t parting, bool parts)
{
    label(out, name);
    print_text(out, text, parting);
    if (parts) fputs(mark, out);
    print_text(out, text + parting, strlen(text) - parting);
    fputc('\n', out);
}

static void print_answers(FILE *out, const struct compared *full, const struct compared *x)
{
    const char *const other = strcmp(x->kv.policy, "full") ? x->kv.policy : "full, again";
    const size_t at = compare_parting(full->m.text, x->m.text);
    const bool parts = strcmp(full->m.text, x->m.text) != 0;
    print_answer(out, "full attention", full->m.text, at, parts);
    print_answer(out, other, x->m.text, at, parts);
    label(out, "");
    if (parts)
        fprintf(out, "the same: the first %d of %d tokens; %s is where the answers part\n", x->m.n_same,
                full->m.n_answer, mark);
    else
        fprintf(out, "the same: %d of %d tokens\n", x->m.n_same, full->m.n_answer);
}

/* ---- distances ------------------------------------------------------------------------------- */

static void print_fidelity(FILE *out, const struct comparison *c, const struct compared *x)
{
    const char *bytes;
    const struct eval_metrics *m = &x->m;
    const size_t n = fkv_token_bytes(c->g.engine, c->runner.full_ids[m->worst], true, &bytes);
    label(out, "fidelity");
    fprintf(out, "KL %.4f nats a token (first token %.4f", m->kl, m->kl_first);
    if (m->kl_worst > 0) {
        struct eval_text word = {0};
        eval_text_add(&word, bytes, n);
        fprintf(out, ", worst %.4f at \"", m->kl_worst);
        if (!word.failed) print_text(out, word.s + strspn(word.s, " \n"), word.n - strspn(word.s, " \n"));
        fputc('"', out);
        free(word.s);
    }
    fprintf(out, "), top-1 %.0f/%d", m->top1 * m->n_compared, m->n_compared);
    if (m->n_compared < c->all[0].m.n_answer) fprintf(out, ", over the first %d tokens", m->n_compared);
    fputc('\n', out);
}

/* ---- what was kept --------------------------------------------------------------------------- */

static void print_kept(FILE *out, const struct comparison *c, const struct compared *x)
{
    const struct kept *k = &x->kept;
    label(out, "kept");
    fprintf(out, "%s", COUNT(k->n_min));
    if (k->n_max != k->n_min) fprintf(out, " to %s", COUNT(k->n_max));
    fprintf(out, " of %s entries a head", COUNT(k->n_prompt));
    if (c->looked)
        fprintf(out, "; %.1f %% of the answer's attention falls on them (least %.0f %%, layer %d, head %d)",
                100 * x->seen, 100 * x->seen_least, x->least_layer, x->least_head);
    fputc('\n', out);
    if (k->tsp_layer < 0) return;
    label(out, "propagated");
    fprintf(out, "%s rows past layer %d\n", COUNT(k->n_propagated), k->tsp_layer);
}

static void print_signals(FILE *out, const struct eval_metrics *m)
{
    if (!m->signals.n_layers && !m->signals.n_checks && isnan(m->self_check)) return;
    label(out, "signals");
    if (report_signals(out, &m->signals, m->self_check)) fputc('\n', out);
}

static void print_dropped(FILE *out, const struct comparison *c)
{
    struct passage passages[PASSAGES];
    const int n = c->looked ? compare_dropped(c, passages, PASSAGES) : 0;
    for (int i = 0; i < n; i++) {
        struct eval_text quote = {0};
        compare_quote(c, passages[i].from, passages[i].to, QUOTE, &quote);
        if (i == 0) {
            label(out, "dropped");
            fputs("what full attention looked at and was not kept, by its share of the attention:\n", out);
        }
        label(out, "");
        fprintf(out, "%4.1f %%  \"...%s...\"\n", 100 * passages[i].lost, quote.failed ? "" : quote.s);
        free(quote.s);
    }
}

/* ---- what it costs --------------------------------------------------------------------------- */

static double per_second(double seconds) { return seconds > 0 ? 1 / seconds : 0; }

static void print_cost(FILE *out, const struct compared *full, const struct compared *x)
{
    label(out, "cost");
    if (x->m.prefill_s > 0)
        fprintf(out, "prefill %.2f s against %.2f s", x->m.prefill_s, full->m.prefill_s);
    else
        fprintf(out, "prefill as full attention's %.2f s, which served both", full->m.prefill_s);
    fprintf(out, ", KV %s against %s", SIZE(x->kept.bytes), SIZE(full->kept.bytes));
    if (x->decode_s > 0)
        fprintf(out, ", decoding %.1f against %.1f tokens/s", per_second(x->decode_s), per_second(full->decode_s));
    fputc('\n', out);
}

static void print_advice(FILE *out, const struct compared *x)
{
    label(out, "advice");
    if (x->m.all_kept && strcmp(x->kv.policy, "full"))
        fprintf(out,
                "nothing was dropped: up to --kv-floor and --tsp-floor tokens stay whole, and 0 takes a floor away\n");
    else
        fprintf(out, "%s, as a rule at this KL\n", compare_verdict(x->m.kl));
}

/* ---- budgets --------------------------------------------------------------------------------- */

static void print_budgets(FILE *out, const struct comparison *c)
{
    if (c->n < 3) return;
    fputs("\nbudget            KV       KL    worst    top-1     same  attention    prefill\n", out);
    for (int i = 2; i < c->n; i++) {
        const struct compared *x = &c->all[i];
        char top1[32], same[32], prefill[32] = "shared";
        snprintf(top1, sizeof top1, "%.0f/%d", x->m.top1 * x->m.n_compared, x->m.n_compared);
        snprintf(same, sizeof same, "%d/%d", x->m.n_same, c->all[0].m.n_answer);
        if (x->m.prefill_s > 0) snprintf(prefill, sizeof prefill, "%.2f s", x->m.prefill_s);
        fprintf(out, "%5.1f %%  %10s%9.4f%9.4f%9s%9s", 100 * x->budget, SIZE(x->kept.bytes), x->m.kl, x->m.kl_worst,
                top1, same);
        if (c->looked)
            fprintf(out, "%9.1f %%", 100 * x->seen);
        else
            fprintf(out, "%11s", "-");
        fprintf(out, "%11s  %s\n", prefill, compare_verdict(x->m.kl));
    }
}

void compare_report(FILE *out, const struct comparison *c)
{
    const struct compared *full = &c->all[0], *x = &c->all[1];
    print_answers(out, full, x);
    print_fidelity(out, c, x);
    print_kept(out, c, x);
    print_signals(out, &x->m);
    print_dropped(out, c);
    print_cost(out, full, x);
    print_advice(out, x);
    print_budgets(out, c);
}
