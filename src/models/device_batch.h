// DeviceBatch: a host batch on a model's device, as its forward and its losses take it. Whoever
// runs whole sequences (training, evaluation, comparison, `debug`, quantising) makes one.
#pragma once

#include <optional>
#include <vector>

#include "data/batch.h"
#include "models/model.h"
#include "nn/route_table.h"

namespace um {

class DeviceBatch {
 public:
  /// The batch must outlive this. Throws Error for routes that are none of the model's, and for
  /// other numbers of targets or weights than of tokens.
  DeviceBatch(const Model& model, const Batch& batch);
  DeviceBatch(const Model& model, Batch&& batch) = delete;

  const Batch& host() const { return *host_; }
  const Tensor& tokens() const { return tokens_; }  ///< i32 [T]
  const Ragged& rows() const { return rows_; }
  /// For ForwardOptions; null where the routers choose.
  const RouteTable* routes() const { return routes_ ? &*routes_ : nullptr; }

  /// Inputs of MTP head k (from 0), i32 [T].
  Tensor mtp_tokens(int64_t k) const { return per_row(um::mtp_tokens(*host_, k)); }

  /// One value per row, [T].
  Tensor per_row(const std::vector<int32_t>& values) const;
  Tensor per_row(const std::vector<float>& values) const;

 private:
  const Batch* host_;
  Device* device_;
  Ragged rows_;
  Tensor tokens_;
  std::optional<RouteTable> routes_;
};

}  // namespace um
