/* The engine against an independent program's results on real models: tests/golden/logits.jsonl and fastkv.jsonl.
   Tolerances and where they come from: tests/golden/README.md.

   test_golden logits|fastkv MODEL exact|precise|rounded [LEVEL]: exact is the fp32 check path, rounded the path that
   people use, precise the same with option --precise, on the ISA level given or the best there is. Skips (77) when the
   model file or the level is missing. FKV_TEST_DEVICE: a device other than the CPU. FKV_TEST_FEW: only the chat
   prompt's logits, or the first FastKV case. */
#define _GNU_SOURCE
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fastkv.h"
#include "support/model_path.h"

static const char *model_name, *arithmetic, *level;
static bool exact, few;
static fkv_engine *engine;

/* ---- rows ------------------------------------------------------------------------------------ */

/* Calls fn for the rows of a file that belong to the model, in order. */
static int for_rows(const char *file, void (*fn)(const json_t *row))
{
    char path[512];
    const char *golden = getenv("FKV_GOLDEN");
    int rows = 0;
    snprintf(path, sizeof path, "%s/%s", golden ? golden : "tests/golden", file);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (json_t *row; (row = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)); json_decref(row))
        if (strcmp(json_string_value(json_object_get(row, "model")), model_name) == 0) {
            fn(row);
            rows++;
        }
    fclose(f);
    return rows;
}

static double number(const json_t *row, const char *key) { return json_number_value(json_object_get(row, key)); }

static size_t int_array(const json_t *array, int32_t *out, size_t most)
{
    const size_t n = json_array_size(array);
    assert_true(n <= most);
    for (size_t i = 0; i < n; i++) out[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return n;
}

enum { MOST = 4096 };
static int32_t ids[MOST];
static size_t n_ids;

static fkv_session *open_session(const struct fkv_kv_params *kv)
{
    struct fkv_session_params p = FKV_SESSION_PARAMS_INIT;
    char err[FKV_ERROR_BYTES];
    fkv_session *s;
    p.n_ctx = (int)n_ids + 32;
    p.kv = *kv;
    if (fkv_session_open(&s, engine, &p, err) != FKV_OK) fail_msg("%s", err);
    if (fkv_session_sync(s, ids, n_ids) != FKV_OK) fail_msg("%s", fkv_session_error(s));
    return s;
}

static struct fkv_kv_params full_attention(void)
{
    struct fkv_kv_params kv = FKV_KV_PARAMS_INIT;
    kv.policy = "full";
    return kv;
}

/* ---- logits ---------------------------------------------------------------------------------- */

static double log_sum_exp(const float *x, int n)
{
    double top = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++) top = fmax(top, (double)x[i]);
    for (int i = 0; i < n; i++) sum += exp((double)x[i] - top);
    return top + log(sum);
}

/* Distance of our logits from a row's 64 largest. */
struct distance {
    double max_abs, rms, kld, logsumexp;
};

/* kld: a lower bound of KL(row || ours) from the listed ids and the rest as one. */
static struct distance distance_of(const json_t *row, const float *logits)
{
    const json_t *top = json_object_get(row, "top");
    const double theirs = number(row, "logsumexp"), ours = log_sum_exp(logits, fkv_engine_info(engine)->n_vocab);
    struct distance d = {0};
    double p_sum = 0, q_sum = 0;
    for (size_t i = 0; i < json_array_size(top); i++) {
        const json_t *pair = json_array_get(top, i);
        const int id = (int)json_integer_value(json_array_get(pair, 0));
        const double x = json_number_value(json_array_get(pair, 1)), y = (double)logits[id], p = exp(x - theirs),
                     q = exp(y - ours);
        d.max_abs = fmax(d.max_abs, fabs(x - y));
        d.rms += (x - y) * (x - y) / (double)json_array_size(top);
        d.kld += p * log(p / q);
        p_sum += p;
        q_sum += q;
    }
    d.rms = sqrt(d.rms);
    if (p_sum < 1 && q_sum < 1) d.kld += (1 - p_sum) * log((1 - p_sum) / (1 - q_sum));
    d.logsumexp = fabs(theirs - ours);
    return d;
}

static int best(const float *logits)
{
    int id = 0;
    for (int i = 1; i < fkv_engine_info(engine)->n_vocab; i++)
        if (logits[i] > logits[id]) id = i;
    return id;
}

/* Decodes greedily; returns the ids that equal the row's before the first difference, whose margin goes to *margin
   (infinite: none). */
static size_t greedy_same(const json_t *row, fkv_session *s, double *margin)
{
    const json_t *want = json_object_get(row, "greedy");
    *margin = INFINITY;
    for (size_t i = 0; i < json_array_size(want); i++) {
        const int id = best(fkv_session_logits(s));
        if (id != json_integer_value(json_array_get(want, i))) {
            *margin = json_number_value(json_array_get(json_object_get(row, "margins"), i));
            return i;
        }
        if (fkv_session_append(s, id) != FKV_OK) fail_msg("%s", fkv_session_error(s));
    }
    return json_array_size(want);
}

static double allowed_kld(const json_t *row)
{
    const json_t *check = json_object_get(row, "check");
    const double act8 = number(json_object_get(check, "act8"), "kld"),
                 llama_cpp = number(json_object_get(check, "llama_cpp"), "kld");
    return fmax(2 * fmax(act8, llama_cpp), 1e-4);
}

static void logits_row(const json_t *row)
{
    double margin;
    if (few && strcmp(json_string_value(json_object_get(row, "name")), "chat") != 0) return;
    n_ids = int_array(json_object_get(row, "ids"), ids, MOST);
    const struct fkv_kv_params kv = full_attention();
    fkv_session *s = open_session(&kv);
    const struct distance d = distance_of(row, fkv_session_logits(s));
    const size_t same = greedy_same(row, s, &margin);
    printf("%s %s %s %s: max %.2g, rms %.2g, KLD >= %.2g (allowed %.2g), greedy %zu equal, then margin %.2g\n",
           model_name, json_string_value(json_object_get(row, "name")), arithmetic, fkv_engine_info(engine)->isa,
           d.max_abs, d.rms, d.kld, allowed_kld(row), same, margin);
    if (exact) {
        assert_true(d.max_abs <= 1e-3 && d.logsumexp <= 1e-3);
        assert_true(margin == INFINITY);
    } else {
        assert_true(d.kld <= allowed_kld(row));
        assert_true(margin == INFINITY || margin < (strncmp(model_name, "gemma3", 6) == 0 ? 0.7 : 0.4));
    }
    fkv_session_close(s);
}

static void test_logits(void **state)
{
    (void)state;
    assert_true(for_rows("logits.jsonl", logits_row) > 0);
}

/* ---- what is kept and propagated ------------------------------------------------------------- */

static bool contains(const json_t *array, int32_t x)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (json_integer_value(json_array_get(array, i)) == x) return true;
    return false;
}

struct agreement {
    double overlap;
    int off_near, n;
};

/* Our positions against the wanted ones; near: positions another program may decide otherwise. Counts must be exact. */
static struct agreement compare(const int32_t *ours, int n, const json_t *want, const json_t *near)
{
    struct agreement a = {0, 0, n};
    int common = 0;
    assert_int_equal(n, (int)json_array_size(want));
    for (int i = 0; i < n; i++) {
        if (contains(want, ours[i]))
            common++;
        else if (!contains(near, ours[i]))
            a.off_near++;
    }
    for (int i = 0; i < n; i++) {
        const int32_t x = (int32_t)json_integer_value(json_array_get(want, (size_t)i));
        bool found = false;
        for (int j = 0; j < n && !found; j++) found = ours[j] == x;
        if (!found && !contains(near, x)) a.off_near++;
    }
    a.overlap = (double)common / n;
    return a;
}

/* Mean and least overlap of the heads of layers [from, to), and how many kept positions differ off the near lists. */
static void check_kept(const json_t *row, const fkv_session *s, int from, int to, int n_alive, double least_mean,
                       double least_head, double most_off)
{
    const struct fkv_model_info *info = fkv_engine_info(engine);
    double sum = 0, least = 1;
    int heads = 0, off = 0, kept = 0;
    for (int l = from; l < to; l++)
        for (int h = 0; h < info->n_kv_head; h++) {
            const json_t *want = json_array_get(json_object_get(row, "kept"), (size_t)l);
            const int32_t *pos;
            const int n = fkv_session_kept(s, l, h, &pos);
            if (json_is_string(want)) {
                assert_int_equal(n, n_alive);
                continue;
            }
            const json_t *near = json_array_get(json_array_get(json_object_get(row, "near_kept"), (size_t)l),
                                                (size_t)h);
            const struct agreement a = compare(pos, n, json_array_get(want, (size_t)h), json_array_get(near, 1));
            sum += a.overlap;
            least = fmin(least, a.overlap);
            off += a.off_near;
            kept += a.n;
            heads++;
        }
    if (heads == 0) return;
    printf("  layers %d to %d: overlap mean %.4f, least %.4f, off the near lists %d of %d\n", from, to - 1, sum / heads,
           least, off, kept);
    assert_true(sum / heads >= least_mean && least >= least_head && off <= most_off * kept);
}

static struct fkv_kv_params case_policy(const json_t *row)
{
    const json_t *p = json_object_get(row, "policy");
    struct fkv_kv_params kv = FKV_KV_PARAMS_INIT;
    kv.tsp_layer = (int)number(p, "tsp_layer");
    kv.tsp_rate = number(p, "tsp_rate");
    kv.kv_retain = number(p, "kv_rate");
    kv.window = (int)number(p, "w");
    kv.pool_kernel = (int)number(p, "kernel");
    kv.sinks = (int)number(p, "sinks");
    kv.kv_floor = kv.tsp_floor = 0;
    return kv;
}

/* The propagated rows; returns how many went on. */
static int check_propagated(const json_t *row, const fkv_session *s, bool *equal)
{
    const json_t *want = json_object_get(row, "propagated");
    const int32_t *pos;
    int layer;
    const int n = fkv_session_propagated(s, &layer, &pos);
    *equal = true;
    if (json_is_null(want)) {
        assert_int_equal(n, -1);
        return (int)n_ids;
    }
    const struct agreement a = compare(pos, n, want, json_array_get(json_object_get(row, "near_propagated"), 1));
    printf("  propagated %d: overlap %.4f, off the near list %d\n", n, a.overlap, a.off_near);
    assert_int_equal(layer, (int)number(json_object_get(row, "policy"), "tsp_layer"));
    if (exact)
        assert_int_equal(a.off_near, 0);
    else
        assert_true(a.overlap >= 0.97);
    *equal = a.overlap == 1;
    return n;
}

/* Rates of 1 are full attention, bit for bit. */
static void check_equals_full(fkv_session *s)
{
    const struct fkv_kv_params kv = full_attention();
    fkv_session *full = open_session(&kv);
    const size_t bytes = (size_t)fkv_engine_info(engine)->n_vocab * sizeof(float);
    assert_memory_equal(fkv_session_logits(s), fkv_session_logits(full), bytes);
    const int id = best(fkv_session_logits(full));
    assert_int_equal(fkv_session_append(s, id), FKV_OK);
    assert_int_equal(fkv_session_append(full, id), FKV_OK);
    assert_memory_equal(fkv_session_logits(s), fkv_session_logits(full), bytes);
    fkv_session_close(full);
}

static void fastkv_case(const json_t *row)
{
    const struct fkv_kv_params kv = case_policy(row);
    const int n_layer = fkv_engine_info(engine)->n_layer;
    bool equal;
    printf("%s %s %s, rates %g and %g, sinks %d\n", model_name, json_string_value(json_object_get(row, "name")),
           arithmetic, kv.tsp_rate, kv.kv_retain, kv.sinks);
    fkv_session *s = open_session(&kv);
    const int alive = check_propagated(row, s, &equal);
    check_kept(row, s, 0, kv.tsp_layer + 1, (int)n_ids, exact ? 0 : 0.98, exact ? 0 : 0.9, exact ? 0 : 0.03);
    if (exact && equal)
        check_kept(row, s, kv.tsp_layer + 1, n_layer, alive, 0, 0, 0);
    else
        check_kept(row, s, kv.tsp_layer + 1, n_layer, alive, 0.95, 0.85, 1);
    const struct distance d = distance_of(row, fkv_session_logits(s));
    printf("  logits: max %.2g, KLD >= %.2g\n", d.max_abs, d.kld);
    if (exact && equal) assert_true(d.max_abs <= 1e-3 && d.logsumexp <= 1e-3);
    if (kv.tsp_rate == 1 && kv.kv_retain == 1) check_equals_full(s);
    fkv_session_close(s);
}

static void fastkv_prompt(const json_t *row)
{
    const struct fkv_kv_params kv = full_attention();
    double margin;
    n_ids = int_array(json_object_get(row, "ids"), ids, MOST);
    fkv_session *s = open_session(&kv);
    const json_t *full = json_object_get(row, "full");
    const struct distance d = distance_of(full, fkv_session_logits(s));
    const size_t same = greedy_same(full, s, &margin);
    printf("%s %s %s, %zu tokens, full attention: max %.2g, KLD >= %.2g, greedy %zu equal, then margin %.2g\n",
           model_name, json_string_value(json_object_get(row, "name")), arithmetic, n_ids, d.max_abs, d.kld, same,
           margin);
    if (exact) assert_true(d.max_abs <= 1e-3 && d.logsumexp <= 1e-3);
    assert_true(margin == INFINITY || (!exact && margin < 0.4));
    fkv_session_close(s);
}

static void fastkv_row(const json_t *row)
{
    static int n_prompts, n_cases;
    const bool is_prompt = strcmp(json_string_value(json_object_get(row, "kind")), "prompt") == 0;
    const int before = is_prompt ? n_prompts++ : n_cases++;
    if (few && before > 0) return;
    if (few && is_prompt)
        n_ids = int_array(json_object_get(row, "ids"), ids, MOST);
    else if (is_prompt)
        fastkv_prompt(row);
    else
        fastkv_case(row);
}

static void test_fastkv(void **state)
{
    (void)state;
    assert_true(for_rows("fastkv.jsonl", fastkv_row) > 0);
}

/* ---- main ------------------------------------------------------------------------------------ */

static bool have_level(void)
{
    struct fkv_isa_level levels[32];
    const int n = fkv_isa_list(levels, 32);
    for (int i = 0; i < n; i++)
        if (strcmp(levels[i].name, level) == 0) return levels[i].available;
    return false;
}

int main(int argc, char **argv)
{
    char err[FKV_ERROR_BYTES], path[512];
    if (argc < 4) return 1;
    model_name = argv[2];
    arithmetic = argv[3];
    exact = strcmp(arithmetic, "exact") == 0;
    level = argc > 4 ? argv[4] : NULL;
    if (!model_path(model_name, path, sizeof path) || (level && !have_level())) {
        printf("skipped: no file of %s, or no level %s\n", model_name, level ? level : "(best)");
        return 77;
    }
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    p.exact = exact;
    p.precise = strcmp(arithmetic, "precise") == 0;
    p.isa = level;
    p.device = getenv("FKV_TEST_DEVICE");
    few = getenv("FKV_TEST_FEW") != NULL;
    if (p.device && fkv_vulkan_list(NULL, 0, err) == 0) {
        printf("skipped: %s\n", err);
        return 77;
    }
    if (fkv_engine_open(&engine, path, &p, err) != FKV_OK) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    const struct CMUnitTest logits[] = {cmocka_unit_test(test_logits)}, fastkv[] = {cmocka_unit_test(test_fastkv)};
    const int failed = strcmp(argv[1], "logits") == 0 ? cmocka_run_group_tests(logits, NULL, NULL)
                                                      : cmocka_run_group_tests(fastkv, NULL, NULL);
    fkv_engine_close(engine);
    return failed;
}
