/* What is left of the machine: control groups of both versions on every level, quotas, cores. Files of the kernel are
   made up in a folder that stands for the root. */
#define _GNU_SOURCE
#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"

#define MIB (1024ull * 1024)

static char root[64];

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(root, "/tmp/fastkv-limits-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Writes root/path, making its folders. */
static void put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *s = full + strlen(root) + 1; (s = strchr(s, '/')); *s++ = '/') {
        *s = '\0';
        mkdir(full, 0755);
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void expect_left(uint64_t mib, const char *limit)
{
    struct fkv_memory_left left;
    char full[FKV_LIMIT_BYTES] = "";
    if (*limit) snprintf(full, sizeof full, "%s%s", root, limit);
    fkv_memory_left(root, &left);
    assert_int_equal(left.bytes / MIB, mib);
    assert_string_equal(left.limit, full);
}

static void test_machine(void **state)
{
    (void)state;
    expect_left(0, ""); /* nothing is known */
    put("proc/meminfo", "MemTotal:       8388608 kB\nMemFree: 100 kB\nMemAvailable:    4194304 kB\n");
    expect_left(4096, "");
    assert_true(isinf(fkv_cpu_quota(root)));
}

/* Version 2: the tightest level counts; page cache is not used memory. */
static void test_version_2(void **state)
{
    (void)state;
    put("proc/meminfo", "MemAvailable: 8388608 kB\n");
    put("proc/self/cgroup", "0::/a/b\n");
    put("sys/fs/cgroup/a/b/memory.max", "max\n");
    put("sys/fs/cgroup/a/b/memory.current", "1048576\n");
    expect_left(8192, "");
    put("sys/fs/cgroup/a/memory.max", "1073741824\n");
    put("sys/fs/cgroup/a/memory.current", "1048576000\n");
    expect_left(24, "/sys/fs/cgroup/a/memory.max");
    put("sys/fs/cgroup/a/memory.stat",
        "anon 20971520\nfile 1027604480\ninactive_file 996147200\nactive_file 31457280\n");
    expect_left(1004, "/sys/fs/cgroup/a/memory.max");
    put("sys/fs/cgroup/a/b/memory.high", "104857600\n");
    expect_left(99, "/sys/fs/cgroup/a/b/memory.high");
    put("sys/fs/cgroup/a/b/memory.current", "209715200\n"); /* above its limit: nothing is left */
    expect_left(0, "/sys/fs/cgroup/a/b/memory.high");
    struct fkv_memory_left left;
    fkv_memory_left(root, &left);
    assert_int_equal(left.bytes, 1); /* which is known */
}

/* A container that sees its own group as the root, though its name is longer. */
static void test_own_root(void **state)
{
    (void)state;
    put("proc/meminfo", "MemAvailable: 8388608 kB\n");
    put("proc/self/cgroup", "0::/system.slice/docker-0123.scope\n");
    put("sys/fs/cgroup/memory.max", "536870912\n");
    put("sys/fs/cgroup/memory.current", "0\n");
    put("sys/fs/cgroup/cpu.max", "150000 100000\n");
    expect_left(512, "/sys/fs/cgroup/memory.max");
    assert_true(fkv_cpu_quota(root) == 1.5);
}

static void test_version_1(void **state)
{
    (void)state;
    put("proc/meminfo", "MemAvailable: 8388608 kB\n");
    put("proc/self/cgroup", "5:cpu,cpuacct:/docker/1\n4:hugetlb,memory:/docker/1\n0::/\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("sys/fs/cgroup/memory/memory.usage_in_bytes", "1000000\n");
    put("sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "2147483648\n");
    put("sys/fs/cgroup/memory/docker/memory.usage_in_bytes", "1073741824\n");
    put("sys/fs/cgroup/memory/docker/memory.stat",
        "inactive_file 1\nactive_file 1\ntotal_inactive_file 104857600\ntotal_active_file 104857600\n");
    put("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "4294967296\n");
    put("sys/fs/cgroup/memory/docker/1/memory.usage_in_bytes", "1073741824\n");
    expect_left(1224, "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes");
    put("sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu/docker/1/cpu.cfs_period_us", "100000\n");
    assert_true(isinf(fkv_cpu_quota(root)));
    put("sys/fs/cgroup/cpu/docker/cpu.cfs_quota_us", "250000\n");
    put("sys/fs/cgroup/cpu/docker/cpu.cfs_period_us", "100000\n");
    assert_true(fkv_cpu_quota(root) == 2.5);
}

static void test_cpu_max_on_every_level(void **state)
{
    (void)state;
    put("proc/self/cgroup", "0::/a/b\n");
    put("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/a/cpu.max", "50000 100000\n");
    put("sys/fs/cgroup/cpu.max", "400000 100000\n");
    assert_true(fkv_cpu_quota(root) == 0.5);
}

static void test_cores(void **state)
{
    char name[96];
    bool may[8];
    (void)state;
    memset(may, 1, sizeof may);
    assert_int_equal(fkv_count_cores(root, may, 8), 8); /* nothing is known of siblings */
    for (int cpu = 0; cpu < 8; cpu++) {
        static const char *const lists[] = {"0,4\n", "1,5\n", "2,6\n", "3,7\n"};
        snprintf(name, sizeof name, "sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
        put(name, lists[cpu % 4]);
    }
    assert_int_equal(fkv_count_cores(root, may, 8), 4);
    memset(may, 0, 4); /* only second hardware threads: four cores all the same */
    assert_int_equal(fkv_count_cores(root, may, 8), 4);
    memset(may, 0, 7);
    assert_int_equal(fkv_count_cores(root, may, 8), 1);
    put("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0-3\n");
    put("sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "0-3\n");
    memset(may, 0, 8);
    may[0] = may[2] = true;
    assert_int_equal(fkv_count_cores(root, may, 8), 1);
    assert_true(fkv_usable_cores() >= 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {TEST(test_machine),   TEST(test_version_2), TEST(test_own_root),
                                       TEST(test_version_1), TEST(test_cores),     TEST(test_cpu_max_on_every_level)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
