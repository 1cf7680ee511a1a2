// See loss.h.
#include "ops/loss.h"

#include <algorithm>

#include "ops/launch.h"
#include "ops/linear.h"
#include "ops/tape.h"

namespace um {
namespace {

/// Rows per block: about 8 MB of logits, so that a block stays in the last-level cache.
int64_t block_rows(int64_t vocab) {
  constexpr int64_t kBlockElements = int64_t{2} << 20;
  return std::clamp<int64_t>(kBlockElements / std::max<int64_t>(vocab, 1), 16, 1024);
}

}  // namespace

TokenLoss linear_cross_entropy(const Tensor& hidden, const Rows& head, const Tensor& targets,
                               const Tensor& weights, float z_weight) {
  Device& device = hidden.device();
  const int64_t rows = hidden.rows(), vocab = head.rows();
  const Operands operands = device.operands();
  const bool recording = needs_grad(hidden, head.values);
  const Tensor& matrix = recording ? head.trained() : head.values;
  TokenLoss out{Tensor::empty(device, {rows}), Tensor::empty(device, {rows}),
                Tensor::empty(device, {rows})};
  Tensor dhidden = recording && hidden.slot() ? Tensor::empty(device, hidden.shape()) : Tensor();
  auto at = [](float* base, int64_t i) { return base == nullptr ? nullptr : base + i; };
  const int64_t block = block_rows(vocab);
  for (int64_t begin = 0; begin < rows; begin += block) {
    const int64_t end = std::min(rows, begin + block);
    const Tensor part = hidden.row_range(begin, end);
    const Tensor logits = detail::linear_forward(part, head, {}, operands);
    const int32_t* target = targets.i32();
    launch(device, CrossEntropy{.rows = end - begin,
                                .vocab = vocab,
                                .logits = logits.f32(),
                                .ld = vocab,
                                .targets = target == nullptr ? nullptr : target + begin,
                                .weights = at(weights.f32(), begin),
                                .z_weight = z_weight,
                                .loss = at(out.loss.f32(), begin),
                                .z = at(out.z.f32(), begin),
                                .correct = at(out.correct.f32(), begin),
                                .dlogits = recording ? logits.f32() : nullptr});
    if (!recording) continue;
    if (dhidden) {
      GradSlot part_slot{.grad = dhidden.row_range(begin, end)};
      linear_grad(logits, part, matrix, operands, &part_slot, nullptr, nullptr);
    }
    linear_grad(logits, part, matrix, operands, nullptr, head.slot(), nullptr);
  }
  if (dhidden) give_grad(hidden.slot(), std::move(dhidden));
  return out;
}

}  // namespace um
