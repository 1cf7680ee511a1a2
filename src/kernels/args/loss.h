// Arguments of the two ends of a model: the embedding, and the cross-entropy of logits.
// kernels.h has the rules and the shape legend.
#pragma once

#include <cstdint>

#include "kernels/args/rows_view.h"

namespace um {

/// y[t] = table[ids[t]], the table f32, bf16 or panels. An id outside [0, vocab) gives a
/// row of zeros (callers check their input).
struct Embedding {
  int64_t tokens = 0, cols = 0, vocab = 0;
  const int32_t* ids = nullptr;
  RowsView table{};
  float* y = nullptr;
};
/// dtable[ids[t]] += dy[t], in the order of t; with accumulate off the table is zeroed first.
struct EmbeddingGrad {
  int64_t tokens = 0, cols = 0, vocab = 0;
  const int32_t* ids = nullptr;
  const float* dy = nullptr;
  float* dtable = nullptr;
  bool accumulate = false;
};

/// Softmax cross-entropy of a block of logits. loss[t] = lse - logit[target] (natural log), z[t] =
/// lse², correct[t] = 1 if the argmax (lowest id among equals) is the target. Rows with target < 0
/// give 0. When `dlogits` (may be the logits themselves): weights[t] * (softmax - onehot) + 2 *
/// z_weight * weights[t] * lse * softmax.
struct CrossEntropy {
  int64_t rows = 0, vocab = 0;
  const float* logits = nullptr;
  int64_t ld = 0;
  const int32_t* targets = nullptr;
  const float* weights = nullptr;  ///< [rows]
  float z_weight = 0;
  float* loss = nullptr;
  float* z = nullptr;        ///< may be null
  float* correct = nullptr;  ///< may be null
  float* dlogits = nullptr;  ///< row stride ld; may be null
};

}  // namespace um
