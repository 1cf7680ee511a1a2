// Regular expressions of tokenizer files, run by PCRE2 (UTF-8, Unicode properties, JIT).
//
// The files are written for Oniguruma, so what PCRE2 reads otherwise is translated
// (docs/tokenizers.md): classes in classes, `&&`, `{,n}`, names of properties, `\s`, `\w`, `\h`,
// flags; what cannot be is an Error. `^` and `$` stand at every line. What all matches in a text
// may cost is limited by its length: where an expression costs more, that is an Error. Published
// ones that cost the square of a run of digits or blanks are replaced by others that match the
// same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace um {

/// Where a match lies in its subject, in bytes.
struct PcreMatch {
  size_t begin = 0, end = 0;
};

/// The memory of matching; one per thread.
class PcreScratch {
 public:
  PcreScratch();
  ~PcreScratch();
  PcreScratch(const PcreScratch&) = delete;
  PcreScratch& operator=(const PcreScratch&) = delete;

 private:
  friend class PcreMatches;
  struct Data;
  std::unique_ptr<Data> data_;
};

/// A compiled pattern; immutable, and cheap to copy.
class Pcre {
 public:
  /// Throws Error `WHERE: ...` for a pattern that is too long or does not compile.
  Pcre(std::string_view pattern, const std::string& where);
  /// A pattern without special characters.
  static Pcre literal(std::string_view text, const std::string& where);

 private:
  friend class PcreMatches;
  struct Code;
  explicit Pcre(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
  std::shared_ptr<const Code> code_;
};

/// All matches of a pattern in a text, in order, as Hugging Face's tokenizers find them: an empty
/// match counts, but not where the match before ended.
class PcreMatches {
 public:
  /// `subject` is valid UTF-8. The pattern, the text and the memory outlive this.
  PcreMatches(const Pcre& pattern, std::string_view subject, PcreScratch& scratch)
      : pattern_(pattern), subject_(subject), scratch_(scratch) {}

  /// False if there are no more. Throws Error if matching takes too long.
  bool next(PcreMatch& match);

 private:
  enum Outcome { kFound, kNone, kPartial, kLimit };
  bool find();
  bool find_here(size_t at);
  /// Tries the text from `at` on, of which the expression sees what is before `end`.
  Outcome run(bool anchored, size_t at, size_t end);
  const size_t* range() const;
  void limit(uint32_t backtracks);
  void spend(uint64_t steps);
  size_t window_end(size_t at, size_t window) const;

  const Pcre& pattern_;
  std::string_view subject_;
  PcreScratch& scratch_;
  uint64_t spent_ = 0;
  size_t from_ = 0;
  size_t last_end_ = std::string_view::npos;
};

/// The pattern as PCRE2 wants it. Throws Error for what cannot be translated. `own`: not from a
/// file; may ask where the search began (`\G`).
std::string translate_regex(std::string_view pattern, bool own = false);

}  // namespace um
