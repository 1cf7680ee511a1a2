// See text_reader.h.
#include "data/text_reader.h"

#include <array>

#include "core/error.h"
#include "core/input_file.h"
#include "core/json.h"
#include "text/utf8.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr size_t kReadBytes = 256 << 10;
constexpr size_t kNamed = 5;  // fields that a message names

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

/// The names of an object's fields, for an error.
std::string names_of(const Json& object) {
  std::string names;
  size_t count = 0;
  for (const auto& [name, value] : object.items()) {
    if (++count <= kNamed) names += (count > 1 ? ", " : "") + quote(name);
  }
  if (count > kNamed) names += fmt::format(" and {} more", count - kNamed);
  return count == 0 ? "none" : names;
}

/// What became U+FFFD.
std::string unreadable(const TextFlaws& flaws) {
  std::string text = fmt::format("{} invalid UTF-8 sequences", flaws.invalid);
  if (flaws.halves > 0)
    text += fmt::format(" and {} halves of surrogate pairs (such as \\ud800)", flaws.halves);
  return text;
}

/// Where to cut a line of a text that is longer than `limit` bytes: behind the last white space of
/// the second half, else between two characters. Above 0.
size_t cut_place(std::string_view text, size_t limit) {
  const size_t space = text.substr(0, limit).find_last_of(" \t\v\f");
  if (space != std::string_view::npos && space >= limit / 2) return space + 1;
  const auto inside = [&](size_t at) { return (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80; };
  size_t cut = limit;
  while (cut > 0 && limit - cut < 3 && inside(cut)) --cut;
  if (cut == 0) return utf8_step(text).bytes;
  return inside(cut) ? limit : cut;
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

DocumentReader::DocumentReader(ByteSource source, std::string name, bool jsonl, ReadOptions options)
    : source_(std::move(source), name, options.force_text),
      name_(std::move(name)),
      jsonl_(jsonl),
      options_(std::move(options)) {}

void DocumentReader::check_size(size_t bytes) const {
  UM_CHECK(bytes <= options_.max_document_bytes, "{}:{}: a document of more than {} bytes", name_,
           line_, options_.max_document_bytes);
}

std::string DocumentReader::repair(std::string_view text) {
  flaws_.count(text, line_);
  return repair_utf8(text);
}

/// Where the line that begins at `begin_` ends or is cut; `begin_` while that is not known. Nothing
/// before `searched` is a line end.
size_t DocumentReader::line_end(size_t searched) const {
  const bool cut = !jsonl_ && options_.document == DocumentRule::kBlock;
  const std::string_view rest = std::string_view(buffer_).substr(begin_);
  const std::string_view line = cut ? rest.substr(0, options_.block_bytes) : rest;
  const size_t end = line.find('\n', searched - begin_);
  if (end != std::string_view::npos) return begin_ + end + 1;
  if (line.size() < rest.size()) return begin_ + cut_place(rest, line.size());
  return ended_ ? buffer_.size() : begin_;
}

bool DocumentReader::next_line(std::string& line) {
  size_t searched = begin_;
  for (;;) {
    if (const size_t end = line_end(searched); end > begin_) {
      line_ += line_begins_ ? 1 : 0;
      line.assign(buffer_, begin_, end - begin_);
      line_begins_ = line.back() == '\n';
      begin_ = end;
      return true;
    }
    if (ended_) return false;
    check_size(buffer_.size() - begin_);
    buffer_.erase(0, begin_);
    begin_ = 0;
    searched = buffer_.size();
    buffer_.resize(searched + kReadBytes);
    const size_t got = source_.read(buffer_.data() + searched, kReadBytes);
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
    uint64_t halves = 0;
    const std::string json = repair_json(line, &halves);
    flaws_.count(line, line_, halves);
    text = jsonl_text(json, options_.text_field, fmt::format("{}:{}", name_, line_));
    text = clean_line_ends(repair(text));
    if (!is_blank(text)) return true;
  }
  return false;
}

bool DocumentReader::next_text(std::string& text) {
  const DocumentRule rule = options_.document;
  const bool keeps_blank = rule == DocumentRule::kBlock || rule == DocumentRule::kFile;
  text.clear();
  std::string line;
  bool has_text = false;
  while (next_line(line)) {
    const bool blank = is_blank(line);
    if (rule == DocumentRule::kParagraph && blank && has_text) break;
    if (blank && !keeps_blank) continue;
    has_text |= !blank;
    text += line;
    check_size(text.size());
    if (rule == DocumentRule::kLine) break;
    if (rule == DocumentRule::kBlock && text.size() >= options_.block_bytes && has_text) break;
  }
  if (!keeps_blank) chomp(text);
  if (!has_text) return false;
  text = repair(text);
  return true;
}

bool DocumentReader::next(std::string& text) {
  return jsonl_ ? next_record(text) : next_text(text);
}

std::string jsonl_text(std::string_view line, const std::string& field, const std::string& where) {
  const Json record = parse_json(line, where);
  const JsonObject object(record, where);
  UM_CHECK(record.contains(field), "{}: no field {}; it has {} (--text-field chooses)", where,
           quote(field), names_of(record));
  return object.string(field);
}

CorpusReader::CorpusReader(const std::vector<fs::path>& inputs, ReadOptions options)
    : options_(std::move(options)), files_(list_corpus(inputs, options_.warn)) {
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

void CorpusReader::warn(const std::string& line) const {
  if (options_.warn) options_.warn(line);
}

/// Tells what is wrong with the file that has been read. Of many files only the first are named.
void CorpusReader::close() {
  bytes_before_ += file_->position();
  const bool last = index_ + 1 == files_.size();
  const TextFlaws& flaws = reader_->flaws();
  flawed_files_ += flaws.any() ? 1 : 0;
  if (flaws.any() && flawed_files_ <= kNamed)
    warn(fmt::format("{}: {}, read as U+FFFD, and {} NUL characters; the first in line {}",
                     files_[index_].string(), unreadable(flaws), flaws.nul, flaws.first_line));
  if (last && flawed_files_ > kNamed)
    warn(fmt::format("{} more files have invalid UTF-8, half surrogate pairs or NUL characters",
                     flawed_files_ - kNamed));
}

uint64_t CorpusReader::bytes_read() const {
  return ended_ ? bytes_before_ : bytes_before_ + file_->position();
}

bool CorpusReader::next(std::string& text) {
  while (!ended_ && !reader_->next(text)) {
    close();
    ended_ = index_ + 1 == files_.size();
    if (ended_) break;
    ++index_;
    open();
  }
  return !ended_;
}

}  // namespace um
