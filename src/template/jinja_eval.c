/* Expressions. */
#include "template/jinja_run.h"

static size_t count(const jnode *list)
{
    size_t n = 0;
    for (; list; list = list->next) n++;
    return n;
}

static jvalue eval_name(jinja *j, jvalue name)
{
    for (const jscope *scope = j->scope; scope; scope = scope->parent) {
        const jvalue *found = fkv_jinja_find(j, scope->vars, scope->n, name);
        if (found) return *found;
    }
    jvalue function;
    return fkv_jinja_function(j, name, &function) ? function : fkv_jinja_undefined(name);
}

static jvalue eval_items(jinja *j, const jnode *list, enum jkind kind)
{
    size_t n = count(list), i = 0;
    jvalue *items = fkv_jinja_alloc(j, n, sizeof *items);
    for (; list; list = list->next) items[i++] = fkv_jinja_eval(j, list);
    return fkv_jinja_sequence(kind, items, n);
}

static jvalue eval_dict(jinja *j, const jnode *list)
{
    size_t n = 0;
    jpair *pairs = fkv_jinja_alloc(j, count(list) / 2, sizeof *pairs);
    for (; list; list = list->next->next) {
        jvalue key = fkv_jinja_eval(j, list);
        fkv_jinja_check_key(j, key);
        n = fkv_jinja_set_pair(j, pairs, n, key, fkv_jinja_eval(j, list->next));
    }
    return (jvalue){.kind = J_DICT, .n = n, .pairs = pairs};
}

static bool holds(jinja *j, int op, jvalue a, jvalue b)
{
    switch (op) {
    case OP_EQ: return fkv_jinja_equal(j, a, b);
    case OP_NE: return !fkv_jinja_equal(j, a, b);
    case OP_IN: return fkv_jinja_contains(j, b, a);
    case OP_NOT_IN: return !fkv_jinja_contains(j, b, a);
    case '<': return fkv_jinja_compare(j, a, b) < 0;
    case '>': return fkv_jinja_compare(j, a, b) > 0;
    case OP_LE: return fkv_jinja_compare(j, a, b) <= 0;
    default: return fkv_jinja_compare(j, a, b) >= 0;
    }
}

static jvalue eval_compare(jinja *j, const jnode *node)
{
    jvalue left = fkv_jinja_eval(j, node->a);
    for (const jnode *operand = node->list; operand; operand = operand->next) {
        jvalue right = fkv_jinja_eval(j, operand->a);
        if (!holds(j, operand->op, left, right)) return fkv_jinja_bool(false);
        left = right;
    }
    return fkv_jinja_bool(true);
}

static jvalue eval_item(jinja *j, const jnode *node)
{
    jvalue object = fkv_jinja_eval(j, node->a);
    const jnode *index = node->b;
    if (index->kind != N_SLICE) return fkv_jinja_item(j, object, fkv_jinja_eval(j, index));
    jvalue from = index->a ? fkv_jinja_eval(j, index->a) : (jvalue){0};
    jvalue to = index->b ? fkv_jinja_eval(j, index->b) : (jvalue){0};
    jvalue step = index->c ? fkv_jinja_eval(j, index->c) : (jvalue){0};
    return fkv_jinja_slice(j, object, from, to, step);
}

static void add_named(jinja *j, jscope *named, jvalue name, jvalue value)
{
    if (name.kind != J_STRING) fkv_jinja_bad(j, "the name of an argument is %s", fkv_jinja_type_name(name));
    if (fkv_jinja_find(j, named->vars, named->n, name))
        fkv_jinja_bad(j, "the argument '%.*s' is given twice", J_SHOWN(name));
    fkv_jinja_assign(j, named, name, value);
}

/* more: a further named argument, or NULL. */
static jargs eval_arguments(jinja *j, const jnode *list, const jpair *more)
{
    jitems values = {0};
    jscope named = {0};
    for (; list; list = list->next) {
        if (list->kind == N_KEYWORD) {
            add_named(j, &named, list->value, fkv_jinja_eval(j, list->a));
        } else if (list->kind != N_UNPACK) {
            fkv_jinja_push(j, &values, fkv_jinja_eval(j, list));
        } else if (list->op == '*') {
            const jvalue items = fkv_jinja_iterate(j, fkv_jinja_eval(j, list->a), J_LIST);
            for (size_t i = 0; i < items.n; i++) fkv_jinja_push(j, &values, items.items[i]);
        } else {
            const jvalue dict = fkv_jinja_eval(j, list->a);
            if (dict.kind != J_DICT) fkv_jinja_bad(j, "'**' needs a dict, not %s", fkv_jinja_type_name(dict));
            for (size_t i = 0; i < dict.n; i++) add_named(j, &named, dict.pairs[i].key, dict.pairs[i].value);
        }
    }
    if (more) add_named(j, &named, more->key, more->value);
    return (jargs){.values = values.items, .n = values.n, .named = named.vars, .n_named = named.n};
}

jvalue fkv_jinja_call(jinja *j, const jnode *node, const jpair *more)
{
    jvalue callee = fkv_jinja_eval(j, node->a);
    jargs args = eval_arguments(j, node->list, more);
    j->line = node->line;
    if (callee.kind == J_MACRO) return fkv_jinja_call_macro(j, callee.macro, &args);
    if (callee.kind == J_METHOD)
        return fkv_jinja_call_builtin(j, "function", callee.method->builtin, callee.method->self, &args);
    if (callee.kind == J_LOOP) return fkv_jinja_call_loop(j, callee.loop, &args);
    if (callee.kind == J_CYCLER && callee.cycler->joiner) return fkv_jinja_next(callee.cycler);
    if (callee.kind == J_UNDEFINED)
        fkv_jinja_lacks(j, "%s '%.*s' is not supported", node->a->kind == N_ATTRIBUTE ? "method" : "function",
                        J_SHOWN(callee));
    fkv_jinja_bad(j, "%s cannot be called", fkv_jinja_type_name(callee));
}

static jvalue eval_filter(jinja *j, const jnode *node)
{
    jvalue self = fkv_jinja_eval(j, node->a);
    jargs args = eval_arguments(j, node->list, NULL);
    j->line = node->line;
    return fkv_jinja_filter(j, node->value, self, &args);
}

static jvalue eval_test(jinja *j, const jnode *node)
{
    jvalue self = fkv_jinja_eval(j, node->a);
    jargs args = eval_arguments(j, node->list, NULL);
    j->line = node->line;
    return fkv_jinja_bool(fkv_jinja_test(j, node->value, self, &args));
}

static jvalue eval_choice(jinja *j, const jnode *node)
{
    if (fkv_jinja_true(fkv_jinja_eval(j, node->a))) return fkv_jinja_eval(j, node->b);
    static const char missing[] = "the else of an inline if";
    return node->c ? fkv_jinja_eval(j, node->c) : fkv_jinja_undefined(fkv_jinja_string(missing, sizeof missing - 1));
}

static jvalue eval_binary(jinja *j, const jnode *node)
{
    jvalue a = fkv_jinja_eval(j, node->a), b = fkv_jinja_eval(j, node->b);
    j->line = node->line;
    return fkv_jinja_binary(j, node->op, a, b);
}

static jvalue eval_unary(jinja *j, const jnode *node)
{
    jvalue a = fkv_jinja_eval(j, node->a);
    jvalue negative = fkv_jinja_negate(j, a);
    return node->op == '-' ? negative : fkv_jinja_negate(j, negative);
}

/* and, or: the operand that decided, not a boolean. */
static jvalue eval_logic(jinja *j, const jnode *node)
{
    jvalue a = fkv_jinja_eval(j, node->a);
    return fkv_jinja_true(a) == (node->kind == N_AND) ? fkv_jinja_eval(j, node->b) : a;
}

static jvalue eval_node(jinja *j, const jnode *node)
{
    switch (node->kind) {
    case N_LITERAL: return node->value;
    case N_NAME: return eval_name(j, node->value);
    case N_LIST: return eval_items(j, node->list, J_LIST);
    case N_TUPLE: return eval_items(j, node->list, J_TUPLE);
    case N_DICT: return eval_dict(j, node->list);
    case N_UNARY: return eval_unary(j, node);
    case N_NOT: return fkv_jinja_bool(!fkv_jinja_true(fkv_jinja_eval(j, node->a)));
    case N_AND:
    case N_OR: return eval_logic(j, node);
    case N_BINARY: return eval_binary(j, node);
    case N_COMPARE: return eval_compare(j, node);
    case N_CHOICE: return eval_choice(j, node);
    case N_ATTRIBUTE: return fkv_jinja_attribute(j, fkv_jinja_eval(j, node->a), node->value);
    case N_ITEM: return eval_item(j, node);
    case N_CALL: return fkv_jinja_call(j, node, NULL);
    case N_FILTER: return eval_filter(j, node);
    case N_TEST: return eval_test(j, node);
    default: return fkv_jinja_capture(j, node->body); /* N_CAPTURE */
    }
}

jvalue fkv_jinja_eval(jinja *j, const jnode *node)
{
    fkv_jinja_work(j, 1);
    fkv_jinja_enter(j);
    j->line = node->line;
    jvalue value = eval_node(j, node);
    fkv_jinja_leave(j);
    return value;
}
