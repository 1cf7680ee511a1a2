// Gradient of causal attention, blockwise (Dao 2023, FlashAttention-2, algorithm 2): the
// probabilities of a block of rows against a block of keys are computed again from the forward's
// log-sum-exp, so nothing of size length² is held.
//
// With P = exp(S - lse), S = scale QKᵀ and D = rowsum(dout * out):
//   dV = Pᵀ dout,  dS = P * (dout Vᵀ - D),  dQ = scale dS K,  dK = scale dSᵀ Q.
//
// Order: a thread has one (sequence, key/value head) and walks its key blocks upwards; dk and dv of
// a block are summed over the rows in registers and cache, dq is added to in memory. MLA's dk_rope
// sums over all heads: each head writes its part to scratch, parts are summed in head order. To
// bound that scratch the work is cut into rounds of a limited number of keys. None of this depends
// on the number of threads or on other sequences, so neither do the bits.
#include <omp.h>

#include <cstdint>

#include "kernels/cpu/isa/attention_tile.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {
namespace {

constexpr int64_t kRows = 64;            ///< rows of a block
constexpr int64_t kRopeParts = 1 << 20;  ///< elements of dk_rope parts held at a time

/// Keys key_begin..key_end of a sequence; `base` is the place of the first within the round.
struct Unit {
  int64_t sequence, key_begin, key_end, base;
};

/// One thread's buffers: a key block, a row block, and what is computed between them.
struct Workspace {
  int64_t q_pad, v_pad;
  float *keys_t, *values_t, *keys, *dk, *dv;  // the key block
  float *q, *dout, *delta, *lse;              // the row block
  float *p, *ds, *dq;                         // kRows x kKeys twice, kStrip x q_pad

  static int64_t floats(int64_t q_pad, int64_t v_pad) {
    return kKeys * (3 * q_pad + 2 * v_pad) + kRows * (q_pad + v_pad + 2 * kKeys + 2) +
           kStrip * q_pad + 64;
  }
  Workspace(const Attention& a, Scratch& scratch)
      : q_pad(round_up(a.qk_dim + a.rope_dim, kWidth)), v_pad(round_up(a.v_dim, kWidth)) {
    Carver carver(scratch.floats(floats(q_pad, v_pad)));
    keys_t = carver.take(q_pad * kKeys);
    values_t = carver.take(v_pad * kKeys);
    keys = carver.take(kKeys * q_pad);
    dk = carver.take(kKeys * q_pad);
    dv = carver.take(kKeys * v_pad);
    q = carver.take(kRows * q_pad);
    dout = carver.take(kRows * v_pad);
    delta = carver.take(kRows);
    lse = carver.take(kRows);
    p = carver.take(kRows * kKeys);
    ds = carver.take(kRows * kKeys);
    dq = carver.take(kStrip * q_pad);
  }
};

Scratch& thread_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}
Scratch& rope_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}
Scratch& unit_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}

void pack_key_block(const HeadRows& head, int64_t key, int64_t keys, const Workspace& w) {
  const Attention& a = head.a;
  head.pack_keys_transposed(head.key_rows(key, keys, nullptr), key, keys, head.kv_len, w.keys_t);
  pack_transposed(a.v + head.v_at(key), a.ldv, keys, a.v_dim,
                  head.coming_v(key + keys, head.kv_len), w.values_t, kKeys);
  for (int64_t j = 0; j < keys; j++) {
    // The rope part comes second: copy_scaled zeroes up to a whole vector behind what it copies.
    copy_scaled(a.k + head.k_at(key + j), a.qk_dim, 1.0f, w.keys + j * w.q_pad);
    if (a.rope_dim > 0) {
      float* to = w.keys + j * w.q_pad + a.qk_dim;
      std::memcpy(to, a.k_rope + head.rope_at(key + j), sizeof(float) * a.rope_dim);
    }
  }
  std::memset(w.dk, 0, sizeof(float) * kKeys * w.q_pad);
  std::memset(w.dv, 0, sizeof(float) * kKeys * w.v_pad);
}

/// Scaled queries, dout, D and lse of rows row..row+count.
void pack_row_block(const AttentionGrad& g, const HeadRows& head, int64_t row, int64_t count,
                    const Workspace& w) {
  const Attention& a = head.a;
  for (int64_t r = 0; r < count; r++) {
    const int64_t out_at = head.out_at(row + r);
    copy_scaled(a.q + head.q_at(row + r), head.width(), a.scale * kLog2E, w.q + r * w.q_pad);
    copy_scaled(g.dout + out_at, a.v_dim, 1.0f, w.dout + r * w.v_pad);
    Vec delta = splat(0.0f);
    for (int64_t c = 0; c < a.v_dim; c += kWidth) {
      const float* out = a.out + out_at + c;
      const int64_t left = a.v_dim - c;
      delta = fma(load(w.dout + r * w.v_pad + c), left < kWidth ? load_part(out, left) : load(out),
                  delta);
    }
    w.delta[r] = sum(delta);
    w.lse[r] = a.lse[head.lse_at(row + r)] * kLog2E;
  }
}

/// Scores to probabilities P, and dout Vᵀ to dS, over `cols` columns of which `limit` are seen
/// (kMasked: `limit` may be less than `cols`).
template <bool kMasked>
inline void score_grad_row(float* p, float* ds, float lse, float delta, int64_t limit,
                           int64_t cols) {
  const Vec zero = splat(0.0f);
  for (int64_t j = 0; j < cols; j += kWidth) {
    Vec probability = exp2_down(load(p + j) - splat(lse));
    if (kMasked) probability = first_lanes(probability, limit - j, zero);
    Vec grad = probability * (load(ds + j) - splat(delta));
    if (kMasked) grad = first_lanes(grad, limit - j, zero);
    store(p + j, probability);
    store(ds + j, grad);
  }
  for (int64_t j = cols; j < kKeys; j += kWidth) {
    store(p + j, zero);
    store(ds + j, zero);
  }
}

/// score_grad_row for rows r..r+count of a row block, its row 0 being `row` of the sequence.
void score_grad_strip(const HeadRows& head, int64_t row, int64_t r, int64_t count, int64_t key,
                      int64_t cols, const Workspace& w) {
  const bool masked = head.visible(row + r) - key < cols;
  for (int64_t i = r; i < r + count; i++) {
    float *p = w.p + i * kKeys, *ds = w.ds + i * kKeys;
    if (head.a.mask != nullptr) hide_unseen(p, head.mask_of(row + i, key), cols);
    if (!masked && cols == kKeys) {  // the common case, a loop of known length
      score_grad_row<false>(p, ds, w.lse[i], w.delta[i], kKeys, kKeys);
    } else {
      score_grad_row<true>(p, ds, w.lse[i], w.delta[i], head.visible(row + i) - key, cols);
    }
  }
}

/// dq rows of a strip from dS: overwritten by the first key block unless accumulating.
void add_query_grad(const AttentionGrad& g, const HeadRows& head, int64_t row, int64_t count,
                    int64_t seen, bool add, const float* ds, const Workspace& w) {
  product<false, Start::zero>(count, w.q_pad, seen, ds, kKeys, w.keys, w.q_pad, w.dq, w.q_pad);
  for (int64_t r = 0; r < count; r++) {
    write_row(w.dq + r * w.q_pad, head.width(), head.a.scale, add, g.dq + head.q_at(row + r));
  }
}

/// One row block against one packed key block.
void add_block(const AttentionGrad& g, const HeadRows& head, int64_t row, int64_t rows, int64_t key,
               int64_t keys, const Workspace& w, Ahead& ahead) {
  pack_row_block(g, head, row, rows, w);
  const bool add_dq = key > 0 || g.accumulate_dq;
  for (int64_t r = 0; r < rows; r += kStrip) {
    const int64_t count = smaller(kStrip, rows - r);
    const int64_t seen = smaller(keys, head.visible(row + r + count - 1) - key);
    const int64_t cols = seen > 0 ? round_up(seen, kWidth) : 0;
    float *p = w.p + r * kKeys, *ds = w.ds + r * kKeys;
    ahead.step();
    product<false, Start::zero>(count, cols, head.width(), w.q + r * w.q_pad, w.q_pad, w.keys_t,
                                kKeys, p, kKeys);
    product<false, Start::zero>(count, cols, head.a.v_dim, w.dout + r * w.v_pad, w.v_pad,
                                w.values_t, kKeys, ds, kKeys);
    score_grad_strip(head, row, r, count, key, cols, w);
    if (g.dq != nullptr && seen > 0) add_query_grad(g, head, row + r, count, seen, add_dq, ds, w);
  }
  for (int64_t j = 0; j < keys; j += kStrip) {
    const int64_t count = smaller(kStrip, keys - j);
    // Rows before the first which sees key j have nothing to add.
    const int64_t first = larger(0, (key + j - head.past) * head.group - row);
    if (first >= rows) break;
    product<true, Start::add>(count, w.v_pad, rows - first, w.p + first * kKeys + j, kKeys,
                              w.dout + first * w.v_pad, w.v_pad, w.dv + j * w.v_pad, w.v_pad);
    product<true, Start::add>(count, w.q_pad, rows - first, w.ds + first * kKeys + j, kKeys,
                              w.q + first * w.q_pad, w.q_pad, w.dk + j * w.q_pad, w.q_pad);
  }
}

/// Writes the key block's gradients; the rope part goes to `rope_part` ([key, rope_dim]).
void write_key_block(const AttentionGrad& g, const HeadRows& head, int64_t key, int64_t keys,
                     float* rope_part, const Workspace& w) {
  const Attention& a = head.a;
  for (int64_t j = 0; j < keys; j++) {
    // The packed queries are scaled for base 2; their gradient is that of natural scores.
    const float* dk = w.dk + j * w.q_pad;
    if (g.dk != nullptr) {
      write_row(dk, a.qk_dim, kLn2, g.accumulate_dk, g.dk + head.k_at(key + j));
    }
    if (g.dv != nullptr) {
      write_row(w.dv + j * w.v_pad, a.v_dim, 1.0f, g.accumulate_dv, g.dv + head.v_at(key + j));
    }
    if (rope_part != nullptr) {
      write_row(dk + a.qk_dim, a.rope_dim, kLn2, false, rope_part + j * a.rope_dim);
    }
  }
}

/// All rows of one (unit, key/value head). rope_parts: this head's [round keys, rope_dim], or null.
void run_task(const AttentionGrad& g, const Unit& unit, int64_t kv_head, float* rope_parts,
              Ahead& ahead) {
  const HeadRows head(g.forward, unit.sequence, kv_head);
  const Workspace w(g.forward, thread_scratch());
  for (int64_t key = unit.key_begin; key < unit.key_end; key += kKeys) {
    const int64_t keys = smaller(kKeys, unit.key_end - key);
    pack_key_block(head, key, keys, w);
    const int64_t first = larger(0, (key - head.past) * head.group) / kRows * kRows;
    for (int64_t row = first; row < head.rows; row += kRows) {
      add_block(g, head, row, smaller(kRows, head.rows - row), key, keys, w, ahead);
    }
    float* part = nullptr;
    if (rope_parts != nullptr) {
      part = rope_parts + (unit.base + key - unit.key_begin) * g.forward.rope_dim;
    }
    write_key_block(g, head, key, keys, part, w);
  }
}

/// dk_rope of a unit's keys from the heads' parts ([kv_heads, round keys, rope_dim]), in head
/// order.
void sum_rope_parts(const AttentionGrad& g, const Unit& unit, const float* parts,
                    int64_t round_keys) {
  const Attention& a = g.forward;
  const int64_t first = a.kv_offsets[unit.sequence];
#pragma omp parallel for schedule(static)
  for (int64_t key = unit.key_begin; key < unit.key_end; key++) {
    float* to = g.dk_rope + (first + key) * a.ld_k_rope;
    const float* from = parts + (unit.base + key - unit.key_begin) * a.rope_dim;
    for (int64_t h = 0; h < a.kv_heads; h++) {
      write_row(from + h * round_keys * a.rope_dim, a.rope_dim, 1.0f, h > 0 || g.accumulate_dk_rope,
                to);
    }
  }
}

/// Runs the units of one round, then sums their rope parts.
void run_round(const AttentionGrad& g, const Unit* units, int64_t count, int64_t round_keys,
               float* parts) {
  const int64_t heads = g.forward.kv_heads, threads = omp_get_max_threads();
#pragma omp parallel for schedule(dynamic, 1) if (count * heads > 1)
  for (int64_t i = 0; i < count * heads; i++) {
    const int64_t h = i % heads, next = i + threads;
    const bool more = next < count * heads;
    const HeadRows coming(g.forward, units[(more ? next : i) / heads].sequence,
                          (more ? next : i) % heads);
    Ahead ahead(coming, 0, more ? coming.rows : 0, g.dout, g.dq);
    run_task(g, units[i / heads], h,
             parts == nullptr ? nullptr : parts + h * round_keys * g.forward.rope_dim, ahead);
  }
  if (parts == nullptr) return;
  for (int64_t i = 0; i < count; i++) sum_rope_parts(g, units[i], parts, round_keys);
}

}  // namespace

void attention_grad(const AttentionGrad& args) {
  const Attention& a = args.forward;
  const bool rope = args.dk_rope != nullptr && a.rope_dim > 0;
  const int64_t total = a.kv_offsets[a.sequences] - a.kv_offsets[0];
  int64_t round_keys = total;
  float* parts = nullptr;
  if (rope) {
    const int64_t blocks = kRopeParts / (a.kv_heads * a.rope_dim) / kKeys;
    round_keys = smaller(round_up(total, kKeys), larger(blocks, 1) * kKeys);
    parts = rope_scratch().floats(a.kv_heads * round_keys * a.rope_dim + 16);
  }
  Unit* units = static_cast<Unit*>(unit_scratch().get(sizeof(Unit) * (a.sequences + 1)));
  int64_t count = 0, used = 0;
  for (int64_t s = 0; s < a.sequences; s++) {
    const int64_t length = a.kv_offsets[s + 1] - a.kv_offsets[s];
    for (int64_t key = 0; key < length;) {
      const int64_t room = (round_keys - used) / kKeys * kKeys;
      const int64_t take = length - key <= round_keys - used ? length - key : room;
      if (take > 0) units[count++] = {s, key, key + take, used};
      used += take;
      key += take;
      if (key < length) {  // the round is full
        run_round(args, units, count, round_keys, parts);
        count = used = 0;
      }
    }
  }
  if (count > 0) run_round(args, units, count, round_keys, parts);
}

}  // namespace um::UM_ISA
