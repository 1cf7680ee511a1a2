// Calls as they stand in a program (kLiteral): NAME(key=VALUE, …), NAME{key:VALUE,…}. Values are
// literals of Python or JSON, or texts between the form's own marks; they come out as JSON, each
// when it is whole.
#include <optional>

#include "core/json.h"
#include "server/call_reader.h"
#include "server/literal.h"

namespace um {
namespace {

constexpr size_t kMaxWord = 256;
constexpr std::string_view kSpaces = " \t\r\n";

bool is_space(char c) {
  return kSpaces.find(c) != std::string_view::npos;
}

/// Letters, digits and what names have besides.
bool is_name(char c) {
  const auto byte = static_cast<uint8_t>(c);
  return (byte >= 0x80 && c != kMarkByte) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || std::string_view("_-./").find(c) != std::string_view::npos;
}

class LiteralReader : public CallReader {
 public:
  LiteralReader(const CallForm& form, const std::vector<Tool>& tools) : CallReader(form, tools) {}
  bool outside() const override { return place_ == Place::kBegin || place_ == Place::kTail; }

 private:
  enum class Place { kStart, kBegin, kName, kMiddle, kKey, kValue, kNext, kTail };

  Step step(std::vector<ToolCallDelta>& out) override {
    if (place_ == Place::kValue) return value(out);
    if (!skip_space()) return Step::kMore;
    switch (place_) {
      case Place::kStart:
        list_ = form_.list && next() == '[';
        if (list_) ++at_;
        return go(Place::kBegin);
      case Place::kBegin:
        return begin();
      case Place::kName:
        return name();
      case Place::kMiddle:
        return pass(form_.middle, Place::kKey);
      case Place::kKey:
        return key(out);
      case Place::kNext:
        return behind_value(out);
      default:
        return take_close();
    }
  }

  Step go(Place place) {
    place_ = place;
    return Step::kAgain;
  }
  Step pass(std::string_view mark, Place behind) {
    switch (take(mark)) {
      case Match::kYes:
        return go(behind);
      case Match::kPartly:
        return Step::kMore;
      case Match::kNo:
        break;
    }
    return Step::kFault;
  }

  /// A call, or the end of the calls.
  Step begin() {
    if (list_ && next() == ']' && calls() > 0) {
      ++at_;
      return go(Place::kTail);
    }
    if (calls() == 0)
      return form_.begin.empty() ? go(Place::kName) : pass(form_.begin, Place::kName);
    if (form_.list && (next() == ',' || next() == ';')) {
      ++at_;
      return Step::kAgain;
    }
    if (list_) return go(Place::kName);
    return take_close();
  }

  Step name() {
    size_t end = at_;
    while (end < text_.size() && is_name(text_[end])) ++end;
    if (end - at_ > kMaxWord || (end == at_ && end < text_.size())) return Step::kFault;
    if (end == text_.size()) return Step::kMore;
    name_ = text_.substr(at_, end - at_);
    at_ = end;
    return go(Place::kMiddle);
  }

  /// A key with its mark, or the end of the call.
  Step key(std::vector<ToolCallDelta>& out) {
    const Match ends = take(form_.end);
    if (ends == Match::kYes) return finish(out);
    if (ends == Match::kPartly) return Step::kMore;
    const size_t stop = text_.find_first_of(std::string_view(form_.key_close + "\n([{,"), at_);
    if (stop == std::string::npos)
      return text_.size() - at_ > kMaxWord ? Step::kFault : Step::kMore;
    std::string_view written = trimmed(std::string_view(text_).substr(at_, stop - at_));
    if (text_[stop] != form_.key_close[0] || written.empty()) return Step::kFault;
    const bool quoted = written.size() > 1 && written[0] == '"' && written.back() == '"';
    if (quoted) written = written.substr(1, written.size() - 2);
    const std::string key = form_.plain(written);
    at_ = stop + 1;
    if (!unfinished()) {
      begin_call(name_, out);
      first_ = true;
    }
    add((first_ ? "{" : ", ") + to_text(key) + ": ", out);
    first_ = false;
    exact_ = {.quotes = LiteralQuotes::kExact, .at = at_};
    loose_ = {.quotes = LiteralQuotes::kLoose, .at = at_};
    return go(Place::kValue);
  }

  Step finish(std::vector<ToolCallDelta>& out) {
    const bool none = !unfinished();
    if (none) begin_call(name_, out);
    end_call(none ? "{}" : "}", out);
    return go(Place::kBegin);
  }

  /// Looks for the end of a value, as far as the text goes.
  struct Scan {
    LiteralQuotes quotes = LiteralQuotes::kExact;
    size_t at = 0;
    std::string brackets = {};  // that are open
    std::string quote = {};     // the mark that ends the text there; empty outside texts
    bool behind_text = false;   // one has just ended
    bool over = false;          // there is no such value

    char bracket() const { return brackets.empty() ? '\0' : brackets.back(); }
  };

  /// As the languages have it, or else with quotes that stand in texts as they are.
  Step value(std::vector<ToolCallDelta>& out) {
    for (Scan* scan : {&exact_, &loose_}) {
      if (scan->over) continue;
      const Match found = find_end(*scan);
      if (found == Match::kPartly) return Step::kMore;
      const auto written = std::string_view(text_).substr(at_, scan->at - at_);
      const auto json = found == Match::kYes ? literal_json(written, form_, scan->quotes)
                                             : std::optional<std::string>();
      scan->over = true;
      if (!json) continue;
      at_ = scan->at;
      add(*json, out);
      return go(Place::kNext);
    }
    return Step::kFault;
  }

  Match find_end(Scan& scan) const {
    while (scan.at < text_.size()) {
      const bool inside = !scan.quote.empty();
      Match passed = inside ? pass_in_text(scan) : open_text(scan);
      if (passed == Match::kNo && !inside && scan.behind_text) passed = pass_behind_text(scan);
      if (passed == Match::kPartly || scan.over) return scan.over ? Match::kNo : passed;
      if (inside || passed == Match::kYes) continue;
      const char c = text_[scan.at];
      if (scan.brackets.empty() && c == form_.end[0]) return Match::kYes;
      if (scan.brackets.empty() && c == ',') return argument_follows(scan.at + 1);
      if (c == '[' || c == '(' || c == '{') scan.brackets += c;
      if (c == ']' || c == ')' || c == '}') {
        if (scan.bracket() != (c == ']' ? '[' : c == ')' ? '(' : '{')) return Match::kNo;
        scan.brackets.pop_back();
      }
      ++scan.at;
    }
    return Match::kPartly;
  }

  /// Passes the mark in front of a text.
  Match open_text(Scan& scan) const {
    const std::string_view here = std::string_view(text_).substr(scan.at);
    if (!form_.quote.empty() && here.starts_with(form_.quote)) {
      scan.quote = form_.quote;
    } else if (!form_.quote.empty() && std::string_view(form_.quote).starts_with(here)) {
      return Match::kPartly;
    } else if (here[0] != '"' && here[0] != '\'') {
      return Match::kNo;
    } else {
      const std::string three(3, here[0]);
      const bool exact = scan.quotes == LiteralQuotes::kExact;
      if (exact && here.size() < 3 && three.starts_with(here)) return Match::kPartly;
      scan.quote = exact && here.starts_with(three) ? three : three.substr(0, 1);
    }
    scan.at += scan.quote.size();
    scan.behind_text = false;
    return Match::kYes;
  }

  /// Passes a character of a text, an escape, or its last mark.
  Match pass_in_text(Scan& scan) const {
    const std::string_view here = std::string_view(text_).substr(scan.at);
    const bool marked = scan.quote == form_.quote;
    if (!marked && here[0] == '\\') {
      if (here.size() == 1) return Match::kPartly;
      scan.at += 2;
    } else if (here.starts_with(scan.quote)) {
      const bool loose = !marked && scan.quotes == LiteralQuotes::kLoose;
      const Match ends = loose ? ends_text(scan) : Match::kYes;
      if (ends == Match::kPartly) return ends;
      scan.at += scan.quote.size();
      if (ends == Match::kNo) return Match::kYes;
      scan.quote.clear();
      scan.behind_text = !marked;
    } else if (std::string_view(scan.quote).starts_with(here)) {
      return Match::kPartly;
    } else {
      ++scan.at;
    }
    return Match::kYes;
  }

  /// Only white space, what ends a value, or another text may stand behind a text.
  Match pass_behind_text(Scan& scan) const {
    const std::string_view here = std::string_view(text_).substr(scan.at);
    if (is_space(here[0])) {
      ++scan.at;
      return Match::kYes;
    }
    if (here.size() == 1 && may_be_prefix(here)) return Match::kPartly;
    scan.over = !text_prefix(here) && std::string_view(",:)]}").find(here[0]) == std::string::npos;
    if (!scan.over) scan.behind_text = false;
    return Match::kNo;
  }

  /// Whether a text may end at this quote. Models leave out the backslash in 'it's'.
  Match ends_text(const Scan& scan) const {
    const size_t next = text_.find_first_not_of(kSpaces, scan.at + 1);
    if (next == std::string::npos) return Match::kPartly;  // more must show it
    if (!scan.brackets.empty()) {
      const bool closes = closers_in(scan.bracket()).find(text_[next]) != std::string::npos;
      return closes ? Match::kYes : Match::kNo;
    }
    if (text_[next] == ',') return argument_follows(next + 1);
    return text_[next] == form_.end[0] ? call_ends(next + 1) : Match::kNo;
  }

  /// Whether what stands behind a comma is an argument, or the end of the call.
  Match argument_follows(size_t at) const {
    at = text_.find_first_not_of(kSpaces, at);
    if (at == std::string::npos) return Match::kPartly;
    size_t end = at;
    if (const Match ends = match(form_.end, end); ends != Match::kNo) return ends;
    for (end = at; end < text_.size() && end - at <= kMaxWord; ++end) {
      const char c = text_[end];
      if (c == form_.key_close[0]) return end > at ? Match::kYes : Match::kNo;
      if (std::string_view("\n,'([{}])").find(c) != std::string_view::npos) return Match::kNo;
    }
    return end < text_.size() ? Match::kNo : Match::kPartly;
  }

  /// Whether what stands behind the end of a call may stand there.
  Match call_ends(size_t at) const {
    at = text_.find_first_not_of(kSpaces, at);
    if (at == std::string::npos) return Match::kPartly;
    const char c = text_[at];
    if ((list_ && c == ']') || (form_.list && (c == ',' || c == ';'))) return Match::kYes;
    return match(form_.close, at);
  }

  /// A comma, or the end of the call.
  Step behind_value(std::vector<ToolCallDelta>& out) {
    const Match ends = take(form_.end);
    if (ends == Match::kYes) return finish(out);
    if (ends == Match::kPartly) return Step::kMore;
    if (next() != ',') return Step::kFault;
    ++at_;
    return go(Place::kKey);
  }

  Place place_ = Place::kStart;
  bool list_ = false;  // the calls stand in [ ]
  bool first_ = true;  // no argument has come
  std::string name_;
  Scan exact_, loose_;  // of the value
};

}  // namespace

std::unique_ptr<CallReader> make_literal_reader(const CallForm& form,
                                                const std::vector<Tool>& tools) {
  return std::make_unique<LiteralReader>(form, tools);
}

}  // namespace um
