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

TokenScores::TokenScores(const Model& model, std::span<const int32_t> ids, int64_t top)
    : model_(model), top_(top) {
  for (const int32_t id : ids) scores_.push_back({.id = id});
}

void TokenScores::on_rows(int64_t begin, const Tensor& hidden_TD) {
  const auto vocab = static_cast<size_t>(model_.config().vocab);
  // Logits of all rows at once may be gigabytes.
  constexpr int64_t kBlock = 64;
  const int64_t rows = std::min(hidden_TD.rows(), std::ssize(scores_) - 1 - begin);
  for (int64_t first = 0; first < rows; first += kBlock) {  // nothing follows the last row
    const int64_t end = std::min(rows, first + kBlock);
    const std::vector<float> logits_TV = model_.logits(hidden_TD.row_range(first, end)).to_vector();
    for (int64_t row = first; row < end; ++row) {
      const auto logits =
          std::span(logits_TV).subspan(static_cast<size_t>(row - first) * vocab, vocab);
      add_logprobs(logits, top_, scores_[static_cast<size_t>(begin + row) + 1]);
    }
  }
}

void StateSum::on_rows(int64_t begin, const Tensor& hidden_TD) {
  if (begin == 0) sum_.assign(static_cast<size_t>(hidden_TD.cols()), 0.0F);
  const std::vector<float> hidden = hidden_TD.to_vector();
  for (size_t i = 0; i < hidden.size(); ++i) sum_[i % sum_.size()] += hidden[i];
}

}  // namespace um
