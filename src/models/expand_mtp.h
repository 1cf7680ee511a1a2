// More multi-token-prediction heads for a trained model (docs/mtp.md): train one head
// with the model, then give it more as copies of the first and train those briefly.
#pragma once

#include <cstdint>
#include <memory>

#include "models/model.h"

namespace um {

/// Where the weights of the new heads come from.
enum class HeadInit { copy, random };

/// The same model with `heads` heads; the new ones are copies of head 1 (or random, as a control).
/// All other weights are the same bits. Throws Error for a model without a head, or where `heads`
/// is not more than it has.
std::unique_ptr<Model> expand_mtp(const Model& model, int64_t heads, HeadInit init, uint64_t seed);

/// Stops the gradients of everything but the MTP heads after the first `frozen_heads`; embedding
/// and output head, which the heads share with the trunk, are frozen too.
void freeze_trunk(Model& model, int64_t frozen_heads);

}  // namespace um
