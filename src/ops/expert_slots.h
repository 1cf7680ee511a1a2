// Where the routed experts of one MoE layer are when not all of them are in memory.
#pragma once

#include "ops/rows.h"

namespace um {

class ExpertSlots {
 public:
  virtual ~ExpertSlots() = default;

  /// Experts [begin, end) of the layer, those with tokens in memory until the next call.
  struct Fetched {
    int64_t end = 0;
    Tensor slots;  ///< i32 [end - begin]: expert begin+i is slot slots[i]; any without tokens
  };
  /// Brings experts from `begin` on into memory, as many as fit (at least one). `offsets`: i64
  /// [E+1] of the routing, in host memory; an expert without tokens is not needed.
  virtual Fetched fetch(const Tensor& offsets, int64_t begin) = 0;

  virtual const Rows& gate_up() const = 0;  ///< [slots, 2F, D]
  virtual const Rows& down() const = 0;     ///< [slots, D, F]
};

}  // namespace um
