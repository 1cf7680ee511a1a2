// Attention: the vector kernels against the reference, the reference's gradient against finite
// differences, and the promises about bits (company, chunks, packing, threads) and memory.
#include <gtest/gtest.h>
#include <malloc.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "kernels/kernels.h"
#include "tests/kernels/harness_util.h"

namespace um {
namespace {

using test::vector_tables;

struct Shape {
  std::string name;
  int64_t heads, kv_heads, qk_dim, rope_dim, v_dim;
  std::vector<int64_t> queries, past;
  bool absorbed = false;  ///< values are the first v_dim channels of the keys
};

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  return out << shape.name;
}

/// Owns every tensor of a call. Rows are longer than needed; the gaps hold NaN.
struct Problem {
  Shape shape;
  std::vector<int64_t> q_offsets{0}, kv_offsets{0};
  std::vector<float> q, k, k_rope, v, out, lse, dout, dq, dk, dk_rope, dv;
  int64_t ldq, ldk, ld_rope, ldv, ld_out;

  explicit Problem(const Shape& s, float magnitude = 1.0f) : shape(s) {
    for (size_t i = 0; i < s.queries.size(); i++) {
      q_offsets.push_back(q_offsets.back() + s.queries[i]);
      kv_offsets.push_back(kv_offsets.back() + s.queries[i] + (s.past.empty() ? 0 : s.past[i]));
    }
    ldq = s.heads * (s.qk_dim + s.rope_dim) + 3;
    ldk = s.kv_heads * s.qk_dim + 5;
    ld_rope = s.rope_dim > 0 ? s.rope_dim + 1 : 0;
    ldv = s.kv_heads * s.v_dim + 2;
    ld_out = s.heads * s.v_dim + 1;
    const int64_t tokens = q_offsets.back(), keys = kv_offsets.back();
    std::mt19937 random(1);
    auto fill = [&](std::vector<float>& to, int64_t rows, int64_t ld, int64_t gap, float scale) {
      std::normal_distribution<float> normal(0.0f, scale);
      to.assign(rows * ld, NAN);
      for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < ld - gap; c++) to[r * ld + c] = normal(random);
      }
    };
    fill(q, tokens, ldq, 3, magnitude);
    fill(k, keys, ldk, 5, magnitude);
    fill(k_rope, keys, ld_rope, s.rope_dim > 0, magnitude);
    fill(v, keys, ldv, 2, 1.0f);
    fill(dout, tokens, ld_out, 1, 1.0f);
    fill(dq, tokens, ldq, 3, 1.0f);
    fill(dk, keys, ldk, 5, 1.0f);
    fill(dk_rope, keys, ld_rope, s.rope_dim > 0, 1.0f);
    fill(dv, keys, ldv, 2, 1.0f);
    out.assign(tokens * ld_out, NAN);
    lse.assign(s.heads * tokens, NAN);
  }

  Attention args() {
    Attention a;
    a.heads = shape.heads;
    a.kv_heads = shape.kv_heads;
    a.qk_dim = shape.qk_dim;
    a.rope_dim = shape.rope_dim;
    a.v_dim = shape.v_dim;
    a.sequences = int64_t(shape.queries.size());
    a.q_offsets = q_offsets.data();
    a.kv_offsets = kv_offsets.data();
    a.q = q.data();
    a.ldq = ldq;
    a.k = k.data();
    a.ldk = ldk;
    a.k_head_stride = shape.qk_dim;
    a.k_rope = k_rope.data();
    a.ld_k_rope = ld_rope;
    a.v = shape.absorbed ? k.data() : v.data();
    a.ldv = shape.absorbed ? ldk : ldv;
    a.v_head_stride = shape.absorbed ? shape.qk_dim : shape.v_dim;
    a.scale = 1.0f / std::sqrt(float(shape.qk_dim + shape.rope_dim));
    a.out = out.data();
    a.ld_out = ld_out;
    a.lse = lse.data();
    return a;
  }
  AttentionGrad grad_args(bool accumulate) {
    AttentionGrad g;
    g.forward = args();
    g.dout = dout.data();
    g.dq = dq.data();
    g.dk = dk.data();
    g.dk_rope = shape.rope_dim > 0 ? dk_rope.data() : nullptr;
    // The absorbed form's values are its keys: so are their gradients' strides.
    g.dv = shape.absorbed ? nullptr : dv.data();
    g.accumulate_dq = g.accumulate_dk = g.accumulate_dk_rope = g.accumulate_dv = accumulate;
    return g;
  }
};

std::vector<Shape> shapes() {
  return {
      {"plain", 2, 2, 16, 0, 16, {5, 40, 64, 65}, {}},
      {"odd", 3, 3, 7, 0, 5, {1, 0, 17, 2, 130}, {}},
      {"tails", 2, 1, 33, 0, 70, {100, 3}, {}},
      {"gqa", 6, 2, 24, 0, 24, {50, 31, 90}, {}},
      {"mla", 4, 4, 32, 32, 64, {256, 20, 77}, {}},
      {"mla_odd", 3, 3, 9, 3, 11, {33, 64, 1}, {}},
      {"mla_gqa", 4, 2, 20, 8, 12, {70}, {}},
      {"wide", 2, 2, 128, 64, 128, {140}, {}},
      {"long", 1, 1, 8, 0, 8, {2500}, {}},
      {"past", 4, 2, 24, 8, 20, {3, 1, 40, 0, 70}, {60, 300, 5, 7, 0}},
      {"decode_long", 4, 2, 16, 0, 16, {1}, {3333}},
      {"absorbed", 16, 1, 80, 0, 64, {1, 2, 9}, {70, 0, 100}, true},
      {"absorbed_long", 20, 1, 24, 0, 16, {2}, {2100}, true},
      {"drafts", 8, 2, 40, 0, 32, {4, 1, 8, 3, 1}, {700, 63, 64, 1300, 511}},
      {"one_long", 16, 1, 40, 0, 32, {1, 2, 1, 3, 1}, {2000, 5, 90, 64, 300}, true},
      // Whole tasks on one thread, chunks shared among several.
      {"many_long", 2, 1, 16, 0, 16, {1, 1, 1, 1, 1}, {1500, 1500, 1500, 1500, 1500}},
      {"empty", 2, 2, 8, 0, 8, {0, 0}, {}},
  };
}

/// A problem's keys and values as bf16 rows, for the shapes without a rope part.
struct Bf16Cache {
  std::vector<uint16_t> k, v;

  /// `a` reads these instead of the f32 rows.
  void set(Attention& a) {
    const int64_t rows = a.kv_offsets[a.sequences];
    const bool shared = a.values_in_keys();
    a.narrow_k = narrow(a.k, rows, a.kv_heads * a.qk_dim, a.ldk, k);
    a.narrow_v = shared ? a.narrow_k : narrow(a.v, rows, a.kv_heads * a.v_dim, a.ldv, v);
    a.k = a.v = nullptr;
  }
  static RowsView narrow(const float* x, int64_t rows, int64_t width, int64_t ld,
                         std::vector<uint16_t>& values) {
    values.assign(rows * width, 0);
    ref::kTable.narrow_rows(
        {.rows = rows, .width = width, .x = x, .ldx = ld, .y = values.data(), .ldy = width});
    return {values.data(), width};
  }
};

/// The same as int8 rows.
struct Int8Cache {
  std::vector<int8_t> k, v;
  std::vector<float> k_scales, v_scales;

  /// `a` reads these instead of the f32 rows.
  void set(Attention& a) {
    const int64_t rows = a.kv_offsets[a.sequences];
    const bool shared = a.values_in_keys();
    a.narrow_k = quantize(a.k, rows, a.kv_heads * a.qk_dim, a.ldk, k, k_scales);
    a.narrow_v =
        shared ? a.narrow_k : quantize(a.v, rows, a.kv_heads * a.v_dim, a.ldv, v, v_scales);
    a.k = a.v = nullptr;
  }
  static RowsView quantize(const float* x, int64_t rows, int64_t width, int64_t ld,
                           std::vector<int8_t>& values, std::vector<float>& scales) {
    const int64_t groups = int8_groups(width);
    values.assign(rows * width, 0);
    scales.assign(rows * groups, NAN);
    ref::kTable.quantize_rows({.rows = rows,
                               .width = width,
                               .x = x,
                               .ldx = ld,
                               .values = values.data(),
                               .ld_values = width,
                               .scales = scales.data(),
                               .ld_scales = groups});
    return {values.data(), width, kInt8CacheRows, scales.data(), groups};
  }
};

/// Largest difference relative to the largest magnitude; NaN equals NaN only.
double difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0, scale = 1e-6;
  for (size_t i = 0; i < a.size(); i++) {
    if (std::isnan(a[i]) != std::isnan(b[i])) return INFINITY;
    if (std::isnan(a[i])) continue;
    worst = std::max(worst, std::abs(double(a[i]) - b[i]));
    scale = std::max(scale, std::abs(double(b[i])));
  }
  return worst / scale;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

void expect_same_grads(const Problem& a, const Problem& b, const std::string& where) {
  EXPECT_TRUE(same_bits(a.dq, b.dq)) << where;
  EXPECT_TRUE(same_bits(a.dk, b.dk)) << where;
  EXPECT_TRUE(same_bits(a.dk_rope, b.dk_rope)) << where;
  EXPECT_TRUE(same_bits(a.dv, b.dv)) << where;
}

void expect_close_grads(const Problem& a, const Problem& b, const std::string& where) {
  EXPECT_LT(difference(a.dq, b.dq), 2e-5) << where;
  EXPECT_LT(difference(a.dk, b.dk), 2e-5) << where;
  EXPECT_LT(difference(a.dk_rope, b.dk_rope), 2e-5) << where;
  EXPECT_LT(difference(a.dv, b.dv), 2e-5) << where;
}

class AttentionShapes : public testing::TestWithParam<Shape> {};
INSTANTIATE_TEST_SUITE_P(Shapes, AttentionShapes, testing::ValuesIn(shapes()),
                         [](const auto& info) { return info.param.name; });

TEST_P(AttentionShapes, ForwardMatchesReference) {
  for (float magnitude : {1.0f, 6.0f}) {
    Problem expected(GetParam(), magnitude);
    ref::kTable.attention(expected.args());
    for (const Kernels* kernels : vector_tables()) {
      Problem found(GetParam(), magnitude);
      kernels->attention(found.args());
      EXPECT_LT(difference(found.out, expected.out), 2e-5) << kernels->name;
      EXPECT_LT(difference(found.lse, expected.lse), 2e-6) << kernels->name;
    }
  }
}

/// What a cache in bf16 gives is what the same numbers in f32 give, to the bit.
TEST_P(AttentionShapes, Bf16KeysAreTheirF32Numbers) {
  if (GetParam().rope_dim > 0) return;
  Problem plain(GetParam());
  for (std::vector<float>* rows : {&plain.k, &plain.v})
    for (float& x : *rows) x = f32_from_bf16(bf16_from_f32(x));
  for (const Kernels* kernels : vector_tables()) {
    kernels->attention(plain.args());
    Problem found(GetParam());
    Bf16Cache cache;
    Attention a = found.args();
    cache.set(a);
    kernels->attention(a);
    EXPECT_TRUE(same_bits(found.out, plain.out)) << kernels->name;
    EXPECT_TRUE(same_bits(found.lse, plain.lse)) << kernels->name;
    Problem expected(GetParam());
    Attention reference = expected.args();
    cache.set(reference);
    ref::kTable.attention(reference);
    EXPECT_LT(difference(found.out, expected.out), 2e-5) << kernels->name;
  }
}

/// A row over int8 keys has the same bits alone as with rows behind it, whose keys it does not see
/// and which are a hundred times as large.
TEST(AttentionInt8, ARowDoesNotDependOnWhatItDoesNotSee) {
  for (const int64_t queries : {2, 3, 40, 90}) {
    Shape shape{"company", 4, 2, 96, 0, 80, {queries}, {70}};
    Problem together(shape);
    const int64_t keys = together.kv_offsets.back();
    for (int64_t r = 71; r < keys; r++)
      for (int64_t c = 0; c < together.ldk - 5; c++) together.k[r * together.ldk + c] *= 100;
    for (int64_t r = 71; r < keys; r++)
      for (int64_t c = 0; c < together.ldv - 2; c++) together.v[r * together.ldv + c] *= 100;
    Problem alone = together;
    alone.q_offsets = {0, 1};
    alone.kv_offsets = {0, 71};
    for (const Kernels* kernels : vector_tables()) {
      Int8Cache cache;
      Attention a = together.args();
      cache.set(a);
      kernels->attention(a);
      Attention one = alone.args();
      one.narrow_k = a.narrow_k;
      one.narrow_v = a.narrow_v;
      one.k = one.v = nullptr;
      kernels->attention(one);
      EXPECT_EQ(std::memcmp(alone.out.data(), together.out.data(), sizeof(float) * 4 * 80), 0)
          << kernels->name << ", " << queries << " queries";
    }
  }
}

/// What is not finite stays so: a NaN in a value reaches the channels of its group and no others,
/// one in a query its row.
TEST(AttentionInt8, NanIsSeen) {
  const Shape shape{"nan", 4, 2, 64, 0, 128, {1}, {99}};
  for (const Kernels* kernels : vector_tables()) {
    Problem problem(shape);
    problem.v[50 * problem.ldv + 70] = NAN;
    problem.q[3 * 64 + 5] = NAN;
    Int8Cache cache;
    Attention a = problem.args();
    cache.set(a);
    kernels->attention(a);
    for (int64_t c = 0; c < 4 * 128; c++) {
      const bool expected = c >= 3 * 128 || (c < 2 * 128 && c % 128 >= 64);
      EXPECT_EQ(std::isnan(problem.out[c]), expected) << kernels->name << ", " << c;
    }
  }
}

TEST_P(AttentionShapes, Int8KeysMatchReference) {
  if (GetParam().rope_dim > 0) return;
  Problem plain(GetParam()), expected(GetParam());
  Int8Cache cache;
  ref::kTable.attention(plain.args());
  Attention reference = expected.args();
  cache.set(reference);
  ref::kTable.attention(reference);
  if (plain.q_offsets.back() > 0) {
    EXPECT_LT(difference(expected.out, plain.out), 0.05);
    EXPECT_GT(difference(expected.out, plain.out), 1e-5);
  }
  for (const Kernels* kernels : vector_tables()) {
    Problem found(GetParam());
    Attention a = found.args();
    a.narrow_k = reference.narrow_k;
    a.narrow_v = reference.narrow_v;
    a.k = a.v = nullptr;
    kernels->attention(a);
    // Scores are rounded to the same integers. Exponentials differ by rounding, and one that falls
    // on the other side of a boundary differs by 1/32767 of its block's largest: 1.8e-5 here.
    EXPECT_LT(difference(found.out, expected.out), 2e-5) << kernels->name;
    EXPECT_LT(difference(found.lse, expected.lse), 2e-6) << kernels->name;
  }
}

TEST_P(AttentionShapes, GradientMatchesReference) {
  for (bool accumulate : {false, true}) {
    Problem expected(GetParam());
    ref::kTable.attention(expected.args());
    ref::kTable.attention_grad(expected.grad_args(accumulate));
    for (const Kernels* kernels : vector_tables()) {
      Problem found(GetParam());
      found.out = expected.out;
      found.lse = expected.lse;
      kernels->attention_grad(found.grad_args(accumulate));
      expect_close_grads(found, expected, kernels->name);
    }
  }
}

/// sum(out * dout) of the reference.
double reference_loss(Problem& p) {
  ref::kTable.attention(p.args());
  double loss = 0;
  for (size_t i = 0; i < p.out.size(); i++) {
    if (!std::isnan(p.out[i])) loss += double(p.out[i]) * p.dout[i];
  }
  return loss;
}

TEST(AttentionTest, ReferenceGradientIsTheDerivative) {
  for (const Shape& shape :
       {Shape{"mla", 2, 2, 3, 2, 4, {4, 1, 3}, {}}, Shape{"gqa", 4, 2, 4, 0, 3, {5}, {}}}) {
    Problem p(shape);
    reference_loss(p);
    ref::kTable.attention_grad(p.grad_args(false));
    auto check = [&](std::vector<float>& x, const std::vector<float>& dx) {
      for (size_t i = 0; i < x.size(); i++) {
        if (std::isnan(x[i])) continue;
        const float kept = x[i], step = 1.0f / 128;
        x[i] = kept + step;
        const double above = reference_loss(p), right = x[i];
        x[i] = kept - step;
        const double slope = (above - reference_loss(p)) / (right - x[i]);
        x[i] = kept;
        EXPECT_NEAR(dx[i], slope, 5e-4) << shape.name << " element " << i;
      }
    };
    check(p.q, p.dq);
    check(p.k, p.dk);
    check(p.k_rope, p.dk_rope);
    check(p.v, p.dv);
  }
}

/// Runs queries begin..end of the only sequence of `whole` as a call of their own, with the keys
/// before them as past, and compares outputs and lse bit by bit.
void expect_same_rows(const Kernels& kernels, Problem& whole, int64_t begin, int64_t end) {
  Attention a = whole.args();
  const int64_t rows = end - begin, q_offsets[2] = {0, rows}, kv_offsets[2] = {0, end};
  std::vector<float> out(rows * whole.ld_out, NAN), lse(a.heads * rows, NAN);
  a.sequences = 1;
  a.q_offsets = q_offsets;
  a.kv_offsets = kv_offsets;
  a.q += begin * a.ldq;
  a.out = out.data();
  a.lse = lse.data();
  kernels.attention(a);
  bool same = 0 == std::memcmp(out.data(), whole.out.data() + begin * whole.ld_out,
                               out.size() * sizeof(float));
  for (int64_t h = 0; h < a.heads; h++) {
    const float* expected = &whole.lse[h * whole.q_offsets.back() + begin];
    same = same && 0 == std::memcmp(&lse[h * rows], expected, rows * sizeof(float));
  }
  EXPECT_TRUE(same) << kernels.name << " " << whole.shape << " queries " << begin << " to " << end;
}

TEST(AttentionTest, RowsKeepTheirBitsAloneAndInChunks) {
  for (const Kernels* kernels : vector_tables()) {
    for (const Shape& shape :
         {Shape{"mla", 3, 3, 12, 20, 24, {150}, {}}, Shape{"gqa", 6, 2, 16, 0, 17, {131}, {}},
          Shape{"absorbed", 9, 1, 40, 0, 32, {100}, {}, true},
          Shape{"long", 2, 1, 8, 0, 8, {3200}, {}}}) {
      Problem whole(shape, 3.0f);
      kernels->attention(whole.args());
      const int64_t length = shape.queries[0];
      const bool is_long = length > 1000;
      for (int64_t t = 0; t < length; t += is_long ? 191 : 1) {
        expect_same_rows(*kernels, whole, t, t + 1);
      }
      for (int64_t chunk : {3, 7, 64, 100, 1025}) {
        if (is_long && chunk < 100) continue;
        for (int64_t t = 0; t < length; t += chunk * (is_long ? 3 : 1)) {
          expect_same_rows(*kernels, whole, t, std::min(t + chunk, length));
        }
      }
    }
  }
}

/// The rows of sequence s of `pack` as a problem of its own.
Problem alone(const Problem& pack, size_t s) {
  Shape shape = pack.shape;
  shape.queries = {pack.shape.queries[s]};
  Problem one(shape);
  const int64_t at = pack.q_offsets[s], rows = shape.queries[0];
  auto copy = [&](const std::vector<float>& from, int64_t ld, std::vector<float>& to) {
    to.assign(from.begin() + at * ld, from.begin() + (at + rows) * ld);
  };
  copy(pack.q, pack.ldq, one.q);
  copy(pack.k, pack.ldk, one.k);
  copy(pack.k_rope, pack.ld_rope, one.k_rope);
  copy(pack.v, pack.ldv, one.v);
  copy(pack.dout, pack.ld_out, one.dout);
  copy(pack.out, pack.ld_out, one.out);
  copy(pack.dq, pack.ldq, one.dq);
  copy(pack.dk, pack.ldk, one.dk);
  copy(pack.dk_rope, pack.ld_rope, one.dk_rope);
  copy(pack.dv, pack.ldv, one.dv);
  return one;
}

TEST(AttentionTest, PackedSequencesKeepTheirBits) {
  for (const Kernels* kernels : vector_tables()) {
    Problem pack({"pack", 4, 2, 20, 12, 24, {20, 200, 0, 1, 65, 130}, {}});
    // A broken neighbour (sequence 3) is company too.
    for (int64_t c = 0; c < pack.ldv; c++) pack.v[220 * pack.ldv + c] = INFINITY;
    kernels->attention(pack.args());
    kernels->attention_grad(pack.grad_args(false));
    for (size_t s = 0; s < pack.shape.queries.size(); s++) {
      if (s == 3) continue;
      const Problem expected = alone(pack, s);
      Problem found = expected;
      kernels->attention(found.args());
      kernels->attention_grad(found.grad_args(false));
      EXPECT_TRUE(same_bits(found.out, expected.out)) << kernels->name << " " << s;
      expect_same_grads(found, expected, std::string(kernels->name) + " " + std::to_string(s));
    }
  }
}

/// The same keys in pages, in an order of their own, among rows of NaN. `first`: only the sequences
/// from there on, as part of a larger batch.
struct Paged {
  static constexpr int64_t kRows = 64;
  std::vector<int32_t> pages;
  std::vector<float> k, k_rope, v;
  Attention args;

  Paged(Problem& p, int64_t first) : args(p.args()) {
    int64_t longest = 1, count = 2;
    for (int64_t s = 0; s < args.sequences; s++) {
      const int64_t keys = p.kv_offsets[s + 1] - p.kv_offsets[s];
      longest = std::max(longest, (keys + kRows - 1) / kRows);
      count += (keys + kRows - 1) / kRows;
    }
    std::vector<int32_t> free(count);
    for (int64_t i = 0; i < count; i++) free[i] = int32_t(i);
    std::shuffle(free.begin(), free.end(), std::mt19937(7));
    pages.assign(args.sequences * longest, -1);
    for (int64_t s = 0; s < args.sequences; s++) {
      for (int64_t j = 0; j < p.kv_offsets[s + 1] - p.kv_offsets[s]; j += kRows) {
        pages[s * longest + j / kRows] = free.back();
        free.pop_back();
      }
    }
    auto spread = [&](const std::vector<float>& from, int64_t ld, std::vector<float>& to) {
      to.assign(count * kRows * ld, NAN);
      for (int64_t s = 0; s < args.sequences; s++) {
        for (int64_t j = 0; j < p.kv_offsets[s + 1] - p.kv_offsets[s]; j++) {
          const int64_t row = pages[s * longest + j / kRows] * kRows + j % kRows;
          std::copy_n(&from[(p.kv_offsets[s] + j) * ld], ld, &to[row * ld]);
        }
      }
    };
    spread(p.k, p.ldk, k);
    if (p.ld_rope > 0) spread(p.k_rope, p.ld_rope, k_rope);
    spread(p.v, p.ldv, v);
    args.k = k.data();
    args.k_rope = k_rope.data();
    args.v = p.shape.absorbed ? k.data() : v.data();
    args.pages = pages.data() + first * longest;
    args.ld_pages = longest;
    args.page_rows = kRows;
    args.first_row = p.q_offsets[first];
    args.sequences -= first;
    args.q_offsets += first;
    args.kv_offsets += first;
    args.q += args.first_row * args.ldq;
    args.out += args.first_row * args.ld_out;
    args.lse = nullptr;
  }
};

TEST_P(AttentionShapes, PagesDoNotChangeBits) {
  std::vector<const Kernels*> tables = vector_tables();
  tables.push_back(&ref::kTable);
  for (const Kernels* kernels : tables) {
    for (const int64_t first : {0, 1}) {
      Problem expected(GetParam()), found(GetParam());
      if (first >= int64_t(expected.shape.queries.size())) continue;
      kernels->attention(expected.args());
      std::fill_n(expected.out.begin(), expected.q_offsets[first] * expected.ld_out, NAN);
      kernels->attention(Paged(found, first).args);
      EXPECT_TRUE(same_bits(found.out, expected.out)) << kernels->name << " from " << first;
    }
  }
}

TEST(AttentionTest, ThreadsDoNotChangeBits) {
  const int threads = omp_get_max_threads();
  for (const Kernels* kernels : vector_tables()) {
    for (const Shape& shape : shapes()) {
      omp_set_num_threads(1);
      Problem one(shape);
      kernels->attention(one.args());
      kernels->attention_grad(one.grad_args(true));
      for (int n : {2, 5}) {
        omp_set_num_threads(n);
        Problem many(shape);
        kernels->attention(many.args());
        kernels->attention_grad(many.grad_args(true));
        const std::string where = std::string(kernels->name) + " " + shape.name;
        EXPECT_TRUE(same_bits(one.out, many.out)) << where;
        EXPECT_TRUE(same_bits(one.lse, many.lse)) << where;
        expect_same_grads(one, many, where);
      }
    }
  }
  omp_set_num_threads(threads);
}

TEST(AttentionTest, ThreadsDoNotChangeBitsOverCaches) {
  const int threads = omp_get_max_threads();
  for (const Kernels* kernels : vector_tables()) {
    for (const Shape& shape : shapes()) {
      if (shape.rope_dim > 0) continue;
      Problem one(shape), many(shape);
      Bf16Cache bf16;
      Int8Cache int8;
      Attention narrow[] = {one.args(), one.args()};
      bf16.set(narrow[0]);
      int8.set(narrow[1]);
      for (Attention& a : narrow) {
        omp_set_num_threads(1);
        a.out = one.out.data();
        a.lse = one.lse.data();
        kernels->attention(a);
        a.out = many.out.data();
        a.lse = many.lse.data();
        for (int n : {2, 5}) {
          omp_set_num_threads(n);
          kernels->attention(a);
          const std::string where = std::string(kernels->name) + " " + shape.name;
          EXPECT_TRUE(same_bits(one.out, many.out)) << where << (a.is_int8() ? " int8" : " bf16");
          EXPECT_TRUE(same_bits(one.lse, many.lse)) << where << (a.is_int8() ? " int8" : " bf16");
        }
      }
    }
  }
  omp_set_num_threads(threads);
}

/// A gradient wanted alone equals that of the full call.
TEST(AttentionTest, NullGradientsAreSkipped) {
  for (const Kernels* kernels : vector_tables()) {
    Problem all({"mla", 2, 2, 16, 16, 32, {70}, {}});
    kernels->attention(all.args());
    kernels->attention_grad(all.grad_args(false));
    for (int wanted = 0; wanted < 4; wanted++) {
      Problem one(all.shape);
      kernels->attention(one.args());
      AttentionGrad g = one.grad_args(false);
      const Problem before = one;
      if (wanted != 0) g.dq = nullptr;
      if (wanted != 1) g.dk = nullptr;
      if (wanted != 2) g.dk_rope = nullptr;
      if (wanted != 3) g.dv = nullptr;
      kernels->attention_grad(g);
      EXPECT_TRUE(same_bits(one.dq, wanted == 0 ? all.dq : before.dq)) << wanted;
      EXPECT_TRUE(same_bits(one.dk, wanted == 1 ? all.dk : before.dk)) << wanted;
      EXPECT_TRUE(same_bits(one.dk_rope, wanted == 2 ? all.dk_rope : before.dk_rope)) << wanted;
      EXPECT_TRUE(same_bits(one.dv, wanted == 3 ? all.dv : before.dv)) << wanted;
    }
  }
}

/// With many heads the parts of dk_rope are summed in several rounds.
TEST(AttentionTest, SharedRopeGradientInRounds) {
  const Shape shape{"many_heads", 64, 64, 4, 64, 4, {150, 300, 40}, {}};
  Problem expected(shape);
  ref::kTable.attention(expected.args());
  ref::kTable.attention_grad(expected.grad_args(true));
  for (const Kernels* kernels : vector_tables()) {
    Problem found(shape);
    kernels->attention(found.args());
    kernels->attention_grad(found.grad_args(true));
    expect_close_grads(found, expected, kernels->name);
  }
}

TEST(AttentionTest, NanReachesTheRowsThatSeeIt) {
  for (const Kernels* kernels : vector_tables()) {
    Problem p({"nan", 1, 1, 16, 0, 16, {100}, {}});
    p.k[40 * p.ldk + 3] = NAN;
    kernels->attention(p.args());
    for (int64_t t = 0; t < 100; t++) {
      EXPECT_EQ(std::isnan(p.out[t * p.ld_out]), t >= 40) << kernels->name << " query " << t;
    }
  }
}

int64_t heap_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return int64_t(info.uordblks + info.hblkhd);
}

TEST(AttentionTest, ScratchDoesNotGrowWithLength) {
  for (const Kernels* kernels : vector_tables()) {
    Problem small({"short", 2, 2, 16, 8, 16, {1300}, {}});
    Problem large({"long", 2, 2, 16, 8, 16, {5200}, {}});
    kernels->attention(small.args());
    kernels->attention_grad(small.grad_args(false));
    const int64_t before = heap_bytes();
    kernels->attention(large.args());
    kernels->attention_grad(large.grad_args(false));
    // Only the parts of dk_rope grow, up to a fixed bound; one head's scores would be 108 MB.
    EXPECT_LT(heap_bytes() - before, 2 << 20) << kernels->name;
  }
}

}  // namespace
}  // namespace um
