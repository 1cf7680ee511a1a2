// Penalties by their definitions, drafts taken back, and loops found and not found.
#include "engine/penalties.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"

namespace um {
namespace {

using Logits = std::vector<float>;
const std::vector<int32_t> kPrompt = {1, 2, 2};

Logits applied(const Penalties& penalties, Logits logits = {2, 2, -2, 1, 0}) {
  penalties.apply(logits);
  return logits;
}

TEST(Penalties, NothingOnChangesNothing) {
  Penalties penalties({}, kPrompt, 5);
  penalties.add(3);
  EXPECT_FALSE(penalties.active());
  EXPECT_EQ(applied(penalties), (Logits{2, 2, -2, 1, 0}));
}

TEST(Penalties, RepetitionCountsPromptAndAnswerOnce) {
  Penalties penalties({.repetition_penalty = 2}, kPrompt, 5);
  EXPECT_TRUE(penalties.active());
  EXPECT_EQ(applied(penalties), (Logits{2, 1, -4, 1, 0}));
  penalties.add(0);
  penalties.add(0);
  EXPECT_EQ(applied(penalties), (Logits{1, 1, -4, 1, 0}));
}

TEST(Penalties, PresenceAndFrequencyCountTheAnswer) {
  Penalties penalties({.presence_penalty = 0.5, .frequency_penalty = 1}, kPrompt, 5);
  EXPECT_EQ(applied(penalties), (Logits{2, 2, -2, 1, 0}));
  penalties.add(3);
  penalties.add(3);
  penalties.add(0);
  EXPECT_EQ(applied(penalties), (Logits{0.5, 2, -2, -1.5, 0}));
}

TEST(Penalties, BiasComesFirst) {
  Penalties penalties({.repetition_penalty = 2, .logit_bias = {{2, 6}, {4, -1}}}, kPrompt, 5);
  EXPECT_EQ(applied(penalties), (Logits{2, 1, 2, 1, -1}));
  EXPECT_THROW(Penalties({.logit_bias = {{5, 1}}}, kPrompt, 5), UsageError);
  EXPECT_THROW(Penalties({.logit_bias = {{-1, 1}}}, kPrompt, 5), UsageError);
}

TEST(Penalties, InfinityStays) {
  const float infinity = std::numeric_limits<float>::infinity();
  Penalties penalties({.repetition_penalty = 2, .presence_penalty = -2}, kPrompt, 2);
  Logits logits = {0, -infinity};
  penalties = Penalties({.repetition_penalty = 0.5}, std::vector<int32_t>{1}, 2);
  penalties.apply(logits);
  EXPECT_EQ(logits[1], -infinity);
}

TEST(Penalties, DraftsAreTakenBack) {
  const SamplingOptions options{
      .repetition_penalty = 1.5, .presence_penalty = 1, .frequency_penalty = 1, .loop_penalty = 9};
  Penalties penalties(options, kPrompt, 5), other(options, kPrompt, 5);
  for (int i = 0; i < 60; ++i) {
    penalties.add(i % 2);
    other.add(i % 2);
    penalties.add(3);
    penalties.add(i % 5);
    penalties.take_back(i % 5);
    penalties.take_back(3);
  }
  EXPECT_EQ(applied(penalties), applied(other));
  EXPECT_TRUE(penalties.loop());
}

TEST(Penalties, TheTokenThatCarriesOnALoopIsPenalised) {
  Penalties penalties({.loop_penalty = 100}, kPrompt, 5);
  for (int i = 0; i < 40; ++i) penalties.add(i % 3);
  EXPECT_EQ(applied(penalties), (Logits{2, 2, -2, 1, 0}));
  for (int i = 40; i < 50; ++i) penalties.add(i % 3);
  EXPECT_EQ(applied(penalties), (Logits{2, 2, -102, 1, 0}));
  penalties.add(4);
  EXPECT_EQ(applied(penalties), (Logits{2, 2, -2, 1, 0}));
}

/// How many tokens of a loop of `period` after `lead` random ones it takes to see it; -1: never.
int found_after(int period, int lead, LoopDetector& detector) {
  const RandomStream random(static_cast<uint64_t>(period), 4);
  for (int i = 0; i < lead; ++i)
    detector.push(static_cast<int32_t>(random.bits(static_cast<uint64_t>(i)) % 50));
  for (int i = 0; i < 8 * period + 60; ++i) {
    detector.push(static_cast<int32_t>(random.bits(1000 + static_cast<uint64_t>(i % period)) % 50));
    if (const auto loop = detector.loop(); loop && loop->period == period) return i + 1;
  }
  return -1;
}

TEST(LoopDetector, FindsPlantedCycles) {
  for (int period = 1; period <= 64; ++period) {
    LoopDetector detector;
    const int after = found_after(period, 100, detector);
    EXPECT_GE(after, 4 * period - 8) << period;
    EXPECT_LE(after, std::max(4 * period, 48 + period)) << period;
  }
  LoopDetector detector;
  EXPECT_NE(found_after(700, 30, detector), -1);
}

TEST(LoopDetector, FindsTheSameLoopAgainAndBlocksWithRunsInside) {
  LoopDetector detector;
  EXPECT_NE(found_after(7, 20, detector), -1);
  for (int i = 0; i < 30; ++i) detector.push(1000 + i);
  EXPECT_FALSE(detector.loop());
  EXPECT_NE(found_after(7, 20, detector), -1);
  LoopDetector runs;
  bool found = false;
  for (int i = 0; i < 40 * 6; ++i) {
    runs.push(i % 40 < 25 ? 7 : i % 40);
    found = found || (runs.loop() && runs.loop()->period == 40);
  }
  EXPECT_TRUE(found);
}

TEST(LoopDetector, SaysNothingOfOrdinaryText) {
  // Random words of a small vocabulary, phrases that come back, and three equal blocks.
  const RandomStream random(8, 8);
  LoopDetector detector;
  for (uint64_t i = 0; i < 20000; ++i) {
    detector.push(static_cast<int32_t>(random.bits(i) % 4));
    ASSERT_FALSE(detector.loop()) << i;
    if (i % 100 == 0)
      for (int k = 0; k < 12; ++k) detector.push(100 + k);
  }
  for (int i = 0; i < 3 * 20; ++i) {
    detector.push(200 + i % 20);
    ASSERT_FALSE(detector.loop());
  }
}

}  // namespace
}  // namespace um
