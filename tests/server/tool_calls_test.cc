// Calls that are JSON objects: every way of cutting the text gives the same calls. What all forms
// have in common: call_form_test.cc.
#include "server/tool_calls.h"

#include <gtest/gtest.h>

#include "server/call_reader.h"

namespace um {
namespace {

struct Calls {
  std::vector<std::pair<std::string, std::string>> list;  // name, arguments
  bool good = true;
};

/// Parses pieces; checks that a call's name comes once and first.
Calls parse(const std::vector<std::string>& pieces) {
  const std::vector<Tool> tools;
  const auto reader = CallReader::make(call_form_named("pangu"), tools);
  Calls calls;
  for (const std::string& piece : pieces) {
    std::vector<ToolCallDelta> out;
    calls.good = calls.good && reader->push(piece, out) != CallReader::State::kFault;
    for (const ToolCallDelta& delta : out) {
      if (!delta.name.empty()) {
        EXPECT_EQ(delta.index, calls.list.size());
        calls.list.emplace_back(delta.name, "");
      }
      EXPECT_EQ(delta.index + 1, calls.list.size());
      if (delta.index < calls.list.size()) calls.list[delta.index].second += delta.arguments;
    }
    if (!calls.good) break;
  }
  EXPECT_EQ(reader->calls(), calls.list.size());
  return calls;
}

const char* const kText =
    "[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"München \\\"}{\\\" ]\", \"days\": "
    "[1, "
    "{\"a\": null}]}}, {\"arguments\":{\"x\":-1.5e3},\"id\":7,\"name\":\"add\"} "
    ",\n{\"name\":\"now\"}, "
    "{\"name\":\"s\",\"parameters\":\"{\\\"q\\\":1}\"}][unused12]";
const std::vector<std::pair<std::string, std::string>> kCalls = {
    {"get_weather", "{\"city\": \"München \\\"}{\\\" ]\", \"days\": [1, {\"a\": null}]}"},
    {"add", "{\"x\":-1.5e3}"},
    {"now", "{}"},
    {"s", "{\"q\":1}"}};

TEST(ToolCalls, WholeAndByteByByte) {
  EXPECT_EQ(parse({kText}).list, kCalls);
  std::vector<std::string> bytes;
  for (const char c : std::string(kText)) bytes.emplace_back(1, c);
  const Calls calls = parse(bytes);
  EXPECT_EQ(calls.list, kCalls);
  EXPECT_TRUE(calls.good);
}

TEST(ToolCalls, EveryCut) {
  const std::string text = kText;
  for (size_t i = 0; i <= text.size(); ++i)
    EXPECT_EQ(parse({text.substr(0, i), text.substr(i)}).list, kCalls) << i;
}

TEST(ToolCalls, OneObjectWithoutAList) {
  EXPECT_EQ(parse({"{\"name\":\"f\",\"arguments\":{}}"}).list,
            (std::vector<std::pair<std::string, std::string>>{{"f", "{}"}}));
}

TEST(ToolCalls, TextThatIsNoCall) {
  for (const char* text :
       {"hello", "[1, 2]", "{\"name\" 3}", "{name: 1}", "{\"a\":}", "[][unused12]",
        "[{\"arguments\":{\"a\":1}}]", "{\"name\":\"f\",}", "{\"name\":\"f\",\"arguments\":3}",
        "{\"name\":\"f\",\"arguments\":{a:1}}", "{\"name\":\"f\" \"arguments\":{}}"}) {
    const Calls calls = parse({text});
    EXPECT_TRUE(calls.list.empty()) << text;
    EXPECT_FALSE(calls.good) << text;
  }
  EXPECT_TRUE(parse({""}).list.empty());
}

TEST(ToolCalls, CutOffInTheMiddleKeepsWhatCame) {
  const Calls calls = parse({"[{\"name\":\"f\",\"arguments\":{\"a\":\"b"});
  ASSERT_EQ(calls.list.size(), 1u);
  EXPECT_EQ(calls.list[0].second, "{\"a\":\"b");
}

TEST(ToolCalls, ArgumentsArriveAsTheyAreWritten) {
  const std::vector<Tool> tools;
  const auto reader = CallReader::make(call_form_named("pangu"), tools);
  std::vector<ToolCallDelta> out;
  reader->push("[{\"name\":\"f\",\"arguments\":{\"a\"", out);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].arguments, "{\"a\"");
  out.clear();
  reader->push(":1", out);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_TRUE(out[0].name.empty());
  EXPECT_EQ(out[0].arguments, ":1");
  out.clear();
  reader->push("}", out);  // the last bracket waits for the end of the call
  EXPECT_TRUE(out.empty() || out[0].arguments.empty());
  out.clear();
  reader->push("}", out);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].arguments, "}");
  EXPECT_TRUE(out[0].complete);
}

}  // namespace
}  // namespace um
