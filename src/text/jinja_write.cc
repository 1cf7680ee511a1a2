// Values of chat templates as text: Python's str() and repr(), and json.dumps().
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "text/jinja_ast.h"
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

/// What str.isprintable() refuses, but for the blank.
bool printable(int32_t code) {
  const auto category = utf8proc_category(code);
  return code == ' ' || (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_SO);
}

std::string quoted(const std::string& text) {
  const bool single = text.find('\'') != std::string::npos;
  const char quote = single && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t at = 0; at < text.size();) {
    utf8proc_int32_t code = 0;
    const auto width = static_cast<size_t>(std::max<utf8proc_ssize_t>(
        1, utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                            static_cast<utf8proc_ssize_t>(text.size() - at), &code)));
    if (code == '\n' || code == '\r' || code == '\t')
      out.append({'\\', code == '\n' ? 'n' : code == '\r' ? 'r' : 't'});
    else if (code == '\\' || code == quote)
      out.append({'\\', static_cast<char>(code)});
    else if (printable(code))
      out.append(text, at, width);
    else if (code < 0x100)
      out += fmt::format("\\x{:02x}", code);
    else
      out += code < 0x10000 ? fmt::format("\\u{:04x}", code) : fmt::format("\\U{:08x}", code);
    at += width;
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
    between_ = json->item_separator.value_or(indent_ ? "," : ", ");
    if (json->key_separator) colon_ = *json->key_separator;
  }

  void write(const JinjaValue& value, int depth) {
    budget_.spend(JinjaBudget::kStep / 2);
    if (const auto* items = value.items()) {
      write_sequence(*items, value.kind(), depth);
    } else if (const auto* fields = value.fields()) {
      write_dict(*fields, depth);
    } else if (const MarkedText* text = value.as_text()) {
      const char mark = text->any_mark();
      const bool html = text->html && json_ == nullptr;
      if (html) add("Markup(");
      add(json_ != nullptr ? json_quoted(text->bytes, json_->ascii) : quoted(text->bytes), mark);
      if (html) add(")");
    } else if (const auto* space = value.as_namespace(); space != nullptr && json_ == nullptr) {
      write_namespace(*space, depth);
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
    if (const auto* number = value.get_if<uint64_t>()) return std::to_string(*number);
    if (const auto* number = value.get_if<double>()) return real_text(*number, json);
    if (value.is_none()) return json ? "null" : "None";
    if (const auto* missing = value.get_if<JinjaValue::Undefined>(); missing != nullptr && json)
      fail("tojson: {} is undefined", missing->name);
    UM_CHECK(!json, "tojson: a {} cannot be written as JSON", value.type_name());
    const JinjaNode* macro = value.as_function() != nullptr ? value.as_function()->macro : nullptr;
    if (macro != nullptr)
      return macro->kind == JinjaNode::kCallBlock ? "<Macro anonymous>"
                                                  : fmt::format("<Macro '{}'>", macro->text);
    return value.is_undefined() ? "Undefined" : fmt::format("<{}>", value.type_name());
  }
  void line(int depth) {
    if (!indent_) return;
    add("\n");
    for (int i = 0; i < depth; ++i) add(*indent_);
  }
  void write_sequence(const JinjaValue::List& items, JinjaSequence kind, int depth) {
    static constexpr std::array<std::array<const char*, 2>, 7> kBrackets = {
        {{"[", "]"},
         {"(", ")"},
         {"(", ")"},
         {"range(", ")"},
         {"dict_items([", "])"},
         {"dict_keys([", "])"},
         {"dict_values([", "])"}}};
    const bool json = json_ != nullptr, range = kind == JinjaSequence::kRange;
    UM_CHECK(!json || kind < JinjaSequence::kRange, "tojson: a range or the view of a dict");
    if (range) return add(range_text(items));
    const auto& brackets = kBrackets[json ? 0 : static_cast<size_t>(kind)];
    add(brackets[0]);
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) add(between_);
      line(depth + 1);
      write(items[i], depth + 1);
    }
    if (!items.empty()) line(depth);
    if (items.size() == 1 && brackets[1][0] == ')' && !json) add(",");
    add(brackets[1]);
  }
  static std::string range_text(const JinjaValue::List& items) {
    if (items.empty()) return "range(0, 0)";
    const int64_t first = items[0].as_integer("range");
    const int64_t step = items.size() > 1 ? items[1].as_integer("range") - first : 1;
    const int64_t end = items.back().as_integer("range") + step;
    return step == 1 ? fmt::format("range({}, {})", first, end)
                     : fmt::format("range({}, {}, {})", first, end, step);
  }
  /// A key of a JSON object is a text.
  void write_key(const JinjaValue& key, int depth) {
    if (json_ == nullptr || key.as_text() != nullptr) return write(key, depth);
    UM_CHECK(key.is_number() || key.is_none(), "tojson: a key that is a {}", key.type_name());
    add('"' + scalar(key) + '"');
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
      write_key(fields[order[i]].first, depth + 1);
      add(colon_);
      write(fields[order[i]].second, depth + 1);
    }
    if (!fields.empty()) line(depth);
    add("}");
  }

  /// A namespace can be in itself.
  void write_namespace(const JinjaValue::Namespace& space, int depth) {
    UM_CHECK(++spaces_ <= kMaxSpaces, "a namespace that has more than {} in it is shown",
             kMaxSpaces);
    JinjaValue::Dict fields;
    for (const auto& [name, value] : space.fields)
      fields.emplace_back(JinjaValue::string(name), value);
    add("<Namespace ");
    write_dict(fields, depth + 1);
    add(">");
    --spaces_;
  }

  static constexpr int kMaxSpaces = 32;
  int spaces_ = 0;  // that are being written
  const JinjaJsonStyle* json_;
  JinjaBudget& budget_;
  std::optional<std::string> indent_;
  std::string between_ = ", ", colon_ = ": ";
};

}  // namespace

MarkedText jinja_text(const JinjaValue& value, JinjaBudget& budget, bool soft) {
  if (value.is_undefined()) return {};
  if (const MarkedText* text = value.as_text()) {
    budget.spend(text->size());
    MarkedText copy = *text;
    copy.html = soft && copy.html;
    return copy;
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

std::string jinja_dumps(const OrderedJson& value) {
  JinjaBudget free(UINT64_MAX);
  return jinja_json(JinjaValue::from_json(value, false), {}, free).bytes;
}

}  // namespace um
