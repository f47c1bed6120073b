/* The options of retention: those that policies share, by the table below, and each policy's own. Checks, the public
   calls by name, the program's options and its reports all come from these rows. */
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "retain/policy.h"
#include "simd/simd.h"

enum { MOST = 1 << 30 };

struct shared_option {
    struct fkv_kv_option option;
    size_t at; /* in struct fkv_kv_params */
    bool flag; /* of two words, which a bool tells apart */
};

#define SHARE(name, member, initial, about)                                                                       \
    {                                                                                                             \
        {name, NULL, about, FKV_OPTION_SHARE, initial, 0, 1, NULL}, offsetof(struct fkv_kv_params, member), false \
    }
#define COUNT(name, member, initial, least, most, about)                                                           \
    {                                                                                                              \
        {name, NULL, about, FKV_OPTION_COUNT, initial, least, most, NULL}, offsetof(struct fkv_kv_params, member), \
            false                                                                                                  \
    }
#define FLAG(name, member, words, about)                                                                   \
    {                                                                                                      \
        {name, NULL, about, FKV_OPTION_WORD, 0, 0, 1, words}, offsetof(struct fkv_kv_params, member), true \
    }
#define WORD(name, member, last, words, about)                                                                 \
    {                                                                                                          \
        {name, NULL, about, FKV_OPTION_WORD, 0, 0, last, words}, offsetof(struct fkv_kv_params, member), false \
    }

static const struct shared_option shared[] = {
    SHARE("kv-retain", kv_retain, 0.1, "share of the prompt kept in each layer's KV cache"),
    COUNT("kv-floor", kv_floor, 1024, 0, MOST, "least entries kept per head"),
    COUNT("kv-budget", kv_budget, 0, 0, MOST, "entries kept per head in place of kv-retain; 0: by share"),
    COUNT("tsp-layer", tsp_layer, -1, -1, 1023,
          "layer after which only the most attended tokens go on (token-selective propagation, TSP); -1: half of the "
          "layers, less one; none where some layers attend to a window only"),
    SHARE("tsp-rate", tsp_rate, 0.2, "share of the prompt that goes on"),
    COUNT("tsp-floor", tsp_floor, 2048, 0, MOST, "least tokens that go on"),
    COUNT("tsp-budget", tsp_budget, 0, 0, MOST, "tokens that go on in place of tsp-rate; 0: by share"),
    COUNT("kv-window", window, 8, 1, FKV_MAX_WINDOW, "last tokens, always kept, whose attention scores the others"),
    FLAG("kv-rows", question, "last|question",
         "the window: the last kv-window tokens, or those of the question, up to 64"),
    COUNT("kv-sinks", sinks, 1, 0, 65536, "first tokens, always kept and propagated"),
    FLAG("kv-pool", pool_avg, "max|avg", "how scores of neighbours are pooled"),
    COUNT("kv-pool-kernel", pool_kernel, 7, 1, 255, "tokens pooled, an odd number"),
    WORD("kv-score", score, FKV_KV_SCORE_DROP, "sum|max|drop",
         "what a token's attention comes to over the window and the heads; drop: what its loss would change"),
    FLAG("kv-norm", value_norm, "off|on", "scores times the norm of the projected value"),
    FLAG("kv-heads", pooled, "equal|pooled", "what a layer keeps is the same for each head, or shared out by scores"),
    COUNT("kv-first", first_layers, 0, 0, 1023, "first layers that keep kv-first-share; the others keep less instead"),
    SHARE("kv-first-share", first_share, 0.25, "share of the prompt that these keep"),
    COUNT("kv-span", span, 0, 0, 255, "tokens to the right of a good one that are as good"),
    FLAG("kv-signals", no_signals, "on|off", "tell how well the prompt compresses; less than 1 % of its work"),
};
enum { N_SHARED = sizeof shared / sizeof *shared };

/* ---- listing ------------------------------------------------------------------------------------- */

/* A policy's own option: the number-th of it. No policy: there is none. */
struct own {
    const struct fkv_policy *policy;
    int number;
};

/* The i-th own option of all policies, in the order of their list. */
static struct own find_own(int i)
{
    const char *name, *about;
    for (int p = 0; fkv_policy_list(p, &name, &about); p++) {
        const struct fkv_policy *policy = fkv_policy_find(name);
        for (int number = 0; policy->options && policy->options[number].name; number++)
            if (i-- == 0) return (struct own){policy, number};
    }
    return (struct own){NULL, 0};
}

bool fkv_kv_option_list(int i, struct fkv_kv_option *option)
{
    if (i < 0) return false;
    if (i < N_SHARED) {
        *option = shared[i].option;
        return true;
    }
    const struct own own = find_own(i - N_SHARED);
    if (!own.policy) return false;
    const struct fkv_own_option *o = &own.policy->options[own.number];
    *option = (struct fkv_kv_option){.name = o->name,
                                     .policy = own.policy->name,
                                     .about = o->about,
                                     .kind = o->kind,
                                     .initial = o->initial,
                                     .least = o->least,
                                     .most = o->most};
    return true;
}

/* The number of the option that is called so: <name>, or <policy>-<name>; -1 when there is none. */
static int find_option(const char *name)
{
    struct fkv_kv_option o;
    for (int i = 0; fkv_kv_option_list(i, &o); i++) {
        const size_t n = o.policy ? strlen(o.policy) : 0;
        if (n && (strncmp(name, o.policy, n) != 0 || name[n] != '-')) continue;
        if (strcmp(name + (n ? n + 1 : 0), o.name) == 0) return i;
    }
    return -1;
}

/* ---- values ---------------------------------------------------------------------------------------- */

static double shared_value(const struct fkv_kv_params *p, const struct shared_option *o)
{
    const void *at = (const char *)p + o->at;
    switch (o->option.kind) {
    case FKV_OPTION_COUNT: return *(const int *)at;
    case FKV_OPTION_WORD: return o->flag ? *(const bool *)at : *(const int *)at;
    default: return *(const double *)at;
    }
}

static void set_shared(struct fkv_kv_params *p, const struct shared_option *o, double value)
{
    void *at = (char *)p + o->at;
    switch (o->option.kind) {
    case FKV_OPTION_COUNT: *(int *)at = (int)value; break;
    case FKV_OPTION_WORD:
        if (o->flag)
            *(bool *)at = value != 0;
        else
            *(int *)at = (int)value;
        break;
    default: *(double *)at = value; break;
    }
}

double fkv_own_option(const struct fkv_policy *policy, const struct fkv_kv_params *p, int i)
{
    const bool given = p->own_of && strcmp(p->own_of, policy->name) == 0 && p->own_given >> i & 1;
    return given ? p->own[i] : policy->options[i].initial;
}

/* The value of an option of the list. */
static double value_of(const struct fkv_kv_params *p, int i)
{
    if (i < N_SHARED) return shared_value(p, &shared[i]);
    const struct own own = find_own(i - N_SHARED);
    return fkv_own_option(own.policy, p, own.number);
}

static bool belongs(const struct fkv_kv_params *p, const struct fkv_kv_option *o)
{
    return !o->policy || (p->policy && strcmp(o->policy, p->policy) == 0);
}

static fkv_status check_value(const struct fkv_kv_option *o, double value, double most, struct fkv_error *e)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", o->policy ? o->policy : "", o->policy ? "-" : "", o->name);
    if (o->kind == FKV_OPTION_SHARE && !(value > 0 && value <= 1))
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "%s: expected a share in (0, 1], found %g", name, value);
    if (!(value >= o->least) && most == MOST)
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "%s: expected at least %.10g, found %.10g", name, o->least, value);
    if (!(value >= o->least && value <= most))
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "%s: expected %.10g to %.10g, found %.10g", name, o->least, most, value);
    return FKV_OK;
}

fkv_status fkv_kv_params_check(struct fkv_kv_params *p, int n_layer, struct fkv_error *e)
{
    struct fkv_kv_option o;
    if (!p->policy || !fkv_policy_find(p->policy))
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "kv-policy: there is no policy named %s",
                        p->policy ? p->policy : "(null)");
    for (int i = 0; fkv_kv_option_list(i, &o); i++) {
        const bool layer = i < N_SHARED && shared[i].at == offsetof(struct fkv_kv_params, tsp_layer);
        const fkv_status status = belongs(p, &o) ? check_value(&o, value_of(p, i), layer ? n_layer - 1 : o.most, e)
                                                 : FKV_OK;
        if (status != FKV_OK) return status;
    }
    p->policy = fkv_policy_find(p->policy)->name; /* a caller's string may go */
    if (p->pool_kernel % 2 == 0)
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "kv-pool-kernel: expected an odd number, found %d", p->pool_kernel);
    if (fkv_policy_find(p->policy)->settle) fkv_policy_find(p->policy)->settle(p);
    if (p->tsp_layer < 0) p->tsp_layer = n_layer >= 2 ? n_layer / 2 - 1 : 0;
    return FKV_OK;
}

size_t fkv_kv_text(const struct fkv_kv_params *p, char *text, size_t size)
{
    struct fkv_kv_option o;
    int n = snprintf(text, size, "%s", p->policy);
    for (int i = 0; fkv_kv_option_list(i, &o); i++) {
        const size_t at = (size_t)n < size ? (size_t)n : size;
        if (!belongs(p, &o)) continue;
        n += snprintf(size ? text + at : NULL, size - at, " %s=%.9g", o.name, value_of(p, i));
    }
    return (size_t)n;
}

static fkv_status read_word(const struct fkv_kv_option *o, const char *name, const char *value, double *x,
                            struct fkv_error *e)
{
    char all[64]; /* "max, avg" */
    size_t n = 0;
    int place = 0;
    for (const char *w = o->words; *w; place++) {
        const size_t length = strcspn(w, "|");
        *x = place;
        if (length == strlen(value) && memcmp(w, value, length) == 0) return FKV_OK;
        n += (size_t)snprintf(all + n, sizeof all - n, "%s%.*s", place ? ", " : "", (int)length, w);
        w += length + (w[length] == '|');
    }
    return fkv_fail(e, FKV_ERROR_ARGUMENT, "%s: expected one of %s, found %s", name, all, *value ? value : "nothing");
}

/* Reads a number, or the place of a word among the option's. */
static fkv_status read_value(const struct fkv_kv_option *o, const char *name, const char *value, double *x,
                             struct fkv_error *e)
{
    char *end;
    const bool whole = o->kind == FKV_OPTION_COUNT;
    if (o->kind == FKV_OPTION_WORD) return read_word(o, name, value, x, e);
    *x = strtod(value, &end);
    if (end == value || *end || (whole && *x != trunc(*x)))
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "%s: expected a %snumber, found %s", name, whole ? "whole " : "",
                        *value ? value : "nothing");
    return FKV_OK;
}

fkv_status fkv_kv_set(struct fkv_kv_params *p, const char *name, const char *value, char *err)
{
    struct fkv_error e = {""};
    struct fkv_kv_option o;
    const int i = find_option(name);
    double x = 0;
    fkv_status status = FKV_OK;
    if (i < 0 || !fkv_kv_option_list(i, &o))
        status = fkv_fail(&e, FKV_ERROR_ARGUMENT, "%s: there is no such option of retention", name);
    else if (!belongs(p, &o))
        status = fkv_fail(&e, FKV_ERROR_ARGUMENT, "%s: an option of the policy %s, but the policy is %s", name,
                          o.policy, p->policy ? p->policy : "(null)");
    else
        status = read_value(&o, name, value, &x, &e);
    if (status == FKV_OK) status = check_value(&o, x, o.most, &e);
    if (status != FKV_OK) {
        if (err) memcpy(err, e.text, sizeof e.text);
        return status;
    }
    if (i < N_SHARED) {
        set_shared(p, &shared[i], x);
    } else {
        const struct own own = find_own(i - N_SHARED);
        if (!p->own_of || strcmp(p->own_of, own.policy->name) != 0) p->own_given = 0;
        p->own_of = own.policy->name;
        p->own[own.number] = x;
        p->own_given |= 1u << own.number;
    }
    return FKV_OK;
}

bool fkv_kv_get(const struct fkv_kv_params *p, const char *name, double *value)
{
    struct fkv_kv_option o;
    const int i = find_option(name);
    if (i < 0 || !fkv_kv_option_list(i, &o) || !belongs(p, &o)) return false;
    *value = value_of(p, i);
    return true;
}
