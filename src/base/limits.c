#define _GNU_SOURCE
#include "base/limits.h"

#include <inttypes.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"

enum { PATH_BYTES = 4096 };

/* ---- small files of the kernel --------------------------------------------------------------- */

static FILE *open_file(const char *folder, const char *name)
{
    char path[PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return NULL;
    return fopen(path, "re");
}

/* The first number in a file; UINT64_MAX for "max", for -1 or when there is none. */
static uint64_t number_in(const char *folder, const char *name)
{
    int64_t value = -1;
    FILE *f = open_file(folder, name);
    if (!f) return UINT64_MAX;
    if (fscanf(f, "%" SCNd64, &value) != 1) value = -1;
    fclose(f);
    return value < 0 ? UINT64_MAX : (uint64_t)value;
}

/* The number after a word at the start of a line; 0 when there is none. */
static uint64_t number_after(const char *folder, const char *name, const char *word)
{
    char line[256];
    uint64_t value = 0;
    const size_t n = strlen(word);
    FILE *f = open_file(folder, name);
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, word, n) && sscanf(line + n, " %" SCNu64, &value) == 1) break;
    if (f) fclose(f);
    return value;
}

/* ---- control groups -------------------------------------------------------------------------- */

/* Is `name` one of the words of "a,b,c"? Of the empty list, "" is. */
static bool lists(const char *list, const char *name)
{
    const size_t n = strlen(name);
    if (!n) return !*list;
    for (const char *s = list; s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
        if (!strncmp(s, name, n) && (s[n] == ',' || !s[n])) return true;
    return false;
}

/* This process's group under a controller of version 1, or of version 2 (""); "" when nothing is said. */
static void own_group(const char *root, const char *controller, char path[PATH_BYTES])
{
    char line[PATH_BYTES];
    FILE *f = open_file(root, "proc/self/cgroup");
    *path = '\0';
    while (f && fgets(line, sizeof line, f)) { /* 4:memory,hugetlb:/a/b */
        char *list = strchr(line, ':'), *group = list ? strchr(++list, ':') : NULL;
        if (!group) continue;
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        if (lists(list, controller)) snprintf(path, PATH_BYTES, "%s", group);
    }
    if (f) fclose(f);
}

typedef void (*visit_fn)(void *user, const char *folder);

/* Visits the folders of a group and of those above it. Some may be missing: a container often sees only its own, as the
   root. */
static void visit_groups(const char *root, const char *mount, const char *controller, visit_fn visit, void *user)
{
    char group[PATH_BYTES], folder[PATH_BYTES];
    own_group(root, controller, group);
    for (char *end = group + strlen(group);; *end = '\0') {
        if (snprintf(folder, sizeof folder, "%s%s%s", root, mount, group) < (int)sizeof folder) visit(user, folder);
        end = strrchr(group, '/');
        if (!end) return;
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* The kernel gives clean pages of files back before it refuses memory, the active ones too. */
struct memory_files {
    const char *limit, *used, *inactive, *active;
};

static void apply_limit(struct fkv_memory_left *left, const char *folder, const struct memory_files *names)
{
    const uint64_t limit = number_in(folder, names->limit), used = number_in(folder, names->used);
    if (limit == UINT64_MAX || used == UINT64_MAX) return;
    const uint64_t cache = number_after(folder, "memory.stat", names->inactive) +
                           number_after(folder, "memory.stat", names->active),
                   taken = used > cache ? used - cache : 0, free_bytes = limit > taken ? limit - taken : 0;
    if (free_bytes >= left->bytes) return;
    left->bytes = free_bytes;
    snprintf(left->limit, sizeof left->limit, "%.*s/%s", FKV_LIMIT_BYTES - 32, folder, names->limit);
}

static void apply_memory_2(void *user, const char *folder)
{
    apply_limit(user, folder, &(struct memory_files){"memory.max", "memory.current", "inactive_file", "active_file"});
    apply_limit(user, folder, &(struct memory_files){"memory.high", "memory.current", "inactive_file", "active_file"});
}

static void apply_memory_1(void *user, const char *folder)
{
    apply_limit(user, folder,
                &(struct memory_files){"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
                                       "total_active_file"});
}

void fkv_memory_left(const char *root, struct fkv_memory_left *left)
{
    const uint64_t machine = number_after(root, "proc/meminfo", "MemAvailable:") << 10;
    *left = (struct fkv_memory_left){.bytes = machine ? machine : UINT64_MAX};
    visit_groups(root, "/sys/fs/cgroup", "", apply_memory_2, left);
    visit_groups(root, "/sys/fs/cgroup/unified", "", apply_memory_2, left);
    visit_groups(root, "/sys/fs/cgroup/memory", "memory", apply_memory_1, left);
    if (left->bytes == UINT64_MAX)
        left->bytes = 0;
    else if (left->bytes == 0)
        left->bytes = 1;
}

/* ---- CPUs ------------------------------------------------------------------------------------ */

static void apply_cpu_2(void *user, const char *folder)
{
    double *cpus = user, quota, period;
    FILE *f = open_file(folder, "cpu.max"); /* "150000 100000" or "max 100000" */
    if (f && fscanf(f, "%lf %lf", &quota, &period) == 2 && period > 0) *cpus = fmin(*cpus, quota / period);
    if (f) fclose(f);
}

static void apply_cpu_1(void *user, const char *folder)
{
    double *cpus = user;
    const uint64_t quota = number_in(folder, "cpu.cfs_quota_us"), period = number_in(folder, "cpu.cfs_period_us");
    if (quota != UINT64_MAX && period != UINT64_MAX && period) *cpus = fmin(*cpus, (double)quota / (double)period);
}

double fkv_cpu_quota(const char *root)
{
    double cpus = INFINITY;
    visit_groups(root, "/sys/fs/cgroup", "", apply_cpu_2, &cpus);
    visit_groups(root, "/sys/fs/cgroup/unified", "", apply_cpu_2, &cpus);
    visit_groups(root, "/sys/fs/cgroup/cpu", "cpu", apply_cpu_1, &cpus);
    return cpus;
}

/* Of a core's hardware threads that may run, the first stands for it. "0,4" or "0-1" lists them. */
static bool stands_for_core(const char *root, int cpu, const bool *may_run, int n)
{
    char name[96];
    int first, last, read;
    snprintf(name, sizeof name, "sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE *f = open_file(root, name);
    if (!f) return true;
    bool stands = true;
    while (stands && (read = fscanf(f, "%d-%d", &first, &last)) >= 1) {
        for (int c = first; c <= (read == 2 ? last : first) && c < cpu && c < n; c++) stands &= c < 0 || !may_run[c];
        if (fgetc(f) != ',') break;
    }
    fclose(f);
    return stands;
}

int fkv_count_cores(const char *root, const bool *may_run, int n)
{
    int cores = 0;
    for (int cpu = 0; cpu < n; cpu++) cores += may_run[cpu] && stands_for_core(root, cpu, may_run, n);
    return cores;
}

/* Cores of the CPUs that the affinity of this process names; 0 when it cannot be had for so many CPUs. */
static int affine_cores(int n)
{
    cpu_set_t *set = CPU_ALLOC(n);
    bool *may_run = calloc((size_t)n, sizeof *may_run);
    int cores = 0;
    if (set && may_run && sched_getaffinity(0, CPU_ALLOC_SIZE(n), set) == 0) {
        for (int cpu = 0; cpu < n; cpu++) may_run[cpu] = CPU_ISSET_S(cpu, CPU_ALLOC_SIZE(n), set);
        fkv_openmp_places(may_run, n);
        cores = fkv_count_cores("", may_run, n);
    }
    free(may_run);
    if (set) CPU_FREE(set);
    return cores;
}

int fkv_usable_cores(void)
{
    int cores = 0;
    for (int n = 1024; !cores && n <= 1 << 16; n *= 4) cores = affine_cores(n);
    return (int)fmax(1, fmin(cores, ceil(fkv_cpu_quota(""))));
}
