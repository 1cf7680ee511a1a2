// See program_util.h.
#include "tests/cli/program_util.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "core/error.h"
#include "core/files.h"

namespace um {
namespace {

namespace fs = std::filesystem;

std::string shell_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

ScratchDirectory::ScratchDirectory() {
  static std::atomic<int> count{0};
  path_ = fs::temp_directory_path() / fmt::format("um_cli_{}_{}", ::getpid(), count++);
  fs::create_directories(path_);
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

bool have_program() {
  return fs::exists(UM_BINARY);
}

ProgramResult run_program(const std::vector<std::string>& arguments, const std::string& input) {
  const ScratchDirectory scratch;
  const std::string out = scratch / "out", err = scratch / "err", in = scratch / "in";
  write_file_atomic(in, input);
  std::string command = shell_quoted(UM_BINARY);
  for (const std::string& argument : arguments) command += " " + shell_quoted(argument);
  command += fmt::format(" <{} >{} 2>{}", in, out, err);
  const int status = std::system(command.c_str());
  ProgramResult result;
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = read_file(out);
  result.err = read_file(err);
  return result;
}

}  // namespace um
