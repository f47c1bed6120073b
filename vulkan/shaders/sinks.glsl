// Sink logits: SINKS is the binding of one for each query head, which takes part in the softmax and carries no value.
layout(std430, set = 0, binding = SINKS) readonly buffer Sinks { float sinks[]; };

// What a row's sum of weights becomes with the sink of head h. The weights are relative to the logit `top`, in units of log 2. A sink of -infinity counts
// as none; before one far above all the weights vanish, without anything becoming infinite.
float with_sink(float sum, float top, uint h)
{
    if (p.has_sinks == 0u) return sum;
    const float sink = sinks[p.at[SINKS] + h];
    return sink > LOWEST ? sum + exp2(min(sink * 1.44269504 - top, 120.0)) : sum;
}
