// Stop strings across the borders of tokens.
#include "engine/stop.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace um {
namespace {

/// What comes out of all pieces and the end, with a bar where a piece ended.
std::string run(StopFilter filter, std::initializer_list<const char*> pieces) {
  std::string out;
  for (const char* piece : pieces) out += filter.push(piece) + "|";
  return out + filter.finish() + (filter.stopped() ? "!" : "");
}

TEST(StopFilter, PassesTextThrough) {
  EXPECT_EQ(run(StopFilter({}), {"one", " two"}), "one| two|");
  EXPECT_EQ(run(StopFilter({"END"}), {"one", " two"}), "one| two|");
}

TEST(StopFilter, HoldsBackWhatMayBecomeAStop) {
  EXPECT_EQ(run(StopFilter({"END"}), {"a E", "N", "D b"}), "a |||!");
  EXPECT_EQ(run(StopFilter({"END"}), {"a E", "N", "X b"}), "a ||ENX b|");
  EXPECT_EQ(run(StopFilter({"END"}), {"a EN"}), "a |EN");
}

TEST(StopFilter, StopsAtTheFirstOfSeveral) {
  EXPECT_EQ(run(StopFilter({"two", "one"}), {"zero one two"}), "zero |!");
}

TEST(StopFilter, OverlappingBeginnings) {
  EXPECT_EQ(run(StopFilter({"aab"}), {"a", "a", "a", "b", "c"}), "||a|||!");
}

TEST(StopFilter, RefusesAnEmptyStop) {
  EXPECT_THROW(StopFilter({""}), UsageError);
}

TEST(StopFilter, DoesNotCountWhatEndsBeforeItMay) {
  StopFilter filter({"END", "xENDy"});
  EXPECT_EQ(filter.push("a END b", false), "a END b");
  EXPECT_EQ(filter.push("c EN", false), "c ");
  EXPECT_EQ(filter.push("D", false), "END");
  EXPECT_EQ(filter.push(" xEND", false), " ");  // may become the other one
  EXPECT_EQ(filter.push("z", true), "xENDz");
  EXPECT_FALSE(filter.stopped());
  EXPECT_EQ(filter.push("EN", false), "");
  EXPECT_EQ(filter.push("D", true), "");  // begun before, complete now
  EXPECT_TRUE(filter.stopped());
}

}  // namespace
}  // namespace um
