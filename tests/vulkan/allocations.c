/* Nothing is allocated between two tokens: this library's own calls are counted, those to Vulkan in the device's table,
   the others by the linker's --wrap; what a driver allocates is its own affair. Skips (77) without a device. */
#define _GNU_SOURCE
#include <stdio.h>

#include "engine/engine.h"
#include "support/tiny_session.h"
#include "vulkan/vk_internal.h"

static int n_calls;

#define WRAPPED(type, name, parameters, arguments) \
    type __real_##name parameters;                 \
    type __wrap_##name parameters;                 \
    type __wrap_##name parameters                  \
    {                                              \
        n_calls++;                                 \
        return __real_##name arguments;            \
    }
WRAPPED(void *, malloc, (size_t n), (n))
WRAPPED(void *, calloc, (size_t n, size_t each), (n, each))
WRAPPED(void *, realloc, (void *at, size_t n), (at, n))
WRAPPED(void *, aligned_alloc, (size_t alignment, size_t n), (alignment, n))

static struct VolkDeviceTable real;

#define COUNTED(name, parameters, arguments)                      \
    static VKAPI_ATTR VkResult VKAPI_CALL count_##name parameters \
    {                                                             \
        n_calls++;                                                \
        return real.name arguments;                               \
    }
COUNTED(vkAllocateMemory,
        (VkDevice d, const VkMemoryAllocateInfo *info, const VkAllocationCallbacks *a, VkDeviceMemory *made),
        (d, info, a, made))
COUNTED(vkCreateBuffer, (VkDevice d, const VkBufferCreateInfo *info, const VkAllocationCallbacks *a, VkBuffer *made),
        (d, info, a, made))
COUNTED(vkCreateDescriptorPool,
        (VkDevice d, const VkDescriptorPoolCreateInfo *info, const VkAllocationCallbacks *a, VkDescriptorPool *made),
        (d, info, a, made))
COUNTED(vkAllocateCommandBuffers, (VkDevice d, const VkCommandBufferAllocateInfo *info, VkCommandBuffer *made),
        (d, info, made))

static void count_calls(fkv_engine *e)
{
    struct VolkDeviceTable *vk = &((struct vk_backend *)e->ws.place[0].b)->c.vk;
    real = *vk;
    vk->vkAllocateMemory = count_vkAllocateMemory;
    vk->vkCreateBuffer = count_vkCreateBuffer;
    vk->vkCreateDescriptorPool = count_vkCreateDescriptorPool;
    vk->vkAllocateCommandBuffers = count_vkAllocateCommandBuffers;
}

/* Little memory, so that every piece of it is a block of its own. */
static void check_tokens(bool exact, const char *gpu_layers)
{
    enum { N = 200, TOKENS = 300 };
    struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    const struct fkv_session_params session = paper_params(0.2, 0.1, 1);
    int32_t ids[N];
    tiny_model_prompt(11, ids, N);
    m.type = FKV_TYPE_Q8_0;
    p.exact = exact;
    p.gpu_layers = gpu_layers;
    setenv("FASTKV_VULKAN_MEMORY", "33554432", 1);
    fkv_engine *e = tiny_engine(&m, &p);
    count_calls(e);
    fkv_session *s = tiny_session(e, &session);
    n_calls = 0;
    sync_or_fail(s, ids, N);
    assert_true(n_calls > 0); /* the linker has wrapped them */
    append_or_fail(s, 5);
    n_calls = 0;
    for (int i = 0; i < TOKENS; i++) append_or_fail(s, 5 + i);
    assert_int_equal(n_calls, 0);
    fkv_session_close(s);
    fkv_engine_close(e);
}

static void test_tokens(void **state)
{
    (void)state;
    check_tokens(false, NULL);
    check_tokens(true, "2"); /* the other layers on the CPU */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tokens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
