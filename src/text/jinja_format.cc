// See jinja_format.h.
#include "text/jinja_format.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "text/jinja_runtime.h"

namespace um {
namespace {

constexpr int64_t kMaxWidth = 100'000, kMaxPrecision = 1000;

/// [[fill]align][sign][#][0][width][,][.precision][type], of which `%` has a part.
struct Spec {
  MarkedText fill = MarkedText::own(" ");
  char align = 0;   // < > ^ = or none
  char sign = '-';  // - + or a blank
  bool alternate = false;
  char group = 0;  // , or _
  int64_t width = 0, precision = -1;
  char type = 0;
};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// The number at `at`, which moves behind it.
int64_t take_number(std::string_view text, size_t& at, int64_t most) {
  int64_t value = 0;
  for (; at < text.size() && is_digit(text[at]); ++at) {
    value = value * 10 + (text[at] - '0');
    UM_CHECK(value <= most, "a format's number is larger than {}", most);
  }
  return value;
}

std::string grouped(std::string digits, char group, size_t every) {
  if (group == 0) return digits;
  size_t end = 0;
  while (end < digits.size() && std::isxdigit(static_cast<unsigned char>(digits[end])) &&
         digits[end] != 'e')
    ++end;
  for (size_t at = end; at > every; at -= every) digits.insert(at - every, 1, group);
  return digits;
}

/// Sign, digits and padding of a number.
MarkedText padded_number(const Spec& spec, bool negative, const std::string& prefix,
                         const std::string& digits, JinjaBudget& budget) {
  std::string head = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  head += prefix;
  const auto size = static_cast<int64_t>(head.size() + digits.size());
  const int64_t room = std::max<int64_t>(spec.width - size, 0);
  budget.spend(static_cast<uint64_t>(size + room * static_cast<int64_t>(spec.fill.size())));
  const char align = spec.align == 0 ? '>' : spec.align;
  const int64_t before = align == '>' ? room : align == '^' ? room / 2 : 0;
  MarkedText out;
  const auto fill = [&](int64_t count) {
    for (int64_t i = 0; i < count; ++i) out.append(spec.fill);
  };
  fill(before);
  out.append(head);
  if (align == '=') fill(room);
  out.append(digits);
  if (align == '<' || align == '^') fill(room - before);
  return out;
}

MarkedText format_integer(const Spec& spec, int64_t value, JinjaBudget& budget) {
  const uint64_t size =
      value < 0 ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  const int base = spec.type == 'x' || spec.type == 'X' ? 16
                   : spec.type == 'o'                   ? 8
                   : spec.type == 'b'                   ? 2
                                                        : 10;
  std::array<char, 72> room;
  std::string digits(room.data(),
                     std::to_chars(room.data(), room.data() + room.size(), size, base).ptr);
  std::string prefix;
  if (spec.alternate && base != 10) prefix = {'0', spec.type};
  if (spec.type == 'X')
    for (char& c : digits) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (spec.precision > std::ssize(digits))
    digits.insert(0, static_cast<size_t>(spec.precision) - digits.size(), '0');
  return padded_number(spec, value < 0, prefix, grouped(digits, spec.group, base == 10 ? 3 : 4),
                       budget);
}

std::string real_digits(double size, char type, int64_t precision, bool alternate) {
  const std::string form = std::string("%") + (alternate ? "#" : "") + ".*" + type;
  std::vector<char> room(400 + static_cast<size_t>(precision));
  const int written =
      std::snprintf(room.data(), room.size(), form.c_str(), static_cast<int>(precision), size);
  return std::string(room.data(), static_cast<size_t>(written));
}

MarkedText format_real(const Spec& spec, double value, JinjaBudget& budget) {
  const double size = std::fabs(value);
  std::string digits;
  if (std::isnan(value)) {
    digits = "nan";
  } else if (std::isinf(value)) {
    digits = "inf";
  } else if (spec.type == 0 && spec.precision < 0) {
    digits = jinja_repr(JinjaValue::real(size), budget).bytes;
  } else if (spec.type == '%') {
    digits = real_digits(size * 100, 'f', spec.precision < 0 ? 6 : spec.precision, false) + "%";
  } else {
    const char type = spec.type == 0 || spec.type == 'n' ? 'g' : spec.type;
    digits = real_digits(size, type, spec.precision < 0 ? 6 : spec.precision, spec.alternate);
    if (spec.type == 0 && digits.find_first_of(".e") == std::string::npos) digits += ".0";
  }
  return padded_number(spec, std::signbit(value) && !std::isnan(value), "",
                       grouped(digits, spec.group, 3), budget);
}

MarkedText format_text(const Spec& spec, MarkedText text, JinjaBudget& budget) {
  if (spec.precision >= 0) text = jinja_slice(text, {}, spec.precision, 1, budget);
  const int64_t room =
      std::max<int64_t>(spec.width - static_cast<int64_t>(jinja_count_chars(text.bytes)), 0);
  budget.spend(text.size() + static_cast<uint64_t>(room) * spec.fill.size());
  const int64_t before = spec.align == '>' ? room : spec.align == '^' ? room / 2 : 0;
  MarkedText out;
  for (int64_t i = 0; i < before; ++i) out.append(spec.fill);
  out.append(text);
  for (int64_t i = before; i < room; ++i) out.append(spec.fill);
  return out;
}

// ---- % ----

class Percent {
 public:
  Percent(const MarkedText& format, const JinjaValue& arguments, JinjaBudget& budget)
      : format_(format), arguments_(arguments), budget_(budget) {}

  MarkedText run() {
    budget_.spend(format_.size());
    out_.html = format_.html;
    while (at_ < format_.size()) {
      const size_t next = std::min(format_.bytes.find('%', at_), format_.size());
      out_.append(format_.substr(at_, next - at_));
      at_ = next + 1;
      if (next < format_.size()) field();
    }
    const bool tuple = arguments_.is_tuple();
    const bool all = tuple ? used_ == arguments_.items()->size()
                           : used_ > 0 || arguments_.fields() != nullptr || arguments_.items();
    UM_CHECK(all, "%: more values than the format takes");
    return std::move(out_);
  }

 private:
  const JinjaValue& next() {
    const bool tuple = arguments_.is_tuple();
    UM_CHECK(used_ < (tuple ? arguments_.items()->size() : 1),
             "%: not enough values for the format");
    return tuple ? (*arguments_.items())[used_++] : (++used_, arguments_);
  }
  const JinjaValue& named() {
    const size_t end = format_.bytes.find(')', at_);
    UM_CHECK(end != std::string::npos, "%: a ( is not closed");
    UM_CHECK(arguments_.fields() != nullptr, "%: expected a dict");
    const std::string name = format_.bytes.substr(at_ + 1, end - at_ - 1);
    const JinjaValue* found = jinja_find(*arguments_.fields(), name, budget_);
    UM_CHECK(found != nullptr, "%: there is no value {}", quote(name));
    at_ = end + 1;
    return *found;
  }
  int64_t number(int64_t most) {
    if (at_ >= format_.size() || format_.bytes[at_] != '*')
      return take_number(format_.bytes, at_, most);
    ++at_;
    const int64_t value = next().as_integer("%*");
    UM_CHECK(value <= most && value >= -most, "%: the number {}", value);
    return value;
  }

  void field() {
    Spec spec;
    const bool by_name = at_ < format_.size() && format_.bytes[at_] == '(';
    const JinjaValue* value = by_name ? &named() : nullptr;
    spec.align = '>';
    bool zero = false;
    for (; at_ < format_.size(); ++at_) {
      const char flag = format_.bytes[at_];
      if (flag == '-')
        spec.align = '<';
      else if (flag == '+' || (flag == ' ' && spec.sign != '+'))
        spec.sign = flag;
      else if (flag == '0')
        zero = true;
      else if (flag == '#')
        spec.alternate = true;
      else if (flag != ' ')
        break;
    }
    spec.width = number(kMaxWidth);
    if (spec.width < 0) spec.align = '<', spec.width = -spec.width;
    if (at_ < format_.size() && format_.bytes[at_] == '.')
      ++at_, spec.precision = std::max<int64_t>(number(kMaxPrecision), 0);
    while (at_ < format_.size() && std::string_view("hlL").find(format_.bytes[at_]) < 3) ++at_;
    UM_CHECK(at_ < format_.size(), "%: the format ends in the middle of a field");
    spec.type = format_.bytes[at_++];
    if (spec.type == '%') return out_.append("%", format_.outside[at_ - 1]);
    write(spec, zero, value != nullptr ? *value : next());
  }

  void write(Spec& spec, bool zero, const JinjaValue& value) {
    const std::string_view kinds = "srac";
    if (kinds.find(spec.type) == std::string_view::npos && zero && spec.align != '<')
      spec.align = '=', spec.fill = MarkedText::own("0");
    switch (spec.type) {
      case 's': {
        MarkedText text = jinja_text(value, budget_, true);
        if (format_.html) text = jinja_escape(text, budget_);
        return out_.append(format_text(spec, std::move(text), budget_));
      }
      case 'r':
      case 'a':
        return out_.append(format_text(spec, jinja_repr(value, budget_), budget_));
      case 'c':
        UM_CHECK(value.as_text() != nullptr && jinja_count_chars(value.as_text()->bytes) == 1,
                 "%c: expected one character");
        return out_.append(format_text(spec, *value.as_text(), budget_));
      case 'd':
      case 'i':
      case 'u':
      case 'o':
      case 'x':
      case 'X': {
        const auto* real = value.get_if<double>();
        UM_CHECK(real == nullptr ||
                     (std::string_view("diu").find(spec.type) < 3 && std::fabs(*real) < 9e18),
                 "%{}: expected an integer, found {}", spec.type, value.type_name());
        const int64_t whole =
            real != nullptr ? static_cast<int64_t>(*real) : value.as_integer("%d");
        return out_.append(format_integer(spec, whole, budget_));
      }
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        return out_.append(format_real(spec, value.as_real("%f"), budget_));
      default:
        fail("%{}: this type of field is not known", spec.type);
    }
  }

  const MarkedText& format_;
  const JinjaValue& arguments_;
  JinjaBudget& budget_;
  MarkedText out_;
  size_t at_ = 0, used_ = 0;
};

// ---- str.format ----

Spec parse_spec(const MarkedText& text, JinjaBudget& budget) {
  Spec spec;
  const std::string_view bytes = text.bytes;
  const std::string_view aligns = "<>=^";
  const auto align_at = [&](size_t at) {
    return at < bytes.size() && aligns.find(bytes[at]) != std::string_view::npos;
  };
  size_t at = 0;
  const std::vector<MarkedText> chars = jinja_chars(text, budget);
  const size_t first = chars.empty() ? 0 : chars[0].size();
  if (first != 0 && align_at(first)) {
    spec.fill = chars[0];
    spec.align = bytes[first];
    at = first + 1;
  } else if (align_at(0)) {
    spec.align = bytes[at++];
  }
  if (at < bytes.size() && std::string_view("+- ").find(bytes[at]) < 3) spec.sign = bytes[at++];
  if (at < bytes.size() && bytes[at] == '#') spec.alternate = true, ++at;
  if (at < bytes.size() && bytes[at] == '0') {
    if (spec.align == 0) spec.align = '=', spec.fill = MarkedText::own("0");
    ++at;
  }
  spec.width = take_number(bytes, at, kMaxWidth);
  if (at < bytes.size() && (bytes[at] == ',' || bytes[at] == '_')) spec.group = bytes[at++];
  if (at < bytes.size() && bytes[at] == '.') {
    UM_CHECK(++at < bytes.size() && is_digit(bytes[at]), "format: the precision is missing");
    spec.precision = take_number(bytes, at, kMaxPrecision);
  }
  if (at < bytes.size()) spec.type = bytes[at++];
  UM_CHECK(at == bytes.size(), "format: {} is no format", quote(bytes));
  return spec;
}

MarkedText format_value(const MarkedText& format, const JinjaValue& value, JinjaBudget& budget) {
  if (format.size() == 0) return jinja_text(value, budget, true);
  Spec spec = parse_spec(format, budget);
  const std::string_view type(&spec.type, spec.type == 0 ? 0 : 1);
  if (const MarkedText* text = value.as_text()) {
    UM_CHECK((type.empty() || type == "s") && spec.sign == '-' && spec.group == 0,
             "format: {} is no format of a text", quote(format.bytes));
    if (spec.align == '=') spec.align = '<';
    return format_text(spec, *text, budget);
  }
  UM_CHECK(value.is_number(), "format: a {} takes no format", value.type_name());
  const bool whole = value.get_if<double>() == nullptr;
  if (whole && (type.empty() || std::string_view("bdoxXn").find(type) != std::string_view::npos)) {
    UM_CHECK(spec.precision < 0, "format: an integer has no precision");
    return format_integer(spec, value.as_integer("format"), budget);
  }
  UM_CHECK(type.empty() || std::string_view("eEfFgG%n").find(type) != std::string_view::npos,
           "format: {} is no format of a number", quote(format.bytes));
  return format_real(spec, value.as_real("format"), budget);
}

class Formatter {
 public:
  Formatter(JinjaContext& context, const JinjaArguments& arguments)
      : context_(context), arguments_(arguments) {}

  MarkedText run(const MarkedText& text, int depth = 0) {
    UM_CHECK(depth < 2, "format: fields nested too deep");
    context_.budget.spend(text.size());
    MarkedText out;
    out.html = text.html;
    for (size_t at = 0; at < text.size(); ++at) {
      const char ch = text.bytes[at];
      const bool twice = at + 1 < text.size() && text.bytes[at + 1] == ch;
      if (ch != '{' && ch != '}') {
        out.append(text.substr(at, 1));
      } else if (twice) {
        out.append(text.substr(at++, 1));
      } else {
        UM_CHECK(ch == '{', "format: a }} alone");
        const size_t end = field_end(text.bytes, at + 1);
        out.append(field(text.substr(at + 1, end - at - 1), depth, text.html));
        at = end;
      }
    }
    return out;
  }

 private:
  static size_t field_end(std::string_view text, size_t at) {
    for (int open = 0; at < text.size(); ++at) {
      if (text[at] == '{') ++open;
      if (text[at] == '}' && open-- == 0) return at;
    }
    fail("format: a {{ is not closed");
  }

  MarkedText field(const MarkedText& text, int depth, bool html) {
    const size_t colon = std::min(text.bytes.find(':'), text.size());
    std::string name = text.bytes.substr(0, colon);
    char conversion = 0;
    if (const size_t mark = name.find('!'); mark != std::string::npos) {
      UM_CHECK(mark + 2 == name.size(), "format: expected !r, !s or !a");
      conversion = name[mark + 1];
      name.resize(mark);
    }
    JinjaValue value = lookup(name);
    if (conversion == 'r' || conversion == 'a')
      value = JinjaValue::text(jinja_repr(value, context_.budget));
    else if (conversion == 's')
      value = JinjaValue::text(jinja_text(value, context_.budget));
    else
      UM_CHECK(conversion == 0, "format: expected !r, !s or !a");
    MarkedText format = colon < text.size() ? text.substr(colon + 1) : MarkedText();
    if (format.bytes.find('{') != std::string::npos) format = run(format, depth + 1);
    MarkedText out = format_value(format, value, context_.budget);
    return html ? jinja_escape(out, context_.budget) : out;
  }

  /// first.name[key]…
  JinjaValue lookup(std::string_view path) {
    size_t at = std::min(path.find_first_of(".["), path.size());
    JinjaValue value = first(std::string(path.substr(0, at)));
    while (at < path.size()) {
      const bool bracket = path[at] == '[';
      const size_t end =
          bracket ? path.find(']', at) : std::min(path.find_first_of(".[", at + 1), path.size());
      UM_CHECK(end != std::string_view::npos && end > at + 1, "format: {} is no field",
               quote(path));
      const std::string part(path.substr(at + 1, end - at - 1));
      const bool number =
          bracket && part.size() < 10 && std::all_of(part.begin(), part.end(), is_digit);
      if (bracket)
        value =
            jinja_index(context_, value,
                        number ? JinjaValue::integer(std::stoll(part)) : JinjaValue::string(part));
      else
        value = jinja_attribute(context_, value, part);
      at = end + (bracket ? 1 : 0);
    }
    return value;
  }

  JinjaValue first(const std::string& name) {
    const bool number =
        !name.empty() && name.size() < 4 && std::all_of(name.begin(), name.end(), is_digit);
    if (!name.empty() && !number) {
      for (const auto& [key, value] : arguments_.named)
        if (key == name) return value;
      fail("format: there is no value {}", quote(name));
    }
    UM_CHECK(number ? used_ == 0 : !numbered_, "format: numbered fields and others together");
    numbered_ = numbered_ || number;
    const size_t index = number ? std::stoul(name) : used_++;
    UM_CHECK(index < arguments_.positional.size(), "format: there is no value {}", index);
    return arguments_.positional[index];
  }

  JinjaContext& context_;
  const JinjaArguments& arguments_;
  size_t used_ = 0;
  bool numbered_ = false;
};

}  // namespace

MarkedText jinja_percent(const MarkedText& format, const JinjaValue& arguments,
                         JinjaBudget& budget) {
  return Percent(format, arguments, budget).run();
}

MarkedText jinja_format(JinjaContext& context, const MarkedText& format,
                        const JinjaArguments& arguments) {
  return Formatter(context, arguments).run(format);
}

MarkedText jinja_pad(const MarkedText& text, int64_t width, const MarkedText& fill,
                     JinjaAlign align, JinjaBudget& budget) {
  UM_CHECK(width <= kMaxWidth, "a width of {}, at most {}", width, kMaxWidth);
  UM_CHECK(jinja_count_chars(fill.bytes) == 1, "expected one character to fill with");
  budget.spend(text.size());
  const int64_t room = width - static_cast<int64_t>(jinja_count_chars(text.bytes));
  if (room <= 0) return text;
  budget.spend(static_cast<uint64_t>(room) * fill.size());
  const int64_t before = align == JinjaAlign::kLeft    ? 0
                         : align == JinjaAlign::kRight ? room
                                                       : room / 2 + (room & width & 1);
  MarkedText out;
  out.html = text.html;
  for (int64_t i = 0; i < before; ++i) out.append(fill);
  out.append(text);
  for (int64_t i = before; i < room; ++i) out.append(fill);
  return out;
}

std::optional<int64_t> jinja_parse_integer(std::string_view text, int base) {
  std::string digits;
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  for (const auto& [prefix, of] : {std::pair{'x', 16}, std::pair{'o', 8}, std::pair{'b', 2}}) {
    const bool there = text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == prefix;
    if (!there || (base != of && base != 0)) continue;
    base = of;
    text.remove_prefix(text[2] == '_' ? 3 : 2);
  }
  if (base == 0) base = 10;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool between = i > 0 && i + 1 < text.size() && text[i - 1] != '_';
    if (text[i] == '_' && !between) return {};
    if (text[i] != '_') digits += text[i];
  }
  int64_t value = 0;
  if (digits.empty() || digits[0] == '-') return {};
  if (negative) digits.insert(0, 1, '-');
  const char *begin = digits.data(), *end = begin + digits.size();
  const auto parsed = std::from_chars(begin, end, value, base);
  UM_CHECK(parsed.ec != std::errc::result_out_of_range || parsed.ptr != end,
           "int: the number does not fit 64 bits");
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(value) : std::nullopt;
}

std::optional<double> jinja_parse_real(std::string_view text) {
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool between =
        i > 0 && i + 1 < text.size() && is_digit(text[i - 1]) && is_digit(text[i + 1]);
    if (text[i] == '_' && !between) return {};
    if (text[i] != '_') digits += text[i];
  }
  if (digits.starts_with('+')) digits.erase(0, 1);
  if (digits.find('(') != std::string::npos || digits.starts_with("-+") || digits.starts_with("+"))
    return {};
  double value = 0;
  const char *begin = digits.data(), *end = begin + digits.size();
  const auto parsed = std::from_chars(begin, end, value);
  if (parsed.ec == std::errc::result_out_of_range && parsed.ptr == end) {
    const double exact = std::strtod(digits.c_str(), nullptr);
    return exact;  // infinite, or zero
  }
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(value) : std::nullopt;
}

}  // namespace um
