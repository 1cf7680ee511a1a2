// Text that a user hands to a command: as an option, in a file, or on standard input.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "text/prompt.h"
#include "text/tokenizer.h"

namespace um {

/// Tokenizer::load, whose warnings go to standard error.
Tokenizer load_tokenizer(const std::filesystem::path& path);

/// `text` if it is not empty, else the file `path` (- for standard input), else standard input
/// unless that is a terminal; invalid UTF-8 as U+FFFD. Throws UsageError if both or nothing is
/// given, naming `what`.
std::string read_input(const std::string& text, const std::string& path, const std::string& what);

/// Standard input to its end, at most 1 GiB.
std::string read_stdin();

}  // namespace um
