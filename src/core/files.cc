// See files.h.
#include "core/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/input_file.h"
#include "core/output_file.h"
#include "core/paths.h"
#include "core/unfinished.h"
#include "core/units.h"

namespace um {
namespace {

/// From the system's source, so that nobody can tell them beforehand.
uint32_t random_bits(const std::filesystem::path& path) {
  uint32_t bits = 0;
  ssize_t got = 0;
  do got = ::getrandom(&bits, sizeof bits, 0);
  while (got < 0 && errno == EINTR);
  UM_CHECK(got == static_cast<ssize_t>(sizeof bits), "{}: no random number for a name: {}",
           path.string(), std::strerror(errno));
  return bits;
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path, bool keep_open)
    : path_(path), file_(std::make_unique<InputFile>(path)) {
  size_ = static_cast<size_t>(file_->size());
  void* map =
      size_ == 0 ? nullptr : ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file_->descriptor(), 0);
  UM_CHECK(map != MAP_FAILED, "{}: cannot map {}: {}", path.string(),
           bytes_text(static_cast<double>(size_)), std::strerror(errno));
  data_ = static_cast<const std::byte*>(map);
  if (!keep_open) file_.reset();
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::move(other.file_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::check_whole() const {
  struct stat now {};
  UM_CHECK(::fstat(file_->descriptor(), &now) == 0, "{}: cannot look at it: {}", path_.string(),
           std::strerror(errno));
  UM_CHECK(static_cast<uint64_t>(now.st_size) >= size_,
           "{}: expected {} bytes, found {}; it was shortened while in use: put the whole file "
           "back, and restart",
           path_.string(), size_, now.st_size);
}

std::string read_file(const std::filesystem::path& path, uint64_t max_bytes) {
  InputFile file(path);
  UM_CHECK(file.size() <= max_bytes, "{}: {} bytes, the limit is {}", path.string(), file.size(),
           max_bytes);
  std::string text(file.size(), '\0');
  size_t done = 0;
  while (done < text.size()) {
    const size_t got = file.read(text.data() + done, text.size() - done);
    if (got == 0) break;
    done += got;
  }
  text.resize(done);
  return text;
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(output_file(path)) {
  remove_leftovers_of(path_);
  // Another user who can write into the directory (/tmp) may have put links there: the name cannot
  // be guessed, and only a file that is made here is written to.
  temporary_ = path_;
  temporary_ += fmt::format(".tmp.{:08x}.{}", random_bits(path_), ::getpid());
  add_unfinished(temporary_);
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (fd_ >= 0) {
    ::flock(fd_, LOCK_EX | LOCK_NB);  // tells remove_leftovers() that it is being written
    return;
  }
  const std::string reason = std::strerror(errno);
  keep_unfinished(temporary_);
  fail("{}: cannot create: {}", path_.string(), reason);
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
  keep_unfinished(temporary_);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    UM_CHECK(put > 0, "{}: cannot write: {}", path_.string(), std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(put));
    size_ += static_cast<uint64_t>(put);
  }
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text)));
}

void AtomicFile::commit() {
  UM_CHECK(::fsync(fd_) == 0, "{}: cannot flush to disk: {}", path_.string(), std::strerror(errno));
  output_file(path_);  // somebody may have put a pipe there meanwhile
  const bool is_new = ::access(path_.c_str(), F_OK) != 0;
  UM_CHECK(::rename(temporary_.c_str(), path_.c_str()) == 0, "{}: cannot rename from {}: {}",
           path_.string(), temporary_.string(), std::strerror(errno));
  if (is_new) OutputDirectory::report_new_file(path_);
  keep_unfinished(temporary_);
  ::close(std::exchange(fd_, -1));
  sync_directory(path_.has_parent_path() ? path_.parent_path() : ".");
}

void write_file_atomic(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

DirectoryLock::DirectoryLock(const std::filesystem::path& directory, std::string_view busy)
    : fd_(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  UM_CHECK(fd_ >= 0, "{}: cannot open: {}", directory.string(), std::strerror(errno));
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  ::close(fd_);
  fail("{}: {}", directory.string(), busy);
}

DirectoryLock::~DirectoryLock() {
  ::close(fd_);
}

void make_directories(const std::filesystem::path& directory) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  UM_CHECK(!failed, "{}: cannot create this directory: {}", directory.string(), failed.message());
}

void sync_directory(const std::filesystem::path& directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int reason = errno;
  if (fd >= 0) ::close(fd);
  UM_CHECK(synced, "{}: cannot sync: {}", directory.string(), std::strerror(reason));
}

}  // namespace um
