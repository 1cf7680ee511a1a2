// What a model thinks of a text that is already there: the log-probability of each of its tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "models/model.h"

namespace um {

/// Gives `output` the log-probability of its token, and the `top` most likely ones. Of the model's
/// own logits, before anything changes them.
void add_logprobs(std::span<const float> logits, int64_t top, TokenOutput& output);

/// Every token of a text with its log-probability behind those before it, and the `top` most likely
/// ones at its place. Nothing stands before the first: it has a logprob of 0 and no others.
class TokenScores : public PromptReader {
 public:
  /// The model must outlive this.
  TokenScores(const Model& model, std::span<const int32_t> ids, int64_t top);
  void on_rows(int64_t begin, const Tensor& hidden) override;
  const std::vector<TokenOutput>& scores() const { return scores_; }

 private:
  const Model& model_;
  int64_t top_;
  std::vector<TokenOutput> scores_;
};

/// The sum over a text's rows of the trunk's output.
class StateSum : public PromptReader {
 public:
  void on_rows(int64_t begin, const Tensor& hidden) override;
  const std::vector<float>& sum() const { return sum_; }

 private:
  std::vector<float> sum_;
};

}  // namespace um
