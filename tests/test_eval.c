/* What `fastkv eval` measures with: samples are the same bytes for the same seed, are as long as asked, hold their own
   answer and no other's; scores and intervals against cases worked out by hand. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "eval/bootstrap.h"
#include "eval/score.h"
#include "eval/sha256.h"
#include "eval/task.h"

enum { SEED = 7, LENGTH = 2048, BYTES_A_TOKEN = 4 };

static struct eval_sources sources;

static int open_sources(void **state)
{
    char err[EVAL_ERROR_BYTES];
    (void)state;
    return eval_sources_open(&sources, NULL, err) ? 0 : -1;
}

static int close_sources(void **state)
{
    (void)state;
    eval_sources_close(&sources);
    return 0;
}

/* ---- samples --------------------------------------------------------------------------------- */

/* Stands for a tokenizer. */
static size_t measure(void *user, const struct eval_task *task, const struct eval_sample *s)
{
    (void)user;
    const size_t turns = s->system.n + s->earlier.n + s->earlier_answer.n;
    return (turns + s->context.n + s->question.n + s->prefix.n) / BYTES_A_TOKEN + (size_t)task->n_predict;
}

static struct eval_sample make_at(const struct eval_task *task, uint64_t seed, int length, int index)
{
    struct eval_sample sample;
    if (!eval_task_sample(task, &sources, seed, length, index, measure, NULL, &sample))
        fail_msg("%s: no sample of %d tokens", task->name, length);
    return sample;
}

static struct eval_sample make(const struct eval_task *task, int index) { return make_at(task, SEED, LENGTH, index); }

static uint64_t hash_of(const struct eval_sample *s)
{
    const struct eval_text *texts[] = {&s->context, &s->question, &s->prefix,        &s->answer,
                                       &s->system,  &s->earlier,  &s->earlier_answer};
    uint64_t hash = FKV_HASH;
    for (int i = 0; i < 7; i++) hash = fkv_hash(hash, texts[i]->s ? texts[i]->s : "", texts[i]->n);
    for (int i = 0; i < s->n_references; i++) hash = fkv_hash(hash, s->reference[i].s, s->reference[i].n);
    return hash;
}

static uint64_t hash_at(const struct eval_task *task, uint64_t seed, int length, int index)
{
    struct eval_sample s = make_at(task, seed, length, index);
    const uint64_t hash = hash_of(&s);
    eval_sample_release(&s);
    return hash;
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (; (text = strstr(text, what)); text += strlen(what)) n++;
    return n;
}

static const struct eval_task *find(const char *name)
{
    for (int i = 0; eval_task_list(i); i++)
        if (!strcmp(eval_task_list(i)->name, name)) return eval_task_list(i);
    fail_msg("no task %s", name);
    return NULL;
}

/* One number for all of a suite: a machine or a change that makes other samples is found out. */
static void test_same_seed_same_bytes(void **state)
{
    (void)state;
    uint64_t suites[2] = {FKV_HASH, FKV_HASH};
    int n[2] = {0};
    const struct eval_task *task;
    for (int i = 0; (task = eval_task_list(i)); i++) {
        const uint64_t hash = hash_at(task, SEED, LENGTH, 0);
        assert_true(hash == hash_at(task, SEED, LENGTH, 0));
        assert_true(hash != hash_at(task, SEED + 1, LENGTH, 0));
        assert_true(hash != hash_at(task, SEED, LENGTH + 512, 0));
        assert_true(hash != hash_at(task, SEED, LENGTH, 1));
        uint64_t *all = &suites[task->is_long];
        *all = fkv_hash(*all, task->name, strlen(task->name));
        for (int b = 0; b < 8; b++) *all = fkv_hash(*all, &(unsigned char){(unsigned char)(hash >> (8 * b))}, 1);
        n[task->is_long]++;
    }
    assert_int_equal(n[0], 13);
    assert_int_equal(suites[0], UINT64_C(0x7e75ca47e71febf8));
    assert_int_equal(n[1], 7);
    assert_int_equal(suites[1], UINT64_C(0x075becf1899db776));
}

static void test_as_long_as_asked(void **state)
{
    (void)state;
    static const int lengths[] = {1024, 4096, 16384};
    for (int i = 0; eval_task_list(i); i++) {
        for (int l = 0; l < 3; l++) {
            struct eval_sample s = make_at(eval_task_list(i), SEED, lengths[l], 3);
            const int n = (int)measure(NULL, eval_task_list(i), &s);
            if (n > lengths[l] || n <= lengths[l] - 64)
                fail_msg("%s: %d tokens for %d", eval_task_list(i)->name, n, lengths[l]);
            eval_sample_release(&s);
        }
    }
}

static void test_too_short(void **state)
{
    struct eval_sample s;
    (void)state;
    assert_false(eval_task_sample(find("vt"), &sources, SEED, 64, 0, measure, NULL, &s));
    assert_null(s.context.s);
}

/* What another sample's right answer may score at most: two lists of ten common words may share one, or one may lie
   within another; lines of code are alike, though not the same; of five rules three are about form. Questions on
   licences may be the same one, and a refusal is right for all that no document answers. */
static double most_of_others(const struct eval_task *task, const struct eval_sample *x, const struct eval_sample *y)
{
    if (task->scoring == EVAL_LINE) return 0.95;
    if (task->scoring == EVAL_RULES) return 0.6;
    if (task->is_long && !strcmp(x->answer.s, y->answer.s)) return 1;
    return strcmp(task->name, "cwe") ? 0 : 0.3;
}

/* An answer that is right is right for its own sample and for no other. */
static void test_references(void **state)
{
    (void)state;
    enum { SAMPLES = 12 };
    for (int t = 0; eval_task_list(t); t++) {
        const struct eval_task *task = eval_task_list(t);
        struct eval_sample s[SAMPLES];
        for (int i = 0; i < SAMPLES; i++) s[i] = make(task, i);
        for (int i = 0; i < SAMPLES; i++) {
            assert_true(s[i].n_references >= 1);
            for (int r = 0; r < s[i].n_references; r++)
                if (!strstr(s[i].context.s, s[i].reference[r].s) && task->scoring == EVAL_ALL)
                    fail_msg("%s: %s is not in the text", task->name, s[i].reference[r].s);
            if (task->scoring != EVAL_RULES) assert_non_null(strstr(s[i].context.s, s[i].reference[0].s));
            for (int j = 0; j < SAMPLES; j++) {
                const double right = eval_score(task, &s[i], s[j].answer.s);
                if (i == j ? right != 1 : right > most_of_others(task, &s[i], &s[j]))
                    fail_msg("%s: sample %d scores %g for the answer of %d", task->name, i, right, j);
                if (i == j) assert_true(eval_score_strict(task, &s[i], s[j].answer.s) == 1);
            }
            const double asked = eval_score(task, &s[i], s[i].question.s);
            if (task->scoring == EVAL_LINE || task->scoring == EVAL_RULES)
                assert_true(asked < 0.5);
            else if (strcmp(task->name, "unanswerable")) /* which says how to refuse */
                assert_true(asked == 0);
            const double begun = eval_score(task, &s[i], s[i].prefix.s);
            assert_true(task->scoring == EVAL_LINE ? begun < 0.5 : begun == 0);
        }
        for (int i = 0; i < SAMPLES; i++) eval_sample_release(&s[i]);
    }
}

/* Without the haystack nothing of the answer is left; where text is asked for, what stays is the instruction. */
static void test_closed_book(void **state)
{
    (void)state;
    const struct eval_task *task;
    for (int t = 0; (task = eval_task_list(t)); t++) {
        for (int i = 0; i < 4; i++) {
            struct eval_sample s = make(task, i), closed = make(task, i);
            eval_sample_close_book(&closed);
            assert_true(closed.context.n > 20 && closed.context.n < 600 && closed.context.n < s.context.n / 4);
            assert_int_equal(strlen(closed.context.s), closed.context.n);
            assert_memory_equal(closed.context.s, s.context.s, closed.context.n);
            const double left = eval_score(task, &s, closed.context.s);
            if (task->scoring == EVAL_ALL || (task->scoring == EVAL_ANY && strcmp(task->name, "unanswerable")))
                assert_true(left == 0);
            else if (task->scoring == EVAL_LINE)
                assert_true(left < 0.5);
            eval_sample_release(&s);
            eval_sample_release(&closed);
        }
    }
}

/* The needle goes from the beginning to the end of the text as the index does. */
static void test_depths(void **state)
{
    (void)state;
    static const struct {
        const char *task, *before; /* what is asked for stands behind this in the question */
    } cases[] = {{"niah_single_1", " for "},
                 {"niah_single_2", " for "},
                 {"niah_multikey_2", " for "},
                 {"qa_1", " the "}};
    for (int t = 0; t < 4; t++) {
        int early = 0, late = 0;
        for (int i = 0; i < 40; i++) {
            struct eval_sample s = make(find(cases[t].task), i);
            char key[64];
            const char *question = strstr(s.question.s, "Question: "), *asked = question ? question : s.question.s;
            assert_int_equal(sscanf(strstr(asked, cases[t].before) + 5, "%63s", key), 1);
            strcat(key, " "); /* no other begins so */
            const double at = (double)(strstr(s.context.s, key) - s.context.s) / (double)s.context.n;
            const double wanted = (double)(i * 17 % 40) / 39;
            if (at < wanted - 0.12 || at > wanted + 0.12)
                fail_msg("%s: sample %d: at %g, wanted %g", cases[t].task, i, at, wanted);
            early += at < 0.25;
            late += at > 0.75;
            eval_sample_release(&s);
        }
        assert_in_range(early, 8, 12);
        assert_in_range(late, 8, 12);
    }
}

/* Other lines with the same key would make two answers right. */
static void test_one_line_a_key(void **state)
{
    (void)state;
    static const char *const names[] = {"niah_multikey_1", "niah_multikey_2", "niah_multikey_3"};
    for (int t = 0; t < 3; t++) {
        for (int i = 0; i < 8; i++) {
            struct eval_sample s = make(find(names[t]), i);
            char key[64];
            assert_int_equal(sscanf(strstr(s.question.s, " for ") + 5, "%63s", key), 1);
            assert_int_equal(count(s.context.s, key), 1);
            eval_sample_release(&s);
        }
    }
}

static void test_values_and_queries(void **state)
{
    (void)state;
    struct eval_sample values = make(find("niah_multivalue"), 0), queries = make(find("niah_multiquery"), 0);
    assert_int_equal(values.n_references, 4);
    assert_int_equal(queries.n_references, 4);
    assert_int_equal(count(values.context.s, "special magic numbers for "), 4);
    assert_int_equal(count(queries.context.s, "special magic numbers for "), 4);
    assert_non_null(strstr(queries.question.s, ", and "));
    eval_sample_release(&values);
    eval_sample_release(&queries);
}

static void test_chain(void **state)
{
    (void)state;
    struct eval_sample s = make(find("vt"), 5);
    const char *last = s.context.s;
    for (int i = 0; i < 5; i++) { /* each is assigned behind the one it is assigned from */
        char line[32];
        snprintf(line, sizeof line, "VAR %s = ", s.reference[i].s);
        const char *at = strstr(last, line);
        assert_non_null(at);
        if (i) assert_memory_equal(at + strlen(line) + 4, s.reference[i - 1].s, 5);
        last = at;
    }
    eval_sample_release(&s);
}

/* No word that is not asked for comes up as often as one that is. */
static void check_counts(const char *task, int answers, const char *before, const char *noise)
{
    struct eval_sample s = make(find(task), 2);
    int least = 1 << 30, most = 0;
    char *list = strchr(s.context.s, '\n'), *copy = strdup(list), *rest = copy;
    for (int i = 0; i < answers; i++) {
        char word[128];
        snprintf(word, sizeof word, "%s%s ", before, s.reference[i].s);
        const int n = count(list, word);
        if (n < least) least = n;
    }
    for (char *w; (w = strtok_r(rest, " \n", &rest));) {
        char word[128];
        bool asked = *w >= '0' && *w <= '9';
        for (int i = 0; i < answers; i++) asked |= !strcmp(w, s.reference[i].s);
        if (asked || (noise && !strcmp(w, noise))) continue;
        snprintf(word, sizeof word, "%s%s ", before, w);
        const int n = count(list, word);
        if (n > most) most = n;
    }
    if (least <= most) fail_msg("%s: %d times, and others %d times", task, least, most);
    free(copy);
    eval_sample_release(&s);
}

static void test_counts(void **state)
{
    (void)state;
    check_counts("cwe", 10, ". ", NULL);
    check_counts("fwe", 3, "", "......");
}

/* Neither document of a two-hop question answers it alone. */
static void test_hops(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct eval_sample s = make(find("qa_2"), i);
        char title[128], author[128];
        assert_int_equal(sscanf(strchr(s.question.s, '"'), "\"%127[^\"]\"", title), 1);
        assert_int_equal(count(s.context.s, title), 1);
        const char *book = strstr(s.context.s, title), *by = strstr(book, " by "), *end = strchr(book, '\n');
        assert_int_equal(sscanf(by, " by %127[^.].", author), 1);
        assert_int_equal(count(s.context.s, author), 2);
        const char *answer = strstr(s.context.s, s.reference[0].s);
        assert_true(answer < book || answer > end);
        eval_sample_release(&s);
    }
}

/* ---- samples of the suite "long" ------------------------------------------------------------- */

/* The line asked for is in the module once, in the function that is named, and its depth is the sample's. */
static void test_code_line(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        struct eval_sample s = make(find("code_line"), i);
        char name[64], head[80];
        assert_int_equal(sscanf(strstr(s.question.s, "# as in "), "# as in %63s", name), 1);
        snprintf(head, sizeof head, "def %s(", name);
        assert_int_equal(count(s.context.s, head), 1);
        const char *function = strstr(s.context.s, head), *line = strstr(s.context.s, s.reference[0].s);
        assert_ptr_equal(line, strchr(function, '\n') + 1);
        assert_int_equal(count(s.context.s, s.reference[0].s), 1);
        assert_true(s.reference[0].n < 200);
        const double at = (double)(function - s.context.s) / (double)s.context.n, wanted = (double)(i * 17 % 40) / 39;
        if (at < wanted - 0.1 || at > wanted + 0.1) fail_msg("sample %d: at %g, wanted %g", i, at, wanted);
        eval_sample_release(&s);
    }
}

/* Every question's licence, passage and answer are there, at every length; nothing of the question gives it away. */
static void test_licence_questions(void **state)
{
    (void)state;
    enum { SAMPLES = 400, QUESTIONS = 60 };
    static char met[QUESTIONS][200];
    int n_met = 0;
    for (int i = 0; i < SAMPLES; i++) {
        struct eval_sample s = make_at(find("licence_qa"), SEED, i % 16 ? 300 : 12000, i);
        char title[64], name[32];
        assert_int_equal(sscanf(strstr(s.question.s, "Question on "), "Question on %31[^:]", name), 1);
        snprintf(title, sizeof title, "=== %s ===\n", name);
        const char *text = strstr(s.context.s, title);
        assert_non_null(text);
        const char *end = strstr(text + strlen(title), "\n\n==="), *answer = strstr(text, s.reference[0].s);
        if (!answer || (end && answer > end)) fail_msg("%s: no answer to %s", name, s.question.s);
        int known = 0;
        while (known < n_met && strcmp(met[known], strstr(s.question.s, "Question on "))) known++;
        assert_true(known < QUESTIONS);
        if (known == n_met) snprintf(met[n_met++], sizeof *met, "%s", strstr(s.question.s, "Question on "));
        eval_sample_release(&s);
    }
    assert_int_equal(n_met, QUESTIONS);
}

/* The same question of the same documents, whatever its place. */
static void test_places(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct eval_sample last = make(find("question_last"), i), first = make(find("question_first"), i),
                           second = make(find("second_turn"), i);
        const char *asked = strstr(last.question.s, "Question: ");
        assert_string_equal(second.question.s, last.question.s);
        assert_string_equal(second.answer.s, last.answer.s);
        assert_string_equal(first.answer.s, last.answer.s);
        const char *ahead = strstr(first.context.s, asked), *document = strstr(first.context.s, "Document 1:");
        assert_true(ahead && ahead < document);
        assert_null(strstr(first.question.s, asked));
        assert_null(strstr(last.context.s, asked));
        assert_true(!last.earlier.n && !first.earlier.n && second.earlier.n);
        assert_string_not_equal(strstr(second.earlier.s, "Question: "), asked);
        const char *earlier = second.earlier_answer.s + strlen("Answer: ");
        assert_non_null(strstr(second.context.s, earlier));
        eval_sample_release(&last);
        eval_sample_release(&first);
        eval_sample_release(&second);
    }
}

/* What no document answers is what another task asks where it is answered: the place is named nowhere. */
static void test_unanswerable(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        struct eval_sample s = make(find("unanswerable"), i);
        char name[64];
        const char *asked = strstr(s.question.s, "Question: ");
        assert_int_equal(sscanf(strstr(asked, " the ") + 5, "%63s", name), 1);
        strcat(name, " ");
        assert_null(strstr(s.context.s, name));
        assert_true(eval_score(find("unanswerable"), &s, " 1883") == 0);
        assert_true(eval_score(find("unanswerable"), &s, " It is NOT MENTIONED in any of them.") == 1);
        eval_sample_release(&s);
    }
}

/* The system message says what is checked. */
static void test_rules(void **state)
{
    (void)state;
    struct eval_sample s = make(find("rules"), 0);
    assert_int_equal(s.n_references, 5);
    assert_int_equal(count(s.system.s, "\n"), 5);
    for (int i = 0; i < 3; i++) assert_non_null(strstr(s.system.s, strchr(s.reference[i].s, ' ') + 1));
    assert_null(strstr(s.context.s, s.system.s));
    eval_sample_release(&s);
}

/* ---- what was read --------------------------------------------------------------------------- */

static void test_sha256(void **state)
{
    (void)state;
    static const struct {
        const char *text, *digest; /* FIPS 180-4's examples */
    } cases[] = {{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
                 {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
                 {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"}};
    for (int i = 0; i < 3; i++) {
        struct eval_sha256 sha;
        char hex[65];
        eval_sha256_start(&sha);
        eval_sha256_add(&sha, cases[i].text, strlen(cases[i].text));
        eval_sha256_end(&sha, hex);
        assert_string_equal(hex, cases[i].digest);
    }
}

static void test_sources(void **state)
{
    (void)state;
    size_t words = 0;
    assert_true(sources.adjectives.n >= 300 && sources.nouns.n >= 700);
    for (int i = 0; i < sources.sentences.n; i++) {
        const char *s = sources.sentences.items[i];
        const int n = 1 + count(s, " ");
        assert_in_range(n, EVAL_SENTENCE_LEAST, EVAL_SENTENCE_MOST);
        assert_null(strstr(s, "  "));
        words += (size_t)n;
    }
    assert_true(words > 20000);
    for (int i = 0; i < sources.adjectives.n; i++)
        for (int j = 0; j < sources.nouns.n; j++)
            assert_string_not_equal(sources.adjectives.items[i], sources.nouns.items[j]);
}

static void test_own_texts(void **state)
{
    (void)state;
    struct eval_sources own;
    char err[EVAL_ERROR_BYTES], folder[] = "/tmp/fastkv_eval_XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/text", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 60; i++) fprintf(f, "Here  is sentence\nnumber %d of a text that is\nread. Too short! ", i);
    fclose(f);
    assert_true(eval_sources_open(&own, folder, err));
    assert_int_equal(own.sentences.n, 60);
    assert_string_equal(own.sentences.items[7], "Here is sentence number 7 of a text that is read.");
    assert_string_not_equal(own.digest, sources.digest);
    eval_sources_close(&own);
    f = fopen(path, "w");
    fputs("Too little.", f);
    fclose(f);
    assert_false(eval_sources_open(&own, folder, err));
    assert_non_null(strstr(err, "expected texts with 50 different sentences"));
    remove(path);
    remove(folder);
    assert_false(eval_sources_open(&own, folder, err));
    assert_non_null(strstr(err, "cannot be read"));
}

/* ---- scores ---------------------------------------------------------------------------------- */

static void test_scores(void **state)
{
    (void)state;
    const struct eval_task all = {.scoring = EVAL_ALL}, any = {.scoring = EVAL_ANY};
    struct eval_sample s = {.reference = {{.s = "1234567"}, {.s = "Ilka Dorn"}}, .n_references = 2};
    static const struct {
        const char *answer;
        double all, any, strict;
    } cases[] = {
        {"It is 1234567, by Ilka Dorn.", 1, 1, 1},
        {" 1234567\n", 0.5, 1, 0.5},
        {"71234567 ilka\ndorn", 1, 1, 0},
        {"1234567ilka dorn", 1, 1, 0},
        {"123456 7", 0, 0, 0},
        {"", 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(eval_score(&all, &s, cases[i].answer) == cases[i].all);
        assert_true(eval_score(&any, &s, cases[i].answer) == cases[i].any);
        assert_true(eval_score_strict(&all, &s, cases[i].answer) == cases[i].strict);
    }
}

static void test_line_scores(void **state)
{
    (void)state;
    const struct eval_task task = {.scoring = EVAL_LINE};
    struct eval_sample s = {.reference = {{.s = "    total = a * 3"}}, .n_references = 1};
    static const struct {
        const char *answer;
        double score;
    } cases[] = {
        {"total = a * 3", 1},           {"```python\n\n# as there\n\ttotal = a * 3 \r\nreturn total\n", 1},
        {"total = a * 4", 12.0 / 13},   {"total = a * 35", 13.0 / 14},
        {"total = * 3", 11.0 / 13},     {"xtotal", 1 - 9.0 / 13},
        {"return 1\ntotal = a * 3", 0}, {"", 0},
        {"\n# total = a * 3", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const double score = eval_score(&task, &s, cases[i].answer);
        if (!strncmp(cases[i].answer, "return", 6))
            assert_true(score < 0.5);
        else
            assert_float_equal(score, cases[i].score, 1e-12);
        assert_true(eval_score_strict(&task, &s, cases[i].answer) == (cases[i].score == 1));
    }
}

static void test_rule_scores(void **state)
{
    (void)state;
    const struct eval_task task = {.scoring = EVAL_RULES};
    struct eval_sample s = {.reference = {{.s = "begins calm"},
                                          {.s = "ends river"},
                                          {.s = "lines 2"},
                                          {.s = "lower-case"},
                                          {.s = "no-comma"}},
                            .n_references = 5};
    static const struct {
        const char *answer;
        double score;
    } cases[] = {
        {"calm words\nof a river", 1},
        {"\n \"calm\" words\n\n of a river.\n", 1},
        {"calm words of a river", 0.8},
        {"Calm words\nof a river", 0.8},
        {"calm, words\nof a river", 0.8},
        {"calmer words\nof a river", 0.8},
        {"calm words\nof a driver", 0.8},
        {"calm words\nof a riv", 0.8},
        {"X, y", 0},
        {"words", 0.4},
        {"", 0},
        {" \n", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_float_equal(eval_score(&task, &s, cases[i].answer), cases[i].score, 1e-12);
        assert_true(eval_score_strict(&task, &s, cases[i].answer) == (cases[i].score == 1));
    }
}

/* ---- intervals ------------------------------------------------------------------------------- */

/* One sample in twenty loses or wins all: half the interval is 1.96 sqrt(0.05 / n) of that. */
static void test_interval(void **state)
{
    (void)state;
    enum { N = 480, TASKS = 3 };
    double x[N];
    int task[N];
    struct eval_interval is;
    for (int i = 0; i < N; i++) {
        x[i] = i % 20 ? 0 : i % 40 ? 100 : -100;
        task[i] = i * TASKS / N;
    }
    assert_true(eval_bootstrap(x, task, N, TASKS, 1, &is));
    assert_float_equal(is.mean, 0, 1e-9);
    assert_float_equal(is.deviation, 22.36, 0.1);
    assert_float_equal((is.high - is.low) / 2, 2.0, 0.21); /* 100 / 480: the step of a mean */
    assert_float_equal(is.least, -1.68, 0.21);
    for (int i = 0; i < N; i++) x[i] = -3;
    assert_true(eval_bootstrap(x, task, N, TASKS, 1, &is));
    assert_true(is.mean == -3 && is.low == -3 && is.high == -3 && is.least == -3 && is.deviation == 0);
    assert_false(eval_bootstrap(x, task, 0, TASKS, 1, &is));
}

/* Each task counts the same, however many samples it has; a task without any does not count. */
static void test_means_of_means(void **state)
{
    (void)state;
    const double x[] = {1, 1, 1, 1, 1, 4};
    const int task[] = {0, 0, 0, 0, 0, 2};
    struct eval_interval is;
    assert_true(eval_bootstrap(x, task, 6, 4, 1, &is));
    assert_true(is.mean == 2.5 && is.low == 2.5 && is.high == 2.5);
}

static void test_samples_needed(void **state)
{
    (void)state;
    assert_true(eval_samples_needed(0, 1, 100 * 0.2236068) == 1353);
    assert_true(eval_samples_needed(0.3, 1, 100 * 0.2236068) == 2761);
    assert_true(eval_samples_needed(1, 1, 20) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_seed_same_bytes),
        cmocka_unit_test(test_as_long_as_asked),
        cmocka_unit_test(test_too_short),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_closed_book),
        cmocka_unit_test(test_depths),
        cmocka_unit_test(test_one_line_a_key),
        cmocka_unit_test(test_values_and_queries),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_hops),
        cmocka_unit_test(test_code_line),
        cmocka_unit_test(test_licence_questions),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_unanswerable),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_own_texts),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_line_scores),
        cmocka_unit_test(test_rule_scores),
        cmocka_unit_test(test_interval),
        cmocka_unit_test(test_means_of_means),
        cmocka_unit_test(test_samples_needed),
    };
    return cmocka_run_group_tests(tests, open_sources, close_sources);
}
