/* What `fastkv compare` measures, on a small random model: what has to be equal, what has to add up. */
#include <math.h>
#include <string.h>

#include "cli/compare.h"
#include "cli/options.h"
#include "support/tiny_session.h"

enum { N_PROMPT = 300, ARGS_MAX = 32 };

static fkv_engine *engine;

static int set_up(void **state)
{
    struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    (void)state;
    p.n_threads = 1; /* tests run side by side */
    engine = tiny_engine(&m, &p);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fkv_engine_close(engine);
    return 0;
}

/* `line`: options of compare, separated by blanks. */
static void measure(struct comparison *c, struct settings *s, const char *line)
{
    static char copy[512];
    char *argv[ARGS_MAX + 1] = {NULL}, err[FKV_ERROR_BYTES];
    int argc = 0;
    const struct command *command = cli_commands;
    while (command->bit != COMMAND_COMPARE) command++;
    snprintf(copy, sizeof copy, "-m x -n 12 %s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) argv[argc++] = word;
    if (!options_parse(s, command, argc, argv, err)) fail_msg("%s: %s", line, err);
    *c = (struct comparison){.g = {.settings = s, .engine = engine, .n_ctx = TINY_CONTEXT}};
    c->request.marks = (struct fkv_marks)FKV_MARKS_INIT;
    c->request.n = N_PROMPT;
    c->request.ids = malloc(N_PROMPT * sizeof *c->request.ids);
    assert_non_null(c->request.ids);
    tiny_model_prompt(4, c->request.ids, N_PROMPT);
    assert_int_equal(compare_measure(c), EXIT_SUCCESS);
}

static void expect_the_same(const struct comparison *c, const struct compared *x)
{
    const struct compared *full = &c->all[0];
    assert_true(x->m.all_kept && x->m.kl == 0 && x->m.kl_worst == 0 && x->m.top1 == 1);
    assert_string_equal(x->m.text, full->m.text);
    assert_int_equal(x->m.n_same, full->m.n_answer);
    assert_int_equal(x->kept.bytes, full->kept.bytes);
    assert_true(fabs(x->seen - 1) < 1e-6 && fabs(x->seen_least - 1) < 1e-6);
}

static void test_full_is_full(void **state)
{
    (void)state;
    struct comparison c;
    struct settings s;
    struct passage passage;
    measure(&c, &s, "--kv-policy full");
    assert_int_equal(c.n, 2);
    expect_the_same(&c, &c.all[1]);
    for (int i = 0; i < N_PROMPT; i++) assert_true(c.shares.kept[i] == 1 && c.shares.lost[i] == 0);
    assert_int_equal(compare_dropped(&c, &passage, 1), 0);
    compare_release(&c);
}

/* A budget of everything is full attention, whatever the policy; a small one is not, and what it drops adds up. */
static void test_budgets(void **state)
{
    (void)state;
    static const char *const policies[] = {"snapkv", "adakv", "streamingllm", "fastkv --tsp-rate 1"};
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        struct comparison c;
        struct settings s;
        char line[128];
        snprintf(line, sizeof line, "--kv-retain 0.1 --kv-floor 0 --budgets 0.2,1 --kv-policy %s", policies[i]);
        measure(&c, &s, line);
        assert_int_equal(c.n, 4);
        const struct compared *tenth = &c.all[1], *fifth = &c.all[2];
        expect_the_same(&c, &c.all[3]);
        assert_true(tenth->m.kl > 0 && tenth->m.kl_worst >= tenth->m.kl && fifth->m.kl > 0);
        assert_true(tenth->kept.bytes < fifth->kept.bytes && fifth->kept.bytes < c.all[0].kept.bytes);
        assert_true(tenth->seen_least < tenth->seen && tenth->seen < fifth->seen && fifth->seen < 1);
        assert_true(tenth->m.n_compared > 0 && tenth->m.worst < tenth->m.n_compared);
        assert_true(tenth->decode_s > 0 && c.all[0].decode_s > 0);

        double kept = 0, looked = 0, lost = 0;
        for (int p = 0; p < N_PROMPT; p++) {
            kept += (double)c.shares.kept[p];
            looked += (double)c.shares.looked[p];
            lost += (double)c.shares.lost[p];
            assert_true(c.shares.lost[p] <= c.shares.looked[p] && c.shares.kept[p] <= 1);
        }
        assert_true(kept >= 0.1 * N_PROMPT - 1 && kept <= 0.1 * N_PROMPT + 1);
        assert_true(fabs(looked - 1) < 1e-4);
        assert_true(fabs(1 - lost - tenth->seen) < 1e-4);
        compare_release(&c);
    }
}

/* Bytes are those of whole tiles: one entry fewer takes as many, and yet something was dropped. */
static void test_all_but_one(void **state)
{
    (void)state;
    struct comparison c;
    struct settings s;
    measure(&c, &s, "--kv-policy snapkv --kv-budget 299");
    const struct compared *x = &c.all[1];
    assert_int_equal(x->kept.n_max, N_PROMPT - 1);
    assert_int_equal(x->kept.bytes, x->kept.full_bytes);
    assert_false(x->m.all_kept);
    assert_true(x->m.kl > 0);
    compare_release(&c);
}

/* Passages come worst first, apart from each other, and are no more than what was lost. */
static void test_dropped(void **state)
{
    (void)state;
    struct comparison c;
    struct settings s;
    struct passage passages[8];
    double sum = 0;
    measure(&c, &s, "--kv-policy streamingllm --kv-budget 40");
    const int n = compare_dropped(&c, passages, 8);
    assert_int_equal(n, 8);
    for (int i = 0; i < n; i++) {
        double lost = 0;
        for (size_t p = passages[i].from; p < passages[i].to; p++) lost += (double)c.shares.lost[p];
        assert_true(passages[i].from < passages[i].to && passages[i].to <= N_PROMPT);
        assert_true(i == 0 || passages[i].lost <= passages[i - 1].lost);
        assert_true(passages[i].lost <= lost + 1e-9);
        sum += passages[i].lost;
    }
    assert_true(sum <= 1 - c.all[1].seen + 1e-6);
    compare_release(&c);
}

static void test_parting(void **state)
{
    (void)state;
    assert_int_equal(compare_parting("three years", "three years"), 11);
    assert_int_equal(compare_parting("valid for three", "valid for thirty"), 10);
    assert_int_equal(compare_parting("a dot. Yes", "a dot."), 6);
    assert_int_equal(compare_parting("", "x"), 0);
    assert_int_equal(compare_parting("\xc3\xa9", "\xc3\xa8"), 0); /* within a character */
    assert_string_equal(compare_verdict(0.019), "no visible difference");
    assert_string_equal(compare_verdict(0.5), "different");
}

/* An argument: no tests, but the file of the model, whose name goes to standard output. Its tokens spell any bytes. */
int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        char path[64];
        const struct tiny_model m = TINY_MODEL_INIT;
        tiny_model_write(&m, path);
        puts(path);
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_full_is_full), cmocka_unit_test(test_budgets),
                                       cmocka_unit_test(test_all_but_one), cmocka_unit_test(test_dropped),
                                       cmocka_unit_test(test_parting)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
