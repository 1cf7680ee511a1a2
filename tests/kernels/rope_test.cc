// RoPE on part of each head, both layouts, and MLA's fused latent norm + RoPE.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/harness_util.h"

namespace um::test {
namespace {

constexpr int64_t kPositions = 50;

// A table of true angles, so that rotations keep lengths.
std::vector<float> angles(int64_t dim) {
  std::vector<float> table;
  for (int64_t p = 0; p < kPositions; ++p) {
    for (int part = 0; part < 2; ++part) {
      for (int64_t i = 0; i < dim / 2; ++i) {
        const double angle = static_cast<double>(p) * std::pow(100.0, -2.0 * i / dim);
        table.push_back(static_cast<float>(part ? std::sin(angle) : std::cos(angle)));
      }
    }
  }
  return table;
}

struct RopeCase {
  OpHarness h;
  Rope a;
  RopeCase(int64_t rows, int64_t heads, int64_t begin, int64_t dim, int64_t after, int variant) {
    const int64_t head_dim = begin + dim + after, ldx = heads * head_dim + 3, ldy = ldx + 2;
    a = {.rows = rows,
         .heads = heads,
         .head_dim = head_dim,
         .begin = begin,
         .dim = dim,
         .x = h.input(rows * ldx),
         .ldx = ldx,
         .positions = h.random_ids(rows, kPositions),
         .table = h.input(angles(dim)),
         .interleave = (variant & 1) != 0,
         .inverse = (variant & 2) != 0,
         .y = h.output(rows * ldy),
         .ldy = ldy,
         .accumulate = (variant & 4) != 0};
  }
};

TEST(RopeKernel, Parity) {
  for (int64_t dim : {2, 6, 8, 16, 30, 34, 64, 128}) {
    for (int variant = 0; variant < 8; ++variant) {
      for (int64_t rows : {0, 1, 70}) {
        SCOPED_TRACE(testing::Message() << rows << " rows, dim " << dim << ", " << variant);
        RopeCase c(rows, variant + 1, dim % 16, dim, variant % 3 * 5, variant);
        c.h.expect_parity([&](const Kernels& k) { k.rope(c.a); });
      }
    }
  }
}

TEST(RopeKernel, InPlace) {
  for (int variant : {0, 1}) {
    RopeCase c(20, 3, 5, 34, 2, variant);
    c.a.x = c.a.y;
    c.a.ldx = c.a.ldy;
    c.h.expect_parity([&](const Kernels& k) { k.rope(c.a); });
  }
}

TEST(RopeKernel, InverseUndoes) {
  for (int variant : {0, 1}) {
    RopeCase c(9, 2, 3, 16, 4, variant);
    Rope back = c.a;
    back.x = c.a.y;
    back.ldx = c.a.ldy;
    back.inverse = true;
    ref::kTable.rope(c.a);
    ref::kTable.rope(Rope{back});
    for (int64_t row = 0; row < 9; ++row) {
      for (int64_t i = 0; i < 2 * c.a.head_dim; ++i) {
        EXPECT_NEAR(c.a.y[row * c.a.ldy + i], c.a.x[row * c.a.ldx + i], 1e-5);
      }
    }
  }
}

TEST(RopeKernel, RotatesByHand) {
  OpHarness h;
  const float* x = h.input(std::vector<float>{1, 2, 3, 4});
  float* y = h.output(4);
  Rope a{.rows = 1,
         .heads = 1,
         .head_dim = 4,
         .begin = 0,
         .dim = 4,
         .x = x,
         .ldx = 4,
         .positions = h.input(std::vector<int32_t>{1}),
         .table = h.input(std::vector<float>{9, 9, 9, 9, 0, 1, 1, 0}),
         .y = y,
         .ldy = 4};
  ref::kTable.rope(a);  // pairs (1,3) by 90 degrees, (2,4) by none
  EXPECT_EQ(std::vector<float>(y, y + 4), (std::vector<float>{-3, 2, 1, 4}));
  a.interleave = true;  // pairs (1,2) by 90 degrees, (3,4) by none
  ref::kTable.rope(a);
  EXPECT_EQ(std::vector<float>(y, y + 4), (std::vector<float>{-2, 1, 3, 4}));
}

TEST(RopeKernel, Gradient) {
  for (int variant : {0, 1}) {
    RopeCase c(5, 2, 3, 10, 4, variant);
    const int64_t ld = c.a.ldx;
    Rope back = c.a;
    c.a.ldy = ld;
    back.x = c.h.input(5 * ld);
    back.y = c.h.output(5 * ld);
    back.ldy = ld;
    back.inverse = true;
    // Padding between rows takes part in no gradient: give it none, and draw no direction there.
    const Rope forward = c.a;
    auto backward = [&](const Kernels& k) {
      std::fill_n(back.y, 5 * ld, 0.0f);
      k.rope(back);
    };
    auto zero_padding = [&](const Kernels& k) {
      std::fill_n(forward.y, 5 * ld, 0.0f);
      k.rope(forward);
    };
    c.h.expect_gradient(zero_padding, backward, {{forward.x, back.y, 5 * ld}},
                        {{forward.y, back.x, 5 * ld}});
  }
}

TEST(RopeKernel, Bits) {
  for (int variant : {0, 1}) {
    RopeCase c(300, 4, 16, 22, 0, variant);
    c.h.expect_same_bits_for_threads([&](const Kernels& k) { k.rope(c.a); });
    c.h.expect_rows_independent(300, [&](const Kernels& k, int64_t first, int64_t count) {
      Rope a = c.a;
      a.rows = count;
      a.x += first * a.ldx, a.y += first * a.ldy, a.positions += first;
      k.rope(a);
    });
  }
}

struct LatentCase {
  OpHarness h;
  LatentNormRope forward;
  LatentNormRopeGrad backward;
  LatentCase(int64_t rows, int64_t rank, int64_t dim, int64_t pad, bool interleave,
             bool accumulate) {
    const int64_t ld = rank + dim + pad;
    forward = {.rows = rows,
               .rank = rank,
               .dim = dim,
               .kv_a = h.input(rows * ld),
               .ld_kv_a = ld,
               .gain = h.input(rank, 0.5f, 1),
               .eps = 1e-6f,
               .positions = h.random_ids(rows, kPositions),
               .table = h.input(angles(dim)),
               .interleave = interleave,
               .latent = h.output(rows * (rank + pad)),
               .ld_latent = rank + pad,
               .k_rope = h.output(rows * (dim + pad)),
               .ld_k_rope = dim + pad,
               .inv_rms = h.output(rows)};
    backward = {.rows = rows,
                .rank = rank,
                .dim = dim,
                .dlatent = h.input(rows * rank),
                .dk_rope = h.input(rows * dim),
                .kv_a = forward.kv_a,
                .ld_kv_a = ld,
                .gain = forward.gain,
                .inv_rms = forward.inv_rms,
                .positions = forward.positions,
                .table = forward.table,
                .interleave = interleave,
                .dkv_a = h.output(rows * (rank + dim)),
                .accumulate_dkv_a = accumulate,
                .dgain = h.output(rank),
                .accumulate_dgain = accumulate};
  }
  void run(const Kernels& k) const {
    k.latent_norm_rope(forward);
    k.latent_norm_rope_grad(backward);
  }
};

TEST(LatentNormRopeKernel, Parity) {
  for (int64_t rank : kOddSizes) {
    for (int64_t rows : {0, 1, 67}) {
      for (bool flag : {false, true}) {
        SCOPED_TRACE(testing::Message() << rows << " x " << rank << ", " << flag);
        LatentCase c(rows, rank, 2 + rank / 4 * 2, rows % 2 * 3, flag, flag != (rank % 2 == 0));
        c.h.expect_parity([&](const Kernels& k) { c.run(k); }, 2e-6, 1);
      }
    }
  }
}

/// With slots every row goes to its row of a pool, with the same bits.
TEST(LatentNormRopeKernel, Slots) {
  const int64_t rows = 67, rank = 33, dim = 8, width = rank + dim;
  LatentCase c(rows, rank, dim, 3, true, false);
  std::vector<int32_t> slots(2 * rows);
  for (int64_t i = 0; i < 2 * rows; ++i) slots[i] = static_cast<int32_t>(2 * rows - 1 - i);
  std::swap(slots[3], slots[50]);
  slots.resize(rows);
  LatentNormRope pooled = c.forward;
  pooled.slots = c.h.input(slots);
  pooled.latent = c.h.output(2 * rows * width);
  pooled.k_rope = pooled.latent + rank;
  pooled.ld_latent = pooled.ld_k_rope = width;
  pooled.inv_rms = nullptr;
  c.h.expect_parity([&](const Kernels& k) { k.latent_norm_rope(pooled); }, 2e-6, 1);
  c.h.expect_same_bits_for_threads([&](const Kernels& k) { k.latent_norm_rope(pooled); });
  const auto check = [&](const Kernels& k) {
    k.latent_norm_rope(c.forward);
    k.latent_norm_rope(pooled);
    for (int64_t r = 0; r < rows; ++r) {
      const float *to = pooled.latent + slots[r] * width, *x = c.forward.latent;
      const float *latent = x + r * c.forward.ld_latent,
                  *rope = c.forward.k_rope + r * c.forward.ld_k_rope;
      EXPECT_TRUE(std::equal(latent, latent + rank, to)) << k.name << " row " << r;
      EXPECT_TRUE(std::equal(rope, rope + dim, to + rank)) << k.name << " row " << r;
    }
  };
  c.h.expect_parity(check, 2e-6, 1);
}

TEST(LatentNormRopeKernel, MissingGradients) {
  for (int missing = 0; missing < 6; ++missing) {
    SCOPED_TRACE(missing);
    LatentCase c(66, 33, 8, 0, false, missing > 3);
    if (missing == 0 || missing == 4) c.backward.dlatent = nullptr;
    if (missing == 1 || missing == 5) c.backward.dk_rope = nullptr;
    if (missing == 2) c.backward.dkv_a = nullptr;
    if (missing == 3) c.backward.dgain = nullptr;
    c.h.expect_parity([&](const Kernels& k) { c.run(k); }, 2e-6, 1);
  }
}

TEST(LatentNormRopeKernel, Gradient) {
  for (bool interleave : {false, true}) {
    LatentCase c(4, 17, 6, 0, interleave, false);
    c.h.expect_gradient(
        [&](const Kernels& k) { k.latent_norm_rope(c.forward); },
        [&](const Kernels& k) { k.latent_norm_rope_grad(c.backward); },
        {{c.forward.kv_a, c.backward.dkv_a, 4 * 23}, {c.forward.gain, c.backward.dgain, 17}},
        {{c.forward.latent, c.backward.dlatent, 4 * 17},
         {c.forward.k_rope, c.backward.dk_rope, 4 * 6}});
  }
}

TEST(LatentNormRopeKernel, Bits) {
  LatentCase c(300, 200, 34, 0, true, true);
  c.h.expect_same_bits_for_threads([&](const Kernels& k) { c.run(k); });
  c.h.expect_rows_independent(300, [&](const Kernels& k, int64_t first, int64_t count) {
    LatentNormRope f = c.forward;
    f.rows = count;
    f.kv_a += first * f.ld_kv_a, f.latent += first * f.ld_latent;
    f.k_rope += first * f.ld_k_rope, f.positions += first, f.inv_rms += first;
    k.latent_norm_rope(f);
    LatentNormRopeGrad b = c.backward;
    b.rows = count;
    b.dlatent += first * 200, b.dk_rope += first * 34, b.kv_a += first * b.ld_kv_a;
    b.inv_rms += first, b.positions += first, b.dkv_a += first * 234;
    b.dgain = nullptr;
    k.latent_norm_rope_grad(b);
  });
}

}  // namespace
}  // namespace um::test
