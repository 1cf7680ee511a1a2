// The Responses API: items as a chat, what is kept, the events of an answer; and the request log.
#include "server/responses.h"

#include <gtest/gtest.h>

#include "server/request_log.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {
namespace {

OrderedJson response_of(const std::string& id, size_t bytes) {
  return {{"id", id}, {"output", OrderedJson::array({{{"text", std::string(bytes, 'x')}}})}};
}

const OrderedJson kInput = OrderedJson::array({{{"role", "user"}}});

TEST(ResponseStore, KeepsTheNewestWithinItsBounds) {
  ResponseStore store(3, 20'000);
  for (const char* id : {"a", "b", "c", "d"}) store.put(response_of(id, 10), kInput, {});
  EXPECT_EQ(store.get("a"), nullptr);
  ASSERT_NE(store.get("b"), nullptr);
  EXPECT_TRUE(store.remove("b"));
  EXPECT_FALSE(store.remove("b"));
  // The output is there twice: in the response and in its turn.
  store.put(response_of("e", 9'000), kInput, {});
  EXPECT_EQ(store.get("c"), nullptr);
  ASSERT_NE(store.get("e"), nullptr);
  store.put(response_of("f", 30'000), kInput, {});
  EXPECT_EQ(store.get("f"), nullptr);
}

TEST(ResponseStore, ConversationsShareTheirTurns) {
  ResponseStore store(100, 1'000'000);
  Turns history;
  for (int i = 0; i < 50; ++i) {  // each would hold all text before it: 12 MB
    const std::string id = std::to_string(i);
    store.put(response_of(id, 5'000), kInput, history);
    ASSERT_NE(store.get(id), nullptr);
    history = store.get(id)->turns;
    EXPECT_EQ(history.size(), static_cast<size_t>(i + 1));
  }
  EXPECT_NE(store.get("0"), nullptr);
  EXPECT_TRUE(store.remove("0"));
  EXPECT_EQ(history.front()->json().back()["text"], std::string(5'000, 'x'));
  ResponseStore none(0, 1'000'000);
  none.put(response_of("a", 1), kInput, {});
  EXPECT_EQ(none.get("a"), nullptr);
}

AnswerUpdate update_of(AnswerDelta delta, bool finished = false,
                       FinishReason reason = FinishReason::eos) {
  AnswerUpdate update;
  update.delta = std::move(delta);
  update.finished = finished;
  update.reason = reason;
  return update;
}

TEST(ResponsesReply, ItemsComeInOrderAndAreWholeOrSaidNotToBe) {
  ResponseStore store(10, 1'000'000);
  ResponsesRequest request;
  request.items = kInput;
  ResponsesReply reply({.id = "resp_1", .model = "m"}, tiny_tokenizer(),
                       std::make_shared<const ChatRequest>(), request, store);
  std::vector<Json> events = reply.opening(1);
  const auto push = [&](AnswerUpdate update) {
    for (Json& event : reply.chunks(0, std::move(update))) events.push_back(std::move(event));
  };
  push(update_of({.reasoning = "hm", .content = {}, .calls = {}}));
  push(update_of({.reasoning = {}, .content = "so", .calls = {{0, "f", "{\"a\""}}}));
  // The rest of a call, merged with text behind it, is still the call's.
  push(update_of({.reasoning = {}, .content = "and", .calls = {{0, "", ":1}"}, {1, "g", "{"}}}));
  push(update_of({}, true, FinishReason::max_tokens));
  const Json& last = events.back();
  EXPECT_EQ(last["type"], "response.incomplete");
  const Json& output = last["response"]["output"];
  ASSERT_EQ(output.size(), 5u);
  EXPECT_EQ(output[0]["content"][0]["text"], "hm");
  EXPECT_EQ(output[1]["content"][0]["text"], "so");
  EXPECT_EQ(output[2]["arguments"], "{\"a\":1}");
  EXPECT_EQ(output[3]["content"][0]["text"], "and");
  EXPECT_EQ(output[4]["arguments"], "{");
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(output[i]["status"], i < 4 ? "completed" : "incomplete");
  EXPECT_NE(store.get("resp_1"), nullptr);
  EXPECT_NE(reply.event(events[0]).find("\"sequence_number\":0"), std::string::npos);
  EXPECT_NE(reply.event(events[1]).find("\"sequence_number\":1"), std::string::npos);
}

TEST(RequestLog, WritesALineUpToItsLevel) {
  std::vector<std::string> lines;
  const auto write = [&](const std::string& line) { lines.push_back(line); };
  HttpRecord record{.id = "i1",
                    .client = "::1",
                    .method = "GET",
                    .path = "/a\nb",
                    .status = 200,
                    .seconds = 0.0124,
                    .note = "prompt=3",
                    .detail = "message=\"x\""};
  request_log(LogLevel::info, write)(record);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].substr(lines[0].find('Z')),
            "Z info ::1 GET \"/a\\nb\" 200 ms=12 prompt=3 id=i1");
  request_log(LogLevel::warning, write)(record);
  record.whole = false;
  request_log(LogLevel::error, write)(record);
  EXPECT_EQ(lines.size(), 1u);
  request_log(LogLevel::debug, write)(record);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[1].find("warning ::1"), std::string::npos);
  EXPECT_NE(lines[1].find("cut_off prompt=3 message=\"x\" id=i1"), std::string::npos);
  record.status = 503;
  request_log(parse_log_level("error"), write)(record);
  EXPECT_EQ(lines.size(), 3u);
  for (const int asked_for : {404, 429, 499, 501, 505}) {
    record.status = asked_for;
    request_log(LogLevel::error, write)(record);
    EXPECT_EQ(lines.size(), 3u) << asked_for;
    EXPECT_NE(log_line(record, false).find(" warning "), std::string::npos) << asked_for;
  }
  record.status = 200;
  record.failure = 504;  // behind the first token
  EXPECT_NE(log_line(record, false).find(" error "), std::string::npos);
  EXPECT_THROW(parse_log_level("loud"), UsageError);
}

}  // namespace
}  // namespace um
