// See http_body.h.
#include "server/http_body.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace um {
namespace {

constexpr size_t kMaxLine = 1024;     // of a chunk's size with its extensions, of a trailer's field
constexpr size_t kMaxTrailer = 8192;  // of all its fields

[[noreturn]] void too_large(size_t limit) {
  throw HttpError{413, fmt::format("the body has more than {} bytes", limit)};
}

/// gzip or zlib, one or several streams after each other.
std::string unzip(std::string_view packed, size_t max_bytes) {
  struct Stream : z_stream {
    Stream() : z_stream{} { ready = inflateInit2(this, 15 + 32) == Z_OK; }
    ~Stream() { inflateEnd(this); }
    bool ready;
  } stream;
  if (!stream.ready) throw HttpError{500, "zlib cannot be used"};
  std::string out;
  std::array<char, 1 << 16> buffer;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  for (int code = Z_OK;;) {
    if (code == Z_STREAM_END && stream.avail_in == 0) return out;
    if (code == Z_STREAM_END) inflateReset(&stream);
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = buffer.size();
    code = inflate(&stream, Z_NO_FLUSH);
    if (code != Z_OK && code != Z_STREAM_END)
      throw HttpError{400, "the body is not what its content-encoding says"};
    out.append(buffer.data(), buffer.size() - stream.avail_out);
    if (out.size() > max_bytes) too_large(max_bytes);
  }
}

}  // namespace

HttpBody::HttpBody(const HttpHead& head, size_t max_bytes)
    : state_(head.chunked ? State::kChunkSize : State::kData),
      max_bytes_(max_bytes),
      zipped_(head.coding == HttpHead::Coding::kZlib),
      left_(head.content_length) {
  check_size(left_);
  if (!head.has_body()) state_ = State::kComplete;
}

void HttpBody::check_size(uint64_t more) const {
  if (more > max_bytes_ - body_.size()) too_large(max_bytes_);
}

void HttpBody::take_data(std::string_view& bytes, State next) {
  const size_t count = std::min<uint64_t>(left_, bytes.size());
  body_.append(bytes.substr(0, count));
  bytes.remove_prefix(count);
  left_ -= count;
  if (left_ == 0) state_ = next;
}

/// Whether a whole line is in line_ now, without its end.
bool HttpBody::take_line(std::string_view& bytes) {
  const size_t end = bytes.find('\n');
  line_ += bytes.substr(0, end);
  if (line_.size() > kMaxLine) throw HttpError{400, "a line of the chunked body is too long"};
  bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
  if (end == std::string_view::npos) return false;
  if (!line_.ends_with('\r') || line_.find('\r') + 1 != line_.size())
    throw HttpError{400, "a line of the chunked body does not end in CR LF"};
  line_.pop_back();
  return true;
}

/// SIZE in hexadecimal digits, perhaps ";" and extensions, which mean nothing to us.
void HttpBody::begin_chunk(std::string_view line) {
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), left_, 16);
  const std::string_view rest = line.substr(static_cast<size_t>(end - line.data()));
  const size_t extension = rest.find_first_not_of(" \t");
  const bool ends = extension == std::string_view::npos ? rest.empty() : rest[extension] == ';';
  if (error == std::errc::invalid_argument || !ends)
    throw HttpError{400, "the chunked body has a chunk without a valid size"};
  if (error == std::errc::result_out_of_range) too_large(max_bytes_);
  check_size(left_);
  state_ = left_ == 0 ? State::kTrailer : State::kChunkData;
}

void HttpBody::take_trailer(std::string_view line) {
  trailer_bytes_ += line.size();
  if (trailer_bytes_ > kMaxTrailer) throw HttpError{431, "the trailer is too large"};
  if (line.empty()) state_ = State::kComplete;
}

void HttpBody::take(std::string_view bytes) {
  while (!bytes.empty() && state_ != State::kComplete) {
    if (state_ == State::kData) {
      take_data(bytes, State::kComplete);
    } else if (state_ == State::kChunkData) {
      take_data(bytes, State::kChunkEnd);
    } else if (take_line(bytes)) {
      const std::string line = std::exchange(line_, {});
      if (state_ == State::kChunkSize) {
        begin_chunk(line);
      } else if (state_ == State::kChunkEnd) {
        if (!line.empty()) throw HttpError{400, "a chunk of the body is longer than its size"};
        state_ = State::kChunkSize;
      } else {
        take_trailer(line);
      }
    }
  }
}

std::string HttpBody::finish() {
  return zipped_ ? unzip(body_, max_bytes_) : std::move(body_);
}

}  // namespace um
