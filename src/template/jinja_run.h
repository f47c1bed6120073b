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

/* jinja_eval.c */
jvalue fkv_jinja_eval(jinja *j, const jnode *expression);

/* jinja_operators.c */
jvalue fkv_jinja_binary(jinja *j, int op, jvalue a, jvalue b);
jvalue fkv_jinja_negate(jinja *j, jvalue a);
jvalue fkv_jinja_attribute(jinja *j, jvalue object, jvalue name); /* object.name */
jvalue fkv_jinja_item(jinja *j, jvalue object, jvalue key);       /* object[key] */
/* object[from:to:step], each J_ABSENT or None to leave it out. */
jvalue fkv_jinja_slice(jinja *j, jvalue object, jvalue from, jvalue to, jvalue step);
_Noreturn void fkv_jinja_fail_undefined(jinja *j, jvalue undefined);

/* jinja_builtins.c: binding of arguments, functions and tests. */
jvalue fkv_jinja_call_builtin(jinja *j, const char *what, const jbuiltin *builtin, jvalue self, const jargs *args);
jvalue fkv_jinja_filter(jinja *j, jvalue name, jvalue self, const jargs *args);
bool fkv_jinja_test(jinja *j, jvalue name, jvalue self, const jargs *args);
bool fkv_jinja_function(jinja *j, jvalue name, jvalue *found);
/* A method of a string, list or dict, bound to it. */
bool fkv_jinja_method(jinja *j, jvalue self, jvalue name, jvalue *found);
jvalue fkv_jinja_string_argument(jinja *j, jvalue a);
int64_t fkv_jinja_integer_argument(jinja *j, jvalue a, int64_t otherwise);

/* Tables that end with a row without a name. */
extern const jbuiltin fkv_jinja_filters[], fkv_jinja_sequence_filters[];
extern const jbuiltin fkv_jinja_string_methods[], fkv_jinja_list_methods[], fkv_jinja_dict_methods[];

/* In jinja_methods.c, for filters that do the same. */
jvalue fkv_jinja_pairs_of(jinja *j, jvalue dict, enum jkind as);

#endif
