// See text_file.h.
#include "data/text_file.h"

#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/inflater.h"
#include "core/input_file.h"
#include "text/utf8.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr size_t kReadBytes = 256 << 10;
constexpr size_t kHeadBytes = 64 << 10;  // of a file are looked at before it is read as text
constexpr uint64_t kManyInvalid = 16, kInvalidShare = 1000;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kGzipMagic = "\x1F\x8B";
constexpr std::string_view kZstdMagic = "\x28\xB5\x2F\xFD";

struct Format {
  std::string_view magic, what;
  bool is_text = false;  // the file may be UTF-8 without NUL all the same
};

using std::string_view_literals::operator""sv;

constexpr std::string_view kUtf16Help =
    "UTF-16, expected UTF-8: convert it with iconv -f UTF-16 -t UTF-8";

/// The first bytes of what people keep text in, or mistake for it. Longer marks stand first.
constexpr std::array<Format, 23> kFormats = {{
    {"PAR1"sv, "Parquet data, which is not read: export it as .jsonl"sv},
    {"ARROW1"sv, "Arrow data, which is not read: export it as .jsonl"sv},
    {"Obj\x01"sv, "Avro data, which is not read: export it as .jsonl"sv},
    {kGzipMagic, "compressed twice: decompress it once with gzip -d"sv},
    {kZstdMagic, "compressed twice: decompress it once with zstd -d"sv},
    {"\xFD"
     "7zXZ"sv,
     "xz data: decompress it with xz -d"sv},
    {"BZh"sv, "bzip2 data: decompress it with bzip2 -d"sv},
    {"\x04\x22\x4D\x18"sv, "lz4 data: decompress it with lz4 -d"sv},
    {"PK\x03\x04"sv, "a zip archive (also .docx, .xlsx, .epub, .npz): unpack it"sv},
    {"7z\xBC\xAF\x27\x1C"sv, "a 7z archive: unpack it"sv},
    {"Rar!\x1A"sv, "a rar archive: unpack it"sv},
    {"%PDF-"sv, "a PDF document: extract its text, for example with pdftotext"sv, true},
    {"{\\rtf"sv, "an RTF document: save it as plain text"sv, true},
    {"\xD0\xCF\x11\xE0"sv, "an Office document: save it as plain text"sv},
    {"SQLite format 3\0"sv, "an SQLite database: export it as .jsonl"sv},
    {"\x89HDF"sv, "HDF5 data, expected text"sv},
    {"GGUF"sv, "a GGUF model, expected text"sv},
    {"\x89PNG"sv, "an image, expected text"sv},
    {"\xFF\xD8\xFF"sv, "an image, expected text"sv},
    {"\xFF\xFE\0\0"sv, "UTF-32, expected UTF-8: convert it with iconv -f UTF-32 -t UTF-8"sv},
    {"\0\0\xFE\xFF"sv, "UTF-32, expected UTF-8: convert it with iconv -f UTF-32 -t UTF-8"sv},
    {"\xFF\xFE"sv, kUtf16Help},
    {"\xFE\xFF"sv, kUtf16Help},
}};

/// Sequences that choose a set of characters of two bytes, and the encodings of 7 bits that do so.
struct Shift {
  std::string_view sequence, encoding;
};
constexpr std::array<Shift, 6> kShifts = {{{"\x1B$B", "ISO-2022-JP"},
                                           {"\x1B$@", "ISO-2022-JP"},
                                           {"\x1B$(D", "ISO-2022-JP"},
                                           {"\x1B$)C", "ISO-2022-KR"},
                                           {"\x1B$)A", "ISO-2022-CN"},
                                           {"\x1B$)G", "ISO-2022-CN"}}};

/// Text of 7 bits that shifts to other characters: its encoding, or "".
std::string_view shifted_encoding(std::string_view head) {
  if (std::any_of(head.begin(), head.end(), [](char c) { return (c & 0x80) != 0; })) return "";
  for (const Shift& shift : kShifts)
    if (head.find(shift.sequence) != std::string_view::npos) return shift.encoding;
  return "";
}

/// A frame, or one that is to be skipped (RFC 8878, 3.1.2), as pzstd puts before each.
bool begins_zstd(std::string_view first) {
  const bool skipped = first.size() == kZstdMagic.size() && (first[0] & 0xF0) == 0x50 &&
                       first.substr(1) == "\x2A\x4D\x18";
  return first == kZstdMagic || skipped;
}

/// NUL at nearly every odd or even place, and hardly elsewhere: the high bytes of mostly Latin text
/// in UTF-16.
bool looks_like_utf16(std::string_view head, uint64_t nul) {
  uint64_t even = 0;
  for (size_t i = 0; i < head.size(); i += 2) even += head[i] == '\0' ? 1 : 0;
  const uint64_t most = std::max(even, nul - even);
  return most * 10 >= nul * 9 && most * 5 >= head.size() * 2;
}

/// Of a part of a text; a character that its end cuts off is not counted.
uint64_t count_invalid(std::string_view text) {
  uint64_t invalid = 0;
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    invalid += step.kind == Utf8Step::kInvalid ? 1 : 0;
    text.remove_prefix(step.bytes);
  }
  return invalid;
}

uint64_t count_nul(std::string_view text) {
  return static_cast<uint64_t>(std::count(text.begin(), text.end(), '\0'));
}

/// CR LF and CR become LF, in place. `after_cr` says whether the bytes before ended with CR.
size_t unify_line_ends(char* bytes, size_t size, bool& after_cr) {
  size_t kept = 0;
  for (size_t i = 0; i < size; ++i) {
    const char c = bytes[i];
    if (c != '\n' || !after_cr) bytes[kept++] = c == '\r' ? '\n' : c;
    after_cr = c == '\r';
  }
  return kept;
}

}  // namespace

/// Decompresses one kind of file.
class TextFile::Reader {
 public:
  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  virtual ~Reader() = default;

  virtual size_t read(char* buffer, size_t capacity) = 0;
  virtual uint64_t position() const = 0;
};

class TextFile::PlainReader : public Reader {
 public:
  explicit PlainReader(std::unique_ptr<InputFile> file) : file_(std::move(file)) {}

  size_t read(char* buffer, size_t capacity) override {
    const size_t got = file_->read(buffer, capacity);
    position_ += got;
    return got;
  }

  uint64_t position() const override { return position_; }

 private:
  std::unique_ptr<InputFile> file_;
  uint64_t position_ = 0;
};

class TextFile::GzipReader : public Reader {
 public:
  GzipReader(const fs::path& path, std::unique_ptr<InputFile> file)
      : path_(path), file_(std::move(file)), input_(kReadBytes) {}

  size_t read(char* buffer, size_t capacity) override {
    try {
      for (;;) {
        const size_t got = inflater_.read(rest_, buffer, capacity);
        if (got > 0 || capacity == 0) return got;
        if (rest_.empty() && !fill()) break;
      }
      inflater_.finish();
    } catch (const Error& error) {
      throw Error(fmt::format("{}: cannot read: {}", path_.string(), error.what()));
    }
    return 0;
  }

  uint64_t position() const override { return position_; }

 private:
  bool fill() {
    const size_t got = file_->read(input_.data(), input_.size());
    position_ += got;
    rest_ = {input_.data(), got};
    return got > 0;
  }

  fs::path path_;
  std::unique_ptr<InputFile> file_;
  std::vector<char> input_;
  std::string_view rest_;
  Inflater inflater_{true};
  uint64_t position_ = 0;
};

/// Zstandard frames, one after the other (RFC 8878).
class TextFile::ZstdReader : public Reader {
 public:
  ZstdReader(const fs::path& path, std::unique_ptr<InputFile> file)
      : path_(path), file_(std::move(file)), stream_(ZSTD_createDStream(), &ZSTD_freeDStream) {
    UM_CHECK(stream_ != nullptr, "{}: no memory to decompress", path.string());
    input_.resize(ZSTD_DStreamInSize());
  }

  size_t read(char* buffer, size_t capacity) override {
    ZSTD_outBuffer out = {buffer, capacity, 0};
    while (out.pos == 0 && capacity > 0) {
      if (in_.pos == in_.size && !fill()) {
        UM_CHECK(!in_frame_, "{}: cannot read: the zstd data end early", path_.string());
        return 0;
      }
      const size_t hint = ZSTD_decompressStream(stream_.get(), &out, &in_);
      UM_CHECK(ZSTD_isError(hint) == 0, "{}: cannot read: zstd: {}", path_.string(),
               ZSTD_getErrorName(hint));
      in_frame_ = hint != 0;
    }
    return out.pos;
  }

  uint64_t position() const override { return position_; }

 private:
  bool fill() {
    const size_t got = file_->read(input_.data(), input_.size());
    position_ += got;
    in_ = {input_.data(), got, 0};
    return got > 0;
  }

  fs::path path_;
  std::unique_ptr<InputFile> file_;
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream_;
  std::vector<char> input_;
  ZSTD_inBuffer in_ = {nullptr, 0, 0};
  bool in_frame_ = false;
  uint64_t position_ = 0;
};

TextFile::TextFile(const fs::path& path) {
  auto file = std::make_unique<InputFile>(path);
  std::array<char, kZstdMagic.size()> magic{};
  const ssize_t got = ::pread(file->descriptor(), magic.data(), magic.size(), 0);
  const std::string_view first(magic.data(), static_cast<size_t>(std::max<ssize_t>(got, 0)));
  if (begins_zstd(first))
    reader_ = std::make_unique<ZstdReader>(path, std::move(file));
  else if (first.starts_with(kGzipMagic))
    reader_ = std::make_unique<GzipReader>(path, std::move(file));
  else
    reader_ = std::make_unique<PlainReader>(std::move(file));
}

TextFile::~TextFile() = default;

size_t TextFile::read(char* buffer, size_t capacity) {
  return reader_->read(buffer, capacity);
}

uint64_t TextFile::position() const {
  return reader_->position();
}

std::string why_not_text(std::string_view head) {
  const uint64_t nul = count_nul(head);
  const uint64_t invalid = count_invalid(head);
  for (const Format& format : kFormats) {
    if (head.starts_with(format.magic) && (format.is_text || nul + invalid > 0))
      return std::string(format.what);
  }
  if (nul > 0) {
    if (looks_like_utf16(head, nul)) return std::string(kUtf16Help);
    return fmt::format("binary data, expected text: {} of its first {} bytes are NUL", nul,
                       head.size());
  }
  if (const std::string_view encoding = shifted_encoding(head); !encoding.empty())
    return fmt::format("{0}, expected UTF-8: convert it with iconv -f {0} -t UTF-8", encoding);
  if (invalid < kManyInvalid || invalid * kInvalidShare <= head.size()) return "";
  return fmt::format(
      "not UTF-8: {} invalid sequences in its first {} bytes; convert it, for example with iconv "
      "-f LATIN1 -t UTF-8",
      invalid, head.size());
}

void TextFlaws::count(std::string_view text, uint64_t line, uint64_t halves_found) {
  const bool had = any();
  halves += halves_found;
  nul += count_nul(text);
  invalid += is_utf8(text) ? 0 : std::max<uint64_t>(count_invalid(text), 1);
  if (!had && any()) first_line = line;
}

TextCleaner::TextCleaner(ByteSource source, std::string name, bool force)
    : source_(std::move(source)), name_(std::move(name)), force_(force) {}

void TextCleaner::begin() {
  begun_ = true;
  head_.resize(kHeadBytes);
  size_t filled = 0, got = 0;
  do {
    got = source_(head_.data() + filled, head_.size() - filled);
    filled += got;
  } while (got > 0 && filled < head_.size());
  head_.resize(filled);
  const std::string why = force_ ? "" : why_not_text(head_);
  UM_CHECK(why.empty(), "{}: {}", name_, why);
  used_ = head_.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
}

size_t TextCleaner::take(char* buffer, size_t capacity) {
  if (used_ == head_.size()) return source_(buffer, capacity);
  const size_t count = head_.copy(buffer, capacity, used_);
  used_ += count;
  if (used_ == head_.size()) {
    head_ = {};
    used_ = 0;
  }
  return count;
}

size_t TextCleaner::read(char* buffer, size_t capacity) {
  if (!begun_) begin();
  for (;;) {  // again where all that came was the LF of a CR LF
    const size_t got = take(buffer, capacity);
    const size_t kept = unify_line_ends(buffer, got, after_cr_);
    if (kept > 0 || got == 0) return kept;
  }
}

std::string clean_line_ends(std::string text) {
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
  bool after_cr = false;
  text.resize(unify_line_ends(text.data(), text.size(), after_cr));
  return text;
}

std::string read_text_file(const fs::path& path, uint64_t max_bytes) {
  TextFile file(path);
  TextCleaner cleaner([&](char* buffer, size_t capacity) { return file.read(buffer, capacity); },
                      path.string(), false);
  std::string text;
  std::vector<char> buffer(kReadBytes);
  while (const size_t got = cleaner.read(buffer.data(), buffer.size())) {
    text.append(buffer.data(), got);
    UM_CHECK(text.size() <= max_bytes, "{}: more than {} bytes of text", path.string(), max_bytes);
  }
  return repair_utf8(text);
}

}  // namespace um
