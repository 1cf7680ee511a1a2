// See input_file.h.
#include "core/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/paths.h"

namespace um {

void check_input_file(const std::filesystem::path& path) {
  struct stat info {};
  UM_CHECK(::stat(path.c_str(), &info) == 0, "{}: cannot open: {}", path.string(),
           std::strerror(errno));
  UM_CHECK(S_ISREG(info.st_mode), "{}: expected a regular file, found {}", path.string(),
           kind_of_file(info.st_mode));
}

void check_optional_file(const std::filesystem::path& path) {
  if (path_exists(path)) check_input_file(path);
}

// Looked at before it is opened, since opening alone can wait (a pipe) or act (a device), and again
// after, since it may have been replaced in between.
InputFile::InputFile(std::filesystem::path path) : path_(std::move(path)) {
  check_input_file(path_);
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  UM_CHECK(fd_ >= 0, "{}: cannot open: {}", path_.string(), std::strerror(errno));
  struct stat info {};
  const bool regular = ::fstat(fd_, &info) == 0 && S_ISREG(info.st_mode);
  if (!regular) ::close(fd_);
  UM_CHECK(regular, "{}: replaced while it was opened", path_.string());
  size_ = static_cast<uint64_t>(info.st_size);
}

InputFile::~InputFile() {
  if (fd_ >= 0) ::close(fd_);
}

size_t InputFile::read(char* buffer, size_t capacity) {
  for (;;) {
    const ssize_t got = ::read(fd_, buffer, capacity);
    if (got < 0 && errno == EINTR) continue;
    UM_CHECK(got >= 0, "{}: cannot read: {}", path_.string(), std::strerror(errno));
    return static_cast<size_t>(got);
  }
}

}  // namespace um
