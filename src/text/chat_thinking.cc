// See chat_thinking.h.
#include "text/chat_thinking.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <initializer_list>
#include <optional>

#include "core/error.h"
#include "text/jinja_strings.h"

namespace um {
namespace {

constexpr size_t kMaxVariables = 16;  // of a template that are tried

bool contains_any(std::string_view text, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(), [&](std::string_view part) {
    return text.find(part) != std::string_view::npos;
  });
}

class Finder {
 public:
  Finder(std::string_view source, const ChatProbe& probe)
      : source_(source), probe_(probe), base_(render({})) {}

  ThinkingSwitch find(const std::set<std::string, std::less<>>& variables) {
    std::vector<std::string> names;
    for (const std::string& name : variables) {
      const std::string lower = lower_case(name);
      if (contains_any(lower, {"think", "reason"}) && names.size() < kMaxVariables)
        names.push_back(name);
    }
    for (const std::string& name : names) add_variable(name);
    if (found_.off.empty())
      for (const std::string& name : names) add_level(name);
    if (!found_.off.empty() && render(found_.on) == render(found_.off)) found_ = {};
    if (!found_.works()) find_words();
    return std::move(found_);
  }

 private:
  using Text = std::optional<std::string>;  // nothing where the template fails

  static std::string lower_case(std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
  }

  Text render(const OrderedJson& variables) const {
    return render({{{"role", "user"}, {"content", "Hello"}}}, variables);
  }
  Text render(const OrderedJson& messages, const OrderedJson& variables) const {
    try {
      return probe_(messages, variables);
    } catch (const Error&) {
      return {};
    }
  }
  Text render_with(const std::string& name, OrderedJson value) const {
    return render({{name, std::move(value)}});
  }

  /// Whether the template writes out whatever the variable holds: a level, not a switch.
  bool echoes(const std::string& name) const {
    const Text one = render_with(name, "umqa"), other = render_with(name, "umqb");
    return one && other && one != other;
  }

  /// The first of `words` that the template has as a literal and takes for something else than
  /// `unlike`.
  std::optional<std::string> literal(const std::string& name,
                                     std::initializer_list<const char*> words, const Text& unlike) {
    for (const char* word : words) {
      const std::string single = std::string("'") + word + "'",
                        twice = std::string("\"") + word + '"';
      if (!contains_any(source_, {single, twice})) continue;
      if (const Text text = render_with(name, word); text && text != unlike) return word;
    }
    return {};
  }

  void add(const std::string& name, OrderedJson on, OrderedJson off) {
    if (!on.is_null()) found_.on[name] = std::move(on);
    found_.off[name] = std::move(off);
  }

  void add_variable(const std::string& name) {
    if (lower_case(name).find("budget") != std::string::npos) {
      const Text none = render_with(name, 0);
      if (none && none != base_) add(name, nullptr, 0);
      return;
    }
    const Text yes = render_with(name, true), no = render_with(name, false);
    if (yes && no && yes != no && !echoes(name)) {
      const bool inverted =
          contains_any(lower_case(name), {"disable", "skip", "no_", "non", "hide", "suppress"});
      return add(name, !inverted, inverted);
    }
    const auto off = literal(name,
                             {"none", "off", "disabled", "disable", "no_think", "nothink",
                              "no-think", "non-thinking", "chat", "false", "no"},
                             render_with(name, "umqa"));
    if (off) add_words(name, *off);
  }

  /// What is not off by name, but little.
  void add_level(const std::string& name) {
    const auto off = literal(name, {"minimal", "low"}, base_);
    if (off) return add_words(name, *off);
    if (contains_any(lower_case(name), {"effort", "strength"}) && echoes(name))
      add(name, nullptr, "low");
  }

  /// On is what the template does by itself, unless that is off.
  void add_words(const std::string& name, const std::string& off) {
    const Text none = render_with(name, off);
    if (none != base_) return add(name, nullptr, off);
    const auto on = literal(
        name, {"on", "enabled", "enable", "thinking", "think", "true", "yes", "high", "medium"},
        none);
    if (on) add(name, *on, off);
  }

  /// Words in the system's turn, with which the template does more than to write them.
  void find_words() {
    static constexpr std::array<std::array<const char*, 2>, 2> kPairs = {
        {{"/think", "/no_think"}, {"/think", "/nothink"}}};
    for (const auto& [on, off] : kPairs) {
      if (!contains_any(source_, {off})) continue;
      const auto text = [&](const char* word) -> Text {
        const OrderedJson messages = {
            {{"role", "system"}, {"content", std::string("Be brief. ") + word}},
            {{"role", "user"}, {"content", "Hello"}}};
        Text out = render(messages, OrderedJson::object());
        if (!out) return {};
        if (const size_t at = out->find(word); at != std::string::npos)
          out->erase(at, std::string_view(word).size());
        return out;
      };
      const Text thinks = text(on), answers = text(off);
      if (!thinks || !answers || thinks == answers) continue;
      found_.on_word = on;
      found_.off_word = off;
      return;
    }
  }

  std::string_view source_;
  const ChatProbe& probe_;
  Text base_;
  ThinkingSwitch found_;
};

}  // namespace

ThinkingSwitch find_thinking_switch(std::string_view source,
                                    const std::set<std::string, std::less<>>& variables,
                                    const ChatProbe& probe) {
  return Finder(source, probe).find(variables);
}

bool knows_thinking(std::string_view source) {
  return contains_any(source, {"think>", "THINK", "reasoning_content"});
}

std::string without_switch_words(std::string text) {
  JinjaBudget free(UINT64_MAX);
  for (const std::string_view word : {"/no_think", "/nothink", "/think"})
    text = jinja_replace(MarkedText::own(std::move(text)), word, {}, -1, free).bytes;
  return text;
}

OrderedJson with_system_word(OrderedJson messages, const std::string& word) {
  if (messages.empty() || messages[0].value("role", "") != "system")
    messages.insert(messages.begin(), OrderedJson{{"role", "system"}, {"content", ""}});
  OrderedJson& content = messages[0]["content"];
  if (content.is_array()) {
    content.push_back({{"type", "text"}, {"text", word}});
  } else {
    const std::string told = content.is_string() ? content.get<std::string>() : std::string();
    content = told.empty() ? word : told + " " + word;
  }
  return messages;
}

}  // namespace um
