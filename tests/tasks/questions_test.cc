// Files of questions: ours and others', and what is wrong with them.
#include "tasks/questions.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "tests/cli/program_util.h"
#include "tests/text/peer_util.h"

namespace um {
namespace {

class Questions : public ::testing::Test {
 protected:
  std::vector<Question> read(const std::string& text, const std::string& name = "quiz.jsonl") {
    write_file_atomic(scratch_ / name, text);
    return read_questions(scratch_ / name);
  }
  std::string error(const std::string& text, const std::string& name = "quiz.jsonl") {
    try {
      read(text, name);
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  }
  ScratchDirectory scratch_;
};

TEST_F(Questions, Gsm8k) {
  const auto found = read(
      "{\"question\": \"How many?\", \"answer\": \"2 * 21 = <<2*21=42>>42.\\n#### 1,042\"}\n\n"
      "{\"question\": \"And?\", \"answer\": \"7\"}\n");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].task, "quiz");
  EXPECT_EQ(found[0].base_prompt, "Question: How many?\nAnswer:");
  EXPECT_EQ(found[0].messages[0]["content"], "How many?");
  EXPECT_TRUE(found[0].checker.check({"It is 1042."}).right);
  EXPECT_FALSE(found[0].checker.check({"It is 42."}).right);
  EXPECT_TRUE(found[1].checker.check({"7"}).right);
  EXPECT_NE(found[1].id.find("quiz.jsonl:3"), std::string::npos);
}

TEST_F(Questions, SvampAndCmath) {
  const auto svamp = read(
      R"([{"ID": "chal-1", "Body": "A book has 9 pages", "Question": "How many?", "Answer": 51.0, "Type": "x"}])",
      "SVAMP.json");
  ASSERT_EQ(svamp.size(), 1U);
  EXPECT_EQ(svamp[0].id, "chal-1");
  EXPECT_EQ(svamp[0].task, "SVAMP");
  EXPECT_EQ(svamp[0].messages[0]["content"], "A book has 9 pages, How many?");
  EXPECT_TRUE(svamp[0].checker.check({"51"}).right);
  const auto cmath = read(R"({"grade": 3, "input": "几页？", "golden": "9", "num_digits": 2})");
  EXPECT_EQ(cmath[0].level, 3);
  EXPECT_EQ(cmath[0].base_prompt, "问题：几页？\n答案：");
  EXPECT_TRUE(cmath[0].checker.check({"答案是九页。"}).right);
}

/// The files themselves, where they are.
TEST_F(Questions, PublishedFiles) {
  const auto folder = shared_folder() / "eval";
  if (!std::filesystem::exists(folder / "SVAMP.json")) GTEST_SKIP() << "no " << folder;
  const auto svamp = read_questions(folder / "SVAMP.json");
  EXPECT_EQ(svamp.size(), 1000U);
  for (const Question& one : svamp) EXPECT_TRUE(one.checker.check({one.answer.dump()}).right);
  for (const Question& one : read_questions(folder / "cmath_dev.jsonl"))
    EXPECT_TRUE(one.checker.check({one.answer.get<std::string>()}).right) << one.id;
}

TEST_F(Questions, ChoicesAndOurs) {
  const auto choices =
      read(R"({"question": "Which?", "choices": ["a", "b", "c"], "answer": 2, "task": "quiz2"})");
  EXPECT_EQ(choices[0].right_choice, 2U);
  EXPECT_EQ(choices[0].task, "quiz2");
  const auto ours = read(
      R"({"id": "x-1", "task": "price", "level": 2, "mode": "fast", "checker": {"kind": "call"}, )"
      R"("messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, )"
      R"({"role": "assistant", "content": "no"}, {"role": "user", "content": "v"}], )"
      R"("tools": [{"type": "function", "function": {"name": "price"}}], )"
      R"("answer": {"name": "price", "arguments": {}}})");
  ASSERT_EQ(ours.size(), 1U);
  EXPECT_EQ(ours[0].messages.size(), 2U);
  EXPECT_EQ(ours[0].mode, "fast");
  EXPECT_EQ(ours[0].tools.size(), 1U);
  const auto prompt = read(
      R"({"prompt": "1 + 1 =", "completion": " 2", "answer": "2", "checker": "number", "task": "t"})");
  EXPECT_EQ(prompt[0].base_prompt, "1 + 1 =");
}

TEST_F(Questions, WhatIsWrongIsToldWithItsLine) {
  EXPECT_NE(error("{\"question\": \"a\"}\n").find("quiz.jsonl:1: no question that is known"),
            std::string::npos);
  EXPECT_NE(error("\n{\n").find("quiz.jsonl:2: "), std::string::npos);
  EXPECT_NE(error("{\"question\": \"a\", \"answer\": \"b\"}").find("answer: expected a number"),
            std::string::npos);
  EXPECT_NE(error(R"({"question": "a", "choices": ["a", "b"], "answer": 2})").find("\"answer\""),
            std::string::npos);
  EXPECT_NE(error("\n\n").find("no questions"), std::string::npos);
  EXPECT_NE(error("{}", "a.json").find("expected a list of questions"), std::string::npos);
  EXPECT_NE(
      error(
          R"({"messages": [{"role": "assistant", "content": "x"}], "answer": "1", "checker": "number"})")
          .find("a question in front of the answer"),
      std::string::npos);
}

TEST_F(Questions, LimitCountsByTaskLevelAndMode) {
  std::string text;
  for (int i = 0; i < 6; ++i)
    text += fmt::format("{{\"question\": \"{}\", \"answer\": \"1\", \"level\": {}}}\n", i, i % 2);
  EXPECT_EQ(limited(read(text), 2).size(), 4U);
  EXPECT_EQ(limited(read(text), 0).size(), 6U);
}

}  // namespace
}  // namespace um
