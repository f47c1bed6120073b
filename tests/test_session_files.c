/* Sessions as files: what comes back, what is refused, and what a killed process leaves. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "support/tiny_session.h"
#include "support/killed.h"

enum { PROMPT = 500, KILLS = 50, PLACES = 300, HEAD = 128 + 7 * 32 + 8 };

static int32_t ids[PROMPT];
static char folder[] = "/tmp/fkv_sessions_XXXXXX";
static fkv_engine *engine;

static fkv_engine *small_engine(uint32_t seed, bool precise)
{
    struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    m.type = FKV_TYPE_Q8_0;
    m.seed = seed;
    p.n_threads = 2;
    p.precise = precise;
    return tiny_engine(&m, &p);
}

static int set_up(void **state)
{
    (void)state;
    tiny_model_prompt(3, ids, PROMPT);
    engine = small_engine(1, false);
    return mkdtemp(folder) ? 0 : -1;
}

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* How many names there are in the folder; removes them if wanted. */
static int names(bool remove)
{
    DIR *d = opendir(folder);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *at; (at = readdir(d));) {
        if (!strcmp(at->d_name, ".") || !strcmp(at->d_name, "..")) continue;
        n++;
        if (remove) unlinkat(dirfd(d), at->d_name, 0);
    }
    closedir(d);
    return n;
}

static int tear_down(void **state)
{
    (void)state;
    fkv_engine_close(engine);
    names(true);
    rmdir(folder);
    return 0;
}

static void save(fkv_session *s, const char *name, const char *label)
{
    if (fkv_session_save(s, path_of(name), label) != FKV_OK) fail_msg("%s", fkv_session_error(s));
}

static void load(fkv_session *s, const char *name, const char *label)
{
    if (fkv_session_load(s, path_of(name), label) != FKV_OK) fail_msg("%s", fkv_session_error(s));
}

static void refuse(fkv_session *s, const char *name, const char *label, fkv_status status, const char *message)
{
    assert_int_equal(fkv_session_load(s, path_of(name), label), status);
    if (!strstr(fkv_session_error(s), message)) fail_msg("expected \"%s\" in: %s", message, fkv_session_error(s));
    assert_null(strchr(fkv_session_error(s), '\n'));
    assert_int_equal(fkv_session_n_seen(s), 0);
}

static uint8_t *read_file(const char *name, size_t *n)
{
    FILE *f = fopen(path_of(name), "rb");
    struct stat st;
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    uint8_t *bytes = malloc((size_t)st.st_size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)st.st_size, f), st.st_size);
    fclose(f);
    *n = (size_t)st.st_size;
    return bytes;
}

static void write_file(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* ---- there and back -------------------------------------------------------------------------------- */

static void check_round_trip(const struct fkv_session_params *p, int n)
{
    fkv_session *a = tiny_session(engine, p), *b = tiny_session(engine, p);
    struct stat st;
    struct fkv_turn turn = {0, 0, NULL}, again = turn;
    if (n) sync_or_fail(a, ids, n);
    save(a, "a", "of a");
    assert_int_equal(stat(path_of("a"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    sync_or_fail(b, ids + 9, 70); /* goes */
    load(b, "a", "of a");
    assert_int_equal(fkv_session_n_seen(b), n);
    assert_same_bytes(a, b);
    assert_int_equal(fkv_session_turn(a, 0, &turn), fkv_session_turn(b, 0, &again));
    assert_int_equal(turn.end, again.end);
    if (n) assert_same_logits(a, b);
    for (int i = 0; n && i < 3; i++) {
        append_or_fail(a, 7 + i);
        append_or_fail(b, 7 + i);
        assert_same_logits(a, b);
    }
    save(b, "a", NULL); /* with tokens behind the prompt, over the one before */
    load(a, "a", NULL);
    assert_int_equal(fkv_session_n_seen(a), n ? n + 3 : 0);
    fkv_session_close(a);
    fkv_session_close(b);
    assert_int_equal(names(false), 1);
}

static void test_round_trips(void **state)
{
    (void)state;
    struct fkv_session_params whole = policy_params("full"), pruned = paper_params(0.3, 0.2, 1);
    check_round_trip(&whole, PROMPT);
    check_round_trip(&pruned, PROMPT);
    check_round_trip(&whole, 1);
    check_round_trip(&whole, 0);
    pruned.kv.policy = "adakv";
    pruned.k_type = pruned.v_type = FKV_KV_Q8_0;
    check_round_trip(&pruned, PROMPT);
    whole.k_type = whole.v_type = FKV_KV_F32;
    check_round_trip(&whole, PROMPT);
}

/* The rest of a prompt after a restored beginning gives the bits of computing all of it. (Not where a BLAS multiplies,
   as it does weights in fp32: how that rounds depends on the number of rows.) */
static void test_a_restored_beginning_gives_the_same_bits(void **state)
{
    (void)state;
    const struct fkv_session_params p = policy_params("full");
    fkv_session *a = tiny_session(engine, &p), *b = tiny_session(engine, &p);
    sync_or_fail(a, ids, PROMPT);
    save(a, "a", NULL);
    for (int shared = 100; shared <= PROMPT - 2; shared += 133) {
        int32_t other[PROMPT];
        memcpy(other, ids, sizeof other);
        for (int i = shared; i < PROMPT; i++) other[i] = (ids[i] + 1) % TINY_VOCAB;
        fkv_session *cold = tiny_session(engine, &p);
        size_t reused;
        sync_or_fail(cold, other, PROMPT);
        load(b, "a", NULL);
        sync_or_fail(b, other, PROMPT);
        assert_int_equal(fkv_session_sync_kind(b, &reused), FKV_SYNC_CUT_BACK);
        assert_int_equal(reused, shared);
        assert_same_logits(cold, b);
        fkv_session_close(cold);
    }
    fkv_session_close(a);
    fkv_session_close(b);
}

static void test_look(void **state)
{
    (void)state;
    const struct fkv_session_params p = paper_params(0.3, 0.2, 1), whole = policy_params("full");
    fkv_session *a = tiny_session(engine, &p), *b = tiny_session(engine, &whole);
    struct fkv_session_file file;
    sync_or_fail(a, ids, PROMPT);
    append_or_fail(a, 5);
    save(a, "a", "salt");
    sync_or_fail(b, ids, 60);
    if (fkv_session_look(b, path_of("a"), &file) != FKV_OK) fail_msg("%s", fkv_session_error(b));
    assert_int_equal(fkv_session_n_seen(b), 60);
    assert_int_equal(file.n_ids, PROMPT + 1);
    assert_memory_equal(file.ids, ids, sizeof ids);
    assert_int_equal(file.pruned_until, PROMPT);
    assert_string_equal(file.label, "salt");
    assert_int_equal(strncmp(file.policy, "fastkv kv-retain=0.2 ", 21), 0);
    fkv_free(file.ids);
    fkv_session_close(a);
    fkv_session_close(b);
}

/* ---- what does not fit --------------------------------------------------------------------------- */

static void test_what_does_not_fit(void **state)
{
    (void)state;
    const struct fkv_session_params p = paper_params(0.3, 0.2, 1);
    struct fkv_session_params other = p, small = p, types = p, whole = policy_params("full");
    other.kv.kv_retain = 0.25;
    small.n_ctx = PROMPT - 1;
    types.v_type = FKV_KV_F32;
    fkv_engine *of_others = small_engine(2, false), *precise = small_engine(1, true);
    fkv_session *a = tiny_session(engine, &p), *b = tiny_session(engine, &other), *c = tiny_session(engine, &small),
                *d = tiny_session(engine, &types), *e = tiny_session(engine, &whole), *f = tiny_session(of_others, &p),
                *g = tiny_session(precise, &p);
    sync_or_fail(a, ids, PROMPT);
    save(a, "a", "mine");
    refuse(a, "a", "another", FKV_ERROR_UNSUPPORTED, "its label is another one");
    refuse(b, "a", "mine", FKV_ERROR_UNSUPPORTED,
           "tokens 0 to 499 were pruned otherwise: expected kv-retain=0.25, found kv-retain=0.2");
    refuse(c, "a", "mine", FKV_ERROR_CONTEXT, "500 tokens do not fit the context of 499");
    refuse(d, "a", "mine", FKV_ERROR_UNSUPPORTED, "its cache has other values: expected f32, found ");
    refuse(e, "a", "mine", FKV_ERROR_UNSUPPORTED, "were pruned otherwise: expected full, found fastkv");
    refuse(f, "a", "mine", FKV_ERROR_UNSUPPORTED, "it is another model's: expected fingerprint ");
    refuse(g, "a", "mine", FKV_ERROR_UNSUPPORTED, "expected arithmetic precise, found rounded");
    /* that of a session which pruned nothing fits any policy */
    sync_or_fail(e, ids, PROMPT);
    save(e, "a", NULL);
    load(b, "a", NULL);
    assert_int_equal(fkv_session_n_seen(b), PROMPT);
    fkv_session *all[] = {a, b, c, d, e, f, g};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) fkv_session_close(all[i]);
    fkv_engine_close(of_others);
    fkv_engine_close(precise);
}

static void test_policies_change_between_turns(void **state)
{
    (void)state;
    const struct fkv_session_params whole = policy_params("full"), p = paper_params(0.3, 0.2, 1);
    fkv_session *s = tiny_session(engine, &whole);
    struct fkv_kv_params bad = p.kv;
    struct fkv_turn turn;
    sync_or_fail(s, ids, 200);
    bad.kv_retain = 2;
    assert_int_equal(fkv_session_set_policy(s, &bad), FKV_ERROR_ARGUMENT);
    assert_int_equal(fkv_session_set_policy(s, &p.kv), FKV_OK);
    sync_or_fail(s, ids, PROMPT);
    assert_true(fkv_session_turn(s, 0, &turn));
    assert_int_equal(turn.first, 200);
    assert_int_equal(turn.end, PROMPT);
    assert_int_equal(strncmp(turn.policy, "fastkv kv-retain=0.2 ", 21), 0);
    assert_false(fkv_session_turn(s, 1, &turn));
    assert_int_equal(fkv_session_cut(s, 200), FKV_ERROR_ARGUMENT);
    fkv_session_close(s);
}

/* ---- damage -------------------------------------------------------------------------------------- */

static void test_damaged_files(void **state)
{
    (void)state;
    const struct fkv_session_params p = paper_params(0.3, 0.2, 1);
    fkv_session *a = tiny_session(engine, &p), *b = tiny_session(engine, &p);
    size_t n;
    uint32_t random = 9;
    sync_or_fail(a, ids, 200);
    save(a, "a", NULL);
    uint8_t *bytes = read_file("a", &n);
    for (int i = 0; i < HEAD + PLACES; i++) {
        random = random * 1664525u + 1013904223u;
        const size_t at = i < HEAD ? (size_t)i : random % n;
        bytes[at] ^= (uint8_t)(1 << (random >> 29));
        write_file("b", bytes, n);
        bytes[at] ^= (uint8_t)(1 << (random >> 29));
        assert_int_not_equal(fkv_session_load(b, path_of("b"), NULL), FKV_OK);
        assert_int_equal(fkv_session_n_seen(b), 0);
        write_file("b", bytes, at);
        refuse(b, "b", NULL, FKV_ERROR_FORMAT, "/b: a saved session: ");
    }
    bytes[n] = 0; /* one byte more */
    write_file("b", bytes, n + 1);
    refuse(b, "b", NULL, FKV_ERROR_FORMAT, "expected ");
    load(b, "a", NULL); /* the session is usable */
    assert_same_logits(a, b);
    free(bytes);
    fkv_session_close(a);
    fkv_session_close(b);
}

static void test_foreign_files(void **state)
{
    (void)state;
    const struct fkv_session_params p = policy_params("full");
    fkv_session *s = tiny_session(engine, &p);
    size_t n;
    char text[300];
    names(true);
    refuse(s, "a", NULL, FKV_ERROR_IO, "/a: No such file");
    memset(text, 'x', sizeof text);
    write_file("a", text, sizeof text);
    refuse(s, "a", NULL, FKV_ERROR_FORMAT, "it does not begin like one");
    sync_or_fail(s, ids, 100);
    save(s, "a", NULL);
    uint8_t *bytes = read_file("a", &n);
    bytes[8] = 2;
    write_file("b", bytes, n);
    refuse(s, "b", NULL, FKV_ERROR_UNSUPPORTED, "expected version 1, found 2");
    free(bytes);
    assert_int_equal(symlink("a", path_of("link")), 0);
    refuse(s, "link", NULL, FKV_ERROR_IO, "symbolic link");
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    refuse(s, "pipe", NULL, FKV_ERROR_IO, "expected a regular file");
    fkv_session_close(s);
    names(true);
}

/* ---- writing ------------------------------------------------------------------------------------- */

static void test_saves_that_fail(void **state)
{
    (void)state;
    const struct fkv_session_params p = policy_params("full");
    fkv_session *s = tiny_session(engine, &p);
    const struct rlimit small = {4096, RLIM_INFINITY};
    struct rlimit before;
    sync_or_fail(s, ids, 100);
    save(s, "a", NULL);
    sync_or_fail(s, ids, 200);
    assert_int_equal(fkv_session_save(s, path_of("none/a"), NULL), FKV_ERROR_IO);
    assert_non_null(strstr(fkv_session_error(s), "cannot open its folder: No such file"));
    assert_int_equal(fkv_session_save(s, folder, NULL), FKV_ERROR_IO);
    assert_non_null(strstr(fkv_session_error(s), "expected a regular file to replace"));
    signal(SIGXFSZ, SIG_IGN); /* as a full disk */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){small.rlim_cur, before.rlim_max}), 0);
    const fkv_status status = fkv_session_save(s, path_of("a"), NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, FKV_ERROR_IO);
    assert_non_null(strstr(fkv_session_error(s), "File too large"));
    assert_int_equal(names(false), 1);
    load(s, "a", NULL); /* what was there before */
    assert_int_equal(fkv_session_n_seen(s), 100);
    fkv_session_close(s);
}

/* The other process: saves two sessions over each other until it is killed. */
static int save_for_ever(const char *where)
{
    snprintf(folder, sizeof folder, "%s", where);
    tiny_model_prompt(3, ids, PROMPT);
    engine = small_engine(1, false);
    const struct fkv_session_params p = policy_params("full");
    fkv_session *a = tiny_session(engine, &p), *b = tiny_session(engine, &p);
    sync_or_fail(a, ids, 100);
    sync_or_fail(b, ids, PROMPT);
    for (;;) {
        save(a, "killed", NULL);
        if (write(STDOUT_FILENO, "", 1) != 1) return 1;
        save(b, "killed", NULL);
    }
}

static void test_a_killed_process_leaves_a_whole_file(void **state)
{
    (void)state;
    const struct fkv_session_params p = policy_params("full");
    fkv_session *s = tiny_session(engine, &p);
    int left = 0;
    names(true);
    for (int i = 0; i < KILLS; i++) {
        run_and_kill("save", folder, i * 397 % 3000 * 1000); /* up to 3 ms */
        left += names(false) > 1;
        load(s, "killed", NULL);
        assert_true(fkv_session_n_seen(s) == 100 || fkv_session_n_seen(s) == PROMPT);
        save(s, "killed", NULL); /* removes what was left */
        assert_int_equal(names(true), 1);
    }
    assert_true(left > 0); /* some were killed while they wrote */
    fkv_session_close(s);
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "save")) return save_for_ever(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_a_restored_beginning_gives_the_same_bits),
        cmocka_unit_test(test_look),
        cmocka_unit_test(test_what_does_not_fit),
        cmocka_unit_test(test_policies_change_between_turns),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_foreign_files),
        cmocka_unit_test(test_saves_that_fail),
        cmocka_unit_test(test_a_killed_process_leaves_a_whole_file),
    };
    return cmocka_run_group_tests_name("session_files", tests, set_up, tear_down);
}
