// See chat_content.h.
#include "text/chat_content.h"

#include "core/error.h"

namespace um {
namespace {

const std::string kFirst = "umqhead", kSecond = "umqtail";

// A field of the parts of a probe: a prompt that shows it has the list as it is, not its texts.
const std::string kField = "umqfield";

OrderedJson part_of(const std::string& text) {
  return {{"type", "text"}, {"text", text}};
}

OrderedJson probe_part(const std::string& text) {
  OrderedJson part = part_of(text);
  part[kField] = text;
  return part;
}

/// A conversation that has a message of `role` with this content.
OrderedJson talk_with(const std::string& role, const OrderedJson& content,
                      const OrderedJson& greeting) {
  const OrderedJson user = {{"role", "user"}, {"content", greeting}};
  OrderedJson message = {{"role", role}, {"content", content}};
  if (role == "user") return OrderedJson::array({message});
  if (role == "system") return OrderedJson::array({message, user});
  if (role == "assistant") return OrderedJson::array({user, message, user});
  const OrderedJson call = {{"id", "call12345"},
                            {"type", "function"},
                            {"function", {{"name", "look"}, {"arguments", OrderedJson::object()}}}};
  message["tool_call_id"] = "call12345";
  message["name"] = "look";
  return OrderedJson::array(
      {user,
       {{"role", "assistant"}, {"content", ""}, {"tool_calls", OrderedJson::array({call})}},
       message});
}

bool shows(const std::string& prompt, const std::string& text) {
  return prompt.find(text) != std::string::npos;
}

}  // namespace

OrderedJson arguments_object(const OrderedJson& text) {
  return {{"arguments", text}};
}

std::string content_text(const OrderedJson& content) {
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  bool some = false;
  if (!content.is_array()) return text;
  for (const OrderedJson& part : content) {
    if (!part.is_object() || !part.contains("text") || !part["text"].is_string()) continue;
    if (some) text += '\n';
    text += part["text"].get<std::string>();
    some = true;
  }
  return text;
}

ContentForms ContentForms::find(const ChatProbe& probe) {
  ContentForms out;
  const auto render = [&](const std::string& role, const OrderedJson& content) -> std::string {
    const OrderedJson greeting = out.fit({{{"role", "user"}, {"content", "Hello"}}})[0]["content"];
    try {
      return probe(talk_with(role, content, greeting), OrderedJson::object());
    } catch (const Error&) {
      return {};
    }
  };
  for (const char* role : {"user", "system", "assistant", "tool"}) {
    const std::string text = render(role, kFirst);
    const std::string parts =
        render(role, OrderedJson::array({probe_part(kFirst), probe_part(kSecond)}));
    out.forms_[role] = {.text = shows(text, kFirst),
                        .parts = shows(parts, kFirst) && !shows(parts, kField),
                        .first_part = !shows(parts, kSecond)};
  }
  return out;
}

ContentForms::Form ContentForms::form_of(const std::string& role) const {
  const auto found = forms_.find(role == "developer" ? "system" : role);
  return found == forms_.end() ? Form{} : found->second;
}

OrderedJson ContentForms::fit(OrderedJson messages) const {
  for (OrderedJson& message : messages) {
    if (!message.contains("content")) continue;
    OrderedJson& content = message["content"];
    const Form form = form_of(message.value("role", ""));
    const bool in_one = form.parts && form.first_part;
    if (content.is_array() && (!form.parts || (in_one && form.text)))
      content = content_text(content);
    if (content.is_array() && in_one)
      content = OrderedJson::array({part_of(content_text(content))});
    if (content.is_string() && !form.text && form.parts)
      content = OrderedJson::array({part_of(content.get<std::string>())});
  }
  return messages;
}

}  // namespace um
