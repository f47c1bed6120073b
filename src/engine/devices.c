#include "engine/devices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKEND(name)                                                                                            \
    fkv_status fkv_##name##_backend_create(struct fkv_backend **b, const char *device, bool exact, int max_cols, \
                                           struct fkv_error *e);
#include "backend/backends.def"
#undef BACKEND

static const struct fkv_device_kind kinds[] = {
#define BACKEND(name) {#name, fkv_##name##_backend_create},
#include "backend/backends.def"
#undef BACKEND
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

fkv_status fkv_device_find(struct fkv_device *device, const char *text, struct fkv_error *e)
{
    char names[256] = "cpu";
    *device = (struct fkv_device){.text = text ? text : "cpu"};
    if (!text || strcmp(text, "cpu") == 0) return FKV_OK;
    device->automatic = strcmp(text, "auto") == 0;
    for (int i = 0; i < N_KINDS; i++) {
        const size_t n = strlen(kinds[i].name), at = strlen(names);
        if (device->automatic || (strncmp(text, kinds[i].name, n) == 0 && (text[n] == '\0' || text[n] == ':'))) {
            device->kind = &kinds[i];
            return FKV_OK;
        }
        snprintf(names + at, sizeof names - at, ", %s[:N]", kinds[i].name);
    }
    return fkv_fail(e, FKV_ERROR_ARGUMENT, "device %s: expected %s or auto", text, names);
}

fkv_status fkv_layers_find(int *layers, const char *text, int n_layer, struct fkv_error *e)
{
    char *end;
    *layers = FKV_LAYERS_AUTO;
    if (!text || strcmp(text, "auto") == 0) return FKV_OK;
    *layers = n_layer;
    if (strcmp(text, "all") == 0) return FKV_OK;
    const long asked = strtol(text, &end, 10);
    if (end == text || *end || asked < 0)
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "layers on the GPU: expected a number, auto or all, found %s", text);
    if (asked < n_layer) *layers = (int)asked;
    return FKV_OK;
}
