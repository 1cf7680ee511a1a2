// "did you mean" is said only where one name is near another.
#include "core/suggest.h"

#include <gtest/gtest.h>

namespace um {
namespace {

const std::vector<std::string> kFlags = {"--help",       "--model.seed", "--train.steps",
                                         "--train.lr",   "--log.keep",   "--sample-tokens",
                                         "--train.batch"};

TEST(SuggestTest, NearNames) {
  EXPECT_EQ(nearest("--train.step", kFlags), "--train.steps");
  EXPECT_EQ(nearest("--trian.steps", kFlags), "--train.steps");
  EXPECT_EQ(nearest("--hlep", kFlags), "--help");  // a swap is one edit
  EXPECT_EQ(nearest("--sample_tokens", kFlags), "--sample-tokens");
  EXPECT_EQ(nearest("inspct", {"info", "inspect"}), "inspect");
}

TEST(SuggestTest, GroupsMayBeLeftOut) {
  EXPECT_EQ(nearest("--steps", kFlags), "--train.steps");
  EXPECT_EQ(nearest("--lr", kFlags), "--train.lr");
  EXPECT_EQ(nearest("--log.batch", kFlags), "--train.batch");
  EXPECT_EQ(nearest("steps", {"model.seed", "train.steps"}), "train.steps");
}

TEST(SuggestTest, FarNamesAreNotSuggested) {
  EXPECT_EQ(nearest("--quantisation", kFlags), "");
  EXPECT_EQ(nearest("architectures", {"model.preset", "train.steps"}), "");
  EXPECT_EQ(nearest("corpus.txt", {"nano-ultra", "tiny-pro"}), "");
  EXPECT_EQ(nearest("x", {}), "");
  EXPECT_EQ(did_you_mean("--nothing", kFlags), "");
  EXPECT_EQ(did_you_mean("--helb", kFlags), "; did you mean --help?");
  EXPECT_EQ(did_you_mean("step", {"steps"}, "\""), "; did you mean \"steps\"?");
}

TEST(SuggestTest, HostileNamesCostLittle) {
  EXPECT_EQ(nearest(std::string(10'000'000, 'a'), kFlags), "");
}

}  // namespace
}  // namespace um
