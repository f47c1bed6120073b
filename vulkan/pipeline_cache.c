#define _GNU_SOURCE
#include "vulkan/pipeline_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_BYTES = 256 << 20, HEADER_BYTES = 32 };

/* The file's name; false when there is no folder for it. The UUID names the driver's version too. */
static bool path_of(const struct vk_context *c, char path[512])
{
    const char *off = getenv("FASTKV_VULKAN_CACHE"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (off && strcmp(off, "off") == 0) return false;
    char folder[400];
    int n;
    if (cache && *cache)
        n = snprintf(folder, sizeof folder, "%s/fastkv", cache);
    else if (home && *home)
        n = snprintf(folder, sizeof folder, "%s/.cache/fastkv", home);
    else
        return false;
    if (n < 0 || n >= (int)sizeof folder) return false;
    mkdir(folder, 0777); /* its parent is the user's to make */
    const VkPhysicalDeviceProperties *p = &c->properties;
    n = snprintf(path, 512, "%s/vulkan-%04x-%04x-", folder, p->vendorID, p->deviceID);
    for (size_t i = 0; i < VK_UUID_SIZE; i++)
        n += snprintf(path + n, (size_t)(512 - n), "%02x", p->pipelineCacheUUID[i]);
    snprintf(path + n, (size_t)(512 - n), ".bin");
    return true;
}

/* The driver checks the header itself; damage behind it is its affair, but a wrong header must not reach a driver that
   does not look. */
static bool is_ours(const struct vk_context *c, const uint8_t *data, size_t bytes)
{
    uint32_t head[4];
    if (bytes < HEADER_BYTES) return false;
    memcpy(head, data, sizeof head);
    return head[0] == HEADER_BYTES && head[1] == VK_PIPELINE_CACHE_HEADER_VERSION_ONE &&
           head[2] == c->properties.vendorID && head[3] == c->properties.deviceID &&
           memcmp(data + sizeof head, c->properties.pipelineCacheUUID, VK_UUID_SIZE) == 0;
}

static uint8_t *read_file(const struct vk_context *c, size_t *bytes)
{
    char path[512];
    struct stat s;
    FILE *f = path_of(c, path) ? fopen(path, "rbe") : NULL;
    if (!f) return NULL;
    uint8_t *data = fstat(fileno(f), &s) == 0 && s.st_size > 0 && s.st_size <= MOST_BYTES ? malloc((size_t)s.st_size)
                                                                                          : NULL;
    *bytes = data ? fread(data, 1, (size_t)s.st_size, f) : 0;
    fclose(f);
    if (data && is_ours(c, data, *bytes)) return data;
    free(data);
    return NULL;
}

VkPipelineCache vk_pipeline_cache_load(struct vk_context *c)
{
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    VkPipelineCache cache = VK_NULL_HANDLE;
    uint8_t *data = read_file(c, &info.initialDataSize);
    info.pInitialData = data;
    if (!data) info.initialDataSize = 0;
    if (c->vk.vkCreatePipelineCache(c->device, &info, NULL, &cache) != VK_SUCCESS) cache = VK_NULL_HANDLE;
    free(data);
    return cache;
}

/* Written beside and renamed, so that another run never reads half a file. */
void vk_pipeline_cache_save(struct vk_context *c, VkPipelineCache cache)
{
    char path[512], part[544];
    size_t bytes = 0;
    if (!cache || !vk_ok(c) || !path_of(c, path) ||
        c->vk.vkGetPipelineCacheData(c->device, cache, &bytes, NULL) != VK_SUCCESS || bytes == 0)
        return;
    uint8_t *data = malloc(bytes);
    snprintf(part, sizeof part, "%s.%ld", path, (long)getpid());
    FILE *f = data && c->vk.vkGetPipelineCacheData(c->device, cache, &bytes, data) == VK_SUCCESS ? fopen(part, "wbe")
                                                                                                 : NULL;
    if (f) {
        const bool written = fwrite(data, 1, bytes, f) == bytes;
        if (fclose(f) != 0 || !written || rename(part, path) != 0) unlink(part);
    }
    free(data);
}
