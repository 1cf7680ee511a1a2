// Where in a text its final answer stands.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace um {

/// `text` with full-width characters as ASCII has them, so that one set of marks is looked for.
std::string half_width(std::string_view text);

/// Without white space, line ends and Markdown's and LaTeX's wrapping (`**7**`, `$7$`, `"7"`, `7.`)
/// at both ends.
std::string_view unwrapped(std::string_view text);

/// Parts of one text, which must outlive this.
struct FinalAnswers {
  /// What the text calls its answer, in its order: `\boxed{…}`, and up to the end of the sentence
  /// what stands behind `answer is`, `answer:`, `答案是`, `答案：` and `####` (on the next line
  /// where the line ends there). No two overlap; empty ones are left out.
  std::vector<std::string_view> marked = {};
  std::string_view last_line = {};  ///< that is not blank
  bool single_line = true;          ///< there is no other
};

/// `text` is half_width(). Linear in it.
FinalAnswers find_final_answers(std::string_view text);

/// The part of an answer that counts: behind its last `=`.
std::string_view behind_equals(std::string_view answer);

}  // namespace um
