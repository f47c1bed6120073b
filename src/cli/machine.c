#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/team.h"
#include "cli/machine.h"

uint64_t machine_peak_rss(void)
{
    char line[128];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %llu kB", &kib) == 1) break;
    if (f) fclose(f);
    return kib * 1024;
}

void machine_reset_peak_rss(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (!f) return;
    fputs("5", f); /* proc(5): resets VmHWM to the present size */
    fclose(f);
}

int64_t machine_random_seed(void)
{
    uint32_t seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = (uint32_t)(fkv_clock_s() * 1e9);
    return seed; /* 32 bits: short enough to type again */
}

/* ---- read bandwidth -------------------------------------------------------------------------- */

enum { PASSES = 7, UNROLL = 8, LINE = 64 };
static const size_t buffer_bytes = (size_t)256 << 20; /* several times the largest last-level cache share of a core */

struct probe {
    struct fkv_team *team;
    uint64_t *buffer;
    _Atomic uint64_t sum; /* keeps the compiler from dropping the loads */
};

static void share(const struct probe *p, int thread, int *begin, int *end)
{
    fkv_team_share(p->team, thread, (int)(buffer_bytes / LINE), 1, begin, end);
}

static void touch(void *arg, int thread)
{
    struct probe *p = arg;
    int begin, end;
    share(p, thread, &begin, &end);
    memset((char *)p->buffer + (size_t)begin * LINE, 1, (size_t)(end - begin) * LINE);
}

static void read_once(void *arg, int thread)
{
    struct probe *p = arg;
    uint64_t sum[UNROLL] = {0};
    int begin, end;
    share(p, thread, &begin, &end);
    const uint64_t *line = p->buffer + (size_t)begin * UNROLL, *last = p->buffer + (size_t)end * UNROLL;
    for (; line < last; line += UNROLL)
        for (int i = 0; i < UNROLL; i++) sum[i] += line[i];
    for (int i = 1; i < UNROLL; i++) sum[0] += sum[i];
    p->sum += sum[0];
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double machine_read_bandwidth(int n_threads)
{
    struct probe p = {0};
    double seconds[PASSES], rate = 0;
    if (fkv_team_create(&p.team, n_threads, NULL) == FKV_OK && (p.buffer = fkv_reserve(buffer_bytes))) {
        fkv_team_run(p.team, touch, &p);
        for (int i = 0; i < PASSES; i++) {
            double start = fkv_clock_s();
            fkv_team_run(p.team, read_once, &p);
            seconds[i] = fkv_clock_s() - start;
        }
        qsort(seconds, PASSES, sizeof *seconds, compare);
        rate = (double)buffer_bytes / seconds[PASSES / 2];
        fkv_unreserve(p.buffer, buffer_bytes);
    }
    if (p.team) fkv_team_destroy(p.team);
    return rate;
}
