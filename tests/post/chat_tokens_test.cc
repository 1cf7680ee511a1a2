// The loss mask: of every template the model's own tokens, and no others, against spans that are
// written out here; whatever the texts say.
#include "post/chat_tokens.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "core/error.h"
#include "core/files.h"
#include "server/prompt.h"
#include "tests/text/byte_tokenizer_util.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {
namespace {

/// A template as people write them: what stands around a turn of each role.
struct Form {
  std::string name, source;  ///< an empty source: the built-in one
  std::vector<std::string> specials = {};
  std::string bos = {}, user = {}, user_end = {}, assistant = {}, end = {}, tail = {};
  std::string system = {}, system_end = {};  ///< empty: system turns are not tried
  bool appended = false;  ///< the template ends no turn: the last answer ends as texts do
};

/// A template that writes each turn between two texts.
Form turns(const std::string& name, std::vector<std::string> specials, const std::string& user,
           const std::string& user_end, const std::string& assistant, const std::string& end,
           const std::string& tail) {
  const std::string source =
      "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}" + user + "{{ m.content }}" +
      user_end + "{% else %}" + assistant + "{{ m.content }}" + end + tail +
      "{% endif %}{% endfor %}{% if add_generation_prompt %}" + assistant + "{% endif %}";
  return {name, source, std::move(specials), "<s>", user, user_end, assistant, end, tail};
}

std::vector<Form> forms() {
  std::vector<Form> all = {
      turns("zephyr", {"<|user|>", "<|assistant|>"}, "<|user|>\n", "</s>\n", "<|assistant|>\n",
            "</s>", "\n"),
      turns("llama2", {}, "[INST] ", " [/INST]", " ", "</s>", "<s>"),
      turns("mistral", {"[INST]", "[/INST]"}, "[INST]", "[/INST]", "", "</s>", ""),
      turns("vicuna", {}, "USER: ", "\n", "ASSISTANT: ", "</s>", "\n"),
      turns("gemma", {"<start_of_turn>", "<end_of_turn>"}, "<start_of_turn>user\n",
            "<end_of_turn>\n", "<start_of_turn>model\n", "<end_of_turn>", "\n"),
      turns("phi", {"<|user|>", "<|assistant|>", "<|end|>"}, "<|user|>\n", "<|end|>\n",
            "<|assistant|>\n", "<|end|>", "\n"),
      turns("granite", {"<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"},
            "<|start_of_role|>user<|end_of_role|>", "<|end_of_text|>\n",
            "<|start_of_role|>assistant<|end_of_role|>", "<|end_of_text|>", "\n"),
      turns("cohere", {"<|U|>", "<|C|>", "<|END_OF_TURN_TOKEN|>"}, "<|U|>", "<|END_OF_TURN_TOKEN|>",
            "<|C|>", "<|END_OF_TURN_TOKEN|>", ""),
      turns("alpaca", {}, "### Instruction:\n", "\n\n", "### Response:\n", "", "\n\n"),
  };
  all.back().appended = true;
  all.push_back({"chatml",
                 "",
                 {"<|im_start|>", "<|im_end|>"},
                 "",
                 "<|im_start|>user\n",
                 "<|im_end|>\n",
                 "<|im_start|>assistant\n",
                 "<|im_end|>",
                 "\n",
                 "<|im_start|>system\n",
                 "<|im_end|>\n"});
  all.push_back({"llama3",
                 "",
                 {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
                 "<s>",
                 "<|start_header_id|>user<|end_header_id|>\n\n",
                 "<|eot_id|>",
                 "<|start_header_id|>assistant<|end_header_id|>\n\n",
                 "<|eot_id|>",
                 "",
                 "<|start_header_id|>system<|end_header_id|>\n\n",
                 "<|eot_id|>"});
  all.push_back({"pangu",
                 "",
                 {"[unused9]", "[unused10]", "[unused16]", "[unused17]"},
                 "<s>",
                 "[unused9]用户：",
                 "[unused10]",
                 "[unused9]助手：",
                 "[unused10]",
                 "",
                 "[unused9]系统：",
                 "[unused10]"});
  return all;
}

Tokenizer tokenizer_of(const Form& form) {
  std::vector<std::string> specials = {"<s>", "</s>"};
  specials.insert(specials.end(), form.specials.begin(), form.specials.end());
  return byte_tokenizer(specials, form.bos.empty()
                                      ? R"({"eos_token": "</s>", "add_bos_token": false})"
                                      : R"({"bos_token": "<s>", "eos_token": "</s>",
                                            "add_bos_token": true})");
}

ChatTokens tokens_of(const Form& form) {
  const Tokenizer tokenizer = tokenizer_of(form);
  ChatTemplate chat = ChatTemplate::from_source(form.source, form.name, tokenizer);
  EXPECT_EQ(chat.fault(), "") << form.name;
  ModelConfig config;
  config.vocab = tokenizer.vocab_size();
  const Ends ends = find_ends(config, tokenizer, {}, &chat);
  return ChatTokens(tokenizer, std::move(chat), ends);
}

/// A sample as text, what is learnt between « and ».
std::string shown(const Tokenizer& tokenizer, const ChatSample& sample) {
  std::string text;
  std::vector<int32_t> run;
  bool learnt = false;
  const auto flush = [&] { text += tokenizer.decode(run, false), run.clear(); };
  for (size_t i = 0; i < sample.tokens.size(); ++i) {
    if ((sample.learnt[i] != 0) != learnt) flush(), text += learnt ? "»" : "«", learnt = !learnt;
    run.push_back(sample.tokens[i]);
  }
  flush();
  return text + (learnt ? "»" : "");
}

struct Said {
  const char* role;
  std::string text;
};
using Talk = std::vector<Said>;

ChatRecord record_of(const Talk& talk) {
  OrderedJson json;
  for (const Said& turn : talk)
    json["messages"].push_back({{"role", turn.role}, {"content", turn.text}});
  return std::get<ChatRecord>(read_record(json));
}

/// What a form writes, with the spans of the answers: built here, not by the template.
std::string expected(const Form& form, const Talk& talk) {
  std::string text = form.bos;
  const bool pangu = form.name == "pangu";
  if (pangu && std::string(talk[0].role) != "system") text += form.system + form.system_end;
  for (size_t i = 0; i < talk.size(); ++i) {
    const std::string role = talk[i].role;
    if (role == "system") text += form.system + talk[i].text + form.system_end;
    if (role == "user") text += form.user + talk[i].text + form.user_end;
    if (role != "assistant") continue;
    const bool last = i + 1 == talk.size();
    if (form.appended)
      text += form.assistant + "«" + talk[i].text + form.tail + (last ? "</s>" : "") + "»";
    else
      text += form.assistant + "«" + talk[i].text + form.end + "»" + (last ? "" : form.tail);
  }
  return text;
}

std::vector<Talk> talks(const Form& form) {
  // Whoever types marks gets their characters, which are no tokens: `x` between them keeps them
  // apart from the template's own in what decode() shows.
  const std::string typed = form.end + "x" + form.assistant + "x" + form.user;
  std::vector<Talk> all = {
      {{"user", "Why?"}, {"assistant", "Because."}},
      {{"user", "a"}, {"assistant", "b"}, {"user", "c"}, {"assistant", "d"}},
      {{"user", typed + "do"}, {"assistant", "No" + typed + "."}},
      {{"user", "naïve 问题 🙂"}, {"assistant", "回答 é\n\n  two  spaces"}},
      {{"user", "one"}, {"assistant", "two"}, {"user", "x" + typed + "z"}, {"assistant", "four"}},
  };
  if (!form.system.empty())
    all.push_back({{"system", "Be brief." + typed + "x"}, {"user", "u"}, {"assistant", "v"}});
  return all;
}

TEST(ChatTokens, LearnsExactlyTheAnswersOfEveryForm) {
  for (const Form& form : forms()) {
    const ChatTokens tokens = tokens_of(form);
    for (const Talk& talk : talks(form)) {
      const auto samples = tokens.samples(record_of(talk));
      ASSERT_EQ(samples.size(), 1u) << form.name;
      EXPECT_EQ(shown(tokens.tokenizer(), samples[0]), expected(form, talk)) << form.name;
      // Marks that somebody typed are no tokens of the template.
      size_t specials = 0, marks = 0;
      for (const int32_t id : samples[0].tokens) specials += tokens.tokenizer().is_special(id);
      Talk quiet = talk;
      for (Said& said : quiet) said.text = "q";
      const auto plain = tokens.samples(record_of(quiet));
      for (const int32_t id : plain[0].tokens) marks += tokens.tokenizer().is_special(id);
      EXPECT_EQ(specials, marks) << form.name;
    }
  }
}

TEST(ChatTokens, TheContextIsThePromptOfTheServer) {
  for (const Form& form : forms()) {
    const ChatTokens tokens = tokens_of(form);
    const auto samples = tokens.samples(record_of({{"user", "Why?"}, {"assistant", "So."}}));
    std::vector<int32_t> prompt;
    for (size_t i = 0; samples[0].learnt[i] == 0; ++i) prompt.push_back(samples[0].tokens[i]);
    EXPECT_EQ(prompt, tokens.ask("Why?")) << form.name;
  }
}

// ---- thinking ----

/// Qwen3's ways: earlier answers lose their thinking, the last one always has a block.
const char* const kDropsThinking =
    "{% set ns = namespace(last=-1) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}"
    "{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.index0 > ns.last %}"
    "<think>\n{{ m.reasoning_content or '' }}\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}";

/// DeepSeek R1's: the prompt opens the thinking, and no history has any.
const char* const kOpensThinking =
    "{% for m in messages %}{% if m.role == 'user' %}<|U|>{{ m.content }}{% else %}"
    "<|A|>{{ m.content.split('</think>')[-1] }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|A|><think>\n{% endif %}";

OrderedJson thinking_talk() {
  return OrderedJson::parse(R"({"messages": [
    {"role": "user", "content": "1+1"},
    {"role": "assistant", "reasoning_content": "one more", "content": "2"},
    {"role": "user", "content": "2+2"},
    {"role": "assistant", "content": "<think>\ntwice</think>\n\n4"}]})");
}

TEST(ChatTokens, AnAnswerIsLearntInTheContextThatTheTemplateGivesIt) {
  const ChatTokens tokens = tokens_of(
      {"drops", kDropsThinking, {"<|im_start|>", "<|im_end|>", "<think>", "</think>"}, ""});
  const auto samples = tokens.samples(read_record(thinking_talk()));
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(shown(tokens.tokenizer(), samples[0]),
            "<|im_start|>user\n1+1<|im_end|>\n<|im_start|>assistant\n"
            "«<think>\none more\n</think>\n\n2<|im_end|>»");
  EXPECT_EQ(shown(tokens.tokenizer(), samples[1]),
            "<|im_start|>user\n1+1<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n"
            "<|im_start|>user\n2+2<|im_end|>\n<|im_start|>assistant\n"
            "«<think>\ntwice\n</think>\n\n4<|im_end|>»");
}

TEST(ChatTokens, ModesChangeThePromptAsInTheServer) {
  const ChatTokens tokens = tokens_of(
      {"drops", kDropsThinking, {"<|im_start|>", "<|im_end|>", "<think>", "</think>"}, ""});
  OrderedJson json = OrderedJson::parse(R"({"mode": "fast", "messages": [
    {"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}]})");
  EXPECT_EQ(shown(tokens.tokenizer(), tokens.samples(read_record(json))[0]),
            "<|im_start|>user\n1+1<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
            "«2<|im_end|>»");
}

TEST(ChatTokens, ThinkingThatTheTemplateLeavesOutIsLearntAllTheSame) {
  const ChatTokens tokens =
      tokens_of({"opens", kOpensThinking, {"<|U|>", "<|A|>", "<think>", "</think>"}, ""});
  const auto samples = tokens.samples(read_record(thinking_talk()));
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(shown(tokens.tokenizer(), samples[0]),
            "<|U|>1+1<|A|><think>\n«one more\n</think>\n\n2</s>»");
  EXPECT_EQ(shown(tokens.tokenizer(), samples[1]),
            "<|U|>1+1<|A|>2</s><|U|>2+2<|A|><think>\n«twice\n</think>\n\n4</s>»");
  const OrderedJson quick = OrderedJson::parse(
      R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})");
  EXPECT_EQ(shown(tokens.tokenizer(), tokens.samples(read_record(quick))[0]),
            "<|U|>q<|A|><think>\n«\n</think>\n\na</s>»");
}

TEST(ChatTokens, ThinkingThatTheAnswerRepeatsIsStillFoundMissing) {
  const ChatTokens tokens =
      tokens_of({"opens", kOpensThinking, {"<|U|>", "<|A|>", "<think>", "</think>"}, ""});
  const OrderedJson json = OrderedJson::parse(R"({"messages": [{"role": "user", "content": "q"},
    {"role": "assistant", "reasoning_content": "89", "content": "it is 89"}]})");
  EXPECT_EQ(shown(tokens.tokenizer(), tokens.samples(read_record(json))[0]),
            "<|U|>q<|A|><think>\n«89\n</think>\n\nit is 89</s>»");
}

TEST(ChatTokens, WhatStandsBehindTheEndOfATurnIsNotLearnt) {
  const ChatTokens tokens =
      tokens_of({"eos",
                 "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
                 "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
                 "{% else %}{{ eos_token }}{% endif %}",
                 {"<|im_start|>", "<|im_end|>"},
                 ""});
  const auto samples = tokens.samples(
      record_of({{"user", "a"}, {"assistant", "b"}, {"user", "c"}, {"assistant", "d"}}));
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_EQ(shown(tokens.tokenizer(), samples[0]),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n«b<|im_end|>»\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n«d<|im_end|>»");
}

TEST(ChatTokens, ThePanguFormHasModesAndThinking) {
  const Tokenizer& tokenizer = tiny_tokenizer();
  ChatTemplate form = ChatTemplate::from_source("", "pangu", tokenizer);
  ASSERT_TRUE(form.is_pangu());
  ModelConfig config;
  config.vocab = tokenizer.vocab_size();
  const Ends ends = find_ends(config, tokenizer, {}, &form);
  const ChatTokens tokens(tokenizer, std::move(form), ends);
  const auto samples = tokens.samples(read_record(thinking_talk()));
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(shown(tokenizer, samples[0]),
            "<s>[unused9]系统：[unused10][unused9]用户：1+1[unused10][unused9]助手："
            "«[unused16]one more[unused17]2[unused10]»");
  EXPECT_EQ(shown(tokenizer, samples[1]),
            "<s>[unused9]系统：[unused10][unused9]用户：1+1[unused10][unused9]助手：2[unused10]"
            "[unused9]用户：2+2[unused10][unused9]助手：«[unused16]twice[unused17]4[unused10]»");
  OrderedJson fast = OrderedJson::parse(R"({"mode": "fast", "messages": [
    {"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}]})");
  EXPECT_EQ(shown(tokenizer, tokens.samples(read_record(fast))[0]),
            "<s>[unused9]系统：[unused10][unused9]用户：1+1 /no_think[unused10][unused9]助手："
            "«2[unused10]»");
}

// ---- tools, choices of answers, other records ----

TEST(ChatTokens, CallsAreLearntAndTheirResultsAreNot) {
  const ChatTokens tokens =
      tokens_of({"chatml", "", {"<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"}, ""});
  const OrderedJson json = OrderedJson::parse(R"({"tools": [{"type": "function", "function":
      {"name": "add", "parameters": {"type": "object"}}}], "messages": [
    {"role": "user", "content": "1+1"},
    {"role": "assistant", "tool_calls": [{"type": "function", "function":
       {"name": "add", "arguments": "{\"a\": 1, \"b\": 1}"}}]},
    {"role": "tool", "content": "2"},
    {"role": "assistant", "content": "It is 2."}]})");
  const auto samples = tokens.samples(read_record(json));
  ASSERT_EQ(samples.size(), 1u);
  const std::string text = shown(tokens.tokenizer(), samples[0]);
  EXPECT_NE(text.find("<|im_start|>assistant\n«<tool_call>\n{\"name\": \"add\", \"arguments\": "
                      "{\"a\": 1, \"b\": 1}}\n</tool_call><|im_end|>»\n"
                      "<|im_start|>user\n<tool_response>\n2\n</tool_response><|im_end|>\n"
                      "<|im_start|>assistant\n«It is 2.<|im_end|>»"),
            std::string::npos)
      << text;
}

TEST(ChatTokens, OnlySomeAnswersAreLearnt) {
  const ChatTokens tokens = tokens_of(forms()[9]);
  const OrderedJson json = OrderedJson::parse(R"({"messages": [
    {"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0},
    {"role": "user", "content": "c"}, {"role": "assistant", "content": "d", "weight": 1}]})");
  EXPECT_EQ(shown(tokens.tokenizer(), tokens.samples(read_record(json))[0]),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n«d<|im_end|>»");
  ChatRecord record =
      record_of({{"user", "a"}, {"assistant", "b"}, {"user", "c"}, {"assistant", "d"}});
  record.keep_last();
  EXPECT_EQ(record.learnt, (std::vector<bool>{false, false, false, true}));
}

TEST(ChatTokens, PlainTextsHaveNoTemplate) {
  const ChatTokens tokens = tokens_of(forms()[0]);
  const auto text = [&](const char* json) {
    return shown(tokens.tokenizer(), tokens.samples(read_record(OrderedJson::parse(json)))[0]);
  };
  EXPECT_EQ(text(R"({"prompt": "2+2=", "completion": "4 <|user|>"})"), "<s>2+2=«4 <|user|></s>»");
  EXPECT_EQ(text(R"({"text": "all"})"), "<s>«all</s>»");
}

TEST(ChatTokens, WhatCannotBeLearntIsAnError) {
  const ChatTokens tokens = tokens_of(forms()[9]);
  const auto fault = [&](const char* json) -> std::string {
    try {
      tokens.samples(read_record(OrderedJson::parse(json)));
    } catch (const std::exception& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_NE(fault(R"({"messages": [{"role": "user", "content": "a"}]})").find("no message of"),
            std::string::npos);
  EXPECT_NE(fault(R"({"messages": [{"role": "assistant", "content": "a"}]})").find("nothing asks"),
            std::string::npos);
  EXPECT_NE(fault(R"({"messages": [{"role": "king", "content": "a"},
                      {"role": "assistant", "content": "a"}]})")
                .find("king"),
            std::string::npos);
  EXPECT_NE(fault(R"({"chosen": "a", "rejected": "b"})").find("\"chosen\", \"rejected\""),
            std::string::npos);
}

// ---- templates of published models ----

TEST(ChatTokens, PublishedTemplatesLearnTheAnswersOnly) {
  const char* folder = std::getenv("UM_TEMPLATES");
  if (folder == nullptr) GTEST_SKIP() << "set UM_TEMPLATES to a folder of chat templates";
  const Tokenizer tokenizer =
      byte_tokenizer({"<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>",
                      "<|end|>", "<|return|>", "<|call|>", "<｜end▁of▁sentence｜>",
                      "<|END_OF_TURN_TOKEN|>", "<think>", "</think>"},
                     R"({"bos_token": "<s>", "eos_token": "</s>"})");
  size_t learnt = 0, refused = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".jinja") continue;
    const std::string name = entry.path().filename().string();
    ChatTemplate form =
        ChatTemplate::from_source(read_file(entry.path(), 1u << 20), name, tokenizer);
    if (!form.fault().empty()) continue;
    ModelConfig config;
    config.vocab = tokenizer.vocab_size();
    const Ends ends = find_ends(config, tokenizer, {}, &form);
    const ChatTokens tokens(tokenizer, std::move(form), ends);
    std::vector<ChatSample> samples;
    try {
      samples = tokens.samples(record_of({{"user", "zqone"},
                                          {"assistant", "zqtwo"},
                                          {"user", "zqthree<|im_end|>"},
                                          {"assistant", "zqfour"}}));
    } catch (const std::exception& error) {
      std::printf("%s: %s\n", name.c_str(), error.what());
      ++refused;
      continue;
    }
    std::string text;
    for (const ChatSample& sample : samples) text += shown(tokenizer, sample);
    std::string answers;
    for (size_t at = text.find("«"); at != std::string::npos; at = text.find("«", at + 1))
      answers += text.substr(at, text.find("»", at) - at) + "|";
    ++learnt;
    EXPECT_NE(answers.find("zqtwo"), std::string::npos) << name << "\n" << text;
    EXPECT_NE(answers.find("zqfour"), std::string::npos) << name << "\n" << text;
    EXPECT_EQ(answers.find("zqone"), std::string::npos) << name << "\n" << text;
    EXPECT_EQ(answers.find("zqthree"), std::string::npos) << name << "\n" << text;
  }
  std::printf("templates whose answers are learnt: %zu, refused: %zu\n", learnt, refused);
  EXPECT_GT(learnt, 10u);
}

}  // namespace
}  // namespace um
