// Fuzzes the Jinja interpreter: a template is refused with Error, or gives valid UTF-8 with a mark
// for every byte, the same text twice, and no marks where nothing comes from outside.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/error.h"
#include "text/jinja.h"
#include "text/utf8.h"

std::vector<std::string> fuzz_seeds() {
  return {
      "{%- if messages[0]['role'] == 'system' -%}{{ messages[0].content|trim }}{%- endif %}\n"
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m['content'] + '<|im_end|>' "
      "}}{% endfor %}",
      "{% set n = namespace(x=0, y='') %}{% for m in messages[::-1] if m.role != 'a' %}{% set n.x "
      "= n.x + 1 %}"
      "{% if loop.last %}{% break %}{% else %}{% continue %}{% endif %}{% endfor %}{{ n.x ~ n.y }}",
      "{% macro f(a, b=2) %}{{ a|tojson(indent=2) }}{{ f(b, a) if b > 9 }}{% endmacro %}{{ "
      "f(messages) }}"
      "{{ f(1, b=3)|length }}{# c -#} {% raw %}{{ x }}{% endraw %}",
      "{{ messages|selectattr('role', 'in', ['u'])|map(attribute='content')|join(', "
      "')|replace('a', 'é')|upper }}"
      "{{ 'a,b'.split(',')[-1][::-1] * 3 }}{{ {'a': [1, 2.5, none]}.items()|list }}{{ 7 // -2 ** 2 "
      "% 5 }}",
      "{% set x | indent(3) %}a\n{{ messages[1].content.strip('x').startswith('y') is not true "
      "}}{% endset %}{{ x }}"
      "{% filter upper %}{{ '%s %d' % ('a', 3) }}{{ '{0}{}'.format(1) }}{% endfilter %}{{ "
      "strftime_now('%Y') }}",
      "{% for k, v in messages[0].items() %}{{ loop.cycle(k, v) }}{{ loop.previtem }}{% endfor %}"
      "{% with a = range(3)|list %}{{ a|sort(reverse=true)|unique|sum }}{{ a|max }}{% endwith %}"
      "{% generation %}x{% endgeneration %}{{ raise_exception('no') if nosuch is defined else 1 in "
      "[1] }}",
      "{% macro m(x) %}{{ caller(x) if caller }}{% endmacro %}{% for x in messages recursive %}{{ "
      "loop.depth }}"
      "{% call(y, z=1) m(x) %}{{ y }}{{ x.role }}{% endcall %}{{ loop(x.calls or []) }}{% endfor "
      "%}"};
}

namespace {

// Bytes from 128 on stand for these, so that a mutated byte is a whole word.
constexpr std::array kWords = {
    "{{ ",       " }}",      "{% ",       " %}",       "{%- ",      " -%}",       "for ",
    "in ",       "endfor",   "if ",       "elif ",     "else ",     "endif",      "set ",
    "endset",    "macro ",   "endmacro",  "filter ",   "endfilter", "with ",      "endwith",
    "raw",       "endraw",   "messages",  "loop",      ".index",    ".previtem",  "namespace(",
    "range(",    "dict(",    "is ",       "not ",      "defined",   "none",       "true",
    "and ",      "or ",      "|tojson",   "|join(",    "|map(",     "|select(",   "|selectattr(",
    "|sort",     "|unique",  "|indent(",  "|replace(", "|trim",     "|int",       "|round(",
    "|default(", "|items",   "|dictsort", ".split(",   ".strip(",   ".items()",   ".format(",
    ".get(",     ".rfind(",  "'role'",    "'a'",       "9",         "-1",         "[",
    "]",         "::-1",     "(",         ")",         "{",         "}",          ", ",
    "=",         "==",       "~",         "+",         "*",         "**",         "//",
    "%",         "<",        "break",     "continue",  "{#",        "#}",         "\n",
    "call ",     "call(x) ", "endcall",   "caller",    "caller(",   "recursive ", "loop("};

std::string source_of(const uint8_t* data, size_t size) {
  std::string source;
  for (size_t i = 0; i < size; ++i) {
    if (data[i] < 128)
      source += static_cast<char>(data[i]);
    else
      source += kWords[(data[i] - 128u) % kWords.size()];
  }
  return source;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string source = source_of(data, size);
  static const um::OrderedJson messages = um::OrderedJson::parse(
      R"([{"role": "system", "content": " s é\n"}, {"role": "u", "content": "xyz", "calls": [{"n": 1.5}]}])");
  const um::JinjaOptions options{.work = 1 << 20, .now = 0};
  try {
    const um::JinjaTemplate compiled(source, "fuzz");
    const auto outside = um::JinjaValue::from_json(messages, true);
    const um::MarkedText text = compiled.render({{"messages", outside}}, options);
    if (!um::is_utf8(text.bytes) || text.bytes.size() != text.outside.size()) std::abort();
    const auto own = um::JinjaValue::from_json(messages, false);
    const um::MarkedText again = compiled.render({{"messages", own}}, options);
    if (again.bytes != text.bytes || again.any_outside()) std::abort();
  } catch (const um::Error&) {
  }
  return 0;
}
