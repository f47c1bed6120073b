/* What an entry serves, what it is worth, and what of prompts is remembered. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "server/prefix_entries.h"

static const char *salt_of(const struct fkv_prefix_prompt *p) { return p->salt ? p->salt : ""; }

static size_t common(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    size_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n]) n++;
    return n;
}

size_t prefix_usable(const struct prefix_key *key, bool has_logits, const struct fkv_prefix_prompt *prompt,
                     const char *policy, size_t *shared, enum fkv_prefix_miss *why)
{
    const size_t most = prompt->n > FKV_PREFIX_AGAIN ? prompt->n - FKV_PREFIX_AGAIN : 0;
    *shared = common(key->ids, key->n, prompt->ids, prompt->n);
    *why = FKV_PREFIX_DIFFERS;
    if (strcmp(key->salt, salt_of(prompt)) != 0) {
        *why = FKV_PREFIX_SALT;
        return 0;
    }
    if (key->turn_end == 0) return *shared < most ? *shared : most;
    if (!prompt->kv || *shared < key->turn_end) {
        *why = FKV_PREFIX_COMPRESSED;
        return 0;
    }
    if (strcmp(key->policy, policy) != 0) {
        *why = FKV_PREFIX_TAG;
        return 0;
    }
    if (*shared == prompt->n && key->n == prompt->n && has_logits) return prompt->n;
    const size_t use = *shared < most ? *shared : most;
    if (use >= key->turn_end) return use;
    /* behind the turn there is a single id, which has to be decoded; of none, the logits would be missing */
    return key->turn_end < prompt->n ? key->turn_end : 0;
}

void prefix_policy_text(struct fkv_prefix_cache *c, const struct fkv_kv_params *kv, char text[FKV_KV_TEXT_BYTES])
{
    struct fkv_session_params params = {.size = sizeof params};
    *text = '\0';
    if (!kv || (!c->reader && fkv_session_open(&c->reader, c->engine, &c->params, NULL) != FKV_OK)) return;
    if (fkv_session_set_policy(c->reader, kv) != FKV_OK) return;
    fkv_session_get_params(c->reader, &params); /* with what the model and the policy settle */
    fkv_kv_text(&params.kv, text, FKV_KV_TEXT_BYTES);
}

bool prefix_key_copy(struct prefix_key *key, const int32_t *ids, size_t n, const char *salt)
{
    *key = (struct prefix_key){.n = n, .boundary = n};
    if (salt && strlen(salt) >= sizeof key->salt) return false;
    if (salt) strcpy(key->salt, salt);
    key->ids = malloc((n + 1) * sizeof *ids);
    if (key->ids) memcpy(key->ids, ids, n * sizeof *ids);
    return key->ids;
}

double prefix_value(size_t n_tokens, unsigned hits, double age_s, uint64_t bytes)
{
    enum { HALF_LIFE_S = 6 * 3600 };
    return (double)n_tokens * (1 + hits * exp2(-age_s / HALF_LIFE_S)) / (bytes ? (double)bytes : 1);
}

/* ---- beginnings remembered ----------------------------------------------------------------------- */

bool prefix_ring_open(struct prefix_ring *ring, size_t size)
{
    *ring = (struct prefix_ring){calloc(size, sizeof *ring->hash), size, 0};
    return ring->hash;
}

void prefix_ring_add(struct prefix_ring *ring, uint64_t hash)
{
    for (size_t i = 0; i < ring->size; i++)
        if (ring->hash[i] == hash) return;
    ring->hash[ring->next++ % ring->size] = hash;
}

/* Walks over the places of a prompt that are remembered, with the hash of all before each. */
struct walk {
    const struct fkv_prefix_prompt *prompt;
    size_t at, boundary;
    uint64_t hash;
};

static struct walk begin(const struct fkv_prefix_prompt *prompt)
{
    return (struct walk){prompt, 0, 0, fkv_hash(FKV_HASH, salt_of(prompt), strlen(salt_of(prompt)))};
}

/* False past the last. */
static bool next(struct walk *w)
{
    const struct fkv_prefix_prompt *p = w->prompt;
    size_t to = (w->at / FKV_PREFIX_SIGHT_STEP + 1) * FKV_PREFIX_SIGHT_STEP;
    while (w->boundary < p->n_boundaries && p->boundaries[w->boundary] <= w->at) w->boundary++;
    if (w->boundary < p->n_boundaries && p->boundaries[w->boundary] < to) to = p->boundaries[w->boundary];
    if (to > p->n) return false;
    w->hash = fkv_hash(w->hash, p->ids + w->at, (to - w->at) * sizeof *p->ids);
    w->at = to;
    return true;
}

size_t prefix_ring_find(const struct prefix_ring *ring, const struct fkv_prefix_prompt *prompt, size_t least)
{
    size_t best = 0;
    for (struct walk w = begin(prompt); next(&w);)
        for (size_t i = 0; i < ring->size && w.at > least; i++)
            if (ring->hash[i] == w.hash) best = w.at;
    return best;
}

void prefix_ring_remember(struct prefix_ring *ring, const struct fkv_prefix_prompt *prompt, size_t first, size_t end)
{
    for (struct walk w = begin(prompt); next(&w) && w.at <= end;)
        if (w.at > first) prefix_ring_add(ring, w.hash);
}
