// allowed_token_ids and bad_words.
#include "server/token_limits.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "engine/constraint_factory.h"

namespace um {
namespace {

constexpr size_t kVocab = 6;

/// The tokens that may come, as digits.
std::string allowed(Constraint& constraint) {
  std::vector<float> logits(kVocab, 1.0f);
  constraint.mask(logits);
  std::string ids;
  for (size_t id = 0; id < kVocab; ++id)
    if (!std::isinf(logits[id])) ids += std::to_string(id);
  return ids;
}

TEST(TokenLimits, NoneAreNoConstraint) {
  EXPECT_EQ(limit_tokens(nullptr, {}), nullptr);
}

TEST(TokenLimits, OnlyAllowedTokensMayCome) {
  const auto constraint = limit_tokens(nullptr, {.allowed = {1, 4}});
  EXPECT_EQ(allowed(*constraint), "14");
  constraint->accept(4);
  EXPECT_EQ(allowed(*constraint), "14");
}

TEST(TokenLimits, ABadSequenceEndsBeforeItsLastToken) {
  auto constraint = limit_tokens(nullptr, {.bad = {{1, 2, 3}, {2, 2}, {5}, {0, 99}}});
  EXPECT_EQ(allowed(*constraint), "01234");
  constraint->accept(1);
  EXPECT_EQ(allowed(*constraint), "01234");
  constraint->accept(2);
  EXPECT_EQ(allowed(*constraint), "014");
  constraint = constraint->clone();
  EXPECT_EQ(allowed(*constraint), "014");
  constraint->accept(4);
  EXPECT_EQ(allowed(*constraint), "01234");
  for (const int32_t id : {1, 0, 2}) constraint->accept(id);
  EXPECT_EQ(allowed(*constraint), "0134");
}

TEST(TokenLimits, AFormatWinsWhereNothingIsLeft) {
  ConstraintFactory factory({"a", "b", "c", "d", "e", ""}, {5});
  const auto constraint = limit_tokens(factory.regex("a(b|c)d"), {.bad = {{0}, {1}}});
  EXPECT_EQ(allowed(*constraint), "0");
  constraint->accept(0);
  EXPECT_EQ(allowed(*constraint), "2");
  constraint->accept(2);
  EXPECT_EQ(allowed(*constraint), "3");
}

}  // namespace
}  // namespace um
