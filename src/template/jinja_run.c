/* Statements. */
#include "template/jinja_run.h"

enum flow { ON, BREAK, CONTINUE };

static enum flow run(jinja *j, const jnode *statements);

static jscope *new_scope(jinja *j, jscope *parent)
{
    jscope *scope = fkv_jinja_alloc(j, 1, sizeof *scope);
    *scope = (jscope){.parent = parent};
    return scope;
}

/* Gives `value` to a name, to the names of a tuple, or to a member of a namespace. */
static void assign(jinja *j, const jnode *target, jvalue value)
{
    j->line = target->line;
    if (target->kind == N_NAME) {
        fkv_jinja_assign(j, j->scope, target->value, value);
    } else if (target->kind == N_TUPLE) {
        jvalue items = fkv_jinja_iterate(j, value, J_LIST);
        size_t i = 0;
        for (const jnode *part = target->list; part; part = part->next, i++)
            if (i < items.n) assign(j, part, items.items[i]);
        if (i != items.n) fkv_jinja_bad(j, "%zu values for %zu names", items.n, i);
    } else {
        jvalue namespace = fkv_jinja_eval(j, target->a);
        if (namespace.kind != J_NAMESPACE)
            fkv_jinja_bad(j, "only a namespace has attributes that can be set, not %s", fkv_jinja_type_name(namespace));
        fkv_jinja_assign(j, namespace.scope, target->value, value);
    }
}

static enum flow run_if(jinja *j, const jnode *node)
{
    for (const jnode *clause = node->list; clause; clause = clause->next)
        if (!clause->a || fkv_jinja_true(fkv_jinja_eval(j, clause->a))) return run(j, clause->body);
    return ON;
}

/* The items for which the loop's condition holds. */
static jvalue choose(jinja *j, const jnode *node, jvalue items)
{
    jitems chosen = {0};
    jscope *outer = j->scope;
    for (size_t i = 0; i < items.n; i++) {
        j->scope = new_scope(j, outer);
        assign(j, node->a, items.items[i]);
        if (fkv_jinja_true(fkv_jinja_eval(j, node->c))) fkv_jinja_push(j, &chosen, items.items[i]);
    }
    j->scope = outer;
    return fkv_jinja_sequence(J_LIST, chosen.items, chosen.n);
}

/* Each round has variables of its own, so what a body sets is gone in the next. */
static enum flow run_loop(jinja *j, const jnode *node, jvalue sequence, size_t depth)
{
    jvalue items = fkv_jinja_iterate(j, sequence, J_LIST);
    if (node->c) items = choose(j, node, items);
    jscope *outer = j->scope;
    jloop *loop = fkv_jinja_alloc(j, 1, sizeof *loop);
    *loop = (jloop){.items = items.items, .n = items.n, .depth = depth, .node = node, .outer = outer};
    enum flow flow = ON;
    bool completed = false; /* some round came to its end; if none did, Jinja runs the else, even after a break */
    for (; loop->index < loop->n && flow != BREAK; loop->index++) {
        fkv_jinja_work(j, 1);
        j->scope = new_scope(j, outer);
        assign(j, node->a, loop->items[loop->index]);
        fkv_jinja_assign(j, j->scope, fkv_jinja_string("loop", 4), (jvalue){.kind = J_LOOP, .loop = loop});
        flow = run(j, node->body);
        completed = completed || flow == ON;
    }
    j->scope = new_scope(j, outer);
    flow = completed ? ON : run(j, node->other);
    j->scope = outer;
    return flow;
}

static jvalue macro_of(jinja *j, const jnode *node)
{
    jmacro *macro = fkv_jinja_alloc(j, 1, sizeof *macro);
    *macro = (jmacro){.node = node, .scope = j->scope};
    return (jvalue){.kind = J_MACRO, .macro = macro};
}

static void run_call_block(jinja *j, const jnode *node)
{
    const jpair caller = {node->value, macro_of(j, node)};
    fkv_jinja_put_str(j, j->out, fkv_jinja_call(j, node->a, &caller));
}

/* Sees what is set outside of all else. */
static enum flow run_block(jinja *j, const jnode *node)
{
    jscope *outer = j->scope, *top = outer;
    while (top->parent && top->parent->parent) top = top->parent;
    j->scope = new_scope(j, top);
    enum flow flow = run(j, node->body);
    j->scope = outer;
    return flow;
}

static enum flow run_scope(jinja *j, const jnode *node)
{
    jscope *outer = j->scope, *inner = new_scope(j, outer);
    for (const jnode *set = node->list; set; set = set->next) {
        jvalue value = fkv_jinja_eval(j, set->b);
        j->scope = inner;
        assign(j, set->a, value);
        j->scope = outer;
    }
    j->scope = inner;
    enum flow flow = run(j, node->body);
    j->scope = outer;
    return flow;
}

static enum flow run_one(jinja *j, const jnode *node)
{
    switch (node->kind) {
    case N_TEXT: fkv_jinja_put_string(j, j->out, node->value); return ON;
    case N_PRINT: fkv_jinja_put_str(j, j->out, fkv_jinja_eval(j, node->a)); return ON;
    case N_IF: return run_if(j, node);
    case N_FOR: return run_loop(j, node, fkv_jinja_eval(j, node->b), 0);
    case N_SET: assign(j, node->a, fkv_jinja_eval(j, node->b)); return ON;
    case N_MACRO: fkv_jinja_assign(j, j->scope, node->value, macro_of(j, node)); return ON;
    case N_CALL_BLOCK: run_call_block(j, node); return ON;
    case N_BLOCK: return run_block(j, node);
    case N_SCOPE: return run_scope(j, node);
    case N_BREAK: return BREAK;
    default: return CONTINUE;
    }
}

static enum flow run(jinja *j, const jnode *statements)
{
    enum flow flow = ON;
    fkv_jinja_enter(j);
    for (const jnode *node = statements; node && flow == ON; node = node->next) {
        fkv_jinja_work(j, 1);
        j->line = node->line;
        flow = run_one(j, node);
    }
    fkv_jinja_leave(j);
    return flow;
}

/* self.name() is what a block prints. */
void fkv_jinja_run(jinja *j, const jnode *statements)
{
    jscope *blocks = new_scope(j, NULL);
    for (const jnode *b = j->blocks; b; b = b->other) fkv_jinja_assign(j, blocks, b->value, macro_of(j, b));
    fkv_jinja_assign(j, j->scope, fkv_jinja_string("self", 4), (jvalue){.kind = J_NAMESPACE, .scope = blocks});
    run(j, statements);
}

/* What the statements print, with variables of their own. */
static jvalue capture_in(jinja *j, const jnode *statements, jscope *scope)
{
    jbuffer text = {0}, *out = j->out;
    jscope *outer = j->scope;
    j->out = &text;
    j->scope = scope;
    run(j, statements);
    j->out = out;
    j->scope = outer;
    return fkv_jinja_taken(&text);
}

jvalue fkv_jinja_capture(jinja *j, const jnode *statements)
{
    return capture_in(j, statements, new_scope(j, j->scope));
}

static const jvalue *named_argument(jinja *j, const jargs *args, jvalue name)
{
    return fkv_jinja_find(j, args->named, args->n_named, name);
}

jvalue fkv_jinja_call_loop(jinja *j, const jloop *loop, const jargs *args)
{
    if (!loop->node->op) fkv_jinja_bad(j, "only a recursive loop can be called");
    if (args->n != 1 || args->n_named) fkv_jinja_bad(j, "loop() takes what to loop over, and nothing else");
    jbuffer text = {0}, *out = j->out;
    jscope *scope = j->scope;
    j->out = &text;
    j->scope = loop->outer;
    fkv_jinja_enter(j);
    run_loop(j, loop->node, args->values[0], loop->depth + 1);
    fkv_jinja_leave(j);
    j->out = out;
    j->scope = scope;
    return fkv_jinja_taken(&text);
}

/* What a macro may be given besides its parameters, when its body uses it: caller, varargs, kwargs. Returns how many of
   the named arguments that were. */
static size_t assign_extras(jinja *j, jscope *scope, const jnode *node, const jargs *args, size_t n_parameters)
{
    size_t n_used = 0;
    if (node->op & J_USES_VARARGS) {
        const size_t n = args->n > n_parameters ? args->n - n_parameters : 0;
        const jvalue rest = fkv_jinja_sequence(J_TUPLE, n ? args->values + n_parameters : NULL, n);
        fkv_jinja_assign(j, scope, fkv_jinja_string("varargs", 7), rest);
    }
    const jvalue caller = fkv_jinja_string("caller", 6);
    const jvalue *given = fkv_jinja_find(j, args->named, args->n_named, caller);
    const bool own = fkv_jinja_find(j, scope->vars, scope->n, caller); /* a parameter of that name */
    if ((node->op & J_USES_CALLER) && !own) {
        fkv_jinja_assign(j, scope, caller, given ? *given : fkv_jinja_undefined(caller));
        n_used += given != NULL;
    }
    if (node->op & J_USES_KWARGS) {
        jscope rest = {0};
        for (size_t i = 0; i < args->n_named; i++) {
            const bool is_caller = (node->op & J_USES_CALLER) && fkv_jinja_is(args->named[i].key, "caller");
            bool known = is_caller;
            for (const jnode *p = node->list; p && !known; p = p->next)
                known = fkv_jinja_equal(j, p->value, args->named[i].key);
            if (known) continue;
            fkv_jinja_assign(j, &rest, args->named[i].key, args->named[i].value);
            n_used++;
        }
        fkv_jinja_assign(j, scope, fkv_jinja_string("kwargs", 6),
                         (jvalue){.kind = J_DICT, .n = rest.n, .pairs = rest.vars});
    }
    return n_used;
}

jvalue fkv_jinja_call_macro(jinja *j, const jmacro *macro, const jargs *args)
{
    const jnode *node = macro->node;
    jscope *scope = new_scope(j, macro->scope), *outer = j->scope;
    size_t i = 0, n_used = 0;
    for (const jnode *p = node->list; p; p = p->next, i++) {
        jvalue value = fkv_jinja_undefined(p->value);
        const jvalue *named = i < args->n ? NULL : named_argument(j, args, p->value);
        if (i < args->n) {
            value = args->values[i];
        } else if (named) {
            value = *named;
            n_used++;
        } else if (p->a) { /* may use the parameters before it */
            j->scope = scope;
            value = fkv_jinja_eval(j, p->a);
            j->scope = outer;
        }
        fkv_jinja_assign(j, scope, p->value, value);
    }
    n_used += assign_extras(j, scope, node, args, i);
    if ((args->n > i && !(node->op & J_USES_VARARGS)) || n_used < args->n_named)
        fkv_jinja_bad(j, "macro '%.*s' is called with arguments that it does not have", J_SHOWN(node->value));
    return capture_in(j, node->body, scope);
}
