#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/team.h"
#include "cli/commands.h"
#include "cli/console.h"

enum { LEVELS_MAX = 32 };

int cmd_devices(struct settings *settings) {
    struct fkv_isa_level levels[LEVELS_MAX];
    int n = fkv_isa_list(levels, LEVELS_MAX);
    uint64_t memory = fkv_memory_available();
    (void)settings;
    puts("back end  state");
    printf("cpu       %d physical cores, %s of memory available\n", fkv_physical_cores(), memory ? SIZE(memory) : "an unknown amount");
    puts("vulkan    not built in this version\n\nISA level       state");
    for (int i = 0; i < n && i < LEVELS_MAX; i++)
        printf("%-15s %s\n", levels[i].name, levels[i].in_use ? "in use" : levels[i].available ? "available" : "not on this CPU");
    return EXIT_SUCCESS;
}
