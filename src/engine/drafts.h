// How many tokens to draft, and drafts that need no model.
//
// Speculative decoding (Leviathan et al. 2023): drafts are run with the trunk in one forward, and
// each is kept if the sampler would have chosen it. Drafts here are always one certain token (the
// head's first choice, the text's own continuation), so that the exact acceptance rule, keep with
// probability min(1, p/q) and else draw from the rest of p, is the same as drawing from p with the
// request's own random numbers and comparing: the tokens are those of plain decoding.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace um {

/// What stood behind the last place where the text's last `n` tokens (n from 4 down to 2) stood
/// before; at most `count` tokens, none if they are new.
std::vector<int32_t> ngram_drafts(std::span<const int32_t> text, int64_t count);

/// Seconds of a step that only decodes, by its number of rows, as measured; guesses for numbers not
/// seen from those nearest.
class StepTimes {
 public:
  void add(int64_t rows, double seconds);
  double expected(int64_t rows) const;  ///< 0 while nothing was measured

 private:
  std::vector<double> mean_;  // by rows; 0 = not seen
};

/// One request's record of how often its drafts were accepted, by their place.
class AcceptanceRecord {
 public:
  /// `accepted` of `offered` drafts of one step were right.
  void add(int64_t offered, int64_t accepted);
  /// Expected tokens of a step with `drafts` drafts.
  double expected_tokens(int64_t drafts) const;

 private:
  static constexpr double kPrior = 0.7;  ///< before anything was seen: worth trying
  std::vector<double> rate_;             // given that all before were accepted
};

/// The number of drafts, 0 … most, with the most expected tokens per second for one request among
/// `others` rows, when each draft costs `draft_s` beside the longer step.
int64_t best_draft_count(const AcceptanceRecord& record, const StepTimes& times, int64_t others,
                         int64_t most, double draft_s);

}  // namespace um
