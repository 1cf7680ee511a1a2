// See output_file.h.
#include "core/output_file.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <system_error>

#include "core/error.h"
#include "core/paths.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLinks = 40;  // one to the next; as many as the system follows

fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : ".";
}

/// Links of /proc lead to open files: a new one beside them would not reach who holds them.
bool is_on_proc(const fs::path& directory) {
  struct statfs system {};
  return ::statfs(directory.c_str(), &system) == 0 && system.f_type == PROC_SUPER_MAGIC;
}

/// The system's rule (fs.protected_symlinks): in a sticky directory that all can write into, a link
/// counts only if it is this user's or the directory's owner's.
bool is_trusted(const struct stat& link, const fs::path& directory) {
  struct stat parent {};
  constexpr mode_t kShared = S_ISVTX | S_IWOTH;
  if (::stat(directory.c_str(), &parent) != 0 || (parent.st_mode & kShared) != kShared) return true;
  return link.st_uid == ::geteuid() || link.st_uid == parent.st_uid;
}

}  // namespace

fs::path output_file(const fs::path& path) {
  UM_CHECK(path.has_filename(), "\"{}\": expected the name of a file to write", path.string());
  fs::path at = path;
  for (int links = 0; links < kMaxLinks; ++links) {
    struct stat info {};
    if (::lstat(at.c_str(), &info) != 0) return at;  // where that is no new file, to open it fails
    if (!S_ISLNK(info.st_mode)) {
      UM_CHECK(S_ISREG(info.st_mode), "{}: expected a regular file to write, found {}",
               path.string(), kind_of_file(info.st_mode));
      return at;
    }
    const fs::path directory = parent_of(at);
    UM_CHECK(!is_on_proc(directory),
             "{}: leads to what a process has open; expected the name of a file to write",
             path.string());
    UM_CHECK(is_trusted(info, directory),
             "{}: a symbolic link of another user, in a directory that all can write into",
             path.string());
    std::error_code error;
    const fs::path next = fs::read_symlink(at, error);
    UM_CHECK(!error, "{}: cannot read this link: {}", path.string(), error.message());
    at = directory / next;
  }
  fail("{}: a symbolic link that leads to itself", path.string());
}

void remove_output_file(const fs::path& path) {
  output_file(path);
  std::error_code error;
  fs::remove(path, error);
  UM_CHECK(!error, "{}: cannot remove: {}", path.string(), error.message());
}

}  // namespace um
