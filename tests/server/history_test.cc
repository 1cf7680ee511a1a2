// Calls that clients send back as they got them: what a model wrote need not be a JSON object.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include "server/messages.h"
#include "server/prompt.h"
#include "server/request.h"
#include "server/responses.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {
namespace {

const RequestLimits kLimits{.sampling = {.temperature = 0.7, .top_p = 0.9}, .vocab = 400};

ChatRequest with_call(const std::string& arguments) {
  const Json body = {{"messages",
                      {{{"role", "user"}, {"content", "hi"}},
                       {{"role", "assistant"},
                        {"content", nullptr},
                        {"tool_calls",
                         {{{"id", "1"},
                           {"type", "function"},
                           {"function", {{"name", "look"}, {"arguments", arguments}}}}}}},
                       {{"role", "tool"}, {"tool_call_id", "1"}, {"content", "ok"}}}},
                     {"tools", {{{"type", "function"}, {"function", {{"name", "look"}}}}}}};
  return parse_chat_request(Body(body.dump()), kLimits);
}

/// What a model may write or be cut off in, and no object holds.
const char* const kTexts[] = {R"({"a":"x",})",
                              R"({"a":1,"a":2})",
                              R"({"a":"x")",
                              R"({"a": 1e999})",
                              R"({"a": NaN})",
                              "[1]",
                              "7",
                              "null",
                              R"("x")",
                              "not JSON"};

TEST(CallHistory, ArgumentsThatAreNoObjectStayTexts) {
  for (const std::string text : kTexts) {
    const ChatRequest request = with_call(text);
    const auto& seen = request.input.messages[1]["tool_calls"][0]["function"]["arguments"];
    EXPECT_EQ(seen, OrderedJson(text));
    EXPECT_EQ(request.messages[1].trusted,
              "[unused11][{\"arguments\":" + Json(text).dump() + ",\"name\":\"look\"}][unused12]");
  }
  for (const std::string text : {"", " \n"})
    EXPECT_EQ(with_call(text).input.messages[1]["tool_calls"][0]["function"]["arguments"].dump(),
              "{}");
}

TEST(CallHistory, LargeIntegersKeepTheirDigits) {
  const ChatRequest request =
      with_call(R"({"b":[12345678901234567890123],"a":-9223372036854775809})");
  EXPECT_EQ(request.input.messages[1]["tool_calls"][0]["function"]["arguments"].dump(),
            R"({"b":["12345678901234567890123"],"a":"-9223372036854775809"})");
  // Messages and Responses.
  const auto block = [](const std::string& input) {
    return chat_body_of_messages(
               Body(R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant",
          "content": [{"type": "tool_use", "id": "1", "name": "f", "input": )" +
                    input + R"(}]}, {"role": "user", "content":
          [{"type": "tool_result", "tool_use_id": "1", "content": "d"}]}]})"))
        .ordered["messages"][1]["tool_calls"][0]["function"]["arguments"]
        .get<std::string>();
  };
  EXPECT_EQ(block(R"({"n": {"m": [12345678901234567890123]}})"),
            R"({"n":{"m":["12345678901234567890123"]}})");
  EXPECT_THROW(block("[]"), ApiError);
}

/// Templates get the text where they can take it, else as a JSON string, else in an object.
TEST(CallHistory, TemplatesShowTheTextAsTheyCan) {
  const Tokenizer& t = tiny_tokenizer();
  const auto prompt = [&](const std::string& shown, const std::string& arguments) {
    const std::string source =
        "{% for m in messages %}{{ m.content }};{% for c in m.tool_calls or [] %}<tool_call>"
        "{{ c.function.name }}=" +
        shown + "</tool_call>{% endfor %}{% endfor %}";
    return chat_prompt_text(ChatTemplate::from_source(source, "t", t), with_call(arguments));
  };
  for (const std::string text : kTexts) {
    const auto expect = [&](const std::string& shown, const std::string& expected) {
      const std::string found = prompt(shown, text);
      EXPECT_NE(found.find("look=" + expected + "</tool_call>"), std::string::npos) << found << "\n"
                                                                                    << expected;
    };
    expect("{% set a = c.function.arguments %}{{ a if a is string else a | tojson }}", text);
    expect("{{ c.function.arguments | tojson }}", Json(text).dump());
    expect("{% for k, v in c.function.arguments.items() %}{{ k }}:{{ v }}{% endfor %}",
           "arguments:" + text);
    if (text.size() == 1) continue;  // its only letter is shown as a name
    expect("{% for k in c.function.arguments %}{{ k }}:{{ c.function.arguments[k] }}{% endfor %}",
           "arguments:" + text);
  }
  EXPECT_NE(prompt("{{ c.function.arguments | tojson }}", R"({"a": 1})").find(R"(={"a": 1}<)"),
            std::string::npos);
}

/// A template that leaves calls out, and forms of calls that have no object in them.
TEST(CallHistory, CallsThatAreWrittenAsTextKeepIt) {
  const Tokenizer& t = tiny_tokenizer();
  const ChatTemplate plain = ChatTemplate::from_source(
      "{% for m in messages %}{{ m.role }}={{ m.content }};{% endfor %}", "t", t);
  for (const std::string text : kTexts) {
    const std::string found = chat_prompt_text(plain, with_call(text));
    EXPECT_NE(found.find("{\"name\": \"look\", \"arguments\": " + text + "}"), std::string::npos)
        << found;
    const Call call{.name = "look", .arguments = text};
    for (const char* form : {"qwen-coder", "minicpm"}) {
      const CallForm known = call_form_named(form);
      EXPECT_NE(write_calls(known, {&call, 1}).find(text), std::string::npos) << form;
    }
  }
}

}  // namespace
}  // namespace um
