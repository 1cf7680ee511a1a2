// See cut_json.h.
#include "server/cut_json.h"

#include <string>
#include <utility>

namespace um {
namespace {

/// Follows JSON text and remembers the last place where only brackets are missing.
class Finished {
 public:
  void push(char c) {
    ++length_;
    if (quoted_) return in_string(c);
    if (c == '"') {
      quoted_ = true;
    } else if (c == '{' || c == '[') {
      open_ += c == '{' ? '}' : ']';
      key_next_ = c == '{';
      good_ = length_;
    } else if (c == '}' || c == ']') {
      if (!open_.empty()) open_.pop_back();
      good_ = length_;
    } else if (c == ',') {
      good_ = length_ - 1;  // a number ends here, if not before
      key_next_ = open_.ends_with('}');
    } else if (c == ':') {
      key_next_ = false;
    } else {
      word_ = c >= 'a' && c <= 'z' ? word_ + c : "";
      if (word_ == "true" || word_ == "false" || word_ == "null") good_ = length_;
      return;
    }
    word_.clear();
  }

  size_t length() const { return good_; }
  /// What closes the objects and lists that are open there: none opens or closes without a mark.
  std::string brackets() const { return {open_.rbegin(), open_.rend()}; }

 private:
  void in_string(char c) {
    if (std::exchange(escape_, false)) return;
    escape_ = c == '\\';
    quoted_ = c != '"';
    if (!quoted_ && !key_next_) good_ = length_;
  }

  size_t length_ = 0, good_ = 0;
  std::string open_;  // the brackets that close what is open
  std::string word_;
  bool quoted_ = false, escape_ = false, key_next_ = false;
};

}  // namespace

Json finished_members(std::string_view text) {
  Finished finished;
  for (const char c : text) finished.push(c);
  const std::string whole = std::string(text.substr(0, finished.length())) + finished.brackets();
  Json json = Json::parse(whole, nullptr, false);
  return json.is_object() ? json : Json::object();
}

}  // namespace um
