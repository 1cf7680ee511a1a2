// What answers are held to, part by part: thinking and its budget, the format behind it, tool
// calls.
#include "server/formats.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/stop_scope.h"
#include "server/api_error.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {
namespace {

constexpr int32_t kEos = 2;

/// Follows a constraint with the tokens of a text.
class Follower {
 public:
  explicit Follower(std::unique_ptr<Constraint> constraint) : constraint_(std::move(constraint)) {}

  bool allows(int32_t id) {
    std::vector<float> logits(static_cast<size_t>(tiny_tokenizer().vocab_size()), 0.0f);
    constraint_->mask(logits);
    return !std::isinf(logits[static_cast<size_t>(id)]);
  }
  bool allows(const std::string& mark) { return allows(*tiny_tokenizer().id(mark)); }
  /// Accepts the text's tokens; false at the first one that is forbidden.
  bool take(const std::string& text) {
    for (const int32_t id : tiny_tokenizer().encode(text, {.parse_special = true})) {
      if (!allows(id)) return false;
      constraint_ = constraint_->clone();
      constraint_->accept(id);
    }
    return true;
  }

 private:
  std::unique_ptr<Constraint> constraint_;
};

Formats& formats() {
  static Formats formats(tiny_tokenizer(), ChatMarks::of(tiny_tokenizer()), {kEos});
  return formats;
}

ChatRequest choice_request() {
  ChatRequest request;
  request.params.format = {.kind = FormatSpec::kChoice, .choices = {"river", "bridge"}};
  return request;
}

ChatRequest tool_request(ToolChoice::Kind kind) {
  ChatRequest request;
  request.tools = {{"look", "",
                    R"({"type":"object","properties":{"n":{"$ref":"#/$defs/N"}},)"
                    R"("required":["n"],"$defs":{"N":{"enum":[1,2]}}})"},
                   {"wait", "", R"({"type":"object","properties":{}})"}};
  request.tool_choice.kind = kind;
  return request;
}

TEST(AnswerConstraint, NothingAskedForIsNoConstraint) {
  EXPECT_EQ(formats().of_chat({}), nullptr);
  EXPECT_EQ(formats().of_completion({}), nullptr);
}

TEST(AnswerConstraint, TheFormatHoldsAtOnceOrBehindTheThinking) {
  Follower direct(formats().of_chat(choice_request()));
  EXPECT_TRUE(direct.allows("[unused16]"));
  EXPECT_FALSE(direct.allows(kEos));
  EXPECT_FALSE(direct.take("geese"));
  Follower thinking(formats().of_chat(choice_request()));
  EXPECT_TRUE(thinking.take("[unused16]geese cross"));
  EXPECT_FALSE(thinking.allows(kEos));
  EXPECT_FALSE(thinking.allows("[unused10]"));
  EXPECT_TRUE(thinking.take("[unused17]"));
  EXPECT_FALSE(thinking.allows("[unused16]"));
  EXPECT_FALSE(thinking.allows(*tiny_tokenizer().id("[unused17]")));
}

TEST(AnswerConstraint, FastAnswersDoNotThinkWhereTheyAreHeld) {
  ChatRequest request = choice_request();
  request.mode = ThinkMode::kFast;
  EXPECT_FALSE(Follower(formats().of_chat(request)).allows("[unused16]"));
}

TEST(AnswerConstraint, ABudgetOfZeroIsNoThinking) {
  ChatRequest request;
  request.thinking_budget = 0;
  Follower none(formats().of_chat(request));
  EXPECT_FALSE(none.allows("[unused16]"));
  EXPECT_TRUE(none.allows(tiny_tokenizer().encode("geese")[0]));
}

TEST(AnswerConstraint, AtTheBudgetOnlyTheEndOfThinkingIsLeft) {
  const ChatMarks marks = ChatMarks::of(tiny_tokenizer());
  AnswerRules rules;
  rules.marks = marks;
  rules.thinking_budget = 2;
  const auto constraint = make_answer_constraint(std::move(rules));
  constraint->accept(marks.think_open);
  constraint->accept(50);
  constraint->accept(51);
  std::vector<float> logits(400, 1.0f);
  constraint->mask(logits);
  for (int32_t id = 0; id < 400; ++id)
    EXPECT_EQ(std::isinf(logits[static_cast<size_t>(id)]), id != marks.think_close) << id;
  constraint->accept(marks.think_close);
  std::fill(logits.begin(), logits.end(), 1.0f);
  constraint->mask(logits);
  EXPECT_FALSE(std::isinf(logits[50]));
}

TEST(AnswerConstraint, RequiredToolsMustBeCalledAndFitTheirSchema) {
  Follower follower(formats().of_chat(tool_request(ToolChoice::kRequired)));
  EXPECT_FALSE(follower.allows(kEos));
  EXPECT_TRUE(follower.allows("[unused11]"));
  EXPECT_FALSE(
      Follower(formats().of_chat(tool_request(ToolChoice::kRequired))).take("[unused11]{"));
  EXPECT_TRUE(follower.take("[unused11]"));
  EXPECT_FALSE(follower.allows("[unused12]"));
}

TEST(AnswerConstraint, ChosenToolsAreHeldToTheirSchemaOnlyOnceBegun) {
  Follower follower(formats().of_chat(tool_request(ToolChoice::kAuto)));
  EXPECT_TRUE(follower.allows(kEos));
  EXPECT_TRUE(follower.take("the river[unused11]"));
  EXPECT_FALSE(follower.allows(kEos));
}

TEST(Formats, ToolsKeepTheirOwnDefinitions) {
  // Two schemas whose references have the same name.
  ChatRequest request;
  for (const char* name : {"look", "wait"})
    request.tools.push_back({name, "",
                             R"({"properties":{"n":{"$ref":"#/$defs/N"}},"required":["n"],)"
                             R"("$defs":{"N":{"const":")" +
                                 std::string(name) + R"("}}})"});
  request.tool_choice.kind = ToolChoice::kRequired;
  const auto fits = [&](const std::string& calls) {
    return Follower(formats().of_chat(request)).take("[unused11]" + calls + "[unused12]");
  };
  const std::string look = R"({"name": "look", "arguments": {"n":"look"}})",
                    wait = R"({"name":"wait","arguments":{"n":"wait"}})";
  EXPECT_TRUE(fits("[" + look + "]"));
  EXPECT_TRUE(fits("[" + wait + ", " + look + "]"));
  EXPECT_FALSE(fits(R"([{"name": "look", "arguments": {"n":"wait"}}])"));
  EXPECT_FALSE(fits("[]"));
  request.parallel_tool_calls = false;
  EXPECT_TRUE(fits("[" + look + "]"));
  EXPECT_FALSE(fits("[" + wait + ", " + look + "]"));
  request.parallel_tool_calls = true;
  request.tool_choice = {ToolChoice::kNamed, "wait"};
  EXPECT_TRUE(fits("[" + wait + "]"));
  EXPECT_FALSE(fits("[" + look + "]"));
  EXPECT_FALSE(fits("[" + wait + ", " + wait + "]"));
}

/// A tool's schema that lets other values pass: arguments are an object all the same.
TEST(Formats, ArgumentsAreObjects) {
  ChatRequest request = tool_request(ToolChoice::kRequired);
  const auto fits = [&](const std::string& schema, const std::string& arguments) {
    request.tools[0].parameters = schema;
    return Follower(formats().of_chat(request))
        .take(R"([unused11][{"name": "look", "arguments": )" + arguments + "}][unused12]");
  };
  for (const char* schema : {R"({"type": ["string", "array", "object"]})", R"({"minLength": 1})",
                             R"({"anyOf": [{"type": "string"}, {"type": "object"}]})", "{}"}) {
    EXPECT_TRUE(fits(schema, R"({"a": 1})")) << schema;
    EXPECT_FALSE(fits(schema, R"("a")")) << schema;
    EXPECT_FALSE(fits(schema, "[]")) << schema;
  }
  request.tools[0].parameters = R"({"type": "string"})";
  EXPECT_THROW(formats().of_chat(request), ApiError);
}

/// Schemas that take long to compile, for a client that has gone: no answer, and no fault of its.
TEST(Formats, StopsWhenItIsTold) {
  std::string all, choices;
  for (int i = 0; i < 40; ++i) {
    all += fmt::format(R"({}{{"not":{{"required":["a{}","b{}"]}}}})", i > 0 ? "," : "", i, i);
    choices += fmt::format("(a|b{}){{200}}", i);
  }
  ChatRequest schema, pattern, tools = tool_request(ToolChoice::kAuto);
  schema.params.format = {.kind = FormatSpec::kJsonSchema, .schema = R"({"allOf":[)" + all + "]}"};
  pattern.params.format = {.kind = FormatSpec::kRegex, .regex = choices};
  tools.tools[0].parameters = schema.params.format.schema;
  for (const ChatRequest& request : {schema, pattern, tools}) {
    int asked = 0;
    const StopScope scope([&] { return ++asked > 0; });
    EXPECT_THROW(formats().of_chat(request), Stopped);
    EXPECT_EQ(asked, 1);
  }
}

TEST(Formats, WrongSchemasAreTheClientsFault) {
  ChatRequest request;
  request.params.format = {.kind = FormatSpec::kJsonSchema, .schema = R"({"type":"nothing"})"};
  EXPECT_THROW(formats().of_chat(request), ApiError);
  request.params.format = parse_format(Body(R"({"guided_regex": "("})"));
  try {
    formats().of_chat(request);
  } catch (const ApiError& error) {
    EXPECT_EQ(error.param(), "guided_regex");
  }
  EXPECT_THROW(formats().of_chat(request), ApiError);
  ChatRequest tools = tool_request(ToolChoice::kAuto);
  tools.tools[0].parameters = R"({"type":"nothing"})";
  EXPECT_EQ(formats().of_chat(tools), nullptr);
  tools.tool_choice.kind = ToolChoice::kRequired;
  EXPECT_THROW(formats().of_chat(tools), ApiError);
}

}  // namespace
}  // namespace um
