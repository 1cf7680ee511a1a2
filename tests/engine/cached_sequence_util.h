// One sequence on a cache of its own, row by row: what the engine's tests compare with.
#pragma once

#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "models/model.h"

namespace um {

class CachedSequence {
 public:
  CachedSequence(const Model& model, int64_t capacity, DType type = DType::f32)
      : model_(model),
        pool_(model.make_pool(KvPool::pages_for(capacity), type)),
        pages_(static_cast<size_t>(pool_.pages())) {
    std::iota(pages_.begin(), pages_.end(), 0);
  }

  /// Runs rows of the prompt behind what is here: the logits [V] after the last.
  std::vector<float> append(std::span<const int32_t> ids) { return last(run(ids, true)); }
  /// The same for generated rows.
  std::vector<float> append_generated(std::span<const int32_t> ids) {
    return last(run(ids, false));
  }
  /// The same, with the logits [T, V] after every row.
  std::vector<float> append_generated_all(std::span<const int32_t> ids) {
    return model_.logits(run(ids, false)).to_vector();
  }

 private:
  Tensor run(std::span<const int32_t> ids, bool prompt) {
    const std::vector<SequenceRows> rows = {{length_, std::ssize(ids)}};
    const std::vector<KvSequence> sequences = {{pages_, length_, std::ssize(ids), prompt}};
    const KvView view = KvView::make(pool_, sequences);
    length_ += std::ssize(ids);
    return model_
        .trunk(Tensor::from(model_.device(), {std::ssize(ids)}, ids),
               Ragged::batch(model_.device(), rows), {.cache = &view})
        .hidden;
  }
  std::vector<float> last(const Tensor& hidden) const {
    return model_.logits(hidden.row_range(hidden.rows() - 1, hidden.rows())).to_vector();
  }

  const Model& model_;
  KvPool pool_;
  std::vector<int32_t> pages_;
  int64_t length_ = 0;
};

}  // namespace um
