/* A build without the Vulkan back end. */
#include <stdio.h>

#include "vulkan/vk_backend.h"

static const char not_built[] = "this build has no Vulkan back end (it needs the Vulkan headers, volk and glslc)";

fkv_status fkv_vulkan_backend_create(struct fkv_backend **b, const char *device, bool exact, int max_cols,
                                     struct fkv_error *e)
{
    (void)b, (void)exact, (void)max_cols;
    return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "device %s: %s", device, not_built);
}

fkv_status fkv_vulkan_self_test(const char *device, void (*report)(void *user, const struct fkv_vulkan_check *check),
                                void *user, char *err)
{
    (void)device, (void)report, (void)user;
    if (err) snprintf(err, FKV_ERROR_BYTES, "%s", not_built);
    return FKV_ERROR_UNSUPPORTED;
}

int fkv_vulkan_list(struct fkv_vulkan_device *devices, int n, char *why)
{
    (void)devices, (void)n;
    if (why) snprintf(why, FKV_ERROR_BYTES, "%s", not_built);
    return 0;
}
