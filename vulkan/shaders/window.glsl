// Sliding windows: POSITIONS is the binding of the entries' positions, which ascend.
layout(std430, set = 0, binding = POSITIONS) readonly buffer Positions { int positions[]; };

// The first of n entries, whose positions begin at word `start`, at a position of `least` or more; n when there is none.
uint first_at(uint start, uint n, int least)
{
    uint low = 0u;
    while (n > 0u) {
        const uint middle = n / 2u;
        const bool is_before = positions[start + low + middle] < least;
        low = is_before ? low + middle + 1u : low;
        n = is_before ? n - middle - 1u : middle;
    }
    return low;
}
