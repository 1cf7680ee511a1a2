// What one step of the engine gives the model and what it takes from its logits.
#pragma once

#include <span>
#include <vector>

#include "engine/scheduler.h"
#include "models/model.h"

namespace um {

/// The ragged batch of a plan: tokens with drafts, positions, and where the rows lie in the pool.
/// One that is filled again keeps its memory where the extents are the same, as they are from step
/// to step while nobody comes or goes.
class StepBatch {
 public:
  StepBatch() = default;
  StepBatch(KvPool& pool, const std::vector<PlannedRows>& plan) { fill(pool, plan); }

  void fill(KvPool& pool, const std::vector<PlannedRows>& plan);

  const Tensor& tokens() const { return tokens_; }  ///< i32 [T]
  const Ragged& ragged() const { return ragged_; }
  const KvView& view() const { return view_; }

  /// After the choice: for each row the token `places` further on, drafts behind the known ones;
  /// 0 where none is known (rows of refused drafts).
  Tensor shifted_tokens(const std::vector<PlannedRows>& plan, int64_t places) const;
  /// The row of request `i` of the plan before the token that was chosen last.
  int32_t last_known_row(const std::vector<PlannedRows>& plan, size_t i) const;

 private:
  Tensor tokens_;
  Ragged ragged_;
  KvView view_;
  std::vector<int32_t> first_row_;     // by plan entry
  std::vector<KvSequence> sequences_;  // kept for their memory
  std::vector<SequenceRows> rows_;
};

/// Chooses tokens from the logits [1 + drafts, V] of a request's last known token and its drafts:
/// the tokens that plain decoding would choose, up to the first that is not the draft or that ends
/// the text. The logits are changed. Throws Error for NaN.
/// `outputs` is overwritten.
void choose_tokens(ActiveRequest& request, std::span<float> logits,
                   std::vector<TokenOutput>& outputs);

/// Writes the experts of the plan's rows into the statistics of the requests that ask for them.
/// `routes`: i32 [T, K] by MoE layer.
void record_routes(const std::vector<PlannedRows>& plan, const std::vector<Tensor>& routes);

/// Copies the first `rows` rows of a page to another, in all layers.
void copy_page_rows(KvPool& pool, int32_t from, int32_t to, int64_t rows);

}  // namespace um
