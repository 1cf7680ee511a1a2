// Causal attention and its gradient, one query at a time in double precision: the definition which
// the vector kernels are tested against. Over int8 rows the definition has roundings to 16 bits
// (kernels/args/attention.h), which are done in f32 so that the integers are the kernels'.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/ref/row_values.h"

namespace um::ref {
namespace {

/// One (sequence, head): where its rows lie and how far each query sees.
struct HeadView {
  const Attention& a;
  int64_t head, kv_head, q_begin, q_len, kv_begin, past;
  const int32_t* pages;

  HeadView(const Attention& args, int64_t sequence, int64_t h)
      : a(args), head(h), kv_head(h / (args.heads / args.kv_heads)) {
    q_begin = a.q_offsets[sequence] - a.first_row;
    q_len = a.q_offsets[sequence + 1] - a.q_offsets[sequence];
    kv_begin = a.kv_offsets[sequence];
    past = a.kv_offsets[sequence + 1] - kv_begin - q_len;
    pages = a.pages == nullptr ? nullptr : a.pages + sequence * a.ld_pages;
  }
  int64_t visible(int64_t query) const { return past + query + 1; }
  bool sees(int64_t query, int64_t key) const {
    if (a.mask == nullptr) return true;
    const int64_t word = a.mask[(q_begin + query) * a.ld_mask + key / 64];
    return (static_cast<uint64_t>(word) >> (key % 64) & 1) != 0;
  }
  int64_t q_at(int64_t query) const {
    return (q_begin + query) * a.ldq + head * (a.qk_dim + a.rope_dim);
  }
  int64_t key_row(int64_t key) const {
    if (pages == nullptr) return kv_begin + key;
    return pages[key / a.page_rows] * a.page_rows + key % a.page_rows;
  }
  int64_t k_at(int64_t key) const { return key_row(key) * a.ldk + kv_head * a.k_head_stride; }
  int64_t rope_at(int64_t key) const { return key_row(key) * a.ld_k_rope; }
  int64_t v_at(int64_t key) const { return key_row(key) * a.ldv + kv_head * a.v_head_stride; }
  int64_t out_at(int64_t query) const { return (q_begin + query) * a.ld_out + head * a.v_dim; }
  int64_t lse_at(int64_t query) const {
    return head * (a.q_offsets[a.sequences] - a.first_row) + q_begin + query;
  }

  double key(int64_t j, int64_t c) const {
    return a.is_narrow() ? value_at(a.narrow_k, key_row(j), kv_head * a.k_head_stride + c)
                         : a.k[k_at(j) + c];
  }
  double value(int64_t j, int64_t c) const {
    return a.is_narrow() ? value_at(a.narrow_v, key_row(j), kv_head * a.v_head_stride + c)
                         : a.v[v_at(j) + c];
  }

  double score(int64_t query, int64_t key_index) const {
    const float* q = a.q + q_at(query);
    double sum = 0;
    for (int64_t c = 0; c < a.qk_dim; c++) sum += double(q[c]) * key(key_index, c);
    for (int64_t c = 0; c < a.rope_dim; c++) {
      sum += double(q[a.qk_dim + c]) * a.k_rope[rope_at(key_index) + c];
    }
    return sum * a.scale;
  }
};

double dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += double(a[i]) * b[i];
  return sum;
}

/// Numbers in 16 bits: number i is about integers[i] * step.
struct Rounded {
  std::vector<int32_t> integers;
  double step;
};

Rounded round_to_16_bits(const std::vector<float>& numbers) {
  constexpr float kMost = 32767;
  float largest = 1e-30f;
  bool finite = true;
  for (const float x : numbers) {
    largest = std::max(largest, std::fabs(x));
    finite = finite && std::isfinite(x);
  }
  Rounded rounded{std::vector<int32_t>(numbers.size(), 0), finite ? largest * (1 / kMost) : NAN};
  for (size_t i = 0; finite && i < numbers.size(); i++)
    rounded.integers[i] = int32_t(std::nearbyint(numbers[i] * (kMost / largest)));
  return rounded;
}

/// Channels begin..end of a head, which share a scale, number `scale` of the row.
struct ScaleGroup {
  int64_t begin, end, scale;
};

/// The groups of a head's `width` channels, which begin at channel `first` of the rows.
std::vector<ScaleGroup> scale_groups(int64_t first, int64_t width) {
  std::vector<ScaleGroup> groups;
  for (int64_t c = 0; c < width; c = groups.back().end) {
    const int64_t scale = (first + c) / kInt8Group;
    groups.push_back({c, std::min(width, (scale + 1) * kInt8Group - first), scale});
  }
  return groups;
}

/// A query's scores over int8 keys: the query is rounded, a group of channels at a time.
std::vector<double> int8_scores(const HeadView& view, int64_t query) {
  constexpr float kLog2E = 1.44269504088896341f;  // the kernels' scores are in base 2
  const Attention& a = view.a;
  const RowsView& k = a.narrow_k;
  const int64_t first = view.kv_head * a.k_head_stride;
  const float* q = a.q + view.q_at(query);
  std::vector<double> scores(view.visible(query), 0.0);
  for (const ScaleGroup& group : scale_groups(first, a.qk_dim)) {
    std::vector<float> scaled;
    for (int64_t c = group.begin; c < group.end; c++) scaled.push_back(q[c] * (a.scale * kLog2E));
    const Rounded rounded = round_to_16_bits(scaled);
    for (size_t j = 0; j < scores.size(); j++) {
      const RowsView row = k.from_row(view.key_row(int64_t(j)));
      int64_t sum = 0;
      for (int64_t c = group.begin; c < group.end; c++)
        sum += rounded.integers[c - group.begin] * row.i8()[first + c];
      scores[j] += double(sum) * rounded.step * row.f32_scales()[group.scale] / kLog2E;
    }
  }
  return scores;
}

/// Adds up int8 values by `weights`: those of a block of keys, times the values' scales, are
/// rounded, a group of channels at a time.
std::vector<double> int8_values(const HeadView& view, const std::vector<double>& weights) {
  constexpr int64_t kBlock = 64;
  const Attention& a = view.a;
  const RowsView& v = a.narrow_v;
  const int64_t first = view.kv_head * a.v_head_stride, keys = std::ssize(weights);
  std::vector<double> sums(a.v_dim, 0.0);
  for (int64_t block = 0; block < keys; block += kBlock) {
    const int64_t end = std::min(keys, block + kBlock);
    for (const ScaleGroup& group : scale_groups(first, a.v_dim)) {
      std::vector<float> scaled;
      for (int64_t j = block; j < end; j++) {
        const float scale = v.from_row(view.key_row(j)).f32_scales()[group.scale];
        scaled.push_back(float(weights[j]) * scale);
      }
      const Rounded rounded = round_to_16_bits(scaled);
      for (int64_t c = group.begin; c < group.end; c++) {
        int64_t sum = 0;
        for (int64_t j = block; j < end; j++)
          sum += rounded.integers[j - block] * v.from_row(view.key_row(j)).i8()[first + c];
        sums[c] += double(sum) * rounded.step;
      }
    }
  }
  return sums;
}

std::vector<double> plain_scores(const HeadView& view, int64_t query) {
  std::vector<double> scores;
  for (int64_t j = 0; j < view.visible(query); j++) scores.push_back(view.score(query, j));
  return scores;
}

std::vector<double> plain_values(const HeadView& view, const std::vector<double>& weights) {
  std::vector<double> sums(view.a.v_dim, 0.0);
  for (int64_t j = 0; j < std::ssize(weights); j++)
    for (int64_t c = 0; c < view.a.v_dim; c++) sums[c] += weights[j] * view.value(j, c);
  return sums;
}

void attend_query(const HeadView& view, int64_t query) {
  const Attention& a = view.a;
  std::vector<double> weights = a.is_int8() ? int8_scores(view, query) : plain_scores(view, query);
  double largest = -INFINITY, total = 0;
  for (int64_t j = 0; j < std::ssize(weights); j++) {
    if (!view.sees(query, j)) weights[j] = -INFINITY;
    largest = std::fmax(largest, weights[j]);
  }
  for (double& weight : weights) {
    weight = std::exp(weight - largest);
    total += weight;
  }
  const std::vector<double> sum =
      a.is_int8() ? int8_values(view, weights) : plain_values(view, weights);
  for (int64_t c = 0; c < a.v_dim; c++) a.out[view.out_at(query) + c] = float(sum[c] / total);
  if (a.lse != nullptr) a.lse[view.lse_at(query)] = float(largest + std::log(total));
}

/// Double sums of all four gradients, laid out like the tensors they belong to.
struct GradSums {
  std::vector<double> q, k, k_rope, v;
};

void add_query_grad(const AttentionGrad& g, const HeadView& view, int64_t query, GradSums& sums) {
  const Attention& a = g.forward;
  const int64_t out_at = view.out_at(query), q_at = view.q_at(query);
  const float* dout = g.dout + out_at;
  const double delta = dot(dout, a.out + out_at, a.v_dim);
  for (int64_t j = 0; j < view.visible(query); j++) {
    if (!view.sees(query, j)) continue;
    const int64_t k_at = view.k_at(j), rope_at = view.rope_at(j), v_at = view.v_at(j);
    const double p = std::exp(view.score(query, j) - a.lse[view.lse_at(query)]);
    const double ds = p * (dot(dout, a.v + v_at, a.v_dim) - delta) * a.scale;
    for (int64_t c = 0; c < a.v_dim; c++) sums.v[v_at + c] += p * dout[c];
    for (int64_t c = 0; c < a.qk_dim; c++) {
      sums.q[q_at + c] += ds * a.k[k_at + c];
      sums.k[k_at + c] += ds * a.q[q_at + c];
    }
    for (int64_t c = 0; c < a.rope_dim; c++) {
      sums.q[q_at + a.qk_dim + c] += ds * a.k_rope[rope_at + c];
      sums.k_rope[rope_at + c] += ds * a.q[q_at + a.qk_dim + c];
    }
  }
}

/// Writes (or adds) `heads` pieces of `width` in each of `rows` rows; gaps between are left alone.
void write_sums(const std::vector<double>& sums, int64_t rows, int64_t ld, int64_t heads,
                int64_t head_stride, int64_t width, bool accumulate, float* to) {
  if (to == nullptr) return;
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t h = 0; h < heads; h++) {
      for (int64_t c = 0; c < width; c++) {
        const int64_t at = r * ld + h * head_stride + c;
        to[at] = float(sums[at] + (accumulate ? to[at] : 0.0));
      }
    }
  }
}

}  // namespace

void attention(const Attention& args) {
  for (int64_t s = 0; s < args.sequences; s++) {
    for (int64_t h = 0; h < args.heads; h++) {
      const HeadView view(args, s, h);
      for (int64_t query = 0; query < view.q_len; query++) attend_query(view, query);
    }
  }
}

void attention_grad(const AttentionGrad& args) {
  const Attention& a = args.forward;
  const int64_t queries = a.q_offsets[a.sequences], keys = a.kv_offsets[a.sequences];
  const int64_t q_width = a.qk_dim + a.rope_dim;
  GradSums sums;
  sums.q.resize(queries * a.ldq);
  sums.k.resize(keys * a.ldk + a.kv_heads * a.k_head_stride);
  sums.k_rope.resize(keys * a.ld_k_rope);
  sums.v.resize(keys * a.ldv + a.kv_heads * a.v_head_stride);
  for (int64_t s = 0; s < a.sequences; s++) {
    for (int64_t h = 0; h < a.heads; h++) {
      const HeadView view(a, s, h);
      for (int64_t query = 0; query < view.q_len; query++) {
        add_query_grad(args, view, query, sums);
      }
    }
  }
  write_sums(sums.q, queries, a.ldq, a.heads, q_width, q_width, args.accumulate_dq, args.dq);
  write_sums(sums.k, keys, a.ldk, a.kv_heads, a.k_head_stride, a.qk_dim, args.accumulate_dk,
             args.dk);
  write_sums(sums.k_rope, keys, a.ld_k_rope, 1, 0, a.rope_dim, args.accumulate_dk_rope,
             args.dk_rope);
  write_sums(sums.v, keys, a.ldv, a.kv_heads, a.v_head_stride, a.v_dim, args.accumulate_dv,
             args.dv);
}

}  // namespace um::ref
