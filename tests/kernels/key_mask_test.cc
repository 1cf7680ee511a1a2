// Key masks: windows and the indexer's choice, backends against the reference, in pages too; and
// attention under a mask against attention over the keys that it shows.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tests/kernels/harness_util.h"

namespace um::test {
namespace {

/// Sequences of `queries` rows, each the last of its `own` keys, behind `sinks` others.
struct Case {
  OpHarness h;
  KeyMask args;
  int64_t rows, keys;

  Case(const std::vector<int64_t>& queries, const std::vector<int64_t>& past, int64_t sinks) {
    std::vector<int64_t> q{0}, kv{0};
    for (size_t i = 0; i < queries.size(); ++i) {
      q.push_back(q.back() + queries[i]);
      kv.push_back(kv.back() + sinks + queries[i] + (past.empty() ? 0 : past[i]));
    }
    rows = q.back();
    keys = kv.back();
    int64_t longest = 0;
    for (size_t i = 0; i < queries.size(); ++i) longest = std::max(longest, kv[i + 1] - kv[i]);
    args.sequences = static_cast<int64_t>(queries.size());
    args.sinks = sinks;
    args.q_offsets = h.input(q);
    args.kv_offsets = h.input(kv);
    args.ld_mask = longest / 64 + 2;
    args.mask = h.output_i64(rows * args.ld_mask);
  }
  void index(int64_t heads, int64_t dim, int64_t top_k, int64_t key_rows) {
    args.top_k = top_k;
    args.heads = heads;
    args.dim = dim;
    args.ldq = heads * dim + 3;
    args.q = h.input(rows * args.ldq);
    args.ld_weights = heads + 1;
    args.weights = h.input(rows * args.ld_weights);
    args.scale = 0.3f;
    args.ld_keys = dim + 2;
    args.keys = h.input(key_rows * args.ld_keys);
  }
  /// Pages in a random order, the sinks' behind the others.
  void page() {
    const int64_t page_rows = 64, sink_pages = args.sinks / page_rows;
    std::vector<int64_t> need;
    int64_t pages = 0, longest = 0;
    for (int64_t s = 0; s < args.sequences; ++s) {
      const int64_t own = args.kv_offsets[s + 1] - args.kv_offsets[s] - args.sinks;
      need.push_back((own + page_rows - 1) / page_rows);
      pages += need.back();
      longest = std::max(longest, need.back());
    }
    std::vector<int32_t> order(static_cast<size_t>(pages));
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
    std::shuffle(order.begin(), order.end(), h.random());
    args.ld_pages = sink_pages + longest;
    std::vector<int32_t> table(static_cast<size_t>(args.sequences * args.ld_pages), 0);
    size_t used = 0;
    for (int64_t s = 0; s < args.sequences; ++s) {
      for (int64_t i = 0; i < sink_pages; ++i)
        table[static_cast<size_t>(s * args.ld_pages + i)] = static_cast<int32_t>(pages + i);
      for (int64_t i = 0; i < need[static_cast<size_t>(s)]; ++i)
        table[static_cast<size_t>(s * args.ld_pages + sink_pages + i)] = order[used++];
    }
    args.pages = h.input(table);
    args.page_rows = page_rows;
    index(args.heads, args.dim, args.top_k, pages * page_rows + args.sinks);
  }
  void run(const Kernels& k) const { k.key_mask(args); }
};

int64_t count_bits(const KeyMask& a, int64_t row) {
  int64_t count = 0;
  for (int64_t w = 0; w < a.ld_mask; ++w)
    count += __builtin_popcountll(static_cast<uint64_t>(a.mask[row * a.ld_mask + w]));
  return count;
}

TEST(KeyMaskKernel, Window) {
  for (const int64_t window : {1, 6, 63, 64, 65, 500}) {
    Case c({1, 0, 130, 64}, {200, 3, 0, 70}, 64);
    c.args.window = window;
    c.h.expect_parity([&](const Kernels& k) { c.run(k); });
    c.run(ref::kTable);
    EXPECT_EQ(count_bits(c.args, 0), 64 + std::min<int64_t>(window, 201));
    EXPECT_EQ(count_bits(c.args, 1 + 9), 64 + std::min<int64_t>(window, 10));
  }
}

TEST(KeyMaskKernel, Index) {
  for (const int64_t dim : {5, 16, 40})
    for (const int64_t heads : {1, 3, 11}) {
      SCOPED_TRACE(testing::Message() << heads << " heads of " << dim);
      Case c({150, 3, 40}, {}, 0);
      c.index(heads, dim, 17, c.rows);
      c.h.expect_parity([&](const Kernels& k) { c.run(k); });
      c.run(ref::kTable);
      EXPECT_EQ(count_bits(c.args, 100), 17);
      EXPECT_EQ(count_bits(c.args, 151), 2);
    }
}

TEST(KeyMaskKernel, IndexInPages) {
  Case c({1, 5, 70, 2}, {300, 64, 0, 1}, 128);
  c.args.heads = 6;
  c.args.dim = 24;
  c.args.top_k = 20;
  c.page();
  c.h.expect_parity([&](const Kernels& k) { c.run(k); });
}

/// Of equal scores the earlier keys.
TEST(KeyMaskKernel, Ties) {
  Case c({100}, {}, 0);
  c.index(2, 8, 10, 100);
  for (int64_t i = 0; i < 100 * c.args.ld_weights; ++i) const_cast<float*>(c.args.weights)[i] = 0;
  for (const Kernels* k : vector_tables()) {
    c.run(*k);
    EXPECT_EQ(c.args.mask[99 * c.args.ld_mask], 0x3ff);
    EXPECT_EQ(c.args.mask[99 * c.args.ld_mask + 1], 0);
  }
}

TEST(KeyMaskKernel, Bits) {
  Case c({300, 40}, {}, 64);
  c.index(5, 33, 30, c.rows);
  c.h.expect_same_bits_for_threads([&](const Kernels& k) { c.run(k); });
}

/// Attention under masks: f32 keys, the vector kernels against the reference, and rows alone
/// against rows together.
struct Masked {
  OpHarness h;
  Attention a;
  AttentionGrad g;
  int64_t rows, keys;

  Masked(int64_t heads, int64_t kv_heads, int64_t dim, int64_t v_dim, std::vector<int64_t> queries,
         std::vector<int64_t> past, bool sparse) {
    std::vector<int64_t> q{0}, kv{0};
    for (size_t i = 0; i < queries.size(); ++i) {
      q.push_back(q.back() + queries[i]);
      kv.push_back(kv.back() + queries[i] + past[i]);
    }
    rows = q.back();
    keys = kv.back();
    const int64_t words = keys / 64 + 1;
    std::vector<int64_t> mask(static_cast<size_t>(rows * words), 0);
    for (size_t s = 0; s < queries.size(); ++s)
      for (int64_t i = 0; i < queries[s]; ++i) {
        int64_t* row = mask.data() + (q[s] + i) * words;
        const int64_t self = past[s] + i;
        for (int64_t j = 0; j <= self; ++j) {
          const bool seen = j == self || h.random()() % (sparse ? 90 : 2) == 0;
          if (seen) row[j / 64] |= static_cast<int64_t>(uint64_t{1} << (j % 64));
        }
        row[self / 64] |= static_cast<int64_t>(~uint64_t{0} << (self % 64));  // later keys: ignored
      }
    a = {.heads = heads,
         .kv_heads = kv_heads,
         .qk_dim = dim,
         .v_dim = v_dim,
         .sequences = static_cast<int64_t>(queries.size()),
         .q_offsets = h.input(q),
         .kv_offsets = h.input(kv),
         .mask = h.input(mask),
         .ld_mask = words,
         .q = h.input(rows * heads * dim),
         .ldq = heads * dim,
         .k = h.input(keys * kv_heads * dim),
         .ldk = kv_heads * dim,
         .k_head_stride = dim,
         .v = h.input(keys * kv_heads * v_dim),
         .ldv = kv_heads * v_dim,
         .v_head_stride = v_dim,
         .scale = 1.0f / std::sqrt(static_cast<float>(dim)),
         .out = h.output(rows * heads * v_dim),
         .ld_out = heads * v_dim,
         .lse = h.output(heads * rows)};
    g = {.forward = a,
         .dout = h.input(rows * heads * v_dim),
         .dq = h.output(rows * heads * dim),
         .dk = h.output(keys * kv_heads * dim),
         .dv = h.output(keys * kv_heads * v_dim)};
  }
};

TEST(MaskedAttention, Parity) {
  for (const bool sparse : {false, true}) {
    Masked plain(3, 3, 24, 20, {130, 1, 70}, {0, 200, 64}, sparse);
    plain.h.expect_parity(
        [&](const Kernels& k) {
          k.attention(plain.a);
          k.attention_grad(plain.g);
        },
        2e-5, 1);
    Masked decode(16, 1, 40, 32, {1, 3, 1}, {2100, 90, 5}, sparse);  // rows as lanes
    decode.h.expect_parity([&](const Kernels& k) { k.attention(decode.a); }, 2e-5, 1);
    Masked split(2, 2, 16, 16, {8}, {3000}, sparse);  // chunks shared by the threads
    split.h.expect_parity([&](const Kernels& k) { k.attention(split.a); }, 2e-5, 1);
  }
}

TEST(MaskedAttention, Gradient) {
  Masked c(2, 1, 5, 7, {9, 4}, {0, 3}, false);
  c.h.expect_gradient(
      [&](const Kernels& k) { k.attention(c.a); }, [&](const Kernels& k) { k.attention_grad(c.g); },
      {{c.a.q, c.g.dq, c.rows * 10}, {c.a.k, c.g.dk, c.keys * 5}, {c.a.v, c.g.dv, c.keys * 7}},
      {{c.a.out, c.g.dout, c.rows * 14}});
}

TEST(MaskedAttention, Bits) {
  Masked c(4, 4, 24, 32, {200}, {0}, true);
  c.h.expect_same_bits_for_threads([&](const Kernels& k) {
    k.attention(c.a);
    k.attention_grad(c.g);
  });
  // Any range of rows behind the keys before them, alone and with others, by every path.
  std::vector<int64_t> q{0, 0}, kv{0, 0};
  c.a.lse = nullptr;
  c.h.expect_rows_independent(200, [&](const Kernels& k, int64_t first, int64_t count) {
    Attention part = c.a;
    q[1] = count;
    kv[1] = first + count;
    part.q_offsets = q.data();
    part.kv_offsets = kv.data();
    part.q += first * part.ldq;
    part.out += first * part.ld_out;
    part.mask += first * part.ld_mask;
    k.attention(part);
  });
}

}  // namespace
}  // namespace um::test
