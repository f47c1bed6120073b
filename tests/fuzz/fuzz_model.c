/* A model from any bytes: hyper-parameters and weights, or a message. */
#include <stdlib.h>

#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fkv_gguf *g;
    struct fkv_model *m;
    struct fkv_warnings warnings = {NULL, 0};
    struct fkv_error e = {""};
    if (fkv_gguf_open_memory(&g, data, bytes, &e) != FKV_OK) return 0;
    if (fkv_model_load(&m, g, &warnings, &e) == FKV_OK)
        fkv_model_free(m);
    else if (e.text[0] == '\0')
        abort(); /* every failure says why */
    fkv_warnings_destroy(&warnings);
    fkv_gguf_close(g);
    return 0;
}
