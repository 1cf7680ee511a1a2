// See arguments.h.
#include "cli/arguments.h"

#include <charconv>
#include <cmath>
#include <span>

#include "core/error.h"
#include "core/json.h"

namespace um {
namespace {

constexpr const char* kFiles = "FILE...";  // the type of options that take several values in a row

/// Looks like an option, to CLI11 too; a single dash means standard input.
bool is_option(const std::string& argument) {
  return argument.size() > 1 && argument[0] == '-';
}

/// How many words a command takes beside its options.
size_t most_words(const CLI::App& command) {
  size_t most = 0;
  for (const CLI::Option* option : command.get_options())
    if (option->get_positional()) most += static_cast<size_t>(option->get_items_expected_max());
  return most;
}

/// Adds the words behind a `--`. Those before it, which are at `places`, are moved there, as CLI11
/// takes them only as long as the command lacks some.
void add_words(const CLI::App& command, const std::vector<size_t>& places,
               std::span<const std::string> behind, std::vector<std::string>& plain) {
  std::vector<std::string> words;
  for (const size_t place : places) words.push_back(plain[place]);
  words.insert(words.end(), behind.begin(), behind.end());
  if (const size_t most = most_words(command); words.size() > most)
    throw UsageError(fmt::format("unexpected argument {}", quote(words[most])));
  if (words.empty()) return;
  for (size_t i = places.size(); i-- > 0;)
    plain.erase(plain.begin() + static_cast<std::ptrdiff_t>(places[i]));
  plain.emplace_back("--");
  plain.insert(plain.end(), words.begin(), words.end());
}

}  // namespace

const CLI::App* command_named(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : app.get_subcommands(nullptr))
    if (command->get_name() == name) return command;
  return nullptr;
}

std::vector<std::string> plain_arguments(const CLI::App& app,
                                         const std::vector<std::string>& arguments) {
  std::vector<std::string> plain;
  const CLI::App* command = &app;
  std::vector<size_t> words;  // where the command's words beside its options are
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") {
      add_words(*command, words, std::span(arguments).subspan(i + 1), plain);
      break;
    }
    const CLI::App* next = command_named(*command, argument);
    if (next != nullptr) command = next;
    if (next == nullptr && !is_option(argument)) words.push_back(plain.size());
    const size_t equals = argument.starts_with("--") ? argument.find('=') : std::string::npos;
    const std::string name = argument.substr(0, equals);
    const CLI::Option* option = is_option(argument) ? command->get_option_no_throw(name) : nullptr;
    if (option == nullptr || option->get_items_expected_max() == 0) {
      plain.push_back(argument);
      continue;
    }
    const bool inside = equals != std::string::npos;
    plain.push_back(inside && equals + 1 < argument.size() ? argument : name);
    if (inside && equals + 1 == argument.size()) plain.emplace_back();
    if (!inside && i + 1 < arguments.size()) plain.push_back(arguments[++i]);
    const bool several = option->get_type_name() == kFiles;
    while (several && i + 1 < arguments.size() && !is_option(arguments[i + 1])) {
      plain.push_back(name);
      plain.push_back(arguments[++i]);
    }
  }
  return plain;
}

CLI::Option* add_files_option(CLI::App* command, const std::string& name,
                              std::vector<std::string>& files, const std::string& help) {
  return command->add_option(name, files, help)->type_name(kFiles)->allow_extra_args(false);
}

CLI::Validator finite_number(double min, double max) {
  const auto check = [min, max](const std::string& text) -> std::string {
    double value = 0;
    const char* end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc() && at == end && std::isfinite(value) && value >= min && value <= max)
      return "";
    std::string expected = "a finite number";
    if (std::isfinite(min)) expected += fmt::format(" of at least {}", min);
    if (std::isfinite(max))
      expected += fmt::format("{} at most {}", std::isfinite(min) ? " and" : " of", max);
    return fmt::format("expected {}, found {}", expected, text);
  };
  return CLI::Validator(check, "");
}

}  // namespace um
