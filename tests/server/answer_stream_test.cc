// The split of a generated turn into thinking, text and calls, and the stop strings in it.
#include "server/answer_stream.h"

#include <gtest/gtest.h>

#include "tests/text/tiny_tokenizer_util.h"
#include "text/utf8.h"

namespace um {
namespace {

std::vector<int32_t> ids_of(const std::string& text) {
  return tiny_tokenizer().encode(text, {.parse_special = true});
}

/// All that a turn makes; every delta must be whole characters.
AnswerDelta run(const std::string& text, AnswerOptions options = {.tools = true},
                const std::string& prompt = "[unused9]") {
  const Tokenizer& t = tiny_tokenizer();
  AnswerStream stream(t, ChatMarks::of(t), ids_of(prompt), std::move(options));
  AnswerDelta all;
  for (const int32_t id : ids_of(text)) {
    AnswerDelta delta = stream.push(id);
    EXPECT_TRUE(is_utf8(delta.content) && is_utf8(delta.reasoning));
    all.append(std::move(delta));
    if (stream.stopped()) break;
  }
  all.append(stream.finish());
  return all;
}

TEST(AnswerStream, PlainText) {
  EXPECT_EQ(run("the river 门 ☃ runs").content, "the river 门 ☃ runs");
  EXPECT_EQ(run("").content, "");
}

TEST(AnswerStream, ThinkingAndText) {
  const AnswerDelta answer = run("[unused16]hm, geese ☃[unused17]the river");
  EXPECT_EQ(answer.reasoning, "hm, geese ☃");
  EXPECT_EQ(answer.content, "the river");
}

TEST(AnswerStream, ThinkingThatNeverEnds) {
  const AnswerDelta answer = run("[unused16]hm");
  EXPECT_EQ(answer.reasoning, "hm");
  EXPECT_EQ(answer.content, "");
}

TEST(AnswerStream, APromptMayEndInsideTheThinking) {
  const AnswerDelta answer = run("and so[unused17]yes", {}, "[unused9]助手：[unused16]first");
  EXPECT_EQ(answer.reasoning, " and so");
  EXPECT_EQ(answer.content, "yes");
}

/// Templates that say so with the mark that ends it.
TEST(AnswerStream, WhoDoesNotThinkMayBeginWithTheEndOfIt) {
  EXPECT_EQ(run("[unused17]yes").content, "yes");
  EXPECT_EQ(run("yes[unused17]no").content, "yes[unused17]no");
  EXPECT_EQ(run("[unused17][unused11][{\"name\":\"f\"}][unused12]").calls.size(), 1u);
}

TEST(AnswerStream, SpelledOutMarksAreText) {
  const Tokenizer& t = tiny_tokenizer();
  AnswerStream stream(t, ChatMarks::of(t), {}, {});
  std::string content;
  for (const int32_t id : t.encode("[unused16]x[unused17]")) content += stream.push(id).content;
  content += stream.finish().content;
  EXPECT_EQ(content, "[unused16]x[unused17]");
}

TEST(AnswerStream, ToolCalls) {
  const std::string calls = "[{\"name\":\"f\",\"arguments\":{\"a\":1}},{\"name\":\"g\"}]";
  const AnswerDelta answer = run("so:[unused11]" + calls + "[unused12]");
  EXPECT_EQ(answer.content, "so:");
  ASSERT_EQ(answer.calls.size(), 2u);
  EXPECT_EQ(answer.calls[0].name, "f");
  EXPECT_EQ(answer.calls[0].arguments, "{\"a\":1}");
  EXPECT_EQ(answer.calls[1].name, "g");
  EXPECT_EQ(answer.calls[1].arguments, "{}");
  const AnswerDelta one =
      run("[unused11]" + calls + "[unused12]", {.tools = true, .parallel_tools = false});
  ASSERT_EQ(one.calls.size(), 1u);
  EXPECT_EQ(one.calls[0].arguments, "{\"a\":1}");
}

TEST(AnswerStream, TwoListsOfCallsCountOn) {
  const AnswerDelta answer =
      run("[unused11]{\"name\":\"f\"}[unused12][unused11]{\"name\":\"g\"}[unused12]");
  ASSERT_EQ(answer.calls.size(), 2u);
  EXPECT_EQ(answer.calls[1].index, 1u);
  EXPECT_EQ(answer.calls[1].name, "g");
}

TEST(AnswerStream, WhatIsNoCallIsText) {
  EXPECT_EQ(run("[unused11]the river[unused12]").content, "[unused11]the river[unused12]");
}

TEST(AnswerStream, StopStringsEndTheTextNotTheThinking) {
  const AnswerDelta answer = run("[unused16]a stop b[unused17]the stop river", {.stop = {" stop"}});
  EXPECT_EQ(answer.reasoning, "a stop b");
  EXPECT_EQ(answer.content, "the");
}

TEST(AnswerStream, EveryStopPlaceIsExact) {
  const std::string text = "the old bridge by the river";
  for (size_t i = 1; i < text.size(); ++i)
    for (size_t length = 1; i + length <= text.size() && length < 6; ++length) {
      const std::string stop = text.substr(i, length);
      EXPECT_EQ(run(text, {.stop = {stop}}).content, text.substr(0, text.find(stop))) << stop;
    }
}

TEST(AnswerStream, WithoutSplitMarksAreSpecialTokensOnly) {
  EXPECT_EQ(run("[unused16]a[unused17]b", {.skip_special = false, .split = false}).content,
            "[unused16]a[unused17]b");
}

}  // namespace
}  // namespace um
