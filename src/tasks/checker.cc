// See checker.h.
#include "tasks/checker.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "tasks/expression.h"
#include "tasks/final_answer.h"

namespace um {
namespace {

constexpr Verdict kRight{true, "right"}, kWrong{false, "wrong"}, kNothing{false, "no answer"},
    kSeveral{false, "several answers"};

/// Small letters, one space for white space, nothing around it.
std::string normalised(std::string_view text) {
  std::string out;
  for (const char c : unwrapped(text)) {
    const bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (space && out.ends_with(' ')) continue;
    out += space ? ' ' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return out;
}

/// The numbers of a text, as far as they matter.
struct Found {
  std::optional<Number> number = {};
  bool several = false;
};

/// The one number of `part`.
Found one_number(std::string_view part) {
  Found found;
  NumberScanner scanner(part);
  while (const auto token = scanner.next()) {
    if (found.number && !(*found.number == token->number)) found.several = true;
    found.number = token->number;
  }
  if (!found.number) found.number = one_chinese_number(part);
  return found;
}

/// Whether what stands between two numbers offers both as answers: "or" as a word, or commas alone.
bool offers_both(std::string_view between) {
  if (between.find('\n') != std::string_view::npos) return false;
  if (between.find("或") != std::string_view::npos ||
      between.find("还是") != std::string_view::npos)
    return true;
  const std::string words = " " + normalised(between) + " ";
  if (words.find(" or ") != std::string::npos || words.find("/or ") != std::string::npos)
    return true;
  const std::string_view rest = unwrapped(between);
  return rest == "and" || rest == "和" ||
         rest.find_first_not_of(" ,/|;&") == std::string_view::npos;
}

/// The last number of a text that marks no answer.
Found last_number(std::string_view text, std::string_view last_line) {
  std::optional<NumberToken> last;
  Found found;
  NumberScanner scanner(text);
  while (auto token = scanner.next()) {
    found.several = last && !(last->number == token->number) &&
                    offers_both(text.substr(last->end, token->begin - last->end));
    last = std::move(token);
  }
  if (!last) return {one_chinese_number(last_line)};
  found.number = last->number;
  return found;
}

/// The items of a list, as they are written.
std::vector<std::string_view> split_items(std::string_view text) {
  constexpr std::string_view kBrackets = "[](){}", kMarks = ",;<>\n", kSpace = " \t\r";
  text.remove_prefix(std::min(text.find_first_not_of(kBrackets), text.size()));
  text.remove_suffix(text.size() - (text.find_last_not_of(kBrackets) + 1));
  const bool marks = text.find_first_of(kMarks) != std::string_view::npos;
  std::vector<std::string_view> items;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(marks ? kMarks : kSpace), text.size());
    if (marks || end > 0) items.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return items;
}

bool same_item(std::string_view item, const std::string& wanted) {
  if (normalised(item) == wanted) return true;
  const auto a = parse_number(unwrapped(item)), b = parse_number(wanted);
  return a && b && *a == *b;
}

/// Numbers are texts to us: 1.0 and 1 are both read.
std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

}  // namespace

Checker Checker::from_json(const Json& checker, const Json& answer, const std::string& where) {
  const Json named = checker.is_string() ? Json{{"kind", checker}} : checker;
  const JsonObject fields(named, where + ": checker");
  const std::string kind = fields.string("kind");
  Checker out;
  if (kind == "number") {
    out.kind_ = Kind::kNumber;
    const auto number = parse_number(unwrapped(half_width(text_of(answer))));
    UM_CHECK(number, "{}: answer: expected a number, found {}", where, describe(answer));
    out.number_ = *number;
  } else if (kind == "text") {
    out.text_ = normalised(half_width(text_of(answer)));
    UM_CHECK(!out.text_.empty(), "{}: answer: expected a text, found {}", where, describe(answer));
  } else if (kind == "list") {
    out.kind_ = Kind::kList;
    if (answer.is_array()) {
      for (const Json& item : answer) out.items_.push_back(normalised(half_width(text_of(item))));
    } else {
      const std::string text = half_width(text_of(answer));
      for (const std::string_view item : split_items(text)) out.items_.push_back(normalised(item));
    }
    UM_CHECK(!out.items_.empty(), "{}: answer: expected a list, found {}", where, describe(answer));
  } else if (kind == "countdown") {
    out.kind_ = Kind::kCountdown;
    out.numbers_ = fields.integers("numbers", 0, int64_t{1} << 53);
    out.target_ = fields.integer("target");
    std::sort(out.numbers_.begin(), out.numbers_.end());
  } else if (kind == "call") {
    out.kind_ = Kind::kCall;
    const JsonObject call(answer, where + ": answer");
    out.name_ = call.string("name");
    out.arguments_ = call.object("arguments").json();
  } else {
    fail("{}: checker.kind {}: expected number, text, list, countdown or call", where, quote(kind));
  }
  return out;
}

Verdict Checker::check(const Response& response, Strictness strictness) const {
  if (kind_ == Kind::kCall) return check_call(response);
  const std::string text = half_width(response.text);
  return kind_ == Kind::kNumber ? check_number(text, strictness) : check_parts(text, strictness);
}

Verdict Checker::check_number(std::string_view text, Strictness strictness) const {
  const FinalAnswers answers = find_final_answers(text);
  const bool strict = strictness == Strictness::kStrict;
  std::optional<Number> found;
  const auto add = [&](const Found& one) {
    const bool differs = one.several || (found && one.number && !(*found == *one.number));
    if (one.number) found = one.number;
    return !differs;
  };
  for (const std::string_view part : answers.marked) {
    const Found one = strict ? Found{parse_number(part)} : one_number(behind_equals(part));
    if (strict && !one.number) return {false, "not the answer alone"};
    if (!add(one)) return kSeveral;
  }
  if (!found && strict) {
    found = parse_number(unwrapped(text));
  } else if (!found && !add(last_number(text, answers.last_line))) {
    return kSeveral;
  }
  if (!found) return kNothing;
  return *found == number_ ? kRight : kWrong;
}

Verdict Checker::check_parts(std::string_view text, Strictness strictness) const {
  const FinalAnswers answers = find_final_answers(text);
  if (!answers.marked.empty()) {
    bool right = false, wrong = false;
    Verdict verdict;
    for (const std::string_view part : answers.marked) {
      verdict = check_part(part);
      (verdict.right ? right : wrong) = true;
      if (wrong) break;
    }
    return right && wrong ? kSeveral : verdict;
  }
  if (answers.last_line.empty()) return kNothing;
  if (strictness == Strictness::kStrict && !answers.single_line)
    return {false, "not the answer alone"};
  const Verdict whole = check_part(unwrapped(answers.last_line));
  if (whole.right || strictness == Strictness::kStrict) return whole;
  // `In order: 3, 7, 9`
  const size_t colon = answers.last_line.find_last_of(kind_ == Kind::kCountdown ? ":" : ":=");
  if (colon == std::string_view::npos) return whole;
  return check_part(unwrapped(answers.last_line.substr(colon + 1)));
}

Verdict Checker::check_part(std::string_view part) const {
  if (kind_ == Kind::kCountdown) return check_countdown(part);
  if (kind_ == Kind::kText) return normalised(part) == text_ ? kRight : kWrong;
  const std::vector<std::string_view> items = split_items(part);
  const bool same = items.size() == items_.size() &&
                    std::equal(items.begin(), items.end(), items_.begin(), same_item);
  return same ? kRight : kWrong;
}

/// `(3 + 5) * 2`, or `(3 + 5) * 2 = 16`.
Verdict Checker::check_countdown(std::string_view part) const {
  const size_t equals = part.find('=');
  const auto expression = read_expression(part.substr(0, equals));
  if (!expression) return {false, "no expression"};
  if (equals != std::string_view::npos) {
    const auto claim = read_expression(part.substr(equals + 1));
    if (!claim || !(claim->value == expression->value)) return {false, "the sides differ"};
  }
  std::vector<int64_t> used = expression->numbers;
  std::sort(used.begin(), used.end());
  if (!std::includes(numbers_.begin(), numbers_.end(), used.begin(), used.end()))
    return {false, "other numbers"};
  return expression->value == Rational{target_, 1} ? kRight : kWrong;
}

Verdict Checker::check_call(const Response& response) const {
  if (response.calls.empty()) return {false, "no call"};
  if (response.calls.size() > 1) return {false, "several calls"};
  const SpokenCall& call = response.calls[0];
  if (call.name != name_) return {false, "another tool"};
  try {
    const Json arguments = parse_json(call.arguments, "arguments", {.max_values = 10'000});
    return arguments == arguments_ ? kRight : Verdict{false, "other arguments"};
  } catch (const Error&) {
    return {false, "arguments that are no JSON"};
  }
}

}  // namespace um
