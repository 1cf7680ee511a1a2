// Python's ways to write values by a format (`%`, str.format), and to read numbers, for chat
// templates.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "text/jinja_value.h"

namespace um {

struct JinjaArguments;
struct JinjaContext;

/// `format % arguments`: a tuple, a dict for %(name)s, or one value.
MarkedText jinja_percent(const MarkedText& format, const JinjaValue& arguments,
                         JinjaBudget& budget);
/// format.format(arguments).
MarkedText jinja_format(JinjaContext& context, const MarkedText& format,
                        const JinjaArguments& arguments);

enum class JinjaAlign { kLeft, kRight, kCenter };
/// str.ljust, rjust and center. `fill` is one character.
MarkedText jinja_pad(const MarkedText& text, int64_t width, const MarkedText& fill,
                     JinjaAlign align, JinjaBudget& budget);

/// int(text, base), and float(text), of a text without blanks around it; nothing where Python
/// throws ValueError.
std::optional<int64_t> jinja_parse_integer(std::string_view text, int base);
std::optional<double> jinja_parse_real(std::string_view text);

}  // namespace um
