/* Times jobs and probes: medians of the thread's CPU time, so that another job's time slices do not count; of what
   several threads do at once, by the clock. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "bench.h"

enum { MOST_PEAKS = 16, MOST_SPEEDS = 1 << 15, READ = MOST_PEAKS, N_PROBES };
static const double long_job = 0.25; /* seconds: its first run is its only one */
static const double probe_time = 5e-4;

/* Every speed that a probe of this run showed: bench_peaks by index, and reading. */
static struct probe {
    int n;
    double speeds[MOST_SPEEDS];
} probes[N_PROBES];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, n, sizeof *x, compare_doubles);
    return x[n / 2];
}

static double noted(int probe, double speed)
{
    struct probe *p = &probes[probe];
    if (p->n < MOST_SPEEDS) p->speeds[p->n++] = speed;
    return speed;
}

/* ---- probes ---------------------------------------------------------------------------------- */

/* The last row that fits: rows of a kind stand from the lowest level to the highest. */
static const struct peak *find_peak(const char *isa, enum peak_kind kind)
{
    const struct peak *found = NULL;
    for (const struct peak *p = bench_peaks; p->isa; p++) {
        const int level = fkv_simd_find_level(p->isa);
        if (p->kind == kind && level >= 0 && level <= fkv_simd_find_level(isa) && fkv_simd_level_available(level))
            found = p;
    }
    return found;
}

/* The first row with its probe: rows of two kinds may share it. */
static int first_row(const struct peak *p)
{
    int i = 0;
    while (bench_peaks[i].run != p->run) i++;
    return i;
}

static double peak_speed(const struct peak *p)
{
    for (int calls = 1;; calls *= 2) {
        const double start = now();
        for (int i = 0; i < calls; i++) p->run();
        const double time = now() - start;
        if (time >= probe_time) return noted(first_row(p), p->operations * calls / time);
    }
}

/* ---- what all threads do at once -------------------------------------------------------------- */

int bench_threads(const struct bench *b) { return b->team ? fkv_team_size(b->team) : 1; }

struct at_once {
    struct fkv_team *team;
    void (*run)(void *state);
    void *const *states;
    long loops;
    double start, end;
};

static void at_once_region(void *arg, int thread)
{
    struct at_once *a = arg;
    fkv_team_barrier(a->team);
    if (thread == 0) a->start = fkv_clock_s();
    for (long i = 0; i < a->loops; i++) a->run(a->states[thread]);
    fkv_team_barrier(a->team);
    if (thread == 0) a->end = fkv_clock_s();
}

/* Seconds of a run of the job, by every thread with the state of its own. */
static double seconds_of(const struct bench *b, void (*run)(void *state), void *const *states, long loops)
{
    struct at_once a = {b->team, run, states, loops, 0, 0};
    if (b->team) {
        fkv_team_run(b->team, at_once_region, &a);
    } else {
        a.start = now();
        for (long i = 0; i < loops; i++) run(states[0]);
        a.end = now();
    }
    return (a.end - a.start) / (double)loops;
}

/* ---- reading --------------------------------------------------------------------------------- */

struct read_buffer {
    size_t bytes;
    uint64_t *words, sum;
};

static void read_buffer(void *state)
{
    struct read_buffer *r = state;
    uint64_t sums[8] = {0};
    for (size_t i = 0; i < r->bytes / sizeof *r->words; i += 8)
        for (int l = 0; l < 8; l++) sums[l] += r->words[i + l];
    for (int l = 0; l < 8; l++) r->sum += sums[l];
}

/* Reading what no cache holds; the work of the job before it has pushed the buffers out. */
static double read_speed(const struct bench *b)
{
    static struct read_buffer *buffers;
    static void **states;
    const int n = bench_threads(b);
    if (!buffers) {
        buffers = bench_alloc((size_t)n * sizeof *buffers);
        states = bench_alloc((size_t)n * sizeof *states);
        for (int i = 0; i < n; i++) {
            buffers[i] = (struct read_buffer){b->sizes->stream_bytes, bench_alloc(b->sizes->stream_bytes), 0};
            states[i] = &buffers[i];
        }
    }
    return noted(READ, (double)b->sizes->stream_bytes * n / seconds_of(b, read_buffer, states, 1));
}

void bench_peaks_of_run(void (*print)(const char *what, const char *unit, double median, double least, double most,
                                      int n))
{
    for (int i = 0; i < N_PROBES; i++) {
        struct probe *p = &probes[i];
        if (p->n == 0) continue;
        const double middle = median(p->speeds, p->n); /* sorts them */
        print(i == READ ? "read" : bench_peaks[i].instruction, i == READ ? "GB/s" : "Gop/s", middle, p->speeds[0],
              p->speeds[p->n - 1], p->n);
    }
}

/* ---- a job ----------------------------------------------------------------------------------- */

static double job_seconds(const struct bench *b, const struct job *job, long loops)
{
    return seconds_of(b, job->run, job->states ? job->states : &job->state, loops);
}

struct measured bench_measure(const struct bench *b, const struct job *job)
{
    const struct peak *peak = job->operations > 0 && !b->team ? find_peak(b->level->isa, job->peak) : NULL;
    const double first = job_seconds(b, job, 1);
    const long loops = first < b->seconds ? (long)(b->seconds / (first + 1e-9)) + 1 : 1;
    const int n = first > long_job ? 1 : b->repetitions;
    double *times = bench_alloc(3 * (size_t)n * sizeof *times), *peaks = times + n, *reads = peaks + n;
    for (int r = 0; r < n; r++) {
        if (peak) peaks[r] = peak_speed(peak);
        if (job->from_memory) reads[r] = read_speed(b);
        times[r] = first > long_job ? first : job_seconds(b, job, loops);
    }
    const struct measured result = {median(times, n), peak ? peak->instruction : NULL, peak ? median(peaks, n) : 0,
                                    job->from_memory ? median(reads, n) : 0};
    free(times);
    return result;
}
