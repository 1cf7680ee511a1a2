// KvCache: what attention remembers of one sequence: keys and values per layer, or MLA's latents.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace um {

/// One layer's rows; row i belongs to position i.
struct LayerCache {
  Tensor k;  ///< [capacity, kv_heads*dim], or MLA: [capacity, rank+rope], the normed latent and
             ///< rotated key
  Tensor v;  ///< [capacity, kv_heads*v_dim]; undefined for MLA
};

class KvCache {
 public:
  /// Room for `capacity` positions in `layers` layers; v_width 0 for MLA.
  KvCache(Device& device, int64_t layers, int64_t capacity, int64_t k_width, int64_t v_width) {
    for (int64_t i = 0; i < layers; ++i)
      layers_.push_back({Tensor::empty(device, {capacity, k_width}),
                         v_width > 0 ? Tensor::empty(device, {capacity, v_width}) : Tensor()});
    capacity_ = capacity;
  }

  LayerCache& layer(int64_t i) { return layers_[static_cast<size_t>(i)]; }
  int64_t length() const { return length_; }  ///< positions that hold a row
  int64_t capacity() const { return capacity_; }

  /// Called once per forward, after every layer has written its rows.
  void advance(int64_t rows) { length_ += rows; }
  /// Forgets all positions from `length` on (rejected drafts, a new turn).
  void truncate(int64_t length) {
    UM_CHECK(0 <= length && length <= length_, "a cache of {} rows cannot become {}", length_,
             length);
    length_ = length;
  }

 private:
  std::vector<LayerCache> layers_;
  int64_t capacity_ = 0, length_ = 0;
};

}  // namespace um
