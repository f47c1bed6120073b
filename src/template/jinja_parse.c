/* The parser: statements. Its grammar is that of Jinja2 3.1 with the loopcontrols extension and the generation tag of
   transformers. */
#include "template/jinja_syntax.h"

#include <string.h>

jnode *fkv_jinja_new_node(jparser *p, enum jnode_kind kind)
{
    jnode *node = fkv_jinja_alloc(p->j, 1, sizeof *node);
    *node = (jnode){.kind = kind, .line = p->now.line};
    return node;
}

void fkv_jinja_advance(jparser *p)
{
    p->now = p->then;
    fkv_jinja_next_token(&p->lexer, &p->then);
    p->j->line = p->now.line;
}

bool fkv_jinja_at_op(const jparser *p, int op) { return p->now.kind == T_OPERATOR && p->now.op == op; }
bool fkv_jinja_at_name(const jparser *p, const char *name)
{
    return p->now.kind == T_NAME && fkv_jinja_is(p->now.value, name);
}

bool fkv_jinja_take_op(jparser *p, int op)
{
    bool at = fkv_jinja_at_op(p, op);
    if (at) fkv_jinja_advance(p);
    return at;
}

bool fkv_jinja_take_name(jparser *p, const char *name)
{
    bool at = fkv_jinja_at_name(p, name);
    if (at) fkv_jinja_advance(p);
    return at;
}

void fkv_jinja_unexpected(jparser *p, const char *wanted)
{
    static const char *const names[] =
        {[T_TEXT] = "text",      [T_PRINT_BEGIN] = "'{{'", [T_PRINT_END] = "'}}'",
         [T_TAG_BEGIN] = "'{%'", [T_TAG_END] = "'%}'",     [T_END] = "the end of the template"};
    const char *name = p->now.kind < sizeof names / sizeof *names ? names[p->now.kind] : NULL;
    if (name) fkv_jinja_bad(p->j, "expected %s, found %s", wanted, name);
    fkv_jinja_bad(p->j, "expected %s, found '%.*s'", wanted, J_SHOWN(p->now.source));
}

void fkv_jinja_expect_op(jparser *p, int op)
{
    char wanted[] = {'\'', (char)op, '\'', 0};
    if (!fkv_jinja_take_op(p, op)) fkv_jinja_unexpected(p, wanted);
}

jvalue fkv_jinja_expect_name(jparser *p)
{
    jvalue name = p->now.value;
    if (p->now.kind != T_NAME) fkv_jinja_unexpected(p, "a name");
    fkv_jinja_advance(p);
    return name;
}

static void expect(jparser *p, enum jtoken_kind kind, const char *wanted)
{
    if (p->now.kind != kind) fkv_jinja_unexpected(p, wanted);
    fkv_jinja_advance(p);
}

static jnode *parse_tag(jparser *p);

static bool at_any_name(const jparser *p, const char *const *names)
{
    for (; *names; names++)
        if (fkv_jinja_at_name(p, *names)) return true;
    return false;
}

/* Statements up to a tag whose name is in `ends`, which is left at hand; without ends up to the end of the template. */
static jnode *parse_until(jparser *p, const char *const *ends)
{
    jnode *first = NULL, **last = &first;
    fkv_jinja_enter(p->j);
    while (ends || p->now.kind != T_END) {
        jnode *node;
        if (p->now.kind == T_TEXT) {
            node = fkv_jinja_new_node(p, N_TEXT);
            node->value = p->now.value;
            fkv_jinja_advance(p);
        } else if (p->now.kind == T_PRINT_BEGIN) {
            fkv_jinja_advance(p);
            node = fkv_jinja_new_node(p, N_PRINT);
            node->a = fkv_jinja_parse_tuple(p, 0);
            expect(p, T_PRINT_END, "'}}'");
        } else if (p->now.kind == T_TAG_BEGIN) {
            fkv_jinja_advance(p);
            if (ends && at_any_name(p, ends)) break;
            node = parse_tag(p);
            expect(p, T_TAG_END, "'%}'");
        } else {
            char wanted[40] = "{% ";
            fkv_jinja_unexpected(p, strcat(strcat(wanted, ends[0]), " %}"));
        }
        *last = node;
        last = &node->next;
    }
    fkv_jinja_leave(p->j);
    return first;
}

/* The body of a tag: from the rest of the tag to the one that ends it. */
static jnode *parse_body(jparser *p, const char *const *ends)
{
    fkv_jinja_take_op(p, ':');
    expect(p, T_TAG_END, "'%}'");
    return parse_until(p, ends);
}

static jnode *parse_body_to(jparser *p, const char *end)
{
    const char *const ends[] = {end, NULL};
    jnode *body = parse_body(p, ends);
    fkv_jinja_advance(p);
    return body;
}

/* A body that runs apart from the loops around it. */
static jnode *parse_separate_body(jparser *p, const char *end)
{
    int loops = p->loops;
    p->loops = 0;
    jnode *body = parse_body_to(p, end);
    p->loops = loops;
    return body;
}

static jnode *parse_capture(jparser *p, const char *end)
{
    jnode *capture = fkv_jinja_new_node(p, N_CAPTURE);
    capture->body = parse_separate_body(p, end);
    return capture;
}

static jnode *parse_if(jparser *p)
{
    static const char *const ends[] = {"endif", "elif", "else", NULL};
    jnode *node = fkv_jinja_new_node(p, N_IF), **last = &node->list;
    bool more = true;
    while (more) {
        jnode *clause = fkv_jinja_new_node(p, N_CLAUSE);
        if (fkv_jinja_take_name(p, "else")) {
            clause->body = parse_body_to(p, "endif");
            more = false;
        } else {
            fkv_jinja_advance(p); /* if or elif */
            clause->a = fkv_jinja_parse_tuple(p, J_NO_CHOICE);
            clause->body = parse_body(p, ends);
            more = !fkv_jinja_take_name(p, "endif");
        }
        *last = clause;
        last = &clause->next;
    }
    return node;
}

static jnode *parse_for(jparser *p)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    jnode *node = fkv_jinja_new_node(p, N_FOR);
    fkv_jinja_advance(p);
    node->a = fkv_jinja_parse_target(p, false);
    if (!fkv_jinja_take_name(p, "in")) fkv_jinja_unexpected(p, "'in'");
    node->b = fkv_jinja_parse_tuple(p, J_NO_CHOICE);
    if (fkv_jinja_take_name(p, "if")) node->c = fkv_jinja_parse_expression(p);
    node->op = fkv_jinja_take_name(p, "recursive");
    p->loops++;
    node->body = parse_body(p, ends);
    p->loops--;
    if (fkv_jinja_take_name(p, "else"))
        node->other = parse_body_to(p, "endfor");
    else
        fkv_jinja_advance(p);
    return node;
}

static jnode *parse_set(jparser *p)
{
    jnode *node = fkv_jinja_new_node(p, N_SET);
    fkv_jinja_advance(p);
    node->a = fkv_jinja_parse_target(p, true);
    if (fkv_jinja_take_op(p, '=')) {
        node->b = fkv_jinja_parse_tuple(p, 0);
    } else { /* the filters stand before the body, and are applied to it */
        jnode *capture = fkv_jinja_new_node(p, N_CAPTURE);
        node->b = fkv_jinja_parse_filters(p, capture);
        capture->body = parse_separate_body(p, "endset");
    }
    return node;
}

static jnode *parse_filter_tag(jparser *p)
{
    jnode *node = fkv_jinja_new_node(p, N_PRINT), *capture = fkv_jinja_new_node(p, N_CAPTURE);
    p->now.kind = T_OPERATOR; /* {% filter f %} reads as {% | f %} */
    p->now.op = '|';
    node->a = fkv_jinja_parse_filters(p, capture);
    capture->body = parse_separate_body(p, "endfilter");
    return node;
}

/* (a, b=1): the parameters of a macro. */
static void parse_parameters(jparser *p, jnode *node)
{
    jnode **last = &node->list;
    bool optional = false;
    fkv_jinja_expect_op(p, '(');
    while (!fkv_jinja_at_op(p, ')')) {
        if (node->list) fkv_jinja_expect_op(p, ',');
        jnode *parameter = fkv_jinja_new_node(p, N_PARAMETER);
        parameter->value = fkv_jinja_expect_name(p);
        if (fkv_jinja_take_op(p, '=')) parameter->a = fkv_jinja_parse_expression(p);
        if (optional && !parameter->a) fkv_jinja_bad(p->j, "a parameter without a default follows one with a default");
        if (!parameter->a && fkv_jinja_is(parameter->value, "caller"))
            fkv_jinja_bad(p->j, "the parameter 'caller' needs a default");
        optional = parameter->a;
        *last = parameter;
        last = &parameter->next;
    }
    fkv_jinja_advance(p);
}

static void parse_macro_body(jparser *p, jnode *node, const char *end)
{
    const unsigned outside = p->uses;
    p->uses = 0;
    node->body = parse_separate_body(p, end);
    node->op = (int)p->uses;
    p->uses |= outside;
}

static jnode *parse_macro(jparser *p)
{
    jnode *node = fkv_jinja_new_node(p, N_MACRO);
    fkv_jinja_advance(p);
    node->value = fkv_jinja_expect_name(p);
    parse_parameters(p, node);
    parse_macro_body(p, node, "endmacro");
    return node;
}

/* {% call(a, b) m(...) %}: m is called with a macro `caller`, made of these parameters and the body. */
static jnode *parse_call_block(jparser *p)
{
    jnode *node = fkv_jinja_new_node(p, N_CALL_BLOCK);
    fkv_jinja_advance(p);
    if (fkv_jinja_at_op(p, '(')) parse_parameters(p, node);
    node->a = fkv_jinja_parse_expression(p);
    if (node->a->kind != N_CALL) fkv_jinja_bad(p->j, "expected a call");
    node->value = fkv_jinja_string("caller", 6);
    parse_macro_body(p, node, "endcall");
    return node;
}

/* Without a template that extends this one, a block stands where it is. */
static jnode *parse_block(jparser *p)
{
    jnode *node = fkv_jinja_new_node(p, N_BLOCK);
    fkv_jinja_advance(p);
    const jvalue name = node->value = fkv_jinja_expect_name(p);
    for (const jnode *b = p->j->blocks; b; b = b->other) {
        fkv_jinja_work(p->j, 1);
        if (fkv_jinja_equal(p->j, b->value, name)) fkv_jinja_bad(p->j, "block '%.*s' is there twice", J_SHOWN(name));
    }
    node->other = p->j->blocks;
    p->j->blocks = node;
    if (fkv_jinja_at_name(p, "scoped") || fkv_jinja_at_name(p, "required"))
        fkv_jinja_lacks(p->j, "a block that is %.*s is not supported", J_SHOWN(p->now.value));
    const char *const ends[] = {"endblock", NULL};
    const int loops = p->loops;
    p->loops = 0;
    node->body = parse_body(p, ends);
    p->loops = loops;
    fkv_jinja_advance(p);
    if (p->now.kind == T_NAME && fkv_jinja_equal(p->j, p->now.value, name)) fkv_jinja_advance(p);
    return node;
}

static jnode *parse_with(jparser *p)
{
    jnode *node = fkv_jinja_new_node(p, N_SCOPE), **last = &node->list;
    fkv_jinja_advance(p);
    while (p->now.kind != T_TAG_END) {
        if (node->list) fkv_jinja_expect_op(p, ',');
        jnode *set = fkv_jinja_new_node(p, N_SET);
        set->a = fkv_jinja_parse_target(p, false);
        fkv_jinja_expect_op(p, '=');
        set->b = fkv_jinja_parse_expression(p);
        *last = set;
        last = &set->next;
    }
    node->body = parse_body_to(p, "endwith");
    return node;
}

/* {% autoescape false %} changes nothing: templates of chats are rendered without. */
static jnode *parse_autoescape(jparser *p)
{
    jnode *node = fkv_jinja_new_node(p, N_SCOPE);
    fkv_jinja_advance(p);
    if (!fkv_jinja_take_name(p, "false") && !fkv_jinja_take_name(p, "False"))
        fkv_jinja_lacks(p->j, "autoescape by '%.*s' is not supported, only by false", J_SHOWN(p->now.source));
    node->body = parse_body_to(p, "endautoescape");
    return node;
}

/* {% generation %} marks the assistant's words for training; here its body is merely printed. */
static jnode *parse_generation(jparser *p)
{
    jnode *node = fkv_jinja_new_node(p, N_PRINT);
    fkv_jinja_advance(p);
    node->a = parse_capture(p, "endgeneration");
    return node;
}

static jnode *parse_jump(jparser *p)
{
    jnode *node = fkv_jinja_new_node(p, fkv_jinja_at_name(p, "break") ? N_BREAK : N_CONTINUE);
    if (!p->loops) fkv_jinja_bad(p->j, "%.*s outside of a loop", J_SHOWN(p->now.value));
    fkv_jinja_advance(p);
    return node;
}

static jnode *parse_tag(jparser *p)
{
    static const struct {
        const char *name;
        jnode *(*parse)(jparser *);
    } tags[] = {{"if", parse_if},
                {"for", parse_for},
                {"set", parse_set},
                {"macro", parse_macro},
                {"call", parse_call_block},
                {"block", parse_block},
                {"with", parse_with},
                {"autoescape", parse_autoescape},
                {"break", parse_jump},
                {"continue", parse_jump},
                {"generation", parse_generation},
                {"filter", parse_filter_tag}};
    if (p->now.kind != T_NAME) fkv_jinja_unexpected(p, "the name of a tag");
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (fkv_jinja_at_name(p, tags[i].name)) return tags[i].parse(p);
    jvalue name = p->now.value;
    if ((name.n > 3 && !memcmp(name.text, "end", 3)) || fkv_jinja_is(name, "else") || fkv_jinja_is(name, "elif"))
        fkv_jinja_bad(p->j, "nothing is open that '%.*s' could end", J_SHOWN(name));
    fkv_jinja_lacks(p->j, "tag '%.*s' is not supported", J_SHOWN(name));
}

jnode *fkv_jinja_parse(jinja *j, const char *source, size_t n)
{
    jparser p = {.j = j};
    fkv_jinja_start_lexer(&p.lexer, j, source, n);
    fkv_jinja_next_token(&p.lexer, &p.then);
    fkv_jinja_advance(&p);
    return parse_until(&p, NULL);
}
