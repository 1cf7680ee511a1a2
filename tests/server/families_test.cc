// Answers of each family of models: thinking and calls, whole and in every kind of pieces, whether
// the marks are tokens or written in the text.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "core/stop_scope.h"
#include "server/answer_stream.h"
#include "server/api_error.h"
#include "server/formats.h"
#include "tests/text/byte_tokenizer_util.h"
#include "tests/text/jinja_cases_util.h"

namespace um {
namespace {

const std::vector<std::string> kQwenTokens = {"<|im_start|>", "<|im_end|>",  "<think>",
                                              "</think>",     "<tool_call>", "</tool_call>"};
const std::vector<std::string> kDeepSeekTokens = {"<｜begin▁of▁sentence｜>",
                                                  "<｜end▁of▁sentence｜>",
                                                  "<think>",
                                                  "</think>",
                                                  "<｜tool▁calls▁begin｜>",
                                                  "<｜tool▁calls▁end｜>",
                                                  "<｜tool▁call▁begin｜>",
                                                  "<｜tool▁call▁end｜>",
                                                  "<｜tool▁sep｜>"};
const std::vector<std::string> kLlamaTokens = {"<|start_header_id|>", "<|eot_id|>", "<|eom_id|>",
                                               "<|python_tag|>"};

/// What DeepSeek V3.1 makes of a call.
const char* const kDeepSeekV31 =
    "{{ '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
    "<｜tool▁calls▁end｜>' }}";

struct Family {
  Tokenizer tokenizer;
  ChatMarks marks;
  Family(const std::vector<std::string>& tokens, std::string_view source)
      : tokenizer(byte_tokenizer(tokens)), marks(ChatMarks::of(tokenizer, source)) {}

  std::vector<int32_t> ids(const std::string& text) const {
    return tokenizer.encode(text, {.parse_special = true});
  }
  /// Token by token: the byte tokenizer cuts all text into bytes.
  AnswerDelta run(const std::string& text, AnswerOptions options = {},
                  const std::string& prompt = "") const {
    options.tools = true;
    if (options.known.empty()) options.known = {{"look", "", "{}"}, {"wait", "", "{}"}};
    AnswerStream stream(tokenizer, marks, ids(prompt), options);
    AnswerDelta all;
    for (const int32_t id : ids(text)) {
      all.append(stream.push(id));
      if (stream.stopped()) break;
    }
    all.append(stream.finish());
    return all;
  }
};

std::string shown(const AnswerDelta& answer) {
  std::string text = answer.reasoning + "|" + answer.content;
  for (const ToolCallDelta& call : answer.calls) text += "|" + call.name + call.arguments;
  return text;
}

const char* const kThinkAndCall =
    "<think>\nhm\n\nwell\n</think>\n\nSo:\n<tool_call>\n{\"name\": \"look\", \"arguments\": "
    "{\"at\": \"☀ <\"}}\n"
    "</tool_call>\n<tool_call>\n{\"name\": \"wait\", \"arguments\": {}}\n</tool_call>";

TEST(AnswerFamilies, QwenWithMarksAsTokens) {
  const Family f(kQwenTokens, kQwenTemplate);
  EXPECT_EQ(f.marks.calls.name, "hermes");
  EXPECT_EQ(f.marks.calls.marks.size(), 2u);
  EXPECT_EQ(f.marks.turn_closes.size(), 1u);
  EXPECT_EQ(shown(f.run(kThinkAndCall)), "hm\n\nwell|So:|look{\"at\": \"☀ <\"}|wait{}");
  EXPECT_EQ(shown(f.run("hm\n</think>\n\nyes\n", {}, "<|im_start|>assistant\n<think>\n")),
            "hm|yes\n");
  EXPECT_EQ(shown(f.run("yes", {}, "<|im_start|>assistant\n<think>\n\n</think>\n\n")), "|yes");
  EXPECT_EQ(shown(f.run("\n a\n\nb \n")), "|\n a\n\nb \n");
  EXPECT_EQ(shown(f.run("<tool_call>\nno call\n</tool_call>")),
            "|<tool_call>\nno call\n</tool_call>");
}

TEST(AnswerFamilies, QwenWithMarksAsText) {
  const Family f({"<|im_start|>", "<|im_end|>"}, kQwenTemplate);
  EXPECT_EQ(f.marks.calls.name, "hermes");
  EXPECT_TRUE(f.marks.calls.marks.empty());
  EXPECT_EQ(shown(f.run(kThinkAndCall)), "hm\n\nwell|So:|look{\"at\": \"☀ <\"}|wait{}");
  EXPECT_EQ(shown(f.run("hm\n</think>\n\nyes\n", {}, "<|im_start|>assistant\n<think>\n")),
            "hm|yes\n");
  EXPECT_EQ(shown(f.run("a < b <tool_cal <think> </tool_call> <")),
            "|a < b <tool_cal <think> </tool_call> <");
  EXPECT_EQ(shown(f.run("<tool_call>{\"name\": \"look\"")), "|<tool_call>{\"name\": \"look\"");
  EXPECT_EQ(shown(f.run("<think>never ends <")), "never ends <|");
}

TEST(AnswerFamilies, StopStringsAreForTheContent) {
  for (const auto& tokens : {kQwenTokens, std::vector<std::string>{"<|im_end|>"}}) {
    const Family f(tokens, kQwenTemplate);
    EXPECT_EQ(shown(f.run("<think>END</think>a\nEND b", {.stop = {"END"}})), "END|a\n");
    EXPECT_EQ(
        shown(f.run("<tool_call>{\"name\": \"look\", \"arguments\": {\"END\": 1}}</tool_call>a",
                    {.stop = {"END"}})),
        "|a|look{\"END\": 1}");
  }
}

TEST(AnswerFamilies, DeepSeek) {
  const Family f(kDeepSeekTokens, kDeepSeekTemplate);
  EXPECT_EQ(f.marks.calls.name, "deepseek");
  const std::string v3 =
      "<think>\nhm\n</"
      "think>\n\nSo.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>look\n"
      "```json\n{\"at\": {\"x\": "
      "\"}\\\"\"}}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>"
      "wait\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
  EXPECT_EQ(shown(f.run(v3)), "hm|So.|look{\"at\": {\"x\": \"}\\\"\"}}|wait{}");
  const std::string v31 =
      "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>look<｜tool▁sep｜>{\"at\": "
      "[1]}<｜tool▁call▁end｜>"
      "<｜tool▁call▁begin｜>wait<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
  const Family g(kDeepSeekTokens, kDeepSeekV31);
  EXPECT_EQ(shown(g.run(v31)), "||look{\"at\": [1]}|wait{}");
  const std::string nothing = "<｜tool▁calls▁begin｜>nothing<｜tool▁calls▁end｜>";
  EXPECT_EQ(shown(f.run(nothing)), "|" + nothing);
  EXPECT_EQ(shown(f.run("thought</think>yes", {}, "<think>\n")), "thought|yes");
  const Family text({"<x>"}, kDeepSeekTemplate);
  EXPECT_EQ(shown(text.run(v3)), shown(f.run(v3)));
  const Family text_v31({"<x>"}, kDeepSeekV31);
  EXPECT_EQ(shown(text_v31.run(v31)), shown(g.run(v31)));
}

TEST(AnswerFamilies, Llama) {
  const Family f(kLlamaTokens, kLlamaTemplate);
  EXPECT_EQ(f.marks.calls.name, "llama");
  EXPECT_EQ(f.marks.turn_closes.size(), 2u);
  const std::string call = "{\"name\": \"look\", \"parameters\": {\"at\": \"sky\"}}";
  EXPECT_EQ(shown(f.run(call)), "||look{\"at\": \"sky\"}");
  EXPECT_EQ(shown(f.run("\n " + call + "; " + call)),
            "||look{\"at\": \"sky\"}|look{\"at\": \"sky\"}");
  EXPECT_EQ(shown(f.run("<|python_tag|>" + call)), "||look{\"at\": \"sky\"}");
  // Not calls: other text, JSON of other kinds, names of no tool.
  for (const std::string& text :
       {"Call " + call, std::string("{\"name\": \"Bob\", \"age\": 3}"), std::string("{\"a\": 1}"),
        std::string("{}"), std::string("{ no"), std::string("  \n"), std::string("<|python"),
        std::string("{\"parameters\": {\"a\": 1}, \"name\": \"Bob\"} x")})
    EXPECT_EQ(shown(f.run(text)), "|" + text);
  EXPECT_EQ(shown(f.run("{\"name\": \"Bob\", END}", {.stop = {"END"}})), "|{\"name\": \"Bob\", ");
}

TEST(AnswerFamilies, Mistral) {
  const Family f({"[TOOL_CALLS]", "</s>"}, "{{ '[TOOL_CALLS]' }}");
  EXPECT_EQ(shown(f.run("[TOOL_CALLS][{\"name\": \"look\", \"arguments\": {}}]")), "||look{}");
}

TEST(AnswerFamilies, WhatATemplateWithoutToolsIsToldToWrite) {
  const Family f({"<|im_end|>"}, kChatMlTemplate);
  EXPECT_EQ(shown(f.run("<tool_call>\n{\"name\": \"look\", \"arguments\": {}}\n</tool_call>")),
            "||look{}");
}

/// Follows a constraint over the tokens of a text; where it stops.
size_t allowed(const Family& f, std::unique_ptr<Constraint> constraint, const std::string& text) {
  size_t taken = 0;
  for (const int32_t id : f.ids(text)) {
    std::vector<float> logits(static_cast<size_t>(f.tokenizer.vocab_size()), 0.0f);
    constraint->mask(logits);
    if (std::isinf(logits[static_cast<size_t>(id)])) return taken;
    constraint->accept(id);
    ++taken;
  }
  return std::string::npos;
}

ChatRequest required() {
  ChatRequest request;
  request.tools = {
      {"look", "", R"({"type":"object","properties":{"at":{"type":"string"}},"required":["at"]})"}};
  request.tool_choice.kind = ToolChoice::kRequired;
  return request;
}

TEST(AnswerFamilies, RequiredCallsAreHeldToEachForm) {
  const Family qwen(kQwenTokens, kQwenTemplate);
  const int32_t end = *qwen.tokenizer.id("<|im_end|>");
  Formats formats(qwen.tokenizer, qwen.marks, {end});
  const std::string call =
      "<tool_call>{\"name\":\"look\",\"arguments\":{\"at\":\"sky\"}}</tool_call><|im_end|>";
  EXPECT_EQ(allowed(qwen, formats.of_chat(required()), call), std::string::npos);
  EXPECT_EQ(allowed(qwen, formats.of_chat(required()), "<tool_call>[{"), 1u);
  EXPECT_EQ(allowed(qwen, formats.of_chat(required()), "yes"), 0u);
  EXPECT_EQ(allowed(qwen, formats.of_chat(required(), true), "hm</think>" + call),
            std::string::npos);
  const Family llama(kLlamaTokens, kLlamaTemplate);
  Formats other(llama.tokenizer, llama.marks, {*llama.tokenizer.id("<|eot_id|>")});
  const std::string whole = "{\"name\":\"look\",\"parameters\":{\"at\":\"sky\"}}<|eot_id|>";
  EXPECT_EQ(allowed(llama, other.of_chat(required()), whole), std::string::npos);
  EXPECT_NE(allowed(llama, other.of_chat(required()), "{\"name\":\"wait\""), std::string::npos);
}

/// Whether the whole text, with the token that ends the answer, is allowed and reads as these
/// calls.
std::string required_calls(const Family& f, const std::string& end, const std::string& text,
                           ChatRequest request) {
  request.tools.push_back({"wait", "", R"({"type":"object","properties":{}})"});
  Formats formats(f.tokenizer, f.marks, {*f.tokenizer.id(end)});
  const size_t taken = allowed(f, formats.of_chat(request), text + end);
  return taken == std::string::npos ? shown(f.run(text)) : "stopped at " + std::to_string(taken);
}

TEST(AnswerFamilies, RequiredCallsOfDeepSeek) {
  const std::string end = "<｜end▁of▁sentence｜>", open = "<｜tool▁calls▁begin｜>",
                    close = "<｜tool▁calls▁end｜>", v31 = kDeepSeekV31;
  const auto call = [](const std::string& name, const std::string& arguments) {
    return "<｜tool▁call▁begin｜>function<｜tool▁sep｜>" + name + "\n```json\n" + arguments +
           "\n```<｜tool▁call▁end｜>";
  };
  const auto short_call = [](const std::string& name, const std::string& arguments) {
    return "<｜tool▁call▁begin｜>" + name + "<｜tool▁sep｜>" + arguments + "<｜tool▁call▁end｜>";
  };
  const std::string at = "{\"at\": \"sky\"}";
  ChatRequest one = required();
  one.parallel_tool_calls = false;
  // With the marks as tokens and as text.
  for (const auto& tokens : {kDeepSeekTokens, std::vector<std::string>{end}}) {
    const Family f(tokens, kDeepSeekTemplate), g(tokens, v31);
    EXPECT_EQ(required_calls(f, end, open + call("look", at) + close, required()), "||look" + at);
    EXPECT_EQ(required_calls(f, end, open + call("wait", "{}") + "\n" + call("look", at) + close,
                             required()),
              "||wait{}|look" + at);
    EXPECT_NE(required_calls(f, end, open + call("look", "{}") + close, required())[0], '|');
    EXPECT_NE(required_calls(f, end, open + close, required())[0], '|');
    EXPECT_NE(required_calls(f, end, "yes", required())[0], '|');
    EXPECT_NE(required_calls(f, end, open + short_call("look", at) + close, required())[0], '|');
    EXPECT_NE(
        required_calls(f, end, open + call("wait", "{}") + "\n" + call("look", at) + close, one)[0],
        '|');
    EXPECT_EQ(
        required_calls(g, end, open + short_call("wait", "{}") + short_call("look", at) + close,
                       required()),
        "||wait{}|look" + at);
    EXPECT_NE(required_calls(g, end, open + call("look", at) + close, required())[0], '|');
  }
  // Inside strings the marks are no tokens of the form.
  const Family f(kDeepSeekTokens, kDeepSeekTemplate);
  EXPECT_NE(required_calls(f, end, open + call("look", "{\"at\": \"<｜tool▁sep｜>\"}") + close,
                           required())[0],
            '|');
  // Where the model may choose, what it begins is held to the schema.
  ChatRequest may = required();
  may.tool_choice.kind = ToolChoice::kAuto;
  EXPECT_EQ(required_calls(f, end, "So." + open + call("look", at) + close, may), "|So.|look" + at);
  EXPECT_NE(required_calls(f, end, "So." + open + call("look", "{}") + close, may)[0], '|');
}

TEST(AnswerFamilies, RequiredCallsOfMistral) {
  const std::string source = "{{ '[TOOL_CALLS]' }}",
                    look = R"({"name": "look", "arguments": {"at": "sky"}})",
                    wait = R"({"name": "wait", "arguments": {}})";
  for (const auto& tokens :
       {std::vector<std::string>{"[TOOL_CALLS]", "</s>"}, std::vector<std::string>{"</s>"}}) {
    const Family f(tokens, source);
    const auto calls = [&](const std::string& text) {
      return required_calls(f, "</s>", "[TOOL_CALLS]" + text, required());
    };
    EXPECT_EQ(calls("[" + look + "]"), "||look{\"at\": \"sky\"}");
    EXPECT_EQ(calls("[" + wait + ", " + look + "]"), "||wait{}|look{\"at\": \"sky\"}");
    EXPECT_NE(calls("[" + wait)[0], '|');
    EXPECT_NE(calls(R"([{"name": "look", "arguments": {}}])")[0], '|');
    EXPECT_NE(calls("[" + look + "] yes")[0], '|');
  }
}

TEST(AnswerFamilies, RequiredCallsWhoseMarksAreText) {
  const Family f({"<|im_end|>"}, kChatMlTemplate);
  const std::string look =
                        "<tool_call>\n{\"name\": \"look\", \"arguments\": {\"at\": "
                        "\"sky\"}}\n</tool_call>",
                    wait = "<tool_call>{\"name\": \"wait\", \"arguments\": {}}</tool_call>";
  EXPECT_EQ(required_calls(f, "<|im_end|>", look, required()), "||look{\"at\": \"sky\"}");
  EXPECT_EQ(required_calls(f, "<|im_end|>", wait + "\n" + look, required()),
            "||wait{}|look{\"at\": \"sky\"}");
  ChatRequest named = required();
  named.tool_choice = {ToolChoice::kNamed, "look"};
  EXPECT_NE(required_calls(f, "<|im_end|>", wait, named)[0], '|');
  EXPECT_NE(required_calls(f, "<|im_end|>", look + look, named)[0], '|');
}

/// Tokens of several bytes, so that marks, characters and stop strings are cut anywhere.
TEST(AnswerFamilies, EveryWayOfCuttingGivesTheSame) {
  const std::string pieces =
      "<think>\nhm ☀\n</think>\n\nSo:\n<tool_call>{\"name\": \"look\"}</tool_call> END";
  const Family bytes({"<|im_end|>"}, kQwenTemplate);
  const std::string expected = shown(bytes.run(pieces, {.stop = {"END"}}));
  EXPECT_EQ(expected, "hm ☀|So: |look{}");
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    // Each piece of a random cut becomes one ordinary added token.
    std::vector<std::string> tokens;
    for (size_t at = 0; at < pieces.size();) {
      const size_t size = std::min<size_t>(1 + random() % 12, pieces.size() - at);
      tokens.push_back(pieces.substr(at, size));
      at += size;
    }
    bool whole = true;  // a token is valid UTF-8
    for (const std::string& token : tokens)
      whole = whole && (static_cast<uint8_t>(token[0]) & 0xC0) != 0x80 &&
              (token.find("\xE2") == std::string::npos || token.find("☀") != std::string::npos);
    if (!whole) continue;
    const std::set<std::string> each(tokens.begin(), tokens.end());
    const Tokenizer t = byte_tokenizer({each.begin(), each.end()});
    AnswerStream stream(t, bytes.marks, {},
                        {.stop = {"END"}, .skip_special = false, .tools = true});
    AnswerDelta all;
    for (size_t i = 0; i < tokens.size() && !stream.stopped(); ++i) {
      const auto place = std::distance(each.begin(), each.find(tokens[i]));
      all.append(stream.push(256 + static_cast<int32_t>(place)));
    }
    if (!stream.stopped()) all.append(stream.finish());
    EXPECT_EQ(shown(all), expected);
  }
}

/// Templates that take as much as they may, whenever they are asked or only where it comes to calls
/// or to ends of turns.
TEST(Families, AllProbingOfATemplateHasOneBudget) {
  const std::string bomb =
      "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(50) }}";
  const std::string hello = "{% for m in messages %}{{ m.content }}{% endfor %}";
  std::string switches;
  for (int i = 0; i < 16; ++i) switches += fmt::format("{{% if think_{} %}}a{{% endif %}}", i);
  for (const std::string& source :
       {bomb, switches + bomb, hello + "{% if tools %}" + bomb + "{% endif %}",
        hello + "{% if messages[1] and not tools %}" + bomb + "{% endif %}"}) {
    constexpr int kMost = 3000;  // questions, after 4096 steps each
    int asked = 0;
    const StopScope scope([&] { return ++asked > kMost; });
    const Tokenizer tokenizer = byte_tokenizer({});
    const ChatTemplate form = ChatTemplate::from_source(source, "t", tokenizer);
    const ChatMarks marks = ChatMarks::of(tokenizer, form);
    EXPECT_LT(asked, kMost) << source;
    const std::string fault = form.fault() + marks.fault;
    EXPECT_NE(fault.find("takes too long"), std::string::npos) << source << fault;
  }
}

}  // namespace
}  // namespace um
