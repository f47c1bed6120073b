#include "vulkan/memory.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64 << 20 }; /* of a block whose first piece is not larger */

struct range {
    uint64_t offset, bytes;
};

struct block {
    VkDeviceMemory memory;
    VkBuffer buffer;
    uint64_t bytes;
    struct range *free; /* ascending, never adjoining */
    int n_free, room;
};

struct vk_memory {
    struct block *block;
    int n_blocks;
};

/* ---- Vulkan's memory ------------------------------------------------------------------------- */

/* A memory type among `allowed` with all of `must` and, if there is one, all of `best`; -1 when there is none. */
static int find_type(const struct vk_context *c, uint32_t allowed, VkMemoryPropertyFlags must,
                     VkMemoryPropertyFlags best)
{
    int found = -1;
    for (int i = (int)c->heaps.memoryTypeCount - 1; i >= 0; i--) {
        const VkMemoryPropertyFlags has = c->heaps.memoryTypes[i].propertyFlags;
        if (!(allowed >> i & 1) || (has & must) != must) continue;
        if (found < 0 || (has & best) == best || (c->heaps.memoryTypes[found].propertyFlags & best) != best) found = i;
    }
    return found;
}

static VkResult create_buffer(struct vk_context *c, uint64_t bytes, VkMemoryPropertyFlags must,
                              VkMemoryPropertyFlags best, VkBuffer *buffer, VkDeviceMemory *memory)
{
    const VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                     .size = bytes,
                                     .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                              VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    VkResult r = c->vk.vkCreateBuffer(c->device, &info, NULL, buffer);
    if (r != VK_SUCCESS) return r;
    VkMemoryRequirements wants;
    c->vk.vkGetBufferMemoryRequirements(c->device, *buffer, &wants);
    const int type = find_type(c, wants.memoryTypeBits, must, best);
    r = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    if (type >= 0 && wants.size <= c->max_allocation) {
        const VkMemoryAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                               .allocationSize = wants.size,
                                               .memoryTypeIndex = (uint32_t)type};
        r = c->vk.vkAllocateMemory(c->device, &allocate, NULL, memory);
    }
    if (r == VK_SUCCESS) r = c->vk.vkBindBufferMemory(c->device, *buffer, *memory, 0);
    return r;
}

static void destroy_buffer(struct vk_context *c, VkBuffer buffer, VkDeviceMemory memory)
{
    c->vk.vkDestroyBuffer(c->device, buffer, NULL);
    c->vk.vkFreeMemory(c->device, memory, NULL);
}

bool vk_host_buffer_create(struct vk_context *c, struct vk_host_buffer *b, uint64_t bytes, bool cached)
{
    const VkMemoryPropertyFlags must = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    struct vk_host_buffer made = {.bytes = bytes};
    void *mapped;
    VkResult r = create_buffer(c, bytes, must, cached ? VK_MEMORY_PROPERTY_HOST_CACHED_BIT : 0, &made.buffer,
                               &made.memory);
    if (r == VK_SUCCESS) r = c->vk.vkMapMemory(c->device, made.memory, 0, VK_WHOLE_SIZE, 0, &mapped);
    if (r != VK_SUCCESS) {
        vk_host_buffer_destroy(c, &made);
        return false;
    }
    made.mapped = mapped;
    *b = made;
    return true;
}

void vk_host_buffer_destroy(struct vk_context *c, struct vk_host_buffer *b)
{
    destroy_buffer(c, b->buffer, b->memory);
    *b = (struct vk_host_buffer){0};
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static bool add_range(struct block *b, int at, struct range r)
{
    if (b->n_free == b->room) {
        const int room = 2 * b->room + 8;
        struct range *more = realloc(b->free, (size_t)room * sizeof *more);
        if (!more) return false;
        b->free = more;
        b->room = room;
    }
    memmove(b->free + at + 1, b->free + at, (size_t)(b->n_free - at) * sizeof *b->free);
    b->free[at] = r;
    b->n_free++;
    return true;
}

static void remove_range(struct block *b, int at)
{
    b->n_free--;
    memmove(b->free + at, b->free + at + 1, (size_t)(b->n_free - at) * sizeof *b->free);
}

/* NULL when there is no memory, or no more of it than the context allows. */
static struct block *add_block(struct vk_context *c, uint64_t bytes)
{
    struct vk_memory *m = c->memory;
    struct block *more = realloc(m->block, (size_t)(m->n_blocks + 1) * sizeof *more);
    if (!more) return NULL;
    m->block = more;
    struct block b = {.bytes = bytes};
    if (vk_memory_bytes(c) + bytes > c->memory_bytes) return NULL;
    if (create_buffer(c, bytes, 0, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, &b.buffer, &b.memory) != VK_SUCCESS ||
        !add_range(&b, 0, (struct range){0, bytes})) {
        destroy_buffer(c, b.buffer, b.memory);
        return NULL;
    }
    m->block[m->n_blocks] = b;
    return &m->block[m->n_blocks++];
}

/* The first free range that is long enough. */
static bool take(struct block *b, uint64_t bytes, struct vk_slice *s)
{
    for (int i = 0; i < b->n_free; i++) {
        struct range *r = &b->free[i];
        if (r->bytes < bytes) continue;
        *s = (struct vk_slice){b->buffer, r->offset, bytes};
        r->offset += bytes;
        r->bytes -= bytes;
        if (r->bytes == 0) remove_range(b, i);
        return true;
    }
    return false;
}

static uint64_t words(uint64_t bytes) { return (bytes + 3) & ~(uint64_t)3; }

/* What a piece of that size takes of its block. */
static uint64_t taken(const struct vk_context *c, uint64_t bytes)
{
    return c->own_buffers ? words(bytes) : vk_aligned(bytes);
}

bool vk_slice_alloc(struct vk_context *c, uint64_t bytes, struct vk_slice *s)
{
    struct vk_memory *m = c->memory;
    const uint64_t whole = taken(c, bytes);
    bool found = false;
    for (int i = 0; !found && i < m->n_blocks; i++)
        found = (!c->own_buffers || m->block[i].bytes == whole) && take(&m->block[i], whole, s);
    if (!found) {
        struct block *b = whole < BLOCK_BYTES && !c->own_buffers ? add_block(c, BLOCK_BYTES) : NULL;
        if (!b) b = add_block(c, whole);
        found = b && take(b, whole, s);
    }
    if (found) s->bytes = words(bytes);
    return found;
}

void vk_slice_free(struct vk_context *c, struct vk_slice *s)
{
    struct vk_memory *m = c->memory;
    struct range back = {s->offset, taken(c, s->bytes)};
    for (int i = 0; s->bytes && i < m->n_blocks; i++) {
        struct block *b = &m->block[i];
        if (b->buffer != s->buffer) continue;
        int at = 0;
        while (at < b->n_free && b->free[at].offset < back.offset) at++;
        if (at < b->n_free && back.offset + back.bytes == b->free[at].offset) { /* joins the one after */
            back.bytes += b->free[at].bytes;
            remove_range(b, at);
        }
        if (at > 0 && b->free[at - 1].offset + b->free[at - 1].bytes == back.offset)
            b->free[at - 1].bytes += back.bytes;
        else
            add_range(b, at, back); /* without memory for the list, the range stays unused */
        break;
    }
    *s = (struct vk_slice){0};
}

uint64_t vk_memory_bytes(const struct vk_context *c)
{
    uint64_t bytes = 0;
    for (int i = 0; i < c->memory->n_blocks; i++) bytes += c->memory->block[i].bytes;
    return bytes;
}

uint64_t vk_memory_used(const struct vk_context *c)
{
    uint64_t bytes = vk_memory_bytes(c);
    for (int i = 0; i < c->memory->n_blocks; i++)
        for (int j = 0; j < c->memory->block[i].n_free; j++) bytes -= c->memory->block[i].free[j].bytes;
    return bytes;
}

uint64_t vk_memory_left(const struct vk_context *c)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 now = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                                             .pNext = &budget};
    const uint64_t used = vk_memory_bytes(c), left = c->memory_bytes > used ? c->memory_bytes - used : 0;
    if (!c->has_budget) return left;
    vkGetPhysicalDeviceMemoryProperties2(c->physical, &now);
    uint64_t free_now = 0; /* of the heap that blocks come from */
    for (uint32_t i = 0; i < c->heaps.memoryHeapCount; i++) {
        const uint64_t most = budget.heapBudget[i], in_use = budget.heapUsage[i];
        if (c->heaps.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT && most > in_use &&
            most - in_use > free_now)
            free_now = most - in_use;
    }
    return free_now < left ? free_now : left;
}

bool vk_memory_create(struct vk_context *c)
{
    c->memory = calloc(1, sizeof *c->memory);
    return c->memory;
}

void vk_memory_destroy(struct vk_context *c)
{
    struct vk_memory *m = c->memory;
    if (!m) return;
    for (int i = 0; i < m->n_blocks; i++) {
        destroy_buffer(c, m->block[i].buffer, m->block[i].memory);
        free(m->block[i].free);
    }
    free(m->block);
    free(m);
    c->memory = NULL;
}
