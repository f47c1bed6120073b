/* Faults that the validation layer must find, so that a layer which says nothing is noticed: planted
   descriptor|bounds|barrier|none, with FASTKV_VULKAN_VALIDATE set. Exit status 0 when a message came (for `none`: when
   none did), 1 when not, 2 when the program could not run, 77 without a device or the layer. */
#include <stdio.h>
#include <string.h>

#include "vulkan/commands.h"

enum { N = 1024 };

/* to = from, N values. */
static void copy(struct vk_context *c, struct vk_slice from, struct vk_slice to)
{
    const struct {
        uint32_t heads, n;
    } push = {1, N};
    vk_dispatch(c, &(struct vk_call){VK_SHADER_sum_heads, {0}, {from, to}, &push, sizeof push, N / 64, N});
}

static void plant(struct vk_context *c, const char *fault, struct vk_slice a, struct vk_slice b)
{
    if (!vk_enter(c, 0)) return;
    vk_fill_zero(c, a);
    vk_fill_zero(c, b);
    copy(c, a, strcmp(fault, "descriptor") == 0 ? (struct vk_slice){0} : b);
    c->unordered = strcmp(fault, "barrier") == 0;
    copy(c, b, a);
    vk_finish(c);
    vk_leave(c);
}

int main(int argc, char **argv)
{
    struct vk_context c = {0};
    struct fkv_error e;
    struct vk_slice a, b;
    if (argc != 2) return 2;
    if (vk_context_open(&c, "vulkan", &e) != FKV_OK) {
        fprintf(stderr, "%s\n", e.text);
        return 77;
    }
    if (!vk_memory_create(&c) || !vk_pipelines_create(&c) || !vk_commands_create(&c)) return 2;
    const uint64_t shorter = strcmp(argv[1], "bounds") == 0 ? 2 : 0;
    if (!vk_slice_alloc(&c, N * sizeof(float), &a) || !vk_slice_alloc(&c, (N - shorter) * sizeof(float), &b)) return 2;
    plant(&c, argv[1], a, b);
    const bool found = !vk_ok(&c) && strncmp(c.error.text, "validation: ", 12) == 0;
    vk_commands_destroy(&c);
    vk_pipelines_destroy(&c);
    vk_memory_destroy(&c);
    vk_context_close(&c);
    return found == (strcmp(argv[1], "none") != 0) ? 0 : 1;
}
