// See score.h. T rows of the text, V vocabulary.
#include "engine/score.h"

#include <algorithm>
#include <limits>

#include "engine/sampler.h"

namespace um {

void add_logprobs(std::span<const float> logits, int64_t top, TokenOutput& output) {
  const double total = log_sum_exp(logits);
  const double logprob = static_cast<double>(logits[static_cast<size_t>(output.id)]) - total;
  output.logprob =
      static_cast<float>(std::max<double>(logprob, std::numeric_limits<float>::lowest()));
  output.top = top_logprobs(logits, top, total);
}

std::vector<TokenOutput> score_tokens(const Model& model, std::span<const int32_t> ids,
                                      int64_t top) {
  std::vector<TokenOutput> scores;
  for (const int32_t id : ids) scores.push_back({.id = id});
  if (ids.size() < 2) return scores;
  Device& device = model.device();
  const std::vector<int64_t> offsets = {0, std::ssize(ids)};
  const Ragged rows = Ragged::full(device, offsets);
  const Tensor hidden_TD = model.trunk(Tensor::from(device, {rows.rows}, ids), rows, {}).hidden;
  const auto vocab = static_cast<size_t>(model.config().vocab);
  // Logits of all rows at once may be gigabytes.
  constexpr int64_t kBlock = 64;
  const int64_t last = std::ssize(ids) - 1;  // nothing follows the last row
  for (int64_t begin = 0; begin < last; begin += kBlock) {
    const int64_t end = std::min(last, begin + kBlock);
    const std::vector<float> logits_TV = model.logits(hidden_TD.row_range(begin, end)).to_vector();
    for (int64_t row = begin; row < end; ++row) {
      const auto logits =
          std::span(logits_TV).subspan(static_cast<size_t>(row - begin) * vocab, vocab);
      add_logprobs(logits, top, scores[static_cast<size_t>(row) + 1]);
    }
  }
  return scores;
}

}  // namespace um
