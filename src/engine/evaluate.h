// How well a model predicts given text: exact loss over every token, and how often its
// multi-token-prediction heads would be accepted as drafts.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "data/batch.h"
#include "models/device_batch.h"

namespace um {

struct EvalResult {
  int64_t tokens = 0;   ///< predicted tokens
  int64_t correct = 0;  ///< of those, the model's first choice was right
  double nats = 0;      ///< sum of -log p
  double seconds = 0;
  /// Per MTP head: places where its choice and the trunk's were compared, and where they agreed.
  std::vector<int64_t> offered, accepted;
  /// The same for places where all earlier heads' drafts were accepted.
  std::vector<int64_t> reached, chained;

  double loss() const;  ///< nats per token
  double perplexity() const;
  double accuracy() const;
  double tokens_per_s() const;
  /// Share of the drafts of head k (from 0) that greedy decoding would accept, given that all
  /// tokens before are the text's own (teacher-forced).
  double acceptance(size_t k) const;
  /// The same, given that the drafts of the heads before it are accepted: what counts for the
  /// length of a chain of drafts.
  double acceptance_given_earlier(size_t k) const;
};

/// Rows whose logits are made together: about 8 MB of them.
int64_t logit_block_rows(int64_t vocab);

/// `nats` spread over the UTF-8 bytes of the text they predict; a figure that does not depend on
/// the tokenizer.
double bits_per_byte(double nats, double bytes);

/// Adds up batches. Rows with target -1 are context only.
class Evaluator {
 public:
  explicit Evaluator(const Model& model);

  /// Head k (from 1) at row t drafts the token that the trunk chooses at row t+k of the same
  /// sequence; both are counted where row t+k has a target. Throws Error that names the layer for a
  /// router that makes NaN or Inf.
  void add(const Batch& batch);
  const EvalResult& result() const { return result_; }

 private:
  std::vector<int32_t> score_trunk(const Tensor& hidden, const Batch& batch);
  void score_heads(const Tensor& hidden, const DeviceBatch& batch,
                   const std::vector<int32_t>& choices);

  const Model& model_;
  EvalResult result_;
};

struct WindowOptions {
  int64_t seq_len = 512;        ///< tokens that a prediction may look back on, and itself
  int64_t stride = 0;           ///< between the windows' starts; 0 = seq_len, no overlap
  int64_t batch_tokens = 4096;  ///< windows are run together up to about so many tokens
};

/// Cuts a text's tokens into windows and calls `use` with batches of them, in which every token but
/// the first is a target exactly once. With a stride below seq_len the windows overlap, and all
/// but the first predict with at least seq_len - stride tokens of context. `use` returns false to
/// end early. Throws UsageError for lengths that make no sense.
void for_each_window(std::span<const int32_t> ids, const WindowOptions& options,
                     const std::function<bool(const Batch&)>& use);

}  // namespace um
