// Files that are read: regular ones only, looked at before they are opened. Every file that the
// program opens to read goes through here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace um {

/// A regular file that is open for reading; closed on destruction. Whatever else has this name (a
/// directory, named pipe, socket or device) is refused, without waiting for anything.
class InputFile {
 public:
  /// Throws Error naming the file and the reason.
  explicit InputFile(std::filesystem::path path);
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile();

  uint64_t size() const { return size_; }
  int descriptor() const { return fd_; }
  /// The next bytes, at most `capacity`; 0 at the end. Throws Error.
  size_t read(char* buffer, size_t capacity);

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

/// Throws the Error of InputFile for what it would refuse; for files that a library opens itself.
void check_input_file(const std::filesystem::path& path);
/// The same for a file that need not be there.
void check_optional_file(const std::filesystem::path& path);

}  // namespace um
