#include "cli/retention.h"

#include <string.h>

bool retention_name(int i, char name[RETENTION_NAME], struct fkv_kv_option *option)
{
    if (!fkv_kv_option_list(i, option)) return false;
    snprintf(name, RETENTION_NAME, "--%s%s%s", option->policy ? option->policy : "", option->policy ? "-" : "",
             option->name);
    return true;
}

bool retention_find(const char *name, size_t n, struct fkv_kv_option *option)
{
    char known[RETENTION_NAME];
    for (int i = 0; retention_name(i, known, option); i++)
        if (strlen(known) == n && memcmp(known, name, n) == 0) return true;
    return false;
}

const char *retention_text(const struct fkv_kv_option *option, double value, char text[RETENTION_NAME])
{
    const char *word = option->kind == FKV_OPTION_WORD ? option->words : NULL;
    if (!word) {
        snprintf(text, RETENTION_NAME, "%g", value);
        return text;
    }
    for (int i = 0; i < (int)value; i++) word += strcspn(word, "|") + 1;
    snprintf(text, RETENTION_NAME, "%.*s", (int)strcspn(word, "|"), word);
    return text;
}

/* Is `--<policy>-...` an option of this policy? */
static bool belongs(const char *option, const char *policy)
{
    const size_t n = strlen(policy);
    return strncmp(option + 2, policy, n) == 0 && option[2 + n] == '-';
}

static bool set(struct fkv_kv_params *kv, const struct option_pair *pair, char *err)
{
    char why[FKV_ERROR_BYTES], name[RETENTION_NAME];
    snprintf(name, sizeof name, "%.*s", (int)pair->name_bytes - 2, pair->name + 2);
    if (fkv_kv_set(kv, name, pair->value, why) == FKV_OK) return true;
    snprintf(err, FKV_ERROR_BYTES, "--%.500s", why);
    return false;
}

bool retention_take(struct settings *settings, const struct fkv_kv_option *option, const struct option_pair *pair,
                    char *err)
{
    struct option_pairs *given = &settings->given;
    struct fkv_kv_params kv = settings->session.kv;
    if (!option->policy && !set(&kv, pair, err)) return false;
    if (*pair->value && given->n < OPTION_LIST_MAX) {
        given->items[given->n++] = *pair;
        return true;
    }
    snprintf(err, FKV_ERROR_BYTES, "%.*s: expected %s", (int)pair->name_bytes, pair->name,
             *pair->value ? "fewer options of retention" : "a number, found nothing");
    return false;
}

bool retention_settle(struct settings *settings, char *err)
{
    char why[FKV_ERROR_BYTES];
    struct fkv_kv_params *kv = &settings->session.kv;
    struct fkv_kv_option option;
    const char *policy = kv->policy;
    if (settings->preset && fkv_kv_preset(kv, settings->preset, why) != FKV_OK) {
        snprintf(err, FKV_ERROR_BYTES, "--%.500s", why);
        return false;
    }
    if (settings->policy_given) kv->policy = policy;
    for (int i = 0; i < settings->given.n; i++) {
        const struct option_pair *pair = &settings->given.items[i];
        if (retention_find(pair->name, pair->name_bytes, &option) && !option.policy && !set(kv, pair, err))
            return false;
    }
    return true;
}

bool retention_check(const struct settings *settings, const char *const *policies, int n, char *err)
{
    for (int i = 0; i < settings->given.n; i++) {
        const struct option_pair *pair = &settings->given.items[i];
        struct fkv_kv_params kv = settings->session.kv;
        for (int p = 0; p < n; p++)
            if (p == 0 || belongs(pair->name, policies[p])) kv.policy = policies[p];
        if (!set(&kv, pair, err)) return false;
    }
    return true;
}

void retention_choose(const struct settings *settings, const char *policy, struct fkv_kv_params *kv)
{
    char ignored[FKV_ERROR_BYTES]; /* it was checked */
    kv->policy = policy;
    kv->own_given = 0;
    for (int i = 0; i < settings->given.n; i++)
        if (belongs(settings->given.items[i].name, policy)) set(kv, &settings->given.items[i], ignored);
}
