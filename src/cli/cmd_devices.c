#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/team.h"
#include "cli/commands.h"
#include "cli/console.h"

enum { LEVELS_MAX = 32, DEVICES_MAX = 16 };

static void print_vulkan(void) {
    struct fkv_vulkan_device devices[DEVICES_MAX];
    char why[FKV_ERROR_BYTES];
    int n = fkv_vulkan_list(devices, DEVICES_MAX, why);
    if (n == 0) printf("vulkan    %s\n", why);
    for (int i = 0; i < n && i < DEVICES_MAX; i++) {
        const struct fkv_vulkan_device *d = &devices[i];
        printf("vulkan:%d  %s (%s), Vulkan %s, %s; memory %s, subgroups of %u%s%s\n", i, d->name, d->kind, d->api, d->driver, SIZE(d->memory_bytes),
               d->subgroup_size, *d->lack ? "; cannot be used: " : "", d->lack);
    }
}

int cmd_devices(struct settings *settings) {
    struct fkv_isa_level levels[LEVELS_MAX];
    int n = fkv_isa_list(levels, LEVELS_MAX);
    uint64_t memory = fkv_memory_available();
    (void)settings;
    puts("back end  state");
    printf("cpu       %d physical cores, %s of memory available\n", fkv_physical_cores(), memory ? SIZE(memory) : "an unknown amount");
    print_vulkan();
    puts("\nISA level       state");
    for (int i = 0; i < n && i < LEVELS_MAX; i++)
        printf("%-15s %s\n", levels[i].name, levels[i].in_use ? "in use" : levels[i].available ? "available" : "not on this CPU");
    return EXIT_SUCCESS;
}
