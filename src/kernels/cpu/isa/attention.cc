// Causal attention, blockwise with an online softmax (Dao 2023, FlashAttention-2): scores exist
// only for a strip of rows against one block of keys, and scratch does not grow with the length.
//
// Key blocks lie at multiples of kKeys from the sequence's start and are summed up in chunks of
// kChunk keys, the chunks' results being combined in order. A query's bits therefore do not depend
// on which other queries, sequences or threads there are, and the chunks of a long sequence can be
// shared among threads (decode) without changing them: a block or chunk whose keys a row does not
// see multiplies by one and adds zero.
#include <omp.h>

#include <cmath>
#include <cstdint>

#include "kernels/cpu/isa/attention_few.h"
#include "kernels/cpu/isa/attention_int8.h"
#include "kernels/cpu/isa/attention_tile.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {
namespace {

constexpr int64_t kChunk = 512;      ///< keys, a multiple of kKeys
constexpr int64_t kWindow = 16;      ///< chunks of all tasks that threads share before a merge
constexpr int64_t kMaxRows = 512;    ///< rows of a task share each packed key block
constexpr int64_t kMaxSums = 65536;  ///< elements of a task's output sums: a quarter megabyte

/// Rows row_begin..row_end of one (sequence, key/value head).
struct Task {
  int64_t sequence, kv_head, row_begin, row_end;
};

/// Unnormalised output, sum of exponentials (by lane) and largest score of a task's rows. Scores
/// are in base 2: scale * log2(e) * <q, k>.
struct Partial {
  float *out, *sum, *largest;
};

/// Sizes that follow from the arguments.
struct Shape {
  int64_t q_pad, v_pad, rows, widened;
  explicit Shape(const Attention& a)
      : q_pad(round_up(a.qk_dim + a.rope_dim, kWidth)),
        v_pad(round_up(a.v_dim, kWidth)),
        widened(HeadRows::widened_floats(a)) {
    rows = smaller(kMaxRows, larger(kMaxSums / v_pad / kKeys, 1) * kKeys);
  }
  int64_t partial_floats() const { return rows * (v_pad + kWidth + 1) + 64; }
  Partial carve_partial(float* memory) const {
    Carver carver(memory);
    Partial p;
    p.out = carver.take(rows * v_pad);
    p.sum = carver.take(rows * kWidth);
    p.largest = carver.take(rows);
    return p;
  }
};

/// One thread's buffers for a key block and a strip of rows.
struct Workspace {
  float *keys, *values, *q, *scores, *factor, *widened;
  Workspace(const Shape& shape, Carver& carver) {
    keys = carver.take(shape.q_pad * kKeys);
    values = carver.take(kKeys * shape.v_pad);
    q = carver.take(kStrip * shape.q_pad);
    scores = carver.take(kStrip * kKeys);
    factor = carver.take(kStrip);
    widened = carver.take(shape.widened);
  }
  static int64_t floats(const Shape& shape) {
    return kKeys * (shape.q_pad + shape.v_pad) + kStrip * (shape.q_pad + kKeys) + shape.widened +
           80;
  }
};

Scratch& thread_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}
Scratch& task_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}
Scratch& split_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}

/// Largest of a row's scores among the first `limit`; kMasked: `limit` may be less than `cols`.
template <bool kMasked>
inline float largest_score(const float* score, int64_t limit, int64_t cols) {
  const Vec lowest = splat(kLowest);
  Vec top = lowest;
  for (int64_t j = 0; j < cols; j += kWidth) {
    const Vec s = load(score + j);
    top = max(top, kMasked ? first_lanes(s, limit - j, lowest) : s);
  }
  return max_lane(top);
}

/// Scores to 2^(score - largest), zero from `limit` on; sums = sums * factor + their sums by lane.
template <bool kMasked>
inline void exponentials(float* score, int64_t limit, int64_t cols, float largest, float factor,
                         float* sums) {
  Vec added = splat(0.0f);
  for (int64_t j = 0; j < cols; j += kWidth) {
    Vec p = exp2_down(load(score + j) - splat(largest));
    if (kMasked) p = first_lanes(p, limit - j, splat(0.0f));
    store(score + j, p);
    added = added + p;
  }
  store(sums, fma(load(sums), splat(factor), added));
}

/// The online softmax of a strip: scores to exponentials, largest scores and sums brought up to
/// date, and the factor of each row for what was summed before. seen[r]: keys which row r sees.
template <bool kMasked>
inline void softmax_strip(int64_t count, int64_t cols, const int64_t* seen, float* scores,
                          float* largest, float* sums, float* factor) {
  float now[kStrip] = {};
  for (int64_t r = 0; r < count; r++) {
    const float block = largest_score<kMasked>(scores + r * kKeys, seen[r], cols);
    now[r] = largest[r] > block ? largest[r] : block;
  }
  const Vec change = load_part(largest, count) - load_part(now, count);
  store_part(factor, exp2_down(change), count);
  for (int64_t r = 0; r < count; r++) {
    largest[r] = now[r];
    exponentials<kMasked>(scores + r * kKeys, seen[r], cols, now[r], factor[r], sums + r * kWidth);
  }
}

/// Keys key..key+count, packed in the workspace, and their values.
struct KeyBlock {
  int64_t key, count;
  const float* values;
  int64_t ld_values;
};

/// Values just read (in the absorbed form they are channels of the keys) are used in place.
KeyBlock pack_key_block(const HeadRows& head, const Shape& shape, const Workspace& w, int64_t key,
                        int64_t end) {
  const Attention& a = head.a;
  const int64_t count = smaller(kKeys, end - key);
  const KeyRows rows = head.key_rows(key, count, w.widened);
  head.pack_keys_transposed(rows, key, count, end, w.keys);
  const bool read = a.values_in_keys() ? a.v_dim <= a.qk_dim : a.is_narrow();
  if (read && a.v_dim % kWidth == 0) return {key, count, rows.v, rows.ldv};
  pack_rows(rows.v, rows.ldv, count, a.v_dim, head.coming_v(key + count, end), w.values,
            shape.v_pad);
  return {key, count, w.values, shape.v_pad};
}

/// Rows row..row+count (at most kStrip) against a block of keys; `at`: the first row in p.
void attend_strip(const HeadRows& head, const Shape& shape, const Workspace& w,
                  const KeyBlock& block, int64_t row, int64_t count, const Partial& p, int64_t at) {
  const int64_t depth = smaller(block.count, head.visible(row + count - 1) - block.key);
  if (depth <= 0) return;
  const int64_t cols = round_up(depth, kWidth);
  int64_t seen[kStrip];
  for (int64_t r = 0; r < count; r++) {
    copy_scaled(head.a.q + head.q_at(row + r), head.width(), head.a.scale * kLog2E,
                w.q + r * shape.q_pad);
    seen[r] = head.visible(row + r) - block.key;
  }
  product<false, Start::zero>(count, cols, head.width(), w.q, shape.q_pad, w.keys, kKeys, w.scores,
                              kKeys);
  for (int64_t r = 0; head.a.mask != nullptr && r < count; r++) {
    hide_unseen(w.scores + r * kKeys, head.mask_of(row + r, block.key), cols);
  }
  float *largest = p.largest + at, *sums = p.sum + at * kWidth;
  if (seen[0] < cols) {
    softmax_strip<true>(count, cols, seen, w.scores, largest, sums, w.factor);
  } else if (cols < kKeys) {
    softmax_strip<false>(count, cols, seen, w.scores, largest, sums, w.factor);
  } else {  // the common case, with loops of known length
    softmax_strip<false>(count, kKeys, seen, w.scores, largest, sums, w.factor);
  }
  product<false, Start::scale>(count, shape.v_pad, depth, w.scores, kKeys, block.values,
                               block.ld_values, p.out + at * shape.v_pad, shape.v_pad, w.factor);
}

/// Few rows over keys in a cache: reading the keys takes the time.
bool is_few(const HeadRows& head, const Task& task) {
  const Attention& a = head.a;
  return head.past > 0 && task.row_end - task.row_begin <= kFewRows && a.rope_dim == 0 &&
         a.v_dim % kWidth == 0;
}

/// Sums of the task's rows over keys key_begin..key_end (key_begin a multiple of kKeys).
void attend_chunk(const Attention& a, const Shape& shape, const Task& task, int64_t key_begin,
                  int64_t key_end, const Workspace& w, const Partial& p, Ahead& ahead) {
  const HeadRows head(a, task.sequence, task.kv_head);
  const int64_t rows = task.row_end - task.row_begin;
  if (a.is_int8()) {
    for (int64_t r = 0; r < rows; r += kFewRows) {
      attend_int8(head, task.row_begin + r, task.row_begin + smaller(r + kFewRows, rows), key_begin,
                  key_end, shape.v_pad, p.out + r * shape.v_pad, p.sum + r * kWidth, p.largest + r);
    }
    return;
  }
  if (is_few(head, task)) {
    attend_few(head, task.row_begin, task.row_end, key_begin, key_end, p.out, p.sum, p.largest);
    return;
  }
  std::memset(p.out, 0, sizeof(float) * rows * shape.v_pad);
  std::memset(p.sum, 0, sizeof(float) * rows * kWidth);
  for (int64_t r = 0; r < rows; r++) p.largest[r] = kLowest;
  const int64_t end = smaller(key_end, head.visible(task.row_end - 1));
  for (int64_t key = key_begin; key < end; key += kKeys) {
    if (!head.any_sees(task.row_begin, task.row_end, key, key + kKeys)) continue;
    const KeyBlock block = pack_key_block(head, shape, w, key, end);
    for (int64_t r = 0; r < rows; r += kStrip) {
      ahead.step();
      attend_strip(head, shape, w, block, task.row_begin + r, smaller(kStrip, rows - r), p, r);
    }
  }
}

/// total = total and the next chunk's part.
void merge(const Shape& shape, int64_t rows, const Partial& part, const Partial& total) {
  for (int64_t r = 0; r < rows; r++) {
    const float a = total.largest[r], b = part.largest[r], now = a > b ? a : b;
    const Vec fa = exp2_down(splat(a) - splat(now)), fb = exp2_down(splat(b) - splat(now));
    auto combine = [&](float* to, const float* from) {
      store(to, fma(load(to), fa, load(from) * fb));
    };
    combine(total.sum + r * kWidth, part.sum + r * kWidth);
    for (int64_t c = 0; c < shape.v_pad; c += kWidth) {
      combine(total.out + r * shape.v_pad + c, part.out + r * shape.v_pad + c);
    }
    total.largest[r] = now;
  }
}

/// Divides by the sum and writes the rows' outputs and log-sum-exps.
void finish(const Attention& a, const Shape& shape, const Task& task, const Partial& p) {
  const HeadRows head(a, task.sequence, task.kv_head);
  for (int64_t r = 0; r < task.row_end - task.row_begin; r++) {
    const int64_t row = task.row_begin + r;
    const float total = sum(load(p.sum + r * kWidth));
    const Vec inverse = splat(1.0f / total), zero = splat(0.0f);
    float* out = a.out + head.out_at(row);
    for (int64_t c = 0; c < a.v_dim; c += kWidth) {
      // + 0: a zero is positive, however many keys beyond the visible ones added a zero to it.
      const Vec y = fma(load(p.out + r * shape.v_pad + c), inverse, zero);
      if (c + kWidth <= a.v_dim) {
        store(out + c, y);
      } else {
        store_part(out + c, y, a.v_dim - c);
      }
    }
    if (a.lse != nullptr) a.lse[head.lse_at(row)] = std::fma(p.largest[r], kLn2, std::log(total));
  }
}

/// Whether there is anything to add to what came before: chunks that no row sees add zeros.
bool adds(const Attention& a, const Task& task, int64_t key) {
  return HeadRows(a, task.sequence, task.kv_head)
      .any_sees(task.row_begin, task.row_end, key, key + kChunk);
}

int64_t task_keys(const Attention& a, const Task& task) {
  return HeadRows(a, task.sequence, task.kv_head).visible(task.row_end - 1);
}

/// A whole task on one thread; `next`: the task that probably follows, or null.
void run_task(const Attention& a, const Shape& shape, const Task& task, const Task* next) {
  Carver carver(thread_scratch().floats(Workspace::floats(shape) + 2 * shape.partial_floats()));
  const Workspace w(shape, carver);
  Partial part = shape.carve_partial(carver.take(shape.partial_floats()));
  Partial total = shape.carve_partial(carver.take(shape.partial_floats()));
  const int64_t keys = task_keys(a, task);
  const Task& coming = next != nullptr ? *next : task;
  Ahead ahead(HeadRows(a, coming.sequence, coming.kv_head), coming.row_begin,
              next != nullptr ? coming.row_end : coming.row_begin);
  attend_chunk(a, shape, task, 0, kChunk, w, total, ahead);
  for (int64_t key = kChunk; key < keys; key += kChunk) {
    if (!adds(a, task, key)) continue;
    attend_chunk(a, shape, task, key, key + kChunk, w, part, ahead);
    merge(shape, task.row_end - task.row_begin, part, total);
  }
  finish(a, shape, task, total);
}

/// Threads share the chunks of tasks over long sequences, `window` chunks of each task at a time,
/// whose results are merged in order.
void run_split(const Attention& a, const Shape& shape, const Task* tasks, int64_t count,
               int64_t longest, int64_t window) {
  const int64_t floats = shape.partial_floats();
  float* memory = split_scratch().floats(count * (window + 1) * floats + 16);
  auto total_of = [=](int64_t t) {
    return shape.carve_partial(memory + t * (window + 1) * floats);
  };
  auto part_of = [=](int64_t t, int64_t i) {
    return shape.carve_partial(memory + (t * (window + 1) + 1 + i) * floats);
  };
  for (int64_t first = 0; first < longest; first += window * kChunk) {
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < count * window; i++) {
      const int64_t t = i % count, key = first + i / count * kChunk;
      if (key >= task_keys(a, tasks[t]) || (key > 0 && !adds(a, tasks[t], key))) continue;
      Carver carver(thread_scratch().floats(Workspace::floats(shape)));
      const Workspace w(shape, carver);
      Ahead nothing(HeadRows(a, tasks[t].sequence, tasks[t].kv_head), 0, 0);
      attend_chunk(a, shape, tasks[t], key, key + kChunk, w,
                   key == 0 ? total_of(t) : part_of(t, i / count), nothing);
    }
#pragma omp parallel for schedule(static, 1)
    for (int64_t t = 0; t < count; t++) {
      for (int64_t i = 0; i < window; i++) {
        const int64_t key = first + i * kChunk;
        if (key == 0 || key >= task_keys(a, tasks[t]) || !adds(a, tasks[t], key)) continue;
        merge(shape, tasks[t].row_end - tasks[t].row_begin, part_of(t, i), total_of(t));
      }
    }
  }
  for (int64_t t = 0; t < count; t++) finish(a, shape, tasks[t], total_of(t));
}

/// Lists the tasks of at most `rows` rows, a sequence's longest first; only counts when `tasks` is
/// null.
int64_t list_tasks(const Attention& a, int64_t rows, Task* tasks) {
  int64_t count = 0;
  for (int64_t s = 0; s < a.sequences; s++) {
    const int64_t all = HeadRows(a, s, 0).rows;
    const int64_t blocks = (all + rows - 1) / rows;
    for (int64_t b = blocks - 1; b >= 0; b--) {
      for (int64_t h = 0; h < a.kv_heads; h++) {
        if (tasks != nullptr) tasks[count] = {s, h, b * rows, smaller((b + 1) * rows, all)};
        count++;
      }
    }
  }
  return count;
}

/// Whether to share chunks among threads rather than tasks.
bool wants_split(const Attention& a, const Task* tasks, int64_t count, int64_t most_rows) {
  const int64_t threads = omp_get_max_threads();
  int64_t longest = 0, total = 0;
  for (int64_t t = 0; t < count; t++) {
    const int64_t keys = task_keys(a, tasks[t]);
    longest = larger(longest, keys);
    total += keys;
  }
  if (longest <= kChunk) return false;
  if (threads > 1 && count < 2 * threads) return true;
  // Decoding: one long sequence among short ones; or many heads, whose keys lie side by side in
  // memory and are read together, chunk by chunk.
  return most_rows <= kFewRows && (longest * 4 * threads > total || a.kv_heads > 1);
}

}  // namespace

void attention(const Attention& args) {
  Shape shape(args);
  const int64_t threads = omp_get_max_threads();
  int64_t longest = 0;
  for (int64_t s = 0; s < args.sequences; s++) {
    longest = larger(longest, args.kv_offsets[s + 1] - args.kv_offsets[s]);
  }
  // Enough tasks to keep the threads level; but splitting the heads of a decoding step over long
  // sequences would read the keys twice: there the chunks are shared instead.
  const int64_t fewest_rows = longest > kChunk ? 2 * kKeys : 2 * kStrip;
  while (shape.rows > fewest_rows && list_tasks(args, shape.rows, nullptr) < 4 * threads) {
    shape.rows /= 2;
  }
  const int64_t count = list_tasks(args, shape.rows, nullptr);
  Task* tasks = static_cast<Task*>(task_scratch().get(sizeof(Task) * (count + 1)));
  list_tasks(args, shape.rows, tasks);
  shape.rows = 0;
  for (int64_t t = 0; t < count; t++) {
    shape.rows = larger(shape.rows, tasks[t].row_end - tasks[t].row_begin);
  }
  if (wants_split(args, tasks, count, shape.rows)) {
    run_split(args, shape, tasks, count, longest, larger(2 * threads, kWindow / count));
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) if (count > 1)
  for (int64_t t = 0; t < count; t++) {
    run_task(args, shape, tasks[t], t + threads < count ? tasks + t + threads : nullptr);
  }
}

}  // namespace um::UM_ISA
