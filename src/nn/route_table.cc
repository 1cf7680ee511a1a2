// See route_table.h.
#include "nn/route_table.h"

#include <algorithm>

namespace um {
namespace {

void check_choice(std::span<const int32_t> ids, int64_t experts, int64_t token, int64_t layer) {
  for (size_t k = 0; k < ids.size(); ++k) {
    UM_CHECK(ids[k] >= 0 && ids[k] < experts,
             "routes: token {}, MoE layer {}: expert {}, expected 0 to {}", token, layer, ids[k],
             experts - 1);
    UM_CHECK(std::ranges::find(ids.first(k), ids[k]) == ids.begin() + static_cast<ptrdiff_t>(k),
             "routes: token {}, MoE layer {}: expert {} twice", token, layer, ids[k]);
  }
}

}  // namespace

RouteTable RouteTable::make(Device& device, std::span<const int16_t> routes, int64_t tokens,
                            int64_t layers, int64_t top_k, int64_t experts) {
  UM_CHECK(std::ssize(routes) == tokens * layers * top_k,
           "routes: {} values for {} tokens, {} MoE layers and {} experts each, expected {}",
           routes.size(), tokens, layers, top_k, tokens * layers * top_k);
  RouteTable table;
  std::vector<int32_t> ids(static_cast<size_t>(tokens * top_k));
  for (int64_t layer = 0; layer < layers; ++layer) {
    for (int64_t t = 0; t < tokens; ++t) {
      const auto row = routes.subspan(static_cast<size_t>((t * layers + layer) * top_k),
                                      static_cast<size_t>(top_k));
      const auto out = std::span(ids).subspan(static_cast<size_t>(t * top_k), row.size());
      std::ranges::copy(row, out.begin());
      check_choice(out, experts, t, layer);
    }
    table.layers.push_back(Tensor::from(device, {tokens, top_k}, std::span<const int32_t>(ids)));
  }
  return table;
}

Tensor RouteTable::of(int64_t moe_layer) const {
  const auto layer = static_cast<size_t>(moe_layer);
  return layer < layers.size() ? layers[layer] : Tensor();
}

}  // namespace um
