// Chat templates: a small interpreter of the part of Jinja that models' templates use, with the
// settings of Hugging Face's `apply_chat_template`. See docs/templates.md.
//
// A template is hostile: it reads no file, runs for a bounded time, makes a bounded text, and can't
// pass off what a message says as its own words (MarkedText).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_value.h"

namespace um {

struct JinjaOptions {
  uint64_t work = uint64_t{1} << 27;  // see JinjaBudget: two million steps
  std::optional<int64_t> now = {};    // what strftime_now shows, seconds since 1970; else the clock
};

class JinjaTemplate {
 public:
  using Variables = std::vector<std::pair<std::string, JinjaValue>>;

  /// Parses. Throws Error `NAME: line N: …`.
  JinjaTemplate(std::string_view source, std::string name);
  JinjaTemplate(JinjaTemplate&&) noexcept;
  ~JinjaTemplate();

  /// The text, valid UTF-8. Throws Error `NAME: line N: …` for what goes wrong, also where the
  /// template itself calls raise_exception or wants too much. May be called from several threads.
  MarkedText render(const Variables& variables, const JinjaOptions& options = {}) const;

  /// The names that the template reads somewhere: variables, and names that it sets itself.
  const std::set<std::string, std::less<>>& names() const;
  const std::string& name() const { return name_; }

 private:
  struct Tree;
  std::string name_;
  std::unique_ptr<const Tree> tree_;
};

}  // namespace um
