/* Tiny random models of other architectures against what transformers makes of them: tests/golden/tiny_models, written
   by make_tiny_models.py. On the fp32 path the logits of every position agree to 1e-4 of the largest, whether the
   position is a prompt's last or decoded, and 24 greedy ids are equal. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/tiny_session.h"

enum { MOST = 256 };

static fkv_engine *engine;
static int32_t ids[MOST];
static int n_ids, n_ctx;

static double largest(const json_t *logits)
{
    double most = 0;
    for (size_t i = 0; i < json_array_size(logits); i++)
        for (size_t j = 0; j < json_array_size(json_array_get(logits, i)); j++)
            most = fmax(most, fabs(json_number_value(json_array_get(json_array_get(logits, i), j))));
    return most;
}

static double distance(const float *ours, const json_t *theirs)
{
    double most = 0;
    for (size_t i = 0; i < json_array_size(theirs); i++)
        most = fmax(most, fabs((double)ours[i] - json_number_value(json_array_get(theirs, i))));
    return most;
}

static int best(const float *logits)
{
    int id = 0;
    for (int i = 1; i < fkv_engine_info(engine)->n_vocab; i++)
        if (logits[i] > logits[id]) id = i;
    return id;
}

static fkv_session *open_session(void)
{
    struct fkv_session_params p = policy_params("full");
    p.n_ctx = n_ctx;
    return tiny_session(engine, &p);
}

/* The worst of all positions, as a share of the largest logit: decoded one by one, and each as the last of a prompt. */
static void check_logits(const char *name, const json_t *logits)
{
    fkv_session *steps = open_session(), *prompt = open_session();
    double decoded = 0, prefilled = 0;
    for (int i = 0; i < n_ids; i++) {
        append_or_fail(steps, ids[i]);
        decoded = fmax(decoded, distance(fkv_session_logits(steps), json_array_get(logits, (size_t)i)));
        fkv_session_cut(prompt, 0);
        sync_or_fail(prompt, ids, i + 1);
        prefilled = fmax(prefilled, distance(fkv_session_logits(prompt), json_array_get(logits, (size_t)i)));
    }
    const double scale = largest(logits);
    printf("%s: decoded %.2g, prefilled %.2g of the largest logit\n", name, decoded / scale, prefilled / scale);
    assert_true(decoded <= 1e-4 * scale && prefilled <= 1e-4 * scale);
    fkv_session_close(steps);
    fkv_session_close(prompt);
}

static void check_greedy(const json_t *greedy)
{
    fkv_session *s = open_session();
    sync_or_fail(s, ids, n_ids);
    for (size_t i = 0; i < json_array_size(greedy); i++) {
        const int id = best(fkv_session_logits(s));
        assert_int_equal(id, json_integer_value(json_array_get(greedy, i)));
        append_or_fail(s, id);
    }
    fkv_session_close(s);
}

static void check_row(const char *golden, const json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "model"));
    const json_t *list = json_object_get(row, "ids");
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    char path[512], err[FKV_ERROR_BYTES];
    n_ids = (int)json_array_size(list);
    n_ctx = (int)json_integer_value(json_object_get(row, "context"));
    assert_true(n_ids <= MOST);
    for (int i = 0; i < n_ids; i++) ids[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
    snprintf(path, sizeof path, "%s/tiny_models/%s.gguf", golden, name);
    p.exact = true;
    if (fkv_engine_open(&engine, path, &p, err) != FKV_OK) fail_msg("%s", err);
    check_logits(name, json_object_get(row, "logits"));
    check_greedy(json_object_get(row, "greedy"));
    fkv_engine_close(engine);
}

static void test_every_model(void **state)
{
    (void)state;
    const char *golden = getenv("FKV_GOLDEN") ? getenv("FKV_GOLDEN") : "tests/golden";
    char path[512];
    int rows = 0;
    snprintf(path, sizeof path, "%s/tiny_models/results.jsonl", golden);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (json_t *row; (row = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)); json_decref(row), rows++)
        check_row(golden, row);
    fclose(f);
    assert_true(rows > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
