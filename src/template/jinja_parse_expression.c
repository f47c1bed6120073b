/* The parser: expressions. Binary operators by precedence climbing, all of them left-associative as in Jinja. */
#include <string.h>

#include "template/jinja_syntax.h"

enum level { NO_OPERATOR, OR, AND, NOT, COMPARE, ADD, JOIN, MULTIPLY, POWER };

static jnode *append(jnode ***last, jnode *node)
{
    **last = node;
    *last = &node->next;
    return node;
}

static enum level operator_level(const jparser *p, int *op)
{
    *op = p->now.op;
    if (p->now.kind == T_NAME) {
        if (fkv_jinja_at_name(p, "or")) return OR;
        if (fkv_jinja_at_name(p, "and")) return AND;
        *op = OP_IN;
        if (fkv_jinja_at_name(p, "in")) return COMPARE;
        *op = OP_NOT_IN;
        bool in_follows = p->then.kind == T_NAME && p->then.value.n == 2 && !memcmp(p->then.value.text, "in", 2);
        return fkv_jinja_at_name(p, "not") && in_follows ? COMPARE : NO_OPERATOR;
    }
    if (p->now.kind != T_OPERATOR) return NO_OPERATOR;
    switch (p->now.op) {
    case OP_EQ:
    case OP_NE:
    case '<':
    case '>':
    case OP_LE:
    case OP_GE: return COMPARE;
    case '+':
    case '-': return ADD;
    case '~': return JOIN;
    case '*':
    case '/':
    case '%':
    case OP_FLOOR: return MULTIPLY;
    case OP_POWER: return POWER;
    default: return NO_OPERATOR;
    }
}

static jnode *parse_unary(jparser *p, bool filters);

/* An expression of operators that bind at least as tightly as `least`. */
static jnode *parse_binary(jparser *p, enum level least)
{
    jnode *left;
    int op;
    fkv_jinja_enter(p->j);
    if (least <= NOT && fkv_jinja_at_name(p, "not")) {
        left = fkv_jinja_new_node(p, N_NOT);
        fkv_jinja_advance(p);
        left->a = parse_binary(p, NOT);
    } else {
        left = parse_unary(p, true);
    }
    for (enum level level; (level = operator_level(p, &op)) != NO_OPERATOR && level >= least;) {
        jnode *node = fkv_jinja_new_node(p, level == OR        ? N_OR
                                            : level == AND     ? N_AND
                                            : level == COMPARE ? N_COMPARE
                                                               : N_BINARY);
        node->a = left;
        if (level == COMPARE) { /* a < b < c is one node */
            for (jnode **last = &node->list; operator_level(p, &op) == COMPARE;) {
                jnode *operand = append(&last, fkv_jinja_new_node(p, N_OPERAND));
                operand->op = op;
                fkv_jinja_advance(p);
                if (op == OP_NOT_IN) fkv_jinja_advance(p);
                operand->a = parse_binary(p, COMPARE + 1);
            }
        } else {
            node->op = op;
            fkv_jinja_advance(p);
            node->b = parse_binary(p, level + 1);
        }
        left = node;
    }
    fkv_jinja_leave(p->j);
    return left;
}

jnode *fkv_jinja_parse_expression(jparser *p)
{
    fkv_jinja_enter(p->j);
    jnode *node = parse_binary(p, OR);
    while (fkv_jinja_at_name(p, "if")) {
        jnode *choice = fkv_jinja_new_node(p, N_CHOICE);
        fkv_jinja_advance(p);
        choice->b = node;
        choice->a = parse_binary(p, OR);
        if (fkv_jinja_take_name(p, "else")) choice->c = fkv_jinja_parse_expression(p);
        node = choice;
    }
    fkv_jinja_leave(p->j);
    return node;
}

static jnode *parse_primary(jparser *p, bool members);

/* What a tuple is made of: expressions, expressions without `if`, or targets. */
enum part { EXPRESSION, NO_CHOICE, TARGET, MEMBER_TARGET };

static jnode *parse_part(jparser *p, enum part part)
{
    if (part == EXPRESSION) return fkv_jinja_parse_expression(p);
    return part == NO_CHOICE ? parse_binary(p, OR) : parse_primary(p, part == MEMBER_TARGET);
}

static bool at_tuple_end(const jparser *p, enum part part)
{
    return p->now.kind == T_PRINT_END || p->now.kind == T_TAG_END || fkv_jinja_at_op(p, ')') ||
           (part == TARGET && fkv_jinja_at_name(p, "in"));
}

static jnode *parse_parts(jparser *p, enum part part, bool parentheses)
{
    jnode *tuple = fkv_jinja_new_node(p, N_TUPLE), **last = &tuple->list;
    bool comma = false;
    while (!at_tuple_end(p, part)) {
        append(&last, parse_part(p, part));
        if (!fkv_jinja_at_op(p, ',')) break;
        comma = true;
        fkv_jinja_advance(p);
    }
    if (comma) return tuple;
    if (!tuple->list && !parentheses) fkv_jinja_unexpected(p, "an expression");
    return tuple->list ? tuple->list : tuple;
}

jnode *fkv_jinja_parse_tuple(jparser *p, int flags)
{
    return parse_parts(p, flags & J_NO_CHOICE ? NO_CHOICE : EXPRESSION, flags & J_PARENTHESES);
}

static void check_target(jparser *p, const jnode *node)
{
    if (node->kind == N_TUPLE)
        for (const jnode *item = node->list; item; item = item->next) check_target(p, item);
    else if (node->kind != N_NAME && node->kind != N_ATTRIBUTE)
        fkv_jinja_bad(p->j, "this cannot be assigned to");
}

jnode *fkv_jinja_parse_target(jparser *p, bool members)
{
    jnode *target = parse_parts(p, members ? MEMBER_TARGET : TARGET, false);
    check_target(p, target);
    return target;
}

static jnode *parse_literal(jparser *p, jvalue value)
{
    jnode *node = fkv_jinja_new_node(p, N_LITERAL);
    node->value = value;
    fkv_jinja_advance(p);
    return node;
}

static jnode *parse_strings(jparser *p)
{
    jnode *node = parse_literal(p, p->now.value);
    if (p->now.kind != T_STRING) return node;
    jbuffer joined = {0};
    fkv_jinja_put_string(p->j, &joined, node->value);
    for (; p->now.kind == T_STRING; fkv_jinja_advance(p)) fkv_jinja_put_string(p->j, &joined, p->now.value);
    node->value = fkv_jinja_taken(&joined);
    return node;
}

static jnode *parse_name(jparser *p, bool members)
{
    for (int i = 0; i < 2; i++) {
        if (fkv_jinja_at_name(p, i ? "true" : "True") || fkv_jinja_at_name(p, i ? "false" : "False"))
            return parse_literal(p, fkv_jinja_bool((p->now.value.text[0] | 32) == 't'));
        if (fkv_jinja_at_name(p, i ? "none" : "None")) return parse_literal(p, fkv_jinja_none());
    }
    jnode *node = fkv_jinja_new_node(p, N_NAME);
    p->uses |= fkv_jinja_at_name(p, "caller")    ? J_USES_CALLER
               : fkv_jinja_at_name(p, "varargs") ? J_USES_VARARGS
               : fkv_jinja_at_name(p, "kwargs")  ? J_USES_KWARGS
                                                 : 0;
    node->value = fkv_jinja_expect_name(p);
    if (!members || !fkv_jinja_at_op(p, '.')) return node;
    jnode *member = fkv_jinja_new_node(p, N_ATTRIBUTE);
    fkv_jinja_advance(p);
    member->a = node;
    member->value = fkv_jinja_expect_name(p);
    return member;
}

/* [a, b] and {k: v}: items up to `end`, a last comma allowed. */
static jnode *parse_items(jparser *p, enum jnode_kind kind, char end)
{
    jnode *node = fkv_jinja_new_node(p, kind), **last = &node->list;
    fkv_jinja_advance(p);
    while (!fkv_jinja_take_op(p, end)) {
        if (node->list) {
            fkv_jinja_expect_op(p, ',');
            if (fkv_jinja_take_op(p, end)) break;
        }
        append(&last, fkv_jinja_parse_expression(p));
        if (kind == N_DICT) {
            fkv_jinja_expect_op(p, ':');
            append(&last, fkv_jinja_parse_expression(p));
        }
    }
    return node;
}

static jnode *parse_primary(jparser *p, bool members)
{
    if (p->now.kind == T_NAME) return parse_name(p, members);
    if (p->now.kind == T_STRING) return parse_strings(p);
    if (p->now.kind == T_NUMBER) return parse_literal(p, p->now.value);
    if (fkv_jinja_at_op(p, '[')) return parse_items(p, N_LIST, ']');
    if (fkv_jinja_at_op(p, '{')) return parse_items(p, N_DICT, '}');
    if (!fkv_jinja_take_op(p, '(')) fkv_jinja_unexpected(p, "an expression");
    jnode *node = fkv_jinja_parse_tuple(p, J_PARENTHESES);
    fkv_jinja_expect_op(p, ')');
    return node;
}

/* The arguments in parentheses of a call, filter or test. */
static jnode *parse_arguments(jparser *p)
{
    jnode *list = NULL, **last = &list;
    bool named = false, star = false, stars = false;
    fkv_jinja_expect_op(p, '(');
    while (!fkv_jinja_take_op(p, ')')) {
        if (list) {
            fkv_jinja_expect_op(p, ',');
            if (fkv_jinja_take_op(p, ')')) break;
        }
        if (fkv_jinja_at_op(p, '*') || fkv_jinja_at_op(p, OP_POWER)) {
            jnode *unpack = append(&last, fkv_jinja_new_node(p, N_UNPACK));
            unpack->op = p->now.op;
            if (stars || (star && unpack->op == '*')) fkv_jinja_unexpected(p, "an argument");
            *(unpack->op == '*' ? &star : &stars) = true;
            fkv_jinja_advance(p);
            unpack->a = fkv_jinja_parse_expression(p);
            continue;
        }
        if (stars) fkv_jinja_bad(p->j, "an argument follows one with '**'");
        if (p->now.kind == T_NAME && p->then.kind == T_OPERATOR && p->then.op == '=') {
            jnode *keyword = append(&last, fkv_jinja_new_node(p, N_KEYWORD));
            keyword->value = fkv_jinja_expect_name(p);
            fkv_jinja_advance(p);
            keyword->a = fkv_jinja_parse_expression(p);
            named = true;
        } else if (named || star) {
            fkv_jinja_bad(p->j, "an argument without a name follows one with a name");
        } else {
            append(&last, fkv_jinja_parse_expression(p));
        }
    }
    return list;
}

/* One index, or a slice a:b:c. */
static jnode *parse_index(jparser *p)
{
    jnode *slice = fkv_jinja_new_node(p, N_SLICE), **parts[] = {&slice->a, &slice->b, &slice->c};
    int part = 0;
    for (;; part++) {
        if (!fkv_jinja_at_op(p, ':') && !fkv_jinja_at_op(p, ']')) *parts[part] = fkv_jinja_parse_expression(p);
        if (part == 2 || !fkv_jinja_take_op(p, ':')) break;
    }
    if (!part && !slice->a) fkv_jinja_unexpected(p, "an index");
    return part ? slice : slice->a;
}

/* Attributes, indices and calls behind an operand. */
static jnode *parse_postfix(jparser *p, jnode *operand)
{
    while (fkv_jinja_at_op(p, '(') || fkv_jinja_at_op(p, '[') || fkv_jinja_at_op(p, '.')) {
        jnode *node = fkv_jinja_new_node(p, N_ATTRIBUTE);
        node->a = operand;
        if (fkv_jinja_at_op(p, '(')) {
            node->kind = N_CALL;
            node->list = parse_arguments(p);
        } else if (fkv_jinja_take_op(p, '[')) {
            node->kind = N_ITEM;
            node->b = parse_index(p);
            fkv_jinja_expect_op(p, ']');
        } else {
            fkv_jinja_advance(p);
            if (p->now.kind == T_NUMBER && p->now.value.kind == J_INT) { /* x.0 is x[0] */
                node->kind = N_ITEM;
                node->b = parse_literal(p, p->now.value);
            } else {
                node->value = fkv_jinja_expect_name(p);
            }
        }
        operand = node;
    }
    return operand;
}

jnode *fkv_jinja_parse_filters(jparser *p, jnode *operand)
{
    while (fkv_jinja_at_op(p, '|')) {
        jnode *node = fkv_jinja_new_node(p, N_FILTER);
        fkv_jinja_advance(p);
        node->a = operand;
        node->value = fkv_jinja_expect_name(p);
        if (fkv_jinja_at_op(p, '(')) node->list = parse_arguments(p);
        operand = node;
    }
    return operand;
}

/* `is` is taken already. An argument may stand without parentheses: x is divisibleby 3. */
static jnode *parse_test(jparser *p, jnode *operand)
{
    jnode *test = fkv_jinja_new_node(p, N_TEST);
    bool negated = fkv_jinja_take_name(p, "not");
    test->a = operand;
    test->value = fkv_jinja_expect_name(p);
    bool keyword = fkv_jinja_at_name(p, "else") || fkv_jinja_at_name(p, "or") || fkv_jinja_at_name(p, "and");
    bool value_follows = p->now.kind == T_STRING || p->now.kind == T_NUMBER || (p->now.kind == T_NAME && !keyword) ||
                         fkv_jinja_at_op(p, '[') || fkv_jinja_at_op(p, '{');
    if (fkv_jinja_at_op(p, '('))
        test->list = parse_arguments(p);
    else if (fkv_jinja_at_name(p, "is"))
        fkv_jinja_bad(p->j, "tests cannot be chained");
    else if (value_follows)
        test->list = parse_postfix(p, parse_primary(p, false));
    if (!negated) return test;
    jnode *not = fkv_jinja_new_node(p, N_NOT);
    not ->a = test;
    return not ;
}

static jnode *parse_unary(jparser *p, bool filters)
{
    jnode *node;
    fkv_jinja_enter(p->j);
    if (fkv_jinja_at_op(p, '-') || fkv_jinja_at_op(p, '+')) {
        node = fkv_jinja_new_node(p, N_UNARY);
        node->op = p->now.op;
        fkv_jinja_advance(p);
        node->a = parse_unary(p, false);
    } else {
        node = parse_primary(p, false);
    }
    node = parse_postfix(p, node);
    while (filters) {
        if (fkv_jinja_at_op(p, '|'))
            node = fkv_jinja_parse_filters(p, node);
        else if (fkv_jinja_take_name(p, "is"))
            node = parse_test(p, node);
        else
            break;
    }
    fkv_jinja_leave(p->j);
    return node;
}
