// Floats rounded to halves, never infinite.
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
f16vec4 halves(vec4 v) { return f16vec4(clamp(v, -65504.0, 65504.0)); }
