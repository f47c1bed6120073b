// What a product does with a value v of its result, where y is there already: sets it, adds to it, or multiplies silu(y) by it (SwiGLU)
// or gelu(y) (GeGLU).
const uint SET = 0u, ADD = 1u, GATE = 2u, GATE_GELU = 3u; // enum how of vk_products.c

float finished(float v, float y)
{
    if (p.how == ADD) return y + v;
    // gelu: (1 + tanh t) / 2 is 1 / (1 + exp(-2 t)), t = sqrt(2 / pi) (y + 0.044715 y^3)
    const float x = p.how == GATE_GELU ? 1.5957691216 * (y + 0.044715 * y * y * y) : y;
    // exp overflows below -88, where both are zero to fp32's last digit
    return (x < -88.0 ? 0.0 : y / (1.0 + exp(-x))) * v;
}
