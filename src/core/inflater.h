// Inflater: decompresses gzip (RFC 1952, all members one after the other) and zlib (RFC 1950).
#pragma once

#include <zlib.h>

#include <cstddef>
#include <string_view>

namespace um {

/// Errors are Errors without a name: "the gzip data end early". Bytes behind the data that are no
/// further gzip member are one of them.
class Inflater {
 public:
  /// `padding`: gzip members may be followed by zeros up to the end, with which tapes and archives
  /// fill their blocks.
  explicit Inflater(bool padding = false);
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater();

  /// Decompresses from `in`, which it shortens; the number of bytes written. 0: it needs more.
  size_t read(std::string_view& in, char* out, size_t capacity);
  /// To be called when nothing more comes. Throws Error where the data are not complete.
  void finish() const;

 private:
  void begin(char first);
  /// Takes zeros that fill up the end; whether `in` was some.
  bool take_padding(std::string_view& in);

  z_stream stream_{};
  int members_ = 0;      // begun
  bool inside_ = false;  // of one
  bool zlib_ = false;
  bool padding_;
  bool padded_ = false;  // only zeros may come
  bool full_ = false;    // there may be more in it than the last buffer held
};

}  // namespace um
