// Gradients of linear layers and experts whose products have bf16 operands, against finite
// differences of their f32 forward, which is smooth; and what stays f32.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "core/rng.h"
#include "kernels/args/matmul.h"
#include "kernels/registry.h"
#include "ops/linear.h"
#include "ops/mlp.h"
#include "ops/moe.h"
#include "ops/tape.h"

namespace um {
namespace {

// Each operand is off by at most 2^-9 of itself, and the errors of many terms mostly cancel. Along
// a direction the gradients of two layers stay within this share of their norm.
constexpr double kTolerance = 0.01;

class OperandsTest : public ::testing::TestWithParam<const char*> {
 protected:
  Tensor random(Shape shape, uint64_t seed, double scale = 1) {
    const RandomStream stream(seed, 1);
    std::vector<float> values(static_cast<size_t>(shape.count()));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(scale * stream.normal(i));
    return Tensor::from(device_, shape, std::span<const float>(values));
  }

  using Forward = std::function<Tensor(const std::vector<Tensor>&)>;

  /// Gradients of Σ y·dy for all inputs, by the tape.
  std::vector<std::vector<float>> gradients(const Forward& forward, std::vector<Tensor> inputs,
                                            const Tensor& dy) {
    std::vector<GradSlot> slots(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) inputs[i].set_slot(&slots[i]);
    Tape tape;
    {
      const Tape::Recording recording(&tape);
      give_grad(forward(inputs).slot(), dy);
    }
    tape.backward();
    std::vector<std::vector<float>> found;
    for (GradSlot& slot : slots) found.push_back(slot.grad.to_vector());
    return found;
  }

  double objective(const Forward& forward, const std::vector<Tensor>& inputs, const Tensor& dy) {
    const std::vector<float> y = forward(inputs).to_vector(), d = dy.to_vector();
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += double{y[i]} * double{d[i]};
    return sum;
  }

  void expect_gradients(const Forward& forward, const std::vector<Tensor>& inputs,
                        const Tensor& dy) {
    std::vector<std::vector<float>> rounded;
    {
      const Multiplying multiplying(device_, Operands::bf16);
      rounded = gradients(forward, inputs, dy);
    }
    EXPECT_NE(rounded, gradients(forward, inputs, dy)) << "nothing was rounded";
    for (size_t i = 0; i < inputs.size(); ++i)
      for (uint64_t seed = 50; seed < 54; ++seed) {
        const std::vector<float> direction = random(inputs[i].shape(), seed).to_vector();
        constexpr double kStep = 2e-3;
        const auto at = [&](double step) {
          std::vector<Tensor> moved = inputs;
          std::vector<float> values = inputs[i].to_vector();
          for (size_t j = 0; j < values.size(); ++j)
            values[j] += static_cast<float>(step * double{direction[j]});
          moved[i] = Tensor::from(device_, inputs[i].shape(), std::span<const float>(values));
          return objective(forward, moved, dy);
        };
        const double expected = (at(kStep) - at(-kStep)) / (2 * kStep);
        double found = 0, norm = 0;
        for (size_t j = 0; j < direction.size(); ++j) {
          found += double{rounded[i][j]} * double{direction[j]};
          norm += double{rounded[i][j]} * double{rounded[i][j]};
        }
        EXPECT_NEAR(found, expected, kTolerance * std::sqrt(norm)) << "input " << i;
      }
  }

  Device device_{"test", find_kernels(GetParam())};
};

TEST_P(OperandsTest, Linear) {
  const Forward forward = [](const std::vector<Tensor>& in) { return linear(in[0], in[1], in[2]); };
  expect_gradients(forward, {random({23, 64}, 1), random({48, 64}, 2), random({48}, 3)},
                   random({23, 48}, 4));
}

TEST_P(OperandsTest, Mlp) {
  const Forward forward = [](const std::vector<Tensor>& in) {
    return swiglu_mlp(in[0], in[1], in[2]);
  };
  expect_gradients(forward, {random({23, 48}, 1), random({64, 48}, 2, 0.1), random({40, 32}, 3)},
                   random({23, 40}, 4));
}

TEST_P(OperandsTest, Experts) {
  const int64_t tokens = 21, hidden = 40, width = 24, experts = 5;
  const Ragged rows = Ragged::full(device_, std::vector<int64_t>{0, tokens});
  const Routing routing = route(random({tokens, experts}, 9), {}, {},
                                RouterRule{.sigmoid = true, .normalize = true}, 2, rows, nullptr);
  const Forward forward = [&](const std::vector<Tensor>& in) {
    return moe_experts(in[0], routing, in[1], in[2], {});
  };
  expect_gradients(forward,
                   {random({tokens, hidden}, 1), random({experts, 2 * width, hidden}, 2, 0.1),
                    random({experts, hidden, width}, 3)},
                   random({tokens, hidden}, 4));
}

TEST_P(OperandsTest, WhatDecidesStaysF32) {
  const Tensor x = random({9, 64}, 1), weight = random({6, 64}, 2), dy = random({9, 6}, 3);
  const Forward plain = [](const std::vector<Tensor>& in) { return linear(in[0], in[1]); };
  const Forward exact = [](const std::vector<Tensor>& in) { return linear_f32(in[0], in[1]); };
  const std::vector<float> y = linear(x, weight).to_vector();
  const auto grads = gradients(plain, {x, weight}, dy);
  const Multiplying multiplying(device_, Operands::bf16);
  EXPECT_EQ(linear_f32(x, weight).to_vector(), y);
  EXPECT_EQ(gradients(exact, {x, weight}, dy), grads);
  EXPECT_NE(linear(x, weight).to_vector(), y);
}

TEST_P(OperandsTest, TheChoiceEndsWithItsScope) {
  EXPECT_EQ(device_.operands(), Operands::f32);
  {
    const Multiplying outer(device_, Operands::bf16);
    {
      const Multiplying inner(device_, Operands::f32);
      EXPECT_EQ(device_.operands(), Operands::f32);
    }
    EXPECT_EQ(device_.operands(), Operands::bf16);
  }
  EXPECT_EQ(device_.operands(), Operands::f32);
}

std::vector<const char*> table_names() {
  std::vector<const char*> names;
  for (const Kernels* table : available_kernels()) names.push_back(table->name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Tables, OperandsTest, ::testing::ValuesIn(table_names()));

}  // namespace
}  // namespace um
