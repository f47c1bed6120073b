#include "tokenizer/table.h"

#include <stdlib.h>
#include <string.h>

bool fkv_table_reset(struct fkv_table *table, size_t n, uint64_t seed)
{
    fkv_table_free(table);
    if (n > SIZE_MAX / 4 / sizeof *table->slots) return false;
    size_t n_slots = FKV_TABLE_PROBES;
    while (n_slots < 2 * n) n_slots *= 2;
    table->slots = malloc(n_slots * sizeof *table->slots);
    if (!table->slots) return false;
    memset(table->slots, 0xff, n_slots * sizeof *table->slots); /* every value FKV_TABLE_NONE */
    table->mask = n_slots - 1;
    table->seed = fkv_mix(seed + 1);
    return true;
}

void fkv_table_free(struct fkv_table *table)
{
    free(table->slots);
    table->slots = NULL;
}

/* The slot that holds the key, or the free slot where it belongs; NULL when the probes hold other keys only. */
static struct fkv_table_slot *place_of(const struct fkv_table *table, uint64_t key)
{
    const uint64_t start = fkv_mix(key ^ table->seed);
    for (uint64_t i = 0; i < FKV_TABLE_PROBES; i++) {
        struct fkv_table_slot *slot = &table->slots[(start + i) & table->mask];
        if (slot->value == FKV_TABLE_NONE || slot->key == key) return slot;
    }
    return NULL;
}

uint64_t *fkv_table_put(struct fkv_table *table, uint64_t key, uint64_t value)
{
    struct fkv_table_slot *slot = place_of(table, key);
    if (!slot) return NULL;
    if (slot->value == FKV_TABLE_NONE) *slot = (struct fkv_table_slot){key, value};
    return &slot->value;
}

uint64_t fkv_table_get(const struct fkv_table *table, uint64_t key)
{
    const struct fkv_table_slot *slot = place_of(table, key);
    return slot ? slot->value : FKV_TABLE_NONE;
}
