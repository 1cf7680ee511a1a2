// See utf8.h.
#include "text/utf8.h"

#include <cstdint>

namespace um {
namespace {

/// The table of well-formed sequences (Unicode 15, table 3-7): length and the range of byte two.
struct Lead {
  size_t length;
  uint8_t low, high;
};

Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte >= 0xC2 && byte <= 0xDF) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

enum class Surrogate { kNone, kHigh, kLow };

/// What the escape at the front of a JSON string's rest is half of.
Surrogate surrogate_at(std::string_view text) {
  const auto hex = [&](size_t at, std::string_view set) {
    return at < text.size() && set.find(text[at]) != std::string_view::npos;
  };
  constexpr std::string_view kHex = "0123456789abcdefABCDEF";
  if (!text.starts_with("\\u") || !hex(2, "dD") || !hex(4, kHex) || !hex(5, kHex))
    return Surrogate::kNone;
  if (hex(3, "89abAB")) return Surrogate::kHigh;
  return hex(3, "cdefCDEF") ? Surrogate::kLow : Surrogate::kNone;
}

}  // namespace

Utf8Step utf8_step(std::string_view text) {
  const Lead lead = lead_of(static_cast<uint8_t>(text[0]));
  if (lead.length == 0) return {Utf8Step::kInvalid, 1};
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == text.size()) return {Utf8Step::kIncomplete, i};
    const auto byte = static_cast<uint8_t>(text[i]);
    const uint8_t low = i == 1 ? lead.low : 0x80, high = i == 1 ? lead.high : 0xBF;
    if (byte < low || byte > high) return {Utf8Step::kInvalid, i};
  }
  return {Utf8Step::kValid, lead.length};
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    if (step.kind != Utf8Step::kValid) return false;
    text.remove_prefix(step.bytes);
  }
  return true;
}

std::string repair_utf8(std::string_view text) {
  if (is_utf8(text)) return std::string(text);
  std::string pending(text);
  return take_utf8(pending, true);
}

std::string repair_json(std::string_view text, uint64_t* halves) {
  std::string out = repair_utf8(text);
  const auto escape_at = [&](size_t at) { return surrogate_at(std::string_view(out).substr(at)); };
  for (size_t at = out.find('\\'); at != std::string::npos; at = out.find('\\', at)) {
    const Surrogate half = escape_at(at);
    if (half == Surrogate::kHigh && escape_at(at + 6) == Surrogate::kLow) {
      at += 12;
    } else if (half != Surrogate::kNone) {
      out.replace(at + 2, 4, "fffd");
      if (halves != nullptr) ++*halves;
      at += 6;
    } else {
      at += 2;
    }
    if (at >= out.size()) break;
  }
  return out;
}

std::string take_utf8(std::string& pending, bool last) {
  std::string out;
  std::string_view rest = pending;
  while (!rest.empty()) {
    const Utf8Step step = utf8_step(rest);
    if (step.kind == Utf8Step::kIncomplete && !last) break;
    out.append(step.kind == Utf8Step::kValid ? rest.substr(0, step.bytes) : kReplacement);
    rest.remove_prefix(step.bytes);
  }
  pending.erase(0, pending.size() - rest.size());
  return out;
}

}  // namespace um
