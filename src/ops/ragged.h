// The layout of a ragged batch: which rows belong to which sequence, and where each row stands in
// it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/tensor.h"

namespace um {

/// `rows` new rows of a sequence that has `past` rows in a cache.
struct SequenceRows {
  int64_t past = 0, rows = 0;
};

/// T rows in `sequences` runs. Queries of sequence s are rows q_offsets[s] .. q_offsets[s+1]-1; the
/// keys they may see are rows kv_offsets[s] .. of the key tensor (equal to q_offsets without a
/// cache). In a part of a batch both count from the beginning of the batch.
struct Ragged {
  int64_t rows = 0, sequences = 0;
  int64_t first_row = 0;             ///< of a part: the batch's row which is row 0 here
  int64_t max_position = 0;          ///< one more than the largest position (host side)
  Tensor q_offsets, kv_offsets;      ///< i64 [sequences+1]
  Tensor positions;                  ///< i32 [rows], absolute position of each row in its sequence
  Tensor sequence_of;                ///< i32 [rows]
  std::vector<SequenceRows> layout;  ///< host side: past and rows of each sequence; a part: none

  int64_t sinks = 0;  ///< of with_sinks: learned keys before each sequence's own
  Tensor own_rows;    ///< i32 [rows], without a cache: where each row's own key goes
  Tensor sink_rows;   ///< i32 [sequences*sinks], where the sinks' copies go
  Tensor sink_of;     ///< i32 [sequences*sinks], which sink each copy is of

  /// Full sequences without past. `offsets` ascends from 0 to the number of rows.
  static Ragged full(Device& device, std::span<const int64_t> offsets);
  /// As above with given positions (a chunk of a document may start at a position above 0).
  static Ragged full(Device& device, std::span<const int64_t> offsets,
                     std::span<const int32_t> positions);
  /// New rows of many sequences, each behind its past in a cache.
  static Ragged batch(Device& device, std::span<const SequenceRows> sequences);
  /// Makes this the layout that batch() gives, in the same memory where the extents are the same.
  void assign(Device& device, std::span<const SequenceRows> batch);

  /// The same rows, each sequence's keys behind `count` others that all of its rows see: kv_offsets
  /// counts them in, positions do not.
  Ragged with_sinks(int64_t count) const;

  /// Sequences [begin, end), which are the rows [row_begin, row_end).
  Ragged part(int64_t begin, int64_t end, int64_t row_begin, int64_t row_end) const;
};

}  // namespace um
