// Checkers: which texts are right, which are not, and that hostile ones cost linear time.
#include "tasks/checker.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/json.h"
#include "tasks/expression.h"
#include "tasks/final_answer.h"
#include "tests/core/linear_util.h"

namespace um {
namespace {

Checker number(const std::string& answer) {
  return Checker::from_json("number", answer, "test");
}
Checker of_kind(const std::string& kind, const std::string& answer) {
  return Checker::from_json(kind, answer, "test");
}

struct Case {
  const char* text;
  bool lenient, strict;
};

void expect_cases(const Checker& checker, const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    EXPECT_EQ(checker.check({one.text}).right, one.lenient) << one.text;
    EXPECT_EQ(checker.check({one.text}, Strictness::kStrict).right, one.strict) << one.text;
  }
}

TEST(Checker, Numbers) {
  expect_cases(number("1234.5"), {{"1234.5", true, true},
                                  {"1,234.50", true, true},
                                  {"+1234.5", true, true},
                                  {"2469/2", true, true},
                                  {"\\frac{2469}{2}", true, true},
                                  {"$1,234.50$", true, true},
                                  {"**1234.5**.", true, true},
                                  {"１２３４．５", true, true},
                                  {"-1234.5", false, false},
                                  {"1234", false, false},
                                  {"12345", false, false},
                                  {"1,23,4.5", false, false},
                                  {"It costs $1,234.50 in all", true, false}});
  expect_cases(number("-7"), {{"-7", true, true},
                              {"−7", true, true},
                              {"3 - 10 = -7", true, false},
                              {"7", false, false},
                              {"0-7", false, false},
                              {"x is -7.", true, false}});
  expect_cases(number("42"), {{"6 * 7 = 42", true, false},
                              {"The answer is 42.", true, true},
                              {"The final answer is: **42**", true, true},
                              {"Answer: 42 apples", true, false},
                              {"#### 42", true, true},
                              {"42%", true, true},
                              {"First 6 * 7.\n#### 42", true, true},
                              {"The answer is\n42\n", true, true},
                              {"I think \\boxed{42}, as 6 * 7 = 42.", true, true},
                              {"\\boxed{6 \\times 7 = 42}", true, false},
                              {"The answer is 6 * 7 = 42.", true, false},
                              {"The answer is 41. The answer is 42.", false, false},
                              {"\\boxed{41} \\boxed{42}", false, false},
                              {"The answer is 42. Or is it \\boxed{41}?", false, false},
                              {"41 or 42", false, false},
                              {"40, 41, 42", false, false},
                              {"40 and 42", false, false},
                              {"-40, 42", false, false},
                              {"The answer is 41 or 42.", false, false},
                              {"The answer is 42, 41.", false, false},
                              {"41 apples or 42 apples", false, false},
                              {"41 或 42", false, false},
                              {"42 or 42", true, false},
                              {"x42", false, false},
                              {"forty-two", false, false},
                              {"", false, false},
                              {"答案是42。", true, true},
                              {"答案：四十二", true, true},
                              {"共四十二个", true, false},
                              {"四十二还是四十三", false, false}});
}

TEST(Checker, ChineseNumerals) {
  const std::vector<std::pair<const char*, int64_t>> good = {
      {"零", 0},           {"七", 7},          {"十", 10},         {"十二", 12},
      {"二十", 20},        {"一百零三", 103},  {"两千", 2000},     {"三千零五十", 3050},
      {"一万三千", 13000}, {"二〇二四", 2024}, {"十五万", 150000}, {"一亿零三", 100000003}};
  for (const auto& [text, value] : good) EXPECT_EQ(chinese_number(text), value) << text;
  for (const char* text : {"", "十百", "百", "一百二", "二三十", "万", "一万亿万", "a", "一a"})
    EXPECT_FALSE(chinese_number(text)) << text;
}

TEST(Checker, Texts) {
  expect_cases(of_kind("text", "Anna"), {{"Anna", true, true},
                                         {"anna.", true, true},
                                         {"\"Anna\"", true, true},
                                         {"The answer is Anna.", true, true},
                                         {"Anna > Ben\nAnna", true, false},
                                         {"The tallest: Anna", true, false},
                                         {"Anna or Ben", false, false},
                                         {"Anna Anna", false, false},
                                         {"The answer is Anna or Ben.", false, false},
                                         {"Ben", false, false},
                                         {"An na", false, false}});
}

TEST(Checker, Lists) {
  expect_cases(of_kind("list", "3, 7, 10"), {{"3, 7, 10", true, true},
                                             {"[3,7,10]", true, true},
                                             {"3 7 10", true, true},
                                             {"3 < 7 < 10", true, true},
                                             {"3、7、10", true, true},
                                             {"3.0, 7, 10", true, true},
                                             {"In order: 3, 7, 10", true, false},
                                             {"3, 10, 7", false, false},
                                             {"3, 7", false, false},
                                             {"3, 7, 10, 10", false, false},
                                             {"3, 7, 10 or 3, 7, 11", false, false}});
}

TEST(Checker, Countdown) {
  const Checker checker = Checker::from_json(
      {{"kind", "countdown"}, {"numbers", {3, 5, 5, 8}}, {"target", 16}}, "(3 + 5) * 2", "test");
  expect_cases(checker, {{"8 + 8", false, false},
                         {"8 + 5 + 3", true, true},
                         {"8+5+3=16", true, true},
                         {"8 * (5 - 3)", true, true},
                         {"8 × （5 − 3）", true, true},
                         {"8 \\times (5 - 3)", true, true},
                         {"5 / 5 * (8 * 2)", false, false},
                         {"8 / (5 / (5 + 5))", false, false},
                         {"3 + 8 + 5 = 15", false, false},
                         {"16", false, false},
                         {"8 + 5 + 3 or 5 + 3 + 8", false, false},
                         {"(8 + 5 + 3", false, false},
                         {"8 + 5 + 3)", false, false},
                         {"8 5 3", false, false},
                         {"8 / (5 - 5)", false, false},
                         {"The answer is 8 + 5 + 3.", true, true}});
}

TEST(Checker, ExpressionsAreExact) {
  EXPECT_EQ(read_expression("1/3 + 1/6")->value, (Rational{1, 2}));
  EXPECT_EQ(read_expression("-2 * -3")->value, (Rational{6, 1}));
  EXPECT_EQ(read_expression("2 - 3 - 4")->value, (Rational{-5, 1}));
  EXPECT_EQ(read_expression("24 / 4 / 2")->value, (Rational{3, 1}));
  EXPECT_EQ(read_expression("2 + 3 * 4")->value, (Rational{14, 1}));
  for (const char* text : {"", "+", "1 +", "* 2", "()", "(1", "1)", "1 2", "2(3)", "1/0", "1/(2-2)",
                           "9999999999999999999", "3000000000 * 4000000000", "1.5", "x", "2**3"})
    EXPECT_FALSE(read_expression(text)) << text;
}

TEST(Checker, Calls) {
  const Json answer = {{"name", "price"}, {"arguments", {{"item", "a b"}, {"n", 2}}}};
  const Checker checker = Checker::from_json("call", answer, "test");
  const auto verdict = [&](std::vector<SpokenCall> calls) { return checker.check({"", calls}); };
  EXPECT_TRUE(verdict({{"price", R"({"n": 2, "item": "a b"})"}}).right);
  EXPECT_TRUE(verdict({{"price", R"({"n": 2.0, "item": "a b"})"}}).right);
  EXPECT_EQ(verdict({{"price", R"({"n": "2", "item": "a b"})"}}).reason, "other arguments");
  EXPECT_EQ(verdict({{"price", R"({"n": 2, "item": "a b")"}}).reason, "arguments that are no JSON");
  EXPECT_EQ(verdict({{"prices", "{}"}}).reason, "another tool");
  EXPECT_EQ(verdict({}).reason, "no call");
  EXPECT_EQ(verdict({{"price", "{}"}, {"price", "{}"}}).reason, "several calls");
}

TEST(Checker, BadRecordsAreErrors) {
  const auto message = [](const Json& checker, const Json& answer) -> std::string {
    try {
      Checker::from_json(checker, answer, "f.jsonl:3");
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_NE(message("nmber", "1").find("f.jsonl:3: checker.kind \"nmber\": expected number"),
            std::string::npos);
  EXPECT_NE(message("number", "one").find("f.jsonl:3: answer: expected a number"),
            std::string::npos);
  EXPECT_NE(message("call", "x").find("f.jsonl:3: answer"), std::string::npos);
  EXPECT_NE(message({{"kind", "countdown"}}, "1").find("target"), std::string::npos);
  EXPECT_NE(message(3, "1").find("f.jsonl:3: checker"), std::string::npos);
}

std::string repeated(std::string_view text, size_t bytes) {
  std::string out;
  while (out.size() < bytes) out += text;
  return out;
}

/// Texts that a model could write to slow the checker down, or to bring it down.
TEST(Checker, HostileTextsTakeLinearTime) {
  const std::vector<Checker> checkers = {
      number("42"), of_kind("text", "abc"), of_kind("list", "1, 2"),
      Checker::from_json({{"kind", "countdown"}, {"numbers", {1, 2}}, {"target", 3}}, "1 + 2",
                         "t")};
  constexpr size_t kBytes = 1 << 16;
  for (const char* part : {"1",          "(",
                           ")",          "{",
                           "\\boxed{",   "\\boxed{1}",
                           "}",          "answer is ",
                           "answer ",    "The answer is 1. ",
                           "the answer", "####",
                           "#### 1\n",   "1,",
                           "1,234",      "1/1",
                           ".",          "-",
                           "−1",         "frac{",
                           "\\frac{1}{", "\\frac{1}{2}",
                           "十",         "一百",
                           "or ",        "1 or ",
                           "\n",         " ",
                           "=",          "=1",
                           "答案是",     "答案",
                           "the ",       "final the ",
                           "\xff",       "\xef\xbc",
                           "＊",         "\"'",
                           "\\(",        "\\(1\\)",
                           "[",          "is ",
                           "答案是是",   "1 "}) {
    const std::string text = repeated(part, kBytes), behind = "answer is \\boxed{" + text + "}";
    for (const Checker& checker : checkers)
      for (const std::string* one : {&text, &behind}) {
        const double start = processor_seconds();
        checker.check({*one});
        // A quadratic one takes several.
        EXPECT_LT(processor_seconds() - start, 1.0) << part;
      }
  }
  const std::string digits = repeated("1", 16 * kBytes);
  EXPECT_TRUE(number(digits).check({"The answer is " + digits}).right);
  EXPECT_FALSE(number(digits).check({"The answer is " + digits + "1"}).right);
  const Checker call =
      Checker::from_json("call", {{"name", "f"}, {"arguments", Json::object()}}, "t");
  const std::vector<SpokenCall> deep = {{"f", repeated("[", 16 * kBytes)}};
  EXPECT_FALSE(call.check({"", deep}).right);
}

TEST(FinalAnswer, FindsMarks) {
  const auto marked = [](std::string_view text) {
    const std::string plain = half_width(text);
    std::string out;
    for (const std::string_view part : find_final_answers(plain).marked)
      out += fmt::format("<{}>", part);
    return out;
  };
  EXPECT_EQ(marked("The answer is 7. I am sure"), "<7>");
  EXPECT_EQ(marked("To answer the question, count"), "");
  EXPECT_EQ(marked("Answer: the answer is 8"), "<8>");
  EXPECT_EQ(marked("**Answer:** 8"), "<8>");
  EXPECT_EQ(marked("最终答案为 8。谢谢"), "<8>");
  EXPECT_EQ(marked("\\boxed{\\frac{1}{2}} and \\boxed{3}"), "<\\frac{1}{2}><3>");
  EXPECT_EQ(marked("\\boxed{a \\boxed{b}}"), "<a \\boxed{b}>");
  EXPECT_EQ(marked("The answer is \\boxed{7}."), "<7>");
  EXPECT_EQ(marked("The answer is 6. \\boxed{7}"), "<6><7>");
  EXPECT_EQ(marked("answers are 3"), "");
}

}  // namespace
}  // namespace um
