/* pipeline_cache.h: compiled pipelines kept from run to run: a file in the user's cache folder for each device and
   driver. Without a folder, or with a file that is damaged, pipelines are compiled again. FASTKV_VULKAN_CACHE=off keeps
   nothing. */
#ifndef FKV_VULKAN_PIPELINE_CACHE_H
#define FKV_VULKAN_PIPELINE_CACHE_H

#include "vulkan/context.h"

/* Never fails: a cache without contents, or none at all, when there is nothing to load. */
VkPipelineCache vk_pipeline_cache_load(struct vk_context *c);
void vk_pipeline_cache_save(struct vk_context *c, VkPipelineCache cache);

#endif
