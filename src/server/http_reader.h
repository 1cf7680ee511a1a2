// A request as its bytes come in: its head, then its body by length or in chunks, unzipped in the
// end. Boost.Beast parses; what it would let pass is refused here and in http_head.h.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "server/http_head.h"

namespace um {

struct HttpLimits {
  size_t header_bytes = 16 << 10;
  size_t body_bytes = 8 << 20;  ///< as it comes, and unzipped
};

class HttpReader {
 public:
  explicit HttpReader(const HttpLimits& limits);
  HttpReader(HttpReader&&) noexcept;
  HttpReader& operator=(HttpReader&&) noexcept;
  ~HttpReader();

  /// Takes the next bytes, and keeps what comes behind the head. True once that is there. Throws
  /// HttpError.
  bool take_head(std::string_view bytes);
  bool has_head() const { return parser_ != nullptr; }
  const HttpHead& head() const;
  /// Throws HttpError for a body that is longer than it may be by its own word, whoever reads it.
  void check_length() const;
  /// Behind the head: takes the next bytes, and leaves out what comes after the body. True once
  /// that is complete. Throws HttpError.
  bool take_body(std::string_view bytes);
  /// The complete body, unzipped; "" where it has not been taken. Throws HttpError.
  std::string finish();
  /// Whether anything has come, and how much of it is kept.
  bool begun() const { return has_head() || !text_.empty(); }
  size_t held() const;

 private:
  class Parser;

  HttpLimits limits_;
  std::string text_;  // what has come and is not parsed
  size_t blank_ = 0;  // bytes of empty lines that came first
  std::unique_ptr<Parser> parser_;
};

}  // namespace um
