#!/usr/bin/env python3
"""Writes jinja_cases.jsonl: small templates and what Jinja2 makes of them.

Needs jinja2 3.1.6. usage: make_jinja_cases.py > jinja_cases.jsonl

The environment is the one in which the transformers library renders chat templates: sandboxed, nothing can be changed in place,
trim_blocks, lstrip_blocks, loop controls, tojson that escapes nothing, {% generation %}. A row has `template`, `context` and either
`text` or `"error": true`, where Jinja2 refuses the template. A long template is a row of its own, `name, template`; the rows with that
`name` after it are rendered from it."""
import itertools
import json
import re
import sys

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    tags = {'generation'}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(['name:endgeneration'], drop_needle=True)
        return nodes.CallBlock(self.call_method('_body'), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


ENV = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
ENV.filters['tojson'] = tojson
ENV.globals['raise_exception'] = raise_exception

CONTEXT = {
    'a': 1, 'b': 2, 'zero': 0, 'f': 2.5, 's': 'Hello, World', 'e': '', 'u': 'Grüße 😀 日本', 'n': None, 't': True, 'no': False,
    'l': [1, 2, 3, 4, 5], 'w': ['b', 'A', 'c', 'B', 'a'], 'empty': [], 'd': {'x': 1, 'y': {'z': [10, 20]}, 'items': 'mine'}, 'ed': {},
    'm': [{'role': 'system', 'content': ' Be brief. '}, {'role': 'user', 'content': 'Hi\n'}, {'role': 'assistant', 'content': 'Yo'}],
    'p': [{'name': 'Ann', 'age': 30, 'on': True}, {'name': 'bob', 'age': 4}, {'name': 'Cid', 'age': 30, 'on': False}],
    'q': 'it\'s "quoted" \\ and\ttabbed\n', 'html': '<a href="x">\'&\'</a>', 'words': '  one two  three ', 'lines': 'a\nb\r\n\nc',
}

# Printed as {{ ... }}, one row each.
EXPRESSIONS = r'''
1
-1
+a
1.5
1e3
1.0
1e16
1e-5
0.0001
1.5e300 * 1e10
123456789012345680.0
0.1 + 0.2
1_000
0x1F
0b101
0o17
1e22
5e-324
'a' "b" 'c'
'tab\there'
'\x41\u00e9\U0001F600\101'
'\q'
'line\
join'
"it's"
'say "hi"'
true
True
false
none
None
n
t
[1, 'a', none, true, 1.0, [], {}]
(1,)
(1, 2)
()
1, 2
{'a': 1, "b": [1, 2]}
{1: 'x', true: 'y', none: 'z'}
{}
[1, 2, ]
{'a': 1, }
[q]
[u, 'it\'s', "\x00\x7f\x1b\u200b\u00a0"]
d
a + b
a - b * 2
a / b
7 // 2
-7 // 2
7 % 3
-7 % 3
7 % -3
7.5 % 2
-7.5 // 2
7.5 // -2
2 ** 10
2 ** -1
2 ** 3 ** 2
-2 ** 2
2 ** 0.5
6 / 3
true + true
s + '!'
l + [6]
(1,) + (2,)
s * 2
2 * 'ab'
'ab' * -1
[0] * 3
(1, 2) * 2
a ~ s ~ n ~ 1.0
a ~ b + 1
'a' ~ undefined_name ~ 'b'
a == 1
1 == 1.0
true == 1
'1' == 1
none == n
l == [1, 2, 3, 4, 5]
d == {'y': {'z': [10, 20]}, 'items': 'mine', 'x': 1}
(1, 2) == [1, 2]
a != b
a < b
1 < 2 < 3
1 < 3 < 2
3 > 2 >= 2 != 1
'a' < 'b'
'Z' < 'a'
[1, 2] < [1, 3]
[1] < [1, 0]
(1, 'a') < (1, 'b')
undefined_name == other_undefined
undefined_name == none
undefined_name != ''
1 in l
9 in l
9 not in l
'ell' in s
'' in s
'x' in d
'q' not in d
1 in (1, 2)
none in [none]
'a' in undefined_name
not a
not not a
not a == 1
a and b
zero and b
zero or b
e or n or 'last'
no or zero
not zero and b
a if t else b
a if no else b
a if no
(a if no) is defined
a if zero else b if zero else 'c'
'y' if a == 1 and b == 2 else 'n'
1 if a is defined else 2
[a if t else b, 3]
l[0]
l[-1]
l[9]
l[9] is defined
l[1:3]
l[:2]
l[2:]
l[:]
l[::2]
l[::-1]
l[-2:]
l[:-1]
l[3:1]
l[10:]
l[-100:2]
l[4:0:-2]
l[-1:-4:-1]
l[::100]
l[none:2]
(1, 2, 3)[1:]
s[0]
s[-1]
s[1:4]
s[::-1]
u[0:7]
u[6]
u[::-1]
u[-2:]
s[99]
e[0]
l[true]
l['0']
l.0
l.1
d.x
d['x']
d.y.z[1]
d['y']['z'][0]
d.missing
d.missing is defined
d['missing'] is defined
d['items']
d.items is callable
n.foo
n['foo']
a.foo
s.foo
m[0].role
m[0]['content']
m[-1].role
m[0].content.strip()
m | length
l | count
s | length
u | length
d | length
undefined_name | length
s | upper
s | lower
u | upper
s | title
'a-b (c) d_e don\'t x1y' | title
'hELLO wORLD' | capitalize
e | capitalize
'  x ' | trim
'xxaxx' | trim('x')
'abcba' | trim('ab')
42 | trim
s | replace('l', 'L')
s | replace('l', 'L', 2)
'aaa' | replace('a', 'aa')
'abc' | replace('', '-')
'' | replace('', '-')
12 | replace(1, 3)
html | e
html | escape
html | safe
q | tojson
u | tojson
d | tojson
m | tojson
d | tojson(indent=2)
d | tojson(indent=0)
empty | tojson(indent=4)
[ed, empty] | tojson(indent=4)
m | tojson(indent=4)
[1, 2.0, none, true, 'x'] | tojson
{1: 2, none: 3, true: 4, 1.5: 5} | tojson
(1, (2,)) | tojson
u | tojson(ensure_ascii=true)
d | tojson(separators=(',', ':'))
{'b': 1, 'a': {'d': 2, 'c': 3}} | tojson(sort_keys=true)
'\x00\x1f\x7f/' | tojson
'\x7f' | tojson(ensure_ascii=true)
1e400 | tojson
-1e400
1e400 - 1e400
l | join(', ')
l | join
['a', 1, none] | join('-')
p | join(', ', attribute='name')
s | join('.')
empty | join(',')
l | first
l | last
empty | first
empty | last
s | first
u | last
d | first
d | list
s | list
l | list
(1, 2) | list
undefined_name | list
l | reverse | list
s | reverse
u | reverse
undefined_name | default('x')
undefined_name | default
n | default('x')
n | default('x', true)
e | d('x', boolean=true)
d.missing | d('x')
a | default('x')
5 | string
'5' | int
'5.7' | int
' 7 ' | int
'x' | int
'x' | int(9)
'x' | int(default=8)
none | int
5.9 | int
-5.9 | int
true | int
'-3' | int
'+3' | int
'' | int
'1e3' | int
'3.5' | float
'x' | float
'x' | float(1.5)
3 | float
' 2 ' | float
-3 | abs
-2.5 | abs
3 | abs
2.5 | round
3.5 | round
2.675 | round(2)
42.55 | round(1, 'floor')
42.55 | round(1, 'ceil')
42 | round
-2.5 | round
l | sum
p | sum(attribute='age')
[1.5, 2] | sum
l | sum(start=10)
[[1], [2]] | sum(start=[])
w | sort
w | sort(reverse=true)
w | sort(case_sensitive=true)
w | sort(true, true)
p | sort(attribute='age') | map(attribute='name') | list
p | sort(attribute='age,name', reverse=true) | map(attribute='name') | list
[3, 1, 2] | sort
[[2, 'a'], [1, 'b']] | sort
w | unique | list
[1, 1, 2, 1.0, true] | unique | list
p | unique(attribute='age') | map(attribute='name') | list
w | min
w | max
l | min
l | max
[3, 1.5] | max
empty | max
p | max(attribute='age')
['b', 'A'] | min(case_sensitive=true)
d | items | list
{'b': 2, 'a': 1, 'C': 3} | dictsort
{'b': 2, 'a': 1, 'C': 3} | dictsort(true)
{'b': 2, 'a': 1} | dictsort(false, 'value')
{'b': 2, 'a': 1} | dictsort(reverse=true)
undefined_name | items | list
m | map(attribute='role') | list
m | map(attribute='content.0') | list
p | map(attribute='on') | list
p | map(attribute='on', default='-') | list
w | map('upper') | join
l | map('string') | join(',')
['a b', 'c'] | map('replace', ' ', '_') | list
l | select('odd') | list
l | reject('odd') | list
l | select('gt', 2) | list
l | select('in', [1, 5]) | list
[0, 1, '', 'a', none] | select | list
[0, 1, '', 'a', none] | reject | list
m | selectattr('role', 'equalto', 'user') | list
m | rejectattr('role', 'eq', 'user') | map(attribute='role') | join(',')
p | selectattr('on') | map(attribute='name') | list
p | selectattr('on', 'defined') | map(attribute='name') | list
p | rejectattr('on') | map(attribute='name') | list
p | selectattr('age', '>', 10) | list | length
p | selectattr('name', 'in', ['Ann', 'bob']) | list | length
'yes' if m | selectattr('role', 'equalto', 'tool') else 'no'
'yes' if m | selectattr('role', 'equalto', 'tool') | list else 'no'
'a\nb\n\nc' | indent
'a\nb\n\nc' | indent(2)
'a\nb\n\nc' | indent(2, true)
'a\nb\n\nc' | indent(2, first=true, blank=true)
'a\nb\n' | indent('> ')
-1 | abs
-x | default(3)
'x' ~ 1 | string
a is defined
undefined_name is defined
undefined_name is undefined
a is not defined
n is none
a is none
n is not none
s is string
a is string
d is mapping
l is mapping
l is iterable
s is iterable
a is iterable
d is iterable
l is sequence
s is sequence
d is sequence
a is sequence
(1,) is sequence
undefined_name is sequence
undefined_name is iterable
a is number
f is number
t is number
s is number
a is integer
t is integer
f is integer
f is float
a is float
t is boolean
a is boolean
t is true
a is true
no is false
zero is false
a is odd
a is even
b is even
6 is divisibleby 3
6 is divisibleby(4)
a is equalto 1
a is eq 2
a is ne 2
a == 1 and b is gt 1
a is lt(2)
a is le 1
a is ge 2
a is in [1, 2]
a is not in [1, 2]
'x' is in d
a is sameas 1
n is sameas none
s is lower
'abc' is lower
'ABC' is upper
'12' is upper
'trim' is filter
'nonsense' is filter
raise_exception is callable
undefined_name is callable
s is callable
n | map('upper') | list
a is defined and b is defined
not a is defined
a is defined or x
m[0].role is equalto 'system'
s is string and s | length > 3
'  x '.strip()
'  x '.lstrip() ~ '|'
'  x '.rstrip() ~ '|'
'xxaxx'.strip('x')
'xyaxy'.lstrip('xy')
'axy'.rstrip('yx')
'\u00a0\u3000x\u2003'.strip()
'a,b,,c'.split(',')
'a,b,c'.split(',', 1)
'a,b,c'.split(',', maxsplit=1)
words.split()
words.split(none, 1)
words.split(' ')
''.split()
''.split(',')
'a,b,c'.rsplit(',', 1)
'a--b--c'.rsplit('--', 1)
'a,b'.rsplit(',')
'a</think>b'.split('</think>')[-1].lstrip('\n')
lines.splitlines()
lines.splitlines(true)
s.startswith('Hell')
s.startswith('x')
s.startswith(('x', 'H'))
s.endswith('ld')
s.endswith(('x', 'y'))
s.replace('o', '0')
s.replace('o', '0', 1)
s.upper()
s.lower()
'they\'re bill\'s x1y'.title()
'hELLO'.capitalize()
s.find('o')
s.find('zz')
s.rfind('o')
u.find('日')
s.index('W')
s.count('l')
'aaaa'.count('aa')
'abc'.count('')
', '.join(['a', 'b'])
''.join([])
'12'.isdigit()
'1a'.isdigit()
''.isdigit()
'ab'.isalpha()
'a1'.isalnum()
' \n'.isspace()
'Ab'.islower()
'AB1'.isupper()
'prefix-x'.removeprefix('prefix-')
'x.jinja'.removesuffix('.jinja')
d.get('x')
d.get('q')
d.get('q', 'dflt')
d.get('y').get('z')
d.keys() | list
d.values() | list
d.y.items() | list
ed.items() | list
d.keys() | length
'x' in d.keys()
l.index(3)
l.count(1)
(1, 2, 1).count(1)
range(3) | list
range(1, 4) | list
range(10, 0, -3) | list
range(0) | list
range(5, 1) | list
range(3) | join(',')
range(3) | length
dict(a=1, b=2)
dict({'x': 1}, y=2)
dict([('k', 'v')])
namespace(a=1)
namespace(a=1).a
namespace(a=1).b is defined
namespace({'k': 2}).k
[undefined_name]
undefined_name
d.missing
'%}' ~ '}}'
{'a': {'b': {'c': 1}}}.a.b.c
{'a': 1}['a']
[[1, 2], [3]][0][1]
'a'.upper().lower().upper()
(s | upper).lower()
[1, 2, 3] | map('string') | list
'x' if not n else 'y'
1 + 2 | string | length
(1 + 2) | string | length
m | map(attribute='content') | map('trim') | list
m[1:] | map(attribute='role') | join('+')
s[:5] + '...' if s | length > 5 else s
l[a:b + 1]
l[(a):]
not (a and zero)
(a)
((a))
a or b and zero
(a or b) and zero
a + b ~ a * b
a < b and b < 3 or no
a in l and 'x' in d
d.y['z'] | last
'a' in 'abc' and not 'z' in 'abc'
'tool_calls' in m[0]
m[0].tool_calls is defined and m[0].tool_calls
m[0]['tool_calls'] | default([]) | length
'café' | upper
'ÀÉ' | lower
'É'.lower() ~ 'é'.upper()
'\r\n\t' | tojson
["a'b", 'a"b', 'a\'"b', 'a\\b', 'a\nb', 'é', '\u00ad', '\ue000']
1000000 * 1000000
9007199254740993
9007199254740993.0
1 / 3
2 / 3
100 / 3
1e15
1e15 + 0.5
123456.789
-0.0
0.1
1.1e-7
12345678901234567.0
'abc' * 0
none ~ none
-l[0]
- 5 | abs
+5
(-7) | abs
1 if 0 else 2
'a' 'b' | upper
['x'] * 2 + ['y']
"a" + 'b' * 2
l[-1] == 5
5 == l[-1] == 5
1 <= a <= 1
'A' | lower in ['a']
loop is defined
a.real is defined and no
'x\
y'
'<|{}|>'.format('im_start')
'{0} {1} {0}'.format('a', 'b')
'{x}-{y}'.format(x=1, y='z')
'{:>5}|{:<5}|{:^5}|'.format('a', 'b', 'c')
'{:*>5}|{:05d}|{:+d}|{: d}'.format('a', 42, 7, 7)
'{:x} {:X} {:o} {:b} {:#x} {:#b}'.format(255, 255, 8, 5, 255, 5)
'{:.2f} {:e} {:g} {:.3}'.format(3.14159, 12345.678, 0.0001, 2.71828)
'{:,} {:_} {:,.2f}'.format(1234567, 1234567, 1234567.891)
'{:%}'.format(0.25)
'{:.1%}'.format(0.256)
'{!r} {!s}'.format('a', 'b')
'{{}} {}'.format(1)
'{0[x]} {0[y][z]}'.format(d)
'{0[0]}'.format(l)
'{:{w}}|'.format('a', w=6)
'{:>{}}|'.format('a', 6)
'{}'.format(n)
'{}'.format(1.0)
'{:d}'.format(true)
'{}'.format(true)
'{:5}|'.format(true)
'{:5}|'.format(1.5)
'{:<5}|'.format(1.5)
'{:.3}|'.format('abcdef')
'{:10.3}|'.format('abcdef')
'{:c}'.format(65)
'{:08.3f}'.format(-3.14159)
'{:=+8}'.format(5)
'{:s}'.format('x')
'{:n}'.format(5)
'{:.0f} {:.0f}'.format(2.5, 3.5)
'{:g} {:g} {:g}'.format(1e10, 1e-10, 100000.0)
'{:.3} {:.3} {:.3} {:.1}'.format(1234.5, 3.0, 123.0, 5.0)
'{:E} {:G}'.format(1e-5, 1e-5)
'{} {}'.format(*[1, 2])
'{a}'.format(**{'a': 1})
'{:05}'.format('a')
'{:05}'.format(-3)
'%s' % 'a'
'%s %s' % ('a', 1)
'%d items' % 3
'%05d|%-5d|%+d|% d' % (1, 2, 3, 4)
'%.2f %e %g %5.1f|' % (3.14159, 3.14159, 3.14159, 2.25)
'%x %X %o %#x' % (255, 255, 8, 255)
'%r %s' % ('a', none)
'%(a)s %(b)05d' % {'a': 'x', 'b': 7}
'%%'  % ()
'100%% %s' % 1
'%c%c' % ('a', 98)
'%5s|%-5s|%.2s|' % ('ab', 'cd', 'efgh')
'%s' % [1, 2]
'a' % []
'%s' % (n,)
'%*d' % (5, 3)
'%-*d|' % (5, 3)
'%.*f' % (2, 3.14159)
'%i %u' % (3, 4)
'%d' % 3.99
'%d' % true
'%05s' % 'a'
'%s' % undefined_name
'%.3d' % 7
'%+.2f' % -1.5
'%s, %s' | format('a', 'b')
'%(x)s' | format(x=5)
'%d' | format(3)
'a,b,c'.partition(',')
'a,b,c'.rpartition(',')
'abc'.partition(',')
'abc'.rpartition(',')
'42'.zfill(5)
'-42'.zfill(5)
'+4'.zfill(1)
'é'.zfill(3)
'ab'.center(6) ~ '|'
'ab'.center(7, '*')
'abc'.center(6, '*')
'a'.center(4,'-')
'ab'.ljust(5) ~ '|'
'ab'.rjust(5, '.')
'aBc'.swapcase()
'Straße'.casefold()
'a\tb'.expandtabs()
'a\tb'.expandtabs(4)
'Hello World'.istitle()
'abc'.isascii()
'é'.isascii()
'12'.isdecimal()
'½'.isnumeric()
'abcabc'.rindex('b')
'abcabc'.find('b', 2)
'abcabc'.find('b', 2, 4)
'abcabc'.rfind('b', 0, 3)
'abcabc'.count('b', 2)
'abcabc'.startswith('c', 2)
'abcabc'.endswith('b', 0, 2)
'abc'.index('c', 1)
' a b  c '.rsplit(none, 1)
' a b  c '.rsplit(none, 2)
'a b'.rsplit(maxsplit=0)
l.copy()
d.copy()
l.index(3, 1)
l.index(3, -4, 5)
range(10)[3]
range(10)[-1]
range(10)[2:5]
range(10)[::2]
range(10)[::-1]
range(10)[2:5] | list
range(3)
range(1, 10, 3)
range(0)
range(3) == range(0, 3, 1)
range(3)[9] is defined
range(5).start
range(5).stop
range(5).step
range(5).index(2)
range(5).count(2)
3 in range(5)
range(3) is sequence
range(3) is iterable
range(5) | first
range(5) | last
range(5) | sum
range(5) | reverse | list
range(5) | max
d.keys()
d.values()
d.y.items()
l | batch(2) | list
l | batch(2, 'x') | list
l | batch(10) | list
l | slice(2) | list
l | slice(3) | list
l | slice(3, 'x') | list
l | slice(7) | list
p | groupby('age')
p | groupby('age') | map(attribute='grouper') | list
(p | groupby('age'))[0].list | length
(p | groupby('age'))[0][0]
w | groupby(0) | list | length
['b', 'A', 'a'] | map('string') | list | groupby('0')
[{'n': 'b'}, {'n': 'A'}, {'n': 'a'}] | groupby('n')
[{'n': 'b'}, {'n': 'A'}, {'n': 'a'}] | groupby('n', case_sensitive=true)
d | attr('items') is callable
d | attr('x') is defined
s | attr('upper') is callable
'a' | center(5) ~ '|'
'ab' | center
1234 | filesizeformat
1 | filesizeformat
0 | filesizeformat
1000000 | filesizeformat
1048576 | filesizeformat(true)
123456789012 | filesizeformat
'hello big world' | truncate(9)
'hello big world' | truncate(9, true)
'hello big world' | truncate(9, true, '!', 0)
'hello big world' | truncate(12, false, '...', 0)
'hello' | truncate(5)
'hello world' | truncate(11)
s | wordcount
'a-b c_d 12' | wordcount
'a b/c?d=e&f' | urlencode
{'a b': 1, 'c': 'd&e'} | urlencode
'é ü' | urlencode
[('a', 1), ('b', 'c/d')] | urlencode
cycler('a', 'b').next()
cycler('a', 'b').current
'trim' is test
'defined' is test
'odd' is test
html | safe
html is escaped
(html | safe) ~ '<'
(html | safe).upper()
('<b>' | safe) * 2
[('<a>' | safe), '<b>'] | join
('<a>' | safe) | string | upper
('<a>' | safe) | trim
('<a>' | safe) == '<a>'
('<a>' | safe) | tojson
('<a>' | safe) | length
('<a>' | safe) | replace('a', '<')
5.0 // 2
7 // -2.0
[3, 1] | sort | first
'abc' | list | join('-')
1 < 2 and 2 < 3
'a' ~ 1 ~ none ~ true
1 if false
dict(a=1).a
dict(**{'a': 1})
namespace(**{'a': 1}).a
'%s' % dict(a=1)
(1, 2)[0]
[1, 2][1:]
'abc'[::-1]
'abc'[-2:]
{'a': 1}.get('b') is none
{'a': 1}.items() | list
{1: 'a'}[1]
{'a': 1} == {'a': 1.0}
[] == ()
none is none
true is true
'1' ~ 1 == '11'
[1, [2, 3]] | tojson
joiner('|')()
lipsum is callable
'a' in ['a'] and 'b' not in ['a']
(1, 2) + (3,)
[1, 2] * 2
'é' | urlencode
-7 // 2 * 2 + -7 % 2
2 ** 3 ** 2
1.0 * 3
10 / 5
7 % 2.5
1e3 | int
'3.7' | float | round | int
2.5 | round(0, 'ceil')
2.567 | round(1, 'floor')
[1.5, 2.5] | map('round') | list
[1, 2, 3] | select('divisibleby', 2) | list
s | list | length
s | first
u | reverse
[{'a': {'b': 2}}] | map(attribute='a.b') | list
[{'a': 1}, {}] | map(attribute='a', default=0) | sum
[1, none, 2] | reject('none') | list
['a', ''] | select | list
{'b': 1, 'a': 2} | dictsort | map('first') | list
{'b': 1, 'a': 2} | items | list
[[1, 2], [3]] | sum(start=[])
'a\nb' | indent(2, true)
'a\n\nb' | indent(2, blank=true)
'abc' is string and 1 is number
loop is undefined
varargs is defined
1_000 + 1
0.1 + 0.2
1e16
1e-7
123456789.123
'\u00e9' == 'é'
"it's" ~ 'a"b'
"it's" | tojson
['it\'s', "a\"b"]
'a' < 'b' < 'c'
not true or true
not (true or true)
l[1:][0]
l[-1:][0]
l | max - l | min
'hello world'.title() | replace('W', 'w')
'a.b.c'.split('.')[1:] | join('.')
'x=1;y=2'.split(';') | map('replace', '=', ':') | join(',')
'abc'.isalpha() and '123'.isdigit()
'A'.lower() in 'abc'
' x '.strip() ~ '|' ~ ' x '.lstrip() ~ '|' ~ ' x '.rstrip()
'abcabc'.replace('b', '', 1)
'a'.join(['1', '2'])
''.join(m | map(attribute='role'))
'%s=%s' % ('a', 1) ~ '!'
'a' 'b' 'c'
'{}-{}'.format('a', 1).upper()
'abc'.format()
'{0.x}'.format(d)
range(3).foo
html | forceescape
'0x1f' | int(0, 16)
'ff' | int(base=16)
'101' | int(base=2)
'0b11' | int(0, 2)
'zz' | int(7, 16)
'0o17' | int(base=8)
'12' | int(base=8)
html | safe is escaped
html | e is escaped
(html | safe) + '<'
'<' + (html | safe)
(html | e) + '<'
('<b>%s</b>' | safe) % '<'
('<b>{}</b>' | safe).format('<')
('<a>' | safe).replace('a', '<')
('<a>' | safe)[0] + '<'
(', ' | safe).join(['<', '>'])
[('<a>' | safe)]
('<a>' | safe) | upper + '<'
'ΟΔΟΣ ΣΑΣ Σ'.lower()
'ΟΔΟΣ ΣΑΣ Σ' | lower
'ΑΣ, ΑΣ.Α ΑΣ. ΑΣ\'Σ Α\'Σ'.lower()
'ΑΣ\u0301 Α\u0301Σ Α\u00adΣ ΑΣʰ 1Σ ΑΣ1'.lower()
'ΣΣ ΑΣΑΣ ὈΔΥΣΣΕΎΣ'.lower()
'ΟΔΟΣ ΣΑΣ' | title
'ΟΔΟΣ-ΣΑΣ ΑΣ'.title()
'ΟΔΟΣ ΣΑΣ'.capitalize()
'ΟΔΟΣ ΣΑΣ' | capitalize
'ΟΔΟΣ Σας'.swapcase()
'ΟΔΟΣ Σας'.casefold()
['ΑΣ', 'ας'] | unique | list
'aBc dß'.swapcase()
'%a' % u
'%a|%8a|%.3a' % ('é', 'ü', '日本')
'%a' % [u, 1]
'%a' % q
'{!a}'.format(u)
'{!a:>12}'.format('é')
'abcß'.translate({97: 'x', 98: none, 99: 'yz', 223: 115})
'abc'.translate({'a': 'x'})
'日本'.translate({26085: '本'})
'abc'.translate({})
self is defined
'''.strip('\n')

# Each must be refused by Jinja2.
REFUSED = [
    "{{ 'a' + 1 }}", "{{ 1 + 'a' }}", "{{ undefined_name.x }}", "{{ undefined_name['x'] }}", "{{ d.missing.x }}", "{{ undefined_name + 1 }}",
    "{{ -undefined_name }}", "{{ undefined_name() }}", "{{ 1 < 'a' }}", "{{ none < 1 }}", "{{ 1 in 'abc' }}", "{{ 1 in 5 }}", "{{ 1 / 0 }}",
    "{{ 1 // 0 }}", "{{ 1 % 0 }}", "{{ undefined_name | tojson }}", "{{ a | length }}", "{{ n | length }}", "{% for x in 5 %}{% endfor %}",
    "{% for x in none %}{% endfor %}", "{{ raise_exception('no') }}", "{% if %}{% endif %}", "{% if a %}", "{% for x in l %}", "{% endif %}",
    "{% endfor %}", "{% else %}", "{{ }}", "{{ a", "{{ a }", "{% set x = 1", "{# open", "{% raw %}x", "{% raw %}{% endraw", "{{ 'open }}", "{{ a b }}",
    "{{ (1 }}", "{{ [1 }}", "{{ {1 }}", "{{ ) }}", "{{ (] }}", "{{ 1 + }}", "{{ * 1 }}", "{{ a. }}", "{{ a[ }}", "{{ a[1 }}", "{{ a | }}",
    "{{ a | nofilter }}", "{{ a is notest }}", "{{ a is }}", "{% nosuchtag %}", "{% set 1 = 2 %}", "{% set a.b = 1 %}", "{% set %}", "{% for in l %}",
    "{% for x l %}{% endfor %}", "{% macro %}{% endmacro %}", "{% macro m(a %}{% endmacro %}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}", "{% break %}", "{% set a, b = [1] %}", "{% set a, b = [1, 2, 3] %}", "{% for a, b in [[1]] %}{% endfor %}",
    "{{ l.append(1) }}", "{{ d.update({'a': 1}) }}", "{{ l.pop() }}", "{{ range(1000000) }}", "{{ range(1, 2, 0) }}", "{{ 'a'.split('') }}",
    "{{ 'abc'.index('z') }}", "{{ l.index(99) }}", "{{ a() }}", "{{ s() }}", "{{ {[1]: 2} }}", "{{ 'a' | indent(-1) | nofilter }}",
    "{{ l | map | list }}", "{{ l | select('notest') | list }}", "{{ l | map('nofilter') | list }}", "{{ p | selectattr | list }}", "{{ ['a', 1] | sort }}",
    "{{ [1, 'a'] | join | notafilter }}", "{{ 'x' | abs }}", "{{ l | items }}{{ l | items | list }}", "{{ 1 | dictsort }}", "{{ ['a'] | sum }}",
    "{{ '' | round }}", "{{ 1 | round(0, 'odd') }}", "{{ l[::0] }}", "{{ l['a':] }}", "{{ d.y.z.w.v }}", "{{ ',' .join([1]) }}", "{{ s.startswith(1) }}",
    "{{ s.replace('a') }}", "{{ s.replace(1, 2) }}", "{{ s.upper(1) }}", "{{ namespace(1) }}", "{% set ns = namespace() %}{% set ns.a.b = 1 %}",
    "{% generation %}", "{% for x in l %}{% generation %}{% break %}{% endgeneration %}{% endfor %}", "{% macro m() %}{% break %}{% endmacro %}",
    "{{ l | first(1) }}", "{{ a is divisibleby }}", "{{ a is divisibleby 0 }}", "{{ 0b12 }}", "{{ 1__0 }}", "{{ '\\x4' }}", "{{ '\\u12' }}", "{{ a ? b }}", "{{ a ! b }}", "{{ a & b }}",
    "{{ $a }}", "{{ a; b }}", "{% if a %}{% endfor %}", "{% for x in l %}{% endif %}", "{% if a %}{% else %}{% else %}{% endif %}",
    "{% with x %}{% endwith %}", "{% filter nofilter %}a{% endfilter %}", "{{ (1, 2) | tojson | nofilter }}", "{{ range | tojson }}", "{{ l + (1,) }}",
    "{{ 'a' - 'b' }}", "{{ 'a' * 'b' }}", "{{ 'a' * 1.5 }}", "{{ none + 1 }}", "{{ [] + 'a' }}", "{{ not }}", "{{ a and }}", "{{ a if }}", "{{ a else b }}",
    "{{ f(a=1, 2) }}", "{{ a is defined is defined }}", "{{ m | map(attribute='role', x=1) | list }}", "{{ (l | map('string')) | length }}",
    "{{ l | map('string') | last }}", "{{ n[1:] }}", "{{ d[:1] }}", "{{ l in d }}", "{{ m | unique | list }}",
    "{{ p | groupby('on', default='none') | list | length }}",
    "{{ [1, 2, 3] is contains(2) }}",
    "{{ x.y is defined if x is defined else 'no' }}",
    "{{ '{'.format() }}",
    "{{ '}'.format() }}",
    "{{ '{}'.format() }}",
    "{{ '{x}'.format() }}",
    "{{ '{:q}'.format(1) }}",
    "{{ '{:d}'.format(1.5) }}",
    "{{ '{:d}'.format('a') }}",
    "{{ '{:.2d}'.format(1) }}",
    "{{ '{:5}'.format(none) }}",
    "{{ '%d' % 'a' }}",
    "{{ '%s %s' % 'a' }}",
    "{{ '%s' % ('a', 'b') }}",
    "{{ '%q' % 1 }}",
    "{{ '%' % 1 }}",
    "{{ '%(a)s' % 1 }}",
    "{{ '%(a)s' % {} }}",
    "{{ '%x' % 1.5 }}",
    "{{ 'a'.partition('') }}",
    "{{ 'a'.zfill('b') }}",
    "{{ 'a'.center(5, 'xy') }}",
    "{{ range(3)[1:2:0] }}",
    "{{ l | slice(0) | list }}",
    "{{ 'abc' | truncate(2) }}",
    "{{ cycler() }}",
    "{{ joiner(1, 2) }}",
    "{{ l.append(1) }}",
    "{{ d.pop('x') }}",
    "{{ 'abc'.nomethod() }}",
    "{% call m() %}x{% endcall %}",
    "{% macro m() %}no caller{% endmacro %}{% call m() %}x{% endcall %}",
    "{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1, 2, 3]) }}",
    "{% macro m(a=1, b) %}{% endmacro %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() | upper %}abc{% endcall %}",
    "{% call 5 %}abc{% endcall %}",
    "{% for x in l %}{{ loop([1]) }}{% endfor %}",
    "{% do l %}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    "{% set a, *b = [1, 2] %}",
    "{% macro f(caller) %}{{ caller }}{% endmacro %}{{ f(1) }}",
    "{{ f(*5) }}",
    "{{ dict(**5) }}",
    "{{ dict(a=1, **{'a': 2}) }}",
    "{{ range(**{'start': 1}) }}",
    "{{ range(*[1], *[2]) }}",
    "{{ dict(**{}, a=1) }}",
    "{{ range(*[1], 2) }}",
    "{% block a %}{% endblock %}{% block a %}{% endblock %}",
    "{% block a %}{% endblock %}{{ self.b() }}",
    "{% block a %}{{ self.a() }}{% endblock %}",
    "{{ 'a'.translate({97: 1.5}) }}",
    "{{ 'a'.translate({97: -1}) }}",
    "{{ 'a'.translate() }}",
    "{{ '%a' % () }}",
]

# Structures. Rendered in CONTEXT.
STATEMENTS = [
    "{% if a %}yes{% endif %}", "{% if zero %}yes{% else %}no{% endif %}", "{% if zero %}1{% elif b == 2 %}2{% else %}3{% endif %}",
    "{% if zero %}1{% elif no %}2{% elif e %}3{% endif %}|", "{% if a: %}colon{% endif %}", "{% if a and not zero or no %}x{% endif %}",
    "{% for x in l %}{{ x }},{% endfor %}", "{% for x in empty %}x{% else %}none{% endfor %}", "{% for x in l %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in undefined_name %}x{% else %}none{% endfor %}", "{% for c in s %}{{ c }}.{% endfor %}", "{% for c in u %}[{{ c }}]{% endfor %}",
    "{% for k in d %}{{ k }} {% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d | items %}{{ k }}={{ v }};{% endfor %}",
    "{% for (k, v) in d.y.items() %}{{ k }}{{ v }}{% endfor %}", "{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}", "{% for x in [1, 2] + [3] %}{{ x }}{% endfor %}", "{% for x in range(3) %}{{ x }}{% endfor %}",
    "{% for x in l if x % 2 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% endfor %}", "{% for x in l if x > 9 %}{{ x }}{% else %}none{% endfor %}",
    "{% for m in m if m.role != 'system' %}{{ m.role }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}<{{ loop.nextitem }} {% endfor %}", "{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for x in l %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}",
    "{% for x in l %}{% for y in [1, 2] %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% for x in l %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% for x in l %}{% if x == 3 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% break %}{% else %}else{% endfor %}", "{% for x in l %}{% continue %}{% else %}else{% endfor %}",
    "{% for x in l %}{% if x == 2 %}{% break %}{% endif %}{% else %}else{% endfor %}", "{% for x in l %}{% for y in l %}{% if y > x %}{% break %}{% endif %}{{ y }}{% endfor %};{% endfor %}",
    "{% for x in l %}{% for y in empty %}{% else %}{% break %}{% endfor %}{{ x }}{% endfor %}|",
    "{% set x = 0 %}{% for i in l %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}", "{% set x = 1 %}{% if t %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% if no %}{% set a = 5 %}{% endif %}{{ a }}", "{% for i in l %}{% if i == 2 %}{% set a = 'set' %}{% endif %}{{ a }} {% endfor %}",
    "{% set ns = namespace(total=0, found=false) %}{% for i in l %}{% set ns.total = ns.total + i %}{% if i == 3 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.total }}{{ ns.found }}",
    "{% set ns = namespace() %}{% set ns.x = [] %}{% for i in l %}{% set ns.x = ns.x + [i * i] %}{% endfor %}{{ ns.x }}{{ ns.y is defined }}",
    "{% set ns = namespace(a=1) %}{% set ns2 = ns %}{% set ns2.a = 2 %}{{ ns.a }}{{ ns }}", "{% set a, b = b, a %}{{ a }}{{ b }}", "{% set a, b = [3, 4] %}{{ a }}{{ b }}",
    "{% set (a, b) = 'xy' %}{{ a }}-{{ b }}", "{% set t = 1, 2 %}{{ t }}", "{% set x = 1 if zero else 2 %}{{ x }}", "{% set x %}block {{ a }}{% endset %}[{{ x }}]",
    "{% set x | upper %}block {{ s }}{% endset %}[{{ x }}]", "{% set x | replace('l', 'L') | trim %} {{ s }} {% endset %}[{{ x }}]",
    "{% set ns = namespace() %}{% set ns.text %}in{% endset %}{{ ns.text }}", "{% set y = 1 %}{% set x %}{% set y = 2 %}{{ y }}{% endset %}{{ x }}{{ y }}",
    "{% macro m(x, y=2) %}{{ x }}-{{ y }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(y=5, x=4) }} {{ m() }}",
    "{% macro m(x, y=x) %}{{ x }}{{ y }}{% endmacro %}{{ m(7) }}", "{% macro m() %}{{ a }}{{ later }}{% endmacro %}{% set later = 'L' %}{{ m() }}",
    "{% macro m(x) %}{% set a = 9 %}{{ a }}{% endmacro %}{{ m() }}{{ a }}", "{% for i in l %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{% macro m(x) %}{{ caller is defined }}{% endmacro %}{{ m(1) }}",
    "{% macro m(x) -%}   {{ x }}   {%- endmacro %}[{{ m('a') }}]", "{% macro m() %} x {% endmacro %}{{ m() | trim | upper }}", "{% macro m(a) %}{{ a }}{% endmacro %}{% set r = m(1) ~ m(2) %}{{ r }}",
    "{% macro loop_it(xs) %}{% for x in xs %}{{ loop.index }}{{ x }}{% endfor %}{% endmacro %}{% for y in l %}{{ loop_it([y]) }}{% endfor %}",
    "{% with x = 1, y = 2 %}{{ x }}{{ y }}{% endwith %}{{ x is defined }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}", "{% set x = 1 %}{% with x = 2, y = x %}{{ x }}{{ y }}{% endwith %}",
    "{% filter upper %}abc {{ s }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aaa{% endfilter %}", "{% generation %}{{ a }}{% endgeneration %}",
    "{% for x in l %}{% generation %}{{ x }}{% if loop.last %}!{% endif %}{% endgeneration %}\n{% endfor %}", "{% raw %}{{ a }} {% if %} {# #}{% endraw %}",
    "{%- raw -%}  {{ a }}  {%- endraw -%}  x", "a  {% raw -%}  b  {% endraw %}\nc", "{# comment #}a{# {{ b }} {% x %} #}b", "a {#- c -#} b", "a\n  {# c #}\nb", "a\n  {#+ c +#}\nb",
    "{{ 'a' }}{# x\ny #}{{ undefined_name }}|", "{% set x = [] %}{{ x is defined }}{{ x }}", "{% set x = undefined_name %}{{ x is defined }}",
    "{% for x in l %}{% set loop_x = loop.index %}{{ loop_x }}{% endfor %}", "{% for x in d.values() %}{{ x }};{% endfor %}", "{% for x in d.keys() %}{{ x }};{% endfor %}",
    "{% for x in l | reverse %}{{ x }}{{ loop.last }}{% endfor %}", "{% for x in l | map('string') %}{{ loop.length }}{{ x }}{% endfor %}", "{% for x in p | selectattr('on') %}{{ x.name }}{% endfor %}",
    "{% for g in p | sort(attribute='name') %}{{ g.name }}{% endfor %}", "{{ m[0].role\n }}|{{\n a }}", "{% if a\n and b %}x{% endif %}", "{{ [\n1,\n2\n] }}",
    "{%if a%}x{%endif%}", "{{a}}{{b}}", "{{-1}}", "{{+1}}", "{{ -1 }}", "a{{- 1 -}} b", "{{{'a': 1}['a']}}", "{{ {'a': {'b': 1}}}}", "{{ '}}' }}{{ '{{' }}{{ \"{%\" }}", "{ { a } }", "{a}", "{", "}}", "%}", "#}", "a { b", "{ %", "100%",
    "", "\n", "\n\n", "text", "text\n", "text\n\n", "a\r\nb\rc\n", "{{ 'a\r\nb' }}", "{{ a }}\n", "{{ a }}\n\n", "{% if a %}\nx\n{% endif %}\n", "\n{% if a %}x{% endif %}", "  {% if a %}x{% endif %}  \n",
    "{% set x = 1 %}\n{% set y = 2 %}\n\n{{ x }}{{ y }}", "{%- set x = 1 -%}\n\n  {{ x }}", "  {{ a }}  ", "x\n\t {% if a %}\n y\n {% endif %}\nz", "x {% if a %} y {% endif %} z",
    "x\n  {%+ if a %}\n  y\n  {%+ endif +%}\nz", "x\n  {%- if a -%}\n  y\n  {%- endif -%}\nz", "\u00a0{%- if a %}x{% endif %}", "x\u2003\n\u00a0{% if a %}y{% endif %}", "{% if a -%}\u3000 \n x{% endif %}",
    "{{ 'é' }}é", "{% for x in l -%}\n  {{ x }}\n{%- endfor %}", "{% for x in l +%}\n{{ x }}\n{% endfor %}",
    "{{ a if a is defined else b }}", "{{ 'x' if d.y is defined and d.y.z else 'y' }}", "{{ m | tojson }}{{ '\\n' }}", "{{ m[0]['content'] | trim + '!' }}", "{{ (m[0]['content'] | trim) + '!' }}",
    "{{ m[0].content | trim ~ '!' }}", "{% if m[0]['role'] == 'system' %}{% set sys = m[0]['content'] %}{% set rest = m[1:] %}{% else %}{% set sys = '' %}{% set rest = m %}{% endif %}{{ sys }}{{ rest | length }}",
    "{% if (m[1].role == 'user') == (2 % 2 == 0) %}ok{% endif %}",
    "{% set ns = namespace(i=0) %}{% for x in l %}{% if x > 2 %}{% set ns.i = loop.index0 %}{% endif %}{% endfor %}{{ ns.i }}", "{% for x in m[::-1] %}{{ x.role }}{% endfor %}",
    "{% for x in m[::-1] %}{% set index = (m | length - 1) - loop.index0 %}{{ index }}{{ m[index].role }}{% endfor %}", "{% for i in range(m | length) %}{{ m[i].role[0] }}{% endfor %}",
    "{{ loop }}|", "{% for x in l %}{% endfor %}{{ x }}|{{ loop }}", "{% set x = 3 %}{% for x in l %}{% endfor %}{{ x }}", "{% for x in l %}{{ x }}{% set x = 'c' %}{{ x }}{% endfor %}",
    "{% if undefined_name %}a{% elif not undefined_name %}b{% endif %}", "{% set d2 = dict(d, k=1) %}{{ d2.k }}{{ d.k is defined }}", "{% set x = {'a': 1} %}{% for k, v in x.items() %}{{ k }}{{ v }}{% endfor %}",
    "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}x{{ a }}{% endcall %}",
    "{% macro m(x) %}[{{ caller(x) }}{{ caller(x + 1) }}]{% endmacro %}{% call(y) m(3) %}<{{ y }}>{% endcall %}",
    "{% macro m(x) %}[{{ caller(1, b=2) }}]{% endmacro %}{% call(y, b=5) m(3) %}<{{ y }}{{ b }}>{% endcall %}",
    "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}",
    "{% macro m() %}{{ varargs }}{% endmacro %}{{ m(1, 2) }}{{ m() }}",
    "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}{{ m() }}",
    "{% macro m(a) %}{{ kwargs.x }}{% endmacro %}{{ m(a=1, x=3) }}",
    "{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(1, *[2]) }}{{ m(**{'a': 5, 'b': 6}) }}{{ m(1, **{'b': 6}) }}{{ m(*[1], b=3) }}",
    "{% macro m(a) %}{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m.catch_kwargs }}{{ m.catch_varargs }}{{ m.caller }}",
    "{% macro m(a, b=1) %}{{ varargs }}{{ caller() }}{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m.catch_kwargs }}{{ m.catch_varargs }}{{ m.caller }}",
    "{% macro outer() %}{% macro inner() %}{{ caller() }}{% endmacro %}{% call inner() %}in{% endcall %}{% endmacro %}{{ outer() }}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% for i in l %}{% call m() %}{{ i }}{% endcall %}{% endfor %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{% set z = 1 %}{{ z }}{% endcall %}{{ z is defined }}",
    "{% macro m() %}{{ caller() | upper }}{% endmacro %}{% call m() %}abc{% endcall %}",
    "{% macro wrap(tag) %}<{{ tag }}{% for k, v in kwargs.items() %} {{ k }}=\"{{ v }}\"{% endfor %}>{{ caller() }}</{{ tag }}>{% endmacro %}{% call wrap('b', id='x') %}y{% endcall %}",
    "{% for x in [1, [2, [3]]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}@{{ loop.depth }}{{ loop.depth0 }}{% endif %} {% endfor %}",
    "{% for x in [{'v': 1, 'c': [{'v': 2, 'c': []}, {'v': 3}]}] recursive %}{{ x.v }}{% if x.c %}[{{ loop(x.c) }}]{% endif %}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }} {% endfor %}",
    "{% for x in [1, 1, 2] %}{% if loop.changed(x, 'a') %}{{ x }}{% endif %}{% endfor %}",
    "{% set c = cycler('a', 'b', 'c') %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.next() }}{% set _ = c.reset() %}{{ c.next() }}",
    "{% set j = joiner() %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}",
    "{% set j = joiner(' | ') %}{{ j() }}a{{ j() }}b",
    "{% set c = cycler('odd', 'even') %}{% for x in l %}{{ c.next() }},{% endfor %}",
    "{% block x %}in {{ a }}{% endblock %} after",
    "{% set q = 1 %}{% block x %}{{ q }}{% set q = 2 %}{{ q }}{% endblock x %}{{ q }}",
    "{% for i in l %}{% block y %}{{ i is defined }}{% endblock %}{% endfor %}",
    "{% for line in l | batch(2) %}{{ line | join(',') }};{% endfor %}",
    "{% for g in p | groupby('age') %}{{ g.grouper }}:{{ g.list | map(attribute='name') | join(',') }};{% endfor %}",
    "{% for age, people in p | groupby('age') %}{{ age }}:{{ people | length }};{% endfor %}",
    "{% for i in range(10)[2:8:2] %}{{ i }}{% endfor %}",
    "{% set r = range(5) %}{{ r[1] }}{{ r[-1] }}{{ r | length }}",
    "{% for i in range(3) %}{{ loop.cycle('x', 'y') }}{% endfor %}",
    "{% macro m(x) %}{{ x }}{% endmacro %}{{ ['a', 'b'] | map('upper') | join }}{{ m('z') | upper }}",
    "{% set ns = namespace(a=1) %}{% set ns.b = ns.a + 1 %}{{ ns.b }}",
    "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}",
    "{% set x %}<b>{% endset %}{{ x | e }}{{ x }}",
    "{% filter upper | replace('A', '-') %}banana{% endfilter %}",
    "{% if a is defined and a is not none and a %}y{% endif %}",
    "{% for k, v in d | dictsort %}{{ k }}{{ v }}{% endfor %}",
    "{% for x in l if x is odd %}{{ loop.index }}{{ x }}{% else %}z{% endfor %}",
    "{% for x in l %}{% for y in l %}{{ loop.index }}{% break %}{% endfor %}{% endfor %}",
    "{%- for x in l -%} {{- x -}} {%- endfor -%}",
    "{% for m in m %}{{ '%-10s|' % m.role }}{% endfor %}",
    "{{ \"%s: %s\" % (m[0].role, m[0].content | trim) }}",
    "{{ '{role}: {content}'.format(**m[1]) }}",
    "{% macro f() %}{% if caller %}{{ caller() }}{% else %}none{% endif %}{% endmacro %}{{ f() }}{% call f() %}c{% endcall %}",
    "{% macro f(x, caller=none) %}{{ x }}{{ caller() if caller }}{% endmacro %}{{ f(1) }}{% call f(2) %}!{% endcall %}",
    "{% set f = joiner %}{{ f('x')() }}",
    "{{ range(*[1, 5]) | list }}",
    "{{ dict(*[{'a': 1}], b=2) }}",
    "{{ 'x'.join(*[['a', 'b']]) }}",
    "{{ l | join(*[',']) }}",
    "{{ 6 is divisibleby(*[3]) }}",
    "{{ 'a-b'.split(*['-'], **{'maxsplit': 1}) }}",
    "{% block a %}<{{ s }}>{% endblock %}{{ self.a() }}{{ self.a() | upper }}",
    "{{ self.a() }}{% set x = 1 %}{% block a %}{{ x }}{% endblock a %}{{ self.a() }}",
    "{% block a %}{% block b %}b{% endblock %}a{% endblock %}{{ self.b() ~ self.a() }}",
    "{% for i in l %}{% if loop.first %}{% block a %}{{ i is defined }}{% endblock %}{% endif %}{{ self.a() }}{% endfor %}",
    "{% macro m() %}{{ self.a() }}{% endmacro %}{% block a %}x{% endblock %}{{ m() }}",
    "{% block a %}{% endblock %}{{ self.b is defined }}{{ self.a is defined }}",
    "{% autoescape false %}{{ html }}{% set x = 1 %}{{ x }}{% endautoescape %}{{ x is defined }}",
    "{% autoescape False -%}  <{{ '<' }}>{%- endautoescape %}",
]

SIGNS = ['', '-', '+']
SPACES = ['', ' ', '\n', ' \n', '\n ', ' \n \n ']


def white_space():
    """Every sign on either side of a tag, in several surroundings."""
    for left, right in itertools.product(SIGNS, SIGNS):
        for before, after in itertools.product(['', '  ', '\n', ' \n  '], ['', '  ', '\n', '  \n ']):
            yield f'x{before}{{%{left} if a {right}%}}{after}y{before}{{%{right} endif {left}%}}{after}z'
        for before, after in itertools.product(['', '\n  '], SPACES):
            yield f'x{before}{{#{left} note {right}#}}{after}z'
            if right != '+':
                yield f'x{before}{{{{{left} a {right}}}}}{after}z'
                yield f'{before}{{%{left} raw {right}%}}{after}{{{{ y }}}}{before}{{%{left} endraw {right}%}}{after}z'


# Our own texts in the manner of well-known chat templates.
TEMPLATES = {
    'chatml': """{% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\\n' }}
{% endif %}""",
    'inst': """{%- if messages[0]['role'] == 'system' -%}
    {%- set system_message = messages[0]['content'] | trim -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set system_message = '' -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{{- bos_token -}}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{- raise_exception('roles must alternate user/assistant/user/assistant/...') -}}
    {%- endif -%}
    {%- if loop.index0 == 0 and system_message -%}
        {%- set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] -%}
    {%- else -%}
        {%- set content = message['content'] -%}
    {%- endif -%}
    {%- if message['role'] == 'user' -%}
        {{- '[INST] ' + content.strip() + ' [/INST]' -}}
    {%- elif message['role'] == 'assistant' -%}
        {{- ' ' + content.strip() + ' ' + eos_token -}}
    {%- else -%}
        {{- raise_exception('unknown role ' ~ message['role']) -}}
    {%- endif -%}
{%- endfor -%}""",
    'headers and tools': """{{- bos_token }}
{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}
{%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{#- The system message stands first, if there is one. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start|>system<|end|>\\n\\n" }}
{%- if tools is not none %}{{- "Environment: shell\\n" }}{%- endif %}
{{- "Today: " + date_string + "\\n\\n" }}
{%- if tools is not none %}
    {{- 'Answer with {"name": function name, "parameters": dictionary}.' }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or message.role == 'ipython' or 'tool_calls' in message) %}
        {{- '<|start|>' + message['role'] + '<|end|>\\n\\n'+ message['content'] | trim + '<|eot|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("one tool call at a time") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start|>assistant<|end|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start|>ipython<|end|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start|>assistant<|end|>\\n\\n' }}
{%- endif %}
""",
    'turns': """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first_user_prefix = messages[0]['content'] + '

' %}{% set loop_messages = messages[1:] %}{% else %}{% set first_user_prefix = "" %}{% set loop_messages = messages %}{% endif %}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<turn>' + role + '
' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '</turn>
' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<turn>model
'}}
{%- endif -%}
""",
    'thinking': """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or (not loop.last and reasoning_content)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
                {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
                {{- '<tool_call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' }}{{- content }}{{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}""",
    'states': """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<|User|>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{%- if ns.is_tool %}{{'<|outputs_end|>' + message['content'] + '<|eos|>'}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<|Assistant|>' + content + '<|eos|>'}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<|outputs_begin|><|output|>' + message['content'] + '<|output_end|>'}}{%- set ns.is_output_first = false %}{%- else %}{{'\\n<|output|>' + message['content'] + '<|output_end|>'}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<|outputs_end|>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<|Assistant|>'}}{% endif %}""",
    'macro schema': """{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} %}
{%- if basic_type_map[json_spec.type] is defined %}
    {{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}
    {{- "List[" +  json_to_python_type(json_spec["items"]) + "]"}}
{%- elif json_spec.type == "object" %}
    {%- if json_spec.additionalProperties is defined %}
        {{- "Dict[str, " + json_to_python_type(json_spec.additionalProperties) + ']'}}
    {%- else %}
        {{- "dict" }}
    {%- endif %}
{%- elif json_spec.type is iterable %}
    {{- "Union[" }}
    {%- for t in json_spec.type %}
      {{- json_to_python_type({"type": t}) }}
      {%- if not loop.last %}{{- "," }}{%- endif %}
    {%- endfor %}
    {{- "]" }}
{%- else %}
    {{- "Any" }}
{%- endif %}
{%- endmacro %}
{%- for tool in tools or [] %}
    {%- set tool = tool.function if tool.function is defined else tool %}
    {{- 'def ' + tool.name + '(' }}
    {%- for param_name, param_fields in tool.parameters.properties | items %}
        {{- param_name + ': ' + json_to_python_type(param_fields) }}
        {%- if param_fields.default is defined %}{{- ' = ' ~ param_fields.default }}{%- endif %}
        {%- if not loop.last %}{{- ', ' }}{%- endif %}
    {%- endfor %}
    {{- '):' }}
    {{- '\\n    \"\"\"' ~ tool.description ~ '\"\"\"\\n' }}
{%- endfor %}
{%- for message in messages %}
    {%- if message.tool_calls is defined and message.tool_calls %}
        {%- for call in message.tool_calls | map(attribute='function') -%}
            {{ call.name }}({% for k, v in call.arguments.items() %}{{ k }}={{ v if v is string else v | tojson }}{{ ', ' if not loop.last }}{% endfor %})
        {% endfor %}
    {%- else %}
        {{- message.role | capitalize ~ ': ' ~ message.content | default('', true) ~ '\\n' }}
    {%- endif %}
{%- endfor %}""",
    'documents': """{%- set roles = messages | map(attribute='role') | list %}
{%- set user_messages = messages | selectattr('role', 'equalto', 'user') | list %}
{%- if 'system' in roles %}System: {{ (messages | selectattr('role', 'equalto', 'system') | first).content | trim }}
{% endif %}
{%- if tools %}Tools: {{ tools | map(attribute='function') | map(attribute='name') | join(', ') }}
{% endif %}
{%- for document in documents | default([]) %}
Document {{ loop.index }} of {{ loop.length }}{% if document.title %}: {{ document.title | title }}{% endif %}

{{ document.text | indent(2, first=true) }}
{% endfor %}
Users said {{ user_messages | length }} things, the last {{ (user_messages | last).content | tojson }}.
{% generation %}{{ messages[-1].content | default('nothing', true) | replace('\\n', ' ') }}{% endgeneration %}
""",
}

TOOLS = [
    {'type': 'function', 'function': {'name': 'get_weather', 'description': 'The weather "now" in a city.', 'parameters': {
        'type': 'object', 'properties': {'city': {'type': 'string'}, 'days': {'type': ['integer', 'string'], 'default': 3},
                                         'tags': {'type': 'array', 'items': {'type': 'number'}}, 'extra': {'type': 'object', 'additionalProperties': {'type': 'boolean'}},
                                         'any': {'type': 'any'}}, 'required': ['city']}}},
    {'type': 'function', 'function': {'name': 'stop', 'description': 'Ends — at once.', 'parameters': {'type': 'object', 'properties': {}}}},
]
CALL = {'id': '1', 'type': 'function', 'function': {'name': 'get_weather', 'arguments': {'city': 'Köln', 'days': 2, 'tags': [1.5]}}}
CHATS = [
    [{'role': 'user', 'content': ' Hello! '}],
    [{'role': 'system', 'content': ' You are a pirate.\n'}, {'role': 'user', 'content': 'Hello!'}],
    [{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': '<think>\nhm\n</think>\n\nb'}, {'role': 'user', 'content': 'c'}],
    [{'role': 'system', 'content': 'S'}, {'role': 'user', 'content': 'Wetter?'}, {'role': 'assistant', 'content': '', 'tool_calls': [CALL]},
     {'role': 'tool', 'content': '{"t": 21}'}, {'role': 'assistant', 'content': '21 °C'}],
    [{'role': 'user', 'content': 'x'}, {'role': 'assistant', 'content': None, 'tool_calls': [CALL, CALL]}, {'role': 'tool', 'content': '1'}, {'role': 'tool', 'content': '2'}],
    [{'role': 'user', 'content': [{'type': 'image'}, {'type': 'text', 'text': ' what? '}]}],
    [{'role': 'assistant', 'content': 'first'}],
    [{'role': 'user', 'content': 'x'}, {'role': 'assistant', 'content': 'y', 'reasoning_content': '\nwhy\n'}],
]


def row(template, context, keep=True):
    given = {'template': template, 'context': context} if keep else {'context': context}
    try:
        return given | {'text': ENV.from_string(template).render(context)}
    except Exception:  # whatever Jinja2 and Python refuse
        return given | {'error': True}


def used(template):
    """Only the variables that the template names, to keep the file small."""
    return {k: v for k, v in CONTEXT.items() if re.search(rf'\b{k}\b', template)}


def cases():
    for expression in EXPRESSIONS.replace('\\\n', '\0').split('\n'):
        template = '{{ ' + expression.replace('\0', '\\\n') + ' }}'
        yield row(template, used(template))
    for template in STATEMENTS + list(white_space()):
        yield row(template, used(template))
    for template in REFUSED:
        refused = row(template, used(template))
        assert 'error' in refused, refused
        yield refused
    for name, template in TEMPLATES.items():
        yield {'name': name, 'template': template}
        for messages, tools in itertools.product(CHATS, (None, TOOLS)):
            context = {'messages': messages, 'add_generation_prompt': not tools, 'bos_token': '<s>', 'eos_token': '</s>'}
            if tools:
                context |= {'tools': tools, 'enable_thinking': False, 'documents': [{'title': 'the end', 'text': 'a\nb'}, {'text': ''}]}
            yield {'name': name, **row(template, context, keep=False)}


def main():
    seen = set()
    for case in cases():
        line = json.dumps(case, ensure_ascii=False)
        if line not in seen:
            seen.add(line)
            print(line)
    print(f'{len(seen)} cases', file=sys.stderr)


if __name__ == '__main__':
    main()
