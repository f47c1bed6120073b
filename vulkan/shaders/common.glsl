// What every shader shares. Baseline: 32-bit types, 256 invocations, 16 KiB of shared memory, no subgroup operations.
//
// Groups are numbered in one dimension; a long dispatch is cut into several, of which each starts at first_group. A binding may begin before its
// data, as devices align offsets: at[i] is where the data of binding i begins, in words.
#define PUSH(fields) layout(push_constant, std430) uniform Push { uint first_group; uint at[7]; fields } p;
#define GROUP (p.first_group + gl_WorkGroupID.x)
#define LANE gl_LocalInvocationIndex
// i = 0 .. n - 1, eight at a time: long enough for a GPU, short enough for drivers that would unroll it all and compile for seconds.
#define BY_EIGHTS(i, n) [[dont_unroll]] for (uint i##_ = 0u; i##_ < n; i##_ += 8u) [[unroll]] for (uint i = i##_; i < i##_ + 8u; i++)
#define INVOCATION (GROUP * gl_WorkGroupSize.x + LANE)

const float LOWEST = -3.402823466e38; // stands for -infinity, which shaders may not rely on

// IEEE half to float: exact, subnormals too, whatever the device does with denormalised floats. With HALF the device has halves.
#ifdef HALF
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
float float_of_half(uint h) { return float(unpackFloat2x16(h).x); }
#else
float float_of_half(uint h)
{
    const uint bits = (h & 0x7fffu) << 13, e = bits & 0x0f800000u;
    float magnitude = uintBitsToFloat(bits + (e == 0x0f800000u ? 224u << 23 : 112u << 23));
    if (e == 0u) magnitude = uintBitsToFloat(bits + (113u << 23)) - 6.103515625e-5; // 2^-14
    return (h & 0x8000u) != 0u ? -magnitude : magnitude;
}
#endif

// Rounds to nearest even, the same on every device (packHalf2x16 may truncate); to infinity above 65504.
uint half_of_float(float f)
{
    const uint u = floatBitsToUint(f), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) return sign | 0x7e00u;
    if (a >= 0x477ff000u) return sign | 0x7c00u;
    if (a < 0x38800000u) return sign | floatBitsToUint(uintBitsToFloat(a) + 0.5) - 0x3f000000u;
    return sign | a + 0xc8000fffu + (a >> 13 & 1u) >> 13;
}

uint bf16_of_float(float f)
{
    const uint u = floatBitsToUint(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return u >> 16 | 0x40u;
    return u + 0x7fffu + (u >> 16 & 1u) >> 16;
}
