"""Templates rendered by the jinja2 package with Hugging Face's settings, for jinja_test.cc.

Standard input: {"variables": {...}, "templates": [...]}.
Standard output: [text or null]; null is an error. Exit code 77: the package is missing.
"""
import datetime
import json
import sys

try:
    import jinja2
    import jinja2.ext
    import jinja2.nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment
except ImportError:
    sys.exit(77)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller):
        return caller()


def fail(message):
    raise jinja2.TemplateError(message)


env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                    extensions=[Generation, jinja2.ext.loopcontrols])
env.filters["tojson"] = lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: \
    json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
env.globals["raise_exception"] = fail
env.globals["strftime_now"] = lambda form: datetime.datetime(2024, 7, 26, 12, 0).strftime(form)

request = json.load(sys.stdin)
replies = []
for source in request["templates"]:
    try:
        replies.append(env.from_string(source).render(**request["variables"]))
    except Exception:
        replies.append(None)
json.dump(replies, sys.stdout)
