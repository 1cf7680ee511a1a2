// Which keys a query attends to: a window, or the best by the lightning indexer. The scores of a
// few queries at a time against blocks of keys, a strip of heads as one product, then the largest
// by a radix search.
#include <omp.h>

#include <cstdint>

#include "kernels/cpu/isa/attention_tile.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {
namespace {

constexpr int64_t kScores = 1 << 20;  ///< scores that a task holds at most, but for one query

/// Queries begin..end of a sequence.
struct Task {
  int64_t sequence, begin, end;
};

Scratch& task_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}

/// One sequence: its queries are the last of its own keys.
struct MaskRows {
  const KeyMask& a;
  int64_t sequence, q_begin, queries, own;

  MaskRows(const KeyMask& args, int64_t s) : a(args), sequence(s), q_begin(args.q_offsets[s]) {
    queries = a.q_offsets[s + 1] - q_begin;
    own = a.kv_offsets[s + 1] - a.kv_offsets[s] - a.sinks;
  }
  /// Own keys up to query i.
  int64_t seen(int64_t i) const { return own - queries + i + 1; }
  /// The row of an own key; kKeys of them from a multiple of kKeys on lie together.
  const float* key(int64_t j) const {
    if (a.pages == nullptr) return a.keys + (q_begin + j) * a.ld_keys;
    const int64_t at = a.sinks + j;
    const int64_t page = a.pages[sequence * a.ld_pages + at / a.page_rows];
    return a.keys + (page * a.page_rows + at % a.page_rows) * a.ld_keys;
  }
  uint64_t* words(int64_t i) const {
    return reinterpret_cast<uint64_t*>(a.mask + (q_begin + i) * a.ld_mask);
  }
};

/// Sets bits begin..end.
void set_bits(uint64_t* words, int64_t begin, int64_t end) {
  while (begin < end) {
    const int64_t first = begin % 64, count = smaller(64 - first, end - begin);
    const uint64_t ones = count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
    words[begin / 64] |= ones << first;
    begin += count;
  }
}

/// A float as an integer in the same order.
uint32_t ordered(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

/// Sets the bits of the `count` largest of n scores, of equal ones the earlier.
void set_largest(const float* scores, int64_t n, int64_t count, int64_t first_bit,
                 uint64_t* words) {
  // The count-th largest, byte by byte from the top.
  uint32_t prefix = 0, known = 0;
  int64_t left = count;
  for (int shift = 24; shift >= 0; shift -= 8) {
    int64_t histogram[256] = {};
    for (int64_t j = 0; j < n; j++) {
      const uint32_t bits = ordered(scores[j]);
      if ((bits & known) == prefix) histogram[bits >> shift & 255]++;
    }
    uint32_t digit = 255;
    while (histogram[digit] < left) left -= histogram[digit--];
    prefix |= digit << shift;
    known |= 255u << shift;
  }
  for (int64_t j = 0; j < n; j++) {
    const uint32_t bits = ordered(scores[j]);
    if (bits < prefix || (bits == prefix && left-- <= 0)) continue;
    set_bits(words, first_bit + j, first_bit + j + 1);
  }
}

/// scores[i][j] of a task's queries for the block of keys from `key` on.
void score_block(const MaskRows& rows, const Task& task, int64_t key, float* scores, int64_t ld) {
  static thread_local Scratch scratch;
  const KeyMask& a = rows.a;
  Carver carver(scratch.floats((a.dim + kWidth + kStrip) * kKeys + 32));
  float* keys_t = carver.take((a.dim + kWidth) * kKeys);
  float* products = carver.take(kStrip * kKeys);
  const int64_t count = smaller(kKeys, rows.seen(task.end - 1) - key);
  const int64_t cols = round_up(count, kWidth);
  pack_transposed(rows.key(key), a.ld_keys, count, a.dim, {}, keys_t, kKeys);
  for (int64_t i = task.begin; i < task.end; i++) {
    const int64_t query = rows.q_begin + i;
    float* to = scores + (i - task.begin) * ld + key;
    for (int64_t j = 0; j < cols; j += kWidth) store(to + j, splat(0.0f));
    for (int64_t h = 0; h < a.heads; h += kStrip) {
      const int64_t strip = smaller(kStrip, a.heads - h);
      product<false, Start::zero>(strip, cols, a.dim, a.q + query * a.ldq + h * a.dim, a.dim,
                                  keys_t, kKeys, products, kKeys);
      for (int64_t r = 0; r < strip; r++) {
        const Vec weight = splat(a.weights[query * a.ld_weights + h + r]);
        for (int64_t j = 0; j < cols; j += kWidth) {
          const Vec dot = load(products + r * kKeys + j) * splat(a.scale);
          store(to + j, fma(weight, max(dot, splat(0.0f)), load(to + j)));
        }
      }
    }
  }
}

/// `split`: the threads share the blocks of keys.
void run_task(const KeyMask& a, const Task& task, bool split) {
  static thread_local Scratch scratch;
  const MaskRows rows(a, task.sequence);
  const int64_t seen_last = rows.seen(task.end - 1), ld = round_up(seen_last, kKeys);
  float* scores = nullptr;
  if (a.window == 0 && seen_last > a.top_k) {
    scores = scratch.floats((task.end - task.begin) * ld);
#pragma omp parallel for schedule(static) if (split)
    for (int64_t key = 0; key < seen_last; key += kKeys) score_block(rows, task, key, scores, ld);
  }
  for (int64_t i = task.begin; i < task.end; i++) {
    uint64_t* words = rows.words(i);
    const int64_t seen = rows.seen(i);
    std::memset(words, 0, sizeof(uint64_t) * static_cast<size_t>(a.ld_mask));
    set_bits(words, 0, a.sinks);
    if (a.window > 0) {
      set_bits(words, a.sinks + larger(seen - a.window, 0), a.sinks + seen);
    } else if (seen <= a.top_k) {
      set_bits(words, a.sinks, a.sinks + seen);
    } else {
      set_largest(scores + (i - task.begin) * ld, seen, a.top_k, a.sinks, words);
    }
  }
}

/// Lists the tasks; only counts when `tasks` is null.
int64_t list_tasks(const KeyMask& a, Task* tasks) {
  int64_t count = 0;
  for (int64_t s = 0; s < a.sequences; s++) {
    const MaskRows rows(a, s);
    const int64_t most = smaller(64, larger(kScores / larger(rows.own, 1), 1));
    for (int64_t begin = 0; begin < rows.queries; begin += most) {
      if (tasks != nullptr) tasks[count] = {s, begin, smaller(begin + most, rows.queries)};
      count++;
    }
  }
  return count;
}

}  // namespace

void key_mask(const KeyMask& args) {
  const int64_t count = list_tasks(args, nullptr);
  Task* tasks =
      static_cast<Task*>(task_scratch().get(static_cast<int64_t>(sizeof(Task)) * (count + 1)));
  list_tasks(args, tasks);
  const bool split = count < omp_get_max_threads();
#pragma omp parallel for schedule(dynamic, 1) if (!split && args.window == 0)
  for (int64_t t = 0; t < count; t++) run_task(args, tasks[t], split);
}

}  // namespace um::UM_ISA
