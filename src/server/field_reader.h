// Reading one field of a request, with errors that name it.
#pragma once

#include <cmath>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "server/api_error.h"

namespace um {

/// The field's value, or null where it is absent or null.
inline const Json* field_of(const Json& body, const std::string& name) {
  const auto it = body.find(name);
  return it == body.end() || it->is_null() ? nullptr : &*it;
}

/// Throws the ApiError of status 400 for a value of the wrong type.
template <class AnyJson>
[[noreturn]] void wrong_type(const std::string& where, std::string_view expected,
                             const AnyJson& found) {
  bad_field(where, "expected {}, found {}", expected, describe(Json(found)));
}

/// Where a field of `where` is in the body; of the body itself where that is empty.
inline std::string inside(const std::string& where, const std::string& name) {
  return where.empty() ? name : where + "." + name;
}

/// ApiError 400 for fields that we cannot honour, unless they are empty.
inline void refuse_fields(const Json& body, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const Json* json = field_of(body, name); json != nullptr && !json->empty())
      bad_field(name, "not supported by this server");
}

/// Each reads a field if it is there; ApiError 400 for another type or outside [min, max].
inline void read_field(const Json& body, const std::string& name, bool& value) {
  const Json* json = field_of(body, name);
  if (json == nullptr) return;
  if (!json->is_boolean()) bad_field(name, "expected true or false, found {}", describe(*json));
  value = json->get<bool>();
}

inline void read_field(const Json& body, const std::string& name, int64_t& value, int64_t min,
                       int64_t max) {
  const Json* json = field_of(body, name);
  if (json == nullptr) return;
  // Some clients write whole numbers as 5.0.
  const bool whole = json->is_number_float() &&
                     std::floor(json->get<double>()) == json->get<double>() &&
                     std::abs(json->get<double>()) < 9e15;
  const bool large = json->is_number_unsigned() && json->get<uint64_t>() > uint64_t{INT64_MAX};
  if ((!json->is_number_integer() && !whole) || large)
    bad_field(name, "expected a whole number from {} to {}, found {}", min, max, describe(*json));
  const int64_t found = whole ? static_cast<int64_t>(json->get<double>()) : json->get<int64_t>();
  if (found < min || found > max)
    bad_field(name, "expected a whole number from {} to {}, found {}", min, max, found);
  value = found;
}

inline void read_field(const Json& body, const std::string& name, double& value, double min,
                       double max) {
  const Json* json = field_of(body, name);
  if (json == nullptr) return;
  if (!json->is_number() || !(json->get<double>() >= min && json->get<double>() <= max))
    bad_field(name, "expected a number from {} to {}, found {}", min, max, describe(*json));
  value = json->get<double>();
}

inline void read_field(const Json& body, const std::string& name, std::string& value) {
  const Json* json = field_of(body, name);
  if (json == nullptr) return;
  if (!json->is_string()) bad_field(name, "expected a string, found {}", describe(*json));
  value = json->get<std::string>();
}

/// A string, or a list of at most `max` strings.
inline void read_field(const Json& body, const std::string& name, std::vector<std::string>& value,
                       size_t max) {
  const Json* json = field_of(body, name);
  if (json == nullptr) return;
  const Json list = json->is_array() ? *json : Json::array({*json});
  if (list.size() > max) bad_field(name, "expected at most {} strings, found {}", max, list.size());
  value.clear();
  for (const Json& item : list) {
    if (!item.is_string()) bad_field(name, "expected a string, found {}", describe(item));
    value.push_back(item.get<std::string>());
  }
}

/// The same for a field of `where`, an object in the body; errors name it so.
template <class... Args>
void read_field_of(const std::string& where, const Json& json, const std::string& name,
                   Args&&... args) {
  try {
    read_field(json, name, std::forward<Args>(args)...);
  } catch (const ApiError& error) {
    throw ApiError(error.status(), where + "." + error.what(), where + "." + error.param());
  }
}

}  // namespace um
