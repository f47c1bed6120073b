/* vk_backend.h: the Vulkan back end as the engine sees it; stub.c stands in where the build has none. */
#ifndef FKV_VULKAN_VK_BACKEND_H
#define FKV_VULKAN_VK_BACKEND_H

#include "backend/backend.h"

/* device: "vulkan" or "auto" (the best device), or "vulkan:N" (the N-th of fkv_vulkan_list()). No loader, no such
   device or one that lacks what the back end needs: FKV_ERROR_UNSUPPORTED, with the reason. max_cols: longest input row
   of any product. */
fkv_status fkv_vulkan_backend_create(struct fkv_backend **b, const char *device, bool exact, int max_cols,
                                     struct fkv_error *e);

#endif
