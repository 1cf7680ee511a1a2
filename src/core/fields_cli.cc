// Fields as command-line flags; see fields.h.
#include <CLI/CLI.hpp>
#include <cmath>

#include "core/error.h"
#include "core/fields.h"
#include "core/json.h"
#include "core/suggest.h"

namespace um {
namespace {

const char* type_name(const Field& field) {
  constexpr const char* kNames[] = {"", "INT", "NUMBER", "TEXT", "TEXT", "NUMBER,..."};
  if (field.spec.pairs) return "NAME=VALUE,...";
  return kNames[field.target.index()];
}

bool is_list(const Field& field) {
  return std::holds_alternative<std::vector<std::string>*>(field.target) ||
         std::holds_alternative<std::vector<double>*>(field.target);
}

std::string default_text(const Field& field) {
  if (const auto* const* value = std::get_if<int64_t*>(&field.target)) {
    return fmt::format("{}", **value);
  }
  if (const auto* const* value = std::get_if<double*>(&field.target)) {
    return fmt::format("{}", **value);
  }
  if (const auto* const* value = std::get_if<std::string*>(&field.target)) return **value;
  if (const auto* const* value = std::get_if<std::vector<std::string>*>(&field.target)) {
    return fmt::format("{}", fmt::join(**value, ","));
  }
  if (const auto* const* value = std::get_if<std::vector<double>*>(&field.target)) {
    return fmt::format("{}", fmt::join(**value, ","));
  }
  return "";
}

/// What the field means, with unit, range and choices: "peak learning rate, per step (0 to 1)".
std::string description(const Field& field) {
  const FieldSpec& spec = field.spec;
  std::string text = field.help;
  if (!spec.unit.empty()) text += ", " + spec.unit;
  if (!spec.choices.empty()) text += fmt::format(" ({})", fmt::join(spec.choices, ", "));
  if (is_list(field)) text += "; may be given several times";
  const bool text_field = std::holds_alternative<std::string*>(field.target) ||
                          std::holds_alternative<std::vector<std::string>*>(field.target);
  const bool low = !text_field && std::isfinite(spec.min), high = std::isfinite(spec.max);
  if (low && high) text += fmt::format(" ({} to {})", spec.min, spec.max);
  if (low && !high) text += fmt::format(" (at least {})", spec.min);
  if (!low && high) text += fmt::format(" (at most {})", spec.max);
  if (const auto* const* value = std::get_if<bool*>(&field.target)) {
    text += **value ? " (on; turn off with =false)" : " (off)";
  }
  return text;
}

}  // namespace

FieldFlags::FieldFlags(CLI::App& app, Fields fields) : fields_(std::move(fields)) {
  app.add_option("--config", file_, "file of these fields, TOML or .json; flags override it")
      ->type_name("FILE");
  for (const Field& field : fields_.list()) {
    if (std::holds_alternative<FieldTables>(field.target)) continue;  // in the file only
    const std::string name = field.name, flag = "--" + name;
    const bool is_flag = std::holds_alternative<bool*>(field.target);
    CLI::Option* option = nullptr;
    if (is_flag) {
      option = app.add_flag_function(
          flag,
          [this, name](int64_t count) {
            given_.push_back({name, {count > 0 ? "true" : "false"}});
          },
          description(field));
    } else if (is_list(field)) {
      option = app.add_option_function<std::vector<std::string>>(
          flag,
          [this, name](const std::vector<std::string>& texts) { given_.emplace_back(name, texts); },
          description(field));
      option->allow_extra_args(false);
    } else {
      option = app.add_option_function<std::string>(
          flag,
          [this, name](const std::string& text) {
            given_.push_back({name, {text}});
          },
          description(field));
    }
    if (!is_flag) option->type_name(type_name(field))->default_str(default_text(field));
    const size_t dot = field.name.find('.');
    if (dot != std::string::npos) option->group(field.name.substr(0, dot));
  }
}

void FieldFlags::apply() {
  if (!file_.empty()) fields_.read_file(file_);
  for (const auto& [name, texts] : given_) fields_.set(name, texts);
}

void refuse_extras(const CLI::App& app) {
  std::vector<std::string> extras = app.remaining();
  std::erase(extras, "--");  // what stood behind it was taken
  if (extras.empty()) return;
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  if (!extras[0].starts_with('-')) {
    throw UsageError(fmt::format("unexpected argument {}", quote(extras[0])));
  }
  const std::string name = extras[0].substr(0, extras[0].find('='));
  throw UsageError(fmt::format("unknown option {}{}", quote(name), did_you_mean(name, flags)));
}

void refuse_repeats(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    const std::vector<std::string>& values = option->results();
    if (values.size() < 2 || option->get_items_expected_max() > 1) continue;
    throw UsageError(fmt::format("{}: given {} times, with {} and {}; give it once",
                                 option->get_name(), values.size(), quote(values[0]),
                                 quote(values[1])));
  }
}

}  // namespace um
