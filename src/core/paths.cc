// See paths.h.
#include "core/paths.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>

#include "core/error.h"
#include "core/files.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTemporary = ".tmp.";
const time_t kStarted = ::time(nullptr);  // this process

/// NAME.tmp.RANDOM.PID in its parts; process 0 for names of another form.
struct TemporaryName {
  std::string_view name;
  pid_t process = 0;
  bool random = false;  ///< earlier versions wrote NAME.tmp.PID
};

TemporaryName parse_temporary(std::string_view file) {
  const size_t at = file.rfind(kTemporary);
  if (at == std::string_view::npos) return {};
  std::string_view digits = file.substr(at + kTemporary.size());
  constexpr size_t kRandom = 8;
  const bool random =
      digits.find_first_not_of("0123456789abcdef") == kRandom && digits[kRandom] == '.';
  if (random) digits.remove_prefix(kRandom + 1);
  pid_t process = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), process);
  const bool whole = error == std::errc() && end == digits.data() + digits.size();
  if (!whole || process <= 0 || digits[0] == '0') return {};
  return {file.substr(0, at), process, random};
}

/// Whether a writer holds the file: its process may be of another system (a container's), where
/// numbers mean others.
bool is_locked(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return true;  // not ours to touch
  const bool locked = ::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(fd);
  return locked;
}

/// Whether nobody writes this temporary of `process` any more. An earlier process may have had our
/// number (in containers it often has).
bool is_abandoned(const fs::path& path, pid_t process) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  const bool gone = process == ::getpid() ? info.st_mtim.tv_sec < kStarted
                                          : ::kill(process, 0) != 0 && errno == ESRCH;
  return gone && !is_locked(path);
}

}  // namespace

std::string_view kind_of_file(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

bool path_exists(const fs::path& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (fs::status_known(status)) {
    std::error_code ignored;
    if (fs::exists(status)) return true;
    const bool link = fs::is_symlink(fs::symlink_status(path, ignored));
    UM_CHECK(!link, "{}: a symbolic link that leads nowhere", path.string());
    return false;
  }
  fail("{}: cannot look there: {}", path.string(), error.message());
}

std::vector<fs::path> list_directory(const fs::path& directory) {
  std::vector<fs::path> paths;
  if (!path_exists(directory)) return paths;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error))
    paths.push_back(at->path());
  UM_CHECK(!error, "{}: cannot read this directory: {}", directory.string(), error.message());
  std::sort(paths.begin(), paths.end());
  return paths;
}

void remove_leftovers(const fs::path& directory) {
  for (const fs::path& path : list_directory(directory)) {
    const std::string file = path.filename().string();
    const pid_t process = parse_temporary(file).process;
    if (process > 0 && is_abandoned(path, process)) ::unlink(path.c_str());
  }
}

void remove_leftovers_of(const fs::path& file) {
  const std::string name = file.filename().string();
  std::error_code error;
  const fs::path directory = file.has_parent_path() ? file.parent_path() : ".";
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    const std::string found = at->path().filename().string();
    const TemporaryName temporary = parse_temporary(found);
    if (temporary.random && temporary.name == name && is_abandoned(at->path(), temporary.process))
      ::unlink(at->path().c_str());
  }
}

void copy_whole_file(const fs::path& from, const fs::path& to) {
  const MappedFile source(from);
  AtomicFile copy(to);
  copy.write(source.bytes());
  copy.commit();
}

}  // namespace um
