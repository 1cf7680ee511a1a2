// Models whose routed experts do not all fit in memory: which stay in the files, and how they are
// read when a forward wants them (nn/expert_cache.h).
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "models/model.h"
#include "models/weights.h"

namespace um {

/// How much memory routed experts get: all that they need, or what load_model is given in bytes, or
/// what the machine has left where they do not all fit. Only a model that just runs can do with
/// less than all.
inline constexpr int64_t kAllExperts = -1, kExpertsThatFit = 0;

/// That, from an option in GB: 0 is kExpertsThatFit.
int64_t expert_bytes_of(double gigabytes);

/// Room for experts in `weights` by that rule; null if all of them are to be in memory. Throws
/// Error, saying `what`, if not even one expert of each layer fits beside the other weights.
std::unique_ptr<ExpertCache> plan_experts(const ModelConfig& config, Device& device,
                                          const WeightTypes& weights, int64_t expert_bytes,
                                          const std::string& what);

/// Makes a model's expert cache read from `source`, which it keeps open. Names that are read go to
/// `used`. Throws Error for tensors that are missing or of a wrong shape.
void connect_experts(Model& model, const WeightSource& source, std::set<std::string_view>& used);

/// "room for 40 of 512 routed experts, 1.9 GB; the others stay on disk", or empty without a cache.
std::string describe_experts(const Model& model);

}  // namespace um
