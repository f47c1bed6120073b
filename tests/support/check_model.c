#include "support/check_model.h"

#include <math.h>
#include <stdio.h>

enum { N = 61, MORE = 5 };

static const struct plain_policy full = {1, 8, 7, 0, 1, 1};

double difference(const double *want, const float *got)
{
    double square = 0, all = 0;
    for (int i = 0; i < TINY_VOCAB; i++) {
        const double x = fabs(want[i] - (double)got[i]);
        square += x * x;
        all += want[i] * want[i];
    }
    return sqrt(square / all);
}

struct plain_result *plain(const struct tiny_model *m, const int32_t *ids, int n, int more,
                           const struct plain_policy *p)
{
    size_t bytes;
    uint8_t *file = tiny_model_make(m, &bytes);
    struct fkv_gguf *g;
    struct fkv_error e = {""};
    if (fkv_gguf_open_memory(&g, file, bytes, &e) != FKV_OK) fail_msg("%s", e.text);
    struct plain_result *r = plain_forward(g, ids, n, more, p);
    fkv_gguf_close(g);
    free(file);
    return r;
}

void check_model(const struct tiny_model *m, bool exact, double most_rms)
{
    int32_t ids[N + MORE];
    tiny_model_prompt(m->seed, ids, N + MORE);
    struct plain_result *want = plain(m, ids, N, MORE, &full), *want_prompt = plain(m, ids, N, 0, &full);
    struct fkv_engine_params ep = FKV_ENGINE_PARAMS_INIT;
    ep.exact = exact;
    fkv_engine *e = tiny_engine(m, &ep);
    const struct fkv_session_params sp = policy_params("full");
    fkv_session *s = tiny_session(e, &sp);
    sync_or_fail(s, ids, N);
    const double prompt = difference(want_prompt->logits, fkv_session_logits(s));
    for (int i = 0; i < MORE; i++) append_or_fail(s, ids[N + i]);
    const double decoded = difference(want->logits, fkv_session_logits(s));
    printf("%s type %u d %d %s: relative RMS %.2g after the prompt, %.2g after decoding\n", m->arch, m->type, m->d_head,
           exact ? "exact" : "rounded", prompt, decoded);
    assert_true(prompt <= most_rms && decoded <= most_rms);
    fkv_session_close(s);
    fkv_engine_close(e);
    plain_free(want);
    plain_free(want_prompt);
}

/* The layer, or the nearest before it that is not local, or the first such. */
static int tsp_layer_of(const struct tiny_model *m, int wanted)
{
    int l = wanted;
    while (l >= 0 && tiny_model_window(m, l)) l--;
    while (l < 0 || (l < m->n_layer - 1 && tiny_model_window(m, l))) l++;
    return l;
}

void check_fastkv(const struct tiny_model *m, double tsp_rate, double kv_rate, int sinks)
{
    enum { LONG = 180 };
    int32_t ids[LONG + MORE];
    tiny_model_prompt(7, ids, LONG + MORE);
    const int middle = m->n_layer / 2 - 1;
    const struct plain_policy p = {tsp_layer_of(m, middle), 8, 7, sinks, tsp_rate, kv_rate};
    struct plain_result *want = plain(m, ids, LONG, 0, &p), *want_more = plain(m, ids, LONG, MORE, &p);
    struct fkv_engine_params ep = FKV_ENGINE_PARAMS_INIT;
    ep.exact = true;
    fkv_engine *e = tiny_engine(m, &ep);
    struct fkv_session_params sp = paper_params(tsp_rate, kv_rate, sinks);
    sp.kv.tsp_layer = middle;
    fkv_session *s = tiny_session(e, &sp);
    sync_or_fail(s, ids, LONG);

    const int32_t *pos;
    int layer;
    assert_int_equal(fkv_session_propagated(s, &layer, &pos), want->n_propagated);
    if (want->n_propagated >= 0) assert_memory_equal(pos, want->propagated, (size_t)want->n_propagated * sizeof *pos);
    for (int l = 0; l < m->n_layer; l++)
        for (int h = 0; h < (m->layers ? m->layers[l].n_kv_head : m->n_kv_head); h++) {
            assert_int_equal(fkv_session_kept(s, l, h, &pos), want->n_kept[l]);
            assert_memory_equal(pos, want->kept + (l * want->n_kv_head + h) * LONG,
                                (size_t)want->n_kept[l] * sizeof *pos);
        }
    const double prompt = difference(want->logits, fkv_session_logits(s));
    for (int i = 0; i < MORE; i++) append_or_fail(s, ids[LONG + i]);
    const double decoded = difference(want_more->logits, fkv_session_logits(s));
    printf("%s FastKV %g %g, %d sinks: relative RMS %.2g after the prompt, %.2g after decoding\n", m->arch, tsp_rate,
           kv_rate, sinks, prompt, decoded);
    assert_true(prompt <= 1e-5 && decoded <= 1e-5);
    fkv_session_close(s);
    fkv_engine_close(e);
    plain_free(want);
    plain_free(want_more);
}
