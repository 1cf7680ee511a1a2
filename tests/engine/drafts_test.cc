// Drafts from the text itself, and how many of them pay.
#include "engine/drafts.h"

#include <gtest/gtest.h>

namespace um {
namespace {

TEST(NgramDrafts, ContinuesWhereTheTextStoodBefore) {
  const std::vector<int32_t> text = {5, 1, 2, 3, 4, 9, 8, 1, 2, 3, 4};
  EXPECT_EQ(ngram_drafts(text, 2), (std::vector<int32_t>{9, 8}));
  EXPECT_EQ(ngram_drafts(text, 100), (std::vector<int32_t>{9, 8, 1, 2, 3, 4}));
  EXPECT_TRUE(ngram_drafts(text, 0).empty());
}

TEST(NgramDrafts, PrefersTheLongerAndThenTheLaterPlace) {
  EXPECT_EQ(ngram_drafts(std::vector<int32_t>{1, 2, 3, 70, 2, 3, 80, 1, 2, 3}, 1),
            (std::vector<int32_t>{70}))
      << "three tokens agree";
  EXPECT_EQ(ngram_drafts(std::vector<int32_t>{2, 3, 70, 2, 3, 80, 2, 3}, 1),
            (std::vector<int32_t>{80}));
}

TEST(NgramDrafts, HasNoneForNewText) {
  EXPECT_TRUE(ngram_drafts(std::vector<int32_t>{1, 2, 3, 4, 5}, 4).empty());
  EXPECT_TRUE(ngram_drafts(std::vector<int32_t>{1}, 4).empty());
  EXPECT_TRUE(ngram_drafts({}, 4).empty());
}

TEST(StepTimes, GuessesBetweenWhatWasMeasured) {
  StepTimes times;
  EXPECT_EQ(times.expected(3), 0);
  times.add(1, 0.010);
  EXPECT_DOUBLE_EQ(times.expected(1), 0.010);
  EXPECT_DOUBLE_EQ(times.expected(4), 0.010) << "hoped to cost the same";
  times.add(3, 0.020);
  EXPECT_DOUBLE_EQ(times.expected(2), 0.015);
  EXPECT_DOUBLE_EQ(times.expected(9), 0.020);
  for (int i = 0; i < 200; ++i) times.add(1, 0.030);
  EXPECT_NEAR(times.expected(1), 0.030, 1e-6) << "follows the machine";
}

TEST(AcceptanceRecord, CountsOnlyWhatWasReached) {
  AcceptanceRecord record;
  for (int i = 0; i < 400; ++i) record.add(2, i % 2);  // the first is right every second time,
  EXPECT_NEAR(record.expected_tokens(1), 1.5, 0.05);
  EXPECT_NEAR(record.expected_tokens(2), 1.5, 0.05);  // the second never
  EXPECT_EQ(record.expected_tokens(0), 1);
}

TEST(BestDraftCount, PaysOnlyWhereRowsAreCheap) {
  AcceptanceRecord good, bad;
  for (int i = 0; i < 400; ++i) good.add(2, i % 10 == 0 ? 0 : 2);
  for (int i = 0; i < 400; ++i) bad.add(2, i % 20 == 0 ? 1 : 0);
  StepTimes flat, steep;
  for (int64_t rows = 1; rows <= 40; ++rows) {
    flat.add(rows, 0.010);
    steep.add(rows, 0.010 * static_cast<double>(rows));
  }
  EXPECT_EQ(best_draft_count(good, flat, 0, 2, 0.001), 2);
  EXPECT_EQ(best_draft_count(bad, flat, 0, 2, 0.001), 0);
  EXPECT_EQ(best_draft_count(good, steep, 0, 2, 0.001), 0);
  EXPECT_EQ(best_draft_count(good, flat, 30, 2, 0.001), 0) << "not for 30 others who wait";
  EXPECT_EQ(best_draft_count(good, StepTimes(), 0, 2, 0), 2) << "nothing is known yet";
}

}  // namespace
}  // namespace um
