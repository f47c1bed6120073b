#define _GNU_SOURCE
#include "vulkan/pipelines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vulkan/pipeline_cache.h"

#include "shaders.inc" /* const uint32_t <name>_code[] of every shader */

struct shader {
    const char *name;
    const uint32_t *code;
    size_t bytes;
};

static const struct shader shaders[] = {
#define SHADER(name) {#name, name##_code, sizeof name##_code},
#include "vulkan/pipelines.def"
#undef SHADER
};

/* In their place, with subgroup arithmetic; code NULL: there is no such variant. */
static const struct shader subgroup_shaders[VK_N_SHADERS] = {
#define SHADER(name)
#define VARIANT(name, how) [VK_SHADER_##name] = {#name "_" #how, name##_##how##_code, sizeof name##_##how##_code},
#include "vulkan/pipelines.def"
#undef SHADER
};

struct pipeline {
    enum vk_shader shader;
    uint32_t constants[VK_MAX_CONSTANTS];
    VkPipeline pipeline;
};

struct vk_pipelines {
    VkDescriptorSetLayout set_layout;
    VkPipelineLayout layout;
    VkPipelineCache cache;
    VkShaderModule module[VK_N_SHADERS];
    struct pipeline *made;
    int n_made;
};

const char *vk_shader_name(enum vk_shader shader) { return shaders[shader].name; }
VkPipelineLayout vk_pipeline_layout(const struct vk_context *c) { return c->pipelines->layout; }
VkDescriptorSetLayout vk_set_layout(const struct vk_context *c) { return c->pipelines->set_layout; }

bool vk_pipelines_create(struct vk_context *c)
{
    struct vk_pipelines *p = c->pipelines = calloc(1, sizeof *p);
    if (!p) return vk_check(c, VK_ERROR_OUT_OF_HOST_MEMORY, "pipelines");
    VkDescriptorSetLayoutBinding bindings[VK_MAX_BINDINGS];
    for (uint32_t i = 0; i < VK_MAX_BINDINGS; i++)
        bindings[i] = (VkDescriptorSetLayoutBinding){.binding = i, .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, .descriptorCount = 1,
                                                     .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    const VkDescriptorSetLayoutCreateInfo set = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = VK_MAX_BINDINGS, .pBindings = bindings};
    const VkPushConstantRange push = {VK_SHADER_STAGE_COMPUTE_BIT, 0, VK_PUSH_BYTES};
    VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO, .setLayoutCount = 1, .pushConstantRangeCount = 1,
                                         .pPushConstantRanges = &push};
    if (!vk_check(c, c->vk.vkCreateDescriptorSetLayout(c->device, &set, NULL, &p->set_layout), "descriptor set layout")) return false;
    layout.pSetLayouts = &p->set_layout;
    if (!vk_check(c, c->vk.vkCreatePipelineLayout(c->device, &layout, NULL, &p->layout), "pipeline layout")) return false;
    p->cache = vk_pipeline_cache_load(c);
    return true;
}

void vk_pipelines_destroy(struct vk_context *c)
{
    struct vk_pipelines *p = c->pipelines;
    if (!p) return;
    if (p->n_made) vk_pipeline_cache_save(c, p->cache);
    for (int i = 0; i < p->n_made; i++) c->vk.vkDestroyPipeline(c->device, p->made[i].pipeline, NULL);
    for (int i = 0; i < VK_N_SHADERS; i++) c->vk.vkDestroyShaderModule(c->device, p->module[i], NULL);
    c->vk.vkDestroyPipelineCache(c->device, p->cache, NULL);
    c->vk.vkDestroyPipelineLayout(c->device, p->layout, NULL);
    c->vk.vkDestroyDescriptorSetLayout(c->device, p->set_layout, NULL);
    free(p->made);
    free(p);
    c->pipelines = NULL;
}

static bool make_module(struct vk_context *c, enum vk_shader shader)
{
    VkShaderModule *module = &c->pipelines->module[shader];
    const struct shader *s = c->subgroup && subgroup_shaders[shader].code ? &subgroup_shaders[shader] : &shaders[shader];
    const VkShaderModuleCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = s->bytes, .pCode = s->code};
    return *module || vk_check(c, c->vk.vkCreateShaderModule(c->device, &info, NULL, module), s->name);
}

static VkPipeline make(struct vk_context *c, enum vk_shader shader, const uint32_t constants[VK_MAX_CONSTANTS])
{
    struct vk_pipelines *p = c->pipelines;
    VkPipeline pipeline = VK_NULL_HANDLE;
    VkSpecializationMapEntry entries[VK_MAX_CONSTANTS];
    for (uint32_t i = 0; i < VK_MAX_CONSTANTS; i++) entries[i] = (VkSpecializationMapEntry){i, i * (uint32_t)sizeof *constants, sizeof *constants};
    const VkSpecializationInfo specialisation = {VK_MAX_CONSTANTS, entries, VK_MAX_CONSTANTS * sizeof *constants, constants};
    struct pipeline *more = realloc(p->made, (size_t)(p->n_made + 1) * sizeof *more);
    if (!more) {
        vk_check(c, VK_ERROR_OUT_OF_HOST_MEMORY, shaders[shader].name);
        return VK_NULL_HANDLE;
    }
    p->made = more;
    if (!make_module(c, shader)) return VK_NULL_HANDLE;
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO, .stage = VK_SHADER_STAGE_COMPUTE_BIT, .module = p->module[shader], .pName = "main",
                  .pSpecializationInfo = &specialisation},
        .layout = p->layout};
    if (!vk_check(c, c->vk.vkCreateComputePipelines(c->device, p->cache, 1, &info, NULL, &pipeline), shaders[shader].name)) return VK_NULL_HANDLE;
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
        if (p->made[i].shader == shader && memcmp(p->made[i].constants, constants, sizeof p->made[i].constants) == 0) return p->made[i].pipeline;
    return make(c, shader, constants);
}
