// Every form of calls, by the same properties: what is written in it is read again, whatever the
// arguments say and however the text is cut; what is no call comes out byte for byte; what was cut
// off is not complete; and what a constraint allows can be read.
#include "server/call_form.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "server/answer_stream.h"
#include "server/call_probe.h"
#include "server/call_rules.h"
#include "server/formats.h"
#include "tests/text/byte_tokenizer_util.h"
#include "tests/text/jinja_cases_util.h"
#include "text/utf8.h"

namespace um {
namespace {

const char* const kParameters = R"({"type":"object","properties":{
  "text":{"type":"string"},"count":{"type":"integer"},"flag":{"type":"boolean"},
  "ratio":{"type":["number","null"]},"list":{"type":"array"},"tree":{"$ref":"#/$defs/T"}},
  "required":["text"],"$defs":{"T":{"type":"object"}}})";

std::vector<Tool> tools() {
  return {{"look", "", kParameters}, {"wait_for.it", "", R"({"type":"object","properties":{}})"}};
}

/// All that is a mark in some form, for texts that look like calls.
std::vector<std::string> fragments() {
  std::vector<std::string> found = {"\"",
                                    "\\",
                                    "{",
                                    "}",
                                    "[",
                                    "]",
                                    "\n",
                                    "\n\n",
                                    " ",
                                    "é",
                                    "☃",
                                    "\t",
                                    "<",
                                    ">",
                                    "</",
                                    "'",
                                    ",",
                                    ":",
                                    "`",
                                    "look",
                                    "text",
                                    "a b",
                                    "{\"name\": \"look\", \"arguments\": {",
                                    "]]>",
                                    "<![CDATA[",
                                    "null",
                                    "7",
                                    "true",
                                    "<think>",
                                    "</think>",
                                    "<|im_en",
                                    "&"};
  for (const CallForm& form : call_forms())
    for (const std::string* mark :
         {&form.open, &form.close, &form.begin, &form.middle, &form.end, &form.key_open,
          &form.key_close, &form.value_close, &form.quote})
      if (!mark->empty() && mark->find_first_of("") == std::string::npos) found.push_back(*mark);
  return found;
}

class Random {
 public:
  explicit Random(uint32_t seed) : random_(seed) {}
  size_t below(size_t n) { return random_() % n; }
  std::string text() {
    static const std::vector<std::string> parts = fragments();
    std::string out;
    for (size_t n = below(6); n > 0; --n) out += parts[below(parts.size())];
    return out;
  }
  OrderedJson value(int depth) {
    switch (below(depth > 2 ? 4 : 6)) {
      case 0:
        return static_cast<int64_t>(below(2000)) - 1000;
      case 1:
        return below(2) == 0;
      case 2:
        return nullptr;
      case 3:
        return text();
      case 4: {
        OrderedJson list = OrderedJson::array();
        for (size_t n = below(3); n > 0; --n) list.push_back(value(depth + 1));
        return list;
      }
      default: {
        OrderedJson object = OrderedJson::object();
        for (size_t n = below(3); n > 0; --n) object[text()] = value(depth + 1);
        return object;
      }
    }
  }
  Call call() {
    if (below(4) == 0) return {"wait_for.it", OrderedJson::object()};
    Call call{"look", {{"text", text()}}};
    if (below(2) == 0) call.arguments["count"] = static_cast<int64_t>(below(100));
    if (below(3) == 0) call.arguments["flag"] = below(2) == 0;
    if (below(3) == 0) call.arguments["ratio"] = below(2) == 0 ? OrderedJson() : OrderedJson(0.5);
    if (below(3) == 0) call.arguments["list"] = OrderedJson::array({value(1), value(1)});
    if (below(3) == 0) call.arguments["tree"] = {{text(), value(1)}};
    return call;
  }

 private:
  std::mt19937 random_;
};

/// Where the form cannot tell a text from what follows it (docs/templates.md).
bool ambiguous(const CallForm& form, const Call& call) {
  if (form.kind != CallForm::Kind::kTagged) return false;
  for (const auto& [key, value] : call.arguments.items()) {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (!form.item.empty() && text.find(form.key_open) != std::string::npos) return true;
    if (form.cdata && text.find("<![CDATA[") != std::string::npos) return true;
    if (form.cdata && text.find("]]>") != std::string::npos) return true;
    const std::string mark(trimmed(form.close_of(key)));
    for (size_t at = 0; (at = text.find(mark, at)) != std::string::npos; ++at) {
      const std::string_view rest = trimmed(std::string_view(text).substr(at + mark.size()));
      const std::string_view last = trimmed(form.end.empty() ? form.close : form.end);
      if (rest.empty() || rest.starts_with(trimmed(form.key_open)) || rest.starts_with(last) ||
          trimmed(form.key_open).starts_with(rest) || last.starts_with(rest))
        return true;
    }
  }
  return false;
}

/// A form with its marks as tokens, or as text.
struct Model {
  Tokenizer tokenizer;
  ChatMarks marks;
  Model(const CallForm& form, bool tokens) : tokenizer(byte_tokenizer(specials(form, tokens))) {
    marks.calls = for_tokenizer(form, tokenizer);
    marks.trim = form.name != "pangu";
    marks.think_open_text = "<think>", marks.think_close_text = "</think>";
    marks.turn_closes = {*tokenizer.id("<|im_end|>")};
    if (!tokens) return;
    marks.think_open = *tokenizer.id("<think>");
    marks.think_close = *tokenizer.id("</think>");
  }
  static std::vector<std::string> specials(const CallForm& form, bool tokens) {
    std::vector<std::string> found = {"<|im_end|>"};
    if (!tokens) return found;
    found.insert(found.end(), {"<think>", "</think>"});
    for (const std::string* text : {&form.open, &form.close, &form.begin, &form.middle, &form.end,
                                    &form.other_open, &form.quote})
      for (size_t at = 0; (at = text->find_first_of("<[", at)) != std::string::npos;) {
        const size_t end = text->find((*text)[at] == '<' ? '>' : ']', at);
        if (end == std::string::npos) break;
        const std::string token = text->substr(at, end + 1 - at);
        if (std::find(found.begin(), found.end(), token) == found.end()) found.push_back(token);
        at = end + 1;
      }
    return found;
  }
  std::vector<int32_t> ids(const std::string& text) const {
    return tokenizer.encode(text, {.parse_special = true});
  }
};

AnswerOptions options() {
  return {.tools = true, .known = tools()};
}

/// What a client has at the end; every delta is whole characters, every call is told in order.
struct Answer {
  std::string reasoning, content;
  std::vector<ToolCallDelta> calls;
  bool called = false;
  std::string shown() const {
    std::string text = reasoning + "|" + content;
    for (const ToolCallDelta& call : calls)
      text += "|" + call.name + call.arguments + (call.complete ? "" : "…");
    return text;
  }
};

Answer run(const Model& model, const std::vector<int32_t>& ids, AnswerOptions given = options()) {
  AnswerStream stream(model.tokenizer, model.marks, {}, std::move(given));
  AnswerDelta all;
  for (const int32_t id : ids) {
    if (stream.stopped()) break;
    AnswerDelta delta = stream.push(id);
    EXPECT_EQ(nlohmann::json(delta.content).dump().empty(), false);  // throws unless UTF-8
    all.append(std::move(delta));
  }
  if (!stream.stopped()) all.append(stream.finish());
  return {all.reasoning, all.content, all.calls, stream.called()};
}
Answer run(const Model& model, const std::string& text) {
  return run(model, model.ids(text));
}

class EachForm : public testing::TestWithParam<std::tuple<size_t, bool>> {
 protected:
  const CallForm& form() const { return call_forms()[std::get<0>(GetParam())]; }
  bool tokens() const { return std::get<1>(GetParam()); }
  Model model() const { return {form(), tokens()}; }
};

void expect_calls(const Answer& answer, const std::vector<Call>& calls, const std::string& text) {
  ASSERT_EQ(answer.calls.size(), calls.size()) << text << "\n" << answer.shown();
  for (size_t i = 0; i < calls.size(); ++i) {
    EXPECT_EQ(answer.calls[i].name, calls[i].name);
    EXPECT_TRUE(answer.calls[i].complete) << text;
    const Json arguments = Json::parse(answer.calls[i].arguments, nullptr, false);
    EXPECT_EQ(arguments, Json(calls[i].arguments)) << text << "\n" << answer.calls[i].arguments;
  }
  EXPECT_TRUE(answer.called);
}

TEST_P(EachForm, AnyArgumentsSurvive) {
  const Model m = model();
  Random random(7);
  for (int round = 0; round < 150; ++round) {
    std::vector<Call> calls = {random.call()};
    if (round % 3 == 0) calls.push_back(random.call());
    if (std::any_of(calls.begin(), calls.end(),
                    [&](const Call& call) { return ambiguous(form(), call); }))
      continue;
    const std::string text = write_calls(form(), calls);
    const Answer answer = run(m, text);
    expect_calls(answer, calls, text);
    EXPECT_EQ(answer.content, "") << text;
    if (HasFailure()) return;
  }
}

TEST_P(EachForm, TextThatIsNoCallComesOutByteForByte) {
  const Model m = model();
  Random random(11);
  for (int round = 0; round < 400; ++round) {
    std::string text;
    for (int n = 0; n < 4; ++n) text += random.text();
    if (trimmed(text).starts_with("<think>") || trimmed(text).starts_with("</think>")) continue;
    const Answer answer = run(m, text);
    if (!answer.calls.empty()) continue;
    EXPECT_EQ(answer.content, text);
    EXPECT_EQ(answer.reasoning, "");
    EXPECT_FALSE(answer.called);
    if (HasFailure()) return;
  }
  const std::string opener = std::string(form().opener());
  std::string half = opener.substr(0, opener.size() / 2);
  while (!is_utf8(half)) half.pop_back();
  for (const std::string& text :
       {"Use " + opener + " tags like so.", opener, opener + opener, "a\n" + opener + "\n\nb\n",
        "```xml\n" + write_calls(form(), {{Call{"look", {{"text", "x"}}}}}) + "\n```\n",
        "`" + opener + "` and `" + form().close + "`", half})
    EXPECT_EQ(run(m, text).shown(), "|" + text);
  const std::string call = write_calls(form(), {{Call{"look", {{"text", "x"}}}}});
  EXPECT_EQ(run(m, "<think>" + call + "</think>yes").shown(), call + "|yes");
  // A mark that opens a block of code opens one where it is none of a call.
  if (form().bare() || opener.find("```") != std::string::npos) return;
  EXPECT_EQ(run(m, opener + " is no call. " + call).shown(),
            "|" + opener + " is no call. |look{\"text\": \"x\"}");
}

TEST_P(EachForm, WhatIsCutOffIsNotComplete) {
  const Model m = model();
  const std::vector<Call> calls = {{"look", {{"text", "a } \n<b> \"c\" é"}, {"count", 12}}},
                                   {"look", {{"text", ""}, {"tree", {{"x", {1, 2}}}}}}};
  const std::string text = (form().bare() ? "" : "So: ") + write_calls(form(), calls);
  const std::vector<int32_t> ids = m.ids(text);
  for (size_t n = 0; n < ids.size(); ++n) {
    const Answer answer =
        run(m, std::vector<int32_t>(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(n)));
    for (size_t i = 0; i < answer.calls.size(); ++i) {
      const Json arguments = Json::parse(answer.calls[i].arguments, nullptr, false);
      EXPECT_EQ(answer.calls[i].complete, !arguments.is_discarded()) << answer.shown();
      if (answer.calls[i].complete) {
        EXPECT_EQ(arguments, Json(calls[i].arguments));
      }
    }
    const bool whole = !answer.calls.empty() && answer.calls.back().complete;
    EXPECT_EQ(answer.called, whole);
    if (HasFailure()) return;
  }
}

TEST_P(EachForm, StreamsEqualWholeAnswers) {
  const Model m = model();
  Random random(3);
  for (int round = 0; round < 60; ++round) {
    const std::string text = random.text() + write_calls(form(), {{random.call()}}) + random.text();
    CallReader::State state[2];
    std::vector<ToolCallDelta> out[2];
    std::string rest[2];
    // The reader by itself, as text: in one piece, and in random ones.
    const size_t at = text.find(form().opener());
    if (at == std::string::npos) continue;
    const std::string behind = text.substr(at + form().opener().size());
    const std::vector<Tool> known = tools();
    for (const bool whole : {true, false}) {
      const auto reader = CallReader::make(form(), known);
      state[whole] = CallReader::State::kReading;
      for (size_t i = 0; i < behind.size() && state[whole] == CallReader::State::kReading;) {
        size_t size = whole ? behind.size() : 1 + random.below(5);
        while (i + size < behind.size() && (behind[i + size] & 0xC0) == 0x80) ++size;
        std::vector<ToolCallDelta> deltas;
        state[whole] = reader->push(std::string_view(behind).substr(i, size), deltas);
        AnswerDelta all{{}, {}, out[whole]};
        all.append({{}, {}, deltas});
        out[whole] = all.calls;
        i += std::min(size, behind.size() - i);
        rest[whole] = std::string(reader->rest()) + behind.substr(i);
      }
    }
    ASSERT_EQ(state[0], state[1]) << text;
    ASSERT_EQ(rest[0], rest[1]) << text;
    ASSERT_EQ((Answer{{}, {}, out[0]}.shown()), (Answer{{}, {}, out[1]}.shown())) << text;
  }
}

/// Follows a constraint over tokens; where it stops.
size_t allowed(const Model& m, std::unique_ptr<Constraint> constraint, const std::string& text) {
  const std::vector<int32_t> ids = m.ids(text);
  for (size_t n = 0; n < ids.size(); ++n) {
    std::vector<float> logits(static_cast<size_t>(m.tokenizer.vocab_size()), 0.0f);
    constraint->mask(logits);
    if (std::isinf(logits[static_cast<size_t>(ids[n])])) return n;
    constraint->accept(ids[n]);
  }
  return std::string::npos;
}

TEST_P(EachForm, RequiredCallsAreWrittenAsTheyAreRead) {
  const Model m = model();
  Formats formats(m.tokenizer, m.marks, {m.marks.turn_closes[0]});
  ChatRequest request;
  request.tools = tools();
  request.tool_choice.kind = ToolChoice::kRequired;
  // In the order of the schema, or of the names.
  OrderedJson arguments = {{"text", "a \"b\" é\nc <"}, {"count", 12}};
  if (form().sorted) arguments = {{"count", 12}, {"text", arguments["text"]}};
  const std::vector<Call> one = {{"look", arguments}},
                          two = {one[0], {"wait_for.it", OrderedJson::object()}};
  const std::string end = "<|im_end|>", text = write_calls(form(), one, "000000000");
  EXPECT_EQ(allowed(m, formats.of_chat(request), text + end), std::string::npos) << text;
  for (const char* id : {"a1B2c3D4e", "7", "call_9.x-1:2"}) {
    std::string other = write_calls(form(), one, id);
    EXPECT_EQ(allowed(m, formats.of_chat(request), other + end), std::string::npos) << other;
    const bool behind = form().kind == CallForm::Kind::kObject && form().list;
    if (!behind || !form().id_key.empty()) continue;
    other.insert(other.rfind('}'), fmt::format(R"(, "id": "{}")", id));  // as Mistral Nemo's
    EXPECT_EQ(allowed(m, formats.of_chat(request), other + end), std::string::npos) << other;
  }
  const size_t before_end = m.ids(text).size();
  for (size_t n = 1; n < before_end; n += 3) {  // it cannot end before
    const std::vector<int32_t> ids = m.ids(text);
    const std::string cut =
        m.tokenizer.decode({ids.begin(), ids.begin() + static_cast<ptrdiff_t>(n)}, false);
    if (m.ids(cut) != std::vector<int32_t>(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(n)))
      continue;
    EXPECT_EQ(allowed(m, formats.of_chat(request), cut + end), n) << cut;
  }
  EXPECT_NE(allowed(m, formats.of_chat(request), "yes"), std::string::npos);
  const std::string both = write_calls(form(), two, "000000000");
  if (!form().bare()) {
    EXPECT_EQ(allowed(m, formats.of_chat(request), both + end), std::string::npos) << both;
  }
  request.parallel_tool_calls = false;
  EXPECT_NE(allowed(m, formats.of_chat(request), both + end), std::string::npos) << both;
  request.tool_choice = {ToolChoice::kNamed, "wait_for.it"};
  EXPECT_NE(allowed(m, formats.of_chat(request), text), std::string::npos) << text;
}

/// Whatever the constraint lets a model write that writes at random is a call in the end.
TEST_P(EachForm, WhatAConstraintAllowsIsRead) {
  const Model m = model();
  Formats formats(m.tokenizer, m.marks, {m.marks.turn_closes[0]});
  ChatRequest request;
  request.tools = tools();
  request.tool_choice.kind = ToolChoice::kRequired;
  std::mt19937 random(5);
  int ended = 0;
  for (int round = 0; round < 12; ++round) {
    const auto constraint = formats.of_chat(request);
    const std::string goal = write_calls(form(), {{Call{"look", {{"text", "x"}}}}}, "000000000");
    std::vector<int32_t> ids;
    const std::vector<int32_t> wish = m.ids(goal + "<|im_end|>");
    size_t at = 0;
    for (int n = 0; n < 400; ++n) {
      std::vector<float> logits(static_cast<size_t>(m.tokenizer.vocab_size()), 0.0f);
      constraint->mask(logits);
      std::vector<int32_t> may;
      for (size_t id = 0; id < logits.size(); ++id)
        if (!std::isinf(logits[id])) may.push_back(static_cast<int32_t>(id));
      ASSERT_FALSE(may.empty());
      // Mostly along what it is meant to write, with other bytes thrown in.
      const bool follows =
          at < wish.size() && std::find(may.begin(), may.end(), wish[at]) != may.end();
      int32_t id = may[random() % may.size()];
      if (follows && random() % 12 != 0) id = wish[at++];
      if (id == m.marks.turn_closes[0]) break;
      ids.push_back(id);
      constraint->accept(id);
      if (n + 1 == 400) ids.clear();
    }
    if (ids.empty()) continue;
    const Answer answer = run(m, ids);
    EXPECT_TRUE(answer.called) << m.tokenizer.decode(ids, false) << "\n" << answer.shown();
    EXPECT_EQ(answer.content, "");
    for (const ToolCallDelta& call : answer.calls)
      EXPECT_TRUE(Json::accept(call.arguments)) << call.arguments;
    ++ended;
  }
  EXPECT_GT(ended, 0);
}

INSTANTIATE_TEST_SUITE_P(Calls, EachForm,
                         testing::Combine(testing::Range<size_t>(0, call_forms().size()),
                                          testing::Bool()),
                         [](const auto& info) {
                           std::string name = call_forms()[std::get<0>(info.param)].name;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return !std::isalnum(c); },
                               '_');
                           return name + (std::get<1>(info.param) ? "_tokens" : "_text");
                         });

std::string form_of(const std::string& source) {
  static const Tokenizer tokenizer = byte_tokenizer({"<|im_end|>"});
  const ChatTemplate chat_template = ChatTemplate::from_source(source, "template", tokenizer);
  return find_call_form(chat_template).name;
}

TEST(CallForms, AreFoundInWhatATemplateWrites) {
  EXPECT_EQ(form_of(kQwenTemplate), "hermes");
  EXPECT_EQ(form_of(kDeepSeekTemplate), "deepseek");
  EXPECT_EQ(form_of(kLlamaTemplate), "llama");
  EXPECT_EQ(form_of(kChatMlTemplate), "hermes");  // it knows no tools, and is told this form
  const std::string
      loop = "{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}",
      name = "{{ c.function.name }}", end = "{% endfor %}{% endfor %}";
  // Marks that are put together, and white space that differs.
  EXPECT_EQ(form_of(loop +
                    "{{ '<' ~ 'tool_call' ~ '>' }}{{ {'name': c.function.name, 'arguments': "
                    "c.function.arguments}|tojson(indent=2) }}</tool_call>" +
                    end),
            "hermes");
  EXPECT_EQ(form_of(loop + "<tool_call><function=" + name +
                    ">{% for k, v in c.function.arguments.items() %}<parameter={{ k }}>{{ v }}"
                    "</parameter>{% endfor %}</function></tool_call>" +
                    end),
            "qwen-coder");
  EXPECT_EQ(form_of(loop + "<tool_call>" + name +
                    "{% for k, v in c.function.arguments.items() %}<arg_key>{{ k }}</arg_key>"
                    "<arg_value>{{ v }}</arg_value>{% endfor %}</tool_call>" +
                    end),
            "glm-4.7");
  // A form that nobody knows, with and without tools in the template.
  const std::string odd = loop + "<<" + name + ">>{{ c.function.arguments|tojson }}" + end;
  EXPECT_EQ(form_of(odd), "");
  EXPECT_EQ(form_of("{{ tools }}"), "");
}

/// The collection of templates that llama.cpp keeps for its tests, where somebody has it.
TEST(CallForms, OfPublishedTemplates) {
  const char* given = std::getenv("UM_CHAT_TEMPLATES");
  const std::filesystem::path folder =
      given != nullptr ? given : std::string(UM_SOURCE_DIR) + "/../ref/llama.cpp/models/templates";
  if (!std::filesystem::is_directory(folder))
    GTEST_SKIP() << "UM_CHAT_TEMPLATES names no folder of chat templates";
  const std::vector<std::pair<const char*, const char*>> expected = {
      {"ByteDance-Seed-OSS", "seed"},
      {"CohereForAI-c4ai-command-r7b-12-2024-tool_use", "command"},
      {"GLM-4.6", "glm"},
      {"GLM-4.7-Flash", "glm-4.7"},
      {"GigaChat3.1-10B-A1.8B", "gigachat"},
      {"Kimi-K2-Instruct", "kimi-k2"},
      {"CohereForAI-c4ai-command-r-plus-tool_use", "command-r"},
      {"LFM2-8B-A1B", ""},
      {"LFM2.5-8B-A1B", "lfm2"},
      {"Kimi-K3", ""},
      {"MiniMax-M3", "minimax-m3"},
      {"meetkai-functionary-medium-v3.2", ""},
      {"MiniMax-M1", "minimax-m1"},
      {"MiniMax-M2", "minimax-m2"},
      {"Mistral-Small-3.2-24B-Instruct-2506", "mistral-v11-id"},
      {"NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "qwen-coder"},
      {"NVIDIA-Nemotron-Nano-v2", "nemotron"},
      {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "hermes"},
      {"Qwen-QwQ-32B", "hermes"},
      {"Qwen-Qwen2.5-7B-Instruct", "hermes"},
      {"Qwen-Qwen3-0.6B", "hermes"},
      {"Qwen3-Coder", "qwen-coder"},
      {"Qwen3.5-4B", "qwen-coder"},
      {"StepFun3.5-Flash", "qwen-coder"},
      {"Apertus-8B-Instruct", "apertus"},
      {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek"},
      {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek"},
      {"deepseek-ai-DeepSeek-V3.1", "deepseek-v3.1"},
      {"deepseek-ai-DeepSeek-V3.2", "deepseek-v3.2"},
      {"deepseek-ai-DeepSeek-V4", "deepseek-v4"},
      {"google-gemma-4-31B-it", "gemma-4"},
      {"google-gemma-4-31B-it-interleaved", "gemma-4"},
      {"ibm-granite-granite-4.0", "hermes"},
      {"meetkai-functionary-medium-v3.1", "functionary"},
      {"meta-llama-Llama-3.1-8B-Instruct", "llama"},
      {"meta-llama-Llama-3.3-70B-Instruct", "llama"},
      {"microsoft-Phi-3.5-mini-instruct", "hermes"},
      {"mistralai-Ministral-3-14B-Reasoning-2512", "mistral-v11"},
      {"mistralai-Mistral-Nemo-Instruct-2407", "mistral"},
      {"moonshotai-Kimi-K2", "kimi-k2"},
      {"openai-gpt-oss-120b", ""},
      {"openbmb-MiniCPM5-1B", "minicpm"},
      {"poolside-Laguna-XS.2", "glm"},
      {"tencent-Hy3", "hunyuan"},
      {"unsloth-Apriel-1.5", "apriel"},
      {"upstage-Solar-Open-100B", "solar"}};
  for (const auto& [name, form] : expected) {
    std::ifstream file(folder / (std::string(name) + ".jinja"));
    std::stringstream source;
    source << file.rdbuf();
    if (!source.str().empty()) {
      EXPECT_EQ(form_of(source.str()), form) << name;
    }
  }
}

/// What models write in the forms whose values are no JSON.
TEST(CallForms, LiteralsOfPrograms) {
  const auto read = [](const char* name, const std::string& arguments) {
    const CallForm& form = call_form_named(name);
    const std::string text = form.open + (form.list ? "[" : "") + form.begin + "look" +
                             form.middle + arguments + form.end + (form.list ? "]" : "") +
                             form.close;
    return run(Model(form, true), text).shown();
  };
  const auto python = [&](const std::string& text) { return read("lfm2", text); };
  EXPECT_EQ(python(""), "||look{}");
  EXPECT_EQ(python("text='it\\'s', count = 3"), R"(||look{"text": "it's", "count": 3})");
  EXPECT_EQ(python("text='it's (fine)'"), R"_(||look{"text": "it's (fine)"})_");
  EXPECT_EQ(python(R"(text="a\tb\n\x41\u00e9\U0001F600\ud83d\ude00\q")"),
            "||look{\"text\": \"a\\tb\\nAé😀😀\\\\q\"}");
  EXPECT_EQ(python("flag=True, ratio=None, list=[1, 'b', (False, -2.5e3,), {}]"),
            R"(||look{"flag": true, "ratio": null, "list": [1, "b", [false, -2.5e3], {}]})");
  EXPECT_EQ(python(R"_(tree={'a': {"b": [true, null]}, 'c': "d)"},)_"),
            R"_(||look{"tree": {"a": {"b": [true, null]}, "c": "d)"}})_");
  for (const char* none : {"text", "text=", "text=b", "text=print(1)", "=3", "a b", "text=[1",
                           "text='a", "count=1 2", "**{'a': 1}"}) {
    const std::string shown = python(none);
    EXPECT_TRUE(shown.find("|look{") == std::string::npos || shown.ends_with("…"))
        << none << ": " << shown;
  }
  // As ast.literal_eval of Python reads them.
  for (const auto& [text, json] : std::vector<std::pair<std::string, std::string>>{
           {"'''tri'ple'''", R"("tri'ple")"},
           {"\"\"\"a'), b=\"c\"\n\"\"\"", R"("a'), b=\"c\"\n")"},
           {"'a' 'b'", R"("ab")"},
           {"'a' \"b\"", R"("ab")"},
           {"('a'\n 'b')", R"("ab")"},
           {R"(r'\d')", R"("\\d")"},
           {R"(u'\101\n')", R"("A\n")"},
           {"(1, 2)", "[1, 2]"},
           {"(1)", "1"},
           {"(1,)", "[1]"},
           {"()", "[]"},
           {"['a', 'b',]", R"(["a", "b"])"},
           {"{'k': (1, 2),}", R"({"k": [1, 2]})"},
           {"{1: 'a', None: .5}", R"({"1": "a", "null": 0.5})"},
           {"-1e3", "-1e3"},
           {"0x1f", "31"},
           {"-0b11", "-3"},
           {"1_000", "1000"},
           {"1.", "1.0"},
           {"+1_0.2_5E+0_2", "10.25e+02"},
           {R"(['a' 'b', r'\\'])", R"(["ab", "\\\\"])"}})
    EXPECT_EQ(python("text=" + text + ", count=3"), "||look{\"text\": " + json + ", \"count\": 3}");
  // Quotes without a backslash.
  for (const auto& [text, json] : std::vector<std::pair<std::string, std::string>>{
           {"'print({'a': 1})'", R"_("print({'a': 1})")_"},
           {"'say 'x' now'", R"("say 'x' now")"},
           {"'a {'b'} c'", R"("a {'b'} c")"},
           {"'f('x')'", R"_("f('x')")_"},
           {"'l = ['x', 'y']'", R"("l = ['x', 'y']")"},
           {"{'k': 'it's'}", R"({"k": "it's"})"}})
    EXPECT_EQ(python("text=" + text + ", count=3"), "||look{\"text\": " + json + ", \"count\": 3}");
  const auto gemma = [&](const std::string& text) { return read("gemma-4", text); };
  EXPECT_EQ(gemma(R"(count:3,text:<|"|>a "b", {c}<|"|>)"),
            R"(||look{"count": 3, "text": "a \"b\", {c}"})");
  EXPECT_EQ(gemma(R"(list:[<|"|>x<|"|>,1,[]],tree:{a:{b:<|"|><|"|>},<|"|>c d<|"|>:true})"),
            R"(||look{"list": ["x", 1, []], "tree": {"a": {"b": ""}, "c d": true}})");
  EXPECT_EQ(gemma(R"(text: "json" , flag : false)"), R"(||look{"text": "json", "flag": false})");
}

/// `tokens`: the marks are tokens, or text.
void expect_values_in_values(bool tokens) {
  const Model m(call_form_named("minimax-m3"), tokens);
  const auto read = [&](const std::string& schema, std::string value) {
    AnswerOptions given = options();
    given.known = {{"f", "", R"({"properties":{"k":)" + schema + "}}"}};
    const std::string ns = "]<]minimax[>[";
    for (size_t at = 0; (at = value.find('<', at)) != std::string::npos; at += ns.size() + 1)
      value.insert(at, ns);
    const Answer answer = run(m,
                              m.ids(ns + "<tool_call>\n" + ns + "<invoke name=\"f\">" + ns + "<k>" +
                                    value + ns + "</k>" + ns + "</invoke>\n" + ns + "</tool_call>"),
                              given);
    return answer.calls.empty() ? std::string() : answer.calls[0].arguments;
  };
  EXPECT_EQ(read(R"({"type":"string"})", "7"), R"({"k": "7"})");
  EXPECT_EQ(read(R"({"type":"integer"})", "7"), R"({"k": 7})");
  EXPECT_EQ(read(R"({"type":"array","items":{"type":"string"}})", "<item>7</item><item>a</item>"),
            R"({"k": ["7", "a"]})");
  EXPECT_EQ(read("{}", "<a>7</a><b><item>true</item><item>x</item></b>"),
            R"({"k": {"a": 7, "b": [true, "x"]}})");
  EXPECT_EQ(read(R"({"type":"object","properties":{"a":{"type":"string"},"k":{"type":"object",)"
                 R"("additionalProperties":{"type":"string"}}}})",
                 "<a>7</a><k><k>8</k></k>"),
            R"({"k": {"a": "7", "k": {"k": "8"}}})");
  EXPECT_EQ(read(R"({"type":"array"})", "[1, {\"a\": 2}]"), R"({"k": [1, {"a": 2}]})");
  EXPECT_EQ(read(R"({"type":"array"})", ""), R"({"k": []})");
  EXPECT_EQ(read(R"({"type":"object"})", ""), R"({"k": {}})");
  EXPECT_EQ(read(R"({"type":"string"})", ""), R"({"k": ""})");
}

TEST(CallForms, ValuesBetweenMarksInValues) {
  for (const bool tokens : {true, false}) expect_values_in_values(tokens);
}

/// A form, and a request in which a tool of it must be called.
struct RequiredCall {
  explicit RequiredCall(const char* name) : form(call_form_named(name)) {
    request.tool_choice.kind = ToolChoice::kRequired;
  }
  /// Whether the answer may be this text for a tool `f` with these parameters.
  bool fits(const std::string& parameters, const std::string& text) {
    request.tools = {{"f", "", parameters}};
    return allowed(m, formats.of_chat(request), text + "<|im_end|>") == std::string::npos;
  }
  const CallForm& form;
  Model m{form, true};
  Formats formats{m.tokenizer, m.marks, {m.marks.turn_closes[0]}};
  ChatRequest request = {};
};

/// A constraint that was compiled for other arguments of a tool of the same name is not reused.
TEST(CallForms, EveryRequestHasItsOwnConstraint) {
  RequiredCall call("qwen-coder");
  for (const char* name : {"first", "second"}) {
    const std::string parameters = R"({"type":"object","properties":{")" + std::string(name) +
                                   R"(":{"type":"integer"}},"required":[")" + name + R"("]})";
    const std::string text = write_calls(call.form, {{Call{"f", {{name, 1}}}}});
    EXPECT_TRUE(call.fits(parameters, text)) << text;
  }
}

TEST(CallForms, TextsWithoutQuotesMeetTheirSchema) {
  struct Case {
    const char* schema;
    std::vector<const char*> right, wrong;
  };
  const std::vector<Case> cases = {
      {R"({"type":"string"})", {"", "x\ny", "{"}, {}},
      {R"({"const":"a"})", {"a"}, {"", "b", "aa"}},
      {R"({"enum":["","a b"]})", {"", "a b"}, {"a"}},
      {R"({"anyOf":[{"const":"aa"},{"const":"bb"}]})", {"aa", "bb"}, {"ab", ""}},
      {R"({"$ref":"#/$defs/E"})", {"x", "z"}, {"y", ""}},
      {R"({"allOf":[{"$ref":"#/$defs/E"}],"not":{"const":"z"}})", {"x"}, {"z"}},
      {R"({"type":"string","pattern":"^[0-9]+$"})", {"12"}, {"1a", ""}},
      {R"({"type":"string","minLength":2,"maxLength":3})", {"ab", "a\nb"}, {"a", "abcd"}},
      {R"({"type":"string","format":"date"})", {"2026-11-30"}, {"2026-11-31", "today"}},
  };
  const std::vector<Case> others = {
      {R"({"anyOf":[{"$ref":"#/$defs/E"},{"type":"null"}]})", {"x", "null", "None"}, {"y", "true"}},
      {R"({"type":"boolean"})", {"true", "False"}, {"yes", "None"}},
      {R"({"enum":["a",7,true]})", {"a", "7", "True"}, {"8", "False"}},
  };
  const auto check = [](const char* name, const std::vector<Case>& list) {
    RequiredCall call(name);
    for (const auto& [schema, right, wrong] : list) {
      const std::string parameters = R"({"type":"object","properties":{"k":)" +
                                     std::string(schema) +
                                     R"(},"required":["k"],"$defs":{"E":{"enum":["x","z"]}}})";
      const auto fits = [&](const char* value) {
        return call.fits(parameters, write_calls(call.form, {{Call{"f", {{"k", value}}}}}));
      };
      for (const char* value : right) EXPECT_TRUE(fits(value)) << name << schema << value;
      for (const char* value : wrong) EXPECT_FALSE(fits(value)) << name << schema << value;
    }
  };
  for (const char* name : {"qwen-coder", "glm-4.7", "gemma-4"}) check(name, cases);
  for (const char* name : {"qwen-coder", "glm-4.7"}) check(name, others);
}

/// Gemma's template shows tools and writes calls in the order of the names.
TEST(CallForms, ArgumentsStandInTheOrderOfTheirTemplate) {
  RequiredCall call("gemma-4");
  const auto fits = [&](const std::string& arguments) {
    return call.fits(
        R"({"type":"object","properties":{"b":{"type":"integer"},"A":{"type":"object",)"
        R"("properties":{"d":{"type":"integer"},"c":{"type":"integer"}}}}})",
        "<|tool_call>call:f{" + arguments + "}<tool_call|>");
  };
  EXPECT_TRUE(fits(R"(A:{"c": 1, "d": 2},b:3)"));
  EXPECT_FALSE(fits(R"(A:{"d": 2, "c": 1},b:3)"));
  EXPECT_FALSE(fits(R"(b:3,A:{"c": 1, "d": 2})"));
}

TEST(CallForms, ArgumentsHaveTheTypesOfTheirSchema) {
  const Model m(call_form_named("qwen-coder"), true);
  const auto read = [&](const std::string& schema, const std::string& value) {
    AnswerOptions given = options();
    given.known = {{"f", "", R"({"properties":{"k":)" + schema + "}}"}};
    const Answer answer = run(m,
                              m.ids("<tool_call>\n<function=f>\n<parameter=k>\n" + value +
                                    "\n</parameter>\n</function>\n</tool_call>"),
                              given);
    return answer.calls.empty() ? std::string() : answer.calls[0].arguments;
  };
  EXPECT_EQ(read(R"({"type":"string"})", "7"), R"({"k": "7"})");
  EXPECT_EQ(read(R"({"type":"string"})", ""), R"({"k": ""})");
  EXPECT_EQ(read(R"({"type":"integer"})", "7"), R"({"k": 7})");
  EXPECT_EQ(read(R"({"type":"integer"})", "seven"), R"({"k": "seven"})");
  EXPECT_EQ(read(R"({"type":"boolean"})", "True"), R"({"k": true})");
  EXPECT_EQ(read(R"({"anyOf":[{"type":"string"},{"type":"null"}]})", "None"), R"({"k": null})");
  EXPECT_EQ(read(R"({"anyOf":[{"type":"string"},{"type":"null"}]})", "7"), R"({"k": "7"})");
  EXPECT_EQ(read(R"({"enum":["1","2"]})", "1"), R"({"k": "1"})");
  EXPECT_EQ(read(R"({"type":"array"})", "[1, {\"a\": 2}]"), R"({"k": [1, {"a": 2}]})");
  EXPECT_EQ(read("{}", "{\"a\": 2}"), R"({"k": {"a": 2}})");
  // As Python's str() writes it, and only where no text may be.
  EXPECT_EQ(read(R"({"type":"object"})", "{'a': [1, {'b': None}], 'c d': '}'}"),
            R"({"k": {"a": [1, {"b": null}], "c d": "}"}})");
  EXPECT_EQ(read(R"({"type":["array","null"]})", R"(['x', '', "it's", (1,)])"),
            R"({"k": ["x", "", "it's", [1]]})");
  EXPECT_EQ(read(R"({"type":["string","array"]})", "['x']"), R"({"k": "['x']"})");
  EXPECT_EQ(read(R"({"type":"integer"})", "['x']"), R"({"k": "['x']"})");
  EXPECT_EQ(read("{}", "\"quoted\""), R"({"k": "\"quoted\""})");
}

}  // namespace
}  // namespace um
