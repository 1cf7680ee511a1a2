// The tape: slots and accumulation, gradients that are handed over, lifetime, memory.
#include "ops/tape.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "core/rng.h"
#include "kernels/registry.h"
#include "models/config.h"
#include "ops/linear.h"
#include "ops/mlp.h"
#include "ops/norm.h"
#include "ops/recompute.h"
#include "train/objective.h"

namespace um {
namespace {

class TapeTest : public ::testing::Test {
 protected:
  Tensor random(Shape shape, uint64_t seed) {
    const RandomStream stream(seed, 1);
    std::vector<float> values(static_cast<size_t>(shape.count()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(stream.normal(i));
    return Tensor::from(device_, shape, std::span<const float>(values));
  }
  size_t used() { return device_.allocator().used_bytes(); }

  Device device_{"test", find_kernels("ref")};
};

TEST_F(TapeTest, FirstWriterOverwritesLaterOnesAdd) {
  const Tensor like = random({2, 3}, 1);
  GradSlot slot;
  const GradOut first = grad_out(&slot, like);
  EXPECT_TRUE(first.wanted);
  EXPECT_FALSE(first.accumulate);
  const GradOut second = grad_out(&slot, like);
  EXPECT_TRUE(second.accumulate);
  EXPECT_EQ(second.data, first.data);
  slot.reset();
  const GradOut next_step = grad_out(&slot, like);
  EXPECT_FALSE(next_step.accumulate);
  EXPECT_EQ(next_step.data, first.data);  // the memory stays
  EXPECT_FALSE(grad_out(nullptr, like).wanted);
}

TEST_F(TapeTest, GivenGradientsAreTakenOverThenAdded) {
  GradSlot slot;
  Tensor first = random({4}, 1);
  const Tensor second = random({4}, 2);
  const float* memory = first.f32();
  std::vector<float> expected = first.to_vector();
  for (size_t i = 0; i < 4; ++i) expected[i] += second.to_vector()[i];
  const std::vector<float> before = second.to_vector();
  give_grad(&slot, std::move(first));
  give_grad(&slot, second);
  EXPECT_EQ(slot.grad.f32(), memory);
  EXPECT_EQ(second.to_vector(), before);  // only the first giver's memory is written
  EXPECT_EQ(take_grad(&slot).to_vector(), expected);
  EXPECT_FALSE(take_grad(&slot).defined());
  give_grad(nullptr, second);
}

TEST_F(TapeTest, RecordingsNestAndEndWithAnException) {
  Tape outer, inner;
  EXPECT_EQ(Tape::current(), nullptr);
  {
    const Tape::Recording a(&outer);
    try {
      const Tape::Recording b(&inner);
      EXPECT_EQ(Tape::current(), &inner);
      throw Error("stop");
    } catch (const Error&) {
      EXPECT_EQ(Tape::current(), &outer);
    }
    const Tape::Recording off(nullptr);
    EXPECT_FALSE(needs_grad(Tensor()));
  }
  EXPECT_EQ(Tape::current(), nullptr);
}

TEST_F(TapeTest, OnlyOpsThatLeadToAParameterAreRecorded) {
  const Tensor x = random({3, 4}, 1), weight = random({5, 4}, 2);
  Tensor trained = weight;
  GradSlot slot;
  trained.set_slot(&slot);
  Tape tape;
  const Tape::Recording recording(&tape);
  EXPECT_EQ(linear(x, weight).slot(), nullptr);
  EXPECT_EQ(tape.node_count(), 0u);
  EXPECT_NE(linear(x, trained).slot(), nullptr);
  EXPECT_EQ(tape.node_count(), 1u);
}

/// A value and the gradient of Σ seed · value in `input`, by the tape and by central differences.
using Chain = std::function<Tensor(const Tensor&)>;

class ChainTest : public TapeTest {
 protected:
  double objective(const Chain& chain, const Tensor& input, const Tensor& seed) {
    const std::vector<float> out = chain(input).to_vector(), weights = seed.to_vector();
    double sum = 0;
    for (size_t i = 0; i < out.size(); ++i)
      sum += static_cast<double>(out[i]) * static_cast<double>(weights[i]);
    return sum;
  }

  std::vector<float> by_tape(const Chain& chain, Tensor input, const Tensor& seed) {
    GradSlot slot;
    input.set_slot(&slot);
    Tape tape;
    {
      const Tape::Recording recording(&tape);
      give_grad(chain(input).slot(), seed.clone());
    }
    tape.backward();
    return slot.grad.to_vector();
  }

  void expect_gradient(const Chain& chain, const Tensor& input) {
    const Tensor seed = random(chain(input).shape(), 99);
    const std::vector<float> got = by_tape(chain, input, seed);
    float* values = input.f32();
    for (size_t i = 0; i < got.size(); i += 3) {
      const float kept = values[i];
      constexpr float kStep = 1e-2f;
      values[i] = kept + kStep;
      const double above = objective(chain, input, seed);
      values[i] = kept - kStep;
      const double below = objective(chain, input, seed);
      values[i] = kept;
      EXPECT_NEAR(got[i], (above - below) / (2 * static_cast<double>(kStep)), 5e-3) << i;
    }
  }
};

TEST_F(ChainTest, AnInputUsedTwiceSumsItsGradients) {
  const Tensor w = random({4, 4}, 2), v = random({8, 4}, 3), down = random({4, 4}, 4);
  const Tensor gain = random({4}, 5);
  expect_gradient(
      [&](const Tensor& x) {
        return residual_norm(linear(x, w), swiglu_mlp(x, v, down), gain, gain, 1e-5f).z;
      },
      random({5, 4}, 1));
}

/// The stream's gradient buffer is handed from step to step; what else uses the stream must still
/// get and give its own.
TEST_F(ChainTest, HandedOverStreamGradientsDoNotMix) {
  const Tensor gain = random({4}, 2), other = random({4}, 3);
  const Chain chain = [&](const Tensor& x) {
    const Residual one = residual_norm(x, linear(x, random({4, 4}, 4)), gain, other, 1e-5f);
    const Residual two = residual_norm(one.y, one.z, {}, gain, 1e-5f);
    const Residual three = residual_norm(two.y, rmsnorm(one.y, other, 1e-5f), other, gain, 1e-5f);
    return concat_norm(residual_norm(one.y, three.z, gain, other, 1e-5f).y, gain, three.y, other,
                       1e-5f);
  };
  expect_gradient(chain, random({5, 4}, 1));
}

TEST_F(ChainTest, OneTensorAsStreamAndBranch) {
  const Tensor gain = random({4}, 2);
  expect_gradient([&](const Tensor& x) { return residual_norm(x, x, gain, gain, 1e-5f).y; },
                  random({3, 4}, 1));
  expect_gradient([&](const Tensor& x) { return residual_norm(x, x, {}, gain, 1e-5f).z; },
                  random({3, 4}, 1));
}

TEST_F(ChainTest, RecomputationGivesTheSameBits) {
  const Tensor w = random({8, 4}, 2), down = random({4, 4}, 4), gain = random({4}, 5);
  const Block block = [&](const std::vector<Tensor>& in) -> std::vector<Tensor> {
    const Residual out = residual_norm(in[0], swiglu_mlp(in[1], w, down), gain, gain, 1e-5f);
    return {out.y, out.z};
  };
  auto chain = [&](bool again) -> Chain {
    return [&, again](const Tensor& x) {
      const std::vector<Tensor> in{x, rmsnorm(x, gain, 1e-5f)};
      const std::vector<Tensor> out = again ? recompute(block, in) : block(in);
      return linear(out[1], down);  // out[0] is not used any more
    };
  };
  const Tensor x = random({5, 4}, 1), seed = random({5, 4}, 9);
  EXPECT_EQ(by_tape(chain(false), x, seed), by_tape(chain(true), x, seed));
}

TEST_F(TapeTest, ATapeGivesBackItsMemoryAndIsUsedAgain) {
  const Tensor x = random({3, 4}, 1);
  Tensor weight = random({4, 4}, 2);
  GradSlot slot;
  weight.set_slot(&slot);
  const size_t before = used();
  Tape tape;
  std::vector<float> first;
  for (int step = 0; step < 3; ++step) {
    Tensor y = x;
    slot.reset();
    {
      const Tape::Recording recording(&tape);
      for (int i = 0; i < 2000; ++i) y = linear(y, weight);  // several chunks of nodes
    }
    EXPECT_EQ(tape.node_count(), 2000u);
    give_grad(y.slot(), random({3, 4}, 3));
    y = {};
    tape.backward();
    EXPECT_EQ(tape.node_count(), 0u);
    EXPECT_EQ(used(), before + Allocator::class_bytes(slot.grad.bytes()));
  }
  {
    const Tape::Recording recording(&tape);
    linear(linear(x, weight), weight);
  }
  tape.clear();  // a forward whose gradient nobody asked for
  EXPECT_EQ(used(), before + Allocator::class_bytes(slot.grad.bytes()));
}

TEST_F(TapeTest, ANodeThatThrowsLeavesNothingBehind) {
  const Tensor x = random({3, 4}, 1);
  Tensor weight = random({4, 4}, 2);
  GradSlot slot;
  weight.set_slot(&slot);
  const size_t before = used();
  {
    Tape tape;
    {
      const Tape::Recording recording(&tape);
      const Tensor y = linear(linear(x, weight), weight);
      Tensor bad = random({3, 4}, 3);
      *bad.f32() = INFINITY;
      give_grad(y.slot(), bad);
    }
    device_.set_finite_check(true);
    EXPECT_THROW(tape.backward(), Error);
    device_.set_finite_check(false);
    EXPECT_EQ(Tape::current(), nullptr);
  }
  slot = {};
  EXPECT_EQ(used(), before);
}

/// The first step makes activations and gradients, the second finds the gradients' blocks taken;
/// from the third on everything comes from the allocator's cache.
TEST(TrainingMemoryTest, FromTheThirdStepOnTheSystemGivesNoMemory) {
  Device device("test", &best_cpu_kernels());
  ModelConfig config = read_config(std::filesystem::path(UM_SOURCE_DIR) / "configs/nano-ultra");
  config.vocab = 300;
  for (const bool recompute : {false, true}) {
    const auto model = make_model(config, device);
    model->params().initialize(1);
    Batch batch;
    batch.seq_offsets = {0, 20, 21, 64};
    for (int32_t t = 0; t < 64; ++t) {
      batch.tokens.push_back((7 * t) % 300);
      batch.targets.push_back((7 * t + 7) % 300);
      batch.positions.push_back(t < 20 ? t : t < 21 ? 0 : t - 21);
    }
    const std::vector<Batch> batches{batch, batch};
    BalanceLoss balance(BalanceScope::ep_group, 0.01, model->moe_layers(), model->moe_layers());
    size_t allocations = 0, used = 0;
    for (int step = 0; step < 6; ++step) {
      model->params().reset_grads();
      NextTokenObjective({.mtp_weight = 0.3})
          .run(*model, batches, {.gradients = true, .recompute = recompute, .balance = &balance});
      if (step > 1) {
        EXPECT_EQ(device.allocator().system_allocations(), allocations) << "step " << step;
        EXPECT_EQ(device.allocator().used_bytes(), used) << "step " << step;
      }
      allocations = device.allocator().system_allocations();
      used = device.allocator().used_bytes();
    }
  }
}

}  // namespace
}  // namespace um
