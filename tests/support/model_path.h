/* model_path.h: where the real models lie that some tests need. */
#ifndef FKV_TESTS_MODEL_PATH_H
#define FKV_TESTS_MODEL_PATH_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* $FKV_MODELS/<name>.gguf, or $XDG_CACHE_HOME/fastkv/..., or ~/.cache/fastkv/...; false when it cannot be read. */
static inline bool model_path(const char *name, char *path, size_t bytes)
{
    const char *models = getenv("FKV_MODELS"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (models && *models)
        snprintf(path, bytes, "%s/%s.gguf", models, name);
    else if (cache && *cache)
        snprintf(path, bytes, "%s/fastkv/%s.gguf", cache, name);
    else
        snprintf(path, bytes, "%s/.cache/fastkv/%s.gguf", home ? home : "", name);
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f != NULL;
}

#endif
