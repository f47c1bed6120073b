// Floats rounded to halves, two in a word; never infinite.
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
uvec2 halves(vec4 v)
{
    const f16vec4 h = f16vec4(clamp(v, -65504.0, 65504.0));
    return uvec2(packFloat2x16(h.xy), packFloat2x16(h.zw));
}
