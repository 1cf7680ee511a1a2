// Reading corpora: .txt and .jsonl, plain or compressed, as a stream of documents in a fixed order.
// All of it is outside input: what is no text is an error, invalid UTF-8 becomes U+FFFD and is
// counted, sizes are bounded, broken files are errors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/corpus_files.h"
#include "data/text_file.h"

namespace um {

/// What one document of a text file is. (In .jsonl each line is one.)
enum class DocumentRule {
  kLine,       // each line
  kParagraph,  // lines up to a blank line
  kBlock,      // running text, cut at line ends into blocks of at least `block_bytes`; a line
               // longer than that is cut at white space
  kFile,       // the whole file
};

/// "line", "paragraph", "block" or "file"; throws UsageError for other names.
DocumentRule parse_document_rule(std::string_view name);
std::string_view document_rule_name(DocumentRule rule);

struct ReadOptions {
  DocumentRule document = DocumentRule::kBlock;  // for text files
  uint64_t block_bytes = 16384;                  // kBlock: a block ends with the line that fills it
  std::string text_field = "text";               // of a .jsonl record
  uint64_t max_document_bytes = 256u << 20;      // longer ones are errors
  bool force_text = false;                       // read what does not look like text all the same
  std::function<void(const std::string&)> warn;  // takes lines about skipped and flawed files
};

/// The documents of one byte stream, with LF as line end and no byte order mark. Documents of white
/// space only are left out.
class DocumentReader {
 public:
  /// `name` is for errors; `jsonl` chooses the format.
  DocumentReader(ByteSource source, std::string name, bool jsonl, ReadOptions options);

  /// The next document, valid UTF-8; false at the end. Throws Error `NAME:LINE: …`.
  bool next(std::string& text);
  /// Of the documents so far.
  const TextFlaws& flaws() const { return flaws_; }

 private:
  bool next_line(std::string& line);  // with its "\n" if it has one
  bool next_record(std::string& text);
  bool next_text(std::string& text);
  size_t line_end(size_t searched) const;
  void check_size(size_t bytes) const;
  std::string repair(std::string_view text);

  TextCleaner source_;
  std::string name_;
  bool jsonl_;
  ReadOptions options_;
  std::string buffer_;  // bytes read and not yet used
  size_t begin_ = 0;    // where the unused ones begin
  bool ended_ = false;
  uint64_t line_ = 0;        // number of the line last read from
  bool line_begins_ = true;  // a new line begins at `begin_`
  TextFlaws flaws_;
};

/// The text of one .jsonl record, in which no half of a surrogate pair is left. Throws Error
/// `WHERE: …` unless it is an object with a string `field`.
std::string jsonl_text(std::string_view line, const std::string& field, const std::string& where);

/// All documents of a list of inputs, one after the other.
class CorpusReader {
 public:
  CorpusReader(const std::vector<std::filesystem::path>& inputs, ReadOptions options);
  CorpusReader(const CorpusReader&) = delete;
  CorpusReader& operator=(const CorpusReader&) = delete;

  bool next(std::string& text);
  const std::vector<std::filesystem::path>& files() const { return files_; }
  /// Index in `files()` of the file the last document came from.
  size_t file_index() const { return index_; }
  /// Bytes on disk: of all files, and of those (or the part) read so far.
  uint64_t bytes_total() const { return bytes_total_; }
  uint64_t bytes_read() const;

 private:
  void open();
  void close();
  void warn(const std::string& line) const;

  ReadOptions options_;
  std::vector<std::filesystem::path> files_;
  size_t index_ = 0;
  uint64_t bytes_total_ = 0, bytes_before_ = 0;
  uint64_t flawed_files_ = 0;
  bool ended_ = false;
  std::unique_ptr<TextFile> file_;
  std::optional<DocumentReader> reader_;
};

}  // namespace um
