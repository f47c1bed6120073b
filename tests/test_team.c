/* The team of threads: regions, barriers, items; and how it meets a machine that others use too, or one that has no
   threads for it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crew.h"
#include "base/limits.h"
#include "base/team.h"

enum { THREADS = 4, ITEMS = 100, STAGES = 50 };

/* ---- regions --------------------------------------------------------------------------------- */

struct job {
    struct fkv_team *team;
    int slow;                         /* the thread that comes late to every barrier; -1: none */
    int taken[ITEMS], shared[ITEMS];  /* written by one thread each, read by all after a barrier */
    atomic_int threads, wrong, total; /* seen; sums that were not what they must be; items in all */
};

static void pause_us(long us) { nanosleep(&(struct timespec){0, us * 1000}, NULL); }

static void stages(void *arg, int thread)
{
    struct job *j = arg;
    atomic_fetch_add(&j->threads, 1);
    for (int stage = 1; stage <= STAGES; stage++) {
        int begin, end, sum = 0;
        if (thread == j->slow) pause_us(stage % 5 * 100);
        for (int item; (item = fkv_team_take(j->team, thread, ITEMS)) >= 0;) {
            j->taken[item]++;
            atomic_fetch_add(&j->total, 1);
        }
        fkv_team_share(j->team, thread, ITEMS, 8, &begin, &end);
        for (int i = begin; i < end; i++) j->shared[i]++;
        fkv_team_barrier(j->team);
        for (int i = 0; i < ITEMS; i++) sum += (j->taken[i] != stage) + (j->shared[i] != stage);
        if (sum) atomic_fetch_add(&j->wrong, sum);
        fkv_team_barrier(j->team);
    }
}

static void run_job(struct fkv_team *team, int slow)
{
    struct job j = {.team = team, .slow = slow};
    fkv_team_run(team, stages, &j);
    assert_int_equal(j.wrong, 0);
    assert_int_equal(j.total, STAGES * ITEMS);
    assert_in_range(j.threads, 1, fkv_team_size(team));
}

/* Each item once, each share once, all of it seen after a barrier: awake, asleep and with more threads than cores. */
static void test_stages(void **state)
{
    (void)state;
    for (int n = 1; n <= THREADS; n++) {
        struct fkv_team *team;
        assert_int_equal(fkv_team_create(&team, n, NULL), FKV_OK);
        assert_int_equal(fkv_team_size(team), n);
        for (int i = 0; i < 20; i++) run_job(team, i % (n + 1) - 1);
        fkv_team_destroy(team);
    }
}

static void count(void *arg, int thread)
{
    (void)thread;
    atomic_fetch_add((atomic_int *)arg, 1);
}

/* Workers that went to sleep between two regions come back. */
static void test_pauses_between_regions(void **state)
{
    struct fkv_team *team;
    (void)state;
    assert_int_equal(fkv_team_create(&team, 2, NULL), FKV_OK);
    for (int i = 0; i < 200; i++) {
        atomic_int threads = 0;
        fkv_team_run(team, count, &threads);
        assert_int_equal(threads, 2);
        if (i % 4 == 0) pause_us(i * 5);
    }
    fkv_team_destroy(team);
}

static void test_sizes(void **state)
{
    struct fkv_team *team;
    struct fkv_error e;
    (void)state;
    assert_int_equal(fkv_team_create(&team, 0, NULL), FKV_OK);
    assert_int_equal(fkv_team_size(team), fkv_usable_cores());
    fkv_team_destroy(team);
    assert_int_equal(fkv_team_create(&team, -1, &e), FKV_ERROR_ARGUMENT);
    assert_string_equal(e.text, "threads: expected 1 to 1024, found -1");
    assert_int_equal(fkv_team_create(&team, 1025, NULL), FKV_ERROR_ARGUMENT);
}

/* Address space for a few threads' stacks only: the team is what can be had, and works. */
static void test_threads_that_cannot_be_made(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* a sanitizer wants terabytes of it */
#endif
    const pid_t pid = fork();
    if (pid == 0) {
        struct fkv_team *team;
        const struct rlimit few = {48 << 20, 48 << 20};
        if (setrlimit(RLIMIT_AS, &few) != 0) _exit(77);
        if (fkv_team_create(&team, 64, NULL) != FKV_OK) _exit(2);
        atomic_int threads = 0;
        fkv_team_run(team, count, &threads);
        _exit(fkv_team_size(team) >= 64 ? 3 : threads != fkv_team_size(team) ? 4 : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- how many take part ---------------------------------------------------------------------- */

/* A machine of `cores` of which `hogs` other programs want one each: what a region takes with so many threads. */
static double region_s(int threads, int cores, int hogs)
{
    const int own = cores - hogs > 1 ? cores - hogs : 1;
    return 10e-3 / (threads <= own ? threads : own * 0.6);
}

static double away(int threads, int cores, int hogs)
{
    const int own = cores - hogs > 1 ? cores - hogs : 1;
    return threads > own ? 0.5 * (threads - own) : 0;
}

/* Runs regions for `seconds`; returns the share of the time that the best number of threads would have taken. */
static double simulate(struct fkv_crew *c, double *clock, int cores, int hogs, double seconds)
{
    static const char task;
    const double end = *clock + seconds, best = region_s(cores - hogs > 1 ? cores - hogs : 1, cores, hogs);
    double regions = 0, begin = *clock;
    while (*clock < end) {
        const double s = region_s(c->now, cores, hogs), a = away(c->now, cores, hogs);
        *clock += s;
        regions++;
        fkv_crew_note(c, &task, s, a * s, *clock);
    }
    return regions * best / (*clock - begin);
}

static void test_crew_makes_room(void **state)
{
    (void)state;
    for (int cores = 2; cores <= 16; cores *= 2) {
        struct fkv_crew c;
        double clock = 0;
        fkv_crew_init(&c, cores);
        assert_true(simulate(&c, &clock, cores, 0, 5) > 0.999); /* nobody else: all, always */
        assert_int_equal(c.now, cores);
        assert_true(c.shared_s < clock);
        assert_true(simulate(&c, &clock, cores, 1, 20) > 0.95); /* one other program */
        assert_true(c.shared_s > clock);
        assert_true(simulate(&c, &clock, cores, 0, 20) > 0.85); /* it ends: all are back in 4 s */
        assert_int_equal(c.now, cores);
        assert_true(c.shared_s < clock);
    }
}

/* Threads are kept from their cores, but fewer would not be faster: all stay. */
static void test_crew_measures(void **state)
{
    static const char tasks[2];
    struct fkv_crew c;
    double clock = 0, few = 0;
    (void)state;
    fkv_crew_init(&c, 2);
    for (int i = 0; i < 2000; i++) {
        const double s = c.now == 2 ? 10e-3 : 15e-3;
        clock += s;
        few += c.now < 2 ? s : 0;
        fkv_crew_note(&c, &tasks[0], s, 0.8 * s, clock);
    }
    assert_true(few < 0.03 * clock);
    /* regions of different tasks do not compare: no conclusion, no change */
    fkv_crew_init(&c, 2);
    for (int i = 0; i < 2000; i++) {
        clock += 10e-3;
        fkv_crew_note(&c, &tasks[i % 2], 10e-3, 8e-3, clock);
        assert_int_equal(c.now, 2);
    }
}

/* Programs that are done in a moment: regions of 17 ms, of which one in six loses 8 ms to them. */
static void test_crew_takes_no_notice(void **state)
{
    static const char task;
    struct fkv_crew c;
    double clock = 0, few = 0, shared = 0;
    (void)state;
    fkv_crew_init(&c, 2);
    for (int i = 0; i < 2000; i++) {
        const double away = i % 6 ? 0 : 8e-3, s = (c.now == 2 ? 17e-3 : 33e-3) + away;
        clock += s;
        few += c.now < 2 ? s : 0;
        shared += c.shared_s > clock ? s : 0;
        fkv_crew_note(&c, &task, s, away, clock);
    }
    assert_true(few < 0.01 * clock);
    assert_true(shared < 0.01 * clock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages),
        cmocka_unit_test(test_pauses_between_regions),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_threads_that_cannot_be_made),
        cmocka_unit_test(test_crew_makes_room),
        cmocka_unit_test(test_crew_measures),
        cmocka_unit_test(test_crew_takes_no_notice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
