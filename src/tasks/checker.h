// Checkers: whether a model's answer is right, exactly. They are rewards too, so what they read is
// hostile: no text makes them throw or take more than linear time, and an answer that names several
// possibilities ("7 or 8") is wrong.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/number.h"

namespace um {

/// A call that the model made.
struct SpokenCall {
  std::string name;
  std::string arguments;  ///< JSON text
};

/// What the model said, without its thinking.
struct Response {
  std::string_view text = {};
  std::span<const SpokenCall> calls = {};
};

struct Verdict {
  bool right = false;
  /// "right", "wrong", "no answer", "several answers", or what is wrong with an expression or call.
  std::string_view reason = "no answer";
};

/// How much may stand beside the answer (docs/tasks.md).
enum class Strictness {
  kLenient,  ///< an answer that is marked, else the last number or the last line
  kStrict,   ///< an answer that is marked and nothing else, or the whole text
};

/// One problem's checker. Copies are cheap enough to keep one per problem.
class Checker {
 public:
  /// Of a record's fields: `checker` is {"kind": KIND, …} or KIND alone. Throws Error `WHERE: …`.
  /// - number: `answer` is a number, or a text that is one (parse_number);
  /// - text: equal to `answer` but for case, white space and wrapping;
  /// - list: the same items as `answer` (a text with commas, or a list) in the same order;
  /// - countdown: an expression that makes `target` of `numbers`, each used once at most;
  /// - call: one call with the `name` and the `arguments` of `answer`, equal as JSON.
  static Checker from_json(const nlohmann::json& checker, const nlohmann::json& answer,
                           const std::string& where);

  Verdict check(const Response& response, Strictness strictness = Strictness::kLenient) const;

 private:
  enum class Kind { kNumber, kText, kList, kCountdown, kCall };

  Verdict check_number(std::string_view text, Strictness strictness) const;
  Verdict check_parts(std::string_view text, Strictness strictness) const;
  Verdict check_part(std::string_view part) const;
  Verdict check_countdown(std::string_view part) const;
  Verdict check_call(const Response& response) const;

  Kind kind_ = Kind::kText;
  Number number_ = {};
  std::string text_ = {};                // normalised
  std::vector<std::string> items_ = {};  // normalised
  std::vector<int64_t> numbers_ = {};    // sorted
  int64_t target_ = 0;
  std::string name_ = {};
  nlohmann::json arguments_ = {};
};

}  // namespace um
