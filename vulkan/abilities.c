#include "vulkan/abilities.h"

#include <stdlib.h>
#include <string.h>

#include "vulkan/pipelines.h"

bool vk_has_extension(VkPhysicalDevice physical, const char *name)
{
    uint32_t n = 0;
    bool found = false;
    if (vkEnumerateDeviceExtensionProperties(physical, NULL, &n, NULL) != VK_SUCCESS) return false;
    VkExtensionProperties *all = calloc(n + 1, sizeof *all);
    if (all && vkEnumerateDeviceExtensionProperties(physical, NULL, &n, all) >= 0)
        for (uint32_t i = 0; i < n; i++) found = found || strcmp(all[i].extensionName, name) == 0;
    free(all);
    return found;
}

static VkPhysicalDeviceSubgroupProperties subgroups(VkPhysicalDevice physical)
{
    VkPhysicalDeviceSubgroupProperties s = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
    VkPhysicalDeviceProperties2 both = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &s};
    vkGetPhysicalDeviceProperties2(physical, &both);
    return s;
}

static bool can_all(const VkPhysicalDeviceSubgroupProperties *s, VkSubgroupFeatureFlags wanted)
{
    return (s->supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) && (s->supportedOperations & wanted) == wanted;
}

/* Adds a structure of features to those that the device will be asked for. */
static void ask(struct vk_abilities *a, void *features)
{
    ((VkBaseOutStructure *)features)->pNext = a->features;
    a->features = features;
}

/* ---- halves and integer dot products --------------------------------------------------------- */

static bool has_halves(VkPhysicalDevice physical)
{
    VkPhysicalDeviceVulkan12Features v12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
    VkPhysicalDeviceVulkan11Features v11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
                                            .pNext = &v12};
    VkPhysicalDeviceFeatures2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &v11};
    vkGetPhysicalDeviceFeatures2(physical, &all);
    return v12.shaderFloat16 && v11.storageBuffer16BitAccess;
}

static void ask_for_halves(struct vk_abilities *a)
{
    a->v12.shaderFloat16 = a->v11.storageBuffer16BitAccess = VK_TRUE;
    ask(a, &a->v11);
}

/* Where they are not fast, floats are faster; but on CPUs shaders only run to be tested. */
static bool has_dots(VkPhysicalDevice physical)
{
    VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR dot = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES_KHR};
    VkPhysicalDeviceFeatures2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &dot};
    VkPhysicalDeviceShaderIntegerDotProductPropertiesKHR fast = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES_KHR};
    VkPhysicalDeviceProperties2 both = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &fast};
    if (!vk_has_extension(physical, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME)) return false;
    vkGetPhysicalDeviceFeatures2(physical, &all);
    vkGetPhysicalDeviceProperties2(physical, &both);
    return dot.shaderIntegerDotProduct && (fast.integerDotProduct4x8BitPackedSignedAccelerated ||
                                           both.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU);
}

static void ask_for_dots(struct vk_abilities *a)
{
    a->extensions[a->n_extensions++] = VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME;
    a->dot.shaderIntegerDotProduct = VK_TRUE;
    ask(a, &a->dot);
}

/* ---- matrices -------------------------------------------------------------------------------- */

#ifdef VK_KHR_cooperative_matrix
enum { MATRIX_SHARED_BYTES = 48 << 10, MATRIX8_SHARED_BYTES = 32 << 10, MATRIX_SUBGROUPS = 8 };

static const char *const matrix_extensions[] = {VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME,
                                                VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME};
enum { N_MATRIX_EXTENSIONS = sizeof matrix_extensions / sizeof *matrix_extensions };

static bool has_extensions(VkPhysicalDevice physical)
{
    for (int i = 0; i < N_MATRIX_EXTENSIONS; i++)
        if (!vk_has_extension(physical, matrix_extensions[i])) return false;
    return true;
}

/* side x side halves times as many, added to floats, by a subgroup. */
static bool has_matrices(VkPhysicalDevice physical, uint32_t side)
{
    enum { MOST = 64 };
    VkCooperativeMatrixPropertiesKHR all[MOST];
    uint32_t n = MOST;
    for (uint32_t i = 0; i < n; i++)
        all[i] = (VkCooperativeMatrixPropertiesKHR){.sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR};
    if (vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(physical, &n, all) < 0) return false;
    for (uint32_t i = 0; i < n; i++) {
        const VkCooperativeMatrixPropertiesKHR *m = &all[i];
        if (m->MSize == side && m->NSize == side && m->KSize == side && m->scope == VK_SCOPE_SUBGROUP_KHR &&
            m->AType == VK_COMPONENT_TYPE_FLOAT16_KHR && m->BType == VK_COMPONENT_TYPE_FLOAT16_KHR &&
            m->CType == VK_COMPONENT_TYPE_FLOAT32_KHR && m->ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR)
            return true;
    }
    return false;
}

/* Groups are of eight whole subgroups at most, whose size the device would otherwise choose itself. */
static bool holds_groups(VkPhysicalDevice physical, const VkPhysicalDeviceLimits *l,
                         const VkPhysicalDeviceSubgroupProperties *s)
{
    VkPhysicalDeviceSubgroupSizeControlPropertiesEXT sizes = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES_EXT};
    VkPhysicalDeviceProperties2 both = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &sizes};
    const uint32_t invocations = MATRIX_SUBGROUPS * s->subgroupSize;
    vkGetPhysicalDeviceProperties2(physical, &both);
    return s->subgroupSize >= sizes.minSubgroupSize && s->subgroupSize <= sizes.maxSubgroupSize &&
           (sizes.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) &&
           invocations <= l->maxComputeWorkGroupInvocations && invocations <= l->maxComputeWorkGroupSize[0];
}

static bool runs_matrices(VkPhysicalDevice physical, const VkPhysicalDeviceLimits *l,
                          const VkPhysicalDeviceSubgroupProperties *s)
{
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR};
    VkPhysicalDeviceSubgroupSizeControlFeaturesEXT size =
        {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT, .pNext = &matrix};
    VkPhysicalDeviceVulkan12Features v12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                            .pNext = &size};
    VkPhysicalDeviceFeatures2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &v12};
    if (!has_extensions(physical) ||
        !can_all(s, VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_BIT | VK_SUBGROUP_FEATURE_VOTE_BIT) ||
        !holds_groups(physical, l, s))
        return false;
    vkGetPhysicalDeviceFeatures2(physical, &all);
    return v12.shaderFloat16 && v12.vulkanMemoryModel && size.subgroupSizeControl && size.computeFullSubgroups &&
           matrix.cooperativeMatrix;
}

/* A subgroup's invocations share the rows of a matrix of four-byte values evenly, four values each at least. */
static bool fits_matrices(const VkPhysicalDeviceLimits *l, const VkPhysicalDeviceSubgroupProperties *s, uint32_t side,
                          uint32_t shared_bytes)
{
    return l->maxComputeSharedMemorySize >= shared_bytes && s->subgroupSize >= side &&
           s->subgroupSize <= side * side / 4;
}

static void find_matrices(VkPhysicalDevice physical, const VkPhysicalDeviceLimits *l,
                          const VkPhysicalDeviceSubgroupProperties *s, bool *can)
{
    if (!runs_matrices(physical, l, s)) return;
    can[VK_ABILITY_matrix] = fits_matrices(l, s, 16, MATRIX_SHARED_BYTES) && has_matrices(physical, 16);
    can[VK_ABILITY_matrix8] = !can[VK_ABILITY_matrix] && fits_matrices(l, s, 8, MATRIX8_SHARED_BYTES) &&
                              has_matrices(physical, 8);
}

static void ask_for_matrices(struct vk_abilities *a)
{
    for (int i = 0; i < N_MATRIX_EXTENSIONS; i++) a->extensions[a->n_extensions++] = matrix_extensions[i];
    a->v12.shaderFloat16 = a->v12.vulkanMemoryModel = VK_TRUE;
    a->size = (VkPhysicalDeviceSubgroupSizeControlFeaturesEXT){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT,
        .subgroupSizeControl = VK_TRUE,
        .computeFullSubgroups = VK_TRUE};
    a->matrix = (VkPhysicalDeviceCooperativeMatrixFeaturesKHR){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR, .cooperativeMatrix = VK_TRUE};
    ask(a, &a->size);
    ask(a, &a->matrix);
}
#else /* headers older than the extension */
static void find_matrices(VkPhysicalDevice physical, const VkPhysicalDeviceLimits *l,
                          const VkPhysicalDeviceSubgroupProperties *s, bool *can)
{
    (void)physical, (void)l, (void)s, (void)can;
}

static void ask_for_matrices(struct vk_abilities *a) { (void)a; }
#endif

/* ---- all of them ----------------------------------------------------------------------------- */

static const char *const names[] = {
#define ABILITY(name) #name,
    VK_ABILITIES(ABILITY)
#undef ABILITY
};

const char *vk_ability_name(enum vk_ability ability) { return names[ability]; }

/* Is the name one of the words in the list, which commas or spaces part? */
static bool is_listed(const char *list, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = list; at && (at = strstr(at, name)); at += n)
        if ((at == list || strchr(", ", at[-1])) && (at[n] == 0 || strchr(", ", at[n]))) return true;
    return false;
}

void vk_forbid_rounding(struct vk_abilities *a)
{
    a->can[VK_ABILITY_half] = a->can[VK_ABILITY_dot] = a->can[VK_ABILITY_matrix8] = a->can[VK_ABILITY_matrix] = false;
}

void vk_find_abilities(VkPhysicalDevice physical, const VkPhysicalDeviceLimits *l, struct vk_abilities *a)
{
    const VkPhysicalDeviceSubgroupProperties s = subgroups(physical);
    const char *off = getenv("FASTKV_VULKAN_OFF");
    *a = (struct vk_abilities){.subgroup_size = s.subgroupSize,
                               .v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
                               .v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                               .dot.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES_KHR};
    ask(a, &a->v12);
    a->can[VK_ABILITY_subgroup] = can_all(&s, VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT);
    a->can[VK_ABILITY_half] = has_halves(physical);
    a->can[VK_ABILITY_dot] = has_dots(physical);
    find_matrices(physical, l, &s, a->can);
    for (int i = 0; i < VK_N_ABILITIES; i++)
        a->can[i] = a->can[i] && vk_has_variant((enum vk_ability)i) && !is_listed(off, names[i]);
    if (a->can[VK_ABILITY_half]) ask_for_halves(a);
    if (a->can[VK_ABILITY_dot]) ask_for_dots(a);
    if (a->can[VK_ABILITY_matrix] || a->can[VK_ABILITY_matrix8]) ask_for_matrices(a);
}
