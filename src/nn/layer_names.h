// LayerNames: what the families call the same tensor of a layer, where their published names
// differ.
#pragma once

#include <string>

namespace um {

struct LayerNames {
  std::string shared = "shared_experts.";               ///< prefix of the shared experts' matrices
  std::string router_bias = "e_score_correction_bias";  ///< beside the gate, or its child
  std::string q_norm = "q_norm.weight", k_norm = "k_norm.weight";  ///< of each head
};

}  // namespace um
