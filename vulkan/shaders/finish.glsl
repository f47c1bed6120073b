// What a product does with a value v of its result, where y is there already: sets it, adds to it, or multiplies silu(y) by it (SwiGLU).
const uint SET = 0u, ADD = 1u, GATE = 2u; // enum how of vk_products.c

float finished(float v, float y)
{
    if (p.how == ADD) return y + v;
    // exp overflows below -88, where silu is zero to fp32's last digit
    return (y < -88.0 ? 0.0 : y / (1.0 + exp(-y))) * v;
}
