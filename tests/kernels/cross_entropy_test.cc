// Cross-entropy with z-loss: values by hand, backends, gradient, in place, extreme logits.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/harness_util.h"

namespace um::test {
namespace {

struct Case {
  OpHarness h;
  CrossEntropy a;
  Case(int64_t rows, int64_t vocab, int64_t pad = 0, float scale = 2, bool skip = true) {
    const int64_t ld = vocab + pad;
    std::vector<int32_t> targets;
    for (int64_t row = 0; row < rows; ++row) {
      const bool none = skip && row % 4 == 3;
      targets.push_back(none ? -1
                             : static_cast<int32_t>(h.random()() % static_cast<uint64_t>(vocab)));
    }
    a = {.rows = rows,
         .vocab = vocab,
         .logits = h.input(rows * ld, scale),
         .ld = ld,
         .targets = h.input(targets),
         .weights = h.input(rows),
         .z_weight = 1e-2f,
         .loss = h.output(rows),
         .z = h.output(rows),
         .correct = h.output(rows),
         .dlogits = h.output(rows * ld)};
  }
};

TEST(CrossEntropyKernel, Parity) {
  for (int64_t vocab : {1, 3, 15, 16, 17, 33, 100, 4095, 4096, 4097, 10000}) {
    for (int64_t rows : {0, 1, 9}) {
      SCOPED_TRACE(testing::Message() << rows << " x " << vocab);
      Case c(rows, vocab, rows % 2 * 3);
      c.h.expect_parity([&](const Kernels& k) { k.cross_entropy(c.a); }, 2e-6, vocab < 4 ? 1 : 0);
    }
  }
}

TEST(CrossEntropyKernel, TheLargestVocabulary) {
  Case c(3, 153600, 0, 5);
  c.h.expect_parity([&](const Kernels& k) { k.cross_entropy(c.a); });
}

TEST(CrossEntropyKernel, OptionalArrays) {
  for (int missing = 0; missing < 4; ++missing) {
    Case c(7, 33);
    if (missing == 0) c.a.z = nullptr;
    if (missing == 1) c.a.correct = nullptr;
    if (missing == 2) c.a.dlogits = nullptr;
    if (missing == 3) c.a.weights = nullptr;
    c.h.expect_parity([&](const Kernels& k) { k.cross_entropy(c.a); });
  }
}

TEST(CrossEntropyKernel, InPlace) {
  Case c(7, 100, 1);
  c.a.logits = c.a.dlogits;
  c.h.expect_parity([&](const Kernels& k) { k.cross_entropy(c.a); }, 3e-6);
}

TEST(CrossEntropyKernel, ByHand) {
  OpHarness h;
  CrossEntropy a{.rows = 3,
                 .vocab = 4,
                 .logits = h.input(std::vector<float>{1, 1, 1, 1, 0, 0, 0, 0, 2, 5, 5, 1}),
                 .ld = 4,
                 .targets = h.input(std::vector<int32_t>{0, 4, 2}),
                 .weights = h.input(std::vector<float>{2, 1, 1}),
                 .loss = h.output(3),
                 .z = h.output(3),
                 .correct = h.output(3),
                 .dlogits = h.output(12)};
  h.expect_parity([&](const Kernels& k) { k.cross_entropy(a); });
  const double lse = 1 + std::log(4.0);
  EXPECT_NEAR(a.loss[0], std::log(4.0), 1e-6);
  EXPECT_NEAR(a.z[0], lse * lse, 1e-5);
  EXPECT_EQ(a.correct[0], 1);  // all equal: the lowest id
  EXPECT_NEAR(a.dlogits[0], 2 * (0.25 - 1), 1e-6);
  EXPECT_EQ(a.loss[1], 0);  // a target outside the vocabulary counts for nothing
  EXPECT_EQ(a.dlogits[4], 0);
  EXPECT_EQ(a.correct[2], 0);  // equal to the highest, but not the first
}

TEST(CrossEntropyKernel, ExtremeLogits) {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  Case c(4, 33, 0, 1e4f, false);
  c.h.expect_parity([&](const Kernels& k) { k.cross_entropy(c.a); });
  EXPECT_TRUE(std::isfinite(c.a.loss[0]));
  for (float bad : {nan, inf}) {
    std::vector<float> logits(4 * 33, 1.0f);
    for (int row = 0; row < 4; ++row) logits[row * 33 + row * 10] = bad;
    c.a.logits = c.h.input(logits);
    c.a.correct = nullptr;
    auto run = [&](const Kernels& k) {
      k.cross_entropy(c.a);
      for (int row = 0; row < 4; ++row) EXPECT_FALSE(std::isfinite(c.a.loss[row])) << k.name;
    };
    c.h.expect_same_bits_for_threads(run);
  }
}

// The loss is Σ weight (loss + z_weight z), so those are the gradients of the two outputs.
TEST(CrossEntropyKernel, Gradient) {
  for (float z_weight : {0.0f, 0.3f}) {
    Case c(5, 17, 0, 1);
    c.a.z_weight = z_weight;
    float* total = c.h.output(5);
    CrossEntropy no_gradient = c.a;
    no_gradient.dlogits = nullptr;
    auto forward = [&](const Kernels& k) {
      k.cross_entropy(no_gradient);
      for (int row = 0; row < 5; ++row) total[row] = c.a.loss[row] + z_weight * c.a.z[row];
    };
    c.h.expect_gradient(forward, [&](const Kernels& k) { k.cross_entropy(c.a); },
                        {{c.a.logits, c.a.dlogits, 5 * 17}}, {{total, c.a.weights, 5}});
  }
}

TEST(CrossEntropyKernel, Bits) {
  Case c(60, 700);
  c.h.expect_same_bits_for_threads([&](const Kernels& k) { k.cross_entropy(c.a); });
  c.h.expect_rows_independent(60, [&](const Kernels& k, int64_t first, int64_t count) {
    CrossEntropy a = c.a;
    a.rows = count;
    a.logits += first * 700, a.dlogits += first * 700, a.targets += first, a.weights += first;
    a.loss += first, a.z += first, a.correct += first;
    k.cross_entropy(a);
  });
}

}  // namespace
}  // namespace um::test
