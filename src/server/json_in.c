#include "server/json_in.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How deep objects and arrays lie in each other; strings are passed over. */
static int depth_of(const char *s, size_t n)
{
    int depth = 0, most = 0;
    bool string = false;
    for (size_t i = 0; i < n; i++) {
        if (string) {
            if (s[i] == '\\')
                i++;
            else if (s[i] == '"')
                string = false;
        } else if (s[i] == '"') {
            string = true;
        } else if (s[i] == '{' || s[i] == '[') {
            if (++depth > most) most = depth;
        } else if (s[i] == '}' || s[i] == ']') {
            depth--;
        }
    }
    return most;
}

json_t *json_read_object(const char *bytes, size_t n, struct api_error *error)
{
    json_error_t why;
    char shown[80];
    const int depth = depth_of(bytes, n);
    if (depth > JSON_DEPTH) {
        api_fail(error, 400, ERROR_INVALID, "body: expected values at most %d deep, found %d", JSON_DEPTH, depth);
        return NULL;
    }
    json_t *body = json_loadb(bytes ? bytes : "", n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!body &&
        (json_error_code(&why) == json_error_null_character || json_error_code(&why) == json_error_null_byte_in_key))
        api_fail(error, 400, ERROR_INVALID,
                 "body: expected text without zero characters, found \\u0000 in line %d, column %d", why.line,
                 why.column);
    else if (!body)
        api_fail(error, 400, ERROR_INVALID, "body: expected a JSON object, found: line %d, column %d: %.160s", why.line,
                 why.column, why.text);
    else if (!json_is_object(body))
        api_fail(error, 400, ERROR_INVALID, "body: expected a JSON object, found %s", json_shown(body, shown));
    if (json_is_object(body)) return body;
    json_decref(body);
    return NULL;
}

json_t *json_field(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

const char *json_shown(const json_t *value, char text[80])
{
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: snprintf(text, 80, "an array of %zu", json_array_size(value)); return text;
    case JSON_STRING: snprintf(text, 80, "the string \"%.40s\"", json_string_value(value)); return text;
    case JSON_INTEGER: snprintf(text, 80, "%" JSON_INTEGER_FORMAT, json_integer_value(value)); return text;
    case JSON_REAL: snprintf(text, 80, "%g", json_real_value(value)); return text;
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: break;
    }
    return "nothing";
}

bool json_unwanted(const char *field, const char *wanted, const json_t *found, struct api_error *error)
{
    char shown[80];
    return api_fail_field(error, field, "%s: expected %s, found %s", field, wanted, json_shown(found, shown));
}

bool json_get_bool(const json_t *object, const char *name, bool *value, struct api_error *error)
{
    const json_t *field = json_field(object, name);
    if (field && !json_is_boolean(field)) return json_unwanted(name, "true or false", field, error);
    if (field) *value = json_is_true(field);
    return !error->status;
}

bool json_get_int(const json_t *object, const char *name, int64_t low, int64_t high, int64_t *value,
                  struct api_error *error)
{
    char wanted[80];
    const json_t *field = json_field(object, name);
    if (!field) return !error->status;
    const json_int_t found = json_integer_value(field);
    if (!json_is_integer(field) || found < low || found > high) {
        snprintf(wanted, sizeof wanted, "a whole number from %" PRId64 " to %" PRId64, low, high);
        return json_unwanted(name, wanted, field, error);
    }
    *value = found;
    return !error->status;
}

bool json_get_real(const json_t *object, const char *name, double low, double high, bool above_low, float *value,
                   struct api_error *error)
{
    char wanted[80];
    const json_t *field = json_field(object, name);
    if (!field) return !error->status;
    const double found = json_number_value(field);
    if (!json_is_number(field) || (above_low ? found <= low : found < low) || found > high) {
        snprintf(wanted, sizeof wanted, "a number in %c%g, %g]", above_low ? '(' : '[', low, high);
        return json_unwanted(name, wanted, field, error);
    }
    *value = (float)found;
    return !error->status;
}

bool json_get_text(const json_t *object, const char *name, const char **value, struct api_error *error)
{
    const json_t *field = json_field(object, name);
    if (field && !json_is_string(field)) return json_unwanted(name, "a string", field, error);
    if (field) *value = json_string_value(field);
    return !error->status;
}

bool json_read_ids(const json_t *array, const char *field, int n_vocab, int32_t **ids, size_t *n,
                   struct api_error *error)
{
    char wanted[80];
    size_t i;
    json_t *item;
    int32_t *list = malloc((json_array_size(array) + 1) * sizeof *list);
    if (!list) return api_fail(error, 500, ERROR_SERVER, "out of memory for %zu ids", json_array_size(array));
    json_array_foreach(array, i, item)
    {
        const json_int_t id = json_is_integer(item) ? json_integer_value(item) : -1;
        if (id < 0 || id >= n_vocab) {
            free(list);
            snprintf(wanted, sizeof wanted, "token ids from 0 to %d", n_vocab - 1);
            return json_unwanted(field, wanted, item, error);
        }
        list[i] = (int32_t)id;
    }
    *ids = list;
    *n = json_array_size(array);
    return true;
}
