/* jinja.h: what the parts of the chat-template interpreter share: one rendering, its memory, its failures and its
   values.

   Everything lives in one arena that the end of the rendering frees, so nothing here is ever released by hand, and a
   failure anywhere leaves by longjmp to fkv_chat_render(), the only place that cleans up. Values never change once made
   (only a namespace can be assigned to), as in the sandbox in which the transformers library renders templates: slices
   share memory and no value but a namespace can contain itself.

   The bounds on untrusted templates are all kept here: memory_left (fkv_jinja_alloc), work_left (fkv_jinja_work) and
   depth (fkv_jinja_enter). Whatever loops over n things asks fkv_jinja_work(n) first; whatever recurses calls
   fkv_jinja_enter. */
#ifndef FKV_TEMPLATE_JINJA_H
#define FKV_TEMPLATE_JINJA_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

enum jkind {
    J_ABSENT,    /* an optional argument that was not given; templates never see it */
    J_UNDEFINED, /* text: the name that was not found */
    J_NONE,
    J_BOOL, /* integer: 0 or 1 */
    J_INT,
    J_FLOAT,
    J_STRING, /* n bytes of UTF-8, not terminated */
    J_LIST,
    J_TUPLE,
    J_VIEW,     /* d.keys(), d.values(), d.items(), by their tag: has a length, no index */
    J_RANGE,    /* n whole numbers */
    J_ITERATOR, /* what map, select, reverse ... give: neither length nor index, always true */
    J_DICT,     /* n pairs in the order they were written */
    J_NAMESPACE,
    J_LOOP,
    J_MACRO,
    J_METHOD, /* a built-in function, bound to a value or not */
    J_CYCLER, /* cycler(), joiner() */
};

/* Kinds of J_VIEW. */
enum { J_KEYS, J_VALUES, J_ITEMS };
/* A tuple that groupby makes: x.grouper and x.list are its items. */
enum { J_GROUP = 1 };
/* A string that is marked as escaped: text that is added to it is escaped first. */
enum { J_MARKUP = 1 };

typedef struct jvalue {
    enum jkind kind;
    unsigned tag; /* of a view: J_KEYS ...; of a tuple: J_GROUP or 0; of a string: J_MARKUP or 0 */
    size_t n;     /* bytes of a string, items of a list, pairs of a dict */
    union {
        int64_t integer;
        double number;
        const char *text;
        const struct jvalue *items;
        const struct jpair *pairs;
        struct jscope *scope;
        struct jloop *loop;
        const struct jmacro *macro;
        const struct jrange *range;
        struct jcycler *cycler;
        const struct jmethod *method;
    };
} jvalue;

typedef struct jpair {
    jvalue key, value;
} jpair;

/* Variables by name; also the members of a namespace. */
typedef struct jscope {
    struct jscope *parent;
    jpair *vars; /* keys are strings */
    size_t n, capacity;
} jscope;

typedef struct jloop {
    const jvalue *items;
    size_t n, index, depth; /* depth: how often it has called itself */
    const struct jnode *node;
    jscope *outer;  /* around the loop */
    jvalue changed; /* what loop.changed() was given last, a tuple */
} jloop;

typedef struct jrange {
    int64_t start, stop, step;
} jrange;

typedef struct jcycler {
    const jvalue *items; /* of a joiner: its separator */
    size_t n, at;
    bool joiner;
} jcycler;

typedef struct jmacro {
    const struct jnode *node;
    jscope *scope; /* where it was defined */
} jmacro;

typedef struct jmethod {
    const struct jbuiltin *builtin;
    jvalue self;
} jmethod;

/* A list under construction. */
typedef struct jitems {
    jvalue *items;
    size_t n, capacity;
} jitems;

/* Text under construction. */
typedef struct jbuffer {
    char *text;
    size_t n, capacity;
} jbuffer;

typedef struct jinja {
    struct jchunk *chunks;
    size_t memory_left; /* bytes the arena may still take */
    size_t work_left;   /* steps: about one per node evaluated, item visited, 32 bytes of text touched or 4 looked at */
    int depth;          /* nesting of whatever is running */
    int line;           /* of the construct at work, for messages */
    jscope *scope;      /* the innermost variables */
    jbuffer *out;       /* where text goes: the result, or a macro's or block's own buffer */
    struct jnode *blocks; /* of the template, joined by `other` */
    struct fkv_error *error;
    fkv_status status;
    jmp_buf failed;
} jinja;

enum { J_MAX_DEPTH = 400, J_MAX_RANGE = 100000 };

/* Ends the rendering with "chat template, line N: ..." and the given status. */
_Noreturn void fkv_jinja_fail(jinja *j, fkv_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The two usual ends: the template breaks a rule, or wants what is not there. */
#define fkv_jinja_bad(j, ...) fkv_jinja_fail(j, FKV_ERROR_FORMAT, __VA_ARGS__)
#define fkv_jinja_lacks(j, ...) fkv_jinja_fail(j, FKV_ERROR_UNSUPPORTED, __VA_ARGS__)
/* For "%.*s" in those messages: a string value's text, cut to a readable length. */
#define J_SHOWN(s) ((s).n < 120 ? (int)(s).n : 120), (s).text

/* n objects of `size` bytes, uninitialised, aligned for any type. */
void *fkv_jinja_alloc(jinja *j, size_t n, size_t size);
void fkv_jinja_free_all(jinja *j);
void fkv_jinja_work(jinja *j, size_t steps);
static inline void fkv_jinja_work_text(jinja *j, size_t bytes) { fkv_jinja_work(j, 1 + bytes / 32); }
/* Text that is looked at character by character. */
static inline void fkv_jinja_work_characters(jinja *j, size_t bytes) { fkv_jinja_work(j, 1 + bytes / 4); }
void fkv_jinja_enter(jinja *j);
static inline void fkv_jinja_leave(jinja *j) { j->depth--; }

void fkv_jinja_put(jinja *j, jbuffer *b, const char *text, size_t n);
static inline void fkv_jinja_put_string(jinja *j, jbuffer *b, jvalue s) { fkv_jinja_put(j, b, s.text, s.n); }

/* Constructors. */
static inline jvalue fkv_jinja_none(void) { return (jvalue){.kind = J_NONE}; }
static inline jvalue fkv_jinja_bool(bool b) { return (jvalue){.kind = J_BOOL, .integer = b}; }
static inline jvalue fkv_jinja_int(int64_t i) { return (jvalue){.kind = J_INT, .integer = i}; }
static inline jvalue fkv_jinja_float(double f) { return (jvalue){.kind = J_FLOAT, .number = f}; }
static inline jvalue fkv_jinja_string(const char *text, size_t n)
{
    return (jvalue){.kind = J_STRING, .n = n, .text = text};
}
static inline jvalue fkv_jinja_taken(const jbuffer *b) { return fkv_jinja_string(b->text ? b->text : "", b->n); }
static inline jvalue fkv_jinja_undefined(jvalue name)
{
    return (jvalue){.kind = J_UNDEFINED, .n = name.n, .text = name.text};
}
static inline jvalue fkv_jinja_sequence(enum jkind kind, const jvalue *items, size_t n)
{
    return (jvalue){.kind = kind, .n = n, .items = items};
}

static inline jvalue fkv_jinja_tagged(jvalue v, unsigned tag)
{
    v.tag = tag;
    return v;
}
static inline bool fkv_jinja_is_markup(jvalue v) { return v.kind == J_STRING && v.tag == J_MARKUP; }

/* Whether a string value is this text. */
static inline bool fkv_jinja_is(jvalue s, const char *text)
{
    return s.n == strlen(text) && !memcmp(s.text, text, s.n);
}

/* jinja_value.c: what Python does with values. */
const char *fkv_jinja_type_name(jvalue v);
bool fkv_jinja_true(jvalue v);
bool fkv_jinja_equal(jinja *j, jvalue a, jvalue b);
/* < 0, 0 or > 0; a pair without an order fails. */
int fkv_jinja_compare(jinja *j, jvalue a, jvalue b);
bool fkv_jinja_contains(jinja *j, jvalue container, jvalue item);
size_t fkv_jinja_length(jinja *j, jvalue v);
jvalue fkv_jinja_range_item(const jrange *range, size_t i);
/* The items a for loop visits: a string's characters, a dict's keys. Fails on what cannot be iterated. */
jvalue fkv_jinja_iterate(jinja *j, jvalue v, enum jkind as);
bool fkv_jinja_is_sequence(jvalue v); /* list, tuple, view or iterator: what has items */
static inline bool fkv_jinja_is_integer(jvalue v) { return v.kind == J_INT || v.kind == J_BOOL; }
static inline bool fkv_jinja_is_number(jvalue v) { return fkv_jinja_is_integer(v) || v.kind == J_FLOAT; }
static inline double fkv_jinja_number(jvalue v) { return v.kind == J_FLOAT ? v.number : (double)v.integer; }
const jvalue *fkv_jinja_find(jinja *j, const jpair *pairs, size_t n, jvalue key);
/* Python's dicts and sets do not take lists and dicts as keys. */
void fkv_jinja_check_key(jinja *j, jvalue key);
/* pairs has room for one more. A key that is there keeps its place. */
size_t fkv_jinja_set_pair(jinja *j, jpair *pairs, size_t n, jvalue key, jvalue value);
void fkv_jinja_push(jinja *j, jitems *list, jvalue item);
void fkv_jinja_assign(jinja *j, jscope *scope, jvalue name, jvalue value);

/* jinja_print.c: values as text. */
void fkv_jinja_put_str(jinja *j, jbuffer *b, jvalue v);  /* as str() */
void fkv_jinja_put_repr(jinja *j, jbuffer *b, jvalue v); /* as repr() */
/* 's': as str(), 'r': as repr(), 'a': as ascii(). */
void fkv_jinja_put_as(jinja *j, jbuffer *b, jvalue v, char conversion);
jvalue fkv_jinja_str(jinja *j, jvalue v);
jvalue fkv_jinja_escape(jinja *j, jvalue s); /* a string for HTML, marked as escaped; one that is marked stays */
struct jjson {
    jvalue indent; /* a string, or J_ABSENT for one line */
    jvalue item_separator, key_separator;
    bool ascii, sort;
};
void fkv_jinja_put_json(jinja *j, jbuffer *b, jvalue v, const struct jjson *style, int level);

/* jinja_text.c: UTF-8. Offsets and sizes are in bytes unless the name says characters. */
enum { J_NOT_FOUND = -1 };
bool fkv_jinja_is_utf8(const char *text, size_t n);
/* The character at text[at], at < n; *size: its bytes. A byte that starts none counts as U+FFFD. */
int32_t fkv_jinja_character(const char *text, size_t n, size_t at, size_t *size);
bool fkv_jinja_is_space(int32_t character); /* as str.isspace() */
size_t fkv_jinja_skip_space(const char *text, size_t n, size_t at);
size_t fkv_jinja_n_characters(const char *text, size_t n);
size_t fkv_jinja_offset(const char *text, size_t n, size_t characters);
/* chars: the set of characters to strip, or J_ABSENT or None for white space. */
jvalue fkv_jinja_strip(jinja *j, jvalue s, jvalue chars, bool left, bool right);
/* Offset of the first (last) occurrence at or after `from`, or J_NOT_FOUND. */
int64_t fkv_jinja_search(jvalue s, size_t from, jvalue what);
int64_t fkv_jinja_search_last(jinja *j, jvalue s, jvalue what);
jvalue fkv_jinja_replace(jinja *j, jvalue s, jvalue old, jvalue new, int64_t at_most);
jvalue fkv_jinja_split_lines(jinja *j, jvalue s, bool keep_ends);
enum jcase { J_LOWER, J_UPPER, J_SWAPPED, J_CAPITALIZED, J_TITLE_METHOD, J_TITLE_FILTER };
jvalue fkv_jinja_recase(jinja *j, jvalue s, enum jcase to);
void fkv_jinja_put_character(jinja *j, jbuffer *b, int32_t character);

#endif
