// The Jinja interpreter: against the jinja2 package, written expectations, limits, and which bytes
// come from messages.
#include "text/jinja.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

#include "core/error.h"
#include "core/stop_scope.h"
#include "tests/text/jinja_cases_util.h"
#include "tests/text/peer_util.h"
#include "text/utf8.h"

namespace um {
namespace {

constexpr int64_t kNoon = 1721995200;  // 2024-07-26 12:00 UTC

/// The text, or nothing for an Error.
std::optional<std::string> render(const std::string& source,
                                  const JinjaTemplate::Variables& variables,
                                  const JinjaOptions& options = {.now = kNoon}) {
  try {
    return JinjaTemplate(source, "t").render(variables, options).bytes;
  } catch (const Error&) {
    return {};
  }
}

std::string render_or_error(const std::string& source, const std::string& json = "{}",
                            const JinjaOptions& options = {.now = kNoon}) {
  try {
    return JinjaTemplate(source, "t").render(jinja_variables(json), options).bytes;
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(Jinja, GivesWhatTheJinja2PackageGives) {
  const std::vector<std::string> cases = jinja_cases();
  const auto replies =
      ask_python("jinja_peer.py",
                 {{"variables", nlohmann::json::parse(kJinjaVariables)}, {"templates", cases}});
  if (!replies) GTEST_SKIP() << "no jinja2 package; set UM_PYTHON to a python that has it";
  // What goes to Python has sorted keys.
  const auto variables = jinja_variables(nlohmann::json::parse(kJinjaVariables).dump());
  ASSERT_EQ(replies->size(), cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    const nlohmann::json& expected = (*replies)[i];
    const auto found = render(cases[i], variables);
    EXPECT_EQ(found.has_value(), expected.is_string())
        << cases[i] << "\nwe: " << found.value_or(render_or_error(cases[i], kJinjaVariables))
        << "\npeer: " << expected;
    if (found && expected.is_string()) {
      EXPECT_EQ(*found, expected.get<std::string>()) << cases[i];
    }
  }
}

// $UM_SEED and $UM_COUNT choose other programs, and more.
TEST(Jinja, RandomTemplatesGiveWhatTheJinja2PackageGives) {
  const auto number = [](const char* name, int64_t standard) {
    const char* text = std::getenv(name);
    return text != nullptr ? std::stoll(text) : standard;
  };
  const auto cases =
      ask_python("jinja_random.py", {{"seed", number("UM_SEED", 7)},
                                     {"count", number("UM_COUNT", 4000)},
                                     {"variables", nlohmann::json::parse(kJinjaRandomVariables)}});
  if (!cases) GTEST_SKIP() << "no jinja2 package; set UM_PYTHON to a python that has it";
  // What goes to Python has sorted keys.
  const auto variables = jinja_variables(nlohmann::json::parse(kJinjaRandomVariables).dump());
  size_t differ = 0;
  for (const auto& [source, expected] :
       cases->get<std::vector<std::pair<std::string, nlohmann::json>>>()) {
    const auto found = render(source, variables);
    const bool same = found.has_value() == expected.is_string() &&
                      (!found || *found == expected.get<std::string>());
    if (same || ++differ > 20) continue;
    GTEST_LOG_(INFO) << source << "\nwe: " << found.value_or("an error") << "\npeer: " << expected;
  }
  RecordProperty("differ", static_cast<int>(differ));
  // jinja2 folds constants in other ways than it runs, and finds some faults late.
  EXPECT_LE(differ, cases->size() / 100);
}

/// A conversation with a system turn, an answer and a question.
const char* const kTalk = R"({"messages": [
  {"role": "system", "content": " Be brief. "}, {"role": "user", "content": "hi"},
  {"role": "assistant", "content": "<think>\nwell\n</think>\n\nHello."}, {"role": "user", "content": "bye"}],
  "bos_token": "<s>", "add_generation_prompt": true})";

/// A call and its result.
const char* const kCall = R"({"messages": [
  {"role": "user", "content": "sun?"},
  {"role": "assistant", "content": null, "tool_calls": [{"type": "function",
    "function": {"name": "look", "arguments": {"at": "sky"}}}]},
  {"role": "tool", "content": "yes"}],
  "tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}],
  "bos_token": "<s>", "add_generation_prompt": true})";

TEST(Jinja, ChatMl) {
  EXPECT_EQ(render_or_error(kChatMlTemplate, kTalk),
            "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\nhi<|im_end|>\n"
            "<|im_start|>assistant\n<think>\nwell\n</think>\n\nHello.<|im_end|>\n"
            "<|im_start|>user\nbye<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(
      render_or_error(kChatMlTemplate, R"({"messages": [{"role": "user", "content": "hi"}]})"),
      "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n");
}

TEST(Jinja, QwensManner) {
  EXPECT_EQ(render_or_error(kQwenTemplate, kTalk),
            "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\nhi<|im_end|>\n"
            "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nbye<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(render_or_error(kQwenTemplate, kCall),
            "<|im_start|>system\n# Functions\n\nSigned so:\n<tools>\n"
            "{\"type\": \"function\", \"function\": {\"name\": \"look\", \"parameters\": "
            "{}}}\n</tools>\n\n"
            "Call one so:\n<tool_call>\n{\"name\": <name>, \"arguments\": "
            "<object>}\n</tool_call><|im_end|>\n"
            "<|im_start|>user\nsun?<|im_end|>\n<|im_start|>assistant\n<tool_call>\n"
            "{\"name\": \"look\", \"arguments\": {\"at\": \"sky\"}}\n</tool_call><|im_end|>\n"
            "<|im_start|>user\n<tool_response>\nyes\n</"
            "tool_response><|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render_or_error(kQwenTemplate,
                            R"({"messages": [{"role": "user", "content": "hi"}],
                                "add_generation_prompt": true, "enable_thinking": false})"),
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
}

TEST(Jinja, LlamasManner) {
  EXPECT_EQ(
      render_or_error(kLlamaTemplate, kTalk),
      "<s><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\nBe brief.<|eot_id|>"
      "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\n<think>\nwell\n</think>\n\nHello.<|eot_id|>"
      "<|start_header_id|>user<|end_header_id|>\n\nbye<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(render_or_error(kLlamaTemplate, kCall),
            "<s><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\n"
            "To call a function, answer with {\"name\": …, \"parameters\": …} alone.\n\n"
            "{\n    \"type\": \"function\",\n    \"function\": {\n        \"name\": \"look\",\n"
            "        \"parameters\": {}\n    }\n}\n\n<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nsun?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n"
            "{\"name\": \"look\", \"parameters\": {\"at\": \"sky\"}}<|eot_id|>"
            "<|start_header_id|>ipython<|end_header_id|>\n\n\"yes\"<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(Jinja, DeepSeeksManner) {
  EXPECT_EQ(render_or_error(kDeepSeekTemplate, kTalk),
            "<s> Be brief. <｜User｜>hi<｜Assistant｜>\n\nHello.<｜end▁of▁sentence｜><｜User｜>bye"
            "<｜Assistant｜><think>\n");
  EXPECT_EQ(
      render_or_error(kDeepSeekTemplate, kCall),
      "<s><｜User｜>sun?<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function"
      "<｜tool▁sep｜>look\n```json\n{\"at\": \"sky\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
      "<｜end▁of▁sentence｜><｜tool▁output▁begin｜>yes<｜tool▁output▁end｜>");
}

/// Integers of JSON up to 2^64 - 1 are shown with their digits.
TEST(Jinja, LargeIntegersOfJson) {
  const std::string json = R"({"n": 12345678901234567890, "m": 18446744073709551615, "k": 1})";
  EXPECT_EQ(render_or_error("{{ n }} {{ n | tojson }} {{ [n] }} {{ {'a': m} | tojson }}", json),
            "12345678901234567890 12345678901234567890 [12345678901234567890] "
            "{\"a\": 18446744073709551615}");
  EXPECT_EQ(render_or_error("{{ n is integer }} {{ n is number }} {{ n is float }} {{ n == n }} "
                            "{{ n < m }} {{ m > n }} {{ k < n }} {{ n == k }} {{ n | int }}",
                            json),
            "True True False True True True True False 12345678901234567890");
  EXPECT_NE(render_or_error("{{ n + 1 }}", json).find("does not fit 64 bits"), std::string::npos);
}

TEST(Jinja, ErrorsSayTheLineAndWhatWasExpected) {
  EXPECT_EQ(render_or_error("a\nb\n{{ nosuch.x }}"),
            "t: line 3: nosuch is undefined, so it has no \"x\"");
  EXPECT_EQ(render_or_error("a\n{% if x %}"), "t: line 2: a block is not closed: expected endif");
  EXPECT_EQ(render_or_error("{{\n\n1 + }}"), "t: line 3: expected a value, found \"\"");
  EXPECT_EQ(render_or_error("\n{{ raise_exception('no tools') }}"),
            "t: line 2: the template says: no tools");
  EXPECT_EQ(render_or_error("{% for x in 5 %}{% endfor %}"),
            "t: line 1: expected a list, found int");
  EXPECT_EQ(render_or_error("{% for x in [1] %}\n{{ loop([]) }}{% endfor %}"),
            "t: line 2: loop(...): the loop is not recursive");
  EXPECT_EQ(render_or_error("{% call 'a'.upper() %}{% endcall %}"),
            "t: line 1: call: expected a macro, found method");
  // A loop that outlives its block: its names are gone.
  EXPECT_EQ(render_or_error("{% set n = namespace() %}{% if 1 %}{% with %}{% for x in [1] "
                            "recursive %}{% set n.l = loop %}"
                            "{% endfor %}{% endwith %}{% endif %}{{ n.l([2]) }}"),
            "t: line 1: a macro or a loop is called outside its block");
  EXPECT_NE(render_or_error("{% extends 'x' %}").find("tag \"extends\" is not supported"),
            std::string::npos);
  EXPECT_NE(render_or_error("\xff").find("UTF-8"), std::string::npos);
}

/// A template that asks for too much is told so, soon.
void expect_refused(const std::string& source, const std::string& why,
                    const JinjaOptions& options = {.work = 1 << 24}) {
  const std::clock_t start = std::clock();
  const std::string found =
      render_or_error(source, R"({"big": ")" + std::string(100000, 'a') + "\"}", options);
  const double took = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  EXPECT_NE(found.find(why), std::string::npos) << source.substr(0, 100) << "\n"
                                                << found.substr(0, 300);
  EXPECT_LT(took, 60) << source.substr(0, 100);  // a few seconds without sanitizers
}

/// Nobody waits for the text any more.
TEST(Jinja, StopsWhenItIsTold) {
  const JinjaTemplate loops(
      "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "t");
  int asked = 0;
  const StopScope scope([&] { return ++asked == 3; });
  EXPECT_THROW(loops.render({}), Stopped);
  EXPECT_EQ(asked, 3);
}

TEST(Jinja, WorkIsBounded) {
  const std::string loops = "{% for a in range(100000) %}{% for b in range(100000) %}";
  expect_refused(loops + "{% endfor %}{% endfor %}", "does too much", {});
  expect_refused(loops + "{{ big }}{% endfor %}{% endfor %}", "does too much");
  // Doubling what a name holds.
  expect_refused(
      "{% set n = namespace(x='ab') %}{% for a in range(99) %}{% set n.x = n.x + n.x %}{% endfor "
      "%}",
      "does too much");
  expect_refused(
      "{% set n = namespace(x=[1]) %}{% for a in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
      "does too much");
  // A list that shares itself: small, but endless to write out or to compare.
  const std::string shared =
      "{% set n = namespace(x=[1], y=[1]) %}{% for a in range(60) %}{% set n.x = [n.x, n.x] %}"
      "{% set n.y = [n.y, n.y] %}{% endfor %}";
  expect_refused(shared + "{{ n.x }}", "does too much");
  expect_refused(shared + "{{ n.x|tojson }}", "does too much");
  expect_refused(shared + "{{ n.x == n.y }}", "does too much");
  expect_refused("{{ 'a' * 99999999999 }}", "does too much");
  expect_refused("{{ [[]] * 9999999 }}", "does too much");
  expect_refused("{{ big.replace('a', big) }}", "does too much");
  expect_refused("{{ big|join(big) }}", "does too much");
  expect_refused("{% for a in range(100000) %}{% if big ~ 'b' in big %}{% endif %}{% endfor %}",
                 "does too much");
  // Two calls each, thirty deep.
  expect_refused(
      "{% for x in [30] recursive %}{% if x %}{{ loop([x - 1, x - 1]) }}{% endif %}{% endfor %}",
      "does too much");
  expect_refused("{{ range(100001) }}", "more than 100000");
  expect_refused("{{ 'a'|indent(99999999) }}", "too many");
  expect_refused("{{ 'a'|center(99999999) }}", "at most");
  expect_refused("{{ '{:999999999}'.format('a') }}", "larger than");
  expect_refused("{{ '%999999999d' % 1 }}", "larger than");
  expect_refused("{{ '%*d' % (99999999, 1) }}", "the number");
  expect_refused("{{ [1]|batch(99999999, 0)|list }}", "does too much");
  expect_refused("{{ [1]|slice(99999999)|list }}", "does too much");
  expect_refused("{{ big|replace('', big) }}", "does too much");
  expect_refused("{% for a in range(100000) %}{% if big|wordcount %}{% endif %}{% endfor %}",
                 "does too much");
  expect_refused("{% for a in range(100000) %}{% if big|e %}{% endif %}{% endfor %}",
                 "does too much");
  // Dicts are searched one key after the other, which is paid for.
  expect_refused(
      "{% set n = namespace(d={}) %}{% for a in range(100000) %}{% set n.d = dict(n.d, "
      "**{a|string: 1}) %}{% endfor %}",
      "does too much");
  expect_refused(
      "{% macro m() %}{{ varargs|length }}{% endmacro %}{% for a in range(100000) %}"
      "{{ m(*range(100000)) }}{% endfor %}",
      "does too much");
}

/// Seconds of processor time that a template takes.
double seconds(const std::string& source, const std::string& json) {
  const auto variables = jinja_variables(json);
  const JinjaTemplate compiled(source, "t");
  const std::clock_t start = std::clock();
  compiled.render(variables, {.work = uint64_t{1} << 40});
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

TEST(Jinja, TimeIsLinearInWhatIsGiven) {
  const std::string source =
      "{% for m in messages %}{{ m.role|upper ~ m.content|trim|replace('a', 'b')|escape }}"
      "{{ m|tojson }}{{ m.content.split('x')|length }}{{ m.content.rfind('nosuch') }}"
      "{{ m.content|wordcount }}{% if loop.last or loop.nextitem.role %}{% endif %}{% endfor %}"
      "{{ messages|map(attribute='content')|join|length }}{{ text|length }}{{ text|upper|length }}"
      "{{ text.splitlines()|length }}{{ text[::-1]|length }}{{ text|indent|length }}";
  const auto json = [](size_t count) {
    OrderedJson messages = OrderedJson::array();
    for (size_t i = 0; i < count; ++i)
      messages.push_back({{"role", "user"}, {"content", " an axe\nand é " + std::to_string(i)}});
    std::string text;
    for (size_t i = 0; i < 20 * count; ++i) text += "a é\n";
    return OrderedJson{{"messages", messages}, {"text", text}}.dump();
  };
  const std::string small = json(2000), large = json(8000);
  double ratio = 100;
  for (int i = 0; i < 3; ++i)  // the least disturbed one
    ratio = std::min(ratio, seconds(source, large) / std::max(seconds(source, small), 1e-3));
  EXPECT_LT(ratio, 9);  // 4 times the input; 16 would be quadratic
}

TEST(Jinja, NestingIsBounded) {
  const auto repeat = [](const std::string& text, size_t times) {
    std::string out;
    for (size_t i = 0; i < times; ++i) out += text;
    return out;
  };
  expect_refused("{{ " + repeat("(", 9999) + repeat(")", 9999) + " }}", "nested deeper");
  expect_refused("{{ " + repeat("not ", 100000) + "1 }}", "nested deeper");
  expect_refused("{{ " + repeat("-", 100000) + "1 }}", "nested deeper");
  expect_refused("{{ " + repeat("[", 9999) + repeat("]", 9999) + " }}", "nested deeper");
  expect_refused("{{ 1" + repeat(" + 1", 100000) + " }}", "nested deeper");
  expect_refused("{{ x" + repeat(".x", 100000) + " }}", "nested deeper");
  expect_refused("{{ 1" + repeat("|abs", 100000) + " }}", "nested deeper");
  expect_refused("{{ 1" + repeat(" if 1 else 1", 50000) + " }}", "nested deeper");
  expect_refused(repeat("{% if 1 %}", 50000), "nested deeper");
  expect_refused("{% if 1 %}" + repeat("{% elif 1 %}", 50000), "nested deeper");
  expect_refused("{{ [" + repeat("1,", 300000) + "] }}", "more than 200000");
  expect_refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested deeper");
  expect_refused("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "nested deeper");
  expect_refused(
      "{% macro m() %}{{ caller() }}{% call m() %}{% endcall %}{% endmacro %}{% call m() %}{% "
      "endcall %}",
      "nested deeper");
  expect_refused(
      "{% macro m() %}{{ caller }}{% call m() %}{% endcall %}{% endmacro %}{% call m() %}{% "
      "endcall %}",
      "nested deeper");
  expect_refused(repeat("{% call m() %}", 50000), "nested deeper");
  expect_refused(
      "{% set n = namespace(x=1) %}{% for a in range(999) %}{% set n.x = [n.x] %}{% endfor %}",
      "nested deeper");
  expect_refused(
      "{% set n = namespace(x=1) %}{% for a in range(999) %}{% set n.x = {'a': n.x} %}{% endfor %}",
      "nested deeper");
  expect_refused("{{ 'a'|map(" + repeat("'map',", 600) + ") }}", "nested deeper");
  expect_refused(repeat(" ", 2 << 20), "the limit is");
  expect_refused("{% set n = namespace() %}{% set n.n = n %}{{ n }}{{ [n] }}",
                 "a namespace that has more than 32 in it");
}

/// Which bytes of a text came from outside, as a line of x and dots.
std::string marks(const std::string& source, const std::string& json) {
  const MarkedText text = JinjaTemplate(source, "t").render(jinja_variables(json));
  EXPECT_EQ(text.bytes.size(), text.outside.size());
  std::string line;
  for (const char mark : text.outside) line += mark != 0 ? 'x' : '.';
  return text.bytes + "\n" + line;
}

TEST(Jinja, BytesFromOutsideKeepTheirMark) {
  const std::string json = R"({"a": "one two", "d": {"k": "v"}, "n": 5})";
  EXPECT_EQ(marks("<{{ a }}>", json), "<one two>\n.xxxxxxx.");
  EXPECT_EQ(marks("{{ '<' + a + '>' }}", json), "<one two>\n.xxxxxxx.");
  EXPECT_EQ(marks("{{ a.split(' ')|join('+') }}", json), "one+two\nxxx.xxx");
  EXPECT_EQ(marks("{{ a|upper|replace('ONE', '1') ~ n }}", json), "1 TWO5\n.xxxx.");
  EXPECT_EQ(marks("{{ a[4:] }}{{ a|trim|first }}{{ '%s!' % a }}{{ '{}!'.format(a) }}", json),
            "twooone two!one two!\nxxxxxxxxxxx.xxxxxxx.");
  EXPECT_EQ(marks("{{ d|tojson }}", json), "{\"k\": \"v\"}\n.xxx..xxx.");
  EXPECT_EQ(marks("{{ d }}{% for k, v in d.items() %}{{ k }}{{ v }}{% endfor %}", json),
            "{'k': 'v'}kv\n.xxx..xxx.xx");
  EXPECT_EQ(marks("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(a) }}", json),
            "[one two]\n.xxxxxxx.");
  EXPECT_EQ(marks("{% set x %}[{{ a }}]{% endset %}{{ x|capitalize|indent }}", json),
            "[one two]\n.xxxxxxx.");
  EXPECT_EQ(
      marks("{% macro m() %}<{{ caller(a) }}>{% endmacro %}{% call(x) m() %}{{ x }}!{% endcall %}",
            json),
      "<one two!>\n.xxxxxxx..");
  EXPECT_EQ(
      marks("{% for x in [[a], 'b'] recursive %}{{ x if x is string else loop(x) }}{% endfor %}",
            json),
      "one twob\nxxxxxxx.");
  EXPECT_EQ(marks("{{ 'x'|replace('x', a) }}{{ a * 1 }}{{ a|reverse }}{{ a|e }}", json),
            "one twoone twoowt enoone two\n" + std::string(28, 'x'));
}

TEST(Jinja, KnowsWhichVariablesATemplateReads) {
  const JinjaTemplate t(
      "{% for m in messages if m %}{{ f(x=tools) }}{% endfor %}{% set y = z|d(w) %}", "t");
  for (const char* name : {"messages", "tools", "z", "w", "f", "m"})
    EXPECT_TRUE(t.names().contains(name)) << name;
  for (const char* name : {"y", "x", "d"}) EXPECT_FALSE(t.names().contains(name)) << name;
}

/// The lexer looked two characters past the end of the template.
TEST(Jinja, ATemplateMayEndInANumber) {
  for (const char* source : {"{{ 7", "{{ 0", "{{ 0x", "{{ 1_", "{{ 1.", "{{ 1e"})
    EXPECT_THROW(JinjaTemplate(source, "t"), Error) << source;
}

}  // namespace
}  // namespace um
