// Text that a user hands to a command: as an option, in a file, or on standard input.
#pragma once

#include <string>

namespace um {

/// `text` if it is not empty, else the file `path` (- for standard input), else standard input
/// unless that is a terminal. Throws UsageError if both or nothing is given, naming `what`.
std::string read_input(const std::string& text, const std::string& path, const std::string& what);

/// Standard input to its end, at most 1 GiB.
std::string read_stdin();

}  // namespace um
