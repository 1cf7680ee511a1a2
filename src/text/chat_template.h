// The chat template of a model: its own, else one of ours by the special tokens it has; and the
// prompt it makes of a conversation. See docs/templates.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat_content.h"
#include "text/chat_thinking.h"
#include "text/jinja.h"
#include "text/tokenizer.h"

namespace um {

/// A conversation as templates see it.
struct TemplateInput {
  /// Objects with role, content (a text, a list of {"type": "text", "text"}, or null) and, from
  /// clients, tool_calls with parsed arguments (a text where they are no object), tool_call_id,
  /// name, reasoning_content. The roles must be checked: they are trusted.
  OrderedJson messages = OrderedJson::array();
  OrderedJson tools = OrderedJson::array();    ///< as clients send them; empty: none
  OrderedJson kwargs = OrderedJson::object();  ///< more variables
  /// Thinking is turned on or off, as the template takes it; nothing: as it has it by itself.
  std::optional<bool> thinking = {};
  bool add_generation_prompt = true;
  /// End behind the last message's content, or its reasoning_content if it has no content. Not
  /// together with add_generation_prompt.
  bool continue_final = false;
  bool trust_assistant = false;  ///< special tokens in the assistant's texts count
};

/// What the bytes of a message's text are marked with in a prompt (MarkedText::outside).
inline char message_mark(size_t message) {
  return static_cast<char>(2 + message % 250);
}

/// A model's own templates as texts, empty where it has none.
struct ChatSources {
  std::string main;
  /// Others by their names; "tool_use" is for conversations with tools.
  std::map<std::string, std::string> named;
  std::string where;  ///< the file that the main one is in
};

/// Those of the model at `path`: of a directory chat_template.jinja and the files in
/// additional_chat_templates/, else chat_template in tokenizer_config.json (a text, or texts by
/// name, of which "default" is the main one); of a GGUF file tokenizer.chat_template and
/// tokenizer.chat_template.NAME. Throws Error for files that cannot be read.
ChatSources find_chat_sources(const std::filesystem::path& path);

/// The files of templates beside chat_template.jinja, where transformers saves them.
std::vector<std::filesystem::path> named_template_files(const std::filesystem::path& directory);

class ChatTemplate {
 public:
  /// The template of the model at `path`: `given`, or its own, or a built-in one. Throws Error for
  /// files that cannot be read; a template that cannot be parsed is an Error when it is used, see
  /// fault().
  static ChatTemplate load(const std::filesystem::path& path, const Tokenizer& tokenizer,
                           std::string_view given = {});
  /// The same from a template's source, empty for a built-in one.
  static ChatTemplate from_source(std::string source, const std::string& name,
                                  const Tokenizer& tokenizer);

  /// The template does what text/chat.h does, which knows more (thinking modes, tools): use that.
  bool is_pangu() const { return pangu_; }
  /// Why there is no usable template; empty if there is one.
  const std::string& fault() const { return fault_; }
  /// Of the template without tools; empty for the Pangu format.
  const std::string& source() const { return source_; }
  /// Whether some template of the model reads this variable.
  bool mentions(std::string_view variable) const;
  /// Whether it knows of thinking: it can be switched, or has marks for it.
  bool can_think() const { return pangu_ || thinking_.works() || knows_thinking(source_); }
  /// Whether TemplateInput::thinking changes the prompt.
  bool can_switch_thinking() const { return pangu_ || thinking_.works(); }

  /// The prompt. Texts of the conversation are marked as from outside. Throws Error where the
  /// template fails, which begins with its name and line, or leaves out the text of a message.
  MarkedText render(const TemplateInput& input) const;
  /// The prompt as ids: special tokens of the template count, those in the conversation's texts are
  /// plain text. BOS comes in front if the tokenizer wants one and the template wrote none.
  std::vector<int32_t> encode(const Tokenizer& tokenizer, const TemplateInput& input) const;
  /// The same of a prompt that render() made, or of its like.
  static std::vector<int32_t> encode(const Tokenizer& tokenizer, const MarkedText& text);

 private:
  ChatTemplate() = default;
  MarkedText render_once(const TemplateInput& input, const OrderedJson& messages,
                         uint64_t work) const;
  void probe();

  std::string source_, fault_;
  std::map<std::string, std::string> tokens_;  ///< special tokens by their names: "pad_token"
  bool pangu_ = false;
  ThinkingSwitch thinking_;
  ContentForms contents_;
  std::shared_ptr<const JinjaTemplate> main_, tools_;  // tools_: null if it is the same
};

/// Sources of the built-in templates: ours, in Jinja. Null if the tokenizer is of no family we
/// know.
const char* builtin_template(const Tokenizer& tokenizer);

}  // namespace um
