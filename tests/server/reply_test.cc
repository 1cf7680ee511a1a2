// Replies: the form clients know, whole and in chunks.
#include "server/reply.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "server/metrics.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {
namespace {

const ReplyHead kHead{.id = "chatcmpl-1", .model = "m", .created = 5};

AnswerUpdate text_update(const std::string& text, bool finished = false) {
  AnswerUpdate update;
  update.delta.content = text;
  update.token_count = 1;
  update.finished = finished;
  update.stats = {.prompt_tokens = 4, .cached_tokens = 2, .generated_tokens = 2};
  return update;
}

TEST(ChatReply, Whole) {
  const auto request = std::make_shared<const ChatRequest>();
  ChatReply reply(kHead, tiny_tokenizer(), request);
  reply.gather(0, text_update("he"));
  AnswerUpdate last = text_update("y", true);
  last.delta.calls.push_back({0, "f", "{}"});
  last.called_tools = true;
  last.reasoning_tokens = 1;
  last.delta.reasoning = "hm";
  reply.gather(0, std::move(last));
  const Json json = reply.whole();
  EXPECT_EQ(json["object"], "chat.completion");
  const Json& choice = json["choices"][0];
  EXPECT_EQ(choice["message"]["content"], "hey");
  EXPECT_EQ(choice["message"]["reasoning"], "hm");
  EXPECT_EQ(choice["message"]["reasoning_content"], "hm");
  EXPECT_EQ(choice["message"]["tool_calls"][0]["function"]["name"], "f");
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_EQ(json["usage"]["prompt_tokens"], 4);
  EXPECT_EQ(json["usage"]["completion_tokens"], 2);
  EXPECT_EQ(json["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
  EXPECT_EQ(json["usage"]["completion_tokens_details"]["reasoning_tokens"], 1);
}

TEST(ChatReply, Chunks) {
  const auto request = std::make_shared<const ChatRequest>();
  ChatReply reply(kHead, tiny_tokenizer(), request);
  const auto opening = reply.opening(1);
  ASSERT_EQ(opening.size(), 1u);
  EXPECT_EQ(opening[0]["choices"][0]["delta"]["role"], "assistant");
  EXPECT_EQ(reply.chunks(0, text_update("")).size(), 0u);
  AnswerUpdate update = text_update("x");
  update.delta.calls = {{0, "f", "{\"a\""}, {0, "", ":1}"}};
  const auto chunks = reply.chunks(0, std::move(update));
  ASSERT_EQ(chunks.size(), 4u);
  EXPECT_EQ(chunks[0]["choices"][0]["delta"]["content"], "x");
  const Json& begun = chunks[1]["choices"][0]["delta"]["tool_calls"][0];
  EXPECT_EQ(begun["type"], "function");
  EXPECT_EQ(begun["function"]["arguments"], "");
  EXPECT_EQ(chunks[2]["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"], "{\"a\"");
  EXPECT_FALSE(chunks[3]["choices"][0]["delta"]["tool_calls"][0].contains("id"));
  const auto end = reply.chunks(0, text_update("", true));
  EXPECT_EQ(end.back()["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(end.back()["choices"][0]["delta"].empty());
  const Json usage = reply.usage_chunk();
  EXPECT_TRUE(usage["choices"].empty());
  // Three came with their text; the token that ended it is one, too.
  AnswerUpdate last = text_update("", true);
  last.stats.generated_tokens = 4;
  reply.chunks(0, std::move(last));
  EXPECT_EQ(reply.usage_chunk()["usage"]["completion_tokens"], 4);
  EXPECT_EQ(reply.usage_chunk()["timings"]["predicted_n"], 4);
}

TEST(Logprobs, AreFiniteAndCarryBytes) {
  const Tokenizer& t = tiny_tokenizer();
  const float infinite = std::numeric_limits<float>::infinity();
  std::vector<TokenOutput> tokens(1);
  tokens[0] = {t.encode("the")[0], -infinite, {{*t.id("[unused9]"), NAN}}};
  const Json json = chat_logprobs(t, tokens);
  EXPECT_EQ(json["content"][0]["logprob"], -9999.0);
  EXPECT_EQ(json["content"][0]["top_logprobs"][0]["logprob"], -9999.0);
  EXPECT_EQ(json["content"][0]["top_logprobs"][0]["token"], "[unused9]");
  EXPECT_FALSE(json["content"][0]["bytes"].empty());
  EXPECT_EQ(to_text(json).find("null,\"top"), std::string::npos);
}

TEST(Logprobs, NoTokenHidesAnother) {
  const Tokenizer& t = tiny_tokenizer();
  std::map<std::string, std::string> bytes_of;
  for (int32_t id = 0; id < t.vocab_size(); ++id) {
    const std::string name = token_name(t, id), bytes = token_bytes(t, id);
    EXPECT_EQ(bytes_of.try_emplace(name, bytes).first->second, bytes) << name;
    if (name != bytes) {
      EXPECT_EQ(name.substr(0, 8), "bytes:\\x");
    }
  }
  auto request = std::make_shared<CompletionRequest>();
  request->params.top_logprobs = 3;
  CompletionReply reply(kHead, t, request, {Echo{}});
  AnswerUpdate update = text_update("x", true);
  ASSERT_TRUE(t.id("a") && t.id("<0x61>"));
  const int32_t letter = *t.id("a"), byte = *t.id("<0x61>");
  ASSERT_EQ(token_bytes(t, letter), "a");
  ASSERT_EQ(token_bytes(t, byte), "a");
  update.tokens = {{*t.id("<0xE2>"), -1.0F, {{*t.id("<0xE2>"), -1.0F}, {*t.id("<0xE3>"), -2.0F}}},
                   {byte, -1.5F, {{letter, -1.0F}, {byte, -1.5F}}}};
  reply.gather(0, std::move(update));
  const Json logprobs = reply.whole()["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["top_logprobs"][0].dump(), R"({"bytes:\\xe2":-1.0,"bytes:\\xe3":-2.0})");
  const std::string named = fmt::format("token_id:{}", byte);
  EXPECT_EQ(logprobs["tokens"], Json::array({"bytes:\\xe2", named}));
  EXPECT_EQ(logprobs["top_logprobs"][1][named], -1.5);
  EXPECT_EQ(logprobs["top_logprobs"][1].size(), 2u);
}

TEST(Channel, MergesWhatIsNotFetchedAndEndsSlowReaders) {
  Channel channel(2, 64);
  EXPECT_TRUE(channel.add(1, text_update("a")));
  EXPECT_TRUE(channel.add(1, text_update("b", true)));
  const auto entries = channel.fetch(Channel::Clock::now());
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].answer, 1u);
  EXPECT_EQ(entries[0].update.delta.content, "ab");
  EXPECT_EQ(entries[0].update.token_count, 2);
  EXPECT_TRUE(entries[0].update.finished);
  EXPECT_TRUE(channel.fetch(Channel::Clock::now()).empty());
  EXPECT_FALSE(channel.add(0, text_update(std::string(100, 'x'))));
  EXPECT_TRUE(channel.overflowed());
  EXPECT_FALSE(channel.add(0, text_update("y")));
}

TEST(Metrics, PrometheusText) {
  ServerMetrics metrics;
  metrics.first_token(0.02);
  metrics.next_tokens(0.2, 2);
  metrics.finished(FinishReason::eos, {.prompt_tokens = 3, .generated_tokens = 4}, 1.0);
  const std::string text = metrics.text({.running = 2, .accepted_at = {5, 1}}, "a\"b");
  const auto has = [&](const char* line) { return text.find(line) != std::string::npos; };
  EXPECT_TRUE(has("vllm:num_requests_running{model_name=\"a\\\"b\"} 2\n")) << text;
  EXPECT_TRUE(
      has("vllm:time_to_first_token_seconds_bucket{model_name=\"a\\\"b\",le=\"0.02\"} 1\n"));
  EXPECT_TRUE(has("vllm:inter_token_latency_seconds_count{model_name=\"a\\\"b\"} 2\n"));
  EXPECT_TRUE(
      has("vllm:request_success_total{model_name=\"a\\\"b\",finished_reason=\"stop\"} 1\n"));
  EXPECT_TRUE(has("vllm:spec_decode_num_accepted_tokens_total{model_name=\"a\\\"b\"} 6\n"));
}

}  // namespace
}  // namespace um
