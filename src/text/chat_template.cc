// See chat_template.h.
#include "text/chat_template.h"

#include <algorithm>
#include <array>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/gguf.h"
#include "core/json.h"
#include "core/paths.h"
#include "text/chat.h"
#include "text/jinja_strings.h"
#include "text/probe_work.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxTemplateBytes = 1u << 20, kMaxConfigBytes = 64u << 20;
constexpr size_t kMaxKwargs = 64, kMaxNamed = 64;
constexpr uint64_t kProbeWork = 1u << 22;  // of one rendering that finds out what a template does

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
    if (name != "default") sources.named[name] = named.string("template");
  }
}

// Which message a byte of the prompt comes from: the marks of texts from outside (MarkedText).
constexpr char kEndMark = '\xff';

// Stands behind the text of a message that is continued. Its blank shows whether the template trims
// texts.
const std::string kEndTag = "CONTINUE_FINAL_MESSAGE_TAG ";

/// The field of the last message that is continued.
std::string continued_field(const OrderedJson& message) {
  const bool content = message.contains("content") && !content_text(message["content"]).empty();
  if (!content && message.contains("reasoning_content") &&
      message["reasoning_content"].is_string() && !message.contains("tool_calls"))
    return "reasoning_content";
  return "content";
}

/// A content as the template sees it; `open`: with the tag behind its last text.
JinjaValue content_value(const OrderedJson& content, char mark, bool open) {
  if (content.is_string()) {
    MarkedText text = MarkedText::all(content.get<std::string>(), mark);
    if (open) text.append(kEndTag, kEndMark);
    return JinjaValue::text(std::move(text));
  }
  if (!content.is_array()) return JinjaValue::from_json(content, mark != 0);
  JinjaValue::List parts;
  for (size_t i = 0; i < content.size(); ++i) {
    JinjaValue::Dict fields;
    for (const auto& [key, value] : content[i].items())
      fields.emplace_back(JinjaValue::string(key),
                          key == "text"
                              ? content_value(value, mark, open && i + 1 == content.size())
                              : JinjaValue::from_json(value, mark != 0));
    parts.push_back(JinjaValue::dict(std::move(fields)));
  }
  return JinjaValue::list(std::move(parts));
}

/// A message for the template; of its own texts only the role is trusted, or all of them.
JinjaValue message_value(const OrderedJson& message, size_t index, bool trusted,
                         const std::string& open) {
  const char mark = trusted ? '\0' : message_mark(index);
  const bool thought = open == "reasoning_content";
  JinjaValue::Dict fields;
  for (const auto& [key, value] : message.items()) {
    const bool goes_on = key == open || (thought && key == "thinking");
    const bool text = key == "content" || goes_on;
    fields.emplace_back(JinjaValue::string(key),
                        text ? content_value(value, mark, goes_on)
                             : JinjaValue::from_json(value, key != "role" && !trusted));
  }
  return JinjaValue::dict(std::move(fields));
}

/// What Hugging Face's code does to messages: fields that are null go, and thinking is under the
/// names that templates read.
OrderedJson plain_messages(const OrderedJson& messages) {
  OrderedJson out = OrderedJson::array();
  for (const OrderedJson& message : messages) {
    OrderedJson plain = OrderedJson::object();
    OrderedJson reasoning;
    for (const char* key : {"reasoning_content", "thinking", "reasoning"})
      if (reasoning.is_null() && message.contains(key)) reasoning = message[key];
    if (!reasoning.is_null()) plain["thinking"] = reasoning;
    for (const auto& [key, value] : message.items())
      if (!value.is_null()) plain[key] = value;
    if (!reasoning.is_null()) plain["reasoning_content"] = reasoning;
    out.push_back(std::move(plain));
  }
  return out;
}

/// Templates differ in what they take: most want a call's arguments as an object, some as its JSON
/// text, and of those that are no object some take the text, some only an object with it; some
/// cannot read a content that is missing, or write calls only where it is null; some know no
/// developer.
struct Variant {
  enum Missing { kLeftOut, kEmpty, kNull };
  enum Arguments { kGiven, kText, kObject };
  bool plain_roles;
  Arguments arguments;
  Missing content;
};

/// From what clients send to what differs most.
std::vector<Variant> all_variants() {
  std::vector<Variant> all;
  for (const bool plain_roles : {false, true})
    for (const auto arguments : {Variant::kGiven, Variant::kText, Variant::kObject})
      for (const auto content : {Variant::kLeftOut, Variant::kEmpty, Variant::kNull})
        all.push_back({plain_roles, arguments, content});
  return all;
}

OrderedJson varied(const OrderedJson& messages, const Variant& variant) {
  OrderedJson out = messages;
  for (OrderedJson& message : out) {
    if (variant.plain_roles && message["role"] == "developer") message["role"] = "system";
    if (variant.content != Variant::kLeftOut && !message.contains("content"))
      message["content"] = variant.content == Variant::kEmpty ? OrderedJson("") : OrderedJson();
    if (variant.arguments == Variant::kGiven || !message.contains("tool_calls")) continue;
    for (OrderedJson& call : message["tool_calls"]) {
      OrderedJson& arguments = call["function"]["arguments"];
      const bool text = arguments.is_string();
      if (variant.arguments == Variant::kText && !text) arguments = jinja_dumps(arguments);
      if (variant.arguments == Variant::kObject && text) arguments = arguments_object(arguments);
    }
  }
  return out;
}

std::string stripped(std::string text) {
  JinjaBudget free(UINT64_MAX);
  return jinja_strip(MarkedText::own(std::move(text)), {}, true, true, free).bytes;
}

/// What an answer says beside its thinking.
std::string said(std::string text) {
  const size_t end = text.rfind("</think>");
  return end == std::string::npos ? text : text.substr(end + 8);
}

/// Every text of the conversation must be in the prompt, but for an answer's thinking, and for what
/// it says beside calls, which many templates leave out.
void check_complete(const MarkedText& prompt, const OrderedJson& messages, bool trusted,
                    const std::string& name) {
  std::array<bool, 256> seen{};
  for (const char mark : prompt.outside) seen[static_cast<uint8_t>(mark)] = true;
  for (size_t i = 0; i < messages.size(); ++i) {
    const OrderedJson& message = messages[i];
    const std::string role = message.value("role", "");
    const bool answer = role == "assistant";
    if (answer && (trusted || message.contains("tool_calls"))) continue;
    std::string text = message.contains("content") ? content_text(message["content"]) : "";
    if (answer) text = said(std::move(text));
    text = without_switch_words(std::move(text));
    UM_CHECK(seen[static_cast<uint8_t>(message_mark(i))] || stripped(std::move(text)).empty(),
             "{}: the template leaves out the text of messages[{}] ({})", name, i, role);
  }
}

/// Whether the names of all calls are in the prompt, and arguments that are a text.
bool shows_calls(const MarkedText& prompt, const OrderedJson& messages) {
  const auto shows = [&](const std::string& text) {
    return prompt.bytes.find(text) != std::string::npos;
  };
  for (const OrderedJson& message : messages)
    for (const OrderedJson& call : message.value("tool_calls", OrderedJson::array())) {
      const OrderedJson& function = call["function"];
      if (!shows(function.value("name", ""))) return false;
      const auto arguments = function.find("arguments");
      if (arguments != function.end() && arguments->is_string() &&
          !shows(arguments->get<std::string>()) && !shows(jinja_dumps(*arguments)))
        return false;
    }
  return true;
}

/// Where the tag stands: ours, or the template's own, where it takes ours away and writes it anew.
struct TagPlace {
  size_t begin = std::string::npos, end = std::string::npos;  ///< of its first and last byte
};

TagPlace find_tag(const MarkedText& prompt) {
  TagPlace ours{prompt.outside.rfind(kEndMark), prompt.outside.rfind(kEndMark)};
  if (ours.end != std::string::npos) {
    while (ours.begin > 0 && prompt.outside[ours.begin - 1] == kEndMark) --ours.begin;
    return ours;
  }
  const std::string tag = kEndTag.substr(0, kEndTag.size() - 1);
  for (size_t at = prompt.bytes.rfind(tag); at != std::string::npos;
       at = at == 0 ? at - 1 : prompt.bytes.rfind(tag, at - 1)) {
    if (prompt.outside.find_first_not_of('\0', at) < at + tag.size()) continue;  // somebody's text
    return {at, at + (prompt.bytes.compare(at, kEndTag.size(), kEndTag) == 0 ? tag.size()
                                                                             : tag.size() - 1)};
  }
  return {};
}

/// The prompt up to the tag behind the last message's text, all of which must be before it.
MarkedText cut_at_tag(MarkedText prompt, const OrderedJson& message, const std::string& name) {
  const auto [begin, end] = find_tag(prompt);
  const std::string& field = continued_field(message);
  std::string text = message.contains(field) ? content_text(message[field]) : "";
  if (message.contains(field) && message[field].is_array() && !message[field].empty())
    text = message[field].back().value("text", "");
  JinjaBudget free(UINT64_MAX);
  const bool there = end != std::string::npos;
  const bool trims = there && prompt.bytes.compare(begin, end + 1 - begin, kEndTag) != 0;
  prompt = prompt.substr(0, there ? begin : 0);
  const MarkedText trimmed = jinja_strip(prompt, {}, false, true, free);
  UM_CHECK(there && trimmed.bytes.ends_with(stripped(std::move(text))),
           "{}: the template does not write the last message as it is, so that cannot be continued",
           name);
  return trims ? trimmed : prompt;
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

/// What tokenizer_config.json calls a token: a text, or an object with it; else empty.
std::string token_text(const Json& value) {
  const Json text = value.is_object() ? value.value("content", Json()) : value;
  return text.is_string() ? text.get<std::string>() : std::string();
}

/// The special tokens that a template sees by their names, as in transformers: the roles, and what
/// else the config names so.
std::map<std::string, std::string> named_tokens(const Tokenizer& tokenizer) {
  std::map<std::string, std::string> tokens;
  const auto add = [&](const Json& fields) {
    for (const auto& [name, value] : fields.items())
      if (const std::string text = token_text(value); name.ends_with("_token") && !text.empty())
        tokens[name] = text;
  };
  const Json& config = tokenizer.config();
  for (const char* key : {"extra_special_tokens", "model_specific_special_tokens"})
    if (config.contains(key) && config[key].is_object()) add(config[key]);
  add(config);
  const std::pair<const char*, int32_t> roles[] = {{"bos_token", tokenizer.bos_id()},
                                                   {"eos_token", tokenizer.eos_id()},
                                                   {"pad_token", tokenizer.pad_id()},
                                                   {"unk_token", tokenizer.unk_id()}};
  for (const auto& [name, id] : roles)
    if (id >= 0) tokens[name] = tokenizer.piece(id);
  return tokens;
}

}  // namespace

std::vector<fs::path> named_template_files(const fs::path& directory) {
  std::vector<fs::path> files;
  const fs::path folder = directory / "additional_chat_templates";
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".jinja") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  if (files.size() > kMaxNamed) files.resize(kMaxNamed);
  return files;
}

ChatSources find_chat_sources(const fs::path& path) {
  ChatSources found;
  found.where = path.string();
  if (!fs::is_directory(path)) {
    if (path.extension() != ".gguf") return found;
    const Gguf file(path);
    found.main = file.string(kTemplateKey).value_or("");
    found.named = named_templates(file);
    return found;
  }
  found.where = (path / "chat_template.jinja").string();
  if (path_exists(found.where)) {
    found.main = repair_utf8(read_file(found.where, kMaxTemplateBytes));
    for (const fs::path& file : named_template_files(path))
      found.named[file.stem().string()] = repair_utf8(read_file(file, kMaxTemplateBytes));
    return found;
  }
  found.where = (path / "tokenizer_config.json").string();
  if (!path_exists(found.where)) return found;
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
  const std::string tools = sources.named["tool_use"];
  if (tools.empty() || !out.fault_.empty()) return out;
  try {
    out.tools_ = std::make_shared<const JinjaTemplate>(tools, sources.where + " (tool_use)");
  } catch (const Error& error) {
    out.fault_ = error.what();
  }
  return out;
}

ChatTemplate ChatTemplate::from_source(std::string source, const std::string& name,
                                       const Tokenizer& tokenizer) {
  ChatTemplate out;
  out.tokens_ = named_tokens(tokenizer);
  const bool pangu = has_pangu_marks(tokenizer);
  const std::string bos = tokenizer.bos_id() >= 0 ? tokenizer.piece(tokenizer.bos_id()) : "";
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
    if (pangu && same_as_pangu(*out.main_, bos)) {
      out.pangu_ = true;
      out.source_.clear();
    } else {
      out.probe();
    }
  } catch (const Error& error) {
    out.fault_ = error.what();
  }
  return out;
}

bool ChatTemplate::mentions(std::string_view variable) const {
  return (main_ != nullptr && main_->names().contains(variable)) ||
         (tools_ != nullptr && tools_->names().contains(variable));
}

/// Finds out what the template reads.
void ChatTemplate::probe() {
  const ProbeWork work;
  const ChatProbe plain = [&](const OrderedJson& messages, const OrderedJson& variables) {
    const TemplateInput input{.messages = messages, .kwargs = variables};
    return render_once(input, messages, kProbeWork).bytes;
  };
  contents_ = ContentForms::find(plain);
  const ChatProbe fitting = [&](const OrderedJson& messages, const OrderedJson& variables) {
    return plain(contents_.fit(messages), variables);
  };
  thinking_ = find_thinking_switch(source_, main_->names(), fitting);
  UM_CHECK(!work.used_up(), "{}: takes too long even for short conversations", main_->name());
}

MarkedText ChatTemplate::render_once(const TemplateInput& input, const OrderedJson& messages,
                                     uint64_t work) const {
  JinjaValue::List values;
  for (size_t i = 0; i < messages.size(); ++i) {
    const bool own = input.trust_assistant && messages[i].value("role", "") == "assistant";
    const bool open = input.continue_final && i + 1 == messages.size();
    values.push_back(message_value(messages[i], i, own, open ? continued_field(messages[i]) : ""));
  }
  JinjaTemplate::Variables variables = {
      {"messages", JinjaValue::list(std::move(values))},
      {"add_generation_prompt", JinjaValue::boolean(input.add_generation_prompt)}};
  for (const auto& [name, text] : tokens_) variables.emplace_back(name, JinjaValue::string(text));
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
  if (input.thinking) {
    OrderedJson values = *input.thinking ? thinking_.on : thinking_.off;
    // The usual names go in anyway: their effect may need a longer conversation than was tried.
    for (const char* name : {"enable_thinking", "thinking"}) values.emplace(name, *input.thinking);
    for (const auto& [key, value] : values.items())
      if (!given(key)) variables.emplace_back(key, JinjaValue::from_json(value, false));
  }
  const JinjaTemplate& chosen = tools_ != nullptr && !input.tools.empty() ? *tools_ : *main_;
  JinjaOptions options{.work = work};
  options.work += 32 * (messages.dump().size() + input.tools.dump().size());
  return chosen.render(variables, options);
}

MarkedText ChatTemplate::render(const TemplateInput& input) const {
  UM_CHECK(fault_.empty(), "{}", fault_);
  UM_CHECK(main_ != nullptr, "chat template: the Pangu format is written by text/chat.h");
  OrderedJson messages = plain_messages(input.messages);
  if (input.thinking) {
    const std::string& word = *input.thinking ? thinking_.on_word : thinking_.off_word;
    if (!word.empty()) messages = with_system_word(std::move(messages), word);
  }
  if (input.continue_final && !messages.empty() && continued_field(messages.back()) == "content" &&
      !messages.back().contains("content"))
    messages.back()["content"] = "";
  messages = contents_.fit(std::move(messages));
  std::string fault;
  std::set<std::string> tried;
  std::optional<MarkedText> without_calls;  // of a template that knows none
  for (const Variant& variant : all_variants()) {
    const OrderedJson form = varied(messages, variant);
    if (!tried.insert(form.dump()).second) continue;
    try {
      MarkedText text = render_once(input, form, JinjaOptions().work);
      check_complete(text, form, input.trust_assistant, main_->name());
      const bool shows = shows_calls(text, form);
      const bool cut = input.continue_final && !form.empty();
      if (cut) text = cut_at_tag(std::move(text), form.back(), main_->name());
      if (shows) return text;
      if (!without_calls) without_calls = std::move(text);
    } catch (const Error& error) {
      if (fault.empty()) fault = error.what();
    }
  }
  if (without_calls) return std::move(*without_calls);
  throw Error(fault);
}

std::vector<int32_t> ChatTemplate::encode(const Tokenizer& tokenizer,
                                          const TemplateInput& input) const {
  return encode(tokenizer, render(input));
}

std::vector<int32_t> ChatTemplate::encode(const Tokenizer& tokenizer, const MarkedText& text) {
  std::vector<int32_t> ids =
      tokenizer.encode(text.bytes, {.parse_special = true, .outside = text.outside});
  const std::vector<int32_t> front = tokenizer.front();
  const bool there =
      ids.size() >= front.size() && std::equal(front.begin(), front.end(), ids.begin());
  if (!there) ids.insert(ids.begin(), front.begin(), front.end());
  return ids;
}

}  // namespace um
