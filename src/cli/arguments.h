// The program's arguments on their way to CLI11, which has to take every text byte for byte.
#pragma once

#include <CLI/CLI.hpp>
#include <limits>
#include <string>
#include <vector>

namespace um {

/// The command of this name right below `app`, or null.
const CLI::App* command_named(const CLI::App& app, const std::string& name);

/// `arguments` (in their order) in a form that CLI11 does not read into: `--name=` becomes `--name`
/// and an empty text, which it would take for a value that is still to come; further values of
/// --name (`--input a b`; see add_files_option) get a --name of their own each, since where an
/// option takes several at once it cuts `[a,b]` in two. What stands behind a `--` is no option.
/// Throws UsageError for words there that the command does not take.
std::vector<std::string> plain_arguments(const CLI::App& app,
                                         const std::vector<std::string>& arguments);

/// An option that takes paths, several in a row too.
CLI::Option* add_files_option(CLI::App* command, const std::string& name,
                              std::vector<std::string>& files, const std::string& help);

/// A check for numbers: finite, from `min` to `max`, which may be kNoLimit.
inline constexpr double kNoLimit = std::numeric_limits<double>::infinity();
CLI::Validator finite_number(double min, double max);

}  // namespace um
