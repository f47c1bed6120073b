#version 450
// All invocations take part in each row, some subgroups or for long rows more, so that x is read once for four.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#extension GL_KHR_shader_subgroup_arithmetic : require
layout(local_size_x_id = 1) in;
#include "matvec.glsl"

shared vec4 part[64]; // of each subgroup
shared float part_squares[64];

void main()
{
    const uint row0 = GROUP * 4u, pairs = p.k / 16u;
    vec4 sum = vec4(0.0);
    float squares = 0.0;
    for (uint i = LANE; i < pairs; i += gl_WorkGroupSize.x) {
        const uint k = pair_start(i);
        const Vector a = x_eight(k, squares), b = x_eight(k + apart(), squares);
        [[unroll]] for (uint r = 0u; r < 4u; r++) sum[r] += dot_pair(min(row0 + r, p.n - 1u) * p.stride, k, a, b);
    }
    sum = subgroupAdd(sum);
    squares = subgroupAdd(squares);
    if (subgroupElect()) {
        part[gl_SubgroupID] = sum;
        part_squares[gl_SubgroupID] = squares;
    }
    barrier();
    if (LANE >= 4u) return;
    float v = 0.0, all = 0.0;
    for (uint i = 0u; i < gl_NumSubgroups; i++) {
        v += part[i][LANE];
        all += part_squares[i];
    }
    finish(row0 + LANE, v * factor(all));
}
