/* Presets: rows of one table. What a row does not name stays as it is. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "retain/policy.h"

enum { MOST = 16 };

static const struct preset {
    const char *name, *about, *policy;
    const char *options[MOST][2]; /* name, value; ends with NULL */
} presets[] = {
    {"safe",
     "keeps a tenth of the entries, and more where the question's attention spreads",
     "auto",
     {{"kv-retain", "0.1"}, {"tsp-rate", "0.2"}}},
    {"fast",
     "keeps a tenth of the entries by the question's attention, whatever it misses",
     "fastkv",
     {{"kv-retain", "0.1"}, {"tsp-rate", "0.2"}, {"kv-rows", "question"}, {"kv-score", "max"}, {"kv-span", "16"}}},
    {"paper",
     "as arXiv 2502.01068 has it: no floors, no sinks, and the last 8 tokens' attention",
     "fastkv",
     {{"kv-retain", "0.1"},
      {"tsp-rate", "0.2"},
      {"tsp-layer", "-1"},
      {"kv-rows", "last"},
      {"kv-window", "8"},
      {"kv-score", "sum"},
      {"kv-norm", "off"},
      {"kv-heads", "equal"},
      {"kv-first", "0"},
      {"kv-span", "0"},
      {"kv-pool", "max"},
      {"kv-pool-kernel", "7"},
      {"kv-sinks", "0"},
      {"kv-floor", "0"},
      {"tsp-floor", "0"}}},
};
enum { N_PRESETS = sizeof presets / sizeof *presets };

bool fkv_kv_preset_list(int i, const char **name, const char **about)
{
    if (i < 0 || i >= N_PRESETS) return false;
    *name = presets[i].name;
    *about = presets[i].about;
    return true;
}

static fkv_status refuse(const char *name, char *err)
{
    size_t n = (size_t)snprintf(err, FKV_ERROR_BYTES, "kv-preset: expected one of ");
    for (int i = 0; i < N_PRESETS; i++)
        n += (size_t)snprintf(err + n, FKV_ERROR_BYTES - n, "%s%s", i ? ", " : "", presets[i].name);
    snprintf(err + n, FKV_ERROR_BYTES - n, ", found %.100s", *name ? name : "nothing");
    return FKV_ERROR_ARGUMENT;
}

fkv_status fkv_kv_preset(struct fkv_kv_params *p, const char *name, char *err)
{
    char ignored[FKV_ERROR_BYTES];
    for (int i = 0; i < N_PRESETS; i++) {
        if (strcmp(presets[i].name, name) != 0) continue;
        fkv_status status = FKV_OK;
        p->policy = presets[i].policy;
        p->own_given = 0;
        for (int o = 0; o < MOST && presets[i].options[o][0] && status == FKV_OK; o++)
            status = fkv_kv_set(p, presets[i].options[o][0], presets[i].options[o][1], err);
        return status;
    }
    return refuse(name, err ? err : ignored);
}
