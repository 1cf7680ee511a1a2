// FLOPs and bytes of a few calls, worked out by hand.
#include "kernels/cost.h"

#include <gtest/gtest.h>

namespace um {
namespace {

TEST(CostTest, Matmul) {
  const Cost c = cost(Matmul{.m = 2, .n = 3, .k = 5});
  EXPECT_EQ(c.flops, 60);
  EXPECT_EQ(c.bytes, 4 * (10 + 15 + 6));
  const Cost batched = cost(Matmul{.m = 2,
                                   .n = 3,
                                   .k = 5,
                                   .accumulate = true,
                                   .batch = 4,
                                   .stride_a = 10,
                                   .rows_b = 0,
                                   .stride_c = 6});
  EXPECT_EQ(batched.flops, 240);
  EXPECT_EQ(batched.bytes, 4 * (40 + 15 + 48));
}

TEST(CostTest, Bf16WeightsAreHalfTheBytes) {
  const uint16_t weights[1] = {0};
  EXPECT_EQ(cost(Matmul{.m = 2, .n = 3, .k = 5, .b = {weights, 5}}).bytes, 4 * (10 + 6) + 2 * 15);
  EXPECT_EQ(cost(GroupedMatmul{.groups = 8, .rows = 2, .n = 3, .k = 5, .b = {weights, 5}}).bytes,
            4 * (2 * 5 + 2 * 3) + 2 * 2 * 15);
}

TEST(CostTest, GroupedMatmulReadsOnlyActiveGroups) {
  GroupedMatmul a{.groups = 8, .rows = 2, .n = 3, .k = 5};
  EXPECT_EQ(cost(a).flops, 60);
  EXPECT_EQ(cost(a).bytes, 4 * (2 * 5 + 2 * 15 + 2 * 3));
  a.kind = GroupedMatmul::Kind::grad_weight;
  EXPECT_EQ(cost(a).bytes, 4 * (2 * 8 + 8 * 15));
}

TEST(CostTest, AttentionCountsTheCausalHalf) {
  const int64_t q[] = {0, 3, 4}, kv[] = {0, 3, 9};  // 3 of 3, then 1 of 6
  Attention a{.heads = 4,
              .kv_heads = 2,
              .qk_dim = 8,
              .rope_dim = 2,
              .v_dim = 6,
              .sequences = 2,
              .q_offsets = q,
              .kv_offsets = kv};
  const double pairs = 6 + 6;
  EXPECT_EQ(cost(a).flops, 4 * pairs * 2 * (8 + 2 + 6));
  EXPECT_EQ(cost(a).bytes, 4 * (4 * 4 * (8 + 2 + 6) + 9 * (2 * 8 + 2 + 2 * 6) + 4 * 4));
  AttentionGrad g{.forward = a};
  EXPECT_EQ(cost(g).flops, 2 * cost(a).flops);
  a.q_offsets = a.kv_offsets = nullptr;
  EXPECT_EQ(cost(a).flops, 0);
}

TEST(CostTest, AbsorbedAttentionReadsTheLatentOnce) {
  const int64_t q[] = {0, 1}, kv[] = {0, 100};
  const Attention a{.heads = 16,
                    .kv_heads = 1,
                    .qk_dim = 576,
                    .v_dim = 512,
                    .sequences = 1,
                    .q_offsets = q,
                    .kv_offsets = kv};
  EXPECT_EQ(cost(a).bytes, 4 * (16 * (576 + 512) + 100 * 576 + 16));
  EXPECT_EQ(cost(a).flops, 16.0 * 100 * 2 * (576 + 512));
}

TEST(CostTest, OptionalArraysCountWhenPresentOrDry) {
  float data = 0;
  RmsNorm a{.rows = 3, .cols = 10};
  EXPECT_EQ(cost(a).bytes, 4 * (30 + 10 + 30 + 3));
  a.x = &data;
  EXPECT_EQ(cost(a).bytes, 4 * (30 + 10 + 30));
  EXPECT_EQ(cost(AdamW{.count = 7}).bytes, 7 * 28);
  EXPECT_EQ(cost(Add{.count = 7}).bytes, 7 * 12);
  EXPECT_EQ(cost(MoePermute{.tokens = 5, .experts = 4, .top_k = 2}).bytes, 10 * 16 + 5 * 8);
}

TEST(CostTest, EveryOpOfNothingIsFree) {
#define UM_EMPTY_COST(function, Args) EXPECT_EQ(cost(Args{}).flops, 0) << #function;
  UM_KERNEL_LIST(UM_EMPTY_COST)
#undef UM_EMPTY_COST
}

}  // namespace
}  // namespace um
