// See conv_plan.h.
#include "nn/conv_plan.h"

#include <algorithm>

#include "ops/causal_conv.h"
#include "ops/launch.h"

namespace um {
namespace {

int32_t ring_slot(const KvSequence& sequence, int64_t position) {
  const int64_t page = sequence.pages[static_cast<size_t>(position / kPageRows)];
  return static_cast<int32_t>(page * kConvRing + position % kConvRing);
}

/// The sources of one sequence, whose first row is `first_row` of the batch. The first taps - 1
/// rows of a sequence have no convolution.
void add_sources(const KvSequence& sequence, int64_t first_row, int64_t taps,
                 std::vector<int32_t>& sources) {
  for (int64_t p = sequence.past; p < sequence.past + sequence.rows; ++p)
    for (int64_t from = p - taps + 1; from < p; ++from) {
      if (p < taps - 1)
        sources.push_back(CausalConv::kNoSource);
      else if (from >= sequence.past)
        sources.push_back(static_cast<int32_t>(first_row + from - sequence.past));
      else
        sources.push_back(-1 - ring_slot(sequence, from));
    }
}

Tensor ids(Device& device, const std::vector<int32_t>& values) {
  return Tensor::from(device, {std::ssize(values)}, std::span(values));
}

}  // namespace

ConvPlan ConvPlan::make(Device& device, std::span<const KvSequence> sequences, int64_t taps) {
  UM_CHECK(taps > 1 && taps <= kConvRing, "convolutions of {} taps: expected 2 to {}", taps,
           kConvRing);
  std::vector<int32_t> sources, rows, slots;
  int64_t first_row = 0;
  for (const KvSequence& sequence : sequences) {
    add_sources(sequence, first_row, taps, sources);
    const int64_t end = sequence.past + sequence.rows;
    for (int64_t p = sequence.past; p < end && !sequence.pages.empty(); ++p) {
      // A later row of this batch would take its place.
      if (p + kConvRing < std::min(end, (p / kPageRows + 1) * kPageRows)) continue;
      rows.push_back(static_cast<int32_t>(first_row + p - sequence.past));
      slots.push_back(ring_slot(sequence, p));
    }
    first_row += sequence.rows;
  }
  return {taps, ids(device, sources), ids(device, rows), ids(device, slots)};
}

ConvPlan ConvPlan::make(Device& device, const Ragged& rows, int64_t taps) {
  std::vector<KvSequence> sequences;
  sequences.reserve(rows.layout.size());
  for (const SequenceRows& sequence : rows.layout) sequences.push_back({{}, 0, sequence.rows});
  return make(device, sequences, taps);
}

Tensor ConvPlan::convolve(const Tensor& x, const Tensor& weight, const Tensor& kept) const {
  const Tensor y = causal_conv(x, weight, taps, sources, kept);
  if (!kept) return y;
  launch(x.device(), CopyBlocks{.rows = rows.count(),
                                .width = kept.cols(),
                                .x = x.f32(),
                                .ldx = x.ld(),
                                .y = kept.f32(),
                                .ldy = kept.ld(),
                                .rows_x = rows.i32(),
                                .rows_y = slots.i32()});
  return y;
}

}  // namespace um
