// The body of a request as its bytes come in: by length or in chunks, then unzipped. Bounded by
// what it may hold, before and after unzipping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/http_head.h"

namespace um {

class HttpBody {
 public:
  /// Throws HttpError 413 where the head already says more than `max_bytes`.
  HttpBody(const HttpHead& head, size_t max_bytes);

  /// Takes the next bytes; what comes after the body is left out. Throws HttpError.
  void take(std::string_view bytes);
  bool complete() const { return state_ == State::kComplete; }
  /// The complete body, unzipped. Throws HttpError.
  std::string finish();

 private:
  enum class State { kData, kChunkSize, kChunkData, kChunkEnd, kTrailer, kComplete };

  void take_data(std::string_view& bytes, State next);
  bool take_line(std::string_view& bytes);
  void begin_chunk(std::string_view line);
  void take_trailer(std::string_view line);
  void check_size(uint64_t more) const;

  State state_;
  size_t max_bytes_;
  bool zipped_;
  uint64_t left_;  // of the body, or of the chunk
  size_t trailer_bytes_ = 0;
  std::string line_;  // the part of a line that has come
  std::string body_;
};

}  // namespace um
