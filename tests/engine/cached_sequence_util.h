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
  CachedSequence(const Model& model, int64_t capacity)
      : model_(model),
        pool_(model.make_pool(KvPool::pages_for(capacity))),
        pages_(static_cast<size_t>(pool_.pages())) {
    std::iota(pages_.begin(), pages_.end(), 0);
  }

  /// Runs rows of the prompt behind what is here: the logits [V] after the last.
  std::vector<float> append(std::span<const int32_t> ids) { return run(ids, true); }
  /// The same for generated rows.
  std::vector<float> append_generated(std::span<const int32_t> ids) { return run(ids, false); }

 private:
  std::vector<float> run(std::span<const int32_t> ids, bool prompt) {
    const std::vector<SequenceRows> rows = {{length_, std::ssize(ids)}};
    const std::vector<KvSequence> sequences = {{pages_, length_, std::ssize(ids), prompt}};
    const KvView view = KvView::make(pool_, sequences);
    const TrunkOutput out = model_.trunk(Tensor::from(model_.device(), {std::ssize(ids)}, ids),
                                         Ragged::batch(model_.device(), rows), {.cache = &view});
    length_ += std::ssize(ids);
    return model_.logits(out.hidden.row_range(std::ssize(ids) - 1, std::ssize(ids))).to_vector();
  }

  const Model& model_;
  KvPool pool_;
  std::vector<int32_t> pages_;
  int64_t length_ = 0;
};

}  // namespace um
