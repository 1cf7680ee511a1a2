// Calls that are JSON objects, alone or in a list: {"name": …, "arguments": {…}} and {"NAME": {…}}.
#include <algorithm>

#include "core/json.h"
#include "server/call_reader.h"

namespace um {
namespace {

class ObjectReader : public CallReader {
 public:
  ObjectReader(const CallForm& form, const std::vector<Tool>& tools) : CallReader(form, tools) {}
  bool outside() const override { return place_ == Place::kItem || place_ == Place::kTail; }

 private:
  enum class Place { kStart, kItem, kTail, kMember, kColon, kValue, kSkipped, kArguments, kBehind };

  Step step(std::vector<ToolCallDelta>& out) override {
    if (place_ == Place::kArguments) return arguments(out);
    if (place_ == Place::kSkipped) return skipped(out);
    if (!skip_space()) return Step::kMore;
    switch (place_) {
      case Place::kStart:
        list_ = next() == '[';
        if (list_) ++at_;
        place_ = Place::kItem;
        return Step::kAgain;
      case Place::kItem:
        return item();
      case Place::kTail:
        return tail();
      case Place::kMember:
      case Place::kBehind:
        return member(out);
      case Place::kColon:
        if (next() != ':') return Step::kFault;
        ++at_;
        place_ = Place::kValue;
        return Step::kAgain;
      default:
        return value(out);
    }
  }

  /// Between calls.
  Step item() {
    if (next() == '{') {
      ++at_;
      name_.clear(), held_.clear(), begun_ = given_ = false;
      place_ = Place::kMember;
      return Step::kAgain;
    }
    if (list_ && next() == ']') {
      ++at_;
      place_ = Place::kTail;
      return form_.close.empty() ? Step::kClosed : Step::kAgain;
    }
    if ((next() == ',' || next() == ';') && calls() > 0) {
      ++at_;
      return Step::kAgain;
    }
    return list_ ? Step::kFault : tail();
  }

  Step tail() { return form_.close.empty() ? Step::kFault : take_close(); }

  Step member(std::vector<ToolCallDelta>& out) {
    if (next() == '}' && !comma_) {
      ++at_;
      return end_object(out);
    }
    if (next() == ',' && place_ == Place::kBehind && !comma_) {
      ++at_;
      comma_ = true;
      return Step::kAgain;
    }
    if (next() != '"' || (place_ == Place::kBehind && !comma_)) return Step::kFault;
    std::string key;
    const Step step = string(key);
    if (step != Step::kAgain) return step;
    key_ = key;
    comma_ = false;
    place_ = Place::kColon;
    if (form_.kind != CallForm::Kind::kKeyed) return Step::kAgain;
    if (!name_.empty()) return Step::kFault;
    name_ = key;
    key_ = form_.arguments_key;
    return Step::kAgain;
  }

  /// Reads the text in quotes at which this stands.
  Step string(std::string& text) {
    scanned_ = std::max(scanned_, at_ + 1);
    for (; scanned_ < text_.size(); ++scanned_) {
      if (text_[scanned_] == '\\')
        ++scanned_;
      else if (text_[scanned_] == '"')
        break;
    }
    if (scanned_ >= text_.size()) return Step::kMore;
    const Json json = Json::parse(
        form_.plain(std::string_view(text_).substr(at_, scanned_ + 1 - at_)), nullptr, false);
    at_ = scanned_ + 1;
    scanned_ = 0;
    if (!json.is_string()) return Step::kFault;
    text = json.get<std::string>();
    return Step::kAgain;
  }

  Step value(std::vector<ToolCallDelta>& out) {
    const bool is_name = key_ == form_.name_key && form_.kind == CallForm::Kind::kObject;
    const bool is_arguments = names_arguments();
    if (is_name && (next() != '"' || !name_.empty())) return Step::kFault;
    if (is_name) return name(out);
    if (is_arguments && given_) return Step::kFault;
    if (is_arguments && next() == '{') {
      const Match begins = object_begins();
      if (begins != Match::kYes) return begins == Match::kNo ? Step::kFault : Step::kMore;
      given_ = true;
      place_ = name_.empty() ? Place::kSkipped : Place::kArguments;
      value_ = at_;
      if (!name_.empty()) begin(out);
      return Step::kAgain;
    }
    if (is_arguments && next() != '"' && next() != 'n') return Step::kFault;
    if (std::string_view("]},:").find(next()) != std::string_view::npos) return Step::kFault;
    value_ = at_;
    place_ = Place::kSkipped;
    given_ = given_ || is_arguments;
    return Step::kAgain;
  }

  /// Models mix these two up.
  bool names_arguments() const { return key_ == "arguments" || key_ == "parameters"; }

  Step name(std::vector<ToolCallDelta>& out) {
    const Step step = string(name_);
    if (step != Step::kAgain) return step;
    if (name_.empty()) return Step::kFault;
    place_ = Place::kBehind;
    if (form_.bare() && !is_tool(name_)) return Step::kFault;  // it is an answer in JSON
    if (held_.empty()) return Step::kAgain;
    begin(out);
    add(held_, out);
    return Step::kAgain;
  }

  void begin(std::vector<ToolCallDelta>& out) {
    begin_call(name_, out);
    begun_ = true;
  }

  Step arguments(std::vector<ToolCallDelta>& out) {
    if (!take_object(out)) return Step::kMore;
    place_ = Place::kBehind;
    return Step::kAgain;
  }

  /// A value that is read as a whole: of another member, or arguments that are a text, or that came
  /// before the name.
  Step skipped(std::vector<ToolCallDelta>& out) {
    if (text_[value_] == '"') {
      std::string text;
      const Step step = string(text);
      if (step != Step::kAgain) return step;
      return whole_value(trimmed(text).empty() ? "{}" : text, out);
    }
    const bool nested = text_[value_] == '{' || text_[value_] == '[';
    bool ended = false;
    for (; at_ < text_.size() && !ended; ++at_) {
      if (nested)
        ended = nesting_.closes(text_[at_]);
      else if ((ended = std::string_view(",} \t\r\n]").find(text_[at_]) != std::string_view::npos))
        break;
    }
    if (!ended) return Step::kMore;
    if (nested) nesting_ = {};
    const std::string text = form_.plain(std::string_view(text_).substr(value_, at_ - value_));
    return whole_value(text == "null" ? "{}" : text, out);
  }

  Step whole_value(const std::string& text, std::vector<ToolCallDelta>& out) {
    place_ = Place::kBehind;
    if (!names_arguments()) return Step::kAgain;
    const std::string_view object = trimmed(text);
    if (object.front() != '{' || object.back() != '}') return Step::kFault;
    held_ = object.substr(0, object.size() - 1);
    if (name_.empty()) return Step::kAgain;
    begin(out);
    add(held_, out);
    return Step::kAgain;
  }

  Step end_object(std::vector<ToolCallDelta>& out) {
    if (name_.empty() || (form_.bare() && !given_)) return Step::kFault;
    if (!begun_) begin(out);
    end_call(given_ ? "}" : "{}", out);
    place_ = Place::kItem;
    if (!list_ && form_.close.empty() && !form_.bare()) return Step::kClosed;
    return Step::kAgain;
  }

  Place place_ = Place::kStart;
  bool list_ = false;   // the calls stand in a list
  bool comma_ = false;  // a member must follow
  bool begun_ = false;  // the call has come out
  bool given_ = false;  // its arguments were there
  std::string key_, name_;
  std::string held_;    // arguments that wait for the name, without their last bracket
  size_t value_ = 0;    // where a value begins that is read as a whole
  size_t scanned_ = 0;  // of a text in quotes
};

}  // namespace

std::unique_ptr<CallReader> make_object_reader(const CallForm& form,
                                               const std::vector<Tool>& tools) {
  return std::make_unique<ObjectReader>(form, tools);
}

}  // namespace um
