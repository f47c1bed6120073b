#include "vulkan/commands.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum {
    UPLOAD_BYTES = 4 << 20,
    SETS_PER_POOL = 1024,
    POOLS = 4,      /* made at first, so that none is while tokens are decoded: what would fill the last one waits */
    BUFFERS = 64,   /* command buffers, likewise: an operation that begins finds some left */
    MOST_USED = 48, /* of them then */
    MOST_RECORDED =
        64, /* dispatches before they are handed over: the device works on them while the next are recorded */
    MOST_GROUPS = 65535, /* of one dimension, on any device */
    MOST_TIMED = 4096,   /* dispatches between two waits whose times are noted */
    MOST_TOUCHED = 64,   /* pieces of memory that work since the last barrier reads or writes */
};
static const double submit_s = 0.25, first_budget = 1e9, least_budget = 1e8;

/* Memory that recorded work reads or writes. */
struct touched {
    VkBuffer buffer;
    uint64_t begin, end;
    bool written;
};

struct vk_commands {
    pthread_mutex_t lock;
    VkCommandPool pool;
    VkCommandBuffer *buffer; /* [n_buffers], of which n_used are recorded since the last wait */
    int n_buffers, n_used;
    bool recording; /* buffer[n_used - 1] is open */
    VkFence fence;
    VkDescriptorPool *sets; /* [n_pools] */
    int n_pools;
    uint32_t n_sets; /* taken since the last wait, of all pools */
    struct vk_host_buffer upload, download;
    VkQueryPool stamps; /* [2 MOST_TIMED]: begin and end; made when first wanted */
    int n_timed;        /* since the last wait */
    enum vk_shader timed[MOST_TIMED];
    uint64_t uploaded;          /* bytes of `upload` in use since the last wait */
    double budget;              /* work of one submission */
    double recorded, submitted; /* work in the open buffer; handed over since the last wait */
    int n_recorded;             /* dispatches in the open buffer */
    double since;               /* time of the first submission since the last wait */
    struct touched touched[MOST_TOUCHED];
    int n_touched; /* since the last barrier */
};

/* ---- creation -------------------------------------------------------------------------------- */

static bool add_buffer(struct vk_context *c)
{
    struct vk_commands *m = c->commands;
    VkCommandBuffer *more = realloc(m->buffer, (size_t)(m->n_buffers + 1) * sizeof(VkCommandBuffer));
    if (!more) return vk_check(c, VK_ERROR_OUT_OF_HOST_MEMORY, "command buffer");
    m->buffer = more;
    const VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                              .commandPool = m->pool,
                                              .commandBufferCount = 1};
    if (!vk_check(c, c->vk.vkAllocateCommandBuffers(c->device, &info, &m->buffer[m->n_buffers]), "command buffer"))
        return false;
    m->n_buffers++;
    return true;
}

static bool add_pool(struct vk_context *c)
{
    struct vk_commands *m = c->commands;
    const VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, SETS_PER_POOL * VK_MAX_BINDINGS};
    const VkDescriptorPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                             .maxSets = SETS_PER_POOL,
                                             .poolSizeCount = 1,
                                             .pPoolSizes = &size};
    VkDescriptorPool *more = realloc(m->sets, (size_t)(m->n_pools + 1) * sizeof(VkDescriptorPool));
    if (!more) return vk_check(c, VK_ERROR_OUT_OF_HOST_MEMORY, "descriptor pool");
    m->sets = more;
    if (!vk_check(c, c->vk.vkCreateDescriptorPool(c->device, &info, NULL, &m->sets[m->n_pools]), "descriptor pool"))
        return false;
    m->n_pools++;
    return true;
}

bool vk_commands_create(struct vk_context *c)
{
    struct vk_commands *m = c->commands = calloc(1, sizeof *m);
    if (!m) return vk_check(c, VK_ERROR_OUT_OF_HOST_MEMORY, "commands");
    pthread_mutex_init(&m->lock, NULL);
    m->budget = c->fixed_budget > 0 ? c->fixed_budget : first_budget;
    const VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                          .queueFamilyIndex = c->family};
    const VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    if (!vk_check(c, c->vk.vkCreateCommandPool(c->device, &pool, NULL, &m->pool), "command pool")) return false;
    if (!vk_check(c, c->vk.vkCreateFence(c->device, &fence, NULL, &m->fence), "fence")) return false;
    if (!vk_host_buffer_create(c, &m->upload, UPLOAD_BYTES, false) ||
        !vk_host_buffer_create(c, &m->download, VK_DOWNLOAD_BYTES, true))
        return vk_check(c, VK_ERROR_OUT_OF_DEVICE_MEMORY, "buffers that host and device share");
    while (m->n_buffers < BUFFERS)
        if (!add_buffer(c)) return false;
    while (m->n_pools < POOLS)
        if (!add_pool(c)) return false;
    return true;
}

void vk_commands_destroy(struct vk_context *c)
{
    struct vk_commands *m = c->commands;
    if (!m) return;
    c->vk.vkDeviceWaitIdle(c->device);
    vk_host_buffer_destroy(c, &m->upload);
    vk_host_buffer_destroy(c, &m->download);
    for (int i = 0; i < m->n_pools; i++) c->vk.vkDestroyDescriptorPool(c->device, m->sets[i], NULL);
    c->vk.vkDestroyFence(c->device, m->fence, NULL);
    c->vk.vkDestroyQueryPool(c->device, m->stamps, NULL);
    c->vk.vkDestroyCommandPool(c->device, m->pool, NULL);
    pthread_mutex_destroy(&m->lock);
    free(m->sets);
    free(m->buffer);
    free(m);
    c->commands = NULL;
}

/* ---- command buffers ------------------------------------------------------------------------- */

/* The open command buffer; VK_NULL_HANDLE after a failure. */
static VkCommandBuffer recording(struct vk_context *c)
{
    struct vk_commands *m = c->commands;
    if (!vk_ok(c)) return VK_NULL_HANDLE;
    if (m->recording) return m->buffer[m->n_used - 1];
    if (m->n_used == m->n_buffers && !add_buffer(c)) return VK_NULL_HANDLE;
    const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                            .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    if (!vk_check(c, c->vk.vkBeginCommandBuffer(m->buffer[m->n_used], &begin), "recording")) return VK_NULL_HANDLE;
    m->recording = true;
    return m->buffer[m->n_used++];
}

static void submit(struct vk_context *c, VkFence fence)
{
    struct vk_commands *m = c->commands;
    VkSubmitInfo info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO};
    if (m->recording) {
        m->recording = false;
        if (!vk_check(c, c->vk.vkEndCommandBuffer(m->buffer[m->n_used - 1]), "recording")) return;
        info.commandBufferCount = 1;
        info.pCommandBuffers = &m->buffer[m->n_used - 1];
    }
    if (m->submitted == 0) m->since = fkv_clock_s();
    m->submitted += m->recorded;
    m->recorded = 0;
    m->n_recorded = 0;
    const bool lose = c->lose_after > 0 && --c->lose_after == 0;
    vk_check(c, lose ? VK_ERROR_DEVICE_LOST : c->vk.vkQueueSubmit(c->queue, 1, &info, fence), "submission");
}

/* The rate of work shown since the last wait bounds the submissions to come. */
static void learn_rate(struct vk_context *c)
{
    struct vk_commands *m = c->commands;
    const double t = fkv_clock_s() - m->since;
    if (c->fixed_budget > 0) return;
    if (m->submitted > least_budget && t > 1e-4) m->budget = m->submitted / t * submit_s;
    if (m->budget < least_budget) m->budget = least_budget;
}

/* ---- times ----------------------------------------------------------------------------------- */

static bool begin_timing(struct vk_context *c, VkCommandBuffer b, enum vk_shader shader)
{
    struct vk_commands *m = c->commands;
    const VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                        .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                        .queryCount = 2 * MOST_TIMED};
    if (!c->timed || m->n_timed == MOST_TIMED) return false;
    if (!m->stamps && !vk_check(c, c->vk.vkCreateQueryPool(c->device, &info, NULL, &m->stamps), "query pool"))
        return false;
    if (m->n_timed == 0) c->vk.vkCmdResetQueryPool(b, m->stamps, 0, 2 * MOST_TIMED);
    m->timed[m->n_timed] = shader;
    c->vk.vkCmdWriteTimestamp(b, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, m->stamps, 2 * (uint32_t)m->n_timed);
    return true;
}

static void end_timing(struct vk_context *c, VkCommandBuffer b)
{
    struct vk_commands *m = c->commands;
    c->vk.vkCmdWriteTimestamp(b, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, m->stamps, 2 * (uint32_t)m->n_timed++ + 1);
}

/* After a wait. */
static void take_times(struct vk_context *c)
{
    struct vk_commands *m = c->commands;
    const double tick = 1e-9 * (double)c->properties.limits.timestampPeriod;
    uint64_t at[2 * MOST_TIMED];
    if (m->n_timed == 0) return;
    if (!vk_check(c,
                  c->vk.vkGetQueryPoolResults(c->device, m->stamps, 0, 2 * (uint32_t)m->n_timed, sizeof at, at,
                                              sizeof *at, VK_QUERY_RESULT_64_BIT),
                  "times"))
        return;
    for (int i = 0; i < m->n_timed; i++) c->count[m->timed[i]].seconds += tick * (double)(at[2 * i + 1] - at[2 * i]);
    m->n_timed = 0;
}

void vk_finish(struct vk_context *c)
{
    struct vk_commands *m = c->commands;
    if (c->dry) m->uploaded = 0;
    if (!vk_ok(c) || m->n_used == 0) return;
    submit(c, m->fence);
    if (!vk_ok(c) || !vk_check(c, c->vk.vkWaitForFences(c->device, 1, &m->fence, VK_TRUE, UINT64_MAX), "waiting"))
        return;
    learn_rate(c);
    take_times(c);
    m->submitted = 0;
    VkResult r = c->vk.vkResetFences(c->device, 1, &m->fence);
    if (r == VK_SUCCESS) r = c->vk.vkResetCommandPool(c->device, m->pool, 0);
    for (int i = 0; r == VK_SUCCESS && i < m->n_pools; i++) r = c->vk.vkResetDescriptorPool(c->device, m->sets[i], 0);
    vk_check(c, r, "rewinding");
    m->n_used = 0;
    m->n_sets = 0;
    m->n_touched = 0;
    m->uploaded = 0;
}

void vk_begin(struct vk_context *c)
{
    struct vk_commands *m = c->commands;
    if (m->submitted + m->recorded > m->budget)
        vk_finish(c);
    else if (vk_ok(c) && m->recording && m->submitted == 0)
        submit(c, VK_NULL_HANDLE);
}

/* ---- order ----------------------------------------------------------------------------------- */

/* What follows waits for what came before. */
static void barrier(struct vk_context *c)
{
    const VkCommandBuffer b = recording(c);
    const VkPipelineStageFlags stages = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    const VkMemoryBarrier all = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                 .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                                 .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                                                  VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT};
    if (b && !c->unordered) c->vk.vkCmdPipelineBarrier(b, stages, stages, 0, 1, &all, 0, NULL, 0, NULL);
    c->commands->n_touched = 0;
}

static bool conflicts(const struct vk_commands *m, const struct touched *t)
{
    for (int i = 0; i < m->n_touched; i++) {
        const struct touched *o = &m->touched[i];
        if (o->buffer == t->buffer && o->begin < t->end && t->begin < o->end && (o->written || t->written)) return true;
    }
    return false;
}

/* Before work that touches n pieces of memory: a barrier, if it has to wait for any that is recorded. */
static void touch(struct vk_context *c, const struct touched *t, int n)
{
    struct vk_commands *m = c->commands;
    bool wait = c->timed || m->n_touched + n > MOST_TOUCHED;
    for (int i = 0; i < n && !wait; i++) wait = conflicts(m, &t[i]);
    if (wait) barrier(c);
    for (int i = 0; i < n; i++) m->touched[m->n_touched++] = t[i];
}

/* Where a binding of the slice begins: its offset, brought down to what the device allows, a power of two. */
static uint64_t bound_offset(const struct vk_context *c, const struct vk_slice *s)
{
    const uint64_t least = c->properties.limits.minStorageBufferOffsetAlignment, step = least > 4 ? least : 4;
    return s->offset & ~(step - 1);
}

/* A call touches what it is bound to, not only its part of that: so the layer sees it, too. */
static void touch_bindings(struct vk_context *c, const struct vk_call *call)
{
    const uint32_t writes = vk_shader_writes(call->shader);
    struct touched t[VK_MAX_BINDINGS];
    int n = 0;
    for (int i = 0; i < VK_MAX_BINDINGS; i++) {
        const struct vk_slice *s = &call->bind[i];
        if (s->buffer && s->buffer != c->commands->upload.buffer)
            t[n++] = (struct touched){s->buffer, bound_offset(c, s), s->offset + s->bytes, writes >> i & 1};
    }
    touch(c, t, n);
}

/* ---- operations ------------------------------------------------------------------------------ */

/* Room for uploads of so many bytes, pieces included. false: no memory, and the old room stays. */
static bool reserve_uploads(struct vk_context *c, uint64_t wanted)
{
    struct vk_commands *m = c->commands;
    struct vk_host_buffer larger;
    vk_finish(c);
    if (!vk_ok(c) || !vk_host_buffer_create(c, &larger, wanted, false)) return false;
    vk_host_buffer_destroy(c, &m->upload);
    m->upload = larger;
    return true;
}

bool vk_enter(struct vk_context *c, uint64_t upload_bytes)
{
    struct vk_commands *m = c->commands;
    pthread_mutex_lock(&m->lock);
    const uint64_t wanted = upload_bytes ? vk_aligned(upload_bytes) + VK_MAX_UPLOADS * VK_ALIGNMENT : 0;
    if (m->uploaded + wanted > m->upload.bytes || m->n_sets > (POOLS - 1) * SETS_PER_POOL || m->n_used > MOST_USED)
        vk_finish(c);
    if (vk_ok(c) && wanted > m->upload.bytes && !reserve_uploads(c, wanted))
        vk_check(c, VK_ERROR_OUT_OF_HOST_MEMORY, "lists for the device");
    if (!vk_ok(c)) {
        pthread_mutex_unlock(&m->lock);
        return false;
    }
    return true;
}

void vk_leave(struct vk_context *c) { pthread_mutex_unlock(&c->commands->lock); }

struct vk_slice vk_upload_room(struct vk_context *c, uint64_t bytes, void **room)
{
    struct vk_commands *m = c->commands;
    const struct vk_slice s = {m->upload.buffer, m->uploaded, bytes};
    *room = m->upload.mapped + s.offset;
    m->uploaded += vk_aligned(bytes);
    return s;
}

struct vk_slice vk_upload(struct vk_context *c, const void *data, uint64_t bytes)
{
    void *room;
    const struct vk_slice s = vk_upload_room(c, bytes, &room);
    memcpy(room, data, bytes);
    return s;
}

static VkDescriptorSet take_set(struct vk_context *c)
{
    struct vk_commands *m = c->commands;
    VkDescriptorSet set = VK_NULL_HANDLE;
    if (m->n_sets / SETS_PER_POOL == (uint32_t)m->n_pools && !add_pool(c)) return set;
    const VkDescriptorSetLayout layout = vk_set_layout(c);
    const VkDescriptorSetAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                              .descriptorPool = m->sets[m->n_sets / SETS_PER_POOL],
                                              .descriptorSetCount = 1,
                                              .pSetLayouts = &layout};
    if (vk_check(c, c->vk.vkAllocateDescriptorSets(c->device, &info, &set), "descriptor set")) m->n_sets++;
    return set;
}

/* What every shader's push constants begin with. */
struct head {
    uint32_t first_group, at[VK_MAX_BINDINGS];
};

/* A descriptor set for the call; fills head->at. */
static VkDescriptorSet bind(struct vk_context *c, const struct vk_call *call, struct head *head)
{
    const VkDescriptorSet set = take_set(c);
    VkDescriptorBufferInfo buffers[VK_MAX_BINDINGS];
    VkWriteDescriptorSet writes[VK_MAX_BINDINGS];
    uint32_t n = 0;
    for (uint32_t i = 0; set && i < VK_MAX_BINDINGS; i++) {
        const struct vk_slice *s = &call->bind[i];
        if (!s->buffer) continue;
        const uint64_t offset = bound_offset(c, s), bytes = (s->offset - offset + s->bytes + 3) & ~(uint64_t)3;
        if (bytes > c->max_range) {
            c->status = fkv_fail(&c->error, FKV_ERROR_MEMORY,
                                 "Vulkan device %s: %s: a piece of %llu bytes, of which a shader can see %llu",
                                 c->properties.deviceName, vk_shader_name(call->shader), (unsigned long long)bytes,
                                 (unsigned long long)c->max_range);
            return VK_NULL_HANDLE;
        }
        head->at[i] = (uint32_t)((s->offset - offset) / 4);
        buffers[n] = (VkDescriptorBufferInfo){s->buffer, offset, bytes};
        writes[n] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                           .dstSet = set,
                                           .dstBinding = i,
                                           .descriptorCount = 1,
                                           .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                           .pBufferInfo = &buffers[n]};
        n++;
    }
    if (set) c->vk.vkUpdateDescriptorSets(c->device, n, writes, 0, NULL);
    return set;
}

static double bound_bytes(const struct vk_call *call)
{
    double bytes = 0;
    for (int i = 0; i < VK_MAX_BINDINGS; i++) bytes += (double)call->bind[i].bytes;
    return bytes;
}

static void count(struct vk_context *c, const struct vk_call *call, double bytes)
{
    struct vk_count *n = &c->count[call->shader];
    n->dispatches++;
    n->work += call->work;
    n->bytes += bytes;
}

void vk_dispatch(struct vk_context *c, const struct vk_call *call) { vk_dispatch_some(c, call, bound_bytes(call)); }

void vk_dispatch_some(struct vk_context *c, const struct vk_call *call, double bytes)
{
    struct vk_commands *m = c->commands;
    if (!vk_ok(c) || call->groups == 0) return;
    count(c, call, bytes);
    if (c->dry) return;
    struct {
        struct head head;
        uint8_t own[VK_PUSH_BYTES - sizeof(struct head)];
    } push = {0};
    memcpy(push.own, call->push, call->push_bytes);
    const VkDescriptorSet set = bind(c, call, &push.head);
    const VkPipeline pipeline = vk_pipeline(c, call->shader, call->constants);
    if (!set || !pipeline) return;
    touch_bindings(c, call);
    const double each = call->work / (double)call->groups, fit = each > 0 ? m->budget / each : MOST_GROUPS;
    const uint64_t most = fit < 1 ? 1 : fit < MOST_GROUPS ? (uint64_t)fit : MOST_GROUPS;
    for (uint64_t first = 0; first < call->groups; first += most) {
        const uint64_t n = call->groups - first < most ? call->groups - first : most;
        if (m->recorded > 0 && m->recorded + each * (double)n > m->budget) submit(c, VK_NULL_HANDLE);
        const VkCommandBuffer b = recording(c);
        if (!b) return;
        push.head.first_group = (uint32_t)first;
        const bool timing = begin_timing(c, b, call->shader);
        c->vk.vkCmdBindPipeline(b, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
        c->vk.vkCmdBindDescriptorSets(b, VK_PIPELINE_BIND_POINT_COMPUTE, vk_pipeline_layout(c), 0, 1, &set, 0, NULL);
        c->vk.vkCmdPushConstants(b, vk_pipeline_layout(c), VK_SHADER_STAGE_COMPUTE_BIT, 0,
                                 (uint32_t)(sizeof push.head + call->push_bytes), &push);
        c->vk.vkCmdDispatch(b, (uint32_t)n, 1, 1);
        if (timing) end_timing(c, b);
        m->recorded += each * (double)n;
        m->n_recorded++;
    }
    if (m->n_recorded >= MOST_RECORDED) submit(c, VK_NULL_HANDLE);
}

void vk_copy(struct vk_context *c, VkBuffer from, VkBuffer to, const VkBufferCopy *regions, uint32_t n)
{
    struct touched t[2] = {{from, UINT64_MAX, 0, false}, {to, UINT64_MAX, 0, true}};
    if (c->dry || n == 0) return;
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t at[2] = {regions[i].srcOffset, regions[i].dstOffset};
        for (int j = 0; j < 2; j++) {
            t[j].begin = at[j] < t[j].begin ? at[j] : t[j].begin;
            t[j].end = at[j] + regions[i].size > t[j].end ? at[j] + regions[i].size : t[j].end;
        }
    }
    touch(c, t, 2);
    const VkCommandBuffer b = recording(c);
    if (b) c->vk.vkCmdCopyBuffer(b, from, to, n, regions);
}

void vk_fill_zero(struct vk_context *c, struct vk_slice s)
{
    touch(c, &(struct touched){s.buffer, s.offset, s.offset + s.bytes, true}, 1);
    const VkCommandBuffer b = recording(c);
    if (b) c->vk.vkCmdFillBuffer(b, s.buffer, s.offset, s.bytes, 0);
}

static const VkMemoryBarrier to_host = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                        .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                                        .dstAccessMask = VK_ACCESS_HOST_READ_BIT};

/* Records a copy to the buffer `download`, for the host to read after a wait. */
static void record_download(struct vk_context *c, struct vk_slice s)
{
    vk_copy(c, s.buffer, c->commands->download.buffer, &(VkBufferCopy){s.offset, 0, s.bytes}, 1);
    const VkCommandBuffer b = recording(c);
    if (b)
        c->vk.vkCmdPipelineBarrier(b, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &to_host, 0,
                                   NULL, 0, NULL);
}

const void *vk_download_here(struct vk_context *c, struct vk_slice s)
{
    struct vk_commands *m = c->commands;
    if (c->dry)
        memset(m->download.mapped, 0, s.bytes);
    else
        record_download(c, s);
    vk_finish(c);
    return vk_ok(c) ? m->download.mapped : NULL;
}

bool vk_download(struct vk_context *c, struct vk_slice s, void *to)
{
    for (uint64_t done = 0; done < s.bytes; done += VK_DOWNLOAD_BYTES) {
        const uint64_t n = s.bytes - done < VK_DOWNLOAD_BYTES ? s.bytes - done : VK_DOWNLOAD_BYTES;
        const void *here = vk_download_here(c, (struct vk_slice){s.buffer, s.offset + done, n});
        if (!here) return false;
        memcpy((uint8_t *)to + done, here, n);
    }
    return true;
}
