// See inflater.h.
#include "core/inflater.h"

#include <algorithm>
#include <limits>

#include "core/error.h"

namespace um {
namespace {

constexpr int kWindow = 15, kGzip = 16;  // of inflateInit2()
constexpr char kGzipMagic = '\x1f';
constexpr uLong kGzipHeader = 10;
constexpr const char* kBehind = "bytes behind the compressed data are no gzip member";

uInt as_size(size_t size) {
  return static_cast<uInt>(std::min<size_t>(size, std::numeric_limits<int>::max()));
}

}  // namespace

Inflater::Inflater(bool padding) : padding_(padding) {
  UM_CHECK(inflateInit2(&stream_, kWindow) == Z_OK, "zlib cannot be used");
}

Inflater::~Inflater() {
  inflateEnd(&stream_);
}

void Inflater::begin(char first) {
  const bool gzip = first == kGzipMagic;
  UM_CHECK(members_ == 0 || (gzip && !zlib_), "{}", kBehind);
  zlib_ = !gzip;
  inflateReset2(&stream_, gzip ? kWindow + kGzip : kWindow);
  inside_ = true;
  ++members_;
}

bool Inflater::take_padding(std::string_view& in) {
  padded_ = padded_ || (padding_ && members_ > 0 && !inside_ && !zlib_ && in.starts_with('\0'));
  if (!padded_) return false;
  UM_CHECK(in.find_first_not_of('\0') == std::string_view::npos, "{}", kBehind);
  in = {};
  return true;
}

size_t Inflater::read(std::string_view& in, char* out, size_t capacity) {
  size_t written = 0;
  while (capacity > 0 && written == 0 && (!in.empty() || full_)) {
    if (take_padding(in)) break;
    if (!inside_) begin(in.front());
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    stream_.avail_in = as_size(in.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = as_size(capacity);
    const size_t had = stream_.avail_in, room = stream_.avail_out;
    const int code = inflate(&stream_, Z_NO_FLUSH);
    in.remove_prefix(had - stream_.avail_in);
    written = room - stream_.avail_out;
    if (code == Z_STREAM_END) inside_ = false;
    full_ = inside_ && stream_.avail_out == 0;
    const bool good = code == Z_OK || code == Z_STREAM_END || (code == Z_BUF_ERROR && in.empty());
    UM_CHECK(good || members_ == 1 || stream_.total_in >= kGzipHeader, "{}", kBehind);
    UM_CHECK(good, "the compressed data are damaged: {}",
             stream_.msg == nullptr ? "not decompressed" : stream_.msg);
  }
  return written;
}

void Inflater::finish() const {
  UM_CHECK(members_ > 0 && !inside_, "the compressed data end early");
}

}  // namespace um
