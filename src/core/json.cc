// See json.h.
#include "core/json.h"

#include <cmath>

#include "core/error.h"
#include "core/files.h"

namespace um {
namespace {

std::string cut(std::string text) {
  constexpr size_t kShown = 60;
  if (text.size() <= kShown) return text;
  size_t end = kShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

std::string range_text(std::string_view what, double min, double max) {
  return fmt::format("{} from {} to {}", what, min, max);
}

std::string integer_text(int64_t min, int64_t max) {
  constexpr int64_t kOpen = std::numeric_limits<int64_t>::max();
  if (min == 1 && max == kOpen) return "a positive integer";
  if (min == 0 && max == kOpen) return "an integer that is not negative";
  if (min == std::numeric_limits<int64_t>::min() && max == kOpen) return "an integer";
  return fmt::format("an integer from {} to {}", min, max);
}

}  // namespace

Json read_json_file(const std::filesystem::path& path, uint64_t max_bytes) {
  return parse_json(read_file(path, max_bytes), path.string());
}

std::string to_text(const Json& value, int indent) {
  try {
    return value.dump(indent);
  } catch (const Json::exception&) {
    fail("JSON: a string is not valid UTF-8");
  }
}

std::string quote(std::string_view text) {
  // Cut first, so that a hostile megabyte is not escaped to show sixty bytes of it.
  const bool whole = text.size() <= 200;
  Json value(whole ? std::string(text) : std::string(text.substr(0, 200)) + "...");
  return describe(value);
}

std::string describe(const Json& value) {
  if (value.is_object()) return fmt::format("an object of {} fields", value.size());
  if (value.is_array()) return fmt::format("a list of {} values", value.size());
  if (value.is_number_float() && !std::isfinite(value.get<double>()))
    return fmt::format("{}", value.get<double>());  // JSON has no word for these
  return cut(value.dump(-1, ' ', true, Json::error_handler_t::replace));
}

JsonObject::JsonObject(const Json& value, std::string where)
    : json_(&value), where_(std::move(where)) {
  UM_CHECK(value.is_object(), "{}: expected a JSON object, found {}", where_, describe(value));
}

const Json* JsonObject::find(const std::string& key) const {
  const auto at = json_->find(key);
  return at == json_->end() || at->is_null() ? nullptr : &*at;
}

void JsonObject::wrong(const std::string& key, std::string_view expected) const {
  const Json* value = find(key);
  fail("{}: field \"{}\": expected {}, found {}", where_, key, expected,
       value == nullptr ? "nothing" : describe(*value));
}

int64_t JsonObject::integer(const std::string& key, int64_t min, int64_t max) const {
  const Json* value = find(key);
  const bool too_big =
      value != nullptr && value->is_number_unsigned() &&
      value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (value == nullptr || !value->is_number_integer() || too_big || value->get<int64_t>() < min ||
      value->get<int64_t>() > max) {
    wrong(key, integer_text(min, max));
  }
  return value->get<int64_t>();
}

double JsonObject::number(const std::string& key, double min, double max) const {
  const Json* value = find(key);
  if (value == nullptr || !value->is_number()) wrong(key, range_text("a number", min, max));
  const double found = value->get<double>();
  if (!(found >= min && found <= max)) wrong(key, range_text("a number", min, max));
  return found;
}

bool JsonObject::boolean(const std::string& key) const {
  const Json* value = find(key);
  if (value == nullptr || !value->is_boolean()) wrong(key, "true or false");
  return value->get<bool>();
}

std::string JsonObject::string(const std::string& key) const {
  const Json* value = find(key);
  if (value == nullptr || !value->is_string()) wrong(key, "a string");
  return value->get<std::string>();
}

std::vector<std::string> JsonObject::strings(const std::string& key) const {
  const Json* value = find(key);
  if (value == nullptr || !value->is_array()) wrong(key, "a list of strings");
  std::vector<std::string> found;
  for (const Json& item : *value) {
    UM_CHECK(item.is_string(), "{}: field \"{}\": expected a list of strings, found {} in it",
             where_, key, describe(item));
    found.push_back(item.get<std::string>());
  }
  return found;
}

JsonObject JsonObject::object(const std::string& key) const {
  const Json* value = find(key);
  if (value == nullptr || !value->is_object()) wrong(key, "an object");
  return JsonObject(*value, fmt::format("{}: {}", where_, key));
}

int64_t JsonObject::integer_or(const std::string& key, int64_t fallback, int64_t min,
                               int64_t max) const {
  return has(key) ? integer(key, min, max) : fallback;
}

double JsonObject::number_or(const std::string& key, double fallback, double min,
                             double max) const {
  return has(key) ? number(key, min, max) : fallback;
}

bool JsonObject::boolean_or(const std::string& key, bool fallback) const {
  return has(key) ? boolean(key) : fallback;
}

std::vector<int64_t> JsonObject::integers(const std::string& key, int64_t min, int64_t max) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_array()) wrong(key, "a list of integers");
  std::vector<int64_t> found;
  for (const Json& item : *value) {
    const Json one{{key, item}};
    found.push_back(JsonObject(one, where_).integer(key, min, max));
  }
  return found;
}

std::string JsonObject::string_or(const std::string& key, const std::string& fallback) const {
  return has(key) ? string(key) : fallback;
}

}  // namespace um
