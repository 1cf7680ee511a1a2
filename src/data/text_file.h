// The bytes of a text file, decompressed, and the check that they are text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace um {

/// Up to `capacity` bytes into `buffer`; 0 at the end. Throws Error.
using ByteSource = std::function<size_t(char* buffer, size_t capacity)>;

/// Bytes of a file, decompressed if its first bytes are those of gzip or zstd. Throws Error naming
/// the file if it cannot be read, is damaged or ends early.
class TextFile {
 public:
  explicit TextFile(const std::filesystem::path& path);
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;
  ~TextFile();

  size_t read(char* buffer, size_t capacity);
  /// Bytes of the file on disk read so far.
  uint64_t position() const;

 private:
  class Reader;
  class PlainReader;
  class GzipReader;
  class ZstdReader;
  std::unique_ptr<Reader> reader_;
};

/// Why bytes are not UTF-8 text: "Parquet data; …". Empty if they look like text. Judges by the
/// marks of known formats, by NUL bytes, by the shifts of ISO-2022, and by invalid UTF-8 (at least
/// 16 sequences that are more than a thousandth of the bytes). `head` is the beginning of a file,
/// cut anywhere.
std::string why_not_text(std::string_view head);

/// What a file has that text should not have.
struct TextFlaws {
  uint64_t invalid = 0;     // invalid UTF-8 sequences, read as U+FFFD
  uint64_t halves = 0;      // halves of surrogate pairs in JSON (`\ud800`), read as U+FFFD
  uint64_t nul = 0;         // NUL characters, kept
  uint64_t first_line = 0;  // of the first flaw

  bool any() const { return invalid + halves + nul > 0; }
  /// Counts those of `text`, which ends in line `line`, and the halves that were found in it.
  void count(std::string_view text, uint64_t line, uint64_t halves_found = 0);
};

/// Passes bytes on as text with one kind of line end: no byte order mark in front, LF for CR LF and
/// for CR.
class TextCleaner {
 public:
  /// `force`: does not check that the bytes are text.
  TextCleaner(ByteSource source, std::string name, bool force);

  /// Throws Error `NAME: …` if the bytes are not text.
  size_t read(char* buffer, size_t capacity);

 private:
  void begin();
  size_t take(char* buffer, size_t capacity);

  ByteSource source_;
  std::string name_;
  bool force_, begun_ = false, after_cr_ = false;
  std::string head_;  // read for the check and not yet passed on
  size_t used_ = 0;
};

/// The same for a string: LF for CR LF and for CR, no byte order mark in front.
std::string clean_line_ends(std::string text);

/// A whole text file, decompressed, checked and cleaned; invalid UTF-8 becomes U+FFFD. Throws Error
/// naming the file if it is no text or has more than `max_bytes`.
std::string read_text_file(const std::filesystem::path& path, uint64_t max_bytes);

}  // namespace um
