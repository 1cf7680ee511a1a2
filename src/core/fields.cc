// Reading, checking and writing field values; TOML parsing and flags have files of their own. All
// input, a flag's text too, becomes a JSON value first, so there is one path that checks.
#include "core/fields.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/suggest.h"

namespace um {
namespace {

constexpr size_t kMaxTables = 10000;
constexpr uint64_t kMaxFileBytes = uint64_t{16} << 20;

template <class... Cases>
struct Match : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Match(Cases...) -> Match<Cases...>;  // clang 14 does not deduce it for aggregates

[[noreturn]] void wrong(const std::string& where, const std::string& expected,
                        const std::string& found) {
  throw UsageError(fmt::format("{}: expected {}, found {}", where, expected, found));
}

std::string expected_number(const char* what, const FieldSpec& spec) {
  std::string text = what;
  const bool low = std::isfinite(spec.min), high = std::isfinite(spec.max);
  if (low && high) text += fmt::format(" from {} to {}", spec.min, spec.max);
  if (low && !high) text += fmt::format(" of at least {}", spec.min);
  if (!low && high) text += fmt::format(" of at most {}", spec.max);
  return spec.unit.empty() ? text : fmt::format("{} ({})", text, spec.unit);
}

double read_number(const Json& value, const FieldSpec& spec, const std::string& where) {
  const double number = value.is_number() ? value.get<double>() : std::nan("");
  if (!std::isfinite(number) || number < spec.min || number > spec.max) {
    const char* what = value.is_number() && !std::isfinite(number) ? "a finite number" : "a number";
    wrong(where, expected_number(what, spec), describe(value));
  }
  return number;
}

/// Whole numbers, also written as 1e6 or 1000.0.
int64_t read_integer(const Json& value, const FieldSpec& spec, const std::string& where) {
  constexpr double kExact = 9007199254740992.0;  // 2^53: larger doubles may have lost digits
  const std::string expected = expected_number("a whole number", spec);
  if (!value.is_number()) wrong(where, expected, describe(value));
  const double number = value.get<double>();
  if (!(number >= spec.min && number <= spec.max)) wrong(where, expected, describe(value));
  if (value.is_number_float()) {
    if (number != std::floor(number) || std::abs(number) > kExact) {
      wrong(where, expected, describe(value));
    }
    return static_cast<int64_t>(number);
  }
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}) {
    wrong(where, expected, describe(value));
  }
  return value.get<int64_t>();
}

std::string read_string(const Json& value, const FieldSpec& spec, const std::string& where) {
  if (!value.is_string()) wrong(where, "a string", describe(value));
  auto text = value.get<std::string>();
  const auto& choices = spec.choices;
  if (!choices.empty() && std::find(choices.begin(), choices.end(), text) == choices.end()) {
    wrong(where, fmt::format("one of {}", fmt::join(choices, ", ")), describe(value));
  }
  if (text.empty() && spec.min > 0) wrong(where, "a text that is not empty", describe(value));
  return text;
}

/// A list, or a single value of its kind as a list of one.
Json read_list(const Json& value, bool single, const char* expected, const std::string& where) {
  if (single) return Json::array({value});
  if (!value.is_array()) wrong(where, expected, describe(value));
  return value;
}

void read_tables(const Json& given, const FieldTables& tables, const std::string& where) {
  const Json value = read_list(given, given.is_object(), "a list of tables", where);
  if (value.size() > kMaxTables) {
    wrong(where, fmt::format("at most {} tables", kMaxTables), describe(value));
  }
  tables.reset(value.size());
  for (size_t i = 0; i < value.size(); ++i) {
    tables.at(i).read(value[i], fmt::format("{}[{}]", where, i));
  }
}

void assign(const Field& field, const Json& value, const std::string& where) {
  const FieldSpec& spec = field.spec;
  std::visit(Match{[&](bool* target) {
                     if (!value.is_boolean()) wrong(where, "true or false", describe(value));
                     *target = value.get<bool>();
                   },
                   [&](int64_t* target) { *target = read_integer(value, spec, where); },
                   [&](double* target) { *target = read_number(value, spec, where); },
                   [&](std::string* target) { *target = read_string(value, spec, where); },
                   [&](std::vector<std::string>* target) {
                     std::vector<std::string> list;
                     for (const Json& item :
                          read_list(value, value.is_string(), "a list of strings", where)) {
                       list.push_back(read_string(item, spec, where));
                     }
                     *target = std::move(list);
                   },
                   [&](std::vector<double>* target) {
                     std::vector<double> list;
                     for (const Json& item :
                          read_list(value, value.is_number(), "a list of numbers", where)) {
                       list.push_back(read_number(item, spec, where));
                     }
                     *target = std::move(list);
                   },
                   [&](const FieldTables& tables) { read_tables(value, tables, where); }},
             field.target);
}

/// The number in a text, or the text itself, which is then refused as one.
Json number_from(const std::string& text) {
  const char* end = text.data() + text.size();
  int64_t integer = 0;
  if (auto [at, error] = std::from_chars(text.data(), end, integer);
      error == std::errc() && at == end) {
    return integer;
  }
  double number = 0;
  if (auto [at, error] = std::from_chars(text.data(), end, number);
      error == std::errc() && at == end) {
    return number;
  }
  return text;
}

/// Whether NAME= begins a text.
bool begins_pair(std::string_view text) {
  const size_t end =
      text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
  return end != std::string_view::npos && end > 0 && text[end] == '=';
}

/// Cuts a text at its commas; of pairs at those that a pair follows.
std::vector<std::string> split(const std::string& text, bool pairs) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t at = 0; at <= text.size() && !text.empty(); ++at) {
    const bool ends = at == text.size();
    if (!ends &&
        (text[at] != ',' || (pairs && !begins_pair(std::string_view(text).substr(at + 1)))))
      continue;
    parts.push_back(text.substr(begin, at - begin));
    begin = at + 1;
  }
  return parts;
}

std::vector<std::string> split_all(const std::vector<std::string>& texts, bool pairs) {
  std::vector<std::string> parts;
  for (const std::string& text : texts)
    for (std::string& part : split(text, pairs)) parts.push_back(std::move(part));
  return parts;
}

/// NAME=VALUE pairs of texts; a name that is there twice with other values is an error.
std::vector<std::string> pairs_of(const std::string& field, const std::vector<std::string>& texts) {
  std::vector<std::string> pairs = split_all(texts, true);
  std::map<std::string, std::string> values;
  for (const std::string& pair : pairs) {
    const size_t equals = std::min(pair.find('='), pair.size());
    const auto [known, added] = values.emplace(pair.substr(0, equals), pair);
    if (!added && known->second != pair)
      throw UsageError(fmt::format("--{}: {} and {}; give one of them", field, quote(known->second),
                                   quote(pair)));
  }
  return pairs;
}

/// `texts`: of a list any number, else one.
Json value_from(const Field& field, const std::vector<std::string>& texts) {
  const std::string text = texts.empty() ? "" : texts.back();
  return std::visit(
      Match{[&](bool*) {
              return text == "true" || text == "false" ? Json(text == "true") : Json(text);
            },
            [&](int64_t*) { return number_from(text); }, [&](double*) { return number_from(text); },
            [&](std::string*) { return Json(text); },
            [&](std::vector<std::string>*) {
              return Json(field.spec.pairs ? pairs_of(field.name, texts) : texts);
            },
            [&](std::vector<double>*) {
              Json list = Json::array();
              for (const std::string& part : split_all(texts, false))
                list.push_back(number_from(part));
              return list;
            },
            [&](const FieldTables&) { return Json(text); }},
      field.target);
}

Json value_of(const Field& field) {
  return std::visit(Match{[](const FieldTables& tables) {
                            Json list = Json::array();
                            for (size_t i = 0; i < tables.size(); ++i) {
                              list.push_back(tables.at(i).to_json());
                            }
                            return list;
                          },
                          [](const auto* target) { return Json(*target); }},
                    field.target);
}

/// A TOML value: JSON's syntax is TOML's for strings, whole numbers, booleans and lists of them.
std::string toml_value(const Json& value) {
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());
  if (!value.is_array()) return value.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::vector<std::string> items;
  for (const Json& item : value) items.push_back(toml_value(item));
  return fmt::format("[{}]", fmt::join(items, ", "));
}

/// Writes the values of a table, then its tables, as TOML's order demands.
void write_toml(const Json& table, const std::string& path, std::string& out) {
  const auto is_tables = [](const Json& value) {
    return value.is_array() && !value.empty() && value[0].is_object();
  };
  for (const auto& [key, value] : table.items()) {
    if (value.is_object() || is_tables(value)) continue;
    out += fmt::format("{} = {}\n", key, toml_value(value));
  }
  for (const auto& [key, value] : table.items()) {
    const std::string inner = path.empty() ? key : fmt::format("{}.{}", path, key);
    if (value.is_object()) {
      out += fmt::format("\n[{}]\n", inner);
      write_toml(value, inner, out);
    } else if (is_tables(value)) {
      for (const Json& item : value) {
        out += fmt::format("\n[[{}]]\n", inner);
        write_toml(item, inner, out);
      }
    }
  }
}

}  // namespace

void Fields::insert(Field field) {
  field.name = prefix_ + field.name;
  UM_CHECK(find(field.name) == nullptr, "field \"{}\" is declared twice", field.name);
  list_.push_back(std::move(field));
}

void Fields::add(const std::string& name, bool& value, std::string help, FieldSpec spec) {
  insert({name, std::move(help), std::move(spec), &value});
}
void Fields::add(const std::string& name, int64_t& value, std::string help, FieldSpec spec) {
  insert({name, std::move(help), std::move(spec), &value});
}
void Fields::add(const std::string& name, double& value, std::string help, FieldSpec spec) {
  insert({name, std::move(help), std::move(spec), &value});
}
void Fields::add(const std::string& name, std::string& value, std::string help, FieldSpec spec) {
  insert({name, std::move(help), std::move(spec), &value});
}
void Fields::add(const std::string& name, std::vector<std::string>& value, std::string help,
                 FieldSpec spec) {
  insert({name, std::move(help), std::move(spec), &value});
}
void Fields::add(const std::string& name, std::vector<double>& value, std::string help,
                 FieldSpec spec) {
  insert({name, std::move(help), std::move(spec), &value});
}

const Field* Fields::find(std::string_view name) const {
  const auto at = std::find_if(list_.begin(), list_.end(),
                               [&](const Field& field) { return field.name == name; });
  return at == list_.end() ? nullptr : &*at;
}

void Fields::unknown(const std::string& name, const std::string& where) const {
  std::vector<std::string> names;
  for (const Field& field : list_) names.push_back(field.name);
  throw UsageError(
      fmt::format("{}unknown field {}{}", where, quote(name), did_you_mean(name, names, "\"")));
}

void Fields::set(const std::string& name, const std::vector<std::string>& texts) {
  const Field* field = find(name);
  if (field == nullptr) unknown(name, "");
  assign(*field, value_from(*field, texts), "--" + name);
}

void Fields::read(const Json& object, const std::string& where) {
  if (!object.is_object()) wrong(where, "a table", describe(object));
  read_into(object, "", where);
}

void Fields::read_into(const Json& object, const std::string& prefix, const std::string& where) {
  for (const auto& [key, value] : object.items()) {
    const std::string name = prefix + key;
    const std::string place = fmt::format("{}: {}", where, quote(name));
    const bool group = std::any_of(list_.begin(), list_.end(), [&](const Field& field) {
      return field.name.starts_with(name + ".");
    });
    if (const Field* field = find(name); field != nullptr) {
      assign(*field, value, place);
    } else if (!group) {
      unknown(name, where + ": ");
    } else if (!value.is_object()) {
      wrong(place, "a table", describe(value));
    } else {
      read_into(value, name + ".", where);
    }
  }
}

void Fields::read_file(const std::filesystem::path& path) {
  const std::string text = um::read_file(path, kMaxFileBytes);
  const bool json = path.extension() == ".json";
  read(json ? parse_json(text, path.string()) : parse_toml(text, path.string()), path.string());
}

Json Fields::to_json() const {
  Json out = Json::object();
  for (const Field& field : list_) {
    Json* at = &out;
    size_t begin = 0;
    for (size_t dot; (dot = field.name.find('.', begin)) != std::string::npos; begin = dot + 1) {
      at = &(*at)[field.name.substr(begin, dot - begin)];
    }
    (*at)[field.name.substr(begin)] = value_of(field);
  }
  return out;
}

std::vector<Fields::Change> Fields::changes_since(const Fields& earlier) const {
  std::vector<Change> changes;
  for (size_t i = 0; i < list_.size(); ++i) {
    const Json from = value_of(earlier.list_[i]), to = value_of(list_[i]);
    if (from != to) changes.push_back({list_[i].name, toml_value(from), toml_value(to)});
  }
  return changes;
}

std::string Fields::to_toml() const {
  std::string out;
  write_toml(to_json(), "", out);
  return out;
}

}  // namespace um
