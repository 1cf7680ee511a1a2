// Calls whose name stands between marks: with a JSON object behind it (kNamed), or with each
// argument between marks (kTagged).
#include <algorithm>
#include <array>

#include "core/json.h"
#include "server/argument_types.h"
#include "server/call_reader.h"
#include "text/utf8.h"

namespace um {
namespace {

constexpr size_t kMaxName = 256, kMaxId = 128;

bool is_name(char c) {
  const auto byte = static_cast<uint8_t>(c);
  return (byte >= 0x80 && c != kMarkByte) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || std::string_view("_-.:/").find(c) != std::string_view::npos;
}

/// A mark with an id in it: what stands before the id, and behind it.
struct WithId {
  std::string_view before, after;
  bool has_id = false;
  explicit WithId(std::string_view mark) : before(mark) {
    const size_t at = mark.find(kAnyId);
    has_id = at != std::string_view::npos;
    if (has_id) before = mark.substr(0, at), after = mark.substr(at + 1);
  }
};

class NamedReader : public CallReader {
 public:
  NamedReader(const CallForm& form, const std::vector<Tool>& tools)
      : CallReader(form, tools),
        begin_(form.begin),
        middle_(form.middle),
        // Where the form opens with the mark of the first call, that has been read.
        place_(!form.open.empty()          ? Place::kBegin
               : WithId(form.begin).has_id ? Place::kBeginId
                                           : Place::kName) {}
  bool outside() const override { return place_ == Place::kBegin; }

 protected:
  enum class Place {
    kBegin,
    kBeginId,
    kName,
    kMiddle,
    kMiddleId,
    kArguments,  // of kNamed: an object
    kObject,
    kParameter,  // of kTagged: a key and its value, or the end
    kKey,
    kValue,
    kEnd
  };

  Step step(std::vector<ToolCallDelta>& out) override {
    if (place_ == Place::kValue) return value(out);
    if (place_ == Place::kObject) return object(out);
    if (!skip_space()) return Step::kMore;
    switch (place_) {
      case Place::kBegin:
        return begin();
      case Place::kBeginId:
        return pass(begin_.after, Place::kName);
      case Place::kName:
        return name();
      case Place::kMiddle:
        return middle();
      case Place::kMiddleId:
        return pass(middle_.after, arguments_place());
      case Place::kArguments:
        return arguments(out);
      case Place::kParameter:
        return parameter(out);
      case Place::kKey:
        return key(out);
      default:
        return end(out);
    }
  }

 private:
  Place arguments_place() const {
    return form_.kind == CallForm::Kind::kTagged ? Place::kParameter : Place::kArguments;
  }

  Step go(Place place) {
    place_ = place;
    return Step::kAgain;
  }

  /// A call, or the end of the calls.
  Step begin() {
    if (calls() > 0 || !form_.begin.empty()) {
      const Match closes = form_.close.empty() ? Match::kNo : take(form_.close);
      if (closes == Match::kYes) return calls() > 0 ? Step::kClosed : Step::kFault;
      const Match begins = form_.begin.empty() ? Match::kNo : take(begin_.before);
      if (begins == Match::kYes) return go(begin_.has_id ? Place::kBeginId : Place::kName);
      const bool partly = closes == Match::kPartly || begins == Match::kPartly;
      return partly ? Step::kMore : Step::kFault;
    }
    return go(Place::kName);
  }

  /// What is written up to this mark means nothing to us.
  Step pass(std::string_view mark, Place behind) {
    for (size_t n = 0; n < kMaxId; ++n) {
      size_t end = at_ + n;
      if (end >= text_.size()) return Step::kMore;
      switch (match(mark, end)) {
        case Match::kYes:
          at_ = end;
          return go(behind);
        case Match::kPartly:
          return Step::kMore;
        case Match::kNo:
          break;
      }
    }
    return Step::kFault;
  }

  Step name() {
    const std::string_view stop = trimmed(middle_.before);
    size_t end = at_;
    while (end < text_.size() && is_name(text_[end]) && (stop.empty() || text_[end] != stop[0]))
      ++end;
    if (end - at_ > kMaxName) return Step::kFault;
    if (end == text_.size()) return Step::kMore;
    if (end == at_) return Step::kFault;
    name_ = text_.substr(at_, end - at_);
    at_ = end;
    return go(stop.empty() ? arguments_place() : Place::kMiddle);
  }

  Step middle() {
    switch (take(middle_.before)) {
      case Match::kYes:
        return go(middle_.has_id ? Place::kMiddleId : arguments_place());
      case Match::kPartly:
        return Step::kMore;
      case Match::kNo:
        break;
    }
    return Step::kFault;
  }

  // ---- an object ----

  Step arguments(std::vector<ToolCallDelta>& out) {
    switch (object_begins()) {
      case Match::kYes:
        begin_call(name_, out);
        return go(Place::kObject);
      case Match::kPartly:
        return Step::kMore;
      case Match::kNo:
        break;
    }
    return Step::kFault;
  }

  Step object(std::vector<ToolCallDelta>& out) {
    if (!take_object(out)) return Step::kMore;
    if (!trimmed(form_.end).empty()) return go(Place::kEnd);
    end_call("}", out);
    return form_.close.empty() && form_.begin.empty() ? Step::kClosed : go(Place::kBegin);
  }

  Step end(std::vector<ToolCallDelta>& out) {
    switch (take(form_.end)) {
      case Match::kYes:
        end_call("}", out);
        return form_.open.empty() ? Step::kClosed : go(Place::kBegin);
      case Match::kPartly:
        return Step::kMore;
      case Match::kNo:
        break;
    }
    return Step::kFault;
  }

  // ---- parameters ----

  /// The mark behind the last parameter.
  const std::string& last_mark() const { return form_.end.empty() ? form_.close : form_.end; }

  Step parameter(std::vector<ToolCallDelta>& out) {
    const Match ends = take(last_mark());  // the mark of a key may be its beginning
    if (ends == Match::kYes) {
      if (!unfinished()) start(out);
      end_call(first_ ? "{}" : "}", out);
      const bool closed = form_.end.empty() || form_.open.empty();
      return closed ? Step::kClosed : go(Place::kBegin);
    }
    if (ends == Match::kPartly) return Step::kMore;
    switch (take(form_.key_open)) {
      case Match::kYes:
        if (!unfinished()) start(out);
        return go(Place::kKey);
      case Match::kPartly:
        return Step::kMore;
      case Match::kNo:
        break;
    }
    return Step::kFault;
  }

  void start(std::vector<ToolCallDelta>& out) {
    begin_call(name_, out);
    first_ = true;
    const auto tool =
        std::find_if(tools_.begin(), tools_.end(), [&](const Tool& t) { return t.name == name_; });
    types_ = ArgumentTypes(tool == tools_.end() ? "" : tool->parameters);
  }

  Step key(std::vector<ToolCallDelta>& out) {
    for (size_t n = 0; n < kMaxName; ++n) {
      if (at_ + n >= text_.size()) return Step::kMore;
      bool partly = false;
      for (const bool text : {true, false}) {
        const std::string& mark = text ? form_.text_key_close : form_.key_close;
        size_t end = at_ + n;
        const Match found = mark.empty() ? Match::kNo : match(mark, end);
        partly = partly || found == Match::kPartly;
        if (found != Match::kYes) continue;
        key_ = form_.plain(trimmed(std::string_view(text_).substr(at_, n)));
        at_ = end;
        return begin_value(text, out);
      }
      if (partly) return Step::kMore;
    }
    return Step::kFault;
  }

  /// `is_text`: the mark said so.
  Step begin_value(bool is_text, std::vector<ToolCallDelta>& out) {
    as_text_ = is_text || (form_.text_key_close.empty() && types_.only_text(key_));
    said_ = form_.text_key_close.empty() ? Said::kNothing : is_text ? Said::kText : Said::kJson;
    add((first_ ? "{" : ", ") + to_text(key_) + ": " + (as_text_ ? "\"" : ""), out);
    first_ = false;
    looked_ = at_;
    line_ = form_.key_close.ends_with('\n');
    value_close_ = form_.close_of(key_);
    depth_ = 0;
    return go(Place::kValue);
  }

  Step value(std::vector<ToolCallDelta>& out) {
    if (line_) {  // the line end belongs to the mark
      if (at_ == text_.size()) return Step::kMore;
      if (text_[at_] == '\n') ++at_;
      line_ = false;
      looked_ = at_;
    }
    size_t end = 0;
    const Match found = !form_.item.empty() && !as_text_ ? find_outer_end(end) : find_end(end);
    if (found == Match::kYes) {
      const size_t mark = looked_;
      finish_value(mark, out);
      at_ = end;
      return go(Place::kParameter);
    }
    if (found == Match::kNo) return Step::kFault;
    if (as_text_ && !form_.cdata) show_text(std::max(at_, safe_end()), out);
    return Step::kMore;
  }

  /// Looks from `looked_` on for the mark that ends the value, which another parameter or the end
  /// of the call must follow; then `looked_` is where it begins and `end` where it ends.
  Match find_end(size_t& end) {
    const std::string_view mark = trimmed(value_close_);
    for (;; ++looked_) {
      looked_ = text_.find(mark[0], looked_);
      if (looked_ == std::string::npos) {
        looked_ = text_.size();
        return Match::kPartly;
      }
      end = looked_;
      Match found = match(mark, end);
      if (found == Match::kYes && open_cdata()) found = Match::kNo;
      if (found == Match::kYes) found = followed(end);
      if (found != Match::kNo) return found;
    }
  }

  /// The like for a value with values between marks in it.
  Match find_outer_end(size_t& end) {
    const std::string& open = form_.key_open;
    for (;; looked_ += open.size()) {
      const size_t at = text_.find(open, looked_);
      if (at == std::string::npos || at + open.size() == text_.size()) {
        const size_t cut = text_.size() - std::min(text_.size(), open.size() - 1);
        looked_ = std::max(looked_, std::min(at, cut));
        return Match::kPartly;
      }
      looked_ = at;
      if (text_[at + open.size()] != '/') {
        ++depth_;
        continue;
      }
      if (depth_-- > 0) continue;
      end = at;
      const Match found = match(value_close_, end);
      if (found == Match::kPartly) ++depth_;
      return found;
    }
  }

  Match followed(size_t at) const {
    while (at < text_.size() && std::string_view(" \t\r\n").find(text_[at]) != std::string::npos)
      ++at;
    Match best = Match::kNo;
    for (const std::string* mark : {&form_.key_open, &last_mark()}) {
      size_t end = at;
      Match found = match(*mark, end);
      // Where values stand in values, what closes begins as what opens.
      if (found == Match::kYes && !form_.item.empty() && mark == &form_.key_open)
        found = end == text_.size() ? Match::kPartly : text_[end] == '/' ? Match::kNo : Match::kYes;
      if (found == Match::kYes) return found;
      if (found == Match::kPartly) best = found;
    }
    return best;
  }

  bool open_cdata() const {
    const std::string_view value = std::string_view(text_).substr(at_, looked_ - at_);
    return form_.cdata && value.starts_with(kCdata) && !value.ends_with(kCdataEnd);
  }

  /// A line end in front of the closing mark may belong to it.
  size_t without_line(size_t end) const {
    const bool line = form_.value_close.starts_with('\n') && end > at_ && text_[end - 1] == '\n';
    return end - (line ? 1 : 0);
  }
  size_t safe_end() const { return without_line(looked_); }

  void finish_value(size_t end, std::vector<ToolCallDelta>& out) {
    end = without_line(end);
    if (as_text_ && !form_.cdata) {
      show_text(end, out);
      return add("\"", out);
    }
    std::string_view value = std::string_view(text_).substr(at_, end - at_);
    const bool cdata = form_.cdata && value.starts_with(kCdata) && value.ends_with(kCdataEnd);
    if (cdata) value = value.substr(kCdata.size(), value.size() - kCdata.size() - kCdataEnd.size());
    const std::string text = form_.plain(value);
    at_ = end;
    if (as_text_) return add(to_text(text).substr(1), out);
    if (!form_.item.empty()) return add(nested(value, types_.place(key_), 0), out);
    const bool json = said_ == Said::kJson && Json::accept(text);
    add(json ? text : cdata ? to_text(text) : types_.json(key_, text), out);
  }

  /// The JSON of a value that may have values between marks in it: a list of elements, or an
  /// object.
  std::string nested(std::string_view value, ArgumentTypes::Place place, int depth) const {
    std::vector<std::pair<std::string, std::string_view>> parts;
    if (depth > kMaxNesting || !cut(value, parts) || parts.empty())
      return types_.json(place, form_.plain(value));
    const bool list = std::all_of(parts.begin(), parts.end(),
                                  [&](const auto& part) { return part.first == form_.item; });
    std::string text;
    for (const auto& [key, inner] : parts) {
      const auto below = list ? types_.element(place) : types_.member(place, key);
      text += (text.empty() ? "" : ", ") + (list ? "" : to_text(key) + ": ") +
              nested(inner, below, depth + 1);
    }
    return list ? "[" + text + "]" : "{" + text + "}";
  }

  /// Cuts it into its values with their keys. False if it is not all of such.
  bool cut(std::string_view value,
           std::vector<std::pair<std::string, std::string_view>>& parts) const {
    const std::string& open = form_.key_open;
    for (value = trimmed(value); !value.empty(); value = trimmed(value)) {
      if (!value.starts_with(open)) return false;
      const size_t stop = value.find(form_.key_close, open.size());  // may stand in `open`
      if (stop == std::string_view::npos) return false;
      const std::string_view key = value.substr(open.size(), stop - open.size());
      const std::string close = form_.close_of(std::string(key));
      const size_t begin = stop + form_.key_close.size();
      size_t at = begin;
      int depth = 0;
      for (; (at = value.find(open, at)) != std::string_view::npos; at += open.size()) {
        if (!value.substr(at + open.size()).starts_with('/'))
          ++depth;
        else if (depth-- == 0)
          break;
      }
      if (at == std::string_view::npos || !value.substr(at).starts_with(close)) return false;
      parts.emplace_back(form_.plain(key), value.substr(begin, at - begin));
      value.remove_prefix(at + close.size());
    }
    return true;
  }

  /// Gives out a text up to there.
  void show_text(size_t end, std::vector<ToolCallDelta>& out) {
    if (end <= at_) return;
    const std::string text = to_text(form_.plain(std::string_view(text_).substr(at_, end - at_)));
    at_ = end;
    add(std::string_view(text).substr(1, text.size() - 2), out);
  }

  static constexpr std::string_view kCdata = "<![CDATA[", kCdataEnd = "]]>";
  static constexpr int kMaxNesting = 64;
  enum class Said { kNothing, kText, kJson };

  WithId begin_, middle_;
  Place place_;
  std::string name_, key_;
  ArgumentTypes types_;
  bool first_ = true;           // no parameter has come
  bool as_text_ = false;        // the value is a text, and comes out as it comes
  Said said_ = Said::kNothing;  // what the mark in front of the value said of it
  bool line_ = false;           // a line end may follow the mark
  size_t looked_ = 0;           // where the end of the value is looked for
  std::string value_close_;     // what stands behind the value
  int depth_ = 0;               // of values in values there
};

}  // namespace

std::unique_ptr<CallReader> make_named_reader(const CallForm& form,
                                              const std::vector<Tool>& tools) {
  return std::make_unique<NamedReader>(form, tools);
}

}  // namespace um
