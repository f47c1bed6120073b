/* The kernel bench: every slot of every ISA level this machine has, on one thread. */
#define _GNU_SOURCE
#include <fnmatch.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { MOST_REPETITIONS = 101, MOST_MS = 10000, MOST_THREADS = 64 };

static const struct slot {
    const char *name;
    bench_fn *bench;
    size_t at; /* in struct fkv_kernels */
} slots[] = {
#define KERNEL(result, name, args) {#name, bench_##name, offsetof(struct fkv_kernels, name)},
#include "simd/kernels.def"
#undef KERNEL
};
enum { N_SLOTS = sizeof slots / sizeof *slots };

static const struct bench_sizes full = {.k = 1536,
                                        .n = 1536,
                                        .m = {512, 64, 8, 4, 2},
                                        .stream_bytes = 128 << 20,
                                        .checked_m = 64,
                                        .checked_n = 256,
                                        .prompt = 4096,
                                        .cached = 16384,
                                        .scored = 32768};
static const struct bench_sizes tiny = {.k = 256,
                                        .n = 64,
                                        .m = {24, 2},
                                        .stream_bytes = 64 << 10,
                                        .checked_m = 3,
                                        .checked_n = 32,
                                        .prompt = 200,
                                        .cached = 512,
                                        .scored = 512};

static const char help[] =
    "usage: kernels [options]\n"
    "Times every kernel of every ISA level this machine has, on one pinned thread, beside what the machine can do at "
    "that moment.\n"
    "  --level NAME    only this level, with the slots it inherits (default: all, each slot with the level that "
    "defines it)\n"
    "  --slot PATTERN  only slots whose name matches, as file names do: 'panel_*', attend, '*q4_k'\n"
    "  --quick         tiny problems, a second in all: that the bench runs, not what it measures\n"
    "  -r N            repetitions, of which the median is printed (default 5, at most 101)\n"
    "  --threads N     so many at once, each on memory of its own, by the clock: decode's attention only\n"
    "  -t MS           milliseconds of one repetition, about (default 20)\n"
    "  -o FILE         writes the table as CSV too\n"
    "  -h, --help\n"
    "Examples:\n"
    "  kernels                                        everything: minutes\n"
    "  kernels --slot 'panel_q*'                      quantised products: speed and error\n"
    "  kernels --level avx2 --slot attend -r 21       one kernel, steadier\n"
    "  kernels --level avx2 --slot attend --threads 2 decoding on two cores, of both reading\n"
    "Columns:\n"
    "  us        microseconds of the thread's CPU time for the work that `work` names: other jobs' time slices do not "
    "count\n"
    "  Gop/s     multiply and add count as 2, attention by the causal half; share of the peak of the instruction named "
    "last,\n"
    "            which a probe measures in every repetition\n"
    "  GB/s      read and written; where no cache holds the data (m up to 8, matvec, decode) the share of plain "
    "reading, probed\n"
    "            likewise\n"
    "  error %   relative RMS against fp64. Products: of dequantised weights times floats; normal weights, activations "
    "normal and\n"
    "            with outliers (one channel in 200 at 20 to 60 times). Attention: of the floats before the cache "
    "rounded them.\n"
    "  as llama.cpp: the same products with activations in int8, one float scale per 32 values (K types: per 256), "
    "weights exact;\n"
    "            half floats for half-float weights. `above` marks a kernel whose error is more than half a percent "
    "larger.\n";

struct options {
    const char *level, *slot, *csv;
    bool quick, help;
    int repetitions, ms, threads;
};

/* ---- the table ------------------------------------------------------------------------------- */

static FILE *csv;

static void print_number(double x, const char *format, int width)
{
    char text[32];
    snprintf(text, sizeof text, format, x);
    printf(" %*s", width, x > 0 ? text : "-");
}

/* Percent. */
static void print_errors(double smooth, double outliers)
{
    print_number(100 * smooth, "%.3g", 9);
    print_number(100 * outliers, "%.3g", 9);
}

static void print_head(void)
{
    static const char *const head[2][12] = {{"", "", "", "", "", "of", "", "of", "error %", "out-", "as llama", "out-"},
                                            {"level", "slot", "work", "us", "Gop/s", "peak %", "GB/s", "read %",
                                             "smooth", "liers %", ".cpp %", "liers %"}};
    static const int width[12] = {-10, -13, -26, 11, 8, 6, 8, 6, 9, 9, 9, 9};
    for (int line = 0; line < 2; line++)
        for (int c = 0; c < 12; c++)
            printf("%*s%s", width[c], head[line][c], c < 11 ? " " : line == 0 ? "\n" : "  peak\n");
    if (csv)
        fprintf(csv, "level,slot,work,us,gop_s,peak_percent,gb_s,read_percent,error,error_outliers,llama_error,llama_"
                     "error_outliers,instruction\n");
}

/* Sums in fp32 and scales rounded another way differ by less. */
static bool is_above(const struct bench_errors *e)
{
    const double more = 1.005;
    return e->peer_smooth > 0 && (e->smooth > more * e->peer_smooth || e->outliers > more * e->peer_outliers);
}

void bench_job(const struct bench *b, const struct job *job)
{
    if (b->team && !job->states) return;
    const struct measured m = bench_measure(b, job);
    const struct bench_errors *e = &job->errors;
    const double op = 1e-9 * job->operations / m.seconds, byte = 1e-9 * job->bytes / m.seconds;
    const double of_peak = m.peak > 0 ? 1e11 * op / m.peak : 0, of_read = m.read > 0 ? 1e11 * byte / m.read : 0;
    printf("%-10s %-13s %-26s %11.3f", b->level->isa, job->slot, job->shape, 1e6 * m.seconds);
    print_number(op, "%.1f", 8);
    print_number(of_peak, "%.1f", 6);
    print_number(byte, "%.2f", 8);
    print_number(of_read, "%.1f", 6);
    print_errors(e->smooth, e->outliers);
    print_errors(e->peer_smooth, e->peer_outliers);
    printf("  %s%s\n", m.instruction ? m.instruction : "", is_above(e) ? "  above" : "");
    fflush(stdout);
    if (csv)
        fprintf(csv, "%s,%s,\"%s\",%.3f,%.3f,%.2f,%.3f,%.2f,%.4g,%.4g,%.4g,%.4g,%s\n", b->level->isa, job->slot,
                job->shape, 1e6 * m.seconds, op, of_peak, byte, of_read, e->smooth, e->outliers, e->peer_smooth,
                e->peer_outliers, m.instruction ? m.instruction : "");
    if (!isfinite(e->smooth + e->outliers)) {
        fprintf(stderr, "kernels: error: %s/%s: the result is not finite\n", b->level->isa, job->slot);
        exit(1);
    }
}

static void print_probe(const char *what, const char *unit, double median, double least, double most, int n)
{
    printf("  %-20s %8.1f %-5s  (%.1f to %.1f in %d probes)\n", what, 1e-9 * median, unit, 1e-9 * least, 1e-9 * most,
           n);
}

/* ---- levels and slots ------------------------------------------------------------------------ */

static bool same_kernel(int level, int other, const struct slot *s)
{
    const char *a = (const char *)fkv_simd_kernels(level), *b = (const char *)fkv_simd_kernels(other);
    return memcmp(a + s->at, b + s->at, sizeof(void (*)(void))) == 0;
}

/* The lowest level whose kernel it is. */
static int defined_by(int level, const struct slot *s)
{
    int lowest = 0;
    while (!fkv_simd_level_available(lowest) || !same_kernel(level, lowest, s)) lowest++;
    return lowest;
}

static bool is_wanted(const struct options *o, const struct slot *s)
{
    return !o->slot || fnmatch(o->slot, s->name, 0) == 0;
}

static void print_inherited(const struct options *o, int level, int from)
{
    int n = 0;
    for (int s = 0; s < N_SLOTS; s++) {
        if (!is_wanted(o, &slots[s]) || defined_by(level, &slots[s]) != from) continue;
        if (n++ == 0) printf("%-10s as %s:", fkv_simd_level_name(level), fkv_simd_level_name(from));
        printf(" %s", slots[s].name);
    }
    if (n > 0) printf("\n");
}

static void run_level(const struct options *o, struct bench *b, int level)
{
    b->level = fkv_simd_kernels(level);
    for (int s = 0; s < N_SLOTS; s++)
        if (is_wanted(o, &slots[s]) && (o->level || defined_by(level, &slots[s]) == level)) slots[s].bench(b);
    for (int from = 0; from < level && !o->level; from++) print_inherited(o, level, from);
}

static void run_levels(const struct options *o, struct bench *b)
{
    for (int level = 0; level < fkv_simd_n_levels(); level++) {
        if (o->level && strcmp(o->level, fkv_simd_level_name(level)) != 0) continue;
        if (fkv_simd_level_available(level))
            run_level(o, b, level);
        else
            printf("%-10s this machine does not have it\n", fkv_simd_level_name(level));
    }
}

/* ---- the program ----------------------------------------------------------------------------- */

static int fail(const char *message, const char *argument)
{
    fprintf(stderr, "kernels: error: %s '%s' (kernels --help lists the options)\n", message, argument);
    return 1;
}

/* A whole number from 1 to `most`, or 0. */
static int number(const char *text, int most)
{
    char *end;
    const long n = strtol(text, &end, 10);
    return *end == 0 && n >= 1 && n <= most ? (int)n : 0;
}

/* 0, or the exit status. */
static int read_options(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0)
            o->help = true;
        else if (strcmp(name, "--quick") == 0)
            o->quick = true;
        else if (strcmp(name, "--level") == 0)
            o->level = value;
        else if (strcmp(name, "--slot") == 0)
            o->slot = value;
        else if (strcmp(name, "-o") == 0)
            o->csv = value;
        else if (strcmp(name, "-r") == 0)
            o->repetitions = number(value, MOST_REPETITIONS);
        else if (strcmp(name, "-t") == 0)
            o->ms = number(value, MOST_MS);
        else if (strcmp(name, "--threads") == 0)
            o->threads = number(value, MOST_THREADS);
        else
            return fail("no option", name);
        const bool takes_value = !o->help && strcmp(name, "--quick") != 0;
        if (takes_value && (*value == 0 || o->repetitions == 0 || o->ms == 0 || o->threads == 0))
            return fail("a value in range must follow", name);
        i += takes_value;
    }
    return 0;
}

static int check_names(const struct options *o)
{
    const int level = fkv_simd_find_level(o->level);
    int n = 0;
    for (int s = 0; s < N_SLOTS; s++) n += is_wanted(o, &slots[s]);
    if (level < 0) return fail("this build has no level", o->level);
    if (!fkv_simd_level_available(level)) return fail("this machine does not have the level", o->level);
    return n == 0 ? fail("no slot matches", o->slot) : 0;
}

/* The processor that this thread stays on from now, -1: any. */
static int pin(void)
{
    cpu_set_t set;
    const int cpu = sched_getcpu();
    CPU_ZERO(&set);
    if (cpu >= 0) CPU_SET(cpu, &set);
    return cpu >= 0 && sched_setaffinity(0, sizeof set, &set) == 0 ? cpu : -1;
}

int main(int argc, char **argv)
{
    struct options o = {.repetitions = 5, .ms = 20, .threads = 1};
    int status = read_options(argc, argv, &o);
    if (status == 0 && o.help) return fputs(help, stdout) < 0;
    if (status == 0) status = check_names(&o);
    if (status == 0 && o.csv && !(csv = fopen(o.csv, "w"))) status = fail("cannot write", o.csv);
    if (status != 0) return status;
    struct bench b = {.sizes = o.quick ? &tiny : &full,
                      .repetitions = o.quick ? 1 : o.repetitions,
                      .seconds = o.quick ? 0 : 1e-3 * o.ms};
    if (o.threads > 1) {
        struct fkv_error e;
        if (fkv_team_create(&b.team, o.threads, &e) != FKV_OK) return fail(e.text, "--threads");
        printf("%d threads\n", fkv_team_size(b.team));
    } else {
        const int cpu = pin();
        if (cpu >= 0)
            printf("one thread, pinned to CPU %d\n", cpu);
        else
            printf("one thread, not pinned: the system does not allow it\n");
    }
    print_head();
    run_levels(&o, &b);
    printf("peaks of this run, median:\n");
    bench_peaks_of_run(print_probe);
    if (csv && fclose(csv) != 0) return fail("cannot write", o.csv);
    return 0;
}
