// Regular expressions of tokenizer files, run by PCRE2 (UTF-8, Unicode properties, JIT).
//
// The files are written for Oniguruma, so what PCRE2 reads otherwise is translated
// (interop.md 4.4): classes in classes, `&&`, `{,n}`, names of properties, `\s`, `\w`, `\h`, flags;
// what cannot be is an Error. `^` and `$` stand at every line. What a match may cost is limited: a
// hostile pattern ends in an Error.
#pragma once

#include <cstddef>
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
  friend class Pcre;
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
  bool match_at(std::string_view subject, size_t from, PcreScratch& scratch) const;
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
  const Pcre& pattern_;
  std::string_view subject_;
  PcreScratch& scratch_;
  size_t from_ = 0;
  size_t last_end_ = std::string_view::npos;
};

/// The pattern as PCRE2 wants it. Throws Error for what cannot be translated.
std::string translate_regex(std::string_view pattern);

}  // namespace um
