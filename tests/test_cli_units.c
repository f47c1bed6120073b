/* The program's parts that need no model: the option table, the answer stream, numbers in messages, built-in chat
   templates, the question of a prompt. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/answer.h"
#include "cli/console.h"
#include "cli/options.h"
#include "cli/retention.h"
#include "cli/prompt.h"
#include "cli/utf8.h"
#include "support/tiny_vocab.h"
#include "template/chat_template.h"

enum { ARGS_MAX = 32 };

/* Splits `line` at blanks and parses it; the texts stay where `line` was copied to. */
static bool parse(struct settings *settings, unsigned command, const char *line, char *err)
{
    static char copy[512];
    char *argv[ARGS_MAX + 1] = {NULL};
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
        assert_true(argc < ARGS_MAX);
        argv[argc++] = word;
    }
    const struct command *c = cli_commands;
    while (c->bit != command) c++;
    return options_parse(settings, c, argc, argv, err);
}

static struct settings parsed(unsigned command, const char *line)
{
    struct settings s;
    char err[FKV_ERROR_BYTES] = "";
    if (!parse(&s, command, line, err)) fail_msg("%s: %s", line, err);
    return s;
}

static void expect_error(unsigned command, const char *line, const char *message)
{
    struct settings s;
    char err[FKV_ERROR_BYTES] = "";
    assert_false(parse(&s, command, line, err));
    assert_string_equal(err, message);
}

static void test_utf8(void **state)
{
    static const struct {
        const char *text;
        size_t n, bad;
    } cases[] = {
        {"", 0, 0},
        {"abc", 3, 3},
        {"caf\xc3\xa9", 5, 5},
        {"caf\xe9", 4, 3},
        {"a\xc3", 2, 1},
        {"\xed\xa0\x80", 3, 0},
        {"\xf0\x9f\x98\x80!", 5, 5},
        {"ab\xff\xfe", 4, 2},
        {"\xc0\x80", 2, 0},
        {"\xe2\x82z", 3, 0},
        {"\x80", 1, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(utf8_find_bad(cases[i].text, cases[i].n), cases[i].bad);
}

/* ---- options --------------------------------------------------------------------------------- */

/* The table's texts and the header's initialisers must not drift apart. */
static void test_defaults_are_the_librarys(void **state)
{
    (void)state;
    struct fkv_session_params session = FKV_SESSION_PARAMS_INIT;
    struct fkv_sampler_params sampler = FKV_SAMPLER_PARAMS_INIT;
    struct settings s = parsed(COMMAND_RUN, "-m x");
    const struct fkv_kv_params *kv = &s.session.kv;
    assert_string_equal(kv->policy, session.kv.policy);
    assert_int_equal(kv->tsp_layer, session.kv.tsp_layer);
    assert_true(kv->tsp_rate == session.kv.tsp_rate && kv->kv_retain == session.kv.kv_retain &&
                kv->pool_avg == session.kv.pool_avg);
    assert_int_equal(kv->window, session.kv.window);
    assert_int_equal(kv->pool_kernel, session.kv.pool_kernel);
    assert_int_equal(kv->sinks, session.kv.sinks);
    assert_int_equal(kv->kv_floor, session.kv.kv_floor);
    assert_int_equal(kv->tsp_floor, session.kv.tsp_floor);
    assert_int_equal(kv->kv_budget, session.kv.kv_budget);
    assert_int_equal(kv->tsp_budget, session.kv.tsp_budget);
    assert_true(s.sampler.temperature == sampler.temperature && s.sampler.top_p == sampler.top_p &&
                s.sampler.min_p == sampler.min_p && s.sampler.repeat_penalty == sampler.repeat_penalty);
    assert_int_equal(s.sampler.top_k, sampler.top_k);
    assert_int_equal(s.sampler.repeat_last_n, sampler.repeat_last_n);
    assert_int_equal(s.session.k_type, FKV_KV_AUTO);
    assert_int_equal(s.session.n_ctx, 0);
    assert_int_equal(s.n_predict, -1);
    assert_int_equal(s.seed, -1);
    s = parsed(COMMAND_BENCH, "-m x");
    assert_int_equal(s.n_predict, 64);
    assert_int_equal(s.lengths.n, 3);
    assert_int_equal(s.lengths.items[2], 8192);
    assert_int_equal(s.policies.n, 2);
    assert_string_equal(s.policies.items[1], "fastkv");
}

static void test_spellings(void **state)
{
    (void)state;
    struct settings s =
        parsed(COMMAND_RUN,
               "-m a.gguf -p hello -n -1 --tsp-rate=0.5 -ctk q8_0 --cache-type-v f32 -sysf sys.txt -r one -r two "
               "--raw --kv-pool avg");
    assert_string_equal(s.model, "a.gguf");
    assert_string_equal(s.prompt, "hello");
    assert_true(s.session.kv.tsp_rate == 0.5);
    assert_int_equal(s.session.k_type, FKV_KV_Q8_0);
    assert_int_equal(s.session.v_type, FKV_KV_F32);
    assert_string_equal(s.system_file, "sys.txt");
    assert_int_equal(s.stops.n, 2);
    assert_string_equal(s.stops.items[1], "two");
    assert_true(s.raw && s.session.kv.pool_avg && !s.ignore_eos);
    assert_int_equal(parsed(COMMAND_RUN, "--model x --n-predict 5").n_predict, 5);
    assert_int_equal(parsed(COMMAND_RUN, "-m x --seed 9223372036854775807").seed, INT64_MAX);
    assert_int_equal(parsed(COMMAND_BENCH, "-m x --lengths 7").lengths.n, 1);
    assert_int_equal(parsed(COMMAND_BENCH, "-m x -o json").output, OUTPUT_JSON);
    assert_true(parsed(COMMAND_RUN, "--help").help); /* no model needed for that */
}

/* A preset comes first, wherever it stands: what is given besides replaces what it sets. */
static void test_presets(void **state)
{
    (void)state;
    static const char *const lines[] = {"-m x --kv-preset paper --kv-retain 0.3 --kv-window 16",
                                        "-m x --kv-window 16 --kv-retain 0.3 --kv-preset paper"};
    for (int i = 0; i < 2; i++) {
        const struct fkv_kv_params kv = parsed(COMMAND_RUN, lines[i]).session.kv;
        assert_string_equal(kv.policy, "fastkv");
        assert_true(kv.kv_retain == 0.3 && kv.window == 16 && kv.kv_floor == 0 && kv.sinks == 0);
    }
    struct settings s = parsed(COMMAND_RUN, "-m x --auto-mass 0.7 --kv-preset safe --self-check");
    double mass = 0;
    assert_string_equal(s.session.kv.policy, "auto");
    assert_true(s.self_check && fkv_kv_get(&s.session.kv, "auto-mass", &mass) && mass == 0.7);
    assert_string_equal(parsed(COMMAND_RUN, "-m x --kv-policy fastkv --kv-preset safe").session.kv.policy, "fastkv");
    assert_true(parsed(COMMAND_EVAL, "-m x --kv-preset paper").session.kv.kv_floor == 0);
}

/* What these mean elsewhere: beyond the end of a range is the end. */
static void test_ends_of_ranges(void **state)
{
    (void)state;
    assert_string_equal(parsed(COMMAND_RUN, "-m x --n-gpu-layers 7").engine.gpu_layers, "7");
    assert_true(parsed(COMMAND_RUN, "-m x --temp -1").sampler.temperature == 0);
    struct settings s = parsed(COMMAND_RUN, "-m x --top-p 0");
    assert_true(s.sampler.top_k == 1 && s.sampler.top_p == 1); /* only the likeliest is left */
    s = parsed(COMMAND_RUN, "-m x --top-p 1.5 --top-k -1 --min-p -1 -n -2 -s -5 -t -1");
    assert_true(s.sampler.top_p == 1 && s.sampler.top_k == 0 && s.sampler.min_p == 0);
    assert_true(s.n_predict < 0 && s.seed < 0 && s.engine.n_threads == 0);
    assert_int_equal(parsed(COMMAND_RUN, "-m x -t -2").engine.n_threads, 0);
    s = parsed(COMMAND_RUN, "-m x --min-p 2");
    assert_true(s.sampler.top_k == 1 && s.sampler.min_p == 0);
    assert_int_equal(parsed(COMMAND_RUN, "-m x --repeat-last-n -1").sampler.repeat_last_n, -1);
}

static void test_escapes(void **state)
{
    static const char *const cases[][2] = {
        {"a\\nb\\tc\\rd", "a\nb\tc\rd"},
        {"\\\"\\'\\\\", "\"'\\"},
        {"\\x41\\x7A\\xC3\\xa9", "Az\xc3\xa9"},
        {"\\d \\x4 \\xg1 \\", "\\d \\x4 \\xg1 \\"},
        {"\\x00", "\\x00"},
        {"\\\\n", "\\n"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", cases[i][0]);
        unescape(text);
        assert_string_equal(text, cases[i][1]);
    }
    struct settings s = parsed(COMMAND_RUN, "-m x -p a\\nb -r \\n -sys \\t -f a\\nb");
    assert_string_equal(s.prompt, "a\nb");
    assert_string_equal(s.stops.items[0], "\n");
    assert_string_equal(s.system, "\t");
    assert_string_equal(s.prompt_file, "a\\nb"); /* a name */
    assert_string_equal(parsed(COMMAND_RUN, "-m x -p a\\nb --no-escape").prompt, "a\\nb");
    assert_string_equal(parsed(COMMAND_TOKENIZE, "-m x -p a\\nb -e").prompt, "a\nb");
}

/* Options of llama.cpp are answered by name; none of them is one of ours. */
static void test_other_options(void **state)
{
    char err[FKV_ERROR_BYTES];
    struct settings s;
    (void)state;
    expect_error(COMMAND_RUN, "-tb 4",
                 "-tb is an option of llama.cpp, not of this program: -t is for prompt and answer");
    expect_error(
        COMMAND_CHAT, "-mli",
        "-mli is an option of llama.cpp, not of this program: in fastkv chat, a line that ends with \\ goes on "
        "in the next");
    expect_error(COMMAND_RUN, "--dry-multiplier 1",
                 "--dry-multiplier is an option of llama.cpp, not of this program: sampling is by --temp, --top-k, "
                 "--top-p, --min-p and --repeat-penalty");
    expect_error(COMMAND_BENCH, "--temp 1", "--temp is an option of run, not of bench");
    for (const struct other_option *o = cli_other_options; o->names; o++) {
        assert_true(*o->instead);
        for (const char *name = o->names; *name; name += strspn(name, ", ")) {
            char one[64], line[80];
            const size_t n = strcspn(name, ",");
            assert_in_range(n, 2, sizeof one - 1);
            snprintf(one, sizeof one, "%.*s", (int)n, name);
            if (one[n - 1] == '*') one[n - 1] = 'x';
            for (const struct option *ours = cli_options; ours->names; ours++)
                if (option_has_name(ours, one, n)) fail_msg("%s is an option of ours", one);
            snprintf(line, sizeof line, "%s 1", one);
            assert_false(parse(&s, COMMAND_RUN, line, err));
            if (!strstr(err, "is an option of llama.cpp")) fail_msg("%s: %s", one, err);
            name += n;
        }
    }
}

/* Options that single policies have come from their tables, whatever the order on the command line. */
static void test_options_of_policies(void **state)
{
    (void)state;
    struct settings s = parsed(COMMAND_RUN, "-m x --structkv-decay 0.5 --kv-policy structkv");
    struct fkv_kv_params kv = s.session.kv;
    double x = 0;
    assert_true(fkv_kv_get(&s.session.kv, "structkv-decay", &x) && x == 0.5);
    s = parsed(COMMAND_BENCH, "-m x --policies claa,structkv --claa-layers=2 --structkv-decay 0.25");
    retention_choose(&s, "claa", &kv);
    assert_true(fkv_kv_get(&kv, "claa-layers", &x) && x == 2);
    assert_true(fkv_kv_get(&kv, "claa-whole", &x) && x == 0);
    retention_choose(&s, "structkv", &kv);
    assert_true(fkv_kv_get(&kv, "structkv-decay", &x) && x == 0.25);
    retention_choose(&s, "fastkv", &kv);
    assert_int_equal(kv.own_given, 0);
    expect_error(COMMAND_RUN, "-m x --structkv-decay 0.5",
                 "--structkv-decay: an option of the policy structkv, but the policy is fastkv");
    expect_error(COMMAND_RUN, "-m x --kv-policy structkv --structkv-decay 2",
                 "--structkv-decay: expected 0 to 1, found 2");
    expect_error(COMMAND_RUN, "-m x --structkv-decay", "--structkv-decay: expected a number, found nothing");
    expect_error(COMMAND_RUN, "--structkv-deca 1", "unknown option --structkv-deca; did you mean --structkv-decay?");
    expect_error(COMMAND_TOKENIZE, "--structkv-decay 1", "--structkv-decay is an option of run, not of tokenize");
    expect_error(COMMAND_TOKENIZE, "--kv-retain 1", "--kv-retain is an option of run, not of tokenize");
}

static void test_errors(void **state)
{
    (void)state;
    expect_error(COMMAND_RUN, "--tsp-rate 1.5", "--tsp-rate: expected a share in (0, 1], found 1.5");
    expect_error(COMMAND_RUN, "--tsp-rate=0", "--tsp-rate: expected a share in (0, 1], found 0");
    expect_error(COMMAND_RUN, "--kv-retain nan", "--kv-retain: expected a share in (0, 1], found nan");
    expect_error(COMMAND_RUN, "--min-p x", "--min-p: expected a share, found x");
    expect_error(COMMAND_RUN, "--repeat-penalty 0", "--repeat-penalty: expected a factor, more than 0, found 0");
    expect_error(COMMAND_RUN, "-n 12x", "-n: expected a number of tokens, found 12x");
    expect_error(COMMAND_RUN, "-n 2147483648", "-n: expected a number of tokens, found 2147483648");
    expect_error(COMMAND_RUN, "-n", "-n: expected a number of tokens, found nothing");
    expect_error(COMMAND_RUN, "-n= 5", "unknown option -n=; did you mean -n?");
    expect_error(COMMAND_RUN, "-t 1025", "-t: expected a number of threads, at most 1024, found 1025");
    expect_error(COMMAND_RUN, "-ctv q4", "-ctv: expected one of auto, f32, f16, bf16, q8_0, found q4");
    expect_error(COMMAND_RUN, "-m x --kv-preset best", "--kv-preset: expected one of safe, fast, paper, found best");
    expect_error(COMMAND_RUN, "--kv-pool=", "--kv-pool: expected one of max, avg, found nothing");
    expect_error(COMMAND_RUN, "--raw=yes", "--raw: expected no value, found yes");
    expect_error(COMMAND_RUN, "-p x", "-m: expected FILE, the model, found nothing");
    expect_error(COMMAND_RUN, "-m x y", "unexpected argument y (fastkv run --help)");
    expect_error(COMMAND_RUN, "--kv-polcy full", "unknown option --kv-polcy; did you mean --kv-policy?");
    expect_error(COMMAND_RUN, "--zzz", "unknown option --zzz (fastkv run --help shows those there are)");
    expect_error(COMMAND_RUN, "--stages", "--stages is an option of bench, not of run");
    expect_error(COMMAND_BENCH, "--lengths 1,,2", "--lengths: expected numbers of tokens, at least 1, found 1,,2");
    expect_error(COMMAND_BENCH, "--lengths 0", "--lengths: expected numbers of tokens, at least 1, found 0");
    struct settings s;
    char err[FKV_ERROR_BYTES];
    assert_false(parse(&s, COMMAND_RUN, "--kv-policy half", err));
    assert_ptr_equal(strstr(err, "--kv-policy: expected one of full, fastkv"), err);
    assert_non_null(strstr(err, ", found half"));
}

/* Within a command no name is taken twice, and help shows every option with its default. */
static void test_table(void **state)
{
    (void)state;
    for (const struct command *c = cli_commands; c->name; c++) {
        char *help = NULL;
        size_t n;
        FILE *out = open_memstream(&help, &n);
        help_command(c, out);
        fclose(out);
        for (const struct option *o = cli_options; o->names; o++) {
            if (!(o->commands & c->bit)) continue;
            assert_non_null(strstr(help, o->names));
            for (const char *s = o->names; *s; s += strcspn(s, ","), s += strspn(s, ", "))
                for (const struct option *other = cli_options; other->names; other++)
                    if (other->commands & c->bit)
                        assert_int_equal(option_has_name(other, s, strcspn(s, ",")), other == o);
        }
        for (const char *line = help; *line; line += strcspn(line, "\n"), line += *line == '\n')
            if (!strstr(line, "Examples:") || strstr(line, "Examples:") > line + 200)
                assert_true(strcspn(line, "\n") <= 120);
        free(help);
    }
}

static void test_nearest_word(void **state)
{
    (void)state;
    static const char *const words[] = {"run", "chat", "tokenize", "info", NULL};
    assert_string_equal(nearest_word("rnu", words), "run");
    assert_string_equal(nearest_word("tokenise", words), "tokenize");
    assert_string_equal(nearest_word("chats", words), "chat");
    assert_null(nearest_word("serve", words));
    assert_null(nearest_word("", words));
}

/* ---- messages -------------------------------------------------------------------------------- */

static void test_numbers(void **state)
{
    (void)state;
    assert_string_equal(COUNT(0), "0");
    assert_string_equal(COUNT(999), "999");
    assert_string_equal(COUNT(1000), "1,000");
    assert_string_equal(COUNT(41210), "41,210");
    assert_string_equal(COUNT(UINT64_MAX), "18,446,744,073,709,551,615");
    assert_string_equal(SIZE(0), "0.0 KiB");
    assert_string_equal(SIZE(1536), "1.5 KiB");
    assert_string_equal(SIZE((1 << 20) - 1), "1.0 MiB");
    assert_string_equal(SIZE((uint64_t)5 << 30), "5.0 GiB");
}

/* ---- the answer ------------------------------------------------------------------------------ */

#define HIDDEN "\1" /* begins a piece that is not shown */

/* Adds pieces (ending with NULL); *written has, after each, what was out, separated by "|". True when a stop string
   came. */
static bool stream(const struct option_texts *stops, const char *const *pieces, char *written, char *text)
{
    char *out = NULL;
    size_t n = 0;
    bool stopped = false;
    struct answer a = {.out = open_memstream(&out, &n), .stops = stops};
    fflush(a.out); /* sets `out` */
    *written = '\0';
    for (; *pieces && !stopped; pieces++) {
        size_t before = n;
        const bool hidden = **pieces == *HIDDEN;
        stopped = answer_add(&a, *pieces + hidden, strlen(*pieces + hidden), !hidden);
        strncat(written, out + before, n - before);
        strcat(written, "|");
    }
    size_t before = n;
    answer_end(&a);
    fflush(a.out);
    strncat(written, out + before, n - before);
    strcpy(text, a.text ? a.text : "");
    assert_string_equal(out, text);
    fclose(a.out);
    free(out);
    answer_free(&a);
    return stopped;
}

static void expect_stream(const struct option_texts *stops, const char *const *pieces, bool stops_there,
                          const char *written)
{
    char got[256], text[256];
    assert_int_equal(stream(stops, pieces, got, text), stops_there);
    assert_string_equal(got, written);
}

#define PIECES(...) \
    (const char *const[]) { __VA_ARGS__, NULL }
#define BAD "\xef\xbf\xbd"

static void test_whole_sequences(void **state)
{
    (void)state;
    expect_stream(NULL,
                  PIECES("Gr\xc3", "\xbc\xc3",
                         "\x9f"
                         "e"),
                  false, "Gr|ü|ße|");
    expect_stream(NULL, PIECES("\xf0\x9f", "\x98", "\x80!"), false, "||😀!|");
    expect_stream(NULL,
                  PIECES("a\xff"
                         "b",
                         "\x80"),
                  false, "a" BAD "b|" BAD "|");
    expect_stream(NULL, PIECES("\xe2\x82", "x"), false, "|" BAD "x|");
    expect_stream(NULL, PIECES("\xe2\x82"), false, "|" BAD);                             /* never completed */
    expect_stream(NULL, PIECES("\xed\xa0\x80"), false, BAD BAD BAD "|");                 /* a surrogate */
    expect_stream(NULL, PIECES("\xf4\x90\x80\x80"), false, BAD BAD BAD BAD "|");         /* above U+10FFFF */
    expect_stream(NULL, PIECES("\xc0\xaf\xe0\x80\xaf"), false, BAD BAD BAD BAD BAD "|"); /* overlong */
}

static void test_stop_strings(void **state)
{
    (void)state;
    const struct option_texts stops = {2, {"User:", "\n\n"}};
    expect_stream(&stops, PIECES("one", " two"), false, "one| two|");
    expect_stream(&stops, PIECES("one Us", "er", ": two"), true, "one |||");
    expect_stream(&stops, PIECES("one Us", "e it"), false, "one |Use it|");
    expect_stream(&stops, PIECES("one\n", "two\n", "\nthree"), true, "one|\ntwo||");
    expect_stream(&stops, PIECES("UUser: x"), true, "U|");
    expect_stream(&stops, PIECES("a Use"), false, "a |Use"); /* held back, and out at the end */
    expect_stream(&stops, PIECES("User:"), true, "|");
}

/* Special tokens are not shown, but stop the answer where a stop string names them. */
static void test_special_stops(void **state)
{
    (void)state;
    const struct option_texts stops = {2, {"<|tool|>", "b<|x|>\n"}};
    expect_stream(&stops, PIECES("one", HIDDEN "<|tool|>", "two"), true, "one||");
    expect_stream(&stops, PIECES("one", HIDDEN "<|fool|>", "two"), false, "one||two|");
    expect_stream(&stops, PIECES("one<|to", "ol|>", "two"), true, "one||"); /* and where it is spelled out */
    expect_stream(&stops, PIECES("ab", HIDDEN "<|x|>", "\nc"), true, "a|||");
    expect_stream(&stops, PIECES("ab", HIDDEN "<|x|>", "c"), false, "a||bc|");
    expect_stream(&stops, PIECES("ab", HIDDEN "<|x|>"), false, "a||b");
    expect_stream(&stops, PIECES("\xc3", HIDDEN "<|y|>", "\xbc"), false, "||\xc3\xbc|");
    const struct option_texts part = {2, {"tool", "|>a"}};
    expect_stream(&part, PIECES(HIDDEN "<|tool|>", "a"), false, "|a|"); /* what is not shown is not cut */
}

/* ---- built-in chat templates ----------------------------------------------------------------- */

/* What Jinja2 makes of them, with the settings of the transformers library. */
static void test_templates(void **state)
{
    (void)state;
    static const char *const expected[][2] = {
        {"chatml",
         "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n U1 <|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n"
         "<|im_start|>user\nU2<|im_end|>\n<|im_start|>assistant\n"},
        {"llama3", "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|"
                   ">\n\nU1<|eot_id|>"
                   "<|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|><|start_header_id|>user<|end_header_"
                   "id|>\n\nU2<|eot_id|>"
                   "<|start_header_id|>assistant<|end_header_id|>\n\n"},
        {"gemma", "<s><start_of_turn>user\nS\n\nU1<end_of_turn>\n<start_of_turn>model\nA1<end_of_turn>\n<start_of_turn>"
                  "user\nU2<end_of_turn>\n"
                  "<start_of_turn>model\n"},
        {"mistral", "<s>[INST] S\n\n U1  [/INST] A1</s>[INST] U2 [/INST]"},
    };
    json_t *context = json_pack("{s:[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}, {s:s, s:s}], s:b, s:s, s:s}", "messages",
                                "role", "system", "content", "S", "role", "user", "content", " U1 ", "role",
                                "assistant", "content", "A1", "role", "user", "content", "U2", "add_generation_prompt",
                                1, "bos_token", "<s>", "eos_token", "</s>");
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const char *source = chat_template_named(expected[i][0]);
        struct fkv_error e = {""};
        char *text = NULL;
        size_t n;
        assert_non_null(source);
        if (fkv_chat_render(source, strlen(source), context, &text, &n, &e) != FKV_OK)
            fail_msg("%s: %s", expected[i][0], e.text);
        assert_string_equal(text, expected[i][1]);
        free(text);
    }
    assert_null(chat_template_named("none"));
    json_decref(context);
}

/* ---- the question of a prompt ---------------------------------------------------------------- */

static fkv_engine *open_vocabulary(void)
{
    struct fkv_engine_params params = FKV_ENGINE_PARAMS_INIT;
    const struct tiny_vocab v = tiny_bpe("gpt-2");
    char path[] = "/tmp/test_cli_units_XXXXXX", err[FKV_ERROR_BYTES];
    size_t bytes;
    uint8_t *file = tiny_file(&v, &bytes);
    const int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, file, bytes) == (ssize_t)bytes);
    close(fd);
    free(file);
    params.vocab_only = true;
    fkv_engine *e = NULL;
    const fkv_status status = fkv_engine_open(&e, path, &params, err);
    unlink(path);
    if (status != FKV_OK) fail_msg("%s", err);
    return e;
}

/* What n ids stand for. */
static const char *spelled(const fkv_engine *e, const int32_t *ids, size_t n)
{
    static char text[2048];
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const char *bytes;
        const size_t length = fkv_token_bytes(e, ids[i], true, &bytes);
        assert_true(at + length < sizeof text);
        memcpy(text + at, bytes, length);
        at += length;
    }
    text[at] = '\0';
    return text;
}

/* Of `text` the ids that are marked for a question of a message spell `wanted` and, before it, `head`. */
static void expect_marks(const fkv_engine *e, const char *text, const char *message, const char *question,
                         const char *head, const char *wanted)
{
    char err[FKV_ERROR_BYTES];
    int32_t *ids;
    size_t n;
    if (fkv_tokenize(e, text, strlen(text), FKV_TOKENIZE_PARSE_SPECIAL, &ids, &n, err) != FKV_OK) fail_msg("%s", err);
    const struct fkv_marks m = prompt_marks(e, text, strlen(text), ids, n, question, strlen(question), strlen(message));
    assert_true(m.question_first + m.question_n <= n && m.head_n <= n);
    assert_string_equal(spelled(e, ids + m.question_first, m.question_n), wanted);
    assert_string_equal(spelled(e, ids, m.head_n), head);
    fkv_free(ids);
}

static void test_questions_are_found(void **state)
{
    (void)state;
    static const char head[] = "<|begin|>hello<|im_end|>\n<|begin|>";
    fkv_engine *e = open_vocabulary();
    char text[1024], message[600];
    snprintf(text, sizeof text, "%sxyz?\n\nxyz?<|im_end|>\n<|begin|>or", head);
    expect_marks(e, text, "xyz?\n\nxyz?", "xyz?", head, "xyz?"); /* the last of them */
    expect_marks(e, text, "xyz?\n\nxyz? \n", "xyz? \n", head, "xyz?");
    expect_marks(e, text, "xyz?\n\nxyz?", "\n\nxyz?", head, "xyz?");
    expect_marks(e, text, "xyz?\n\nxyz?", "xyz!", "", ""); /* the template changed it */
    expect_marks(e, text, "xyz?\n\nxyz?", "", "", "");
    expect_marks(e, text, text, "xyz?", "", "xyz?");
    snprintf(text, sizeof text, "%shello world<|im_end|>\n", head); /* its first token begins before it */
    expect_marks(e, text, "hello world", "world", head, " world");
    expect_marks(e, text, "hello wo", "hello wo", head, "hello wor");
    memset(message, '?', 599);
    message[256] = message[599] = '\0';
    snprintf(text, sizeof text, "%s%s<|im_end|>", head, message);
    expect_marks(e, text, message, message, head, message); /* as long as a question may be */
    message[256] = '?';
    snprintf(text, sizeof text, "%s%s<|im_end|>", head, message);
    expect_marks(e, text, message, message, head, ""); /* a document */
    expect_marks(e, text, message, message + 1, head, message + 1);
    fkv_engine_close(e);
}

static void expect_question(const char *options, const char *message, const char *wanted)
{
    const struct settings s = parsed(COMMAND_RUN, options);
    assert_string_equal(prompt_question(&s, message, strlen(message)), wanted);
}

static void test_what_asks(void **state)
{
    (void)state;
    expect_question("-m x -f doc -p why?", "text\n\nwhy?", "why?");
    expect_question("-m x -f doc -p why?", "another", "another");
    expect_question("-m x -p why?", "so why?", "so why?");
    expect_question("-m x -f doc", "why?\ntext", "why?\ntext");
    expect_question("-m x -f doc --repeat-question", "why?\ntext\n\nwhy?", "why?");
    expect_question("-m x -f doc --repeat-question", "why?", "why?");
}

static void expect_text(const char *prompt, const char *wanted)
{
    const struct settings s = {.prompt = prompt, .repeat_question = true};
    char *text;
    size_t n;
    assert_true(prompt_text(&s, true, &text, &n));
    assert_string_equal(text, wanted);
    assert_int_equal(n, strlen(wanted));
    free(text);
}

static void test_questions_are_repeated(void **state)
{
    (void)state;
    expect_text("why?\ntext", "why?\ntext\n\nwhy?");
    expect_text("why?", "why?");
    expect_text("\ntext", "\ntext");
    expect_text("", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_the_librarys),
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_options_of_policies),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_ends_of_ranges),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_other_options),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_nearest_word),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_whole_sequences),
        cmocka_unit_test(test_stop_strings),
        cmocka_unit_test(test_special_stops),
        cmocka_unit_test(test_templates),
        cmocka_unit_test(test_questions_are_found),
        cmocka_unit_test(test_what_asks),
        cmocka_unit_test(test_questions_are_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
