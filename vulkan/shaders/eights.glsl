// Halves of both sides, eight at a time.
layout(std430, set = 0, binding = 0) readonly buffer W { uvec4 w[]; };
layout(std430, set = 0, binding = 1) readonly buffer X { uvec4 x[]; };
const uint STEP = 64u, EIGHTS = STEP / 8u;
