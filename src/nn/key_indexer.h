// KeyIndexer: the small attention that chooses which keys a query attends to (the lightning indexer
// of DeepSeek-V3.2, arXiv 2512.02556, as openPangu-2.0 has it: RMSNorm on its keys).
#pragma once

#include <string>

#include "nn/config.h"
#include "nn/module.h"
#include "nn/pass.h"
#include "ops/linear.h"

namespace um {

class KeyIndexer {
 public:
  KeyIndexer(ParamStore& store, const std::string& prefix, const ModelConfig& config);

  /// The keys that each row sees (ops/key_mask.h), from the layer's input z [T, D] and its normed
  /// query latent [T, q_lora_rank]; undefined where that is all. With a cache, the rows' own keys
  /// are written to it. The choice carries no gradient, so none of the parameters trains.
  Tensor mask(const LinearInput& z, const LinearInput& query_latent, const Pass& pass,
              int64_t layer) const;

 private:
  const AttentionConfig config_;
  Param *q_, *k_, *k_norm_, *weights_;
};

}  // namespace um
