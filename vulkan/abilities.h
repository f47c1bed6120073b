/* abilities.h: what devices may have beyond the baseline, which variants of the shaders use (pipelines.def). */
#ifndef FKV_VULKAN_ABILITIES_H
#define FKV_VULKAN_ABILITIES_H

#include <stdbool.h>
#include <volk.h>

/* subgroup: subgroups that add.
   matrix: cooperative matrices of 16 x 16 halves with fp32 sums (VK_KHR_cooperative_matrix), subgroups that shuffle and whose size can be asked for,
   32 KiB of shared memory. Its variants round to halves what they multiply.
   matrix8: the same of 8 x 8, as lavapipe has them, so that the shaders can be tested without a GPU. */
#define VK_ABILITIES(ABILITY) ABILITY(subgroup) ABILITY(matrix8) ABILITY(matrix)
enum vk_ability {
#define ABILITY(name) VK_ABILITY_##name,
    VK_ABILITIES(ABILITY)
#undef ABILITY
    VK_N_ABILITIES
};

struct vk_abilities {
    bool can[VK_N_ABILITIES];       /* the device has it, the build has shaders for it, and FASTKV_VULKAN_OFF does not name it */
    uint32_t subgroup_size;
    /* What vkCreateDevice() is to be asked for. */
    const void *features;           /* a chain of structures that lie in here */
    const char *const *extensions;
    uint32_t n_extensions;
    VkPhysicalDeviceVulkan12Features v12;
    VkPhysicalDeviceSubgroupSizeControlFeaturesEXT size;
#ifdef VK_KHR_cooperative_matrix
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix;
#endif
};

static inline bool vk_uses_matrices(const struct vk_abilities *a) { return a->can[VK_ABILITY_matrix] || a->can[VK_ABILITY_matrix8]; }

/* The device's own API is 1.2 at least. *a must not move afterwards. */
void vk_find_abilities(VkPhysicalDevice physical, const VkPhysicalDeviceLimits *l, struct vk_abilities *a);
const char *vk_ability_name(enum vk_ability ability);
bool vk_has_extension(VkPhysicalDevice physical, const char *name);

#endif
