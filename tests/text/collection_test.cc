// A folder of models' chat templates ($UM_TEMPLATES: *.jinja files) times conversations, as the
// transformers package renders them. scripts/template_check.sh runs it and prints the figure.
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "core/error.h"
#include "tests/text/byte_tokenizer_util.h"
#include "tests/text/peer_util.h"
#include "text/chat_template.h"

namespace um {
namespace {

TemplateInput input_of(const OrderedJson& wanted) {
  TemplateInput input;
  input.messages = wanted["messages"];
  if (wanted.contains("tools")) input.tools = wanted["tools"];
  if (wanted.contains("kwargs")) input.kwargs = wanted["kwargs"];
  input.continue_final = wanted.value("continue_final", false);
  input.add_generation_prompt = wanted.value("add_generation_prompt", !input.continue_final);
  return input;
}

/// Whether our prompt has a call of the conversation that the other form loses.
bool has_more_calls(const nlohmann::json& wanted, const std::string& text) {
  const std::string theirs = wanted["text"].is_string() ? wanted["text"] : "";
  const auto request = nlohmann::json::parse(wanted["request"].get<std::string>());
  for (const auto& message : request["messages"])
    for (const auto& call : message.value("tool_calls", nlohmann::json::array())) {
      const std::string name = call["function"]["name"];
      if (text.find(name) != std::string::npos && theirs.find(name) == std::string::npos)
        return true;
    }
  return false;
}

TEST(TemplateCollection, RendersAsTransformersDoes) {
  const char* folder = std::getenv("UM_TEMPLATES");
  if (folder == nullptr) GTEST_SKIP() << "set UM_TEMPLATES to a folder of chat templates";
  const auto replies = ask_python("collection_peer.py", {{"folder", folder}});
  if (!replies) GTEST_SKIP() << "no transformers package; set UM_PYTHON to a python that has it";
  const Tokenizer tokenizer =
      byte_tokenizer({"<s>", "</s>"}, R"({"bos_token": "<s>", "eos_token": "</s>"})");
  std::optional<ChatTemplate> form;
  std::string of;
  size_t same = 0;
  for (const nlohmann::json& wanted : *replies) {
    const std::string name = wanted["name"], source = wanted["template"];
    if (name != of) form = ChatTemplate::from_source(source, name, tokenizer);
    of = name;
    std::string text, fault;
    try {
      text = form->render(input_of(OrderedJson::parse(wanted["request"].get<std::string>()))).bytes;
    } catch (const Error& error) {
      fault = error.what();
    }
    const bool refused = wanted["text"].is_null();
    // `why`: transformers refuses the messages as they are, and takes them in another form.
    const bool other_form = wanted["why"].is_string();
    const bool right = fault.empty()
                           ? wanted["text"] == text || (other_form && has_more_calls(wanted, text))
                           : refused || other_form;
    same += right ? 1 : 0;
    EXPECT_TRUE(right) << name << ", " << wanted["case"] << "\nwe: " << text << fault
                       << "\ntransformers: " << wanted["text"] << wanted["why"];
  }
  std::printf("templates x conversations as transformers renders them: %zu of %zu\n", same,
              replies->size());
}

}  // namespace
}  // namespace um
