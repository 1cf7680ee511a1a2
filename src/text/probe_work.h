// Finding out what a chat template does, by rendering short conversations.
#pragma once

#include <cstdint>

#include "core/stop_scope.h"

namespace um {

/// While it lives, all renderings of the thread together take about a second; then each fails.
class ProbeWork {
 public:
  ProbeWork() : scope_(kSteps, UINT64_MAX, "short conversations take too long") {}
  bool used_up() const { return scope_.steps() > kSteps; }

 private:
  static constexpr uint64_t kSteps = 2'000'000;
  WorkScope scope_;
};

}  // namespace um
