// Runs the program as a user would.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace um {

struct ProgramResult {
  int code = -1;  ///< exit code, or 128 + the signal
  std::string out, err;
};

/// Runs build/ultramoe with these arguments, `input` on its standard input.
ProgramResult run_program(const std::vector<std::string>& arguments, const std::string& input = "");

/// Whether the program has been built.
bool have_program();

/// A directory of its own that is removed at the end.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ~ScratchDirectory();
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace um
