// See jinja_cases_util.h.
#include "tests/text/jinja_cases_util.h"

namespace um {

const char* const kJinjaVariables = R"({
  "messages": [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "  What is 2+2?\nThink. "},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\n4", "tool_calls": null},
    {"role": "assistant", "content": null, "tool_calls": [{"type": "function", "function":
        {"name": "look", "arguments": {"place": "Zürich", "n": 3, "deep": [1, 2.5, true, null]}}}]},
    {"role": "tool", "content": "sun \"☀\""}],
  "tools": [{"type": "function", "function": {"name": "look", "description": "Looks.\tYes.",
     "parameters": {"type": "object", "properties": {"place": {"type": "string"}, "n": {"type": "integer"}},
       "required": ["place"]}}}],
  "text": "Grüße, Welt! 你好", "empty": "", "many": [3, 1, 2, 1], "words": ["b", "A", "c", "a"],
  "numbers": {"one": 1, "two": 2, "Three": 3}, "yes": true, "no": false, "nothing": null,
  "real": 2.5, "small": 1e-7, "large": 1e20, "whole": 7, "negative": -7,
  "people": [{"name": "Ada", "age": 36, "tags": ["x"]}, {"name": "bob", "age": 9}, {"name": "Cy", "age": 36}],
  "tree": [{"name": "a", "kids": [{"name": "b", "kids": []}, {"name": "c", "kids": [{"name": "d", "kids": []}]}]},
           {"name": "e", "kids": []}],
  "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>"})";

const char* const kJinjaRandomVariables = R"({
  "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "  What?\nThink. "}],
  "text": "Grüße, Welt! 你好", "empty": "", "many": [3, 1, 2, 1], "words": ["b", "A", "c", "a"],
  "numbers": {"one": 1, "two": 2, "Three": 3}, "yes": true, "no": false, "nothing": null,
  "real": 2.5, "small": 1e-7, "whole": 7, "negative": -7,
  "people": [{"name": "Ada", "age": 36, "tags": ["x"]}, {"name": "bob", "age": 9}, {"name": "Cy", "age": 36}],
  "tree": [{"name": "a", "kids": [{"name": "b", "kids": []}]}, {"name": "e", "kids": []}],
  "mixed": [1, "a", null, true, 2.5, [1], {"k": "v"}], "markup": "<a href=\"x\">'&'</a>",
  "nested": [[1, [2, 3]], [4, [5, 6]]], "keyed": {"items": [1], "keys": 2, "name": "n", "values": {"get": 1}}})";

namespace {

const char* const kExpressions[] = {
    // Keys of dicts, methods that hide them, and what can be visited once.
    "{1: 'a', none: 'b', (1, 2): 'c', true: 'd', 1.5: 'e'}, {1: 'a'}[1.0], {true: 1}[1], {none: "
    "2}[none]",
    "{1: 'a', 'x': none}|tojson, {none: 1, true: 2, 2.5: 3}|tojson, {(1, 2): 3}|tojson",
    "{[1]: 2}",
    "{'a': 1}[[1]] is defined, [1] in {'a': 1}",
    "{512: 1, 0: 2, 1024: 3}.items()|list, {3: 1, 1: 2}|dictsort, 3 in {3: 1}, {3: 4}.get(3)",
    "{'items': 1}.items is callable, {'items': 1}['items'], {'a': 1}['items'] is callable, {'get': "
    "5}.get('get')",
    "numbers.keys(), numbers.values(), numbers.items(), range(3), range(1, 10, 3)",
    "(many|map('string')) is sequence, many|select is true, (many|select('gt', 9)) and 1 or 2",
    "many|map('string')|length",
    "range(5)[1:3], range(5)|last, range(5)[-1], (range(3)|list) == [0, 1, 2], many|reverse is "
    "iterable",
    "nothing|map('upper')|list, nothing|select|list, nothing|selectattr('x')|list, nothing|string, "
    "nothing|upper",
    "nothing|items|list",
    "nothing|int, nothing|float, nothing|int(3), nothing|trim, nothing|default('x'), "
    "nothing|replace('o', '0')",
    "nosuch|int",
    "nosuch|upper, nosuch|trim, nosuch|items|list, nosuch|join, nosuch|list, nosuch|map('x')|list, "
    "nosuch|sum",
    "nothing|length",
    "nothing|join",
    "nothing|first",
    "nothing|indent",
    "'<b>'|safe + '<i>', '<b>' + '<i>'|safe, '<b>'|safe ~ '<i>', ('<'|e)|e, '%s' |safe % '<', "
    "'<'|e|upper",
    "('a'|safe).join(['<', '>']), ('a<'|safe).replace('a', '>'), '{}'|safe|string|length, "
    "('{}'|safe).format('<')",
    "people|groupby('age'), (people|groupby('age'))[0].grouper, "
    "(people|groupby('age')|first).list|length",
    "many|batch(3)|list, many|batch(3, 'x')|list, many|slice(3)|list, 'a b-c d_e'|wordcount, "
    "'ab'|center(7)",
    "'{:>5}|{:<5}|{:^5}|{:05d}|{:+.2f}|{:,}|{:x}|{:%}'.format('a', 'b', 'c', 42, 2.5, 1234567, "
    "255, 0.5)",
    "'{0.name}{0[age]}'.format(people[0]), '{!r}'.format('a'), '{:{}}'.format(3, 5), "
    "'{a}{b}'.format(a=1, b=2)",
    "'%5d|%-5s|%05.1f|%x|%e|%g|%(k)s' % {'k': 1} if no else '%5d|%-5s|%05.1f|%x' % (42, 'ab', "
    "2.25, 255)",
    "'%(a)s %(b)d' % {'a': 'x', 'b': 3}, '%c%%' % 'x', '%.2s|%r' % ('abc', 'd')",
    "'abc'.zfill(5), '-1'.zfill(4), 'a'.ljust(3) ~ '|', 'a'.rjust(3, '*'), 'a\tb'.expandtabs(4), "
    "'aB'.swapcase()",
    "'a b c'.rsplit(none, 1), 'abcabc'.find('c', 3), 'abcabc'.rindex('a'), 'abc'.count(''), "
    "'aXa'.startswith('X', 1)",
    "'x'.strip(chars='x')",
    "many|map('nosuch')|list",
    "many|sort(nosuch=1)",
    "'ab'|replace('', '-'), 'a\u2028b\fc'.splitlines(), 'a'|truncate(1), 'hello big "
    "world'|truncate(9, leeway=0)",
    "0x1F, 0b101, 0o17, 1_000, '\101', '12abc'|int, '0x1A'|int(base=16), '1_0'|int, 'inf'|float, ' "
    "3.7 '|int",
    "[1] < [2], (1, 2) < (1, 3), [[2, 1], [1, 2]]|sort, [1, 'a'] == [1, 'a']",
    "[1] < ['a']",
    "1 is filter, 'upper' is filter, 'odd' is test, ('a'|safe) is escaped, 3.0 is odd, [] is "
    "sameas []",
    "many[nosuch] is defined, nosuch is sequence, range(2) is sequence, numbers.items() is "
    "sequence",
    "nothing[:1]",
    "1 + 2 * 3 - 4 / 2",
    "7 // 2, -7 // 2, 7 % 3, -7 % 3, 7 % -3",
    "2 ** 10, 2 ** -1, -2 ** 2",
    "1 / 4, 6 / 2, 1e3, 1.50, 1_000",
    "real * 2, small, large, 1e16, 1e15, 0.1 + 0.2, -0.0",
    "7.5 // 2, 7.5 % 2, -7.5 % 2",
    "'a' ~ 1 ~ none ~ true ~ 2.0 ~ [1, 'x'] ~ nosuch",
    "'a' + 'b', 'ab' * 3, 2 * 'x', [1] * 2, [1] + [2], (1,) + (2,)",
    "'a' 'b' \"c\"",
    "1 < 2 < 3, 1 < 2 > 3, 'a' < 'b', 1 == 1.0, true == 1, '1' == 1, none == none",
    "[1, 2] == [1, 2], [1] == (1,), {'a': 1} == {'a': 1.0}, nosuch == nosuch2, nosuch == none",
    "'el' in 'hello', 3 in many, 9 not in many, 'one' in numbers, 'x' in nosuch, none in [none]",
    "yes and no or 'x', not yes, not not yes, '' or 'b', 0 and 1, nosuch or 'd'",
    "'a' if yes else 'b', 'a' if no, ('a' if no) is defined, 1 if no else 2 if no else 3",
    "text[0], text[-1], text[2:5], text[::-1], text[::2], text[-3:], text[5:2], text[100:]",
    "many[1:], many[:-1], many[::-1], many[-1], many[10] is defined, many[-10] is defined",
    "many[3:0:-1], many[10:0:-2], many[-100:100:3], words[1:3][0]",
    "messages[0].role, messages[0]['role'], messages[0].nosuch is defined, numbers.one",
    "messages.0.role, numbers['Three']",
    "{'a': [1, {'b': 'c'}], \"d'\": none, 'e': \"it's\"}",
    "['a\\n\\t\\\\', 'q\"', \"q'\", '\\x01', 'é']",
    "(1, 2), (1,), ()",
    "[[], {}, '']",
    "text|length, many|length, numbers|count, nosuch|length, ''|length",
    "'  x '|trim ~ '|', 'xxaxx'|trim('x'), '\\u3000a\\u00a0'|trim, 'abc'.strip('ca')",
    "text|upper, text|lower, 'hello wORLD-foo (bar) it\\'s'|title, 'hELLO x'|capitalize",
    "'ǆ ǆǆ Ǆa ǅ'.title(), 'ǆ a'|title, 'Ǆ'.capitalize(), 'ǆ'|capitalize, 'ǅ'.istitle(), "
    "'ა'.title(), "
    "'ǆ'.upper()",
    "'hello wORLD it\\'s'.title(), 'ab'.upper(), 'AB'.lower(), 'aB c'.capitalize()",
    "'aXbXc'|replace('X', '-'), 'aXbXc'.replace('X', '--', 1), 'aaa'|replace('a', 'b', 2)",
    "'a,b,,c'.split(','), 'a,b,c'.split(',', 1), ' a  b '.split(), 'a b  c '.split(none, 1)",
    "'a,b,c'.rsplit(',', 1), 'abc'.split('x'), ''.split(','), ''.split(), "
    "'a</t>b</t>'.split('</t>')[-1]",
    "'a\\nb\\r\\nc\\n'.splitlines(), 'a\\nb'.splitlines(true), 'a=b=c'.partition('='), "
    "'a'.partition('=')",
    "'a=b=c'.rpartition('='), 'x'.rpartition('=')",
    "'hello'.startswith('he'), 'hello'.endswith(('x', 'lo')), 'hello'.find('l'), "
    "'hello'.rfind('l')",
    "'éàé'.find('é'), 'éàé'.rfind('é'), 'abc'.find('x'), 'aaaa'.count('aa'), 'abc'.index('c')",
    "'abc'.removeprefix('a'), 'abc'.removesuffix('bc'), 'abc'.lstrip('a'), 'abc'.rstrip('c')",
    "'-'.join(words), words|join, words|join(', '), people|join(', ', attribute='name'), "
    "'abc'|join('.')",
    "'12'.isdigit(), 'a1'.isdigit(), ''.isdigit(), 'ab'.isalpha(), ' '.isspace(), 'AB'.isupper()",
    "'{} and {}'.format(1, 'b'), '{1}{0}'.format('a', 'b'), '{x}'.format(x=3), '{{}}'.format()",
    "'%s is %d' % ('a', 3), '%s' % 'x', '100%%' % (), '%r' % 'x', '%s-%s'|format('a', 'b')",
    "numbers.items()|list, numbers.keys()|list, numbers.values()|list, numbers|items|list",
    "numbers.get('one'), numbers.get('x'), numbers.get('x', 5), many.index(2), many.count(1)",
    "numbers|dictsort, numbers|dictsort(true), numbers|dictsort(by='value', reverse=true)",
    "many|first, many|last, []|first is defined, 'abc'|first, 'abc'|last, many|list, 'abc'|list",
    "numbers|list, numbers|first, many|reverse|list, 'abc'|reverse",
    "many|sort, many|sort(reverse=true), words|sort, words|sort(case_sensitive=true)",
    "people|sort(attribute='name')|map(attribute='name')|list, "
    "people|sort(attribute='age')|map(attribute='name')|join",
    "many|min, many|max, words|min, people|max(attribute='age'), []|max is defined",
    "many|unique|list, words|unique|list, many|sum, people|sum(attribute='age'), [1.5, 2]|sum, "
    "[]|sum",
    "words|map('upper')|list, people|map(attribute='tags', default='-')|list, [' a "
    "']|map('trim')|list",
    "many|select('odd')|list, many|reject('odd')|list, [0, 1, '', 'a', none]|select|list",
    "many|select('greaterthan', 1)|list, many|select('in', [1, 2])|list, many|select('==', 1)|list",
    "people|selectattr('age', 'equalto', 36)|map(attribute='name')|list",
    "people|rejectattr('tags', 'defined')|list|length, people|selectattr('tags')|list|length",
    "messages|selectattr('role', 'eq', 'user')|list|length, messages|rejectattr('role', 'in', "
    "['user', 'tool'])|list|length",
    "'3'|int, '3.7'|int, 'x'|int, 'x'|int(9), 3.9|int, -3.9|int, true|int, ' 12 '|int, none|int",
    "'3.5'|float, 'x'|float, 3|float, 'x'|float(1.5)",
    "-3|abs, 3.5|abs, -3.5|abs",
    "2.5|round, 3.5|round, 2.345|round(2), 2.5|round(0, 'ceil'), 2.59|round(1, 'floor'), 7|round",
    "nosuch|default('x'), ''|default('x'), ''|default('x', true), none|default('x'), none|d('y', "
    "true)",
    "1|string + 'x', [1]|string, none|string, true|string",
    "'<a href=\"x\">&\\'</a>'|e ~ ('<'|safe)",
    "'a\\nb\\n\\nc'|indent, 'a\\nb'|indent(2), 'a\\nb'|indent(2, true), 'a\\n\\nb'|indent(1, "
    "false, true)",
    "'a\\nb'|indent('> ', first=true), 'a\\n'|indent",
    "'a b  c'|wordcount, numbers|attr('x') is defined",
    "tools|tojson, messages|tojson",
    "tools|tojson(indent=2)",
    "messages[3]|tojson(indent=4)",
    "[]|tojson(indent=2), {}|tojson(indent=2), 'é\"\\n\\u0001'|tojson, 1.0|tojson, small|tojson",
    "{'b': 1, 'a': [1, 2]}|tojson(sort_keys=true), {'b': 1, 'a': [1, 2]}|tojson(separators=(',', "
    "':'))",
    "'é'|tojson(ensure_ascii=true), 'é'|tojson(true), nothing|tojson, large|tojson",
    "yes is true, no is false, 1 is true, yes is boolean, 1 is boolean, nothing is none",
    "text is string, many is string, numbers is mapping, many is mapping, many is sequence, text "
    "is sequence",
    "text is iterable, 1 is iterable, nosuch is iterable, 1 is number, 1.5 is number, '1' is "
    "number, yes is number",
    "1 is integer, yes is integer, 1.5 is integer, 1.5 is float, 1 is float",
    "nosuch is defined, nosuch is undefined, nosuch is not defined, text is defined and yes",
    "4 is even, 3 is odd, 9 is divisibleby 3, 9 is divisibleby(2), 'A' is upper, 'a' is lower, '1' "
    "is upper",
    "1 is equalto 1, 1 is eq(2), 1 is ne 2, 3 is gt 2, 3 is lessthan 2, 2 is ge 2, 1 is in [1, 2], "
    "1 is sameas 1",
    "none is none and 1 is not none, not 1 is none",
    "range(3)|list, range(1, 10, 3)|list, range(3, 0, -1)|list",
    "dict(a=1, b=2), dict({'a': 1}, b=2)",
    "namespace(a=1).a, namespace().x is defined",
    "namespace(), namespace(a=1, b=['x', none]), [namespace({'c': namespace(d='é')})]",
    "namespace(a=1) ~ '', '%s' % namespace(a='q'), namespace(a=1)|string",
    "strftime_now('%d %b %Y')",
    "-many[0], +1, - 3|abs, -3 + 5, 2 - -1",
    "(1 + 2) * 3",
    "1 if 2 > 1 else nosuch.x.y",
    "messages|length > 3 and messages[0].role == 'system'",
    "'\\u00e9\\U0001F600\\x41'",
    "\"it's\" ~ 'a\"b'",
    "[1, 2,][1], {'a': 1,}.a",
    "'abc'[1], 'abc'[5] is defined, 'abc'[-4] is defined",
    "none, true, false, None, True, False",
    "messages[-1].content|tojson|upper",
    "'a' == 'a' != 'b'",
    "1 in [1] == true",
    "not yes == no",
    "(text|length > 3) ~ '', text|length|string|length",
    "'x' if not (yes and no) else 'y'",
    "numbers|length == 3 and 'one' in numbers.keys()",
    "[] or none, {} or 'e', [0] and 'f'",
    "'a b'.split()|map('upper')|join('-')",
    "loop is defined",
    "range is defined, cycler2 is defined"};

const char* const kWrong[] = {
    "{{ nosuch.x }}",
    "{{ nosuch + 1 }}",
    "{{ 'a' + 1 }}",
    "{{ 1 + none }}",
    "{{ nosuch() }}",
    "{{ text() }}",
    "{{ 1 / 0 }}",
    "{{ 1 // 0 }}",
    "{{ 5 % 0 }}",
    "{{ 'a' < 1 }}",
    "{{ nosuch < 1 }}",
    "{{ many|nosuch }}",
    "{{ 1 is nosuch }}",
    "{{ raise_exception('no') }}",
    "{{ many.append(1) }}",
    "{{ numbers.update({}) }}",
    "{% for x in 5 %}{% endfor %}",
    "{% for x in none %}{% endfor %}",
    "{% for a, b in many %}{% endfor %}",
    "{% if %}x{% endif %}",
    "{% if yes %}x",
    "{% endif %}",
    "{% for x in many %}",
    "{{ 'abc }}",
    "{{ (1 }}",
    "{{ [1 }}",
    "{{ 1 + }}",
    "{{ }}",
    "{% nosuchtag %}",
    "{# open",
    "{{ 1 1 }}",
    "{% set = 3 %}",
    "{% set numbers.x = 3 %}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}",
    "{% raw %}x",
    "{{ nosuch|tojson }}",
    "{{ 5|length }}",
    "{{ 'a'|abs }}",
    "{{ 1 in 5 }}",
    "{{ 'a' in 5 }}",
    "{{ 1 in 'a' }}",
    "{{ range(0, 10, 0) }}",
    "{{ {'a': 1}[nosuch].x }}",
    "{{ many|join|nosuch }}",
    "{% else %}",
    "{% set a, b = many %}",
    "{{ nosuch[0] }}",
    "{{ -text }}",
    "{% include 'x' %}",
    "{% break %}",
    "{{ 'a'.split('') }}",
    "{% for x in many %}{{ loop(many) }}{% endfor %}",
    "{% for x in tree recursive %}{{ loop() }}{% endfor %}",
    "{% for x in tree recursive %}{{ loop(5) }}{% endfor %}",
    "{% for x in tree recursive %}{{ loop(x.kids, 1) }}{% endfor %}",
    "{% for x in tree recursive %}{{ loop(tree) }}{% endfor %}",
    "{% for x in tree recursive %}{% for y in x.kids %}{{ loop([]) }}{% endfor %}{% endfor %}",
    "{% macro m() %}{% endmacro %}{% call m() %}{% endcall %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% macro m() %}{{ caller(1) }}{% endmacro %}{% call m() %}x{% endcall %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call(x) m() %}{{ x.y }}{% endcall %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m %}x{% endcall %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m()|upper %}x{% endcall %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m(caller=1) %}x{% endcall %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}x",
    "{%macro m()%}{%endmacro%}{%for x in [1]%}{%call m()%}{%break%}{%endcall%}{%endfor%}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{{ caller() }}{% endcall %}",
    "{% call range(3) %}x{% endcall %}",
    "{% call 'a'.upper() %}x{% endcall %}",
    "{% call nosuch() %}x{% endcall %}",
    "{% endcall %}"};

const char* const kStatements[] = {
    "{% for x in many %}{{ x }},{% endfor %}", "{% for x in [] %}a{% else %}none{% endfor %}",
    "{% for x in many if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }}{{ ',' if not loop.last "
    "}}{% endfor %}",
    "{% for x in many %}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.revindex }}{{ "
    "loop.revindex0 }} {% endfor %}",
    "{% for x in many %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}",
    "{% for x in many %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x) }}{% endfor %}",
    "{% for k, v in numbers.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in numbers %}{{ k }}{% endfor %}", "{% for c in 'aé☃' %}[{{ c }}]{% endfor %}",
    "{% for x in nosuch %}a{% else %}b{% endfor %}",
    "{% for x in many %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in many %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in many %}{% for y in words %}{{ loop.index }}{% if y == 'A' %}{% break %}{% endif "
    "%}{% endfor %};{% endfor %}",
    "{% set a = 1 %}{% for x in many %}{% set a = a + x %}{{ a }},{% endfor %}{{ a }}",
    "{% set n = namespace(a=0) %}{% for x in many %}{% set n.a = n.a + x %}{% endfor %}{{ n.a }}",
    "{% set n = namespace({'a': 1}, b=2) %}{% set n.c = [n.a, n.b] %}{{ n.c }}{{ n.d is defined }}",
    "{% if no %}a{% elif nothing %}b{% elif yes %}c{% else %}d{% endif %}",
    "{% if yes %}{% set q = 4 %}{% endif %}{{ q }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set t = 1, 2 %}{{ t }}", "{% set x %}a{{ 1 }}b{% endset %}[{{ x }}]",
    "{% set x | upper | trim %} ab {% endset %}[{{ x }}]",
    "{% filter upper %}a{{ text }}{% endfilter %}",
    "{% set y = 1 %}{% set x %}{% set y = 2 %}{{ y }}{% endset %}{{ x }}{{ y }}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
    "{% with %}{% set z = 1 %}{{ z }}{% endwith %}{{ z }}",
    "{% macro m(a, b='x', c=a) %}<{{ a }}{{ b }}{{ c }}>{% endmacro %}{{ m(1) }}{{ m(1, c=3) }}{{ "
    "m(b=2, a=1) }}{{ m() }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}{{ "
    "f(1)|length }}",
    "{% macro m() %}{{ later }}{% endmacro %}{% set later = 5 %}{{ m() }}",
    "{% macro m(x) %}{% set x = 2 %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m(3) }}{{ x }}",
    "{% for x in many %}{% macro q(a) %}{{ a }}{% endmacro %}{{ q(x) }}{% endfor %}",
    // Macros see where they were made, and what was set there since.
    "{% for x in many %}{% macro q() %}{{ x }}{% endmacro %}{{ q() }}{% endfor %}",
    "{% for x in many %}{% set y = x %}{% macro q() %}{{ y }}{{ loop.index }}{% endmacro %}{{ q() "
    "}}{% endfor %}",
    "{% macro m() %}{{ x }}{% endmacro %}{% for x in many %}{{ m() }}{% endfor %}",
    "{% macro a() %}{% macro b() %}{{ z }}{% endmacro %}{% set z = 1 %}{{ b() }}{% endmacro %}{{ "
    "a() }}",
    // Call blocks.
    "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}a{{ text }}{% endcall %}",
    "{% macro m(x) %}{{ caller(x) }}{{ caller(x=2) }}{% endmacro %}{% call(x, y='d') m(5) %}[{{ x "
    "}}{{ y }}]{% endcall %}",
    "{% macro m() %}{% for p in people %}{{ caller(p, loop.index) }}{% endfor %}{% endmacro %}"
    "{% call(p, i) m() %}{{ i }}:{{ p.name }} {% endcall %}",
    "{% macro m(x) %}{{ caller() }}{% endmacro %}{% for x in many %}{% set y = x * 2 %}{% call "
    "m(9) %}{{ x }}-{{ y }};{% endcall %}{% endfor %}",
    "{% macro m() %}{% set v = 1 %}{{ caller() }}{{ v }}{% endmacro %}{% set v = 2 %}{% call m() "
    "%}{{ v }}{% set v = 3 %}{% endcall %}{{ v }}",
    "{% macro m() %}{% if caller %}{{ caller() }}{% else %}none{% endif %}{{ caller is defined "
    "}}{% endmacro %}"
    "{{ m() }}{% call m() %}some{% endcall %}",
    "{% macro m(caller=none) %}{{ caller() if caller else 'no' }}{% endmacro %}{{ m() }}{% call "
    "m() %}x{% endcall %}",
    "{% macro out() %}({{ caller() }}){% endmacro %}{% macro in() %}[{{ caller() }}]{% endmacro %}"
    "{% call out() %}{% call in() %}x{% endcall %}y{% endcall %}",
    "{% macro in() %}[{{ caller() }}]{% endmacro %}{% macro out() %}{% set c = caller %}{% call "
    "in() %}{{ c() }}!{% endcall %}{% endmacro %}"
    "{% call out() %}x{% endcall %}",
    "{% macro m() %}{{ caller()|upper|trim }}{% endmacro %}\n{% call m() %}\n  a\n{% endcall %}\nb",
    "{% set n = namespace(x=0) %}{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}{% call "
    "m() %}{% set n.x = n.x + 1 %}{{ n.x }}{% endcall %}",
    "{% macro m(a) %}{{ a }}{{ caller(a) if a else caller(1) }}{% endmacro %}{% call(x) m(a=no) "
    "%}{{ x }}{% endcall %}",
    // Recursive loops.
    "{% for x in tree recursive %}{{ x.name }}{% if x.kids %}({{ loop(x.kids) }}){% endif %}{% "
    "endfor %}",
    "{% for x in tree recursive %}{{ loop.depth }}{{ loop.depth0 }}{{ loop.index }}{{ x.name }}{{ "
    "loop(x.kids) }}{{ loop.length }};{% endfor %}",
    "{% for x in tree recursive %}{{ x.name }}{{ loop(x.kids) }}{% else %}-{% endfor %}",
    "{% for x in tree if x.name != 'b' recursive %}{{ x.name }}{{ loop(x.kids)|upper }}{% endfor "
    "%}",
    "{% for x in tree recursive %}{{ seen is defined }}{% set seen = 1 %}{{ loop(x.kids) }}{% "
    "endfor %}",
    "{% set a = 7 %}{% for x in tree recursive %}{% set b = a %}{{ b }}{{ loop(x.kids) }}{{ b }}{% "
    "endfor %}",
    "{% for x in tree recursive %}{% for y in many %}{{ loop.depth }}{% endfor %}{{ loop(x.kids) "
    "}}{% endfor %}",
    "{% for x in tree recursive %}{% set outer = loop %}{% for y in x.kids %}{{ y.name }}{{ "
    "outer([y]) }}{% endfor %}{% endfor %}",
    "{% for x in tree recursive %}{{ x.name }}{% if x.name == 'c' %}{% break %}{% endif %}{{ "
    "loop(x.kids) }}{% endfor %}",
    "{% macro m(l, k) %}<{{ l(k) }}>{% endmacro %}{% for x in tree recursive %}{{ x.name }}{{ "
    "m(loop, x.kids) }}{% endfor %}",
    "{% for n in [[1, [2, [3]]], 4] recursive %}{{ loop(n) if n is iterable else n }},{% endfor %}",
    "a{% generation %}b{{ 1 }}{% endgeneration %}c", "a{# comment #}b{#- x -#} c",
    "{% raw %}{{ a }}{% b %}{% endraw %}x", "a\n{% raw %}\n  x\n  {% endraw %}\nb",
    "a {%- raw -%}\n  x\n {%- endraw -%} \nb", "{{ '{{' }}{{ '}}' }}{{ '{%' }}",
    "a\n{% if yes %}\nb\n{% endif %}\nc\n", "a\n  {% if yes %}\n  b\n  {% endif %}\nc\n\n",
    "  {{ 1 }}\n  {{ 2 }}\n", "a {%- if yes -%} b {%- endif -%} c",
    "a\n{%- if yes %}\n\n b{% endif -%}\n\n c",
    "{% if yes +%}\nb\n{%+ if yes %}c{% endif %}{% endif %}", "x\n\t {%+ if yes %}y{% endif %}",
    "x\n\t {% if yes %}y{% endif %} \n z", "{{- ' a ' -}}  b {{- 1 }}\n", " {{- 1 -}} ",
    "a\n  {# c #}\nb", "a {# c #}\nb", "a\n  {#- c #}\nb\n {# d -#} \n e",
    "a\r\nb\r{% if yes %}\r\nc{% endif %}", "{{ 1 }}\n\n", "\n{{ 1 }}\n", "{{\n1\n+\n2\n}}",
    "{%\nif\nyes\n%}x{%endif%}", "{%if yes%}a{%else%}b{%endif%}", "{{1}}{{-1}}{{ -1 }}",
    "{ {% if yes %}{{ '}' }}{% endif %} }",
    "{% for m in messages %}{{ m['role'] }}:{{ m.content }}|{% endfor %}",
    "{% for m in messages[::-1] %}{{ loop.index }}{{ m.role }} {% endfor %}",
    "{% for m in messages %}{% if m.tool_calls %}{% for t in m.tool_calls %}{{ t.function.name "
    "}}{{ t.function.arguments|tojson }}{% endfor %}{% endif %}{% endfor %}",
    "{% for m in messages %}{% if loop.previtem and loop.previtem.role == m.role %}same{% endif "
    "%}{% endfor %}",
    "{% set c = messages[2].content %}{% if '</think>' in c %}{{ "
    "c.split('</think>')[-1].lstrip('\\n') }}|{{ "
    "c.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}{% endif %}",
    "{% for p in people %}{{ p.name }}{{ ', ' if not loop.last else '.' }}{% endfor %}",
    "{% set s = 'x' if add_generation_prompt else '' %}{{ s }}",
    "{% for i in range(0, 6, 2) %}{{ i }}{% endfor %}",
    "{% if 'a' in 'abc' and not 'z' in 'abc' %}ok{% endif %}",
    "{% set ns = namespace(found=false) %}{% for m in messages %}{% if m.role == 'tool' %}{% set "
    "ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}",
    "{% for x in many %}{% set loopy = loop %}{{ loopy.index }}{% endfor %}",
    "{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }}{% endfor %}",
    "{% for (a, b) in [(1, 2)] %}{{ a }}{{ b }}{% endfor %}",
    "{{ bos_token }}{{ 'x' }}{{ eos_token }}", "{% for x in many %}\n- {{ x }}\n{% endfor %}\nend",
    "{%- for x in many %}\n    {{- x }}\n{%- endfor %}",
    "{% for x in many -%}\n  {{ x }}\n{%- endfor %}", "  {%- set a = 1 -%}  x",
    "{% set a = 1 %}\n\nx", "{{ text }} {{ text|length }} {{ '你好'|length }}",
    "{% for x in words|sort %}{{ x }}{% endfor %}",
    "{{ ('a' ~ 'b') | upper }}{{ 'a' ~ 'b' | upper }}",
    "{{ messages[0]['content'] + '\\n' + messages[1]['content']|trim }}",
    "{{ 'a' if messages[0]['role'] == 'system' else 'b' }}",
    "{% if tools is defined and tools %}{{ tools|length }}{% endif %}{% if nosuch is not defined "
    "%}u{% endif %}"};

}  // namespace

std::vector<std::string> jinja_cases() {
  std::vector<std::string> cases;
  for (const char* expression : kExpressions)
    cases.push_back(std::string("{{ [") + expression + "] }}");
  for (const char* expression : kExpressions) {
    // Each by itself, where no comma makes a list of it.
    if (std::string(expression).find(',') == std::string::npos)
      cases.push_back(std::string("{{ ") + expression + " }}");
  }
  cases.insert(cases.end(), std::begin(kStatements), std::end(kStatements));
  cases.insert(cases.end(), std::begin(kWrong), std::end(kWrong));
  for (const char* style : {kChatMlTemplate, kQwenTemplate, kLlamaTemplate, kDeepSeekTemplate})
    cases.emplace_back(style);
  return cases;
}

const char* const kChatMlTemplate = R"({% for message in messages %}
    {% if loop.first and message.role != 'system' %}
        {{- '<|im_start|>system\nYou help.<|im_end|>\n' -}}
    {% endif %}
    {{- '<|im_start|>' + message['role'] + '\n' + (message['content'] or '') + '<|im_end|>' + '\n' -}}
{% endfor %}
{% if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
)";

const char* const kQwenTemplate = R"({%- set says = namespace(last_query=-1) %}
{%- for message in messages[::-1] %}
    {%- set place = messages|length - 1 - loop.index0 %}
    {%- if says.last_query < 0 and message.role == "user" %}
        {%- set says.last_query = place %}
    {%- endif %}
{%- endfor %}
{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages and messages[0].role == 'system' %}
        {{- messages[0].content + '\n\n' }}
    {%- endif %}
    {{- "# Functions\n\nSigned so:\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools>\n\nCall one so:\n<tool_call>\n{\"name\": <name>, \"arguments\": <object>}\n</tool_call><|im_end|>\n" }}
{%- elif messages and messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {%- set said = message.content if message.content is string else '' %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + said + '<|im_end|>\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thought = message.reasoning_content %}
        {%- elif '</think>' in said %}
            {%- set thought = said.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set said = said.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\n' }}
        {%- if thought and loop.index0 > says.last_query %}
            {{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' }}
        {%- endif %}
        {{- said }}
        {%- for call in message.tool_calls or [] %}
            {%- if not loop.first or said %}{{- '\n' }}{%- endif %}
            {%- set call = call.function if call.function else call %}
            {{- '<tool_call>\n{"name": "' }}{{- call.name }}{{- '", "arguments": ' }}
            {{- call.arguments if call.arguments is string else call.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or messages[loop.index0 - 1].role != "tool" %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' + said + '\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != "tool" %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %})";

const char* const kLlamaTemplate = R"({{- bos_token }}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") if strftime_now is defined else "1 Jan 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set told = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set told = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{{- "Today: " + date_string + "\n\n" }}
{%- if tools is not none %}
    {{- 'To call a function, answer with {"name": …, "parameters": …} alone.\n\n' }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\n\n" }}
    {%- endfor %}
{%- endif %}
{{- told }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif message.tool_calls %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("one call at a time") }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}
        {{- '{"name": "' + call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\n\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
)";

const char* const kDeepSeekTemplate =
    R"({% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %})"
    R"({% set ns = namespace(is_first=false, is_tool=false, told='') %})"
    R"({%- for message in messages %}{%- if message['role'] == 'system' %})"
    R"({% set ns.told = ns.told + message['content'] %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.told }})"
    R"({%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%})"
    R"({{ '<｜User｜>' + message['content'] }}{%- endif %})"
    R"({%- if message['role'] == 'assistant' and message['content'] is none %}{%- set ns.is_tool = false -%})"
    R"({%- for tool in message['tool_calls'] %}{%- if loop.first %})"
    R"({{ '<｜Assistant｜><｜tool▁calls▁begin｜>' }}{%- else %}{{ '\n' }}{%- endif %})"
    R"({{ '<｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\n```json\n' })"
    R"(}{{ tool['function']['arguments'] if tool['function']['arguments'] is string else tool['function']['arguments'] | tojson })"
    R"(}{{ '\n```<｜tool▁call▁end｜>' }}{%- endfor %}{{ '<｜tool▁calls▁end｜><｜end▁of▁sentence｜>' }}{%- endif %})"
    R"({%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %})"
    R"({% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %})"
    R"({{ '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' }}{%- endif %})"
    R"({%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%})"
    R"({{ '<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>' }}{%- endif %}{%- endfor -%})"
    R"({% if add_generation_prompt and not ns.is_tool %}{{ '<｜Assistant｜><think>\n' }}{% endif %})";

JinjaTemplate::Variables jinja_variables(const std::string& json, bool outside) {
  JinjaTemplate::Variables variables;
  const OrderedJson parsed = OrderedJson::parse(json);
  for (const auto& [key, value] : parsed.items())
    variables.emplace_back(key, JinjaValue::from_json(value, outside));
  return variables;
}

}  // namespace um
