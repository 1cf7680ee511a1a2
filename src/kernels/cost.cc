// FLOPs and bytes of every kernel, op by op in the order of the table. Each entry reads as the list
// of the arrays that the op touches.
#include "kernels/cost.h"

#include <algorithm>
#include <cmath>

namespace um {
namespace {

// Adds up the bytes of one call. `any_input` is an input the op always has: if it is null the call
// is dry, and optional arrays are counted although they are null.
class Traffic {
 public:
  explicit Traffic(const void* any_input) : dry_(any_input == nullptr) {}
  Traffic& read(double elements, double size = 4) {
    bytes_ += elements * size;
    return *this;
  }
  Traffic& write(double elements, double size = 4) { return read(elements, size); }
  Traffic& accumulate(double elements, bool add) { return read(add ? 2 * elements : elements); }
  Traffic& optional(const void* data, double elements, bool add = false) {
    return has(data) ? accumulate(elements, add) : *this;
  }
  bool has(const void* data) const { return dry_ || data; }
  double bytes() const { return bytes_; }

 private:
  bool dry_;
  double bytes_ = 0;
};

double product(int64_t a, int64_t b) {
  return static_cast<double>(a) * static_cast<double>(b);
}

/// Bytes of `rows` rows of `cols` channels.
double bytes_of(const RowsView& view, double rows, int64_t cols) {
  return rows * static_cast<double>(view.format.row_bytes(cols));
}

}  // namespace

Cost cost(const Matmul& a) {
  const double batch = static_cast<double>(a.batch);
  auto repeats = [&](int64_t stride) { return stride == 0 ? 1.0 : batch; };
  Traffic traffic(a.a.values);
  const auto rows_a = static_cast<double>(a.trans_a ? a.k : a.m);
  const auto rows_b = static_cast<double>(a.trans_b ? a.n : a.k);
  traffic.read(bytes_of(a.a, rows_a, a.trans_a ? a.m : a.k) * repeats(a.stride_a), 1)
      .read(bytes_of(a.b, rows_b, a.trans_b ? a.k : a.n) * repeats(a.rows_b), 1);
  traffic.accumulate(product(a.m, a.n) * batch, a.accumulate);
  if (a.bias) traffic.read(static_cast<double>(a.n));
  return {2 * product(a.m, a.n) * static_cast<double>(a.k) * batch, traffic.bytes()};
}

Cost cost(const GroupedMatmul& a) {
  const double weights = product(a.n, a.k);
  const auto rows = static_cast<double>(a.rows);
  const double active = static_cast<double>(std::min(a.groups, a.rows));
  const bool forward = a.kind == GroupedMatmul::Kind::forward;
  Traffic traffic(a.a.values);
  if (a.kind == GroupedMatmul::Kind::grad_weight) {
    traffic.read(product(a.rows, a.n + a.k));
    traffic.accumulate(weights * static_cast<double>(a.groups), a.accumulate);
  } else {
    traffic.read(bytes_of(a.a, rows, forward ? a.k : a.n), 1)
        .write(rows * static_cast<double>(forward ? a.n : a.k));
    traffic.read(bytes_of(a.b, active * static_cast<double>(a.n), a.k), 1);
  }
  if (forward && a.swiglu) traffic.write(product(a.rows, a.n / 2));
  return {2 * static_cast<double>(a.rows) * weights, traffic.bytes()};
}

Cost cost(const RmsNorm& a) {
  const double all = product(a.rows, a.cols), cols = static_cast<double>(a.cols);
  Traffic traffic(a.x);
  traffic.read(all + cols).write(all).optional(a.inv_rms, static_cast<double>(a.rows));
  return {4 * all, traffic.bytes()};
}

Cost cost(const RmsNormGrad& a) {
  const double all = product(a.rows, a.cols), cols = static_cast<double>(a.cols);
  Traffic traffic(a.x);
  traffic.read(2 * all + cols + static_cast<double>(a.rows));
  traffic.optional(a.dx, all, a.accumulate_dx).optional(a.dgain, cols, a.accumulate_dgain);
  return {9 * all, traffic.bytes()};
}

Cost cost(const ResidualNorm& a) {
  const double all = product(a.rows, a.cols), cols = static_cast<double>(a.cols);
  Traffic traffic(a.x);
  traffic.read(2 * all + cols).write(all).optional(a.z, all).optional(a.gain_post, cols);
  traffic.optional(a.inv_v, static_cast<double>(a.rows));
  traffic.optional(a.inv_y, static_cast<double>(a.rows));
  return {(traffic.has(a.gain_post) ? 9 : 5) * all, traffic.bytes()};
}

Cost cost(const ResidualNormGrad& a) {
  const double all = product(a.rows, a.cols), cols = static_cast<double>(a.cols);
  const double rows = static_cast<double>(a.rows);
  Traffic traffic(a.y);
  traffic.optional(a.dy, all).optional(a.dz, 2 * all + cols + rows);
  traffic.optional(a.gain_post, all + cols + rows);
  traffic.optional(a.dx, all, a.accumulate_dx).optional(a.dv, all, a.accumulate_dv);
  traffic.optional(a.dgain_post, cols, a.accumulate_dgain_post);
  traffic.optional(a.dgain_pre, cols, a.accumulate_dgain_pre);
  const int norms = (traffic.has(a.dz) ? 1 : 0) + (traffic.has(a.gain_post) ? 1 : 0);
  return {(9 * norms + 1) * all, traffic.bytes()};
}

Cost cost(const Rope& a) {
  const double all = product(a.rows, a.heads * a.head_dim);
  Traffic traffic(a.x);
  traffic.read(all + product(a.rows, a.dim) + static_cast<double>(a.rows));
  traffic.accumulate(all, a.accumulate);
  return {3 * product(a.rows, a.heads * a.dim), traffic.bytes()};
}

Cost cost(const LatentNormRope& a) {
  const double all = product(a.rows, a.rank + a.dim), rows = static_cast<double>(a.rows);
  Traffic traffic(a.kv_a);
  traffic.read(all + product(a.rows, a.dim) + rows + static_cast<double>(a.rank)).write(all);
  traffic.optional(a.inv_rms, rows);
  if (a.slots) traffic.read(rows);
  return {4 * product(a.rows, a.rank) + 3 * product(a.rows, a.dim), traffic.bytes()};
}

Cost cost(const LatentNormRopeGrad& a) {
  const double latent = product(a.rows, a.rank), rope = product(a.rows, a.dim);
  const double rows = static_cast<double>(a.rows), rank = static_cast<double>(a.rank);
  Traffic traffic(a.kv_a);
  traffic.optional(a.dlatent, 2 * latent + rank + rows).optional(a.dk_rope, 2 * rope + rows);
  traffic.optional(a.dkv_a, latent + rope, a.accumulate_dkv_a);
  traffic.optional(a.dgain, rank, a.accumulate_dgain);
  return {9 * latent + 3 * rope, traffic.bytes()};
}

namespace {

struct AttentionSize {
  double queries = 0, keys = 0;
  double pairs = 0;  // (query, key) pairs under the causal mask, for one head
};

template <class Args>
AttentionSize attention_size(const Args& a) {
  AttentionSize size;
  if (!a.q_offsets || !a.kv_offsets) return size;
  for (int64_t s = 0; s < a.sequences; ++s) {
    const auto q = static_cast<double>(a.q_offsets[s + 1] - a.q_offsets[s]);
    const auto kv = static_cast<double>(a.kv_offsets[s + 1] - a.kv_offsets[s]);
    size.queries += q;
    size.keys += kv;
    size.pairs += q * (kv - q) + q * (q + 1) / 2;
  }
  return size;
}

// Bytes of k, k_rope and v. In MLA's absorbed form the values are part of the key rows.
double key_value_bytes(const Attention& a, double keys) {
  const bool absorbed = a.kv_heads == 1 && a.values_in_keys() && a.qk_dim > a.v_dim;
  const int64_t k = a.kv_heads * a.qk_dim, v = absorbed ? 0 : a.kv_heads * a.v_dim;
  if (a.is_narrow())
    return keys *
           static_cast<double>(a.narrow_k.format.row_bytes(k) + a.narrow_v.format.row_bytes(v));
  return 4 * keys * static_cast<double>(k + a.rope_dim + v);
}

}  // namespace

Cost cost(const Attention& a) {
  const AttentionSize size = attention_size(a);
  const auto heads = static_cast<double>(a.heads);
  Traffic traffic(a.q);
  traffic.read(size.queries * heads * static_cast<double>(a.qk_dim + a.rope_dim + a.v_dim));
  traffic.read(key_value_bytes(a, size.keys), 1).optional(a.lse, size.queries * heads);
  const auto per_pair = static_cast<double>(2 * (a.qk_dim + a.rope_dim + a.v_dim));
  return {heads * size.pairs * per_pair, traffic.bytes()};
}

Cost cost(const AttentionGrad& a) {
  const Attention& f = a.forward;
  const AttentionSize size = attention_size(f);
  const auto heads = static_cast<double>(f.heads);
  const double query = size.queries * heads * static_cast<double>(f.qk_dim + f.rope_dim);
  const double out = size.queries * heads * static_cast<double>(f.v_dim);
  const auto kv_heads = static_cast<double>(f.kv_heads);
  Traffic traffic(f.q);
  traffic.read(query + 2 * out + size.queries * heads).read(key_value_bytes(f, size.keys), 1);
  traffic.optional(a.dq, query, a.accumulate_dq);
  traffic.optional(a.dk, size.keys * kv_heads * static_cast<double>(f.qk_dim), a.accumulate_dk);
  traffic.optional(a.dv, size.keys * kv_heads * static_cast<double>(f.v_dim), a.accumulate_dv);
  const double shared = size.keys * static_cast<double>(f.rope_dim);
  traffic.optional(a.dk_rope, shared, a.accumulate_dk_rope);
  return {2 * cost(f).flops, traffic.bytes()};
}

Cost cost(const KeyMask& a) {
  const AttentionSize size = attention_size(a);
  Traffic traffic(a.q_offsets);
  traffic.write(size.queries * static_cast<double>(a.ld_mask), 8);
  if (a.window > 0) return {0, traffic.bytes()};
  const auto sinks = static_cast<double>(a.sinks);  // they are not scored
  const double keys = size.keys - static_cast<double>(a.sequences) * sinks;
  traffic.read(size.queries * static_cast<double>(a.heads * (a.dim + 1)));
  traffic.read(keys * static_cast<double>(a.dim));
  return {(size.pairs - size.queries * sinks) * static_cast<double>(a.heads * (2 * a.dim + 3)),
          traffic.bytes()};
}

Cost cost(const CausalConv& a) {
  const double all = product(a.rows, a.cols), taps = product(a.channels, a.taps);
  Traffic traffic(a.x);
  traffic.read(all + taps + product(a.rows, a.taps - 1)).write(all);
  return {2 * static_cast<double>(a.rows) * taps, traffic.bytes()};
}

Cost cost(const CausalConvGrad& a) {
  const CausalConv& f = a.forward;
  const double all = product(f.rows, f.cols), taps = product(f.channels, f.taps);
  Traffic traffic(f.x);
  traffic.read(2 * all + taps + product(f.rows, f.taps - 1));
  traffic.optional(a.dx, all, a.accumulate_dx).optional(a.dweight, taps, a.accumulate_dweight);
  return {4 * static_cast<double>(f.rows) * taps, traffic.bytes()};
}

Cost cost(const StreamGates& a) {
  const double all = product(a.rows, a.streams * (a.streams + 2));
  Traffic traffic(a.u);
  traffic.read(all).write(product(a.rows, a.streams)).optional(a.post, all);
  return {all * static_cast<double>(4 + 4 * a.steps), traffic.bytes()};
}

Cost cost(const StreamGatesGrad& a) {
  const double all = product(a.forward.rows, a.forward.streams * (a.forward.streams + 2));
  Traffic traffic(a.forward.u);
  traffic.read(2 * all).optional(a.du, all, a.accumulate_du);
  return {3 * all * static_cast<double>(4 + 4 * a.forward.steps), traffic.bytes()};
}

Cost cost(const StreamMix& a) {
  const double rows = static_cast<double>(a.rows);
  const double in = product(a.streams, a.width), out = product(a.outputs, a.width);
  Traffic traffic(a.x);
  traffic.read(rows * in).optional(a.y, product(a.rows, a.width)).write(rows * out);
  return {2 * rows * out * static_cast<double>(a.inputs()), traffic.bytes()};
}

Cost cost(const StreamMixGrad& a) {
  const StreamMix& f = a.forward;
  const double in = product(f.rows, f.streams * f.width);
  const double out = product(f.rows, f.outputs * f.width), y = product(f.rows, f.width);
  Traffic traffic(f.x);
  traffic.read(in + out).optional(f.y, y);
  traffic.optional(a.dx, in, a.accumulate_dx).optional(a.dy, y, a.accumulate_dy);
  return {4 * out * static_cast<double>(f.inputs()), traffic.bytes()};
}

Cost cost(const Swiglu& a) {
  const double all = product(a.rows, a.width);
  return {6 * all, Traffic(a.h).read(2 * all).write(all).bytes()};
}

Cost cost(const SwigluGrad& a) {
  const double all = product(a.rows, a.width), rows = static_cast<double>(a.rows);
  Traffic traffic(a.h);
  traffic.read(3 * all).optional(a.dh, 2 * all).optional(a.weighted_act, all);
  traffic.optional(a.weight, rows).optional(a.assignment, rows).optional(a.dweight, rows);
  return {15 * all, traffic.bytes()};
}

Cost cost(const Router& a) {
  const double all = product(a.tokens, a.experts), chosen = product(a.tokens, a.top_k);
  const auto experts = static_cast<double>(a.experts);
  Traffic traffic(a.logits);
  traffic.read(all).optional(a.scores, all).write(2 * chosen);
  traffic.optional(a.bias, experts).optional(a.expert_scale, experts);
  if (a.chosen != nullptr) traffic.read(chosen);
  if (traffic.has(a.counts)) traffic.write(experts, 8);
  return {5 * all + 3 * chosen, traffic.bytes()};
}

Cost cost(const RouterGrad& a) {
  const double all = product(a.tokens, a.experts), chosen = product(a.tokens, a.top_k);
  const auto experts = static_cast<double>(a.experts);
  Traffic traffic(a.scores);
  traffic.read(all + chosen).optional(a.dweights, chosen).optional(a.dlogits, all);
  traffic.optional(a.balance, experts).optional(a.expert_scale, experts);
  traffic.optional(a.dexpert_scale, experts, a.accumulate_dexpert_scale);
  return {8 * all + 6 * chosen, traffic.bytes()};
}

Cost cost(const MoePermute& a) {
  const double assignments = product(a.tokens, a.top_k);
  Traffic traffic(a.ids);
  traffic.read(assignments).write(3 * assignments).write(static_cast<double>(a.experts + 1), 8);
  return {0, traffic.bytes()};
}

Cost cost(const MoeCombine& a) {
  const double all = product(a.tokens, a.cols), chosen = product(a.tokens, a.top_k);
  Traffic traffic(a.y);
  traffic.read(chosen * static_cast<double>(a.cols) + 2 * chosen).optional(a.base, all).write(all);
  return {2 * chosen * static_cast<double>(a.cols), traffic.bytes()};
}

Cost cost(const MoeScatter& a) {
  const double all = product(a.tokens, a.cols), chosen = product(a.tokens, a.top_k);
  Traffic traffic(a.dslots);
  traffic.read(chosen * static_cast<double>(a.cols) + chosen).accumulate(all, a.accumulate);
  return {chosen * static_cast<double>(a.cols), traffic.bytes()};
}

Cost cost(const Embedding& a) {
  const double all = product(a.tokens, a.cols);
  Traffic traffic(a.ids);
  traffic.read(bytes_of(a.table, static_cast<double>(a.tokens), a.cols), 1)
      .read(static_cast<double>(a.tokens))
      .write(all);
  return {0, traffic.bytes()};
}

Cost cost(const EmbeddingGrad& a) {
  const double all = product(a.tokens, a.cols);
  Traffic traffic(a.ids);
  traffic.read(all + static_cast<double>(a.tokens));
  // Which rows are touched is data: take a row of its own for each token.
  const double rows = static_cast<double>(a.accumulate ? std::min(a.tokens, a.vocab) : a.vocab);
  traffic.accumulate(rows * static_cast<double>(a.cols), a.accumulate);
  return {all, traffic.bytes()};
}

Cost cost(const CrossEntropy& a) {
  const double all = product(a.rows, a.vocab), rows = static_cast<double>(a.rows);
  Traffic traffic(a.logits);
  traffic.read(all + rows).write(rows).optional(a.weights, rows).optional(a.z, rows);
  traffic.optional(a.correct, rows).optional(a.dlogits, all);
  return {(traffic.has(a.dlogits) ? 5 : 4) * all, traffic.bytes()};
}

Cost cost(const BiasGrad& a) {
  const double all = product(a.rows, a.cols), cols = static_cast<double>(a.cols);
  return {all, Traffic(a.dy).read(all).accumulate(cols, a.accumulate).bytes()};
}

Cost cost(const Add& a) {
  const auto count = static_cast<double>(a.count);
  return {count, Traffic(a.a).read(2 * count).write(count).bytes()};
}

Cost cost(const AdamW& a) {
  const auto count = static_cast<double>(a.count);
  return {15 * count, Traffic(a.grad).read(4 * count).write(3 * count).bytes()};
}

Cost cost(const SumSquares& a) {
  const auto count = static_cast<double>(a.count);
  return {2 * count, Traffic(a.x).read(count).write(1, 8).bytes()};
}

Cost cost(const CopyBlocks& a) {
  const double all = product(a.rows, a.blocks) * static_cast<double>(a.width);
  const auto size = static_cast<double>(a.element_bytes);
  Traffic traffic(a.x);
  traffic.read(all, size).write(all, size);
  if (a.rows_x) traffic.read(static_cast<double>(a.rows));
  if (a.rows_y) traffic.read(static_cast<double>(a.rows));
  return {0, traffic.bytes()};
}

namespace {

// Of f32 rows to rows of a format or back.
Cost repack_cost(int64_t rows, int64_t width, const RowFormat& format, bool slots,
                 const void* any_input) {
  const double all = product(rows, width);
  Traffic traffic(any_input);
  traffic.read(all).read(product(rows, format.row_bytes(width)), 1);
  if (slots) traffic.read(static_cast<double>(rows));
  return {2 * all, traffic.bytes()};
}

}  // namespace

Cost cost(const RotateRows& a) {
  const double all = product(a.rows, a.width);
  Traffic traffic(a.x);
  traffic.read(all).write(all);
  return {all * (1 + std::log2(static_cast<double>(std::max<int64_t>(a.block, 1)))),
          traffic.bytes()};
}

Cost cost(const QuantizeRows& a) {
  return repack_cost(a.rows, a.width, {RowType::i8, a.group}, a.slots != nullptr, a.x);
}

Cost cost(const NarrowRows& a) {
  return repack_cost(a.rows, a.width, kBf16Rows, a.slots != nullptr, a.x);
}

Cost cost(const DequantizeRows& a) {
  return repack_cost(a.rows, a.width, a.x.format, a.slots != nullptr, a.x.values);
}

Cost cost(const BalanceStats& a) {
  const double scores = product(a.tokens, a.experts);
  const double groups = product(a.sequences, a.experts);
  const double choices = product(a.tokens, a.top_k);
  return {(a.normalize ? 3 : 1) * scores,
          Traffic(a.scores).read(scores + choices).write(2 * groups, 8).bytes()};
}

}  // namespace um
