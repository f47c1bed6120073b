/* The program from outside: each command's success and failure, exit status and messages. FKV_PROGRAM is its path. What
   needs a model uses smollm2-135m and is skipped where that is missing. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

enum { ARGS_MAX = 32, OUTPUT_MAX = 1 << 20 };

static char *program, *folder; /* folder: for files of this test */
static char *model;            /* NULL: not there */
static char *small_model;      /* answers "hello world" to everything */

struct result {
    int status; /* 128 + signal when one ended it */
    char *out, *err;
};

/* ---- running the program --------------------------------------------------------------------- */

static char *slurp(FILE *f)
{
    char *text = calloc(1, OUTPUT_MAX);
    rewind(f);
    assert_non_null(text);
    assert_true(fread(text, 1, OUTPUT_MAX - 1, f) < OUTPUT_MAX - 1);
    fclose(f);
    return text;
}

/* -1: the stream is closed */
static pid_t start(char **argv, int in, int out, int err)
{
    const int from[] = {in, out, err};
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid) return pid;
    for (int fd = 0; fd < 3; fd++)
        if (from[fd] < 0)
            close(fd);
        else
            dup2(from[fd], fd);
    execv(program, argv);
    _exit(99);
}

static int wait_for(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static struct result run_list(const char *input, char **argv)
{
    FILE *in = tmpfile(), *out = tmpfile(), *err = tmpfile();
    assert_true(in && out && err);
    fputs(input, in);
    rewind(in);
    struct result r = {.status = wait_for(start(argv, fileno(in), fileno(out), fileno(err)))};
    fclose(in);
    r.out = slurp(out);
    r.err = slurp(err);
    return r;
}

/* Arguments end with NULL. */
static struct result run(const char *input, ...)
{
    char *argv[ARGS_MAX + 1] = {program};
    va_list args;
    int n = 1;
    va_start(args, input);
    while ((argv[n] = va_arg(args, char *)) && n < ARGS_MAX) n++;
    va_end(args);
    return run_list(input, argv);
}
#define RUN(...) run("", __VA_ARGS__, NULL)

static void release(struct result r)
{
    free(r.out);
    free(r.err);
}

static void expect_success(struct result r)
{
    if (r.status) fail_msg("exit status %d: %s", r.status, r.err);
}

/* Status 1, nothing on standard output, and the last line of the other is the message. */
static void expect_failure(struct result r, const char *message)
{
    char line[1024];
    snprintf(line, sizeof line, "fastkv: error: %s\n", message);
    const char *found = strstr(r.err, "fastkv: error: ");
    assert_int_equal(r.status, 1);
    assert_string_equal(r.out, "");
    assert_string_equal(found ? found : r.err, line);
    release(r);
}

static void expect_text(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("expected \"%s\" in:\n%s", part, text);
}

static char *path_of(const char *name)
{
    static char paths[4][512];
    static int i;
    char *path = paths[i++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static char *write_file(const char *name, const void *bytes, size_t n)
{
    char *path = path_of(name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

/* ---- without a model ------------------------------------------------------------------------- */

static void test_help(void **state)
{
    (void)state;
    static const char *const commands[] = {"run",  "chat",    "tokenize", "info",   "bench",
                                           "eval", "compare", "serve",    "devices"};
    struct result all = RUN("--help");
    expect_success(all);
    assert_string_equal(all.err, "");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        struct result r = RUN(commands[i], "--help");
        expect_success(r);
        expect_text(all.out, commands[i]);
        expect_text(r.out, "Usage: fastkv ");
        assert_string_equal(r.err, "");
        release(r);
    }
    release(all);
}

static void test_program_options(void **state)
{
    (void)state;
    struct result r = RUN("--version");
    expect_success(r);
    assert_memory_equal(r.out, "fastkv ", 7);
    release(r);
    expect_failure(RUN("--completion-csh"), "unknown option --completion-csh (fastkv --help)");
}

/* What is made from the tables has options of every kind: of rows, of retention, of one policy. */
static void test_made_of_the_table(void **state)
{
    static const struct {
        const char *option, *has[5];
    } made[] = {
        {"--completion-bash",
         {"complete -o default -F _fastkv fastkv", "bench,-o|bench,--output) words=\"md csv json\"",
          "run,--kv-policy) words=\"full ", " --tsp-rate ", " --cors-origins "}},
        {"--completion-zsh",
         {"#compdef fastkv", "'--output[", "]:NAME:(full ", "'--tsp-rate[", "'--cors-origins[origins (https\\://"}},
        {"--completion-fish",
         {"complete -c fastkv -f", " -s o -l output ", " -l kv-policy -a 'full ", " -l tsp-rate ",
          " -l cors-origins "}},
        {"--manual",
         {".TH FASTKV 1 ", "\\fB\\-o, \\-\\-output\\fR \\fImd|csv|json", "\\-\\-structkv\\-decay", "\\-\\-tsp\\-rate",
          "\\-\\-cors\\-origins"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        struct result r = RUN(made[i].option);
        expect_success(r);
        for (int k = 0; k < 5; k++) expect_text(r.out, made[i].has[k]);
        release(r);
    }
}

static void test_usage_errors(void **state)
{
    (void)state;
    char *none[] = {program, NULL};
    expect_failure(run_list("", none), "a command is needed (fastkv --help)");
    expect_failure(RUN("rnu"), "unknown command rnu; did you mean run (fastkv --help)");
    expect_failure(RUN("--verison"), "unknown option --verison (fastkv --help)");
    expect_failure(RUN("run", "--tsp-rate", "1.5"), "--tsp-rate: expected a share in (0, 1], found 1.5");
    expect_failure(RUN("run", "-m", "x"), "a prompt is needed: -p TEXT, -f FILE or --prompt-ids FILE");
    expect_failure(RUN("run", "-m", "x", "-p", "a", "--prompt-ids", "b"),
                   "--prompt-ids: expected no -p and no -f beside it");
    expect_failure(RUN("run", "-m", "x", "-p", "a", "--raw", "-sys", "b"),
                   "--raw: expected no system message and no chat template beside it");
    expect_failure(RUN("chat"), "-m: expected FILE, the model, found nothing");
    expect_failure(RUN("tokenize", "-m", "x"), "expected one of -p TEXT, -f FILE and --stdin, found none");
    expect_failure(RUN("tokenize", "-m", "x", "-p", "a", "--stdin"),
                   "expected one of -p TEXT, -f FILE and --stdin, found several");
    expect_failure(RUN("info", "-p", "x"), "-p is an option of run, not of info");
    expect_failure(RUN("bench", "-m", "x", "-o", "xml"), "-o: expected one of md, csv, json, found xml");
    expect_failure(RUN("devices", "extra"), "unexpected argument extra (fastkv devices --help)");
}

/* Every command that takes a model, given none and given another kind of file. */
static void test_bad_models(void **state)
{
    (void)state;
    char *text = write_file("text.gguf", "this is no model", 16);
    char *const lists[][5] = {{"run", "-p", "x"}, {"chat"}, {"tokenize", "-p", "x"}, {"info"}, {"bench"}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        for (int missing = 0; missing < 2; missing++) {
            char *argv[ARGS_MAX] = {program,     lists[i][0], "-m", missing ? "/nonexistent/model.gguf" : text,
                                    lists[i][1], lists[i][2]};
            struct result r = run_list("", argv);
            assert_int_equal(r.status, 1);
            assert_string_equal(r.out, "");
            assert_memory_equal(r.err, "fastkv: error: ", 15);
            assert_ptr_equal(strchr(r.err, '\n'), r.err + strlen(r.err) - 1); /* one line */
            expect_text(r.err, missing ? "/nonexistent/model.gguf" : "text.gguf");
            release(r);
        }
    }
}

static void test_devices(void **state)
{
    (void)state;
    struct result r = RUN("devices");
    expect_success(r);
    expect_text(r.out, "reference");
    expect_text(r.out, "in use");
    expect_text(r.out, "physical core");
    expect_text(r.out, "vulkan");
    release(r);
    setenv("FASTKV_ISA", "reference", 1);
    r = RUN("devices");
    expect_success(r);
    expect_text(r.out, "reference       in use");
    unsetenv("FASTKV_ISA");
    release(r);
}

/* ---- with a model ---------------------------------------------------------------------------- */

#define NEED_MODEL \
    if (!model) skip()

static void test_tokenize(void **state)
{
    (void)state;
    NEED_MODEL;
    struct result r = RUN("tokenize", "-m", model, "-p", "<|im_start|>Hello world", "--ids");
    expect_success(r);
    json_t *ids = json_loads(r.out, 0, NULL);
    assert_int_equal(json_array_size(ids), 3);
    assert_int_equal(json_integer_value(json_array_get(ids, 0)), 1);
    json_decref(ids);
    struct result plain = RUN("tokenize", "-m", model, "-p", "<|im_start|>Hello world", "--no-parse-special");
    expect_success(plain);
    expect_text(plain.out, "'<'");
    expect_text(plain.out, "' world'");
    struct result input = run("<|im_start|>Hello world", "tokenize", "-m", model, "--stdin", "--ids", NULL);
    char *file = write_file("text", "<|im_start|>Hello world", 23);
    struct result from_file = RUN("tokenize", "-m", model, "-f", file, "--ids");
    assert_string_equal(input.out, r.out);
    assert_string_equal(from_file.out, r.out);
    release(r);
    release(plain);
    release(input);
    release(from_file);
    r = run("", "tokenize", "-m", model, "--stdin", "--ids", NULL);
    expect_success(r);
    assert_string_equal(r.out, "[]\n");
    release(r);
}

static void test_info(void **state)
{
    (void)state;
    NEED_MODEL;
    struct result r = RUN("info", "-m", model, "-c", "4096");
    expect_success(r);
    expect_text(r.out, "architecture    llama\n");
    expect_text(r.out, "tensor types    F32 61, Q4_1 210, Q8_0 1\n");
    expect_text(r.out, "context         8,192 tokens\n");
    expect_text(
        r.out,
        "tokenizer       gpt2\npre-tokenizer   smollm\nends            <|endoftext|> 0, <|im_end|> 2, <repo_name> 3");
    expect_text(r.out, "chat template   yes\n");
    expect_text(r.out, "can run         yes: ");
    expect_text(r.out, "memory for a prompt of 4,096 tokens\n");
    expect_text(r.out, "full attention 90.0 MiB"); /* 30 layers x 3 heads x (64 + 64) x 2 bytes x 4096 */
    release(r);
}

static json_t *read_json(const char *path)
{
    json_error_t error;
    json_t *json = json_load_file(path, 0, &error);
    if (!json) fail_msg("%s: line %d: %s", path, error.line, error.text);
    return json;
}

static const json_t *at(const json_t *json, const char *name)
{
    const json_t *member = json_object_get(json, name);
    if (!member) fail_msg("no member %s", name);
    return member;
}

static void expect_ascending(const json_t *list, json_int_t end)
{
    json_int_t last = -1;
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        assert_true(json_integer_value(item) > last);
        last = json_integer_value(item);
    }
    assert_true(last < end);
}

/* A compressed run of a long prompt, and what its trace says of it. */
static void test_run_and_trace(void **state)
{
    (void)state;
    NEED_MODEL;
    static char text[4001];
    for (int i = 0; i < 4000; i++) text[i] = "the quick brown fox jumps over a lazy dog. "[(i * 7 + i / 43) % 43];
    char *file = write_file("long", text, 4000), *trace = path_of("trace.json");
    struct result r = RUN("run", "-m", model, "-f", file, "-p", "What is this?", "--temp", "0", "-n", "6",
                          "--ignore-eos", "--kv-floor", "0", "--tsp-floor", "0", "--kv-retain", "0.25", "--tsp-rate",
                          "0.5", "--trace", trace, "--self-check");
    expect_success(r);
    expect_text(r.err, " of the window's attention is on what was kept");
    expect_text(r.err, "; self-check KL 0.");
    expect_text(r.err, "model   ");
    expect_text(r.err, "plan    ");
    expect_text(r.err, "answer  6 tokens");
    expect_text(r.err, "ended by length");
    json_t *t = read_json(trace);
    json_int_t n = (json_int_t)json_array_size(at(t, "prompt_ids"));
    assert_int_equal(json_integer_value(at(t, "version")), 1);
    assert_string_equal(json_string_value(at(at(t, "model"), "arch")), "llama");
    assert_string_equal(json_string_value(at(at(t, "policy"), "name")), "fastkv");
    assert_true(json_real_value(at(at(t, "policy"), "tsp_rate")) == 0.5);
    assert_int_equal(json_integer_value(at(at(t, "policy"), "tsp_layer")), 14);
    assert_int_equal(json_array_size(at(at(t, "propagated"), "positions")), n / 2);
    expect_ascending(at(at(t, "propagated"), "positions"), n);
    assert_int_equal(json_array_size(at(t, "kept")), 30);
    for (size_t layer = 0; layer < 30; layer++) {
        const json_t *heads = json_array_get(at(t, "kept"), layer);
        assert_int_equal(json_array_size(heads), 3);
        for (size_t head = 0; head < 3; head++) {
            assert_in_range(json_array_size(json_array_get(heads, head)), n / 4 - 1, n / 4); /* before decoding */
            expect_ascending(json_array_get(heads, head), n);
        }
    }
    assert_int_equal(json_array_size(at(t, "logits_top")), 64);
    const json_t *best = json_array_get(at(t, "logits_top"), 0);
    assert_true(json_real_value(at(t, "logsumexp")) >= json_real_value(json_array_get(best, 1)));
    assert_int_equal(json_array_size(at(t, "generated_ids")), 6);
    assert_int_equal(json_integer_value(json_array_get(at(t, "generated_ids"), 0)),
                     json_integer_value(json_array_get(best, 0)));
    assert_string_equal(json_string_value(at(t, "stop")), "length");
    assert_true(json_real_value(at(at(t, "ms"), "prefill")) > 0);
    assert_true(json_real_value(at(at(t, "tokens_per_s"), "decode")) > 0);
    assert_true(json_integer_value(at(at(t, "bytes"), "kv_after_prefill")) <
                json_integer_value(at(at(t, "bytes"), "kv_full")) / 2);
    assert_true(json_integer_value(at(at(t, "bytes"), "peak_rss")) > 0);

    /* The traced ids, given as the prompt, give the same answer. */
    char *ids = path_of("ids.json"), *again = path_of("again.json");
    assert_int_equal(json_dump_file(at(t, "prompt_ids"), ids, 0), 0);
    struct result repeated = RUN("run", "-m", model, "--prompt-ids", ids, "--temp", "0", "-n", "6", "--ignore-eos",
                                 "--kv-floor", "0", "--tsp-floor", "0", "--kv-retain", "0.25", "--tsp-rate", "0.5",
                                 "--trace", again);
    expect_success(repeated);
    assert_string_equal(repeated.out, r.out);
    json_t *t2 = read_json(again);
    assert_true(json_equal(at(t, "kept"), at(t2, "kept")));
    assert_true(json_equal(at(t, "generated_ids"), at(t2, "generated_ids")));
    json_decref(t);
    json_decref(t2);
    release(r);
    release(repeated);
}

static void test_sampling(void **state)
{
    (void)state;
    NEED_MODEL;
    struct result a = RUN("run", "-m", model, "--raw", "-p", "Once upon a time", "-n", "12", "-s", "7");
    struct result b = RUN("run", "-m", model, "--raw", "-p", "Once upon a time", "-n", "12", "-s", "7", "-t", "1");
    struct result c = RUN("run", "-m", model, "--raw", "-p", "Once upon a time", "-n", "12", "-s", "8");
    expect_success(a);
    expect_text(a.err, "seed 7\n");
    assert_string_equal(a.out, b.out);
    assert_string_not_equal(a.out, c.out);
    release(a);
    release(b);
    release(c);
}

/* The text of the answer up to a stop string, and an answer that ends by itself. */
static void test_ends(void **state)
{
    (void)state;
    NEED_MODEL; /* nothing rounded: the same answer on every level */
    struct result r = RUN("run", "-m", model, "-p", "What is the capital of France?", "--temp", "0", "--exact");
    expect_success(r);
    expect_text(r.out, "Paris");
    expect_text(r.err, "ended by end token");
    struct result stopped = RUN("run", "-m", model, "-p", "What is the capital of France?", "--temp", "0", "--exact",
                                "-r", "Paris");
    expect_success(stopped);
    expect_text(stopped.err, "ended by stop string");
    assert_memory_equal(stopped.out, r.out, strlen(stopped.out) - 1);
    assert_null(strstr(stopped.out, "Paris"));
    release(r);
    release(stopped);
    r = RUN("run", "-m", model, "-p", "x", "-n", "0");
    expect_success(r);
    assert_string_equal(r.out, "");
    release(r);
}

static void test_run_failures(void **state)
{
    (void)state;
    NEED_MODEL;
    expect_failure(RUN("run", "-m", model, "--raw", "-p", "one two three four five six", "-c", "4"),
                   "the prompt has 6 tokens, the context is 4");
    static char many[20001];
    for (int i = 0; i < 20000; i += 2) memcpy(many + i, "a ", 2);
    char *file = write_file("many", many, 20000);
    struct result r = RUN("run", "-m", model, "--raw", "-f", file);
    assert_int_equal(r.status, 1);
    expect_text(r.err, " tokens, the model's context is 8,192\n");
    release(r);
    expect_failure(RUN("run", "-m", model, "-p", "x", "--chat-template", "nothing"),
                   "--chat-template: expected chatml, gemma, llama3, mistral or a file, found nothing");
    expect_failure(RUN("run", "-m", model, "-f", "/nonexistent"),
                   "/nonexistent: cannot be read: No such file or directory");
    expect_failure(RUN("run", "-m", model, "-p", "x", "--trace", "/nonexistent/t"),
                   "/nonexistent/t: cannot be written: No such file or directory");
    expect_failure(RUN("run", "-m", model, "--raw", "-p", ""), "the prompt is empty");
    expect_failure(RUN("run", "-m", model, "-p", "x", "-sys", "a", "-sysf", "b"),
                   "-sys and -sysf: expected one of them, found both");
    char *nul = write_file("nul", "a\0b", 3), message[600];
    snprintf(message, sizeof message, "%s: byte 1 is NUL, which a chat message or template cannot hold", nul);
    expect_failure(RUN("run", "-m", model, "-f", nul), message);
    char *ids = write_file("bad.json", "[1, 2, 49152]", 13);
    snprintf(message, sizeof message, "%s: item 2: expected a token id from 0 to 49151, found 49152", ids);
    expect_failure(RUN("run", "-m", model, "--prompt-ids", ids), message);
    ids = write_file("bad.json", "{\"a\": 1}", 8);
    snprintf(message, sizeof message, "%s: expected a JSON array of token ids, found another kind of value", ids);
    expect_failure(RUN("run", "-m", model, "--prompt-ids", ids), message);
    r = RUN("run", "-m", model, "-p", "x", "--device", "vulkan:99"); /* no such device, or no Vulkan at all */
    assert_int_equal(r.status, 1);
    expect_text(r.err, "fastkv: error: ");
    expect_text(r.err, "ulkan"); /* which of them, the message says */
    release(r);
    expect_failure(RUN("run", "-m", model, "-p", "x", "--device", "gpu"),
                   "device gpu: expected cpu, vulkan[:N] or auto");
    setenv("FASTKV_ISA", "mmx", 1);
    r = RUN("run", "-m", model, "-p", "x");
    unsetenv("FASTKV_ISA");
    assert_int_equal(r.status, 1);
    expect_text(r.err, "mmx");
    expect_text(r.err, "reference");
    release(r);
}

static void test_chat(void **state)
{
    (void)state;
    NEED_MODEL;
    struct result r = run("My name is\\\n Bob.\n/help\nWhat is my name?\n/clear\nHello\n/exit\nunread\n", "chat", "-m",
                          model, "--temp", "0", "-n", "16", "-sys", "Answer briefly.", NULL);
    expect_success(r);
    expect_text(r.err, "/clear start a new one");
    expect_text(r.err, "[a new conversation]");
    expect_text(r.out, "Bob");
    assert_null(strstr(r.err, "computed anew")); /* a plain conversation is only ever extended */
    int turns = 0;
    for (const char *s = r.err; (s = strstr(s, "[prompt ")); s++) turns++;
    assert_int_equal(turns, 3);
    release(r);
    r = run("", "chat", "-m", model, NULL); /* nothing said */
    expect_success(r);
    assert_string_equal(r.out, "");
    release(r);
    r = run("a question that is too long for so small a context\n", "chat", "-m", model, "-c", "8", NULL);
    assert_int_equal(r.status, 1);
    expect_text(r.err, " tokens, the context is 8\n");
    release(r);
}

/* One run with --session: its answer is `out`, and `session` is said of the file. */
static void expect_reuse(struct result r, const char *out, const char *session)
{
    expect_success(r);
    assert_string_equal(r.out, out);
    expect_text(r.err, session);
    release(r);
}

/* A computed prompt goes from one run to the next, whole ones to others that begin alike; what does not serve is said,
   and the prompt is computed. */
static void test_session(void **state)
{
    (void)state;
    char *path = path_of("kept.fkv"), said[700], *other;
#define SESSION_RUN(text, ...) RUN("run", "-m", small_model, "-p", text, "--temp", "0", "--session", path, __VA_ARGS__)
    unlink(path);
    expect_reuse(SESSION_RUN("hello", "-n", "8"), "hello world\n", "prompt tokens reused from ");
    struct result r = SESSION_RUN("hello", "-n", "8");
    const char *line = strstr(r.err, "\nsession ");
    int reused = 0, all = 0;
    assert_non_null(line);
    assert_int_equal(sscanf(line, "\nsession %d of %d prompt tokens reused from ", &reused, &all), 2);
    assert_true(all > 0 && reused == all);
    expect_text(r.err, "prompt  0 tokens in");
    release(r);
    snprintf(said, sizeof said, "reused from %s: this prompt differs from it at token ", path);
    expect_reuse(SESSION_RUN("hello there, and more", "-n", "8"), "hello world\n", said);
    expect_reuse(SESSION_RUN("hello there, and more", "-n", "8", "-ctk", "f32"), "hello world\n",
                 "its cache has other keys: expected f32, found ");
    expect_reuse(run("hello\n/exit\n", "chat", "-m", small_model, "--temp", "0", "--session", path, NULL),
                 "hello world\n", "session 0 of ");
    r = run("hello\nagain\n", "chat", "-m", small_model, "--temp", "0", "--session", path, NULL);
    snprintf(said, sizeof said, "session %d of %d prompt tokens", all, all);
    expect_reuse(r, "hello world\nhello world\n", said);
    other = write_file("text", "no session", 10);
    snprintf(said, sizeof said,
             "--session %s: expected a session or no file, found another kind of file, which would be overwritten",
             other);
    expect_failure(RUN("run", "-m", small_model, "-p", "hello", "--session", other), said);
    r = RUN("run", "-m", small_model, "-p", "hello", "-n", "8", "--session", "/nonexistent/file");
    assert_int_equal(r.status, 1);
    expect_text(r.err, "--session: /nonexistent/file: cannot open its folder: No such file or directory\n");
    release(r);
}

/* At a terminal a command that is not there is no message. */
static void test_chat_at_a_terminal(void **state)
{
    (void)state;
    static const char typed[] = "/nothing\n//hello\n/exit\n";
    const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    const int in = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    FILE *out = tmpfile(), *err = tmpfile();
    assert_true(in >= 0 && out && err);
    assert_int_equal(write(terminal, typed, sizeof typed - 1), sizeof typed - 1);
    char *chat[] = {program, "chat", "-m", small_model, "--temp", "0", NULL};
    assert_int_equal(wait_for(start(chat, in, fileno(out), fileno(err))), 0);
    struct result r = {.out = slurp(out), .err = slurp(err)};
    assert_string_equal(r.out, "hello world\n");
    expect_text(r.err, "unknown command /nothing");
    release(r);
    close(in);
    close(terminal);
}

/* What a document or an option says is never a command; what is typed can be, line by line, and // begins a message. Of
   a pipe only the commands that there are are commands. */
static void test_chat_messages(void **state)
{
    (void)state;
    static const struct {
        const char *input, *document;
        int turns;
    } cases[] = {
        {"", "/* a program */\nint x;\n", 1},
        {"", "/exit", 1},
        {"hello\r\n\r\n/exit\r\nhello\r\n", NULL, 1},
        {"//hello\n\n\nhello\n", NULL, 2},
        {"//\n/exit\n", NULL, 1},
        {"hello\\\r\nworld\r\n", NULL, 1},
        {"hello", "one\r\n\r\ntwo\r\n", 2},
        {"/etc/fstab\n/\n/help\n/exit now\n", NULL, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct result r = {0};
        if (cases[i].document) {
            char *file = write_file("text", cases[i].document, strlen(cases[i].document));
            r = run(cases[i].input, "chat", "-m", small_model, "--temp", "0", "-f", file, NULL);
        } else
            r = run(cases[i].input, "chat", "-m", small_model, "--temp", "0", NULL);
        expect_success(r);
        int turns = 0;
        for (const char *s = r.out; (s = strstr(s, "hello world\n")); s++) turns++;
        if (turns != cases[i].turns) fail_msg("case %zu: %d turns: %s", i, turns, r.err);
        assert_null(strstr(r.err, "unknown command"));
        release(r);
    }
    char *nul = write_file("nul", "hello\0world", 11);
    struct result r = RUN("chat", "-m", small_model, "-f", nul);
    assert_int_equal(r.status, 1);
    expect_text(r.err, "/nul: byte 5 is NUL");
    release(r);
    r = run("hello\r\none\\\r\ntw\xf6\n", "chat", "-m", small_model, "--temp", "0", NULL); /* of the whole input */
    assert_int_equal(r.status, 1);
    expect_text(r.err, "standard input: byte 15 (0xF6) is not UTF-8");
    release(r);
}

/* Encoding errors name the file and the byte, in run and in chat, in a document, a system message and a template. */
static void test_encodings(void **state)
{
    (void)state;
    char *bad = write_file("latin1", "caf\xe9 au lait", 12), message[700];
    snprintf(message, sizeof message, "%s: byte 3 (0xE9) is not UTF-8: iconv -f ENCODING -t UTF-8 converts a text",
             bad);
    expect_failure(RUN("run", "-m", small_model, "-f", bad, "-p", "hello"), message);
    expect_failure(RUN("run", "-m", small_model, "-sysf", bad, "-p", "hello"), message);
    expect_failure(RUN("run", "-m", small_model, "-p", "hello", "--chat-template", bad), message);
    expect_failure(RUN("chat", "-m", small_model, "-f", bad), message);
    expect_failure(RUN("run", "-m", small_model, "-p", "a\xff"),
                   "-p: byte 1 (0xFF) is not UTF-8: iconv -f ENCODING -t UTF-8 converts a text");
    struct result r = RUN("run", "-m", small_model, "--raw", "-f", bad, "-n", "1"); /* any bytes are tokens */
    expect_success(r);
    release(r);
}

/* What is no error elsewhere is none here, but a line says what it means. */
static void test_habits(void **state)
{
    (void)state;
    struct result r = RUN("run", "-m", small_model, "-p", "hello", "--temp", "0", "-ngl", "99");
    expect_success(r);
    assert_string_equal(r.out, "hello world\n");
    expect_text(r.err, "warning -ngl 99: ignored, all layers are on the CPU");
    release(r);
    r = RUN("run", "-m", small_model, "-p", "hello", "--temp", "0", "-c", "100000");
    expect_success(r);
    expect_text(r.err, "warning -c 100000: the model was trained for ");
    release(r);
    r = run("a document\n", "run", "-m", small_model, "-p", "hello", "--temp", "0", NULL);
    expect_success(r);
    expect_text(r.err, "warning standard input is not read; with -f - it is the document");
    release(r);
    r = run("a document\n", "run", "-m", small_model, "-f", "-", "-p", "hello", "--temp", "0", NULL);
    expect_success(r);
    assert_null(strstr(r.err, "standard input"));
    release(r);
    int late[2]; /* whether and when anything comes does not matter */
    assert_int_equal(pipe(late), 0);
    FILE *out = tmpfile(), *err = tmpfile();
    assert_true(out && err);
    char *beside[] = {program, "run", "-m", small_model, "-p", "hello", "--temp", "0", NULL};
    r.status = wait_for(start(beside, late[0], fileno(out), fileno(err)));
    r.out = slurp(out);
    r.err = slurp(err);
    expect_success(r);
    expect_text(r.err, "warning standard input is not read; with -f - it is the document");
    close(late[0]);
    close(late[1]);
    release(r);
    char *ids = write_file("ids.json", "[17]", 4);
    r = RUN("run", "-m", small_model, "--prompt-ids", ids, "--temp", "0", "-n", "2");
    expect_success(r);
    expect_text(r.err, "prompt  1 token in ");
    assert_null(strstr(r.err, "prompt  1 token in 0.00 s, 0.0 tokens/s"));
    expect_text(r.err, "answer  2 tokens, ");
    release(r);
    r = RUN("run", "-m", small_model, "-p", "hello", "--temp", "0", "-r", "world<|im_end|>");
    expect_success(r);
    assert_string_equal(r.out, "hello \n");
    expect_text(r.err, "ended by stop string");
    release(r);
    r = RUN("run", "-m", small_model, "-p", "hello", "--top-p", "0", "--temp", "-1", "--no-memory-check");
    expect_success(r);
    assert_string_equal(r.out, "hello world\n");
    release(r);
}

/* A small model with one text of its file replaced by another of the same length. */
static char *changed_model(const char *of, const char *from, const char *to)
{
    char bytes[1 << 16];
    FILE *f = fopen(of, "rb");
    assert_non_null(f);
    const size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    char *at = memmem(bytes, n, from, strlen(from));
    assert_true(n < sizeof bytes && at && strlen(from) == strlen(to));
    memcpy(at, to, strlen(to));
    return write_file("changed.gguf", bytes, n);
}

/* A prompt of ids needs no tokenizer; what the answer's ids are is said as far as it can be. */
static void test_ids_without_a_tokenizer(void **state)
{
    (void)state;
    char *ids = write_file("ids.json", "[13]", 4), *changed = changed_model(small_model, "qwen2", "qwen9");
    struct result r = RUN("run", "-m", changed, "--prompt-ids", ids, "--temp", "0");
    expect_success(r);
    assert_string_equal(r.out, "hello world\n");
    expect_text(r.err, "warning prompts can be given as ids only: tokenizer.ggml.pre: \"qwen9\" is not supported");
    release(r);
    r = RUN("run", "-m", changed, "-p", "hello");
    assert_int_equal(r.status, 1);
    expect_text(r.err, "fastkv: error: tokenizer.ggml.pre: \"qwen9\" is not supported");
    release(r);
    changed = changed_model(small_model, "gpt2", "none");
    r = RUN("run", "-m", changed, "--prompt-ids", ids, "--temp", "0", "-n", "1");
    expect_success(r);
    assert_string_equal(r.out, "hello\n");
    release(r);
    changed = changed_model(changed, "tokenizer.ggml.tokens", "tokenizer.ggml.tokenz");
    r = RUN("run", "-m", changed, "--prompt-ids", ids, "--temp", "0", "-n", "1");
    expect_success(r);
    assert_string_equal(r.out, "<17>\n");
    release(r);
}

/* The question is marked, and its tokens are the window, where that is asked for. */
static void test_questions(void **state)
{
    (void)state;
    static char document[501];
    for (int i = 0; i < 500; i++) document[i] = "one two three four. "[i % 20];
    char *file = write_file("document", document, 500), *trace = path_of("question.json");
    struct result r = RUN("run", "-m", small_model, "-f", file, "-p", "hello world", "--temp", "0", "--kv-rows",
                          "question", "--trace", trace, "-n", "1");
    expect_success(r);
    json_t *t = read_json(trace);
    const json_t *marked = at(t, "marked"), *window = at(t, "window");
    const json_int_t n = (json_int_t)json_array_size(at(t, "prompt_ids")),
                     first = json_integer_value(at(marked, "question_first")),
                     question = json_integer_value(at(marked, "question")),
                     head = json_integer_value(at(marked, "head"));
    const size_t rows = json_array_size(window);
    assert_true(question > 0 && question <= 11 && first > head && first + question <= n);
    assert_int_equal(rows, n - first < 8 ? 8 : n - first);
    double counted = 0;
    for (size_t i = 0; i < rows; i++) counted += json_real_value(json_array_get(window, i));
    assert_true(counted == (double)(question + (first + question < n))); /* and the last token */
    json_decref(t);
    char line[128];
    snprintf(line, sizeof line, "window  %d of the last %zu tokens score the others; marked: a question of %d token",
             (int)counted, rows, (int)question);
    expect_text(r.err, line);
    release(r);
    r = RUN("run", "-m", small_model, "-f", file, "--temp", "0", "--trace", trace, "-n", "1");
    expect_success(r);
    t = read_json(trace);
    assert_int_equal(json_integer_value(at(at(t, "marked"), "question")), 0); /* a document alone */
    assert_int_equal(json_array_size(at(t, "window")), 8);
    assert_null(strstr(r.err, "window  "));
    json_decref(t);
    release(r);
    expect_failure(RUN("run", "-m", small_model, "-f", file, "-p", "hello", "--repeat-question"),
                   "--repeat-question: expected -p or -f alone beside it; with both, -p asks at the end");
}

static void test_bench(void **state)
{
    (void)state;
    NEED_MODEL;
    struct result r = RUN("bench", "-m", model, "--lengths", "64,96", "--policies", "full,snapkv", "-n", "4", "-r", "2",
                          "-o", "json");
    expect_success(r);
    json_t *rows = json_loads(r.out, 0, NULL);
    assert_int_equal(json_array_size(rows), 4);
    const json_t *last = json_array_get(rows, 3);
    assert_string_equal(json_string_value(at(last, "policy")), "snapkv");
    assert_int_equal(json_integer_value(at(last, "prompt_tokens")), 96);
    static const char *const measured[] = {"ttft_s",         "prefill_tokens_per_s", "decode_tokens_per_s",
                                           "kv_bytes",       "kv_full_bytes",        "kv_peak_bytes",
                                           "peak_rss_bytes", "decode_bytes_per_s",   "machine_bytes_per_s"};
    for (size_t i = 0; i < sizeof measured / sizeof *measured; i++)
        assert_true(json_number_value(at(last, measured[i])) > 0);
    json_decref(rows);
    release(r);
    r = RUN("bench", "-m", model, "--lengths", "64", "--policies", "full", "-n", "2", "-r", "1", "-o", "csv",
            "--stages");
    expect_success(r);
    expect_text(r.out, "isa,threads,policy,prompt_tokens,ttft_s,");
    expect_text(r.out, ",full,64,");
    release(r);
    r = RUN("bench", "-m", model, "--lengths", "64", "--policies", "full", "-n", "2", "-r", "1");
    expect_success(r);
    expect_text(r.out, "| policy | prompt | TTFT s |");
    expect_text(r.out, "\n| full | 64 | ");
    release(r);
    expect_failure(RUN("bench", "-m", model, "--lengths", "9000"),
                   "--lengths: 9,000 tokens and 64 decoded ones exceed the context of 8,192");
}

/* Ctrl-C after the first text: what there is stays, the report comes, the status is 130. */
static void test_interrupt(void **state)
{
    (void)state;
    NEED_MODEL;
    int out[2];
    char text[256], *trace = path_of("interrupted.json");
    char *argv[] = {program,        "run",     "-m",  model, "--raw", "-p", "Once upon a time",
                    "--ignore-eos", "--trace", trace, NULL};
    FILE *err = tmpfile();
    assert_int_equal(pipe(out), 0);
    pid_t pid = start(argv, STDIN_FILENO, out[1], fileno(err));
    close(out[1]);
    assert_true(read(out[0], text, sizeof text) > 0);
    kill(pid, SIGINT);
    while (read(out[0], text, sizeof text) > 0) continue;
    close(out[0]);
    assert_int_equal(wait_for(pid), 130);
    char *said = slurp(err);
    expect_text(said, "ended by Ctrl-C");
    expect_text(said, "interrupted\n");
    free(said);
    json_t *t = read_json(trace);
    assert_string_equal(json_string_value(at(t, "stop")), "interrupt");
    assert_true(json_array_size(at(t, "generated_ids")) > 0);
    json_decref(t);
}

/* Output that cannot be written is an error, not silence. */
static void test_full_disk(void **state)
{
    (void)state;
    FILE *full = fopen("/dev/full", "w"), *err = tmpfile();
    if (!full) skip();
    char *argv[] = {program, "--help", NULL};
    assert_int_equal(wait_for(start(argv, STDIN_FILENO, fileno(full), fileno(err))), 1);
    char *said = slurp(err);
    assert_string_equal(said, "fastkv: error: standard output cannot be written\n");
    free(said);
    fclose(full);
}

/* ---- eval ------------------------------------------------------------------------------------ */

#define EVAL "eval", "-m", small_model, "-c", "1024", "--kv-floor", "16", "--lengths", "512,700"

static char *read_all(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    return slurp(f);
}

static struct result eval(const char *threads, const char *samples, const char *json, const char *resume)
{
    struct result r = RUN(EVAL, "--tasks", "vt,niah_single_1", "--variant", "all=snapkv,kv-retain=1", "-t", threads,
                          "--samples", samples, "--json", json, resume);
    expect_success(r);
    return r;
}

/* The same bytes on one thread and on two, in one go and when ended in the middle of a line. */
static void test_eval(void **state)
{
    (void)state;
    char *one = path_of("one.jsonl"), *two = path_of("two.jsonl"), *part = path_of("part.jsonl");
    struct result table = eval("1", "3", one, NULL), other = eval("2", "3", two, NULL);
    char *whole = read_all(one), *again = read_all(two);
    assert_string_equal(table.out, other.out);
    assert_string_equal(whole, again);
    release(other);
    expect_text(table.out, "question seen  512 tokens  2 tasks, 6 samples\n");
    expect_text(table.out, "question seen  all lengths  2 tasks, 12 samples\n");
    expect_text(table.out, "\nmean of 2 ");
    expect_text(table.out, "\nall - full: +0.0, one-sided 95 %: >= ");
    json_t *header = json_loads(whole, JSON_DISABLE_EOF_CHECK, NULL);
    assert_int_equal(json_integer_value(json_object_get(header, "fastkv_eval")), 1);
    json_decref(header);
    json_t *sample = json_loads(strchr(whole, '\n') + 1, JSON_DISABLE_EOF_CHECK, NULL);
    const json_t *variants = json_object_get(sample, "variants"), *all = json_object_get(variants, "all");
    assert_string_equal(json_string_value(json_object_get(json_object_get(sample, "full"), "text")), "hello world");
    assert_true(json_is_true(json_object_get(all, "all_kept")));
    assert_true(json_number_value(json_object_get(json_object_get(variants, "fastkv"), "kv")) < 0.5);
    json_decref(sample);

    release(eval("1", "1", part, NULL));
    FILE *f = fopen(part, "a");
    fputs("{\"task\":\"vt\",\"len", f);
    fclose(f);
    struct result resumed = eval("2", "3", part, "--resume");
    free(again);
    again = read_all(part);
    assert_string_equal(whole, again);
    assert_string_equal(table.out, resumed.out);
    release(resumed);
    release(table);
    free(whole);
    free(again);
}

/* Prompts without their texts are short, whatever length is asked for, and the table says that they were. */
static void test_eval_closed_book(void **state)
{
    (void)state;
    char *json = path_of("closed.jsonl");
    struct result r = RUN("eval", "-m", small_model, "--lengths", "512", "--samples", "1", "--policies", "full",
                          "--tasks", "vt", "--closed-book", "--json", json);
    expect_success(r);
    expect_text(r.out, "question alone  512 tokens  1 task, 1 samples\n");
    release(r);
    char *text = read_all(json);
    json_t *sample = json_loads(strchr(text, '\n') + 1, JSON_DISABLE_EOF_CHECK, NULL);
    assert_in_range(json_integer_value(json_object_get(sample, "n_prompt")), 100, 120); /* 397 with the text */
    json_decref(sample);
    free(text);
}

/* Means of the suites have lines of their own where both are there. The model says "hello world", which obeys two of
   five rules. */
static void test_eval_suites(void **state)
{
    (void)state;
    static const char *const tasks[] = {"vt,rules", "vt", "rules"};
    for (int i = 0; i < 3; i++) {
        struct result r = RUN("eval", "-m", small_model, "--lengths", "512", "--samples", "1", "--policies", "full",
                              "--tasks", tasks[i]);
        expect_success(r);
        if (i == 0) {
            expect_text(r.out, "\nmean of ruler         0.0\nmean of long         40.0\nmean of 2            20.0\n");
        } else {
            assert_null(strstr(r.out, "mean of ruler"));
            assert_null(strstr(r.out, "mean of long"));
        }
        release(r);
    }
}

static void test_eval_failures(void **state)
{
    (void)state;
    char message[700], *json = path_of("one.jsonl"); /* of the test before */
    snprintf(message, sizeof message, "%s: is there already; --resume goes on with it", json);
    expect_failure(RUN(EVAL, "--tasks", "vt", "--json", json), message);
    snprintf(message, sizeof message,
             "%s: expected a file of the same model, texts, seed and variants, found another; it is left as it is",
             json);
    expect_failure(RUN(EVAL, "--tasks", "vt", "--json", json, "--resume", "--seed", "5"), message);
    expect_failure(RUN(EVAL, "--resume"), "--resume: expected --json FILE, found none");
    expect_failure(RUN(EVAL, "--closed-book", "--hidden"), "--closed-book: expected no --hidden, found it");
    expect_failure(RUN(EVAL, "--variant", "x"), "--variant: expected NAME=POLICY|PRESET,OPTION=VALUE,..., found x");
    expect_failure(RUN(EVAL, "--variant", "x=nothing"),
                   "--variant: expected NAME=POLICY|PRESET,OPTION=VALUE,..., found x=nothing");
    expect_failure(RUN(EVAL, "--variant", "x=snapkv,kv-retain"), "--variant: expected OPTION=VALUE, found kv-retain");
    expect_failure(RUN(EVAL, "--variant", "fastkv=snapkv"),
                   "--variant: expected names that differ, found fastkv twice");
    expect_failure(RUN(EVAL, "--tasks", "cwe"), "--lengths: cwe does not fit 512 tokens with its answer");
    expect_failure(RUN("eval", "-m", small_model), "--lengths: 4,096 tokens exceed the context of 512");
    expect_failure(RUN(EVAL, "--texts", "/nowhere"), "--texts: /nowhere: cannot be read: No such file or directory");
    struct result r = RUN(EVAL, "--tasks", "vt,nothing");
    expect_text(r.err, "--tasks: expected some of ruler, long, niah_single_1, ");
    expect_text(r.err, ", unanswerable, found nothing\n");
    assert_int_equal(r.status, 1);
    release(r);
}

/* The prompts alone, by the model's template: each ends with the start of an answer and holds what is asked for. */
static void test_eval_dump(void **state)
{
    (void)state;
    NEED_MODEL;
    char *dump = path_of("prompts.jsonl");
    struct result r = RUN("eval", "-m", model, "--samples", "1", "--lengths", "1024", "--dump", dump);
    expect_success(r);
    assert_string_equal(r.out, "");
    release(r);
    char *text = read_all(dump);
    int n = 0;
    for (char *line = text; *line; n++) {
        json_t *sample = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
        const char *prompt = json_string_value(json_object_get(sample, "prompt")),
                   *reference = json_string_value(json_array_get(json_object_get(sample, "references"), 0));
        static const char end[] = "<|im_start|>assistant\n";
        assert_string_equal(prompt + strlen(prompt) - strlen(end), end);
        assert_non_null(strstr(prompt, reference));
        json_decref(sample);
        line = strchr(line, '\n') + 1;
    }
    assert_int_equal(n, 13);
    free(text);
}

/* ---- set up ---------------------------------------------------------------------------------- */

static void find_model(void)
{
    static char path[1024];
    const char *models = getenv("FKV_MODELS"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (models)
        snprintf(path, sizeof path, "%s/smollm2-135m.gguf", models);
    else if (cache && *cache)
        snprintf(path, sizeof path, "%s/fastkv/smollm2-135m.gguf", cache);
    else
        snprintf(path, sizeof path, "%s/.cache/fastkv/smollm2-135m.gguf", home ? home : "");
    model = access(path, R_OK) ? NULL : path;
}

static void remove_folder(void)
{
    static const char *const files[] = {"text.gguf",  "text",      "long",      "trace.json", "ids.json",
                                        "again.json", "many",      "nul",       "bad.json",   "interrupted.json",
                                        "latin1",     "one.jsonl", "two.jsonl", "part.jsonl", "prompts.jsonl",
                                        "kept.fkv"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) unlink(path_of(files[i]));
    rmdir(folder);
}

/* A file that is opened where a stream was closed is not written to by what the stream is for. */
static void test_closed_streams(void **state)
{
    (void)state;
    FILE *null = fopen("/dev/null", "r+");
    assert_non_null(null);
    const int other = fileno(null);
    assert_int_equal(wait_for(start((char *[]){program, "--version", NULL}, other, -1, other)), 1);
    NEED_MODEL;
    char *trace = path_of("closed.json");
    char *run[] = {program, "run", "-m", model, "--raw", "-p", "hi", "-n", "1", "--temp", "0", "--trace", trace, NULL};
    assert_int_equal(wait_for(start(run, -1, other, -1)), 0);
    json_decref(read_json(trace));
    fclose(null);
}

int main(void)
{
    static char made[] = "/tmp/fastkv-test-XXXXXX";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_program_options),
        cmocka_unit_test(test_made_of_the_table),
        cmocka_unit_test(test_usage_errors),
        cmocka_unit_test(test_bad_models),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_tokenize),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_run_and_trace),
        cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_run_failures),
        cmocka_unit_test(test_chat),
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_bench),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_chat_messages),
        cmocka_unit_test(test_chat_at_a_terminal),
        cmocka_unit_test(test_session),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_habits),
        cmocka_unit_test(test_ids_without_a_tokenizer),
        cmocka_unit_test(test_eval),
        cmocka_unit_test(test_eval_suites),
        cmocka_unit_test(test_eval_closed_book),
        cmocka_unit_test(test_eval_failures),
        cmocka_unit_test(test_eval_dump),
        cmocka_unit_test(test_closed_streams),
    };
    program = getenv("FKV_PROGRAM");
    small_model = getenv("FKV_SMALL_MODEL");
    folder = mkdtemp(made);
    if (!program || !small_model || !folder) {
        fprintf(stderr, "FKV_PROGRAM and FKV_SMALL_MODEL must name the program and a model\n");
        return EXIT_FAILURE;
    }
    unsetenv("FASTKV_ISA");
    find_model();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_folder();
    return failed;
}
