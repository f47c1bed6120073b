/* The team's threads are OpenMP's, and pthreads where OpenMP would end the process or let it crash. */
#define _GNU_SOURCE
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <omp.h>

#include "base/bell.h"
#include "base/threads.h"

enum { THREADS = 4 };

struct notes {
    struct fkv_bell over;
    int runs[THREADS], number[THREADS], of[THREADS]; /* how often fn ran; who it was to OpenMP; of how many */
};

static void note(void *arg, int thread)
{
    struct notes *n = arg;
    n->runs[thread]++;
    n->number[thread] = omp_get_thread_num();
    n->of[thread] = omp_get_num_threads();
    fkv_bell_wait(&n->over, 0, 0);
}

static struct notes notes_of(int n, int expected)
{
    struct notes notes = {0};
    int n_given;
    struct fkv_threads *t = fkv_threads_start(n, note, &notes, &n_given);
    assert_non_null(t);
    assert_int_equal(n_given, expected);
    fkv_bell_ring(&notes.over);
    fkv_threads_end(t);
    for (int i = 0; i < THREADS; i++) assert_int_equal(notes.runs[i], i > 0 && i < expected);
    return notes;
}

static void test_openmp(void **state)
{
    (void)state;
    for (int n = 1; n <= THREADS; n++) {
        const struct notes notes = notes_of(n, n);
        for (int i = 1; i < n; i++) assert_int_equal(notes.number[i], i);
        for (int i = 1; i < n; i++) assert_int_equal(notes.of[i], n);
    }
}

/* A stack of the size that is set for OpenMP might be had or not, or be too small. */
static void test_sizes_of_stacks(void **state)
{
    static const char *const names[] = {"OMP_STACKSIZE", "GOMP_STACKSIZE"};
    (void)state;
    for (int k = 0; k < 2; k++) {
        setenv(names[k], "16k", 1);
        const struct notes notes = notes_of(THREADS, THREADS);
        for (int i = 1; i < THREADS; i++) assert_int_equal(notes.of[i], 1);
        unsetenv(names[k]);
    }
}

static int threads_now(void)
{
    DIR *folder = opendir("/proc/self/task");
    int n = 0;
    assert_non_null(folder);
    while (readdir(folder)) n++;
    closedir(folder);
    return n;
}

static void test_they_are_gone(void **state)
{
    (void)state;
    notes_of(THREADS, THREADS);
    const int before = threads_now();
    for (int i = 0; i < 300; i++) {
        notes_of(THREADS, THREADS);
        assert_int_equal(threads_now(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openmp),
        cmocka_unit_test(test_sizes_of_stacks),
        cmocka_unit_test(test_they_are_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
