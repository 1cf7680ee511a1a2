// See input.h.
#include "cli/input.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/error.h"
#include "core/files.h"
#include "text/utf8.h"

namespace um {
namespace {

constexpr size_t kMaxInput = size_t{1} << 30;

}  // namespace

Tokenizer load_tokenizer(const std::filesystem::path& path) {
  Tokenizer tokenizer = Tokenizer::load(path);
  for (const std::string& warning : tokenizer.warnings())
    fmt::print(stderr, "warning: {}\n", warning);
  return tokenizer;
}

std::string read_stdin() {
  std::string text;
  char buffer[1 << 16];
  while (const size_t got = std::fread(buffer, 1, sizeof buffer, stdin)) {
    text.append(buffer, got);
    UM_CHECK(text.size() <= kMaxInput, "standard input: more than {} bytes", kMaxInput);
  }
  UM_CHECK(std::ferror(stdin) == 0, "standard input: cannot read: {}", std::strerror(errno));
  return text;
}

std::string read_input(const std::string& text, const std::string& path, const std::string& what) {
  if (!text.empty() && !path.empty())
    throw UsageError(fmt::format("{}: given twice, on the command line and as a file", what));
  if (!text.empty()) return repair_utf8(text);
  if (!path.empty() && path != "-") return repair_utf8(read_file(path, kMaxInput));
  if (path.empty() && ::isatty(STDIN_FILENO) != 0)
    throw UsageError(fmt::format("no {}: give it as an option, a file or on standard input", what));
  return repair_utf8(read_stdin());
}

}  // namespace um
