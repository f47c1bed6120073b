/* commands.h: work recorded, submitted in bounded pieces, waited for.

   An operation of the back end stands between vk_enter() and vk_leave(), which take the context's lock: sessions on
   several threads share it. What is recorded runs side by side as far as its memory allows: a dispatch or copy waits
   for those before it that write what it touches, or read what it writes.

   Watchdogs reset a device whose submission takes seconds. Every dispatch says how much work it is, a long one is cut
   into several, and a submission closes when its work is estimated at a quarter of a second, by the rate the device has
   shown so far. */
#ifndef FKV_VULKAN_COMMANDS_H
#define FKV_VULKAN_COMMANDS_H

#include "vulkan/memory.h"
#include "vulkan/pipelines.h"

/* One dispatch: see shaders/common.glsl. */
struct vk_call {
    enum vk_shader shader;
    uint32_t constants[VK_MAX_CONSTANTS];
    struct vk_slice bind[VK_MAX_BINDINGS]; /* empty: the shader has no such binding */
    const void *push;                      /* the shader's own push constants, words */
    size_t push_bytes;
    uint64_t groups;
    double work; /* multiply-adds, or values moved, of all groups together */
};

bool vk_commands_create(struct vk_context *c);
void vk_commands_destroy(struct vk_context *c);
/* Begins an operation, with room for uploads of that many bytes and VK_MAX_UPLOADS pieces. false, and nothing
   begun, when the device has failed. */
enum { VK_MAX_UPLOADS = 16 };
bool vk_enter(struct vk_context *c, uint64_t upload_bytes);
void vk_leave(struct vk_context *c);

/* ---- within an operation --------------------------------------------------------------------- */

/* Room for the host to write so many bytes in, for the dispatches of this operation. */
struct vk_slice vk_upload_room(struct vk_context *c, uint64_t bytes, void **room);
/* A copy of the host's data in such room. */
struct vk_slice vk_upload(struct vk_context *c, const void *data, uint64_t bytes);
void vk_dispatch(struct vk_context *c, const struct vk_call *call);
/* The same, of which the bindings are more than it touches: bytes it reads and writes, for the count. */
void vk_dispatch_some(struct vk_context *c, const struct vk_call *call, double bytes);
void vk_copy(struct vk_context *c, VkBuffer from, VkBuffer to, const VkBufferCopy *regions, uint32_t n);
void vk_fill_zero(struct vk_context *c, struct vk_slice s);
/* Waits for everything, then fills `to` from the slice. false, with `to` untouched, after a failure. */
bool vk_download(struct vk_context *c, struct vk_slice s, void *to);
/* The same of at most VK_DOWNLOAD_BYTES, which lie there until the next download; NULL after a failure. */
enum { VK_DOWNLOAD_BYTES = 1 << 20 };
const void *vk_download_here(struct vk_context *c, struct vk_slice s);
/* Submits what is recorded and waits for everything. */
void vk_finish(struct vk_context *c);
/* Submits what is recorded if nothing was since the last wait; later on it goes in larger pieces. Waits for everything
   when that is as much as one submission may be. */
void vk_begin(struct vk_context *c);

#endif
