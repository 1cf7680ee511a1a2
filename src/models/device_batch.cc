// See device_batch.h.
#include "models/device_batch.h"

namespace um {

DeviceBatch::DeviceBatch(const Model& model, const Batch& batch)
    : host_(&batch),
      device_(&model.device()),
      rows_(Ragged::full(model.device(), batch.seq_offsets, batch.positions)),
      tokens_(per_row(batch.tokens)) {
  check_sizes(batch);
  if (batch.routes.empty()) return;
  const MoeConfig& moe = model.config().moe;
  routes_ = RouteTable::make(model.device(), batch.routes, batch.size(), model.trunk_moe_layers(),
                             moe.top_k, moe.experts);
}

Tensor DeviceBatch::per_row(const std::vector<int32_t>& values) const {
  return Tensor::from(*device_, {rows_.rows}, std::span(values));
}

Tensor DeviceBatch::per_row(const std::vector<float>& values) const {
  return Tensor::from(*device_, {rows_.rows}, std::span(values));
}

}  // namespace um
