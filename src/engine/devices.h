/* devices.h: what the words that choose a device, and layers on it, mean. */
#ifndef FKV_ENGINE_DEVICES_H
#define FKV_ENGINE_DEVICES_H

#include "backend/backend.h"

/* A row of backends.def. */
struct fkv_device_kind {
    const char *name;
    fkv_status (*create)(struct fkv_backend **b, const char *device, bool exact, int max_cols, struct fkv_error *e);
};

struct fkv_device {
    const struct fkv_device_kind *kind; /* NULL: the CPU */
    bool automatic;                     /* the kind if it is there and faster, else the CPU */
    const char *text;                   /* as it was asked for: "vulkan:1" */
};

enum { FKV_LAYERS_AUTO = -1 }; /* as many as there is room for */

/* text: "cpu", "auto", "<back end>[:N]"; NULL: "cpu". */
fkv_status fkv_device_find(struct fkv_device *device, const char *text, struct fkv_error *e);
/* text: a number, "all", "auto"; NULL: "auto". */
fkv_status fkv_layers_find(int *layers, const char *text, int n_layer, struct fkv_error *e);

#endif
