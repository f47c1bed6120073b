/* Tiny random models end to end, on every level, as an x86-64 machine computed them on the fp32 path
   (golden/tiny.jsonl): the same logits but for rounding and, index for index, the same entries kept. `test_x86_results
   write` prints that file. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/tiny_session.h"

#include <jansson.h>

enum { N = 180, MORE = 5, EVERY = 5 /* a fifth of the logits is written */ };

static const struct tiny_case {
    const char *arch, *policy;
    uint32_t type;
} cases[] = {
    {"llama", "full", FKV_TYPE_F32},    {"llama", "fastkv", FKV_TYPE_F32},  {"qwen2", "fastkv", FKV_TYPE_F16},
    {"qwen3", "fastkv", FKV_TYPE_BF16}, {"llama", "fastkv", FKV_TYPE_Q4_0}, {"qwen2", "full", FKV_TYPE_Q5_0},
    {"qwen3", "fastkv", FKV_TYPE_Q8_0},
};
enum { N_CASES = sizeof cases / sizeof *cases };

static json_t *int_array(const int32_t *x, int n)
{
    json_t *array = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(array, json_integer(x[i]));
    return array;
}

static json_t *logits_of(const fkv_session *s)
{
    json_t *array = json_array();
    for (int i = 0; i < TINY_VOCAB; i += EVERY)
        json_array_append_new(array, json_real((double)fkv_session_logits(s)[i]));
    return array;
}

static json_t *kept_by(fkv_session *s, const struct tiny_model *m)
{
    json_t *layers = json_array();
    for (int l = 0; l < m->n_layer; l++) {
        json_t *heads = json_array();
        for (int h = 0; h < m->n_kv_head; h++) {
            const int32_t *pos;
            const int n = fkv_session_kept(s, l, h, &pos);
            json_array_append_new(heads, int_array(pos, n));
        }
        json_array_append_new(layers, heads);
    }
    return layers;
}

/* A prompt of N, then MORE ids, on the level of that name. */
static json_t *run(const struct tiny_case *c, const char *isa)
{
    struct tiny_model m = TINY_MODEL_INIT;
    m.arch = c->arch;
    m.type = c->type;
    m.n_layer = 6;
    struct fkv_engine_params ep = FKV_ENGINE_PARAMS_INIT;
    ep.exact = true;
    ep.isa = isa;
    fkv_engine *e = tiny_engine(&m, &ep);
    struct fkv_session_params sp = paper_params(0.3, 0.2, 1);
    sp.kv.policy = c->policy;
    fkv_session *s = tiny_session(e, &sp);
    int32_t ids[N + MORE];
    tiny_model_prompt(7, ids, N + MORE);
    sync_or_fail(s, ids, N);
    const int32_t *pos;
    int layer;
    const int n_propagated = fkv_session_propagated(s, &layer, &pos);
    json_t *row = json_pack("{s:s, s:s, s:i, s:o, s:o, s:o}", "arch", c->arch, "policy", c->policy, "type_id",
                            (int)c->type, "prompt", logits_of(s), "propagated", int_array(pos, n_propagated), "kept",
                            kept_by(s, &m));
    for (int i = 0; i < MORE; i++) append_or_fail(s, ids[N + i]);
    json_object_set_new(row, "decoded", logits_of(s));
    fkv_session_close(s);
    fkv_engine_close(e);
    return row;
}

static void check_logits(const json_t *want, const json_t *got, const char *what, const char *isa)
{
    double square = 0, all = 0;
    assert_int_equal(json_array_size(want), (TINY_VOCAB + EVERY - 1) / EVERY);
    for (size_t i = 0; i < json_array_size(want); i++) {
        const double w = json_number_value(json_array_get(want, i)), d = w - json_number_value(json_array_get(got, i));
        square += d * d;
        all += w * w;
    }
    printf("%s, %s: relative RMS %.2g\n", isa, what, sqrt(square / all));
    if (!(sqrt(square) <= 1e-5 * sqrt(all))) fail_msg("%s, %s: logits off by %.3g", isa, what, sqrt(square / all));
}

static void check_row(const struct tiny_case *c, const json_t *want, const char *isa)
{
    static const char *const names[] = {"arch", "policy", "type_id", "propagated", "kept"};
    json_t *got = run(c, isa);
    for (int i = 0; i < 5; i++)
        if (!json_equal(json_object_get(want, names[i]), json_object_get(got, names[i])))
            fail_msg("%s: %s, %s, type %u: other %s", isa, c->arch, c->policy, c->type, names[i]);
    check_logits(json_object_get(want, "prompt"), json_object_get(got, "prompt"), "prompt", isa);
    check_logits(json_object_get(want, "decoded"), json_object_get(got, "decoded"), "decoded", isa);
    json_decref(got);
}

static void test_rows(void **state)
{
    (void)state;
    char path[512];
    struct fkv_isa_level levels[16];
    const int n_levels = fkv_isa_list(levels, 16);
    const char *golden = getenv("FKV_GOLDEN");
    snprintf(path, sizeof path, "%s/tiny.jsonl", golden ? golden : "tests/golden");
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (int i = 0; i < N_CASES; i++) {
        json_t *want = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL);
        assert_non_null(want);
        for (int level = 0; level < n_levels; level++)
            if (levels[level].available) check_row(&cases[i], want, levels[level].name);
        json_decref(want);
    }
    fclose(f);
}

int main(int argc, char **argv)
{
    for (int i = 0; argc > 1 && i < N_CASES; i++) {
        json_t *row = run(&cases[i], NULL);
        json_dumpf(row, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
        putchar('\n');
        json_decref(row);
    }
    if (argc > 1) return strcmp(argv[1], "write") == 0 ? 0 : 2;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
