/* The prefix cache over a tiny model: what serves whom, with which bits, and what goes when there is no room. */
#define _GNU_SOURCE
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "server/prefix_cache.h"
#include "support/tiny_session.h"
#include "support/killed.h"

enum { LONG = 2600, CONTEXT = 3072, KILLS = 12 };
static const uint64_t MUCH = UINT64_C(1) << 32;

static int32_t ids[LONG], other[LONG];
static fkv_engine *engine;
static char folder[] = "/tmp/fkv_prefixes_XXXXXX";

static int set_up(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    m.type = FKV_TYPE_Q8_0;
    m.n_ctx = CONTEXT;
    m.n_layer = 2;
    p.n_threads = 2;
    engine = tiny_engine(&m, &p);
    tiny_model_prompt(1, ids, LONG);
    tiny_model_prompt(2, other, LONG);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fkv_engine_close(engine);
    return 0;
}

static struct fkv_session_params whole_params(void) { return policy_params("full"); }

static struct fkv_prefix_cache *cache_of(uint64_t ram)
{
    const struct fkv_session_params p = whole_params();
    struct fkv_prefix_cache *c = fkv_prefix_cache_open(engine, &p, ram);
    assert_non_null(c);
    return c;
}

static struct fkv_prefix_prompt prompt_of(const int32_t *of, size_t n)
{
    return (struct fkv_prefix_prompt){.ids = of, .n = n};
}

/* ids up to `shared`, then others. */
static struct fkv_prefix_prompt branch_of(int32_t to[LONG], size_t shared, size_t n)
{
    memcpy(to, ids, shared * sizeof *to);
    for (size_t i = shared; i < n; i++) to[i] = (ids[i] + 1) % TINY_VOCAB;
    return prompt_of(to, n);
}

/* Finds, checks what was found, computes the rest, and compares with computing all. The session is the caller's. */
static fkv_session *ask(struct fkv_prefix_cache *c, const struct fkv_prefix_prompt *p, double now, size_t served,
                        enum fkv_prefix_miss miss, struct fkv_prefix_found *found)
{
    const struct fkv_session_params params = whole_params();
    fkv_prefix_find(c, p, now, found);
    assert_int_equal(found->n, served);
    assert_string_equal(fkv_prefix_miss_name(found->miss), fkv_prefix_miss_name(miss));
    assert_int_equal(found->session != NULL, served > 0);
    fkv_session *s = found->session ? found->session : tiny_session(engine, &params);
    assert_int_equal(fkv_session_n_seen(s), served);
    if (p->kv && fkv_session_set_policy(s, p->kv) != FKV_OK) fail_msg("%s", fkv_session_error(s));
    sync_or_fail(s, p->ids, (int)p->n);
    if (p->kv) return s;
    fkv_session *cold = tiny_session(engine, &params);
    sync_or_fail(cold, p->ids, (int)p->n);
    assert_memory_equal(fkv_session_logits(s), fkv_session_logits(cold), TINY_VOCAB * sizeof(float));
    fkv_session_close(cold);
    return s;
}

/* The same, stored, and done with; returns the entry's id. */
static uint64_t use(struct fkv_prefix_cache *c, const struct fkv_prefix_prompt *p, double now, size_t served,
                    enum fkv_prefix_miss miss)
{
    struct fkv_prefix_found found;
    fkv_session *s = ask(c, p, now, served, miss, &found);
    const uint64_t id = fkv_prefix_store(c, p, s, p->n, found.id, 0.004 * (double)p->n, now);
    fkv_prefix_release(c, found.id);
    fkv_session_close(s);
    return id;
}

static struct fkv_prefix_stats stats_of(const struct fkv_prefix_cache *c)
{
    struct fkv_prefix_stats stats;
    fkv_prefix_get_stats(c, &stats);
    return stats;
}

/* ---- what serves whom ---------------------------------------------------------------------------- */

/* Scenarios 43 and 44: two sessions with a common beginning, growing in turn; an entry is not used up by its use. */
static void test_whole_entries_are_shared(void **state)
{
    (void)state;
    struct fkv_prefix_cache *c = cache_of(MUCH);
    int32_t b[LONG];
    const struct fkv_prefix_prompt a300 = prompt_of(ids, 300), b400 = branch_of(b, 200, 400),
                                   a500 = prompt_of(ids, 500), b600 = branch_of(b, 200, 600);
    use(c, &a300, 1, 0, FKV_PREFIX_COLD);
    use(c, &b400, 2, 200, FKV_PREFIX_DIFFERS);
    use(c, &a500, 3, 300, FKV_PREFIX_DIFFERS);
    use(c, &b600, 4, 400, FKV_PREFIX_DIFFERS);
    use(c, &a300, 5, 298, FKV_PREFIX_HIT);
    use(c, &a500, 6, 498, FKV_PREFIX_HIT);
    const struct fkv_prefix_prompt none = prompt_of(other, 200);
    use(c, &none, 7, 0, other[0] == ids[0] ? FKV_PREFIX_TOO_SHORT : FKV_PREFIX_COLD);
    assert_int_equal(stats_of(c).hits_ram, 5);
    assert_int_equal(stats_of(c).n_entries, 5);
    assert_int_equal(stats_of(c).misses[FKV_PREFIX_DIFFERS], 3);
    fkv_prefix_cache_close(c, 8);
}

static void test_short_beginnings_and_salts(void **state)
{
    (void)state;
    struct fkv_prefix_cache *c = cache_of(MUCH);
    int32_t b[LONG];
    struct fkv_prefix_prompt a = prompt_of(ids, 300), near = branch_of(b, FKV_PREFIX_LEAST - 1, 300);
    a.salt = "one";
    use(c, &a, 1, 0, FKV_PREFIX_COLD);
    a.salt = "two";
    use(c, &a, 2, 0, FKV_PREFIX_SALT);
    use(c, &a, 3, 298, FKV_PREFIX_HIT);
    near.salt = "one";
    use(c, &near, 4, 0, FKV_PREFIX_TOO_SHORT);
    fkv_prefix_cache_close(c, 5);
    c = cache_of(0);
    assert_int_equal(use(c, &a, 1, 0, FKV_PREFIX_DISABLED), 0);
    fkv_prefix_cache_close(c, 5);
}

/* What a policy left serves what contains all of it, under the same values; the whole trunk before it serves all. */
static void test_compressed_turns(void **state)
{
    (void)state;
    struct fkv_prefix_cache *c = cache_of(MUCH);
    const struct fkv_kv_params kv = paper_params(0.3, 0.2, 1).kv;
    struct fkv_kv_params tighter = kv;
    int32_t b[LONG];
    struct fkv_prefix_prompt trunk = prompt_of(ids, 200), turn = prompt_of(ids, 600), more = prompt_of(ids, 700),
                             inside = branch_of(b, 500, 700);
    struct fkv_prefix_found found;
    turn.kv = more.kv = inside.kv = &kv;
    tighter.kv_retain = 0.1;
    use(c, &trunk, 1, 0, FKV_PREFIX_COLD);
    use(c, &turn, 2, 200, FKV_PREFIX_DIFFERS);
    fkv_session *again = ask(c, &turn, 3, 600, FKV_PREFIX_HIT, &found); /* with its logits */
    fkv_prefix_release(c, found.id);
    fkv_session_close(again);
    use(c, &more, 4, 600, FKV_PREFIX_DIFFERS);
    use(c, &inside, 5, 200, FKV_PREFIX_COMPRESSED);
    more.kv = &tighter;
    use(c, &more, 6, 200, FKV_PREFIX_TAG);
    more.kv = NULL; /* an agent's: whole only */
    use(c, &more, 7, 200, FKV_PREFIX_COMPRESSED);
    fkv_prefix_cache_close(c, 8);
}

/* The first question has the document compressed; the second is told to compute it whole, which serves the third. */
static void test_second_sight(void **state)
{
    (void)state;
    struct fkv_prefix_cache *c = cache_of(MUCH);
    const struct fkv_kv_params kv = paper_params(0.3, 0.2, 1).kv;
    const size_t document = 2200;
    int32_t b[LONG], d[LONG];
    struct fkv_prefix_prompt first = prompt_of(ids, 2300), second = branch_of(b, document, 2300),
                             third = branch_of(d, document, 2320), whole = prompt_of(b, document);
    struct fkv_prefix_found found;
    d[2250] = (d[2250] + 5) % TINY_VOCAB;
    first.kv = second.kv = &kv;
    first.boundaries = second.boundaries = &document;
    first.n_boundaries = second.n_boundaries = 1;
    use(c, &first, 1, 0, FKV_PREFIX_COLD);
    fkv_prefix_find(c, &second, 2, &found);
    assert_null(found.session);
    assert_int_equal(found.miss, FKV_PREFIX_COMPRESSED);
    assert_int_equal(found.trunk, document);
    use(c, &whole, 3, 0, FKV_PREFIX_COMPRESSED);
    fkv_prefix_find(c, &second, 4, &found);
    assert_int_equal(found.n, document);
    assert_int_equal(found.trunk, 0);
    fkv_prefix_release(c, found.id);
    fkv_session_close(found.session);
    use(c, &third, 5, document, FKV_PREFIX_COMPRESSED);
    fkv_prefix_cache_close(c, 6);
}

/* ---- room ------------------------------------------------------------------------------------------ */

static uint64_t bytes_of(size_t n)
{
    struct fkv_prefix_cache *c = cache_of(MUCH);
    const struct fkv_prefix_prompt p = prompt_of(ids, n);
    use(c, &p, 1, 0, FKV_PREFIX_COLD);
    const uint64_t bytes = stats_of(c).ram_bytes;
    fkv_prefix_cache_close(c, 2);
    return bytes;
}

static void test_the_limit_is_kept(void **state)
{
    (void)state;
    const uint64_t one = bytes_of(300);
    struct fkv_prefix_cache *c = cache_of(3 * one);
    int32_t of[8][300];
    for (int i = 0; i < 8; i++) {
        tiny_model_prompt((uint32_t)(50 + i), of[i], 300);
        const struct fkv_prefix_prompt p = prompt_of(of[i], 300);
        of[i][0] = i; /* nothing shared */
        assert_true(use(c, &p, i, 0, FKV_PREFIX_COLD) > 0);
        assert_true(stats_of(c).ram_bytes <= 3 * one);
    }
    assert_int_equal(stats_of(c).n_entries, 3);
    assert_int_equal(stats_of(c).evictions, 5);
    const struct fkv_prefix_prompt last = prompt_of(of[7], 300), gone = prompt_of(of[0], 300);
    struct fkv_prefix_prompt told = gone;
    told.boundaries = &told.n;
    told.n_boundaries = 1;
    use(c, &last, 9, 298, FKV_PREFIX_HIT);
    use(c, &told, 10, 0, FKV_PREFIX_EVICTED);
    /* one that is larger than the tier is not stored, and nothing goes for it */
    const struct fkv_prefix_prompt large = prompt_of(ids, 1500);
    assert_int_equal(use(c, &large, 11, 0, ids[0] < 8 ? FKV_PREFIX_TOO_SHORT : FKV_PREFIX_COLD), 0);
    assert_int_equal(stats_of(c).n_entries, 3);
    fkv_prefix_cache_close(c, 12);
}

static void test_what_may_not_go(void **state)
{
    (void)state;
    const uint64_t one = bytes_of(300);
    struct fkv_prefix_cache *c = cache_of(10 * one);
    int32_t b[LONG];
    const struct fkv_prefix_prompt trunk = prompt_of(ids, 300), branch = branch_of(b, 300, 500),
                                   apart = prompt_of(other, 300);
    struct fkv_prefix_found found;
    const uint64_t t = use(c, &trunk, 1, 0, FKV_PREFIX_COLD), l = use(c, &branch, 2, 300, FKV_PREFIX_DIFFERS);
    const uint64_t a = use(c, &apart, 3, 0, ids[0] == other[0] ? FKV_PREFIX_TOO_SHORT : FKV_PREFIX_COLD);
    assert_true(stats_of(c).ram_bytes < 2 * one + one * 200 / 300 + one / 4); /* the branch shares its trunk */
    assert_true(fkv_prefix_pin(c, a, 100));
    fkv_prefix_find(c, &branch, 4, &found); /* in use */
    assert_int_equal(found.id, l);
    const uint64_t before = stats_of(c).ram_bytes;
    assert_int_equal(fkv_prefix_shrink(c, 0, 5), before);
    assert_false(fkv_prefix_drop(c, l));
    fkv_prefix_release(c, found.id);
    fkv_session_close(found.session);
    fkv_prefix_shrink(c, before - 1, 6); /* the leaf goes, not its trunk */
    struct fkv_prefix_entry_info info;
    for (size_t i = 0; fkv_prefix_list(c, i, &info); i++) assert_true(info.id == t || info.id == a);
    assert_int_equal(stats_of(c).n_entries, 2);
    assert_int_equal(fkv_prefix_shrink(c, 0, 101), 0); /* no longer pinned */
    assert_false(fkv_prefix_pin(c, a, 200));
    fkv_prefix_cache_close(c, 102);
}

/* Dropping a trunk leaves what it shared with its branches to them. */
static void test_dropping_a_trunk(void **state)
{
    (void)state;
    struct fkv_prefix_cache *c = cache_of(MUCH);
    int32_t b[LONG];
    const struct fkv_prefix_prompt trunk = prompt_of(ids, 300), branch = branch_of(b, 300, 500);
    const uint64_t t = use(c, &trunk, 1, 0, FKV_PREFIX_COLD);
    use(c, &branch, 2, 300, FKV_PREFIX_DIFFERS);
    const uint64_t before = stats_of(c).ram_bytes;
    assert_true(fkv_prefix_drop(c, t));
    assert_int_equal(stats_of(c).ram_bytes, before);
    use(c, &trunk, 3, 298, FKV_PREFIX_HIT);
    fkv_prefix_cache_close(c, 4);
}

/* A conversation that grows is one entry; what others use of it becomes one that they share, and what is little is
   copied, so that it keeps nothing from going. */
static void test_growing_and_sharing(void **state)
{
    (void)state;
    const uint64_t one = bytes_of(1000);
    struct fkv_prefix_cache *c = cache_of(MUCH);
    struct fkv_prefix_found found;
    int32_t b[LONG], d[LONG];
    uint64_t id = 0;
    for (size_t n = 400; n <= 1000; n += 300) {
        const struct fkv_prefix_prompt p = prompt_of(ids, n);
        fkv_session *s = ask(c, &p, 1, n > 400 ? n - 300 : 0, n > 400 ? FKV_PREFIX_DIFFERS : FKV_PREFIX_COLD, &found);
        fkv_prefix_release(c, found.id);
        id = fkv_prefix_keep(c, &p, s, 0, found.id, 1, 1);
        assert_true(id > 0);
    }
    assert_int_equal(stats_of(c).n_entries, 1);
    assert_true(stats_of(c).ram_bytes <= one);
    const struct fkv_prefix_prompt branch = branch_of(b, 800, 1000);
    use(c, &branch, 2, 800, FKV_PREFIX_DIFFERS);
    assert_int_equal(stats_of(c).n_entries, 3);
    assert_true(stats_of(c).ram_bytes < 2 * one * 7 / 10); /* 800 shared, 200 of each */
    const struct fkv_prefix_prompt little = branch_of(d, 100, 300);
    d[200]++;
    fkv_session *s = ask(c, &little, 3, 100, FKV_PREFIX_DIFFERS, &found);
    assert_int_equal(found.id, 0); /* in use is none */
    fkv_session_close(s);
    fkv_prefix_forget(c, id); /* the trunk has another branch */
    assert_int_equal(stats_of(c).n_entries, 2);
    fkv_prefix_shrink(c, 0, 4);
    assert_int_equal(stats_of(c).ram_bytes, 0);
    fkv_prefix_cache_close(c, 5);
}

/* ---- disk ------------------------------------------------------------------------------------------ */

static int names(const char *end, bool remove)
{
    DIR *d = opendir(folder);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *at; (at = readdir(d));) {
        const size_t length = strlen(at->d_name);
        if (length < strlen(end) || strcmp(at->d_name + length - strlen(end), end) || !strcmp(at->d_name, ".") ||
            !strcmp(at->d_name, ".."))
            continue;
        n++;
        if (remove) unlinkat(dirfd(d), at->d_name, 0);
    }
    closedir(d);
    return n;
}

static struct fkv_prefix_cache *disk_cache_of(uint64_t ram, uint64_t limit, size_t want)
{
    struct fkv_prefix_cache *c = cache_of(ram);
    char err[FKV_ERROR_BYTES];
    size_t n = 0;
    if (fkv_prefix_cache_disk(c, folder, limit, 0, &n, err) != FKV_OK) fail_msg("%s", err);
    assert_int_equal(n, want);
    return c;
}

/* Scenarios 45 and 46: at most two tokens computed after a restart; a damaged file goes, and the prompt is computed. */
static void test_a_restart(void **state)
{
    (void)state;
    struct stat st;
    struct fkv_prefix_prompt p = prompt_of(ids, 2100), again = prompt_of(ids, 2100);
    struct fkv_prefix_cache *c = disk_cache_of(MUCH, MUCH, 0), *second = cache_of(MUCH);
    char err[FKV_ERROR_BYTES], path[512];
    size_t n;
    p.salt = again.salt = "s";
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(fkv_prefix_cache_disk(second, folder, MUCH, 0, &n, err), FKV_ERROR_IO);
    assert_non_null(strstr(err, "another process uses it"));
    fkv_prefix_cache_close(second, 0);
    use(c, &p, 1, 0, FKV_PREFIX_COLD);
    assert_true(fkv_prefix_cache_write(c, 2)); /* 8 s of computing are dear */
    assert_false(fkv_prefix_cache_write(c, 2));
    use(c, &again, 3, 2098, FKV_PREFIX_HIT);
    fkv_prefix_cache_close(c, 4);
    assert_int_equal(names(".fkv", false), 1);

    c = disk_cache_of(MUCH, MUCH, 1);
    use(c, &p, 1, 2098, FKV_PREFIX_HIT);
    assert_int_equal(stats_of(c).hits_disk, 1);
    use(c, &p, 1, 2098, FKV_PREFIX_HIT);
    assert_int_equal(stats_of(c).hits_ram, 1);
    fkv_prefix_cache_close(c, 2);

    DIR *d = opendir(folder);
    for (struct dirent *at; (at = readdir(d));)
        if (strstr(at->d_name, ".fkv")) snprintf(path, sizeof path, "%s/%s", folder, at->d_name);
    closedir(d);
    FILE *f = fopen(path, "r+b"); /* damaged among its entries: only a load finds out */
    assert_non_null(f);
    assert_int_equal(fseek(f, -700, SEEK_END), 0);
    const int byte = fgetc(f);
    assert_int_equal(fseek(f, -1, SEEK_CUR), 0);
    fputc(byte ^ 1, f);
    fclose(f);
    snprintf(path, sizeof path, "%s/.left.tmp", folder);
    fclose(fopen(path, "wb"));
    c = disk_cache_of(MUCH, MUCH, 1);
    assert_int_equal(names(".tmp", false), 0);
    use(c, &p, 1, 0, FKV_PREFIX_DISK_CORRUPT);
    assert_int_equal(names(".fkv", false), 0);
    assert_int_equal(stats_of(c).disk_errors, 1);
    fkv_prefix_cache_close(c, 2);
    names("", true);
}

/* What is pushed out of memory comes back from disk; the disk's limit is kept; a file that went is a miss. */
static void test_disk_room(void **state)
{
    (void)state;
    const uint64_t one = bytes_of(2100);
    struct fkv_prefix_cache *c = disk_cache_of(one + one / 8, 3 * one, 0);
    int32_t of[4][2100];
    for (int i = 0; i < 4; i++) {
        tiny_model_prompt((uint32_t)(70 + i), of[i], 2100);
        of[i][0] = i;
        const struct fkv_prefix_prompt p = prompt_of(of[i], 2100);
        use(c, &p, i, 0, FKV_PREFIX_COLD);
        assert_true(stats_of(c).ram_bytes <= one + one / 8 && stats_of(c).disk_bytes <= 3 * one);
    }
    assert_true(stats_of(c).n_files >= 1 && stats_of(c).n_files <= 2);
    const struct fkv_prefix_prompt p = prompt_of(of[2], 2100), last = prompt_of(of[3], 2100);
    use(c, &p, 5, 2098, FKV_PREFIX_HIT);
    assert_int_equal(stats_of(c).hits_disk, 1);
    names(".fkv", true); /* behind its back */
    use(c, &last, 6, 0, FKV_PREFIX_DISK_CORRUPT);
    fkv_prefix_cache_close(c, 7);
    names("", true);
}

/* A folder that cannot be written to: counted, and the tier is off for a minute; what it serves is computed. */
static void test_a_failing_disk(void **state)
{
    (void)state;
    struct fkv_prefix_cache *c = disk_cache_of(MUCH, MUCH, 0);
    const struct fkv_prefix_prompt p = prompt_of(ids, 2100);
    const struct rlimit small = {65536, RLIM_INFINITY};
    struct rlimit before;
    signal(SIGXFSZ, SIG_IGN); /* as a full disk */
    use(c, &p, 1, 0, FKV_PREFIX_COLD);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){small.rlim_cur, before.rlim_max}), 0);
    assert_false(fkv_prefix_cache_write(c, 2));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(stats_of(c).disk_errors, 1);
    assert_int_equal(names(".tmp", false) + names(".fkv", false), 0);
    assert_false(fkv_prefix_cache_write(c, 61));
    assert_true(fkv_prefix_cache_write(c, 63));
    fkv_prefix_cache_close(c, 64);
    names("", true);
}

/* The other process: writes entries until it is killed. */
static int write_for_ever(const char *where)
{
    static int32_t of[LONG];
    strcpy(folder, where);
    set_up(NULL);
    struct fkv_prefix_cache *c = cache_of(MUCH);
    size_t n;
    if (fkv_prefix_cache_disk(c, folder, MUCH, 0, &n, NULL) != FKV_OK) return 1;
    for (int i = 0;; i++) {
        tiny_model_prompt(90, of, 2100);
        of[0] = i % TINY_VOCAB;
        const struct fkv_prefix_prompt p = prompt_of(of, 2100);
        use(c, &p, i, 0, FKV_PREFIX_COLD);
        if (i == 1 && write(STDOUT_FILENO, "", 1) != 1) return 1;
        fkv_prefix_cache_write(c, i);
    }
}

/* What it leaves: whole entries, of which each serves. */
static void test_a_killed_process_leaves_whole_entries(void **state)
{
    (void)state;
    static int32_t of[2100];
    for (int i = 0; i < KILLS; i++) {
        size_t n = 0;
        run_and_kill("write", folder, i * 7919 % 8000 * 1000); /* up to 8 ms */
        struct fkv_prefix_cache *c = cache_of(MUCH);
        assert_int_equal(fkv_prefix_cache_disk(c, folder, MUCH, 0, &n, NULL), FKV_OK);
        assert_int_equal(names(".tmp", false), 0);
        assert_int_equal(names(".fkv", false), n);
        assert_true(n >= 1);
        tiny_model_prompt(90, of, 2100);
        of[0] = 0;
        const struct fkv_prefix_prompt p = prompt_of(of, 2100);
        struct fkv_prefix_found found;
        fkv_prefix_find(c, &p, 1, &found);
        assert_int_equal(found.n, 2098);
        fkv_session_close(found.session);
        fkv_prefix_cache_close(c, 2);
        names("", true);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "write")) return write_for_ever(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_entries_are_shared),
        cmocka_unit_test(test_short_beginnings_and_salts),
        cmocka_unit_test(test_compressed_turns),
        cmocka_unit_test(test_second_sight),
        cmocka_unit_test(test_the_limit_is_kept),
        cmocka_unit_test(test_what_may_not_go),
        cmocka_unit_test(test_dropping_a_trunk),
        cmocka_unit_test(test_growing_and_sharing),
        cmocka_unit_test(test_a_restart),
        cmocka_unit_test(test_disk_room),
        cmocka_unit_test(test_a_failing_disk),
        cmocka_unit_test(test_a_killed_process_leaves_whole_entries),
    };
    if (!mkdtemp(folder)) return 1;
    const int failed = cmocka_run_group_tests_name("prefix_cache", tests, set_up, tear_down);
    names("", true);
    rmdir(folder);
    return failed;
}
