#include "vulkan/vk_backend.h"

#include "vulkan/context.h"

fkv_status fkv_vulkan_backend_create(struct fkv_backend **b, const char *device, bool exact, int max_cols, struct fkv_error *e)
{
    struct vk_context c = {0};
    (void)b, (void)exact, (void)max_cols;
    const fkv_status status = vk_context_open(&c, device, e);
    if (status != FKV_OK) return status;
    fkv_fail(e, FKV_ERROR_UNSUPPORTED, "device %s (%s): this version only lists Vulkan devices", device, c.properties.deviceName);
    vk_context_close(&c);
    return FKV_ERROR_UNSUPPORTED;
}
