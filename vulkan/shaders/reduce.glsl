// float reduce(x, largest): the sum, or the maximum, over the group's LANES invocations, the same for all. With SUBGROUP by subgroups of any size,
// whose results meet in shared memory; else by a tree.
#ifdef SUBGROUP
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif
shared float tree[LANES];

float reduce(float x, bool largest)
{
    barrier();
#ifdef SUBGROUP
    x = largest ? subgroupMax(x) : subgroupAdd(x);
    if (subgroupElect()) tree[gl_SubgroupID] = x;
    barrier();
    float all = tree[0];
    for (uint i = 1u; i < gl_NumSubgroups; i++) all = largest ? max(all, tree[i]) : all + tree[i];
    return all;
#else
    tree[LANE] = x;
    barrier();
    for (uint s = LANES / 2u; s > 0u; s >>= 1) {
        if (LANE < s) tree[LANE] = largest ? max(tree[LANE], tree[LANE + s]) : tree[LANE] + tree[LANE + s];
        barrier();
    }
    return tree[0];
#endif
}
