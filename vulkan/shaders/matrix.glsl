// What variants by cooperative matrices share: groups of SUBGROUPS subgroups, which multiply SIDE by SIDE halves and add floats.
//
// Cooperative matrices have names, not indices: drivers keep arrays of them in memory, of which a third of the speed is left.
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "halves.glsl"
layout(constant_id = 3) const uint SUBGROUP = 32u; // invocations of one
const uint INVOCATIONS = SUBGROUPS * SUBGROUP;
const uint SIDE_FOURS = SIDE / 4u, CELLS = SIDE * SIDE;
#define Left coopmat<float16_t, gl_ScopeSubgroup, SIDE, SIDE, gl_MatrixUseA>
#define Right coopmat<float16_t, gl_ScopeSubgroup, SIDE, SIDE, gl_MatrixUseB>
#define Sums coopmat<float, gl_ScopeSubgroup, SIDE, SIDE, gl_MatrixUseAccumulator>
