/* abilities.h: what devices may have beyond the baseline, which variants of the shaders use (pipelines.def). */
#ifndef FKV_VULKAN_ABILITIES_H
#define FKV_VULKAN_ABILITIES_H

#include <stdbool.h>
#include <volk.h>

/* subgroup: subgroups that add.
   half: arithmetic on and storage of halves. Its product rounds to them what it multiplies; its attention only reads
   caches of them. dot: integer dot products of four bytes a word (VK_KHR_shader_integer_dot_product). Its product
   rounds activations to bytes. matrix: cooperative matrices of 16 x 16 halves with fp32 sums
   (VK_KHR_cooperative_matrix), subgroups that shuffle and vote and whose size can be asked for, 48 KiB of shared
   memory. Its variants round to halves what they multiply. matrix8: the same of 8 x 8 and with 32 KiB, as lavapipe has
   them, so that the shaders can be tested without a GPU. */
#define VK_ABILITIES(ABILITY) ABILITY(subgroup) ABILITY(half) ABILITY(dot) ABILITY(matrix8) ABILITY(matrix)
enum vk_ability {
#define ABILITY(name) VK_ABILITY_##name,
    VK_ABILITIES(ABILITY)
#undef ABILITY
        VK_N_ABILITIES
};
enum { VK_MOST_EXTENSIONS = 4 };

struct vk_abilities {
    bool can
        [VK_N_ABILITIES]; /* the device has it, the build has shaders for it, and FASTKV_VULKAN_OFF does not name it */
    uint32_t subgroup_size;
    /* What vkCreateDevice() is to be asked for. */
    void *features; /* a chain of structures that lie in here */
    const char *extensions[VK_MOST_EXTENSIONS];
    uint32_t n_extensions;
    VkPhysicalDeviceVulkan11Features v11;
    VkPhysicalDeviceVulkan12Features v12;
    VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR dot;
    VkPhysicalDeviceSubgroupSizeControlFeaturesEXT size;
#ifdef VK_KHR_cooperative_matrix
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix;
#endif
};

/* The device's own API is 1.2 at least. *a must not move afterwards. */
void vk_find_abilities(VkPhysicalDevice physical, const VkPhysicalDeviceLimits *l, struct vk_abilities *a);
/* From now on no variant that rounds what it multiplies is used. */
void vk_forbid_rounding(struct vk_abilities *a);
const char *vk_ability_name(enum vk_ability ability);
bool vk_has_extension(VkPhysicalDevice physical, const char *name);

#endif
