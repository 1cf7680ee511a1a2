// The walk over a kernel's results, which the finite check uses, comes to every element of them.
#include "kernels/outputs.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace um {
namespace {

/// MLA's layout: a head's keys and values side by side in one matrix, and a shared rotary part.
TEST(Outputs, AttentionGradIsWalkedOverWhole) {
  constexpr int64_t kHeads = 3, kNope = 4, kValue = 5, kRope = 2, kKeys = 6, kQueries = 4;
  constexpr int64_t kLd = kHeads * (kNope + kValue), kLdq = kHeads * (kNope + kRope);
  const int64_t q_offsets[] = {0, 1, kQueries}, kv_offsets[] = {0, 2, kKeys};
  std::vector<float> dq(kQueries * kLdq), dkv(kKeys * kLd), dk_rope(kKeys * kRope);
  AttentionGrad args;
  args.forward = {.heads = kHeads,
                  .kv_heads = kHeads,
                  .qk_dim = kNope,
                  .rope_dim = kRope,
                  .v_dim = kValue,
                  .sequences = 2,
                  .q_offsets = q_offsets,
                  .kv_offsets = kv_offsets,
                  .ldq = kLdq,
                  .ldk = kLd,
                  .k_head_stride = kNope + kValue,
                  .ld_k_rope = kRope,
                  .ldv = kLd,
                  .v_head_stride = kNope + kValue};
  args.dq = dq.data();
  args.dk = dkv.data();
  args.dv = dkv.data() + kNope;
  args.dk_rope = dk_rope.data();
  std::set<const float*> seen;
  const auto see = [&](const char*, const float* data, int64_t rows, int64_t cols, int64_t ld) {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c) seen.insert(data + r * ld + c);
  };
  visit_outputs(args, see);
  for (const auto* all : {&dq, &dkv, &dk_rope})
    for (const float& value : *all) EXPECT_TRUE(seen.contains(&value));
  EXPECT_EQ(seen.size(), dq.size() + dkv.size() + dk_rope.size());
}

}  // namespace
}  // namespace um
