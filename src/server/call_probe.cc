// See call_probe.h.
#include "server/call_probe.h"

#include <algorithm>
#include <array>
#include <optional>

#include "core/error.h"

namespace um {
namespace {

constexpr size_t kMaxIdLength = 64;

const Call& probe() {
  static const Call call{"probe_name", {{"probe_count", 7}, {"probe_key", "probe_value"}}};
  return call;
}

// Its arguments are in order: some templates sort them.

/// A conversation in which that tool is called, or only its beginning. Some templates write calls
/// only beside `content` that is null, or with arguments that are their JSON text.
TemplateInput conversation(bool called, const OrderedJson& content = {}, bool as_text = false) {
  const OrderedJson schema = {{"type", "object"},
                              {"properties",
                               {{"probe_key", {{"type", "string"}, {"description", "text"}}},
                                {"probe_count", {{"type", "integer"}, {"description", "count"}}}}},
                              {"required", OrderedJson::array({"probe_key"})}};
  TemplateInput input;
  input.messages.push_back({{"role", "user"}, {"content", "question"}});
  input.tools.push_back(
      {{"type", "function"},
       {"function",
        {{"name", probe().name}, {"description", "what it does"}, {"parameters", schema}}}});
  input.add_generation_prompt = !called;
  if (!called) return input;
  const OrderedJson call = {
      {"id", "callid001"},
      {"type", "function"},
      {"function",
       {{"name", probe().name},
        {"arguments", as_text ? OrderedJson(json_text(probe().arguments)) : probe().arguments}}}};
  input.messages.push_back(
      {{"role", "assistant"}, {"content", content}, {"tool_calls", OrderedJson::array({call})}});
  return input;
}

std::optional<std::string> rendered(const ChatTemplate& chat_template, const TemplateInput& input) {
  try {
    return chat_template.render(input).bytes;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string without_space(std::string text) {
  std::erase_if(text, [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; });
  return text;
}

/// Where the pieces stand one behind the other, with at most an id between two; npos if nowhere.
size_t find_pieces(const std::string& text, const std::vector<std::string>& pieces) {
  for (size_t start = 0; (start = text.find(pieces[0], start)) != std::string::npos; ++start) {
    size_t at = start + pieces[0].size();
    size_t i = 1;
    for (; i < pieces.size(); ++i) {
      const size_t next = text.find(pieces[i], at);
      if (next == std::string::npos || next - at > kMaxIdLength) break;
      at = next + pieces[i].size();
    }
    if (i == pieces.size()) return start;
  }
  return std::string::npos;
}

/// The call as the form has it, up to its end, in pieces between which ids may stand.
std::vector<std::string> pieces_of(CallForm form, bool spaces) {
  form.between.clear();
  form.close.clear();  // some templates leave it out
  std::string text = write_calls(form, {&probe(), 1}, std::string_view(&kAnyId, 1));
  const bool object = form.kind == CallForm::Kind::kObject;
  if (object) text.resize(text.rfind('}'));  // further members may follow the arguments
  if (!spaces) text = without_space(text);
  std::vector<std::string> pieces;
  for (size_t at = 0;;) {
    const size_t next = text.find(kAnyId, at);
    pieces.push_back(text.substr(at, next - at));
    if (next == std::string::npos) return pieces;
    at = next + 1;
  }
}

/// Whether what the template wrote has this form. `start`: what it writes in front of an answer.
bool writes(const std::string& text, const std::string& start, const CallForm& form, bool spaces) {
  std::string shown = spaces ? text : without_space(text);
  if (form.kind == CallForm::Kind::kLiteral) std::replace(shown.begin(), shown.end(), '\'', '"');
  const size_t at = find_pieces(shown, pieces_of(form, spaces));
  if (at == std::string::npos) return false;
  if (!form.bare()) return true;
  const std::string before = spaces ? start : without_space(start);  // the answer begins with it
  return at == before.size() && shown.starts_with(before);
}

/// Whether all marks of the form stand in the source.
bool in_source(const std::string& source, const CallForm& form) {
  const auto has = [&](std::string_view mark) {
    mark = trimmed(mark);
    const size_t end = mark.find_first_of(">]\n\x02");  // templates put the rest together
    const bool whole = end != std::string_view::npos && mark[end] != '\n' && mark[end] != kAnyId;
    return source.find(mark.substr(0, whole ? end + 1 : end)) != std::string::npos;
  };
  // Without a mark of calls, the family's mark of turns, in a template that writes no calls itself.
  if (form.bare())
    return has(form.other_open) || (has("<|start_header_id|>") && !has("tool_calls"));
  for (const std::string* mark : {&form.open, &form.close, &form.begin, &form.middle,
                                  &form.key_open, &form.value_close, &form.end})
    if (!has(*mark)) return false;
  return true;
}

}  // namespace

CallForm find_call_form(const ChatTemplate& chat_template) {
  if (chat_template.is_pangu()) return call_form_named("pangu");
  if (!chat_template.fault().empty()) return call_form_named("hermes");
  const auto shows = [](const std::optional<std::string>& text) {
    return text &&
           text->find(probe().arguments["probe_key"].get<std::string>()) != std::string::npos;
  };
  std::optional<std::string> called;
  for (const OrderedJson& content : {OrderedJson(), OrderedJson("")})
    for (const bool as_text : {false, true})
      if (!shows(called)) called = rendered(chat_template, conversation(true, content, as_text));
  const auto start = rendered(chat_template, conversation(false));
  for (const bool spaces : {true, false})
    for (const CallForm& form : call_forms())
      if (called && start && writes(*called, *start, form, spaces)) return form;
  for (const CallForm& form : call_forms())
    if (!shows(called) && in_source(chat_template.source(), form)) return form;
  if (shows(called) || chat_template.mentions("tools")) return {};
  return call_form_named("hermes");
}

}  // namespace um
