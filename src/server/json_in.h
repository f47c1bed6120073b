/* json_in.h: fields of a request, read strictly: the wrong type or range is an error that names the field, what was
   wanted and what was found. A field that is null is absent. */
#ifndef FKV_SERVER_JSON_IN_H
#define FKV_SERVER_JSON_IN_H

#include <jansson.h>

#include "server/exchange.h"

enum { JSON_DEPTH = 64 };

/* The object that a body is; NULL and an error when it is none. */
json_t *json_read_object(const char *bytes, size_t n, struct api_error *error);
/* The field; NULL when it is absent or null. */
json_t *json_field(const json_t *object, const char *name);
/* "a string", "3": a value as messages show it. */
const char *json_shown(const json_t *value, char text[80]);
/* An error about a field: wanted, and what was found. */
bool json_unwanted(const char *field, const char *wanted, const json_t *found, struct api_error *error);

/* These leave *value as it is when the field is absent, and return false after an error (one of before counts). */
bool json_get_bool(const json_t *object, const char *name, bool *value, struct api_error *error);
bool json_get_int(const json_t *object, const char *name, int64_t low, int64_t high, int64_t *value,
                  struct api_error *error);
bool json_get_real(const json_t *object, const char *name, double low, double high, bool above_low, float *value,
                   struct api_error *error);
/* The text lives as long as the object. */
bool json_get_text(const json_t *object, const char *name, const char **value, struct api_error *error);
/* An array of ids below n_vocab, malloc'ed. `field`: what it is called in messages. */
bool json_read_ids(const json_t *array, const char *field, int n_vocab, int32_t **ids, size_t *n,
                   struct api_error *error);

#endif
