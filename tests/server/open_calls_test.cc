// Which results of tools, and which calls, may stand in a chat and in the items of a response.
#include <gtest/gtest.h>

#include "server/api_error.h"
#include "server/responses.h"

namespace um {
namespace {

/// Clients cut histories, so only a result that follows no call at all is refused.
TEST(ChatRequest, ResultsOfToolsFollowCalls) {
  const auto refused = [](const std::string& messages) {
    try {
      parse_messages(Body("{\"messages\": [" + messages + "]}").json);
    } catch (const ApiError& error) {
      return error.param();
    }
    return std::string();
  };
  const std::string user = R"({"role": "user", "content": "a"})",
                    call = R"({"role": "assistant", "tool_calls": [{"id": "1", "type": "function",
                               "function": {"name": "f", "arguments": "{}"}}]})",
                    result = R"({"role": "tool", "tool_call_id": "1", "content": "b"})",
                    other = R"({"role": "tool", "tool_call_id": "2", "content": "b"})",
                    said = R"({"role": "assistant", "content": "c", "tool_calls": []})";
  EXPECT_EQ(refused(result), "messages[0].role");
  EXPECT_EQ(refused(user + "," + said + "," + result + "," + user), "messages[2].role");
  EXPECT_EQ(refused(result + "," + call), "messages[0].role");
  EXPECT_EQ(refused(user + "," + call + "," + result + "," + other), "");
  EXPECT_EQ(refused(user + "," + call + "," + user + "," + result), "");
  EXPECT_EQ(refused(user + "," + call + "," + user), "");
}

/// The calls of a conversation, also of its earlier responses, and their outputs belong together.
TEST(ResponsesRequest, EachCallHasAnOutputAndEachOutputACall) {
  ResponseStore store(10, 100'000);
  const auto call = [](const std::string& id) {
    return R"({"type": "function_call", "call_id": ")" + id +
           R"(", "name": "f", "arguments": "{}"})";
  };
  const auto output = [](const std::string& id) {
    return R"({"type": "function_call_output", "call_id": ")" + id + R"(", "output": "x"})";
  };
  const std::string user = R"({"role": "user", "content": "a"})",
                    said = R"({"role": "assistant", "content": "b"})";
  store.put({{"id", "r"}, {"output", OrderedJson::array({OrderedJson::parse(call("c"))})}},
            OrderedJson::array({OrderedJson::parse(user)}), {});
  const auto refused = [&](const std::vector<std::string>& items, const std::string& more = "") {
    try {
      const Body body(fmt::format(R"({{"input": [{}]{}}})", fmt::join(items, ", "), more));
      const ResponsesRequest request = parse_responses_request(body, store);
      parse_messages(chat_body_of_responses(body, request).json);
    } catch (const ApiError& error) {
      EXPECT_EQ(error.status(), 400);
      return std::string(error.what());
    }
    return std::string();
  };
  const std::string no_call =
      ": no tool call found for the function_call_output with call_id \"c\"";
  const std::string no_output = ": no tool output found for the function_call \"c\"";
  EXPECT_EQ(refused({user, output("c")}), "input[1]" + no_call);
  EXPECT_EQ(refused({user, output("c"), call("c")}), "input[1]" + no_call);
  EXPECT_EQ(refused({user, call("d"), output("c"), output("d")}), "input[2]" + no_call);
  EXPECT_EQ(refused({user, call("c")}), "input[1]" + no_output);
  EXPECT_EQ(refused({user, call("d"), call("c"), output("d"), said, user}), "input[2]" + no_output);
  EXPECT_EQ(refused({call("c"), output("c"), call("c")}), "input[2]" + no_output);
  EXPECT_EQ(refused({user, call("c"), call("d"), output("d"), output("c"), user}), "");
  EXPECT_EQ(refused({call("c"), said, output("c"), call("c"), output("c")}), "");
  const std::string next = R"(, "previous_response_id": "r")";
  EXPECT_EQ(refused({user}, next), "input" + no_output);
  EXPECT_EQ(refused({output("d")}, next).substr(0, 8), "input[0]");
  EXPECT_EQ(refused({output("c")}, next), "");
}

/// Where the oldest turns are left out, so are outputs of their calls that came later.
TEST(ResponsesRequest, TruncationLeavesNoOutputWithoutItsCall) {
  const ResponseStore store(1, 1000);
  const Body body(R"({"truncation": "auto", "input": [{"role": "user", "content": "a"},
      {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
      {"role": "user", "content": "b"},
      {"type": "function_call_output", "call_id": "c", "output": "x"},
      {"role": "user", "content": "d"}]})");
  const ResponsesRequest request = parse_responses_request(body, store);
  EXPECT_EQ(chat_body_of_responses(body, request).json["messages"].size(), 5u);
  const Json kept = chat_body_of_responses(body, request, 1).json["messages"];
  ASSERT_EQ(kept.size(), 2u);
  for (const Json& message : kept) EXPECT_EQ(message["role"], "user");
}

}  // namespace
}  // namespace um
