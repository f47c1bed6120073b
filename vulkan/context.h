/* context.h: one Vulkan device, opened: the loader, the instance, the choice of a device, its limits.

   Everything of the back end hangs on struct vk_context. The first failure of any call stays in it (status, error);
   from then on the functions of this folder do nothing, so that only those who can tell somebody have to look.

   FASTKV_VULKAN_VALIDATE=core,sync,gpu (any of them) turns the Khronos validation layer on: each of its messages is
   printed and counts as a failure; one that comes while the device is closed aborts.
   FASTKV_VULKAN_RANGE=BYTES caps what one binding sees, FASTKV_VULKAN_SUBMIT=N sets the multiply-adds of one
   submission, FASTKV_VULKAN_MEMORY=BYTES caps the device's memory: tests of a generous device see how a small one is
   served. FASTKV_VULKAN_OFF=subgroup,half (names of enum vk_ability) turns variants of the shaders off, as on a device
   that lacks the ability. FASTKV_VULKAN_FAIL=lost:N makes the N-th submission lose the device, FASTKV_VULKAN_FAIL=lack
   makes every device lack something. */
#ifndef FKV_VULKAN_CONTEXT_H
#define FKV_VULKAN_CONTEXT_H

#include "base/error.h"
#include "vulkan/abilities.h"

enum {
    VK_GROUP = 256,          /* invocations of the largest group a shader here has */
    VK_SHARED_BYTES = 16384, /* and its shared memory */
    VK_MAX_BINDINGS = 7,     /* buffers of one dispatch */
    VK_PUSH_BYTES = 128,
    VK_ALIGNMENT = 256, /* of every piece of memory: no device asks for more */
};

/* What the dispatches of one shader were: operations as struct vk_call has them, and the bytes they touch, each
   once. */
struct vk_count {
    uint64_t dispatches;
    double work, bytes;
    double seconds; /* on the device, where the context is timed */
};
enum { VK_MAX_COUNTS = 32 };

struct vk_memory;
struct vk_commands;
struct vk_pipelines;

struct vk_context {
    VkInstance instance;
    VkDebugUtilsMessengerEXT messenger;
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue;
    uint32_t family;
    struct VolkDeviceTable vk;
    VkPhysicalDeviceProperties properties;
    VkPhysicalDeviceDriverProperties driver;
    VkPhysicalDeviceMemoryProperties heaps;
    uint64_t max_range;      /* bytes of one binding */
    uint64_t max_allocation; /* bytes of one VkDeviceMemory */
    uint64_t memory_bytes;   /* of all of them that hold weights and sessions */
    long lose_after;         /* submissions until the device is lost on purpose; 0: never */
    bool has_budget;         /* VK_EXT_memory_budget */
    double fixed_budget;     /* work of one submission, or 0: by measurement */
    struct vk_abilities abilities;
    bool closing;
    bool dry;       /* a bench counts only: nothing is dispatched or copied, what the host reads is zeros */
    bool timed;     /* a bench has the device note when dispatches begin and end: they no longer overlap */
    bool unordered; /* a planted fault: nothing waits for what it depends on */
    struct vk_count count[VK_MAX_COUNTS]; /* by enum vk_shader */
    bool own_buffers; /* each piece of memory is a buffer: the GPU-assisted layer finds what goes past a buffer's end
                        only */

    struct vk_memory *memory;
    struct vk_commands *commands;
    struct vk_pipelines *pipelines;

    fkv_status status; /* of the first failure, with its message */
    struct fkv_error error;
};

/* device: see fkv_vulkan_backend_create(). The context is zeroed memory of the caller's; on failure it is empty again.
   Memory, commands and pipelines are not made yet. */
fkv_status vk_context_open(struct vk_context *c, const char *device, struct fkv_error *e);
void vk_context_close(struct vk_context *c);

/* Notes a failure, unless one came before: what was wanted. false if r is one. */
bool vk_check(struct vk_context *c, VkResult r, const char *what);
static inline bool vk_ok(const struct vk_context *c) { return c->status == FKV_OK; }
const char *vk_result_text(VkResult r);

#endif
