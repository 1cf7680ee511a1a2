// Reading corpora: .txt and .jsonl, plain or gzip, as a stream of documents in a fixed order. All
// of it is outside input: invalid UTF-8 becomes U+FFFD, sizes are bounded, broken files are errors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace um {

/// What one document of a text file is. (In .jsonl each line is one.)
enum class DocumentRule {
  kLine,       // each line
  kParagraph,  // lines up to a blank line
  kBlock,      // running text, cut at line ends into blocks of at least `block_bytes`
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
};

/// Up to `capacity` bytes into `buffer`; 0 at the end. Throws Error.
using ByteSource = std::function<size_t(char* buffer, size_t capacity)>;

/// Bytes of a file, unzipped if it is gzip. Throws Error naming the file if it cannot be read, is
/// damaged or ends early.
class TextFile {
 public:
  explicit TextFile(const std::filesystem::path& path);
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;
  ~TextFile();

  size_t read(char* buffer, size_t capacity);
  /// How far into the file on disk we are.
  uint64_t position() const;

 private:
  std::filesystem::path path_;
  void* file_ = nullptr;  // gzFile
};

/// The documents of one byte stream. Documents of white space only are left out.
class DocumentReader {
 public:
  /// `name` is for errors; `jsonl` chooses the format.
  DocumentReader(ByteSource source, std::string name, bool jsonl, ReadOptions options);

  /// The next document, valid UTF-8; false at the end. Throws Error `NAME:LINE: …`.
  bool next(std::string& text);

 private:
  bool next_line(std::string& line);  // with its "\n" if it has one
  bool next_record(std::string& text);
  bool next_text(std::string& text);
  void check_size(size_t bytes) const;

  ByteSource source_;
  std::string name_;
  bool jsonl_;
  ReadOptions options_;
  std::string buffer_;  // bytes read and not yet used
  size_t begin_ = 0;    // where the unused ones begin
  bool ended_ = false;
  uint64_t line_ = 0;  // number of the last line read
};

/// The text of one .jsonl record. Throws Error `WHERE: …` unless it is an object with a string
/// `field`.
std::string jsonl_text(std::string_view line, const std::string& field, const std::string& where);

/// The files of `inputs` in order: a file stands for itself, a directory for all .txt, .jsonl,
/// .txt.gz and .jsonl.gz files below it, sorted by path. Throws Error for an input that does not
/// exist, a directory without such files, or an empty list.
std::vector<std::filesystem::path> list_corpus(const std::vector<std::filesystem::path>& inputs);

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

  std::vector<std::filesystem::path> files_;
  ReadOptions options_;
  size_t index_ = 0;
  uint64_t bytes_total_ = 0, bytes_before_ = 0;
  std::unique_ptr<TextFile> file_;
  std::optional<DocumentReader> reader_;
};

}  // namespace um
