// See chat_template.h.
#include "text/chat_template.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/gguf.h"
#include "core/json.h"
#include "text/chat.h"
#include "text/jinja_strings.h"
#include "text/utf8.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxTemplateBytes = 1u << 20, kMaxConfigBytes = 64u << 20;
constexpr size_t kMaxKwargs = 64;

/// `chat_template`: a template, or a list of them by name.
void read_sources(const Json& value, ChatSources& sources) {
  const std::string& where = sources.where;
  if (value.is_null()) return;
  if (value.is_string()) {
    sources.main = value.get<std::string>();
    return;
  }
  UM_CHECK(value.is_array(), "{}: chat_template: expected a text or a list, found {}", where,
           describe(value));
  for (const Json& entry : value) {
    const JsonObject named(entry, where + ": chat_template");
    const std::string name = named.string("name");
    if (name == "default" || sources.main.empty()) sources.main = named.string("template");
    if (name == "tool_use") sources.tools = named.string("template");
  }
}

/// A message for the template; of its own texts only the role is trusted, or all of them.
JinjaValue message_value(const OrderedJson& message, bool trusted) {
  JinjaValue::Dict fields;
  for (const auto& [key, value] : message.items())
    fields.emplace_back(JinjaValue::string(key),
                        JinjaValue::from_json(value, key != "role" && !trusted));
  return JinjaValue::dict(std::move(fields));
}

/// Templates differ in what they take: most want a call's arguments as an object, some as its JSON
/// text; some cannot read content that is null.
OrderedJson variant(const OrderedJson& messages, bool text_arguments, bool no_null) {
  OrderedJson out = messages;
  for (auto& message : out) {
    if (no_null && message.contains("content") && message["content"].is_null())
      message["content"] = "";
    if (!text_arguments || !message.contains("tool_calls") || !message["tool_calls"].is_array())
      continue;
    for (auto& call : message["tool_calls"]) {
      auto& arguments = call["function"]["arguments"];
      if (!arguments.is_string()) arguments = arguments.dump();
    }
  }
  return out;
}

/// Whether the template is the openPangu V1 format, by what it makes of a conversation.
bool same_as_pangu(const JinjaTemplate& compiled, const std::string& bos) {
  const std::vector<Message> talk = {
      {"user", "one"}, {"assistant", "two"}, {"tool", "three"}, {"user", "four"}};
  for (const bool told : {false, true}) {
    OrderedJson json = OrderedJson::array();
    std::vector<Message> messages = talk;
    if (told) messages.insert(messages.begin(), {"system", "zero"});
    for (const Message& m : messages) json.push_back({{"role", m.role}, {"content", m.content}});
    try {
      const std::string text = compiled
                                   .render({{"messages", JinjaValue::from_json(json, true)},
                                            {"bos_token", JinjaValue::string(bos)},
                                            {"add_generation_prompt", JinjaValue::boolean(true)}})
                                   .bytes;
      const std::string expected = apply_chat_template(messages);
      if (text != expected && text != bos + expected) return false;
    } catch (const Error&) {
      return false;
    }
  }
  return true;
}

bool has_pangu_marks(const Tokenizer& tokenizer) {
  const auto has = [&](std::string_view mark) {
    const auto id = tokenizer.id(mark);
    return id && tokenizer.is_special(*id);
  };
  return has(kTurnOpen) && has(kTurnClose);
}

std::string token_text(const Tokenizer& tokenizer, int32_t id) {
  return id >= 0 ? tokenizer.piece(id) : std::string();
}

}  // namespace

ChatSources find_chat_sources(const fs::path& path) {
  ChatSources found;
  found.where = path.string();
  if (!fs::is_directory(path)) {
    if (path.extension() != ".gguf") return found;
    const Gguf file(path);
    found.main = file.string("tokenizer.chat_template").value_or("");
    found.tools = file.string("tokenizer.chat_template.tool_use").value_or("");
    return found;
  }
  found.where = (path / "chat_template.jinja").string();
  if (fs::exists(found.where)) {
    found.main = repair_utf8(read_file(found.where, kMaxTemplateBytes));
    return found;
  }
  found.where = (path / "tokenizer_config.json").string();
  if (!fs::exists(found.where)) return found;
  const Json config = read_json_file(found.where, kMaxConfigBytes);
  if (config.is_object() && config.contains("chat_template"))
    read_sources(config["chat_template"], found);
  return found;
}

ChatTemplate ChatTemplate::load(const fs::path& path, const Tokenizer& tokenizer,
                                std::string_view given) {
  ChatSources sources{std::string(given), {}, path.string() + " (chat template)"};
  if (given.empty()) sources = find_chat_sources(path);
  ChatTemplate out = from_source(std::move(sources.main), sources.where, tokenizer);
  if (sources.tools.empty() || !out.fault_.empty()) return out;
  try {
    out.tools_ =
        std::make_shared<const JinjaTemplate>(sources.tools, sources.where + " (tool_use)");
  } catch (const Error& error) {
    out.fault_ = error.what();
  }
  return out;
}

ChatTemplate ChatTemplate::from_source(std::string source, const std::string& name,
                                       const Tokenizer& tokenizer) {
  ChatTemplate out;
  out.bos_ = token_text(tokenizer, tokenizer.bos_id());
  out.eos_ = token_text(tokenizer, tokenizer.eos_id());
  const bool pangu = has_pangu_marks(tokenizer);
  if (source.empty() && pangu) {
    out.pangu_ = true;
    return out;
  }
  const char* builtin = source.empty() ? builtin_template(tokenizer) : nullptr;
  if (source.empty() && builtin == nullptr) {
    out.fault_ = "the model has no chat template, and its tokenizer no chat tokens that we know";
    return out;
  }
  try {
    out.source_ = builtin != nullptr ? builtin : std::move(source);
    out.main_ = std::make_shared<const JinjaTemplate>(
        out.source_, builtin != nullptr ? "built-in chat template" : name);
    if (pangu && same_as_pangu(*out.main_, out.bos_)) {
      out.pangu_ = true;
      out.source_.clear();
    }
  } catch (const Error& error) {
    out.fault_ = error.what();
  }
  return out;
}

bool ChatTemplate::mentions(std::string_view variable) const {
  return (main_ != nullptr && main_->mentions(variable)) ||
         (tools_ != nullptr && tools_->mentions(variable));
}

MarkedText ChatTemplate::render_once(const TemplateInput& input,
                                     const OrderedJson& messages) const {
  JinjaValue::List values;
  for (const auto& message : messages) {
    const bool own = input.trust_assistant && message.value("role", "") == "assistant";
    values.push_back(message_value(message, own));
  }
  JinjaTemplate::Variables variables = {
      {"messages", JinjaValue::list(std::move(values))},
      {"add_generation_prompt", JinjaValue::boolean(input.add_generation_prompt)}};
  if (!bos_.empty()) variables.emplace_back("bos_token", JinjaValue::string(bos_));
  if (!eos_.empty()) variables.emplace_back("eos_token", JinjaValue::string(eos_));
  // Hugging Face gives templates `tools` and `documents` always, none where there are none.
  variables.emplace_back(
      "tools", input.tools.empty() ? JinjaValue::none() : JinjaValue::from_json(input.tools, true));
  variables.emplace_back("documents", JinjaValue::none());
  UM_CHECK(input.kwargs.size() <= kMaxKwargs, "chat_template_kwargs: {} values, at most {}",
           input.kwargs.size(), kMaxKwargs);
  const auto given = [&](std::string_view name) {
    return std::any_of(variables.begin(), variables.end(),
                       [&](const auto& variable) { return variable.first == name; });
  };
  for (const auto& [key, value] : input.kwargs.items())
    if (!given(key) || key == "documents")
      variables.insert(variables.begin(), {key, JinjaValue::from_json(value, true)});
  for (const char* name : {"enable_thinking", "thinking"})
    if (input.thinking && !given(name))
      variables.emplace_back(name, JinjaValue::boolean(*input.thinking));
  const JinjaTemplate& chosen = tools_ != nullptr && !input.tools.empty() ? *tools_ : *main_;
  JinjaOptions options;
  options.work += 32 * (messages.dump().size() + input.tools.dump().size());
  return chosen.render(variables, options);
}

MarkedText ChatTemplate::render(const TemplateInput& input) const {
  UM_CHECK(fault_.empty(), "{}", fault_);
  UM_CHECK(main_ != nullptr, "chat template: the Pangu format is written by text/chat.h");
  TemplateInput open = input;
  if (input.continue_final) open.add_generation_prompt = false;
  std::optional<MarkedText> text;
  std::string fault;
  std::set<std::string> tried;
  for (const int kind : {0, 1, 2, 3}) {
    const OrderedJson messages = variant(input.messages, kind >= 2, kind % 2 == 1);
    if (!tried.insert(messages.dump()).second) continue;
    try {
      text = render_once(open, messages);
      break;
    } catch (const Error& error) {
      if (fault.empty()) fault = error.what();
    }
  }
  if (!text) throw Error(fault);
  if (!input.continue_final || input.messages.empty()) return std::move(*text);
  // As Hugging Face does it: all behind the last message's content goes.
  const OrderedJson& last = input.messages.back();
  std::string content = last.contains("content") && last["content"].is_string()
                            ? last["content"].get<std::string>()
                            : std::string();
  JinjaBudget free(UINT64_MAX);
  content = jinja_strip(MarkedText::own(std::move(content)), {}, true, true, free).bytes;
  const size_t at = content.empty() ? std::string::npos : text->bytes.rfind(content);
  UM_CHECK(
      at != std::string::npos,
      "chat template: it does not write the last message as it is, so that cannot be continued");
  return text->substr(0, at + content.size());
}

std::vector<int32_t> ChatTemplate::encode(const Tokenizer& tokenizer,
                                          const TemplateInput& input) const {
  const MarkedText text = render(input);
  std::vector<int32_t> ids =
      tokenizer.encode(text.bytes, {.parse_special = true, .outside = text.outside});
  const int32_t bos = tokenizer.bos_id();
  if (tokenizer.add_bos() && (ids.empty() || ids[0] != bos)) ids.insert(ids.begin(), bos);
  return ids;
}

}  // namespace um
