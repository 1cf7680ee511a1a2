// Moving rows between token order and expert order: a stable counting sort over fixed chunks, the
// weighted sum of a token's experts, and the gradient of the gather that fed them.
#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {

// Each thread counts the experts of its chunk of assignments; a scan over (expert, chunk) gives
// each chunk its first slot per expert, so the order is that of the serial sort.
void moe_permute(const MoePermute& a) {
  static thread_local Scratch scratch;
  const int64_t count = a.tokens * a.top_k;
  const int64_t chunks = threads_for(4 * count);
  auto* next = static_cast<int64_t*>(
      scratch.get(chunks * a.experts * static_cast<int64_t>(sizeof(int64_t))));
  const auto bytes = static_cast<size_t>(a.experts) * sizeof(int64_t);
  parallel_for(chunks, 4 * count, [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c) {
      int64_t* histogram = next + c * a.experts;
      std::memset(histogram, 0, bytes);
      for (int64_t i = count * c / chunks; i < count * (c + 1) / chunks; ++i) ++histogram[a.ids[i]];
    }
  });
  int64_t slots = 0;
  for (int64_t e = 0; e < a.experts; ++e) {
    a.offsets[e] = slots;
    for (int64_t c = 0; c < chunks; ++c) {
      const int64_t here = next[c * a.experts + e];
      next[c * a.experts + e] = slots;
      slots += here;
    }
  }
  a.offsets[a.experts] = slots;
  parallel_for(chunks, 4 * count, [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c) {
      int64_t* mine = next + c * a.experts;
      for (int64_t i = count * c / chunks; i < count * (c + 1) / chunks; ++i) {
        const int64_t slot = mine[a.ids[i]]++;
        a.assignment[slot] = static_cast<int32_t>(i);
        a.token[slot] = static_cast<int32_t>(i / a.top_k);
        a.slot[i] = static_cast<int32_t>(slot);
      }
    }
  });
}

void moe_combine(const MoeCombine& a) {
  parallel_for(a.tokens, a.tokens * a.cols * (a.top_k + 2), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int32_t* slot = a.slot + t * a.top_k;
      const float* weights = a.weights + t * a.top_k;
      const float* base = a.base ? a.base + t * a.cols : nullptr;
      for_vectors(a.cols, [&](int64_t i, int64_t n) {
        Vec sum = base ? load_n(base + i, n) : splat(0);
        for (int64_t k = 0; k < a.top_k; ++k) {
          sum = fma(splat(weights[k]), load_n(a.y + slot[k] * a.cols + i, n), sum);
        }
        store_n(a.out + t * a.cols + i, sum, n);
      });
    }
  });
}

void moe_scatter(const MoeScatter& a) {
  parallel_for(a.tokens, a.tokens * a.cols * (a.top_k + 2), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int32_t* slot = a.slot + t * a.top_k;
      float* dx = a.dx + t * a.cols;
      for_vectors(a.cols, [&](int64_t i, int64_t n) {
        Vec sum = a.accumulate ? load_n(dx + i, n) : splat(0);
        for (int64_t k = 0; k < a.top_k; ++k) {
          sum = sum + load_n(a.dslots + slot[k] * a.cols + i, n);
        }
        store_n(dx + i, sum, n);
      });
    }
  });
}

}  // namespace um::UM_ISA
