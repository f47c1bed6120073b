/* jinja_run.h: running a syntax tree, and the built-in filters, tests, methods and functions. */
#ifndef FKV_TEMPLATE_JINJA_RUN_H
#define FKV_TEMPLATE_JINJA_RUN_H

#include "template/jinja_syntax.h"

typedef struct jargs {
    const jvalue *values;
    const jpair *named; /* keys are strings */
    size_t n, n_named;
} jargs;

/* A call of a built-in: what it acts on, and its arguments in the order of its parameters. */
enum { J_MAX_PARAMETERS = 4 };
typedef struct jcall {
    jvalue self;
    jvalue a[J_MAX_PARAMETERS]; /* J_ABSENT: not given */
    const jargs *args;          /* as written, for built-ins that take any */
} jcall;

typedef struct jbuiltin {
    const char *name;
    const char *parameters; /* names, '?' before those that may be left out; "*": any arguments, not bound to a[] */
    jvalue (*run)(jinja *j, const jcall *c);
} jbuiltin;

/* jinja_run.c */
void fkv_jinja_run(jinja *j, const jnode *statements);
jvalue fkv_jinja_capture(jinja *j, const jnode *statements);
jvalue fkv_jinja_call_macro(jinja *j, const jmacro *macro, const jargs *args);
/* loop(items) within a recursive loop: what it prints for these. */
jvalue fkv_jinja_call_loop(jinja *j, const jloop *loop, const jargs *args);

/* jinja_eval.c */
jvalue fkv_jinja_eval(jinja *j, const jnode *expression);
/* An N_CALL, with one more named argument unless that is NULL. */
jvalue fkv_jinja_call(jinja *j, const jnode *node, const jpair *more);

/* jinja_operators.c */
jvalue fkv_jinja_binary(jinja *j, int op, jvalue a, jvalue b);
jvalue fkv_jinja_negate(jinja *j, jvalue a);
jvalue fkv_jinja_attribute(jinja *j, jvalue object, jvalue name); /* object.name */
jvalue fkv_jinja_item(jinja *j, jvalue object, jvalue key);       /* object[key] */
/* range(start, stop, step); step is not 0. */
jvalue fkv_jinja_range(jinja *j, int64_t start, int64_t stop, int64_t step);
/* object[from:to:step], each J_ABSENT or None to leave it out. */
jvalue fkv_jinja_slice(jinja *j, jvalue object, jvalue from, jvalue to, jvalue step);
_Noreturn void fkv_jinja_fail_undefined(jinja *j, jvalue undefined);

/* jinja_builtins.c: binding of arguments, functions. */
const jbuiltin *fkv_jinja_find_builtin(const jbuiltin *table, jvalue name); /* NULL: none has this name */
const jbuiltin *fkv_jinja_find_filter(jvalue name);
jvalue fkv_jinja_call_builtin(jinja *j, const char *what, const jbuiltin *builtin, jvalue self, const jargs *args);
jvalue fkv_jinja_filter(jinja *j, jvalue name, jvalue self, const jargs *args);
bool fkv_jinja_function(jinja *j, jvalue name, jvalue *found);
/* A method of a string, list or dict, bound to it. */
bool fkv_jinja_method(jinja *j, jvalue self, jvalue name, jvalue *found);
jvalue fkv_jinja_string_argument(jinja *j, jvalue a);
int64_t fkv_jinja_integer_argument(jinja *j, jvalue a, int64_t otherwise);
/* The next of a cycler's values; of a joiner: nothing, then its separator. */
jvalue fkv_jinja_next(jcycler *cycler);

/* jinja_tests.c */
bool fkv_jinja_test(jinja *j, jvalue name, jvalue self, const jargs *args);

/* jinja_format.c: format.format(args), format % value */
jvalue fkv_jinja_format(jinja *j, jvalue format, const jargs *args);
jvalue fkv_jinja_percent(jinja *j, jvalue format, jvalue value);

/* Tables that end with a row without a name. */
extern const jbuiltin fkv_jinja_filters[], fkv_jinja_sequence_filters[], fkv_jinja_layout_filters[];
extern const jbuiltin fkv_jinja_string_methods[], fkv_jinja_layout_methods[], fkv_jinja_list_methods[],
    fkv_jinja_tuple_methods[], fkv_jinja_range_methods[], fkv_jinja_dict_methods[];

/* In jinja_methods.c, for filters that do the same. */
jvalue fkv_jinja_pairs_of(jinja *j, jvalue dict, enum jkind as);
/* In jinja_layout.c, for methods that do the same: s between fill characters. */
jvalue fkv_jinja_pad(jinja *j, jvalue s, int64_t width, int32_t fill, char align);

#endif
