#version 450
// x[i] = scale times row ids[i] of the table, for the ids in this part of it: rows row0 .. row0 + rows - 1.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 64) in;
PUSH(uint n; uint cols; uint stride; uint row0; uint rows; float scale;)
#include "weights.glsl"
layout(std430, set = 0, binding = 1) readonly buffer Ids { uint ids[]; };
layout(std430, set = 0, binding = 2) writeonly buffer X { float x[]; };

void main()
{
    const uint per_row = p.cols / 8u, i = INVOCATION / per_row, k = INVOCATION % per_row * 8u;
    if (i >= p.n) return;
    const uint row = ids[p.at[1] + i] - p.row0; // wraps when it lies before this part
    if (row >= p.rows) return;
    const Eight v = weights(row * p.stride, k);
    const uint to = p.at[2] + i * p.cols + k;
    for (uint j = 0u; j < 4u; j++) {
        x[to + j] = p.scale * v.lo[j];
        x[to + 4u + j] = p.scale * v.hi[j];
    }
}
