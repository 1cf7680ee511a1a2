// JSON from outside: a bounded parse that refuses duplicate keys, and typed reads whose errors name
// the file, the field, what was expected and what was found.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace um {

/// A JSON value; the keys of an object are kept sorted.
using Json = nlohmann::json;

/// What a parse may cost.
struct JsonLimits {
  int max_depth = 64;
  uint64_t max_values = 20'000'000;  // keys and values; each takes tens of bytes
};

/// Parses one JSON text. Throws Error `WHERE: ...` for bad syntax (with line and column), invalid
/// UTF-8, a key that an object has twice, or a broken limit.
Json parse_json(std::string_view text, std::string_view where, const JsonLimits& limits = {});

/// Reads and parses a file of at most `max_bytes`; errors name the path.
Json read_json_file(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{64} << 20);

/// Text of a value: one line where `indent` is negative. Throws Error for strings that are not
/// UTF-8.
std::string to_text(const Json& value, int indent = -1);

/// A foreign string or value for an error message: on one line, escaped, cut after about 60 bytes.
std::string quote(std::string_view text);
std::string describe(const Json& value);

/// Reads the fields of one JSON object. A field that is null counts as absent. The reader refers to
/// the object, which must outlive it.
class JsonObject {
 public:
  /// `where` is what errors start with, for example "config.json". Throws Error unless an object.
  JsonObject(const Json& value, std::string where);

  /// Each of these throws Error if the field is absent, of another type or outside [min, max].
  int64_t integer(const std::string& key, int64_t min = std::numeric_limits<int64_t>::min(),
                  int64_t max = std::numeric_limits<int64_t>::max()) const;
  double number(const std::string& key, double min, double max) const;
  bool boolean(const std::string& key) const;
  std::string string(const std::string& key) const;
  std::vector<std::string> strings(const std::string& key) const;
  JsonObject object(const std::string& key) const;

  /// The same, or `fallback` if the field is absent.
  int64_t integer_or(const std::string& key, int64_t fallback,
                     int64_t min = std::numeric_limits<int64_t>::min(),
                     int64_t max = std::numeric_limits<int64_t>::max()) const;
  double number_or(const std::string& key, double fallback, double min, double max) const;
  bool boolean_or(const std::string& key, bool fallback) const;
  std::string string_or(const std::string& key, const std::string& fallback) const;
  /// A list of integers; empty if the field is absent.
  std::vector<int64_t> integers(const std::string& key, int64_t min, int64_t max) const;

  bool has(const std::string& key) const { return find(key) != nullptr; }
  /// The field's value, or null if it is absent or null.
  const Json* find(const std::string& key) const;
  const std::string& where() const { return where_; }
  const Json& json() const { return *json_; }

  /// Throws Error `WHERE: field "KEY": expected EXPECTED, found ...`.
  [[noreturn]] void wrong(const std::string& key, std::string_view expected) const;

 private:
  const Json* json_;
  std::string where_;
};

}  // namespace um
