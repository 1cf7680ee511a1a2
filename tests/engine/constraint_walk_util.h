// Random texts that a constraint lets through, over a small vocabulary of every byte and some
// pieces.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/constraint_factory.h"

namespace um {

/// Token bytes by id: 0 to 255 the bytes, then pieces, then `kWalkEos`'s empty one, and padding.
const std::vector<std::string>& walk_tokens();
int32_t walk_eos();
/// A factory over walk_tokens().
ConstraintFactory& walk_factory();

/// Draws tokens evenly from what is allowed; after `free_tokens` every second one, if it can, is
/// one that brings a JSON text to its end. Returns the text, or a line that begins with "!" if no
/// end came within 20,000 tokens or a mask forbids everything.
std::string random_walk(Constraint& constraint, uint64_t seed, int free_tokens);

/// Whether the text passes byte by byte and may end there.
bool lets_through(const Constraint& constraint, std::string_view text);

}  // namespace um
