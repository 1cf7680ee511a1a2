// See ragged.h.
#include "ops/ragged.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace um {

Ragged Ragged::full(Device& device, std::span<const int64_t> offsets) {
  UM_CHECK(!offsets.empty() && offsets[0] == 0, "sequence offsets start at 0");
  std::vector<int32_t> positions;
  for (size_t s = 0; s + 1 < offsets.size(); ++s)
    for (int64_t t = offsets[s]; t < offsets[s + 1]; ++t)
      positions.push_back(static_cast<int32_t>(t - offsets[s]));
  return full(device, offsets, positions);
}

Ragged Ragged::full(Device& device, std::span<const int64_t> offsets,
                    std::span<const int32_t> positions) {
  UM_CHECK(!offsets.empty() && offsets[0] == 0 &&
               offsets.back() == static_cast<int64_t>(positions.size()),
           "sequence offsets go from 0 to {}", positions.size());
  Ragged ragged;
  ragged.rows = offsets.back();
  ragged.sequences = static_cast<int64_t>(offsets.size()) - 1;
  std::vector<int32_t> sequence_of;
  for (int64_t s = 0; s < ragged.sequences; ++s) {
    const int64_t length = offsets[static_cast<size_t>(s) + 1] - offsets[static_cast<size_t>(s)];
    UM_CHECK(length >= 0, "sequence offsets ascend, found {} rows in sequence {}", length, s);
    sequence_of.insert(sequence_of.end(), static_cast<size_t>(length), static_cast<int32_t>(s));
  }
  for (const int32_t position : positions) {
    UM_CHECK(position >= 0, "positions are not negative, found {}", position);
    ragged.max_position = std::max(ragged.max_position, int64_t{position} + 1);
  }
  ragged.q_offsets = Tensor::from(device, {ragged.sequences + 1}, offsets);
  ragged.kv_offsets = ragged.q_offsets;
  ragged.positions = Tensor::from(device, {ragged.rows}, positions);
  ragged.sequence_of = Tensor::from(device, {ragged.rows}, sequence_of);
  return ragged;
}

Ragged Ragged::append(Device& device, int64_t past, int64_t rows) {
  Ragged ragged;
  ragged.rows = rows;
  ragged.sequences = 1;
  ragged.max_position = past + rows;
  std::vector<int32_t> positions(static_cast<size_t>(rows));
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(past));
  ragged.q_offsets = Tensor::from(device, {2}, std::array<int64_t, 2>{0, rows});
  ragged.kv_offsets = Tensor::from(device, {2}, std::array<int64_t, 2>{0, past + rows});
  ragged.positions = Tensor::from(device, {rows}, positions);
  ragged.sequence_of = Tensor::zeros(device, {rows}, DType::i32);
  return ragged;
}

}  // namespace um
