#include "cli/json.h"

#include <stdlib.h>
#include <string.h>

#include "cli/retention.h"
#include "cli/utf8.h"

json_t *json_of_text(const char *text)
{
    struct eval_text clean = {0};
    utf8_add_clean(&clean, text, strlen(text));
    json_t *string = clean.failed ? NULL : json_stringn(clean.s, clean.n);
    free(clean.s);
    return string;
}

json_t *json_of_options(const struct fkv_kv_params *kv)
{
    json_t *options = json_object();
    struct fkv_kv_option option;
    char name[RETENTION_NAME];
    double value;
    for (int i = 0; retention_name(i, name, &option); i++)
        if (fkv_kv_get(kv, name + 2, &value)) json_object_set_new(options, name + 2, json_real(value));
    return options;
}
