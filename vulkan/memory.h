/* memory.h: the device's memory: a few large blocks, sub-allocated; buffers that host and device share. */
#ifndef FKV_VULKAN_MEMORY_H
#define FKV_VULKAN_MEMORY_H

#include "vulkan/context.h"

/* A piece of a buffer: what a binding takes. An offset of vk_slice_alloc() is a multiple of VK_ALIGNMENT. */
struct vk_slice {
    VkBuffer buffer;
    uint64_t offset, bytes;
};

static inline uint64_t vk_aligned(uint64_t bytes) { return (bytes + VK_ALIGNMENT - 1) & ~(uint64_t)(VK_ALIGNMENT - 1); }

/* The first n floats of a slice: what an operation uses of its scratch. */
static inline struct vk_slice vk_first(struct vk_slice s, uint64_t n)
{
    return (struct vk_slice){s.buffer, s.offset, n * sizeof(float)};
}

/* Memory that the host sees, mapped for good. */
struct vk_host_buffer {
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint8_t *mapped;
    uint64_t bytes;
};

bool vk_memory_create(struct vk_context *c);
void vk_memory_destroy(struct vk_context *c);

/* bytes > 0, rounded up to words. Fails without a note in the context: the caller decides what that means. What lies
   there is undefined. */
bool vk_slice_alloc(struct vk_context *c, uint64_t bytes, struct vk_slice *s);
/* The device has finished with it. An empty slice is allowed. */
void vk_slice_free(struct vk_context *c, struct vk_slice *s);
/* Bytes of all blocks; those of them that pieces take; how many more the device has. */
uint64_t vk_memory_bytes(const struct vk_context *c);
uint64_t vk_memory_used(const struct vk_context *c);
uint64_t vk_memory_left(const struct vk_context *c);

/* cached: the host reads it. */
bool vk_host_buffer_create(struct vk_context *c, struct vk_host_buffer *b, uint64_t bytes, bool cached);
void vk_host_buffer_destroy(struct vk_context *c, struct vk_host_buffer *b);

#endif
