// A steady decode step (the same requests, one row each) takes no memory: not from the system for
// tensors, not from the heap for anything else.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "engine/engine.h"
#include "engine/step.h"
#include "tests/engine/heap_calls_util.h"
#include "tests/engine/tiny_model_util.h"

namespace um {
namespace {

struct CountingSink : RequestSink {
  size_t on_tokens(std::span<const TokenOutput> tokens) override {
    count += std::ssize(tokens);
    return tokens.size();
  }
  void on_finish(FinishReason, const RequestStats&, std::string_view) override {}
  int64_t count = 0;
};

/// Two requests on the preset's model, past their prompts and a few tokens.
class SteadyEngine {
 public:
  explicit SteadyEngine(const std::string& preset, int64_t drafts = 0)
      : model_(random_model(preset)),
        engine_(*model_, {.cache_tokens = 1024, .draft_tokens = drafts, .adapt_drafts = false}) {
    for (const size_t length : {70u, 75u}) {
      sinks_.push_back(std::make_shared<CountingSink>());
      engine_.submit({.prompt = random_ids(length, model_->config().vocab, length),
                      .sampling = {.temperature = 0},
                      .max_tokens = 1000},
                     sinks_.back());
    }
    for (int i = 0; i < 5; ++i) engine_.step();
  }
  void step() { engine_.step(); }
  int64_t tokens() const { return sinks_[0]->count + sinks_[1]->count; }
  size_t system_allocations() const { return model_->device().allocator().system_allocations(); }

 private:
  std::unique_ptr<Model> model_;
  Engine engine_;
  std::vector<std::shared_ptr<CountingSink>> sinks_;
};

class SteadyStep : public testing::TestWithParam<const char*> {};

TEST_P(SteadyStep, TakesNoMemory) {
  SteadyEngine engine(GetParam());
  const size_t from_system = engine.system_allocations();
  const int64_t from_heap = heap_calls(), before = engine.tokens();
  constexpr int kSteps = 56;  // both requests come to a new page; the rope table has room
  for (int i = 0; i < kSteps; ++i) engine.step();
  EXPECT_EQ(engine.tokens() - before, 2 * kSteps);
  EXPECT_EQ(engine.system_allocations(), from_system);
  EXPECT_EQ(heap_calls() - from_heap, 0);
}

INSTANTIATE_TEST_SUITE_P(Presets, SteadyStep,
                         testing::Values("tiny-ultra", "tiny-embedded", "tiny-pro"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST(SteadyStep, TheHeapIsCounted) {
  if (!counts_heap_calls()) GTEST_SKIP() << "a sanitizer has an operator new of its own";
  const int64_t before = heap_calls();
  const auto something = std::make_unique<std::vector<int>>(3);
  EXPECT_EQ(heap_calls() - before, 2);
}

/// What is made in place is what is made anew, also after larger and smaller batches.
TEST(SteadyStep, ViewsInPlaceAreThoseMadeAnew) {
  const auto model = random_model("tiny-ultra");
  KvPool pool = model->make_pool(64);
  std::vector<int32_t> pages(20);
  for (size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<int32_t>((7 * i + 3) % 64);
  const auto part = [&](size_t begin, size_t count) {
    return std::span(pages).subspan(begin, count);
  };
  const std::vector<std::vector<KvSequence>> batches = {
      {{part(0, 3), 0, 70, true}, {part(3, 2), 100, 1, false}},
      {{part(0, 3), 70, 1, false}, {part(3, 2), 101, 1, false}},
      {{part(0, 3), 71, 1, false}, {part(3, 18 - 1), 102, 1, false}},
      {{part(5, 1), 5, 2, false}},
  };
  const auto ints = [](const Tensor& t) {
    return std::vector<int32_t>(t.i32(), t.i32() + t.count());
  };
  const auto longs = [](const Tensor& t) {
    return std::vector<int64_t>(t.i64(), t.i64() + t.count());
  };
  KvView view;
  Ragged ragged;
  for (const auto& batch : batches) {
    std::vector<SequenceRows> rows;
    for (const KvSequence& s : batch) rows.push_back({s.past, s.rows});
    view.assign(pool, batch);
    ragged.assign(model->device(), rows);
    const KvView new_view = KvView::make(pool, batch);
    const Ragged new_ragged = Ragged::batch(model->device(), rows);
    EXPECT_EQ(ints(view.pages), ints(new_view.pages));
    EXPECT_EQ(ints(view.slots), ints(new_view.slots));
    EXPECT_EQ(ints(view.prompt_slots), ints(new_view.prompt_slots));
    EXPECT_EQ(view.prompt_rows, new_view.prompt_rows);
    EXPECT_EQ(longs(ragged.q_offsets), longs(new_ragged.q_offsets));
    EXPECT_EQ(longs(ragged.kv_offsets), longs(new_ragged.kv_offsets));
    EXPECT_EQ(ints(ragged.positions), ints(new_ragged.positions));
    EXPECT_EQ(ints(ragged.sequence_of), ints(new_ragged.sequence_of));
    EXPECT_EQ(ragged.max_position, new_ragged.max_position);
  }
}

}  // namespace
}  // namespace um
