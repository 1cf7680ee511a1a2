// See ragged.h.
#include "ops/ragged.h"

#include <algorithm>
#include <limits>

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
    ragged.layout.push_back({0, length});
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

Ragged Ragged::batch(Device& device, std::span<const SequenceRows> sequences) {
  Ragged ragged;
  ragged.assign(device, sequences);
  return ragged;
}

void Ragged::assign(Device& device, std::span<const SequenceRows> batch) {
  rows = max_position = first_row = sinks = 0;
  sequences = std::ssize(batch);
  for (const SequenceRows& sequence : batch) {
    UM_CHECK(sequence.past >= 0 && sequence.rows >= 0 &&
                 sequence.past + sequence.rows <= std::numeric_limits<int32_t>::max(),
             "a sequence of {} rows behind {}", sequence.rows, sequence.past);
    rows += sequence.rows;
    max_position = std::max(max_position, sequence.past + sequence.rows);
  }
  layout.assign(batch.begin(), batch.end());
  q_offsets.renew(device, {sequences + 1}, DType::i64);
  kv_offsets.renew(device, {sequences + 1}, DType::i64);
  positions.renew(device, {rows}, DType::i32);
  sequence_of.renew(device, {rows}, DType::i32);
  if (device.dry()) return;
  int64_t *q = q_offsets.i64(), *kv = kv_offsets.i64();
  int32_t *position = positions.i32(), *owner = sequence_of.i32();
  q[0] = kv[0] = 0;
  for (size_t s = 0; s < batch.size(); ++s) {
    const auto [past, count] = batch[s];
    for (int64_t i = 0; i < count; ++i) {
      *position++ = static_cast<int32_t>(past + i);
      *owner++ = static_cast<int32_t>(s);
    }
    q[s + 1] = q[s] + count;
    kv[s + 1] = kv[s] + past + count;
  }
}

Ragged Ragged::with_sinks(int64_t count) const {
  UM_CHECK(count > 0 && sinks == 0 && first_row == 0, "{} sinks before a layout with {}", count,
           sinks);
  Ragged with = *this;
  with.sinks = count;
  std::vector<int64_t> offsets = {0};
  std::vector<int32_t> own, copies, which;
  for (const SequenceRows& sequence : layout) {
    const int64_t begin = offsets.back(), end = begin + count + sequence.past + sequence.rows;
    UM_CHECK(end <= std::numeric_limits<int32_t>::max(), "{} keys in a batch", end);
    for (int64_t i = 0; i < count; ++i) {
      copies.push_back(static_cast<int32_t>(begin + i));
      which.push_back(static_cast<int32_t>(i));
    }
    for (int64_t i = end - sequence.rows; i < end; ++i) own.push_back(static_cast<int32_t>(i));
    offsets.push_back(end);
  }
  Device& device = q_offsets.device();
  const auto ids = [&](const std::vector<int32_t>& values) {
    return Tensor::from(device, {std::ssize(values)}, std::span(values));
  };
  with.kv_offsets = Tensor::from(device, {sequences + 1}, std::span<const int64_t>(offsets));
  with.own_rows = ids(own);
  with.sink_rows = ids(copies);
  with.sink_of = ids(which);
  return with;
}

Ragged Ragged::part(int64_t begin, int64_t end, int64_t row_begin, int64_t row_end) const {
  Ragged part;
  part.max_position = max_position;
  part.rows = row_end - row_begin;
  part.sequences = end - begin;
  part.first_row = first_row + row_begin;
  part.q_offsets = q_offsets.col_range(begin, end + 1);
  part.kv_offsets = kv_offsets.col_range(begin, end + 1);
  part.positions = positions.col_range(row_begin, row_end);
  part.sequence_of = sequence_of.col_range(row_begin, row_end);
  return part;
}

}  // namespace um
