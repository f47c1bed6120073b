/* The sampler against a plain restatement: sort everything, cut by the definitions, draw with the published
   generator. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fastkv.h"

enum { VOCAB = 300 };

/* ---- the generator, restated ----------------------------------------------------------------- */

struct generator {
    uint64_t s[4];
};

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

static uint64_t xoshiro256ss(struct generator *g)
{
    uint64_t *s = g->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

/* Published values: splitmix64 from 1234567, xoshiro256** from the state 1, 2, 3, 4. */
static void test_restated_generator(void **state)
{
    (void)state;
    uint64_t seed = 1234567;
    struct generator g = {{1, 2, 3, 4}};
    assert_true(splitmix64(&seed) == 6457827717110365317u);
    assert_true(splitmix64(&seed) == 3203168211198807973u);
    assert_true(xoshiro256ss(&g) == 11520);
    assert_true(xoshiro256ss(&g) == 0);
    assert_true(xoshiro256ss(&g) == 1509978240);
    assert_true(xoshiro256ss(&g) == 1215971899390074240u);
}

/* ---- sampling, restated ---------------------------------------------------------------------- */

struct entry {
    double logit;
    int32_t id;
};

static int falling(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return x->id - y->id;
}

static int32_t plain_sample(const struct fkv_sampler_params *p, struct generator *g, const float *logits)
{
    struct entry e[VOCAB];
    double share[VOCAB], sum = 0, most, reached = 0;
    int n = VOCAB, kept = 0;
    for (int i = 0; i < VOCAB; i++) e[i] = (struct entry){(double)logits[i], i};
    qsort(e, VOCAB, sizeof *e, falling);
    if (p->top_k && p->top_k < n) n = p->top_k;
    for (int i = 0; i < n; i++) sum += share[i] = exp(e[i].logit - e[0].logit);
    while (kept < n) {
        reached += share[kept++] / sum;
        if (p->top_p < 1 && reached >= (double)p->top_p) break;
    }
    most = share[0];
    while (kept > 1 && share[kept - 1] < (double)p->min_p * most) kept--;
    sum = 0;
    for (int i = 0; i < kept; i++) sum += share[i] = exp((e[i].logit - e[0].logit) / (double)p->temperature);
    double u = (double)(xoshiro256ss(g) >> 11) / 9007199254740992.0 * sum;
    for (int i = 0; i < kept; i++) {
        if (u < share[i]) return e[i].id;
        u -= share[i];
    }
    return e[kept - 1].id;
}

static fkv_sampler *open_sampler(const struct fkv_sampler_params *p, int n_vocab)
{
    fkv_sampler *s = NULL;
    char err[FKV_ERROR_BYTES] = "";
    assert_int_equal(fkv_sampler_open(&s, p, n_vocab, err), FKV_OK);
    return s;
}

/* Coarse values, so that there are ties. */
static void random_logits(float *logits, uint64_t *seed)
{
    for (int i = 0; i < VOCAB; i++) logits[i] = (float)(int)(splitmix64(seed) % 97) / 8.0f - 6.0f;
}

static void test_against_plain(void **state)
{
    (void)state;
    static const int top_ks[] = {0, 1, 2, 40, 299, 300, 1000};
    static const float top_ps[] = {0.01f, 0.5f, 0.95f, 1.0f}, min_ps[] = {0.0f, 0.05f, 0.5f, 1.0f},
                       temperatures[] = {0.1f, 0.8f, 3.0f};
    uint64_t seed = 7;
    int checked = 0;
    for (int a = 0; a < 7; a++)
        for (int b = 0; b < 4; b++)
            for (int c = 0; c < 4; c++)
                for (int d = 0; d < 3; d++) {
                    struct fkv_sampler_params p = FKV_SAMPLER_PARAMS_INIT;
                    p.top_k = top_ks[a], p.top_p = top_ps[b], p.min_p = min_ps[c], p.temperature = temperatures[d],
                    p.seed = splitmix64(&seed);
                    uint64_t state_seed = p.seed;
                    struct generator g;
                    for (int i = 0; i < 4; i++) g.s[i] = splitmix64(&state_seed);
                    fkv_sampler *s = open_sampler(&p, VOCAB);
                    for (int i = 0; i < 10; i++, checked++) {
                        float logits[VOCAB], before[VOCAB];
                        random_logits(logits, &seed);
                        memcpy(before, logits, sizeof logits);
                        assert_int_equal(fkv_sample(s, logits), plain_sample(&p, &g, logits));
                        assert_memory_equal(before, logits, sizeof logits);
                    }
                    fkv_sampler_close(s);
                }
    assert_int_equal(checked, 7 * 4 * 4 * 3 * 10);
}

/* ---- single rules ---------------------------------------------------------------------------- */

static void test_greedy(void **state)
{
    (void)state;
    struct fkv_sampler_params p = FKV_SAMPLER_PARAMS_INIT;
    p.temperature = 0;
    fkv_sampler *s = open_sampler(&p, 4);
    assert_int_equal(fkv_sample(s, (float[]){1, 3, 2, 3}), 1);
    assert_int_equal(fkv_sample(s, (float[]){-INFINITY, -INFINITY, -5, -INFINITY}), 2);
    assert_int_equal(fkv_sample(s, (float[]){0, -0.0f, 0, 0}), 0);
    fkv_sampler_close(s);
}

static void test_no_number(void **state)
{
    (void)state;
    for (int greedy = 0; greedy < 2; greedy++) {
        struct fkv_sampler_params p = FKV_SAMPLER_PARAMS_INIT;
        if (greedy) p.temperature = 0;
        fkv_sampler *s = open_sampler(&p, 3);
        assert_int_equal(fkv_sample(s, (float[]){1, NAN, 2}), -1);
        assert_int_equal(fkv_sample(s, (float[]){1, 2, NAN}), -1);
        assert_int_equal(fkv_sample(s, (float[]){1, INFINITY, 2}), -1);
        assert_int_equal(fkv_sample(s, (float[]){-INFINITY, -INFINITY, -INFINITY}), -1);
        assert_int_equal(fkv_sample(s, (float[]){-INFINITY, 9, -INFINITY}), 1);
        fkv_sampler_close(s);
    }
}

/* Positive logits are divided, negative ones multiplied; the oldest id leaves the window. */
static void test_repeat_penalty(void **state)
{
    (void)state;
    struct fkv_sampler_params p = FKV_SAMPLER_PARAMS_INIT;
    p.temperature = 0, p.repeat_penalty = 2, p.repeat_last_n = 2;
    fkv_sampler *s = open_sampler(&p, 3);
    const float logits[] = {10, 8, 6};
    assert_int_equal(fkv_sample(s, logits), 0);
    assert_int_equal(fkv_sample(s, logits), 1); /* 5, 8, 6 */
    assert_int_equal(fkv_sample(s, logits), 2); /* 5, 4, 6 */
    assert_int_equal(fkv_sample(s, logits), 0); /* 10, 4, 3 */
    fkv_sampler_accept(s, 0);
    fkv_sampler_accept(s, 0);
    assert_int_equal(fkv_sample(s, (float[]){-1, -1.5f, -3}), 1); /* twice in the window counts once: -2 */
    fkv_sampler_accept(s, -1);
    fkv_sampler_accept(s, 3); /* outside the vocabulary: ignored */
    fkv_sampler_close(s);
}

/* Presence counts once, frequency as often; both after the repeat penalty. */
static void test_other_penalties(void **state)
{
    (void)state;
    struct fkv_sampler_params p = FKV_SAMPLER_PARAMS_INIT;
    p.temperature = 0, p.presence_penalty = 1, p.frequency_penalty = 0.5f;
    fkv_sampler *s = open_sampler(&p, 3);
    const float logits[] = {4, 2, 0.5f};
    fkv_sampler_accept(s, 1);
    assert_int_equal(fkv_sample(s, logits), 0);                /* 4, 0.5, 0.5 */
    assert_int_equal(fkv_sample(s, logits), 0);                /* 2.5, 0.5, 0.5 */
    assert_int_equal(fkv_sample(s, (float[]){4, 4, 0}), 1);    /* 2, 2.5, 0 */
    assert_int_equal(fkv_sample(s, (float[]){4, 4, 2.5f}), 2); /* 2, 2, 2.5 */
    fkv_sampler_close(s);
    p.repeat_penalty = 2, p.presence_penalty = -3, p.frequency_penalty = 0;
    s = open_sampler(&p, 2);
    fkv_sampler_accept(s, 0);
    assert_int_equal(fkv_sample(s, (float[]){4, 4.5f}), 0); /* 4 / 2 + 3 */
    fkv_sampler_close(s);
}

static void test_bias(void **state)
{
    (void)state;
    const struct fkv_logit_bias bias[] = {{1, 3}, {2, -INFINITY}, {1, 2}, {0, -1}};
    for (int greedy = 0; greedy < 2; greedy++) {
        struct fkv_sampler_params p = FKV_SAMPLER_PARAMS_INIT;
        p.temperature = greedy ? 0 : 1e-3f, p.bias = bias, p.n_bias = 4;
        fkv_sampler *s = open_sampler(&p, 3);
        assert_int_equal(fkv_sample(s, (float[]){4, -1.5f, 99}), 1); /* 3, 3.5, never */
        assert_int_equal(fkv_sample(s, (float[]){4, -2.5f, 99}), 0);
        assert_int_equal(fkv_sample(s, (float[]){-INFINITY, -INFINITY, 99}), -1);
        fkv_sampler_close(s);
    }
}

static void test_frequencies(void **state)
{
    (void)state;
    enum { DRAWS = 20000 };
    struct fkv_sampler_params p = FKV_SAMPLER_PARAMS_INIT;
    p.temperature = 1, p.top_k = 0, p.top_p = 1, p.min_p = 0, p.seed = 5;
    fkv_sampler *s = open_sampler(&p, 3);
    int count[3] = {0};
    for (int i = 0; i < DRAWS; i++) count[fkv_sample(s, (float[]){logf(0.5f), logf(0.3f), logf(0.2f)})]++;
    for (int i = 0; i < 3; i++) { /* within 5 standard deviations */
        double share = (double[]){0.5, 0.3, 0.2}[i];
        assert_true(fabs(count[i] - share * DRAWS) < 5 * sqrt(DRAWS * share * (1 - share)));
    }
    fkv_sampler_close(s);
}

static void test_seeds(void **state)
{
    (void)state;
    int32_t ids[3][50];
    uint64_t seed = 3;
    float logits[VOCAB];
    random_logits(logits, &seed);
    for (int run = 0; run < 3; run++) {
        struct fkv_sampler_params p = FKV_SAMPLER_PARAMS_INIT;
        p.seed = run == 2 ? 43 : 42;
        fkv_sampler *s = open_sampler(&p, VOCAB);
        for (int i = 0; i < 50; i++) ids[run][i] = fkv_sample(s, logits);
        fkv_sampler_close(s);
    }
    assert_memory_equal(ids[0], ids[1], sizeof ids[0]);
    assert_memory_not_equal(ids[0], ids[2], sizeof ids[0]);
}

static void expect_refused(struct fkv_sampler_params p, int n_vocab, const char *message)
{
    char err[FKV_ERROR_BYTES] = "";
    fkv_sampler *s = NULL;
    assert_int_equal(fkv_sampler_open(&s, &p, n_vocab, err), FKV_ERROR_ARGUMENT);
    assert_null(s);
    assert_string_equal(err, message);
    assert_int_equal(fkv_sampler_open(&s, &p, n_vocab, NULL), FKV_ERROR_ARGUMENT);
}

static void test_refused(void **state)
{
    (void)state;
#define REFUSED(member, value, message)                        \
    do {                                                       \
        struct fkv_sampler_params p = FKV_SAMPLER_PARAMS_INIT; \
        p.member = value;                                      \
        expect_refused(p, 10, message);                        \
    } while (0)
    REFUSED(temperature, -1, "temperature: expected 0 or more, found -1");
    REFUSED(temperature, NAN, "temperature: expected 0 or more, found nan");
    REFUSED(top_k, -1, "top_k: expected 0 or more, found -1");
    REFUSED(top_p, 0, "top_p: expected a share in (0, 1], found 0");
    REFUSED(top_p, 1.5f, "top_p: expected a share in (0, 1], found 1.5");
    REFUSED(min_p, -0.5f, "min_p: expected a share in [0, 1], found -0.5");
    REFUSED(repeat_penalty, 0, "repeat_penalty: expected a factor above 0, found 0");
    REFUSED(repeat_last_n, -1, "repeat_last_n: expected 0 or more, found -1");
    REFUSED(presence_penalty, INFINITY, "presence_penalty: expected a number, found inf");
    REFUSED(frequency_penalty, NAN, "frequency_penalty: expected a number, found nan");
    struct fkv_sampler_params p = FKV_SAMPLER_PARAMS_INIT;
    p.n_bias = 1, p.bias = &(struct fkv_logit_bias){10, 0};
    expect_refused(p, 10, "bias 0: expected an id from 0 to 9, found 10");
    p.bias = &(struct fkv_logit_bias){1, NAN};
    expect_refused(p, 10, "bias 0: expected a number or -inf, found nan");
    p.n_bias = 0;
    expect_refused(p, 0, "n_vocab: expected 1 or more, found 0");
    fkv_sampler_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restated_generator),
        cmocka_unit_test(test_against_plain),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_no_number),
        cmocka_unit_test(test_repeat_penalty),
        cmocka_unit_test(test_other_penalties),
        cmocka_unit_test(test_bias),
        cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
