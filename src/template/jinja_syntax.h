/* jinja_syntax.h: a template's tokens and its syntax tree. */
#ifndef FKV_TEMPLATE_JINJA_SYNTAX_H
#define FKV_TEMPLATE_JINJA_SYNTAX_H

#include "template/jinja.h"

enum jtoken_kind {
    T_TEXT,        /* value: template text, white space control applied */
    T_PRINT_BEGIN, /* {{ */
    T_PRINT_END,
    T_TAG_BEGIN, /* {% */
    T_TAG_END,
    T_NAME,   /* value: string */
    T_STRING, /* value: string, escapes resolved */
    T_NUMBER, /* value: int or float */
    T_OPERATOR,
    T_END,
};

/* An operator is its one or two characters. */
#define J_OP(a, b) ((a) | (b) << 8)
enum {
    OP_POWER = J_OP('*', '*'),
    OP_FLOOR = J_OP('/', '/'),
    OP_EQ = J_OP('=', '='),
    OP_NE = J_OP('!', '='),
    OP_GE = J_OP('>', '='),
    OP_LE = J_OP('<', '='),
    OP_IN = J_OP('i', 'n'), /* these two are names in the source */
    OP_NOT_IN = J_OP('n', 'i'),
};

typedef struct jtoken {
    enum jtoken_kind kind;
    int op, line;
    jvalue value;
    jvalue source; /* its spelling, for messages */
} jtoken;

typedef struct jlexer {
    jinja *j;
    const char *text; /* line ends are \n */
    size_t n, at;
    int line;
    int brackets; /* open ( [ { in this tag: an end mark inside them is two operators */
    enum { IN_TEXT, AT_MARK, IN_PRINT, IN_TAG } state;
} jlexer;

/* Normalises line ends and drops the last one, as Jinja does. */
void fkv_jinja_start_lexer(jlexer *l, jinja *j, const char *source, size_t n);
void fkv_jinja_next_token(jlexer *l, jtoken *token);

/* A statement uses `body`, `other` and `list` for lists of nodes joined by `next`. */
enum jnode_kind {
    /* statements */
    N_TEXT,       /* value */
    N_PRINT,      /* a */
    N_IF,         /* list: N_CLAUSE, of which the first that holds is run */
    N_CLAUSE,     /* a: condition or NULL for else; body */
    N_FOR,        /* a: target, b: sequence, c: condition or NULL, body, other: the else, op: 1 when recursive */
    N_SET,        /* a: target, b: expression */
    N_MACRO,      /* value: name, list: N_PARAMETER, body, op: enum juses of the body */
    N_SCOPE,      /* list: N_SET, evaluated outside and assigned inside; body */
    N_BLOCK,      /* value: name, body, run outside of what surrounds it; other: the block before it */
    N_CALL_BLOCK, /* a: N_CALL, which gets a macro `caller` with list and body as in N_MACRO */
    N_BREAK,
    N_CONTINUE,
    /* expressions */
    N_LITERAL,   /* value */
    N_NAME,      /* value; also a target */
    N_LIST,      /* list */
    N_TUPLE,     /* list; also a target */
    N_DICT,      /* list: key, value, key, value ... */
    N_UNARY,     /* op: '+' '-', a */
    N_NOT,       /* a */
    N_AND,       /* a, b */
    N_OR,        /* a, b */
    N_BINARY,    /* op, a, b */
    N_COMPARE,   /* a, list: N_OPERAND */
    N_OPERAND,   /* op, a */
    N_CHOICE,    /* a if b else c; c may be NULL */
    N_ATTRIBUTE, /* a.value; as a target of set, a member of a namespace */
    N_ITEM,      /* a[b] */
    N_SLICE,     /* the b of N_ITEM: a:b:c, each may be NULL */
    N_CALL,      /* a(list) */
    N_FILTER,    /* a|value(list) */
    N_TEST,      /* a is value(list) */
    N_CAPTURE,   /* the text that body prints */
    N_PARAMETER, /* of a macro: value: name, a: default or NULL */
    N_KEYWORD,   /* of a call: value: name, a */
    N_UNPACK,    /* of a call: *a; op: OP_POWER for **a */
};

/* The names that a macro's body uses, and so may be given: bits. */
enum juses { J_USES_CALLER = 1, J_USES_VARARGS = 2, J_USES_KWARGS = 4 };

typedef struct jnode {
    enum jnode_kind kind;
    int op, line;
    jvalue value;
    struct jnode *a, *b, *c;
    struct jnode *list, *body, *other;
    struct jnode *next;
} jnode;

typedef struct jparser {
    jinja *j;
    jlexer lexer;
    jtoken now, then; /* the token at hand and the one after it */
    int loops;        /* around this place, within the same macro or captured block */
    unsigned uses;    /* enum juses of the macro at hand */
} jparser;

/* The whole template as a list of statements. */
jnode *fkv_jinja_parse(jinja *j, const char *source, size_t n);

/* Between jinja_parse.c (statements) and jinja_parse_expression.c. */
jnode *fkv_jinja_new_node(jparser *p, enum jnode_kind kind);
void fkv_jinja_advance(jparser *p);
bool fkv_jinja_at_op(const jparser *p, int op);
bool fkv_jinja_at_name(const jparser *p, const char *name);
bool fkv_jinja_take_op(jparser *p, int op);
bool fkv_jinja_take_name(jparser *p, const char *name);
void fkv_jinja_expect_op(jparser *p, int op);
jvalue fkv_jinja_expect_name(jparser *p);
_Noreturn void fkv_jinja_unexpected(jparser *p, const char *wanted);
jnode *fkv_jinja_parse_expression(jparser *p);
enum { J_NO_CHOICE = 1, J_PARENTHESES = 2 }; /* an `if` ends it; nothing at all is () */
/* One expression, or a tuple when commas follow. */
jnode *fkv_jinja_parse_tuple(jparser *p, int flags);
jnode *fkv_jinja_parse_target(jparser *p, bool members);
/* Any number of filters on `operand`. */
jnode *fkv_jinja_parse_filters(jparser *p, jnode *operand);

#endif
