// Embedding look-up and gradient, with repeated and invalid ids.
#include <gtest/gtest.h>

#include "core/dtype.h"
#include "tests/kernels/harness_util.h"

namespace um::test {
namespace {

struct Case {
  OpHarness h;
  Embedding forward;
  EmbeddingGrad backward;
  Case(int64_t tokens, int64_t cols, int64_t vocab, bool accumulate, bool invalid = true) {
    std::vector<int32_t> ids;
    for (int64_t t = 0; t < tokens; ++t) {
      ids.push_back(static_cast<int32_t>(h.random()() % static_cast<uint64_t>(vocab)));
    }
    if (invalid && tokens > 2) ids[0] = -1, ids[1] = static_cast<int32_t>(vocab), ids[2] = 1 << 30;
    forward = {.tokens = tokens,
               .cols = cols,
               .vocab = vocab,
               .ids = h.input(ids),
               .table = {h.input(vocab * cols), cols},
               .y = h.output(tokens * cols)};
    backward = {.tokens = tokens,
                .cols = cols,
                .vocab = vocab,
                .ids = forward.ids,
                .dy = h.input(tokens * cols),
                .dtable = h.output(vocab * cols),
                .accumulate = accumulate};
  }
  void run(const Kernels& k) const {
    k.embedding(forward);
    k.embedding_grad(backward);
  }
};

TEST(EmbeddingKernel, ParityIsExact) {
  for (int64_t cols : kOddSizes) {
    for (int64_t tokens : {0, 1, 9, 300}) {
      for (bool accumulate : {false, true}) {
        Case c(tokens, cols, 11, accumulate);
        c.h.expect_parity([&](const Kernels& k) { c.run(k); }, 0);
      }
    }
  }
}

TEST(EmbeddingKernel, Bf16RowsAreWidened) {
  for (int64_t cols : kOddSizes) {
    Case c(9, cols, 11, false);
    std::vector<uint16_t> table;
    for (int64_t i = 0; i < 11 * cols; ++i)
      table.push_back(bf16_from_f32(c.forward.table.f32()[i]));
    c.forward.table = {table.data(), cols};
    c.h.expect_parity([&](const Kernels& k) { k.embedding(c.forward); }, 0);
    ref::kTable.embedding(c.forward);
    EXPECT_EQ(c.forward.y[4 * cols], f32_from_bf16(table[c.forward.ids[4] * cols]));
  }
}

TEST(EmbeddingKernel, InvalidIdsGiveZeroRows) {
  Case c(4, 5, 7, false);
  ref::kTable.embedding(c.forward);
  for (int64_t i = 0; i < 15; ++i) EXPECT_EQ(c.forward.y[i], 0.0f);
  EXPECT_EQ(c.forward.y[15], c.forward.table.f32()[c.forward.ids[3] * 5]);
}

TEST(EmbeddingKernel, Gradient) {
  Case c(9, 5, 4, false);
  c.h.expect_gradient([&](const Kernels& k) { k.embedding(c.forward); },
                      [&](const Kernels& k) { k.embedding_grad(c.backward); },
                      {{c.forward.table.f32(), c.backward.dtable, 20}},
                      {{c.forward.y, c.backward.dy, 45}});
}

TEST(EmbeddingKernel, SameBitsForThreads) {
  Case c(500, 100, 30, true);
  c.h.expect_same_bits_for_threads([&](const Kernels& k) { c.run(k); });
}

}  // namespace
}  // namespace um::test
