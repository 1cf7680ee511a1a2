// HyperConnection: how one sub-layer reads from and writes to several residual streams
// (ops/streams.h; openPangu-2.0, docs/openpangu2.md).
#pragma once

#include <string>

#include "nn/config.h"
#include "nn/module.h"

namespace um {

/// Streams R are [T, S*D], stream s in columns s*D… .
class HyperConnection {
 public:
  /// `merge`: only reads, at the end of the trunk.
  HyperConnection(ParamStore& store, const std::string& prefix, const ModelConfig& config,
                  bool merge);

  struct Mixed {
    Tensor x;     ///< [T, D], what the sub-layer gets
    Tensor post;  ///< weights for after()
  };
  Mixed before(const Tensor& streams) const;
  /// The streams after a sub-layer that gave y [T, D].
  Tensor after(const Tensor& streams, const Tensor& y, const Mixed& mixed) const;

 private:
  const int64_t streams_, steps_;
  const float eps_;
  Param *phi_, *alpha_, *beta_, *gain_ = nullptr;
  Tensor ones_;  ///< in place of gain_
};

}  // namespace um
