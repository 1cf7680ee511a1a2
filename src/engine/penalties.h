// Penalties: what a generation's own past does to its logits. Logit bias first, then the
// repetition, frequency and presence penalties as vLLM and Hugging Face define them, then the loop
// penalty.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/loop_detector.h"
#include "engine/sampler.h"

namespace um {

/// Follows one generation. Costs nothing where no option asks for it, else time by the number of
/// different tokens, not by the vocabulary.
class Penalties {
 public:
  Penalties() = default;
  /// `vocab` is the number of logits. Throws UsageError for options that make no sense or a bias of
  /// a token outside the vocabulary.
  Penalties(const SamplingOptions& options, std::span<const int32_t> prompt, int64_t vocab);

  /// False: apply() never changes anything, so that logits need no copy.
  bool active() const { return active_; }
  /// A generated token (or a draft that may be taken back).
  void add(int32_t id);
  /// Undoes the last add(); `id` is what was added.
  void take_back(int32_t id);
  /// Changes the raw logits [vocab] for the next token in place.
  void apply(std::span<float> logits) const;
  /// The loop that the answer ends with; only where loop_penalty is on.
  std::optional<LoopDetector::Loop> loop() const;

 private:
  struct Count {
    int32_t id;
    bool in_prompt;
    int32_t generated;
  };
  Count& count_of(int32_t id);

  bool active_ = false, counts_on_ = false;
  float repetition_ = 1, presence_ = 0, frequency_ = 0, loop_ = 0;
  std::vector<TokenBias> bias_;
  std::vector<Count> counts_;                   // each token at most once
  std::unordered_map<int32_t, size_t> places_;  // id → index in counts_
  LoopDetector detector_;
};

}  // namespace um
