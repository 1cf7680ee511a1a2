// One step's input, the same for training and evaluation.
#pragma once

#include <cstdint>
#include <vector>

namespace um {

/// T tokens of S ragged sequences laid end to end; sequences do not see each other.
struct Batch {
  std::vector<int32_t> tokens;       // [T]
  std::vector<int32_t> targets;      // [T] the next token of the same document, or -1 for none
  std::vector<int32_t> positions;    // [T] from 0 in each sequence
  std::vector<int64_t> seq_offsets;  // [S+1] sequence s is [seq_offsets[s], seq_offsets[s+1])

  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
  int64_t sequences() const { return static_cast<int64_t>(seq_offsets.size()) - 1; }
};

}  // namespace um
