// Values of chat templates as text: Python's str() and repr(), and json.dumps().
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "text/jinja_value.h"
#include "text/utf8.h"

namespace um {
namespace {

/// Python's repr of a float: the shortest digits that give it back, with a point or an exponent.
std::string real_text(double value, bool json) {
  if (std::isnan(value)) return json ? "NaN" : "nan";
  if (std::isinf(value))
    return fmt::format("{}{}", value < 0 ? "-" : "", json ? "Infinity" : "inf");
  const double size = std::fabs(value);
  const bool exponent = size != 0 && (size < 1e-4 || size >= 1e16);
  std::array<char, 64> room;
  const auto end =
      std::to_chars(room.data(), room.data() + room.size(), value,
                    exponent ? std::chars_format::scientific : std::chars_format::fixed);
  std::string text(room.data(), end.ptr);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string quoted(const std::string& text) {
  const bool single = text.find('\'') != std::string::npos;
  const char quote = single && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == '\n' || c == '\r' || c == '\t') {
      out.append({'\\', c == '\n' ? 'n' : c == '\r' ? 'r' : 't'});
    } else if (c == '\\' || c == quote) {
      out.append({'\\', c});
    } else if (static_cast<uint8_t>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
    } else {
      out += c;
    }
  }
  return out + quote;
}

std::string json_quoted(const std::string& text, bool ascii) {
  constexpr std::string_view kPlain = "\"\\\n\r\t\b\f", kLetters = "\"\\nrtbf";
  std::string out = "\"";
  for (const char c : text) {
    const size_t known = kPlain.find(c);
    if (known != std::string_view::npos) {
      out.append({'\\', kLetters[known]});
    } else if (static_cast<uint8_t>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<uint8_t>(c));
    } else {
      out += c;
    }
  }
  if (ascii)  // the library does the code units
    return nlohmann::json(repair_utf8(text)).dump(-1, ' ', true);
  return out + "\"";
}

class Writer {
 public:
  Writer(const JinjaJsonStyle* json, JinjaBudget& budget) : json_(json), budget_(budget) {
    if (json == nullptr) return;
    indent_ = json->indent;
    between_ = !json->item_separator.empty() ? json->item_separator : indent_ >= 0 ? "," : ", ";
    if (!json->key_separator.empty()) colon_ = json->key_separator;
  }

  void write(const JinjaValue& value, int depth) {
    budget_.spend(JinjaBudget::kStep / 2);
    if (const auto* items = value.items()) {
      write_list(*items, value.is_tuple(), depth);
    } else if (const auto* fields = value.fields()) {
      write_dict(*fields, depth);
    } else if (const MarkedText* text = value.as_text()) {
      const char mark = text->any_outside() ? '\1' : '\0';
      add(json_ != nullptr ? json_quoted(text->bytes, json_->ascii) : quoted(text->bytes), mark);
    } else {
      add(scalar(value));
    }
  }
  MarkedText out;

 private:
  void add(std::string_view text, char mark = '\0') {
    budget_.spend(text.size());
    out.append(text, mark);
  }
  std::string scalar(const JinjaValue& value) const {
    const bool json = json_ != nullptr;
    if (const auto* flag = value.get_if<bool>())
      return json ? (*flag ? "true" : "false") : (*flag ? "True" : "False");
    if (const auto* number = value.get_if<int64_t>()) return std::to_string(*number);
    if (const auto* number = value.get_if<double>()) return real_text(*number, json);
    if (value.is_none()) return json ? "null" : "None";
    if (const auto* missing = value.get_if<JinjaValue::Undefined>(); missing != nullptr && json)
      fail("tojson: {} is undefined", missing->name);
    UM_CHECK(!json, "tojson: a {} cannot be written as JSON", value.type_name());
    return value.is_undefined() ? "Undefined" : fmt::format("<{}>", value.type_name());
  }
  void line(int depth) {
    if (indent_ < 0) return;
    add("\n");
    add(std::string(static_cast<size_t>(indent_ * depth), ' '));
  }
  void write_list(const JinjaValue::List& items, bool tuple, int depth) {
    tuple = tuple && json_ == nullptr;
    add(tuple ? "(" : "[");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) add(between_);
      line(depth + 1);
      write(items[i], depth + 1);
    }
    if (!items.empty()) line(depth);
    add(!tuple ? "]" : items.size() == 1 ? ",)" : ")");
  }
  void write_dict(const JinjaValue::Dict& fields, int depth) {
    std::vector<size_t> order(fields.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (json_ != nullptr && json_->sort_keys) {
      std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        return jinja_compare(fields[a].first, fields[b].first, budget_) < 0;
      });
    }
    add("{");
    for (size_t i = 0; i < order.size(); ++i) {
      if (i > 0) add(between_);
      line(depth + 1);
      write(fields[order[i]].first, depth + 1);
      add(colon_);
      write(fields[order[i]].second, depth + 1);
    }
    if (!fields.empty()) line(depth);
    add("}");
  }

  const JinjaJsonStyle* json_;
  JinjaBudget& budget_;
  int indent_ = -1;
  std::string between_ = ", ", colon_ = ": ";
};

}  // namespace

MarkedText jinja_text(const JinjaValue& value, JinjaBudget& budget) {
  if (value.is_undefined()) return {};
  if (const MarkedText* text = value.as_text()) {
    budget.spend(text->size());
    return *text;
  }
  return jinja_repr(value, budget);
}

MarkedText jinja_repr(const JinjaValue& value, JinjaBudget& budget) {
  Writer writer(nullptr, budget);
  writer.write(value, 0);
  return std::move(writer.out);
}

MarkedText jinja_json(const JinjaValue& value, const JinjaJsonStyle& style, JinjaBudget& budget) {
  Writer writer(&style, budget);
  writer.write(value, 0);
  return std::move(writer.out);
}

}  // namespace um
