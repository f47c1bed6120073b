#version 450
// y = silu(y) * up, [n][ld] each.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 64) in;
PUSH(uint n; uint cols; uint ld; uint ld_up;)
layout(std430, set = 0, binding = 0) buffer Y { float y[]; };
layout(std430, set = 0, binding = 1) readonly buffer Up { float up[]; };

void main()
{
    const uint row = INVOCATION / p.cols, c = INVOCATION % p.cols;
    if (row >= p.n) return;
    const uint i = p.at[0] + row * p.ld + c;
    const float gate = y[i];
    // exp overflows below -88, where silu is zero to fp32's last digit
    y[i] = (gate < -88.0 ? 0.0 : gate / (1.0 + exp(-gate))) * up[p.at[1] + row * p.ld_up + c];
}
