// Batches on the host: whole sequences, what multi-token prediction looks ahead to, weights.
#include "data/batch.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace um {
namespace {

using Ids = std::vector<int32_t>;

/// Sequences whose tokens count on, so that token + 1 is the next; `open`: the last has a target.
Batch counting(const std::vector<int64_t>& lengths, bool open) {
  Batch batch;
  for (size_t s = 0; s < lengths.size(); ++s) {
    Ids tokens;
    for (int64_t t = 0; t < lengths[s]; ++t)
      tokens.push_back(static_cast<int32_t>(100 * s + 10 + static_cast<size_t>(t)));
    add_sequence(batch, tokens);
    if (open) batch.targets.back() = tokens.back() + 1;
  }
  return batch;
}

TEST(BatchTest, TargetsOfAWholeSequenceAreItsNextTokens) {
  const Batch batch = counting({3, 1}, false);
  EXPECT_EQ(batch.tokens, (Ids{10, 11, 12, 110}));
  EXPECT_EQ(batch.targets, (Ids{11, 12, -1, -1}));
  EXPECT_EQ(batch.positions, (Ids{0, 1, 2, 0}));
  EXPECT_EQ(batch.seq_offsets, (std::vector<int64_t>{0, 3, 4}));
}

TEST(BatchTest, HeadKLooksKPlusTwoAhead) {
  const Batch closed = counting({4, 1, 2}, false);
  EXPECT_EQ(mtp_tokens(closed, 0), (Ids{11, 12, 13, 0, 0, 211, 0}));
  EXPECT_EQ(mtp_targets(closed, 0), (Ids{12, 13, -1, -1, -1, -1, -1}));
  EXPECT_EQ(mtp_tokens(closed, 1), (Ids{12, 13, 0, 0, 0, 0, 0}));
  EXPECT_EQ(mtp_targets(closed, 1), (Ids{13, -1, -1, -1, -1, -1, -1}));
  const Batch open = counting({4, 1, 2}, true);
  EXPECT_EQ(mtp_tokens(open, 0), (Ids{11, 12, 13, 14, 111, 211, 212}));
  EXPECT_EQ(mtp_targets(open, 0), (Ids{12, 13, 14, -1, -1, 212, -1}));
  EXPECT_EQ(mtp_tokens(open, 1), (Ids{12, 13, 14, 0, 0, 212, 0}));
  EXPECT_EQ(mtp_targets(open, 1), (Ids{13, 14, -1, -1, -1, -1, -1}));
  EXPECT_EQ(mtp_tokens(open, 7), Ids(7, 0));
}

/// Fine-tuning masks targets; what the heads read is the text all the same.
TEST(BatchTest, MasksHideNoTokensFromTheHeads) {
  Batch batch = counting({5}, true);
  const Ids tokens = mtp_tokens(batch, 0);
  batch.targets = {-1, -1, -1, -1, 15};
  EXPECT_EQ(mtp_tokens(batch, 0), tokens);
  EXPECT_EQ(mtp_targets(batch, 0), (Ids{-1, -1, -1, 15, -1}));
}

TEST(BatchTest, WeightsStandWithTheirTargets) {
  Batch batch = counting({3, 2}, true);
  EXPECT_EQ(total_weight(batch.targets, batch.weights), 5);
  EXPECT_TRUE(mtp_weights(batch, 0).empty());
  batch.weights = {1, 2, 3, 4, -0.5f};
  EXPECT_EQ(mtp_weights(batch, 0), (std::vector<float>{2, 3, 0, -0.5f, 0}));
  EXPECT_EQ(total_weight(batch.targets, batch.weights), 9.5);
  batch.targets[2] = -1;
  EXPECT_EQ(total_weight(batch.targets, batch.weights), 6.5);
}

TEST(BatchTest, SizesAgree) {
  Batch batch = counting({3}, true);
  EXPECT_NO_THROW(check_sizes(batch));
  batch.weights = {1, 1};
  EXPECT_THROW(check_sizes(batch), Error);
  batch.weights = {1, 1, 1};
  EXPECT_NO_THROW(check_sizes(batch));
  batch.targets.pop_back();
  EXPECT_THROW(check_sizes(batch), Error);
}

}  // namespace
}  // namespace um
