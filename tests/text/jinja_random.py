"""Random Jinja templates and what the jinja2 package makes of them, for jinja_test.cc.

Standard input: {"seed": N, "count": N, "variables": {...}}. Standard output: [[template, text or null]]; null is an
error. Exit code 77: the package is missing.
"""
import json
import random
import sys

from jinja_env import render

NAMES = ["text", "empty", "many", "words", "numbers", "yes", "no", "nothing", "real", "small", "whole", "negative",
         "people", "tree", "mixed", "nosuch", "messages", "markup", "nested", "keyed"]
LITERALS = ["0", "1", "2", "-3", "7", "1.5", "2.0", "0x1F", "1_000", "1e3", "true", "false", "none", "''", "'a'", "'b,c'",
            "' x '", "'Hello World'", "'a-b c'", "'é ß Ω'", "'l1\\nl2\\r\\nl3'", "'<b>&\"'", "'12'", "'3.7'", "'%s|%d'",
            "'{}-{}'", "[]", "{}", "()", "[1, 2, 3]", "['b', 'A', 'c']", "(1, 'x')", "{'a': 1, 'b': [2]}",
            "{1: 'one', none: 2, (1, 2): 3, true: 4}", "range(4)", "range(5, 1, -2)", "'abc'|safe", "'<'|e", "dict(a=1)",
            "[[1, 2], [3]]", "[none, 1]", "'x' * 3", "['a', none, 1.0, true]", "'\\t'", "'日本語'"]
FILTERS = ["abs", "capitalize", "center(9)", "count", "default('d')", "default('d', true)", "dictsort",
           "dictsort(by='value')", "dictsort(true, reverse=true)", "e", "first", "float", "float(1.5)", "indent", "indent(2, true)",
           "indent('> ', blank=true)", "int", "int(5)", "int(base=16)", "items", "items|list", "join", "join(', ')",
           "join('-', attribute='name')", "last", "length", "list", "lower", "map('upper')|list", "map(attribute='name')|list",
           "map(attribute='age', default=0)|join(',')", "map('string')|join", "max", "min", "reject|list",
           "reject('odd')|list", "replace('a', 'XX')", "replace('', '-')", "replace('l', '', 1)", "reverse", "reverse|list",
           "round", "round(1)", "round(2, 'floor')", "round(0, 'ceil')", "safe", "select|list", "select('string')|list",
           "select('equalto', 1)|list", "selectattr('age')|list", "selectattr('name', 'defined')|list|length",
           "rejectattr('age', 'gt', 10)|map(attribute='name')|list", "slice(2)|list", "slice(3, 'f')|list", "batch(2)|list",
           "batch(3, 'f')|list", "sort", "sort(reverse=true)", "sort(attribute='name')", "sort(attribute='age,name')",
           "string", "sum", "sum(start=1)", "sum(attribute='age')", "title", "tojson", "tojson(indent=2)",
           "tojson(sort_keys=true)", "tojson(separators=(',', ':'))", "tojson(ensure_ascii=true)", "trim", "trim('a')",
           "truncate(8)", "truncate(5, true, '…', 0)", "unique|list", "upper", "urlencode", "wordcount", "groupby('age')",
           "groupby('name')|list", "attr('name')", "format(1)", "format('a', 2)",
           "map('length')|list", "map('int')|sum", "first|upper", "map('first')|join", "list|last", "nosuch", "upper(1)"]
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "true", "false", "mapping",
         "sequence", "iterable", "callable", "odd", "even", "divisibleby(2)", "divisibleby 3", "lower", "upper", "in([1, 'a'])",
         "eq(1)", "equalto('a')", "ne 1", "gt(1)", "lt(2)", "ge(1)", "le('b')", "sameas(none)", "sameas true", "escaped",
         "filter", "test", "in many"]
METHODS = ["upper()", "lower()", "title()", "capitalize()", "swapcase()", "casefold()", "strip()", "strip('a')", "lstrip()",
           "rstrip('x')", "split()", "split(',')", "split(none, 1)", "split(' ', 1)", "rsplit(' ', 1)", "rsplit(none, 1)",
           "splitlines()", "splitlines(true)", "partition('-')", "rpartition(' ')", "startswith('a')", "startswith(('H', 'a'))",
           "endswith('d')", "startswith('e', 1)", "find('l')", "find('l', 3)", "rfind('l')", "find('')", "index('a')",
           "count('l')", "count('')", "count(1)", "replace('a', 'b')", "replace('l', 'L', 1)", "removeprefix('a')",
           "removesuffix('d')", "join(words)", "join(['<', 'b'])", "zfill(5)", "ljust(6)", "rjust(6, '*')", "center(7, '-')",
           "expandtabs(4)", "isdigit()", "isalpha()", "isalnum()", "isspace()", "isupper()", "islower()", "istitle()",
           "isascii()", "isdecimal()", "isnumeric()", "isidentifier()", "isprintable()", "format(1, 2)", "format('a', b=2)",
           "items()", "items()|list", "keys()", "keys()|list", "values()|list", "values()", "get('one')", "get('x')",
           "get('x', 5)", "get(1)", "copy()", "index(1)", "append(1)", "update(a=1)", "pop()", "items", "keys", "nosuch", "name",
           "one", "a", "0", "real"]
SPECS = ["{}", "{:>6}", "{:<6}|", "{:^7}", "{:*^9}", "{:5d}", "{:05d}", "{:+}", "{:.2f}", "{:8.3f}", "{:x}", "{:#x}", "{:b}",
         "{:,}", "{:e}", "{:g}", "{:%}", "{!r}", "{!s:>5}", "{:s}", "{:.2}", "{:{}}", "{0}{0}", "{{}}", "{a}", "{", "}", "{:_}"]
PERCENTS = ["%s", "%r", "%d", "%5d", "%-5d|", "%05d", "%+d", "%x", "%X", "%#x", "%o", "%.2f", "%8.3f", "%e", "%g", "%5s", "%-5s|",
            "%.2s", "%c", "%%", "%", "%i", "% d", "%(a)s", "%*d"]


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, items):
        return self.random.choice(items)

    def expression(self, depth=0):
        kind = self.random.random()
        if depth > 2 or kind < 0.22:
            return self.pick(NAMES) if self.random.random() < 0.6 else self.pick(LITERALS)
        inner = lambda: self.expression(depth + 1)
        if kind < 0.5:
            return f"({inner()})|{self.pick(FILTERS)}"
        if kind < 0.62:
            return f"({inner()}).{self.pick(METHODS)}"
        if kind < 0.68:
            return f"(({inner()}) is {self.pick(['', 'not '])}{self.pick(TESTS)})"
        if kind < 0.74:
            key = self.pick(["0", "1", "-1", "'name'", "'items'", "'role'", "'one'", "none", "1.0", "true", "(1, 2)", "1:", ":2", "::-1", "1:3",
                             "-2:", ":-1", "::2", "3:0:-1", "'a'", "'age'"])
            return f"({inner()})[{key}]"
        if kind < 0.84:
            return f"({inner()} {self.pick(['+', '-', '*', '/', '//', '%', '**', '~', '~'])} {inner()})"
        if kind < 0.92:
            return f"({inner()} {self.pick(['==', '!=', '<', '<=', '>', '>=', 'in', 'not in', 'and', 'or'])} {inner()})"
        if kind < 0.94:
            return f"({inner()} if {inner()} else {inner()})"
        if kind < 0.96:
            return f"'{self.pick(SPECS)}'.format({inner()}, {inner()})"
        if kind < 0.98:
            return f"'{self.pick(PERCENTS)}' % {self.pick([inner(), f'({inner()}, {inner()})', f'({inner()},)'])}"
        return f"[{inner()}, {inner()}]"

    def gap(self):
        return self.pick(["", " ", "\n", "x", "\n  ", "  \n", " y ", "\n\n"])

    def tag(self, inside):
        return f"{{%{self.pick(['', '', '-', '+'])} {inside} {self.pick(['', '', '-', '+'])}%}}"

    def block(self, depth=0):
        kind = self.random.random()
        if depth > 2 or kind < 0.3:
            return f"{{{{{self.pick(['', '-'])} {self.expression(1)} {self.pick(['', '-'])}}}}}"
        body = lambda: self.gap() + self.block(depth + 1) + self.gap()
        if kind < 0.42:
            other = self.tag("else") + body() if self.random.random() < 0.5 else ""
            return self.tag("if " + self.expression(1)) + body() + other + self.tag("endif")
        if kind < 0.62:
            target, over = self.pick([("a", self.expression(1)), ("k, v", "numbers.items()"), ("k, v", "numbers|dictsort"), ("a", "many"),
                                      ("a", "words"), ("(a, (b, c))", "nested"), ("a", "tree recursive"), ("a", "1, 2, 3"),
                                      ("a", "many if a != 1"), ("a", "people|groupby('age')"), ("c", "text"), ("a", "numbers")])
            inside = self.pick(["{{ a }}{{ k }}{{ b }}", "{{ loop.index }}{{ loop.last }}{{ loop.length }}", "{{ loop.previtem }}{{ loop.nextitem }}",
                                "{% if loop.index > 1 %}{% break %}{% endif %}{{ a }}", "{% if loop.first %}{% continue %}{% endif %}{{ a }}",
                                "{{ loop.cycle('x', 'y') }}{{ loop.changed(a) }}", "{{ loop.revindex0 }}{{ loop.depth }}", "{{ loop(a.kids) if a.kids }}",
                                "{% set n = a %}{{ n }}", "{% set ns.x = ns.x + 1 %}", body()])
            other = self.tag("else") + body() if self.random.random() < 0.2 else ""
            return self.tag(f"for {target} in {over}") + inside + other + self.tag("endfor")
        if kind < 0.7:
            return self.tag(f"set {self.pick(['a', 'b', 'ns.x', 'a, b', 'many'])} = {self.expression(1)}") + body() + "{{ a }}{{ ns.x }}"
        if kind < 0.75:
            return self.tag(f"set a{self.pick(['', ' | upper', ' | trim | indent(2)'])}") + body() + self.tag("endset") + "[{{ a }}]"
        if kind < 0.82:
            return (self.tag(f"macro m(p, q={self.expression(2)})") + self.pick(["{{ p }}{{ q }}", "{{ varargs }}{{ kwargs }}{{ p }}", "{{ caller(p) }}", body()])
                    + self.tag("endmacro") + self.pick(["{{ m(1) }}", "{{ m(1, 2, 3, z=4) }}", "{{ m(q=1) }}", "{{ m() }}", "{{ m(*many) }}",
                                                        "{{ m(**{'p': 1}) }}", "{% call(u) m(2) %}<{{ u }}>{% endcall %}", "{{ m(p=1, q=2)|upper }}"]))
        if kind < 0.87:
            return self.tag(f"filter {self.pick(['upper', 'trim', 'indent(2)', 'replace(1, 2)', 'length'])}") + body() + self.tag("endfilter")
        if kind < 0.92:
            return self.tag(f"with a = {self.expression(1)}, b = a") + body() + "{{ a }}{{ b }}" + self.tag("endwith")
        if kind < 0.95:
            return "{#" + self.pick(["", "-"]) + " note " + self.pick(["", "-"]) + "#}" + body()
        if kind < 0.97:
            return self.tag("raw") + " {{ x }} " + self.tag("endraw").replace("+", "") + body()
        return self.tag("generation") + body() + self.tag("endgeneration")

    def template(self):
        if self.random.random() < 0.6:
            return "{{ " + self.expression() + " }}"
        return "{% set ns = namespace(x=0) %}" + "".join(self.gap() + self.block() for _ in range(self.random.randint(1, 3))) + self.gap()


def main():
    request = json.load(sys.stdin)
    variables = request["variables"]
    maker = Maker(request["seed"])
    out = []
    while len(out) < request["count"]:
        source = maker.template()
        text = render(source, variables)
        # Addresses, integers of more than 64 bits and huge texts are not compared.
        if text is not None and (" at 0x" in text or len(text) > 5000 or any(len(w) > 17 and w.isdigit() for w in text.split())):
            continue
        out.append([source, text])
    json.dump(out, sys.stdout)


main()
