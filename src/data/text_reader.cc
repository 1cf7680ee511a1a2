// See text_reader.h.
#include "data/text_reader.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/error.h"
#include "core/input_file.h"
#include "core/json.h"
#include "text/utf8.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr size_t kReadBytes = 256 << 10;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

constexpr std::array<std::pair<std::string_view, DocumentRule>, 4> kRules = {
    {{"line", DocumentRule::kLine},
     {"paragraph", DocumentRule::kParagraph},
     {"block", DocumentRule::kBlock},
     {"file", DocumentRule::kFile}}};

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

/// Takes the line end off.
void chomp(std::string& line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
}

bool is_jsonl(const fs::path& path) {
  const fs::path name = path.extension() == ".gz" ? path.stem() : path;
  return name.extension() == ".jsonl" || name.extension() == ".ndjson";
}

bool is_corpus_file(const fs::path& path) {
  const fs::path name = path.extension() == ".gz" ? path.stem() : path;
  return name.extension() == ".txt" || is_jsonl(path);
}

}  // namespace

DocumentRule parse_document_rule(std::string_view name) {
  for (const auto& [known, rule] : kRules) {
    if (known == name) return rule;
  }
  throw UsageError(
      fmt::format("document rule \"{}\", expected line, paragraph, block or file", name));
}

std::string_view document_rule_name(DocumentRule rule) {
  return kRules[static_cast<size_t>(rule)].first;
}

TextFile::TextFile(const fs::path& path) : path_(path) {
  InputFile file(path);
  file_ = gzdopen(file.descriptor(), "rb");
  UM_CHECK(file_ != nullptr, "{}: cannot open: {}", path.string(), std::strerror(errno));
  file.release();  // gzclose_r closes it
  gzbuffer(static_cast<gzFile>(file_), kReadBytes);
}

TextFile::~TextFile() {
  if (file_ != nullptr) gzclose_r(static_cast<gzFile>(file_));
}

size_t TextFile::read(char* buffer, size_t capacity) {
  const auto file = static_cast<gzFile>(file_);
  const int got = gzread(file, buffer, static_cast<unsigned>(std::min<size_t>(capacity, 1 << 30)));
  int code = Z_OK;
  const char* reason = gzerror(file, &code);
  UM_CHECK(got >= 0 && (code == Z_OK || code == Z_STREAM_END), "{}: cannot read: {}",
           path_.string(), code == Z_ERRNO ? std::strerror(errno) : reason);
  return static_cast<size_t>(got);
}

uint64_t TextFile::position() const {
  const auto offset = gzoffset(static_cast<gzFile>(file_));
  return offset < 0 ? 0 : static_cast<uint64_t>(offset);
}

DocumentReader::DocumentReader(ByteSource source, std::string name, bool jsonl, ReadOptions options)
    : source_(std::move(source)),
      name_(std::move(name)),
      jsonl_(jsonl),
      options_(std::move(options)) {}

void DocumentReader::check_size(size_t bytes) const {
  UM_CHECK(bytes <= options_.max_document_bytes, "{}:{}: a document of more than {} bytes", name_,
           line_, options_.max_document_bytes);
}

bool DocumentReader::next_line(std::string& line) {
  size_t searched = begin_;
  for (;;) {
    const size_t end = buffer_.find('\n', searched);
    if (end != std::string::npos || (ended_ && begin_ < buffer_.size())) {
      const size_t stop = end == std::string::npos ? buffer_.size() : end + 1;
      const bool mark = line_ == 0 && buffer_.compare(begin_, 3, kByteOrderMark) == 0;
      line.assign(buffer_, begin_ + (mark ? 3 : 0), stop - begin_ - (mark ? 3 : 0));
      begin_ = stop;
      ++line_;
      return true;
    }
    if (ended_) return false;
    check_size(buffer_.size() - begin_);
    buffer_.erase(0, begin_);
    begin_ = 0;
    searched = buffer_.size();
    buffer_.resize(searched + kReadBytes);
    const size_t got = source_(buffer_.data() + searched, kReadBytes);
    buffer_.resize(searched + got);
    ended_ = got == 0;
  }
}

bool DocumentReader::next_record(std::string& text) {
  std::string line;
  while (next_line(line)) {
    check_size(line.size());
    if (is_blank(line)) continue;
    chomp(line);
    text = jsonl_text(line, options_.text_field, fmt::format("{}:{}", name_, line_));
    if (!is_blank(text)) return true;
  }
  return false;
}

bool DocumentReader::next_text(std::string& text) {
  const DocumentRule rule = options_.document;
  text.clear();
  std::string line;
  while (next_line(line)) {
    const bool blank = is_blank(line);
    if (rule == DocumentRule::kParagraph && blank && !text.empty()) break;
    if (blank && rule != DocumentRule::kBlock && rule != DocumentRule::kFile) continue;
    text += line;
    check_size(text.size());
    if (rule == DocumentRule::kLine) break;
    if (rule == DocumentRule::kBlock && text.size() >= options_.block_bytes && !is_blank(text)) {
      break;
    }
  }
  if (rule == DocumentRule::kLine || rule == DocumentRule::kParagraph) chomp(text);
  if (is_blank(text)) return false;
  text = repair_utf8(text);
  return true;
}

bool DocumentReader::next(std::string& text) {
  return jsonl_ ? next_record(text) : next_text(text);
}

std::string jsonl_text(std::string_view line, const std::string& field, const std::string& where) {
  const Json record = parse_json(repair_utf8(line), where);
  return repair_utf8(JsonObject(record, where).string(field));
}

std::vector<fs::path> list_corpus(const std::vector<fs::path>& inputs) {
  UM_CHECK(!inputs.empty(), "corpus: no input files");
  std::vector<fs::path> files;
  for (const fs::path& input : inputs) {
    std::error_code error;
    const fs::file_status status = fs::status(input, error);
    UM_CHECK(fs::exists(status), "{}: no such file or directory", input.string());
    if (!fs::is_directory(status)) {
      files.push_back(input);
      continue;
    }
    const size_t before = files.size();
    fs::recursive_directory_iterator it(input, error);
    for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
      std::error_code ignored;
      if (!it->is_directory(ignored) && is_corpus_file(it->path())) files.push_back(it->path());
    }
    UM_CHECK(!error, "{}: cannot list: {}", input.string(), error.message());
    UM_CHECK(files.size() > before, "{}: no .txt, .jsonl, .txt.gz or .jsonl.gz files below it",
             input.string());
    std::sort(files.begin() + static_cast<ptrdiff_t>(before), files.end());
  }
  return files;
}

CorpusReader::CorpusReader(const std::vector<fs::path>& inputs, ReadOptions options)
    : files_(list_corpus(inputs)), options_(std::move(options)) {
  for (const fs::path& path : files_) {
    bytes_total_ += InputFile(path).size();
  }
  open();
}

void CorpusReader::open() {
  file_ = std::make_unique<TextFile>(files_[index_]);
  reader_.emplace([this](char* buffer, size_t capacity) { return file_->read(buffer, capacity); },
                  files_[index_].string(), is_jsonl(files_[index_]), options_);
}

uint64_t CorpusReader::bytes_read() const {
  return bytes_before_ + file_->position();
}

bool CorpusReader::next(std::string& text) {
  while (!reader_->next(text)) {
    if (index_ + 1 == files_.size()) return false;
    bytes_before_ += file_->position();
    ++index_;
    open();
  }
  return true;
}

}  // namespace um
