// Files: read-only memory maps, whole-file reads and atomic writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/input_file.h"

namespace um {

/// A read-only memory map of a whole file. Movable; unmapped on destruction.
class MappedFile {
 public:
  /// Maps `path`. Throws Error naming the file and the system's reason. An empty file is an empty
  /// span. `keep_open`: for check_whole().
  explicit MappedFile(const std::filesystem::path& path, bool keep_open = false);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// Throws Error if the file has become shorter since it was mapped: reading bytes() would end the
  /// process (SIGBUS). Needs `keep_open`. Several threads may.
  void check_whole() const;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::unique_ptr<InputFile> file_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// Reads a whole file of at most `max_bytes` (a limit against hostile or mistaken input).
std::string read_file(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 32);

/// A file that appears under its name complete or not at all: written to a new file
/// `PATH.tmp.RANDOM.PID`, flushed with fsync, renamed over PATH, and the directory synced. Without
/// `commit()` nothing is left behind; what killed writers of PATH left goes first. PATH is
/// output_file() of the name: links are followed, and what is no regular file is refused.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  uint64_t size() const { return size_; }
  /// Makes the file visible under its name. Throws Error (disk full, no permission) and removes the
  /// temporary.
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

/// Writes `text` to `path` atomically.
void write_file_atomic(const std::filesystem::path& path, std::string_view text);

/// Marks a directory as being written by this process, as long as the lock lives; a process that is
/// killed gives it up. Where the file system has no locks (some network ones) nothing is held.
class DirectoryLock {
 public:
  /// Throws Error `DIRECTORY: BUSY` if somebody holds it.
  DirectoryLock(const std::filesystem::path& directory, std::string_view busy);
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  ~DirectoryLock();

 private:
  int fd_ = -1;
};

/// Creates a directory and its parents. Throws Error naming it and the system's reason.
void make_directories(const std::filesystem::path& directory);

/// Syncs a directory's entries to disk, so that a rename in it survives a crash.
void sync_directory(const std::filesystem::path& directory);

}  // namespace um
