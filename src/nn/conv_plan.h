// ConvPlan: where a forward's causal convolutions find the rows before each row, and which rows
// they keep for the forwards to come.
//
// A convolution looks back at a few rows only, so the cache keeps a ring of the latest kConvRing
// inputs in every page: that of position p is row page*kConvRing + p % kConvRing. What a full page
// keeps of its end is what a sequence needs that goes on behind it, so whole pages can be shared;
// parts of one cannot.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "core/tensor.h"
#include "nn/kv_sequence.h"
#include "ops/ragged.h"

namespace um {

inline constexpr int64_t kConvRing = 8;

/// How many rows of a step may be taken back (drafts) by a model whose convolutions have `taps`.
constexpr int64_t most_drafts(int64_t taps) {
  return taps == 0 ? std::numeric_limits<int64_t>::max() : kConvRing - taps + 1;
}

struct ConvPlan {
  int64_t taps = 0;
  Tensor sources;      ///< i32 [T, taps-1], as ops/causal_conv.h wants them
  Tensor rows, slots;  ///< i32: batch rows whose inputs are kept, and the cache row of each

  /// Of sequences with a cache.
  static ConvPlan make(Device& device, std::span<const KvSequence> sequences, int64_t taps);
  /// Of whole sequences.
  static ConvPlan make(Device& device, const Ragged& rows, int64_t taps);

  /// x + conv(x) on the first columns of x, `channels` of them; weight as ops/causal_conv.h has it.
  /// `kept` [any, channels]: the cache that earlier inputs are read from and these are written to;
  /// undefined without one.
  Tensor convolve(const Tensor& x, const Tensor& weight, const Tensor& kept) const;
};

}  // namespace um
