// Context extension in numbers: what DeepSeek's and Qwen's configs come to (docs/models.md), and
// which frequencies stay. The golden cases check the whole against Hugging Face transformers.
#include "nn/rotary.h"

#include <gtest/gtest.h>

#include <cmath>

namespace um {
namespace {

AttentionConfig yarn(double mscale, double mscale_all_dim) {
  AttentionConfig a;
  a.qk_nope_dim = 128;
  a.qk_rope_dim = 64;
  a.rope_scaling = {.kind = RopeKind::yarn,
                    .factor = 40,
                    .original_positions = 4096,
                    .mscale = mscale,
                    .mscale_all_dim = mscale_all_dim};
  return a;
}

TEST(RotaryTest, YarnScalesScoresAsDeepSeekSays) {
  const double plain = 1 / std::sqrt(192.0);
  EXPECT_NEAR(attention_scale(yarn(1, 1)) / plain, 1.8739, 1e-4);
  EXPECT_NEAR(attention_scale(yarn(0.707, 0.707)) / plain, 1.5896, 1e-4);
  EXPECT_EQ(rope_amplitude(yarn(1, 1)), 1);
  EXPECT_NEAR(rope_amplitude(yarn(1, 0.707)), 1.3689 / 1.2608, 1e-4);
  // Qwen gives neither: cosines and sines grow, scores are left alone.
  EXPECT_EQ(attention_scale(yarn(0, 0)), plain);
  EXPECT_NEAR(rope_amplitude(yarn(0, 0)), 1.3689, 1e-4);
  AttentionConfig given = yarn(0, 0);
  given.rope_scaling.attention_factor = 1.5;
  EXPECT_EQ(rope_amplitude(given), 1.5);
}

TEST(RotaryTest, ScalingsKeepShortWavelengthsAndStretchLongOnes) {
  AttentionConfig a;
  a.qk_rope_dim = 64;
  a.rope_theta = 500000;
  const std::vector<double> plain = rope_frequencies(a);
  EXPECT_EQ(plain.front(), 1);
  EXPECT_NEAR(plain[1], std::pow(500000, -2.0 / 64), 1e-15);
  for (const RopeKind kind : {RopeKind::llama3, RopeKind::yarn}) {
    a.rope_scaling = {.kind = kind, .factor = 32, .original_positions = 8192};
    const std::vector<double> scaled = rope_frequencies(a);
    EXPECT_EQ(scaled.front(), plain.front());
    EXPECT_NEAR(scaled.back(), plain.back() / 32, 1e-18);
    for (size_t i = 1; i < scaled.size(); ++i) EXPECT_LT(scaled[i], scaled[i - 1]) << i;
  }
  a.rope_scaling = {.kind = RopeKind::linear, .factor = 4};
  EXPECT_EQ(rope_frequencies(a)[5], plain[5] / 4);
}

}  // namespace
}  // namespace um
