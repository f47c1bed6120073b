/* json_out.h: JSON as text, written from left to right. Strings may hold any bytes: those that are no UTF-8 become
   U+FFFD. Memory that runs out is remembered by the text, so that only the end needs a check.

       struct json_out j = {&text, false};
       out_open(&j, '{');
       out_key(&j, "n"), out_int(&j, 3);
       out_close(&j, '}'); */
#ifndef FKV_SERVER_JSON_OUT_H
#define FKV_SERVER_JSON_OUT_H

#include <stdint.h>

#include "eval/text.h"

struct json_out {
    struct eval_text *text;
    bool comma; /* the next value or key needs one before it */
};

/* '{' or '[', and its end. */
void out_open(struct json_out *j, char bracket);
void out_close(struct json_out *j, char bracket);
/* The name of the next value, plain ASCII. */
void out_key(struct json_out *j, const char *name);
void out_bytes(struct json_out *j, const char *bytes, size_t n);
void out_string(struct json_out *j, const char *text); /* NULL: null */
void out_int(struct json_out *j, int64_t value);
void out_real(struct json_out *j, double value); /* 7 digits; what is no number: null */
void out_bool(struct json_out *j, bool value);
void out_null(struct json_out *j);
/* Bytes as an array of numbers. */
void out_byte_array(struct json_out *j, const char *bytes, size_t n);

/* A key and its value. */
void put_string(struct json_out *j, const char *name, const char *text);
void put_int(struct json_out *j, const char *name, int64_t value);
void put_real(struct json_out *j, const char *name, double value);
void put_bool(struct json_out *j, const char *name, bool value);

#endif
