/* pipelines.h: compute pipelines by shader and specialisation constants, and what all of them share: one layout of
   bindings. */
#ifndef FKV_VULKAN_PIPELINES_H
#define FKV_VULKAN_PIPELINES_H

#include "vulkan/context.h"

enum vk_shader {
#define SHADER(name, writes) VK_SHADER_##name,
#include "vulkan/pipelines.def"
#undef SHADER
    VK_N_SHADERS
};

_Static_assert((int)VK_N_SHADERS <= (int)VK_MAX_COUNTS, "a count for each shader");
enum {
    VK_MAX_CONSTANTS = 3
}; /* of a shader's own; then come a subgroup's invocations, those of eight subgroups and of four */

/* Which variants run is settled here, by c->abilities. */
bool vk_pipelines_create(struct vk_context *c);
void vk_pipelines_destroy(struct vk_context *c);

/* Made at the first call; constants[i] is the specialisation constant of id i. VK_NULL_HANDLE after a failure, which is
   noted. */
VkPipeline vk_pipeline(struct vk_context *c, enum vk_shader shader, const uint32_t constants[VK_MAX_CONSTANTS]);
VkPipelineLayout vk_pipeline_layout(const struct vk_context *c);
VkDescriptorSetLayout vk_set_layout(const struct vk_context *c);
const char *vk_shader_name(enum vk_shader shader);
/* The bindings it writes, a bit each; it only reads the others. */
uint32_t vk_shader_writes(enum vk_shader shader);
/* The side of the cooperative matrices by which that will multiply: 16, 8, or 0 where it does not. Groups of such
   variants make other tiles. */
uint32_t vk_matrix_side(const struct vk_context *c, enum vk_shader shader, const uint32_t constants[VK_MAX_CONSTANTS]);
/* Does the variant of `product` for these constants take halves? */
bool vk_multiplies_halves(const struct vk_context *c, const uint32_t constants[VK_MAX_CONSTANTS]);
/* How far from exact its results may be, as a share of the largest, by what the variant that will be used rounds: 0
   where that is nothing. */
double vk_rounding(const struct vk_context *c, enum vk_shader shader, const uint32_t constants[VK_MAX_CONSTANTS]);
/* Has this build a variant that uses the ability? */
bool vk_has_variant(enum vk_ability ability);

#endif
