#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "cli/commands.h"
#include "cli/console.h"

enum { LEVELS_MAX = 32, DEVICES_MAX = 16 };

static void print_vulkan(void)
{
    struct fkv_vulkan_device devices[DEVICES_MAX];
    char why[FKV_ERROR_BYTES];
    int n = fkv_vulkan_list(devices, DEVICES_MAX, why);
    if (n == 0) printf("vulkan    %s\n", why);
    for (int i = 0; i < n && i < DEVICES_MAX; i++) {
        const struct fkv_vulkan_device *d = &devices[i];
        printf("vulkan:%d  %s (%s), Vulkan %s, %s; memory %s, %u KiB shared, subgroups of %u; used beyond the "
               "baseline: %s%s%s\n",
               i, d->name, d->kind, d->api, d->driver, SIZE(d->memory_bytes), d->shared_bytes >> 10, d->subgroup_size,
               *d->used ? d->used : "nothing", *d->lack ? "; cannot be used: " : "", d->lack);
    }
}

static void print_check(void *user, const struct fkv_vulkan_check *c)
{
    const double s = c->ms * 1e-3;
    (void)user;
    printf("%-24s %9.2g %9.2g %9.3f %9.2f %9.2f  %s\n", c->name, c->error, c->allowed, c->ms,
           2e-9 * c->multiply_adds / s, 1e-9 * c->bytes / s, c->error <= c->allowed ? "ok" : "WRONG");
    fflush(stdout);
}

/* A table to attach to a bug report. */
static int self_test(const char *device)
{
    char err[FKV_ERROR_BYTES];
    const bool named = strncmp(device, "vulkan", 6) == 0;
    print_vulkan();
    printf("\nself-test of %s, fastkv %s\n", named ? device : "vulkan", fkv_version());
    printf("%-24s %9s %9s %9s %9s %9s\n", "operation", "error", "allowed", "ms", "GFLOP/s", "GB/s");
    if (fkv_vulkan_self_test(named ? device : "vulkan", print_check, NULL, err) != FKV_OK)
        return console_error("%s", err);
    return EXIT_SUCCESS;
}

int cmd_devices(struct settings *settings)
{
    struct fkv_isa_level levels[LEVELS_MAX];
    int n = fkv_isa_list(levels, LEVELS_MAX);
    struct fkv_memory_left left;
    if (settings->self_test) return self_test(settings->engine.device);
    puts("back end  state");
    const int cores = fkv_usable_cores();
    fkv_memory_left("", &left);
    printf("cpu       %d physical core%s for this process, %s of memory available%s%s\n", cores, cores == 1 ? "" : "s",
           left.bytes ? SIZE(left.bytes) : "an unknown amount", *left.limit ? ": " : "", left.limit);
    print_vulkan();
    puts("\nISA level       state");
    for (int i = 0; i < n && i < LEVELS_MAX; i++)
        printf("%-15s %s\n", levels[i].name,
               levels[i].in_use      ? "in use"
               : levels[i].available ? "available"
                                     : "not on this CPU");
    return EXIT_SUCCESS;
}
