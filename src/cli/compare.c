#include "cli/compare.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/utf8.h"

/* ---- what the runner asks -------------------------------------------------------------------- */

static bool go_on(void *user, uint64_t done, uint64_t all)
{
    struct comparison *c = user;
    return progress_step(&c->g.progress, done, all);
}

static void watch(void *user, fkv_session *session)
{
    struct comparison *c = user;
    if (!session) {
        progress_end(&c->g.progress);
        return;
    }
    progress_start(&c->g.progress, c->request.n);
    if (!interrupted()) interrupt_watch(session); /* watching a session forgets an earlier Ctrl-C */
}

/* ---- the prompt's text ----------------------------------------------------------------------- */

static bool spell(struct comparison *c)
{
    const size_t n = c->request.n;
    c->at = malloc((n + 1) * sizeof *c->at);
    for (size_t i = 0; c->at && i < n; i++) {
        const char *bytes;
        const size_t some = fkv_token_bytes(c->g.engine, c->request.ids[i], true, &bytes);
        c->at[i] = c->text.n;
        eval_text_add(&c->text, some ? bytes : "", some);
    }
    if (c->at) c->at[n] = c->text.n;
    return c->at && !c->text.failed;
}

void compare_quote(const struct comparison *c, size_t from, size_t to, size_t most, struct eval_text *out)
{
    utf8_add_line(out, c->text.s + c->at[from], c->at[to] - c->at[from], most);
}

/* ---- where full attention looked --------------------------------------------------------------- */

/* One layer and KV head of the i-th way: s[n - 1] is what full attention gave each token there. */
static void look_in_head(struct comparison *c, int i, const float *s, const int32_t *kept, int n_kept, int layer,
                         int head)
{
    struct compared *x = &c->all[i];
    const size_t n = c->request.n - 1;
    double all = 0, on = 0;
    for (size_t p = 1; p < n; p++) all += (double)s[p];
    if (all <= 0) all = 1; /* nothing is lost of nothing */
    for (int k = 0; k < n_kept; k++)
        if (kept[k] > 0 && (size_t)kept[k] < n) on += (double)s[kept[k]];
    x->seen += on / all;
    if (on / all < x->seen_least) {
        x->seen_least = on / all;
        x->least_layer = layer;
        x->least_head = head;
    }
    for (size_t p = 1; i == 1 && p < n; p++) {
        while (n_kept > 0 && (size_t)*kept < p) kept++, n_kept--;
        c->shares.looked[p] += s[p] / (float)all;
        if (n_kept == 0 || (size_t)*kept != p) c->shares.lost[p] += s[p] / (float)all;
    }
}

/* What the i-th way kept: of tokens, and of attention, which is known where `attention` is not NULL. */
static void look(struct comparison *c, int i, const float *attention)
{
    const fkv_session *s = c->runner.sessions[i];
    const size_t n = c->request.n, heads = (size_t)fkv_engine_info(c->g.engine)->n_kv_head;
    const int32_t *kept;
    int lists = 0;
    c->all[i].seen_least = 1;
    for (int layer = 0; fkv_session_kept(s, layer, 0, &kept) >= 0; layer++) {
        for (int head = 0, n_kept; (n_kept = fkv_session_kept(s, layer, head, &kept)) >= 0; head++, lists++) {
            for (int k = 0; i == 1 && k < n_kept; k++)
                if ((size_t)kept[k] < n) c->shares.kept[kept[k]]++;
            if (attention)
                look_in_head(c, i, attention + ((size_t)layer * heads + (size_t)head) * (n - 1), kept, n_kept, layer,
                             head);
        }
    }
    c->all[i].seen /= lists;
    for (size_t p = 0; i == 1 && p < n; p++) {
        c->shares.kept[p] /= (float)lists;
        c->shares.looked[p] /= (float)lists;
        c->shares.lost[p] /= (float)lists;
    }
}

static fkv_status look_at_all(struct comparison *c, char *err)
{
    const struct fkv_model_info *info = fkv_engine_info(c->g.engine);
    const size_t n = c->request.n;
    float *attention = NULL;
    fkv_status status = FKV_OK;
    c->looked = n > 1;
    if (c->looked) {
        attention = malloc((size_t)info->n_layer * (size_t)info->n_kv_head * (n - 1) * sizeof *attention);
        if (attention) {
            status = eval_run_attention(&c->runner, attention, err);
        } else {
            snprintf(err, FKV_ERROR_BYTES, "out of memory for attention on %zu tokens", n);
            status = FKV_ERROR_MEMORY;
        }
    }
    for (int i = 1; i < c->n && status == FKV_OK; i++) look(c, i, attention);
    free(attention);
    return status;
}

int compare_dropped(const struct comparison *c, struct passage *passages, int most)
{
    enum { LENGTH = 16 };
    static const float least = 0.001f; /* a thousandth of the attention is not worth a line */
    const size_t n = c->request.n, length = n < LENGTH ? n : LENGTH;
    float *lost = malloc(n * sizeof *lost);
    int found = 0;
    if (!lost) return -1;
    memcpy(lost, c->shares.lost, n * sizeof *lost);
    for (; found < most; found++) {
        size_t best = 0;
        double best_sum = 0;
        for (size_t from = 0; from + length <= n; from++) {
            double sum = 0;
            for (size_t i = 0; i < length; i++) sum += (double)lost[from + i];
            if (sum > best_sum) best_sum = sum, best = from;
        }
        if (best_sum < (double)least) break;
        passages[found] = (struct passage){best, best + length, best_sum};
        for (size_t i = 0; i < length; i++) lost[best + i] = 0;
    }
    free(lost);
    return found;
}

/* ---- answers ----------------------------------------------------------------------------------- */

size_t compare_parting(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n]) n++;
    if (!a[n] && !b[n]) return n;
    while (n > 0 && ((unsigned char)a[n] & 0xc0) == 0x80) n--; /* within a character */
    while (n > 0 && isalnum((unsigned char)a[n - 1])) n--;
    return n;
}

const char *compare_verdict(double kl)
{
    return kl < 0.02  ? "no visible difference"
           : kl < 0.1 ? "may word differently"
           : kl < 0.5 ? "may answer differently"
                      : "different";
}

/* ---- all ------------------------------------------------------------------------------------- */

static fkv_status measure_one(struct comparison *c, int i, char *err)
{
    const int n_predict = c->g.settings->n_predict;
    struct compared *x = &c->all[i];
    fkv_session *s = c->runner.sessions[i];
    fkv_status status = i == 0 ? eval_run_full(&c->runner, n_predict, &x->m, err)
                               : eval_run_variant(&c->runner, n_predict, i - 1, &x->m, err);
    if (status == FKV_OK && i <= 1) status = eval_run_decode(&c->runner, i, &x->decode_s, err);
    if (status != FKV_OK) return status;
    fkv_session_cut(s, c->request.n);
    kept_of(s, &x->kept);
    return FKV_OK;
}

static fkv_status measure(struct comparison *c, char *err)
{
    const struct fkv_kv_params *kv[EVAL_VARIANTS];
    for (int i = 1; i < c->n; i++) kv[i - 1] = &c->all[i].kv;
    fkv_status status = eval_run_start(&c->runner, &c->request, kv, c->n - 1, err);
    for (int i = 0; i < c->n && status == FKV_OK; i++) status = measure_one(c, i, err);
    if (status == FKV_OK) status = look_at_all(c, err);
    return status;
}

/* The ways, and memory for what is found. */
static bool make_room(struct comparison *c)
{
    const struct settings *s = c->g.settings;
    const size_t n = c->request.n;
    c->n = 2 + s->budgets.n;
    c->all = calloc((size_t)c->n, sizeof *c->all);
    c->shares.kept = calloc(3 * n, sizeof *c->shares.kept);
    if (!c->all || !c->shares.kept || !spell(c)) return false;
    c->shares.looked = c->shares.kept + n;
    c->shares.lost = c->shares.looked + n;
    for (int i = 0; i < c->n; i++) c->all[i].kv = s->session.kv;
    c->all[0].kv.policy = "full";
    for (int i = 0; i < s->budgets.n; i++) {
        struct compared *x = &c->all[2 + i];
        x->budget = x->kv.kv_retain = s->budgets.items[i];
        x->kv.kv_floor = x->kv.kv_budget = 0;
    }
    c->runner =
        (struct eval_runner){.engine = c->g.engine, .session = s->session, .go_on = go_on, .watch = watch, .user = c};
    c->runner.session.n_ctx = (int)n + s->n_predict;
    return eval_runner_open(&c->runner);
}

int compare_measure(struct comparison *c)
{
    const struct fkv_kv_params *kv[EVAL_VARIANTS];
    const size_t n = c->request.n + (size_t)c->g.settings->n_predict;
    char err[FKV_ERROR_BYTES] = "";
    if (n > (size_t)c->g.n_ctx)
        return console_error("the prompt has %s tokens and -n allows %d for an answer, the context is %s",
                             COUNT(c->request.n), c->g.settings->n_predict, COUNT((uint64_t)c->g.n_ctx));
    if (!make_room(c)) return console_error("out of memory for what is compared");
    for (int i = 1; i < c->n; i++) kv[i - 1] = &c->all[i].kv;
    int status = generator_check_variants(&c->g, n, kv, c->n - 1);
    if (status != EXIT_SUCCESS) return status;
    interrupt_watch(NULL);
    status = exit_status_of(measure(c, err), err);
    interrupt_unwatch();
    return status;
}

void compare_release(struct comparison *c)
{
    eval_runner_close(&c->runner);
    for (int i = 0; c->all && i < c->n; i++) free(c->all[i].m.text);
    free(c->all);
    free(c->shares.kept);
    free(c->at);
    free(c->text.s);
    eval_request_release(&c->request);
}
