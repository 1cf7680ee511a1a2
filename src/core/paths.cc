// See paths.h.
#include "core/paths.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>

#include "core/error.h"
#include "core/files.h"

namespace um {
namespace {

constexpr std::string_view kTemporary = ".tmp.";

/// Whether `name` (NAME.tmp.RANDOM.PID, of earlier versions NAME.tmp.PID) is a temporary file of a
/// process that is no longer there.
bool is_leftover(std::string_view name) {
  const size_t at = name.rfind(kTemporary);
  if (at == std::string_view::npos) return false;
  std::string_view digits = name.substr(at + kTemporary.size());
  constexpr size_t kRandom = 8;
  if (digits.find_first_not_of("0123456789abcdef") == kRandom && digits[kRandom] == '.')
    digits.remove_prefix(kRandom + 1);
  pid_t process = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), process);
  if (error != std::errc() || end != digits.data() + digits.size() || process <= 0) return false;
  return ::kill(process, 0) != 0 && errno == ESRCH;
}

}  // namespace

bool path_exists(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (std::filesystem::status_known(status)) {
    std::error_code ignored;
    if (std::filesystem::exists(status)) return true;
    const bool link = std::filesystem::is_symlink(std::filesystem::symlink_status(path, ignored));
    UM_CHECK(!link, "{}: a symbolic link that leads nowhere", path.string());
    return false;
  }
  fail("{}: cannot look there: {}", path.string(), error.message());
}

std::vector<std::filesystem::path> list_directory(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> paths;
  if (!path_exists(directory)) return paths;
  std::error_code error;
  for (std::filesystem::directory_iterator at(directory, error), end; !error && at != end;
       at.increment(error))
    paths.push_back(at->path());
  UM_CHECK(!error, "{}: cannot read this directory: {}", directory.string(), error.message());
  std::sort(paths.begin(), paths.end());
  return paths;
}

void remove_leftovers(const std::filesystem::path& directory) {
  std::error_code ignored;
  for (const std::filesystem::path& path : list_directory(directory))
    if (is_leftover(path.filename().string())) std::filesystem::remove(path, ignored);
}

void copy_whole_file(const std::filesystem::path& from, const std::filesystem::path& to) {
  const MappedFile source(from);
  AtomicFile copy(to);
  copy.write(source.bytes());
  copy.commit();
}

}  // namespace um
