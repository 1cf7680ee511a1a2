// What the row-wise kernels share: splitting rows over threads, scratch memory, column sums in a
// fixed order, and the vector form of a normalised row and of RoPE. Included only by
// kernels/cpu/isa/*.cc.
#pragma once

#include <omp.h>

#include <cstdlib>
#include <cstring>

#include "kernels/cpu/isa/simd.h"

namespace um::UM_ISA {

/// Below this much work (floats touched) a second thread costs more than it saves.
constexpr int64_t kForkWork = 1 << 15;
/// Rows per partial column sum. Partial sums are added in order, so the bits of a gain's gradient
/// do not depend on the number of threads.
constexpr int64_t kBlockRows = 64;

inline int threads_for(int64_t work) {
  return work < kForkWork || omp_in_parallel() ? 1 : omp_get_max_threads();
}

/// body(begin, end) on each thread's share of [0, count), rounded to multiples of `grain`.
/// `work` is the number of floats touched by all of it.
template <class Body>
inline void parallel_for(int64_t count, int64_t work, const Body& body, int64_t grain = 1) {
  const int threads = threads_for(work);
  if (threads == 1 || count <= grain) {
    body(0, count);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const int64_t grains = (count + grain - 1) / grain;
    const int64_t thread = omp_get_thread_num(), all = omp_get_num_threads();
    const int64_t begin = grains * thread / all * grain;
    int64_t end = grains * (thread + 1) / all * grain;
    if (end > count) end = count;
    if (begin < end) body(begin, end);
  }
}

/// Memory that a thread keeps and that only grows, so that kernels do not allocate once warm.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::free(data_); }
  /// At least `bytes` bytes at a 64-byte boundary; what was there is lost.
  void* get(int64_t bytes) {
    if (bytes > size_ || !data_) {  // never null, so that callers may add offsets
      std::free(data_);
      size_ = (bytes + bytes / 2 + 64) / 64 * 64;
      data_ = std::aligned_alloc(64, static_cast<size_t>(size_));
      if (!data_) std::abort();
    }
    return data_;
  }
  float* floats(int64_t count) {
    return static_cast<float*>(get(count * static_cast<int64_t>(sizeof(float))));
  }

 private:
  void* data_ = nullptr;
  int64_t size_ = 0;
};

/// Calls block(begin, end, partial) for each block of kBlockRows rows, with a zeroed partial sum of
/// `cols` floats, then out (+)= the partial sums in block order. A null `out` skips the sum (the
/// blocks still get a scratch row to write to).
template <class Block>
inline void column_sums(int64_t rows, int64_t cols, int64_t work, float* out, bool accumulate,
                        Scratch& scratch, const Block& block) {
  const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  const int64_t stride = (cols + 15) / 16 * 16;
  float* partial = scratch.floats(blocks * stride);
  parallel_for(blocks, work, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      const int64_t end = (b + 1) * kBlockRows < rows ? (b + 1) * kBlockRows : rows;
      if (out) std::memset(partial + b * stride, 0, static_cast<size_t>(stride) * sizeof(float));
      block(b * kBlockRows, end, partial + b * stride);
    }
  });
  if (!out) return;
  parallel_for(
      cols, blocks * cols,
      [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          float total = accumulate ? out[i] : 0.0f;
          for (int64_t b = 0; b < blocks; ++b) total += partial[b * stride + i];
          out[i] = total;
        }
      },
      16);
}

/// The loop every row kernel is written with: body(i, n) for i = 0, kWidth, …, where n is kWidth or
/// what is left. The whole steps and the tail inline separately, so `n` costs nothing.
template <class Body>
inline __attribute__((always_inline)) void for_vectors(int64_t cols, const Body& body) {
  int64_t i = 0;
  for (; i + kWidth <= cols; i += kWidth) body(i, static_cast<int64_t>(kWidth));
  if (i < cols) body(i, cols - i);
}
inline Vec load_n(const float* p, int64_t n) {
  return n == kWidth ? load(p) : load_part(p, n);
}
inline void store_n(float* p, Vec a, int64_t n) {
  if (n == kWidth) {
    store(p, a);
  } else {
    store_part(p, a, n);
  }
}
/// Stores a, or adds it to what is there.
inline void put_n(float* p, Vec a, int64_t n, bool accumulate) {
  store_n(p, accumulate ? a + load_n(p, n) : a, n);
}

/// Σ_i term(i, n) with four independent sums; term's lanes beyond n must be zero.
template <class Term>
inline __attribute__((always_inline)) float sum_of(int64_t cols, const Term& term) {
  Vec s0 = splat(0), s1 = splat(0), s2 = splat(0), s3 = splat(0);
  int64_t i = 0;
  for (; i + 4 * kWidth <= cols; i += 4 * kWidth) {
    s0 = term(i, kWidth, s0);
    s1 = term(i + kWidth, kWidth, s1);
    s2 = term(i + 2 * kWidth, kWidth, s2);
    s3 = term(i + 3 * kWidth, kWidth, s3);
  }
  for (; i + kWidth <= cols; i += kWidth) s0 = term(i, kWidth, s0);
  if (i < cols) s1 = term(i, cols - i, s1);
  return sum((s0 + s1) + (s2 + s3));
}

inline float inverse_rms(float squares, int64_t cols, float eps) {
  return 1.0f / __builtin_sqrtf(squares / static_cast<float>(cols) + eps);
}

/// y = gain * x / rms(x) of one row; returns 1 / rms.
inline float norm_row(const float* x, const float* gain, float eps, int64_t cols, float* y) {
  const float squares = sum_of(cols, [&](int64_t i, int64_t n, Vec s) {
    const Vec a = load_n(x + i, n);
    return fma(a, a, s);
  });
  const float inv = inverse_rms(squares, cols, eps);
  const Vec scale = splat(inv);
  for_vectors(cols, [&](int64_t i, int64_t n) {
    store_n(y + i, load_n(gain + i, n) * (load_n(x + i, n) * scale), n);
  });
  return inv;
}

/// Gradient of norm_row: dx (+)= inv (gain dy - x inv² mean(dy gain x)), dgain += dy x inv. dx and
/// dgain may be null; dx may be dy.
inline void norm_grad_row(const float* dy, const float* x, const float* gain, float inv,
                          int64_t cols, float* dx, bool accumulate, float* dgain) {
  const float dot = sum_of(cols, [&](int64_t i, int64_t n, Vec s) {
    return fma(load_n(dy + i, n) * load_n(gain + i, n), load_n(x + i, n), s);
  });
  const Vec scale = splat(inv);
  const Vec pull = splat(inv * dot / static_cast<float>(cols));
  for_vectors(cols, [&](int64_t i, int64_t n) {
    const Vec normal = load_n(x + i, n) * scale, d = load_n(dy + i, n);
    if (dgain) store_n(dgain + i, fma(d, normal, load_n(dgain + i, n)), n);
    if (!dx) return;
    put_n(dx + i, scale * fnma(normal, pull, d * load_n(gain + i, n)), n, accumulate);
  });
}

/// Rotates `dim` channels of `heads` heads, `stride` apart, by one table row (dim/2 cosines, dim/2
/// sines), or back if `inverse`. y may be x.
inline void rope_heads(const float* x, const float* table, int64_t heads, int64_t stride,
                       int64_t dim, bool interleave, bool inverse, float* y, bool accumulate) {
  const int64_t half = dim / 2;
  const float* sines = table + half;
  const Vec sign = splat(inverse ? -1.0f : 1.0f);
  if (!interleave) {
    for_vectors(half, [&](int64_t i, int64_t n) {
      const Vec c = load_n(table + i, n), s = load_n(sines + i, n) * sign;
      for (int64_t h = 0; h < heads; ++h) {
        const float* from = x + h * stride + i;
        float* to = y + h * stride + i;
        const Vec a = load_n(from, n), b = load_n(from + half, n);
        put_n(to, fnma(b, s, a * c), n, accumulate);
        put_n(to + half, fma(a, s, b * c), n, accumulate);
      }
    });
    return;
  }
  int64_t i = 0;
  for (; i + kWidth / 2 <= half; i += kWidth / 2) {
    const Vec c = load_twice(table + i), s = load_twice(sines + i) * sign;
    for (int64_t h = 0; h < heads; ++h) {
      const Vec a = load(x + h * stride + 2 * i);
      put_n(y + h * stride + 2 * i, fma_subtract_add(a, c, swap_pairs(a) * s), kWidth, accumulate);
    }
  }
  for (; i < half; ++i) {
    const float c = table[i], s = inverse ? -sines[i] : sines[i];
    for (int64_t h = 0; h < heads; ++h) {
      const float* from = x + h * stride + 2 * i;
      const float a = from[0], b = from[1];
      float* to = y + h * stride + 2 * i;
      // Written out: else the compiler fuses them as it likes, by how x and y lie in memory.
      const float first = __builtin_fmaf(a, c, -(b * s)), second = __builtin_fmaf(b, c, a * s);
      to[0] = accumulate ? to[0] + first : first;
      to[1] = accumulate ? to[1] + second : second;
    }
  }
}

}  // namespace um::UM_ISA
