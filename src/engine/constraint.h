// Constraint: which tokens a generation may go on with (JSON, a schema, a regular expression, a
// choice), as a state that is moved on by every token.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace um {

/// The state of one generation. Not thread-safe.
class Constraint {
 public:
  virtual ~Constraint() = default;
  /// Sets the logits [V] of all tokens that may not come next to -infinity. Leaves at least one.
  virtual void mask(std::span<float> logits) = 0;
  /// Goes on behind `id`. Ids that mask() forbids are ignored.
  virtual void accept(int32_t id) = 0;
  /// A copy of the present state: for drafts, which may be taken back.
  virtual std::unique_ptr<Constraint> clone() const = 0;
};

}  // namespace um
