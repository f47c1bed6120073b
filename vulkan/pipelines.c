#define _GNU_SOURCE
#include "vulkan/pipelines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"
#include "vulkan/pipeline_cache.h"

#include "shaders.inc" /* const uint32_t <name>_code[] of every shader */

struct shader {
    const char *name;
    const uint32_t *code;
    size_t bytes;
};

static const struct shader shaders[] = {
#define SHADER(name, writes) {#name, name##_code, sizeof name##_code},
#include "vulkan/pipelines.def"
#undef SHADER
};

static const uint32_t written[] = {
#define SHADER(name, writes) writes,
#include "vulkan/pipelines.def"
#undef SHADER
};

static const struct variant {
    enum vk_shader of;
    uint32_t needs; /* bits by enum vk_ability */
    struct shader shader;
} variants[] = {
#define BIT(ability) (1u << VK_ABILITY_##ability)
#define NEEDS(ability) | BIT(ability)
#define BUILT_VARIANT(of, name, needs) {VK_SHADER_##of, 0u needs, {#name, name##_code, sizeof name##_code}},
    BUILT_VARIANTS};
#define MATRICES (BIT(matrix) | BIT(matrix8))
enum { N_VARIANTS = sizeof variants / sizeof *variants, N_CODES = VK_N_SHADERS + N_VARIANTS };

struct pipeline {
    enum vk_shader shader;
    uint32_t constants[VK_MAX_CONSTANTS];
    VkPipeline pipeline;
};

struct vk_pipelines {
    VkDescriptorSetLayout set_layout;
    VkPipelineLayout layout;
    VkPipelineCache cache;
    VkShaderModule module[N_CODES]; /* of the shaders, then of the variants */
    bool can_run[N_VARIANTS];       /* the device has what the variant needs */
    struct pipeline *made;
    int n_made;
};

const char *vk_shader_name(enum vk_shader shader) { return shaders[shader].name; }
uint32_t vk_shader_writes(enum vk_shader shader) { return written[shader]; }
VkPipelineLayout vk_pipeline_layout(const struct vk_context *c) { return c->pipelines->layout; }
VkDescriptorSetLayout vk_set_layout(const struct vk_context *c) { return c->pipelines->set_layout; }

static void find_variants(struct vk_pipelines *p, const struct vk_abilities *a)
{
    uint32_t can = 0;
    for (uint32_t i = 0; i < VK_N_ABILITIES; i++) can |= (uint32_t)a->can[i] << i;
    for (int i = 0; i < N_VARIANTS; i++) p->can_run[i] = (variants[i].needs & can) == variants[i].needs;
}

bool vk_pipelines_create(struct vk_context *c)
{
    struct vk_pipelines *p = c->pipelines = calloc(1, sizeof *p);
    if (!p) return vk_check(c, VK_ERROR_OUT_OF_HOST_MEMORY, "pipelines");
    find_variants(p, &c->abilities);
    VkDescriptorSetLayoutBinding bindings[VK_MAX_BINDINGS];
    for (uint32_t i = 0; i < VK_MAX_BINDINGS; i++)
        bindings[i] = (VkDescriptorSetLayoutBinding){.binding = i,
                                                     .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                                     .descriptorCount = 1,
                                                     .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    const VkDescriptorSetLayoutCreateInfo set = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                                 .bindingCount = VK_MAX_BINDINGS,
                                                 .pBindings = bindings};
    const VkPushConstantRange push = {VK_SHADER_STAGE_COMPUTE_BIT, 0, VK_PUSH_BYTES};
    VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                         .setLayoutCount = 1,
                                         .pushConstantRangeCount = 1,
                                         .pPushConstantRanges = &push};
    if (!vk_check(c, c->vk.vkCreateDescriptorSetLayout(c->device, &set, NULL, &p->set_layout), "descriptor set layout"))
        return false;
    layout.pSetLayouts = &p->set_layout;
    if (!vk_check(c, c->vk.vkCreatePipelineLayout(c->device, &layout, NULL, &p->layout), "pipeline layout"))
        return false;
    p->cache = vk_pipeline_cache_load(c);
    return true;
}

void vk_pipelines_destroy(struct vk_context *c)
{
    struct vk_pipelines *p = c->pipelines;
    if (!p) return;
    if (p->n_made) vk_pipeline_cache_save(c, p->cache);
    for (int i = 0; i < p->n_made; i++) c->vk.vkDestroyPipeline(c->device, p->made[i].pipeline, NULL);
    for (int i = 0; i < N_CODES; i++) c->vk.vkDestroyShaderModule(c->device, p->module[i], NULL);
    c->vk.vkDestroyPipelineCache(c->device, p->cache, NULL);
    c->vk.vkDestroyPipelineLayout(c->device, p->layout, NULL);
    c->vk.vkDestroyDescriptorSetLayout(c->device, p->set_layout, NULL);
    free(p->made);
    free(p);
    c->pipelines = NULL;
}

bool vk_has_variant(enum vk_ability ability)
{
    for (int i = 0; i < N_VARIANTS; i++)
        if (variants[i].needs & 1u << ability) return true;
    return false;
}

/* Does the variant serve these constants? */
static bool fits(const struct variant *v, const uint32_t *constants)
{
    /* Matrices of queries and sums lie in registers, which heads of more than 128 channels would not fit. */
    if (v->needs & MATRICES) return v->of != VK_SHADER_attend || constants[2] <= 4;
    if (!(v->needs & BIT(dot))) return true;
    switch (constants[0]) {
    case FKV_TYPE_Q8_0:
    case FKV_TYPE_Q4_0:
    case FKV_TYPE_Q4_1:
    case FKV_TYPE_Q5_0:
    case FKV_TYPE_Q4_K:
    case FKV_TYPE_Q6_K: return true;
    default: return false;
    }
}

/* The number of the code: a shader, or VK_N_SHADERS and a variant. */
static int choose_code(const struct vk_context *c, enum vk_shader shader, const uint32_t *constants)
{
    for (int i = N_VARIANTS - 1; i >= 0; i--)
        if (variants[i].of == shader && c->pipelines->can_run[i] && fits(&variants[i], constants))
            return VK_N_SHADERS + i;
    return (int)shader;
}

static uint32_t abilities_of(const struct vk_context *c, enum vk_shader shader, const uint32_t *constants)
{
    const int code = choose_code(c, shader, constants);
    return code < VK_N_SHADERS ? 0 : variants[code - VK_N_SHADERS].needs;
}

uint32_t vk_matrix_side(const struct vk_context *c, enum vk_shader shader, const uint32_t constants[VK_MAX_CONSTANTS])
{
    const uint32_t used = abilities_of(c, shader, constants);
    return used & BIT(matrix) ? 16 : used & BIT(matrix8) ? 8 : 0;
}

bool vk_multiplies_halves(const struct vk_context *c, const uint32_t constants[VK_MAX_CONSTANTS])
{
    return (abilities_of(c, VK_SHADER_product, constants) & (MATRICES | BIT(half))) != 0;
}

double vk_rounding(const struct vk_context *c, enum vk_shader shader, const uint32_t constants[VK_MAX_CONSTANTS])
{
    const uint32_t used = abilities_of(c, shader, constants);
    if (used & BIT(dot)) return 1e-2;
    return used & MATRICES || (used & BIT(half) && shader == VK_SHADER_product) ? 1e-3 : 0;
}

static bool make_module(struct vk_context *c, int code)
{
    VkShaderModule *module = &c->pipelines->module[code];
    const struct shader *s = code < VK_N_SHADERS ? &shaders[code] : &variants[code - VK_N_SHADERS].shader;
    const VkShaderModuleCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                           .codeSize = s->bytes,
                                           .pCode = s->code};
    return *module || vk_check(c, c->vk.vkCreateShaderModule(c->device, &info, NULL, module), s->name);
}

static VkPipeline make(struct vk_context *c, enum vk_shader shader, const uint32_t constants[VK_MAX_CONSTANTS])
{
    struct vk_pipelines *p = c->pipelines;
    VkPipeline pipeline = VK_NULL_HANDLE;
    const uint32_t subgroup = c->abilities.subgroup_size;
    uint32_t values[VK_MAX_CONSTANTS + 3] = {[VK_MAX_CONSTANTS] = subgroup, 8 * subgroup, 4 * subgroup};
    VkSpecializationMapEntry entries[VK_MAX_CONSTANTS + 3];
    memcpy(values, constants, VK_MAX_CONSTANTS * sizeof *constants);
    for (uint32_t i = 0; i < VK_MAX_CONSTANTS + 3; i++)
        entries[i] = (VkSpecializationMapEntry){i, i * (uint32_t)sizeof *values, sizeof *values};
    const VkSpecializationInfo specialisation = {VK_MAX_CONSTANTS + 3, entries, sizeof values, values};
    const int code = choose_code(c, shader, constants);
    const bool sized = vk_matrix_side(c, shader, constants) > 0;
    const VkPipelineShaderStageRequiredSubgroupSizeCreateInfoEXT size =
        {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO_EXT,
         .requiredSubgroupSize = subgroup};
    struct pipeline *more = realloc(p->made, (size_t)(p->n_made + 1) * sizeof *more);
    if (!more) {
        vk_check(c, VK_ERROR_OUT_OF_HOST_MEMORY, shaders[shader].name);
        return VK_NULL_HANDLE;
    }
    p->made = more;
    if (!make_module(c, code)) return VK_NULL_HANDLE;
    const VkComputePipelineCreateInfo info =
        {.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
         .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                   .pNext = sized ? &size : NULL,
                   .flags = sized ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT_EXT : 0,
                   .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                   .module = p->module[code],
                   .pName = "main",
                   .pSpecializationInfo = &specialisation},
         .layout = p->layout};
    if (!vk_check(c, c->vk.vkCreateComputePipelines(c->device, p->cache, 1, &info, NULL, &pipeline),
                  shaders[shader].name))
        return VK_NULL_HANDLE;
    struct pipeline *added = &p->made[p->n_made++];
    added->shader = shader;
    added->pipeline = pipeline;
    memcpy(added->constants, constants, sizeof added->constants);
    return pipeline;
}

VkPipeline vk_pipeline(struct vk_context *c, enum vk_shader shader, const uint32_t constants[VK_MAX_CONSTANTS])
{
    const struct vk_pipelines *p = c->pipelines;
    for (int i = 0; i < p->n_made; i++)
        if (p->made[i].shader == shader && memcmp(p->made[i].constants, constants, sizeof p->made[i].constants) == 0)
            return p->made[i].pipeline;
    return make(c, shader, constants);
}
