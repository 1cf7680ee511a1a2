// Our matrix products beside oneDNN's matmul on the same operands, in turn, in one run; and decode
// shapes beside the machine's read bandwidth. Times are the best of many short runs.
// OMP_NUM_THREADS=1 measures processor time, for machines that others use too.
//   gemm_bench [avx2|avx512] [dense|grad|grouped|skinny|bf16|prompt|streams]
// The last two, also as prompt-small and so on, take the matrices of the bench presets.
#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/onednn_matmul.h"
#include "kernels/kernels.h"

namespace um {
namespace {

using Floats = std::unique_ptr<float[]>;

Floats floats(int64_t count) {
  Floats p(new float[count]);
#pragma omp parallel for
  for (int64_t i = 0; i < count; ++i) p[i] = static_cast<float>(i * 2654435761u % 1000) * 1e-3f;
  return p;
}

/// With one thread its processor time, which busy neighbours disturb little; else wall time.
double now() {
  timespec t;
  clock_gettime(omp_get_max_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double seconds(const std::function<void()>& run) {
  const double begin = now();
  run();
  return now() - begin;
}

struct Pair {
  double ours = 1e9, theirs = 1e9;
};

/// Best times of both, run in turn for about `budget` seconds after one warm-up.
Pair in_turn(const std::function<void()>& ours, const std::function<void()>& theirs,
             double budget = 0.25) {
  ours();
  theirs();
  Pair best;
  double spent = 0;
  for (int i = 0; i < 5 || (spent < budget && i < 2000); ++i) {
    const double a = seconds(ours), b = seconds(theirs);
    best.ours = std::min(best.ours, a);
    best.theirs = std::min(best.theirs, b);
    spent += a + b;
  }
  return best;
}

void row(const std::string& shape, double flops, const Pair& best) {
  std::printf("%-44s %9.1f us %8.1f GFLOP/s %8.1f oneDNN  %5.2f\n", shape.c_str(), best.ours * 1e6,
              flops / best.ours * 1e-9, flops / best.theirs * 1e-9, best.theirs / best.ours);
  std::fflush(stdout);
}

void dense(const Kernels& table, const char* label, Matmul args) {
  const Floats a = floats(args.m * args.k), b = floats(args.n * args.k),
               c = floats(args.m * args.n);
  args.c = c.get();
  args.a = {a.get(), args.trans_a ? args.m : args.k};
  args.b = {b.get(), args.trans_b ? args.k : args.n};
  args.ldc = args.n;
  const Pair best = in_turn([&] { table.matmul(args); }, [&] { onednn_matmul(args); });
  char shape[96];
  std::snprintf(shape, sizeof shape, "%-11s m=%-5ld n=%-5ld k=%-5ld", label, long(args.m),
                long(args.n), long(args.k));
  row(shape, 2.0 * args.m * args.n * args.k, best);
}

/// Uneven experts with `slots` rows in all, against oneDNN on each expert's rows in turn.
void grouped(const Kernels& table, GroupedMatmul::Kind kind, int64_t slots, int64_t n, int64_t k,
             bool swiglu) {
  const int64_t groups = 8;
  const int64_t share[groups] = {23, 9, 14, 4, 17, 12, 6, 15};  // percent
  int64_t offsets[groups + 1] = {0};
  for (int64_t g = 0; g < groups; ++g) offsets[g + 1] = offsets[g] + slots * share[g] / 100;
  const bool forward = kind == GroupedMatmul::Kind::forward;
  const bool weight = kind == GroupedMatmul::Kind::grad_weight;
  const Floats a = floats(slots * std::max(n, k)), x = floats(slots * k),
               b = floats(groups * n * k);
  const Floats c = floats(std::max(slots * std::max(n, k), groups * n * k));
  const Floats act = floats(slots * n);
  std::vector<int32_t> gather(slots);
  for (int64_t i = 0; i < slots; ++i) gather[i] = static_cast<int32_t>(i * 7 % (slots / 2));
  GroupedMatmul args;
  args.kind = kind;
  args.groups = groups;
  args.rows = offsets[groups];
  args.n = n;
  args.k = k;
  args.offsets = offsets;
  args.a = {a.get(), forward ? k : n};
  if (forward) args.gather_a = gather.data();
  args.b = {b.get(), k};
  args.x = {x.get(), k};
  if (weight) args.gather_x = gather.data();
  args.c = c.get();
  args.ldc = forward ? n : k;
  if (swiglu) args.swiglu = act.get();
  const auto theirs = [&] {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t first = offsets[g], rows = offsets[g + 1] - first;
      Matmul m;
      m.a = args.a.from_row(first);
      m.ldc = args.ldc;
      m.m = weight ? n : rows;
      m.n = forward ? n : k;
      m.k = weight ? rows : forward ? k : n;
      m.trans_a = weight;
      m.trans_b = forward;
      m.b = weight ? args.x.from_row(first) : args.b.from_row(g * n);
      m.c = weight ? c.get() + g * n * k : c.get() + first * args.ldc;
      onednn_matmul(m);
    }
  };
  const Pair best = in_turn([&] { table.grouped_matmul(args); }, theirs);
  char shape[96];
  std::snprintf(shape, sizeof shape, "%-11s rows=%-5ld n=%-5ld k=%-4ld%s",
                forward  ? "forward"
                : weight ? "grad_weight"
                         : "grad_input",
                long(args.rows), long(n), long(k), swiglu ? " swiglu" : "");
  row(shape, 2.0 * args.rows * n * k, best);
}

/// Plain sum of an array larger than the caches, all threads.
double read_sum(const float* p, int64_t count) {
  double sum = 0;
#pragma omp parallel for simd schedule(static) reduction(+ : sum)
  for (int64_t i = 0; i < count; i += 16) sum += p[i];
  return sum;
}

void skinny(const Kernels& table, int64_t m, int64_t n, int64_t k, bool trans_b, int64_t copies,
            bool bf16 = false) {
  const int64_t size = n * k / (bf16 ? 2 : 1);  // in floats
  const Floats b = floats(size * copies), a = floats(m * k), c = floats(m * n);
  Matmul args;
  args.m = m;
  args.n = n;
  args.k = k;
  args.a = {a.get(), k};
  const int64_t ldb = trans_b ? k : n;
  args.trans_b = trans_b;
  args.c = c.get();
  args.ldc = n;
  volatile double sink = 0;
  const auto ours = [&] {
    for (int64_t i = 0; i < copies; ++i) {
      if (bf16)
        args.b = {reinterpret_cast<const uint16_t*>(b.get() + i * size), ldb};
      else
        args.b = {b.get() + i * size, ldb};
      table.matmul(args);
    }
  };
  const Pair best = in_turn(
      ours, [&] { sink = sink + read_sum(b.get(), size * copies); }, 0.5);
  const double bytes = 4.0 * size * copies;
  std::printf(
      "%s %s m=%-3ld n=%-5ld k=%-5ld x%-4ld %7.2f us each %7.2f GB/s, reading %6.2f GB/s  %5.2f\n",
      trans_b ? "nt" : "nn", bf16 ? "bf16" : "f32 ", long(m), long(n), long(k), long(copies),
      best.ours * 1e6 / copies, bytes / best.ours * 1e-9, bytes / best.theirs * 1e-9,
      best.theirs / best.ours);
  std::fflush(stdout);
}

/// bf16 weights of products that follow each other, more than a cache holds.
class Weights {
 public:
  Weights(int64_t matrices, int64_t count)
      : count_(count), copies_(std::max<int64_t>(1, kBytes / (2 * matrices * count))) {
    values_.reset(static_cast<uint16_t*>(std::aligned_alloc(kHugePage, rounded(matrices))));
    ::madvise(values_.get(), rounded(matrices), MADV_HUGEPAGE);
    const int64_t all = copies_ * matrices * count;
    step_ = matrices * count;
#pragma omp parallel for
    for (int64_t i = 0; i < all; ++i)
      values_.get()[i] = static_cast<uint16_t>(0x3f00 + (i * 2654435761u >> 7) % 0x80);
  }
  int64_t copies() const {
    return copies_;
  }
  const uint16_t* copy(int64_t i) const {
    return values_.get() + i * step_;
  }

 private:
  static constexpr int64_t kBytes = int64_t{48} << 20;
  static constexpr size_t kHugePage = size_t{2} << 20;
  size_t rounded(int64_t matrices) const {
    const auto bytes = static_cast<size_t>(2 * copies_ * matrices * count_);
    return (bytes + kHugePage - 1) / kHugePage * kHugePage;
  }
  struct Free {
    void operator()(uint16_t* p) const { std::free(p); }
  };
  int64_t count_, copies_, step_ = 0;
  std::unique_ptr<uint16_t, Free> values_;
};

/// The f32 matmul that prompts are measured by: oneDNN, 2048 cubed.
class Ceiling {
 public:
  Ceiling() : a_(floats(kSide * kSide)), c_(floats(kSide * kSide)) {}
  void run() {
    onednn_matmul({.m = kSide,
                   .n = kSide,
                   .k = kSide,
                   .a = {a_.get(), kSide},
                   .b = {a_.get(), kSide},
                   .c = c_.get(),
                   .ldc = kSide});
  }
  static constexpr double flops() { return 2.0 * kSide * kSide * kSide; }

 private:
  static constexpr int64_t kSide = 2048;
  Floats a_, c_;
};

/// Sums over shapes, to see where a prompt's time goes.
struct PromptTotal {
  double flops = 0, seconds = 0;
};

void report(const char* label, int64_t rows, int64_t n, int64_t k, double flops, double bytes,
            const Pair& best, PromptTotal& total) {
  const double rate = flops / best.ours;
  std::printf("%-24s rows=%-5ld n=%-5ld k=%-5ld %9.1f us %7.1f GFLOP/s = %3.0f%%  %5.1f GB/s\n",
              label, long(rows), long(n), long(k), 1e6 * best.ours, 1e-9 * rate,
              100 * rate * best.theirs / Ceiling::flops(), 1e-9 * bytes / best.ours);
  std::fflush(stdout);
  total.flops += flops;
  total.seconds += best.ours;
}

/// A layer's matmul of m rows with bf16 weights that come from memory.
void layer_matmul(const Kernels& table, int64_t m, int64_t n, int64_t k, Ceiling& ceiling,
                  PromptTotal& total) {
  const Weights weights(1, n * k);
  const Floats a = floats(m * k), c = floats(m * n);
  Matmul args{.m = m, .n = n, .k = k, .a = {a.get(), k}};
  args.trans_b = true;
  args.c = c.get();
  args.ldc = n;
  Pair best = in_turn(
      [&] {
        for (int64_t i = 0; i < weights.copies(); ++i) {
          args.b = {weights.copy(i), k};
          table.matmul(args);
        }
      },
      [&] { ceiling.run(); }, 0.1);
  best.ours /= static_cast<double>(weights.copies());
  report("matmul", m, n, k, 2.0 * m * n * k, 2.0 * n * k, best, total);
}

/// Experts' products of `tokens` tokens that choose `top_k` of `experts` at random.
void layer_experts(const Kernels& table, int64_t tokens, int64_t experts, int64_t top_k, int64_t n,
                   int64_t k, bool swiglu, Ceiling& ceiling, PromptTotal& total) {
  const int64_t slots = tokens * top_k;
  const Weights weights(experts, n * k);
  std::vector<int64_t> count(experts), offsets(experts + 1);
  std::vector<int32_t> gather, deck(experts);
  std::mt19937 random(1);
  std::iota(deck.begin(), deck.end(), 0);
  for (int64_t t = 0; t < tokens; ++t) {
    std::shuffle(deck.begin(), deck.end(), random);
    for (int64_t i = 0; i < top_k; ++i) ++count[deck[i]];
  }
  int64_t read = 0;
  for (int64_t e = 0; e < experts; ++e) {
    offsets[e + 1] = offsets[e] + count[e];
    read += count[e] > 0 ? 1 : 0;
    for (int64_t i = 0; i < count[e]; ++i)
      gather.push_back(static_cast<int32_t>((i * tokens / count[e] + e) % tokens));
  }
  const Floats a = floats(slots * k), c = floats(slots * n), act = floats(slots * n);
  GroupedMatmul args;
  args.kind = GroupedMatmul::Kind::forward;
  args.groups = experts;
  args.rows = slots;
  args.n = n;
  args.k = k;
  args.offsets = offsets.data();
  args.a = {a.get(), k};
  if (swiglu) args.gather_a = gather.data();
  args.c = c.get();
  args.ldc = n;
  if (swiglu) args.swiglu = act.get();
  Pair best = in_turn(
      [&] {
        for (int64_t i = 0; i < weights.copies(); ++i) {
          args.b = {weights.copy(i), k};
          table.grouped_matmul(args);
        }
      },
      [&] { ceiling.run(); }, 0.1);
  best.ours /= static_cast<double>(weights.copies());
  report(swiglu ? "experts, swiglu" : "experts", slots, n, k, 2.0 * slots * n * k,
         2.0 * read * n * k, best, total);
}

/// Matrices [n, k] of a layer of the presets bench-small and bench-large, and their experts.
struct LayerSizes {
  const char* name;
  std::array<int64_t, 2> dense[7];
  int64_t experts, top_k, width, hidden;
};
constexpr LayerSizes kLayerSizes[] = {
    {"small",
     {{512, 1024}, {1536, 512}, {288, 1024}, {2048, 256}, {1024, 1024}, {512, 1024}, {1024, 256}},
     32,
     4,
     256,
     1024},
    {"large",
     {{768, 2048}, {3072, 768}, {576, 2048}, {4096, 512}, {2048, 2048}, {1024, 2048}, {2048, 512}},
     64,
     6,
     512,
     2048}};

/// What a layer costs `tokens` rows.
void layers(const Kernels& table, int64_t tokens, const LayerSizes& sizes) {
  Ceiling ceiling;
  PromptTotal dense_total, expert_total;
  std::printf("bench-%s, %ld tokens\n", sizes.name, long(tokens));
  for (const auto& [n, k] : sizes.dense) layer_matmul(table, tokens, n, k, ceiling, dense_total);
  layer_experts(table, tokens, sizes.experts, sizes.top_k, 2 * sizes.width, sizes.hidden, true,
                ceiling, expert_total);
  layer_experts(table, tokens, sizes.experts, sizes.top_k, sizes.hidden, sizes.width, false,
                ceiling, expert_total);
  std::printf("  all: matmul %.1f us, %.1f GFLOP/s; experts %.1f us, %.1f GFLOP/s\n",
              1e6 * dense_total.seconds, 1e-9 * dense_total.flops / dense_total.seconds,
              1e6 * expert_total.seconds, 1e-9 * expert_total.flops / expert_total.seconds);
}

void run(const Kernels& table, const std::string& what) {
  const auto wanted = [&](const char* name) { return what.empty() || what == name; };
  if (wanted("dense")) {
    const int64_t shapes[][2] = {{256, 256},  {512, 512},  {768, 512},  {512, 768}, {1024, 512},
                                 {512, 1536}, {1536, 512}, {4096, 512}, {4096, 256}};
    for (const auto& s : shapes) {
      dense(table, "forward", {.m = 2048, .n = s[0], .k = s[1], .trans_b = true});
    }
    for (const int64_t m : {16, 32, 64, 128, 256}) {
      dense(table, "forward", {.m = m, .n = 512, .k = 512, .trans_b = true});
    }
  }
  if (wanted("grad")) {
    const int64_t shapes[][2] = {{256, 256}, {512, 512}, {768, 512}, {1024, 512}, {512, 4096}};
    for (const auto& s : shapes) {
      dense(table, "grad_input", {.m = 2048, .n = s[0], .k = s[1]});
      dense(table, "grad_weight", {.m = s[0], .n = s[1], .k = 2048, .trans_a = true});
    }
  }
  if (wanted("grouped")) {
    using Kind = GroupedMatmul::Kind;
    const int64_t shapes[][2] = {{512, 256}, {1024, 512}, {512, 512}, {256, 512}};
    for (const auto& s : shapes) {
      grouped(table, Kind::forward, 4096, s[0], s[1], false);
      grouped(table, Kind::forward, 4096, s[0], s[1], true);
      grouped(table, Kind::grad_input, 4096, s[0], s[1], false);
      grouped(table, Kind::grad_weight, 4096, s[0], s[1], false);
    }
  }
  if (wanted("bf16")) {
    for (const int64_t m : {1, 2, 4}) skinny(table, m, 64, 1024, true, 1, true);
    for (const int64_t m : {1, 2, 3, 4, 8, 12, 16, 32}) {
      skinny(table, m, 4096, 2048, true, 16, true);
    }
    for (const int64_t m : {1, 2, 4}) {
      skinny(table, m, 1024, 2048, true, 64, true);
      skinny(table, m, 2048, 512, true, 128, true);
      skinny(table, m, 2048, 512, false, 128, true);
    }
  }
  for (const LayerSizes& sizes : kLayerSizes) {
    if (wanted("prompt") || what == std::string("prompt-") + sizes.name) layers(table, 512, sizes);
    if (wanted("streams") || what == std::string("streams-") + sizes.name) layers(table, 16, sizes);
  }
  if (wanted("skinny")) {
    for (const int64_t m : {1, 2, 4, 8, 14, 15, 16, 32}) skinny(table, m, 4096, 4096, true, 4);
    for (const int64_t m : {1, 4, 8}) {
      skinny(table, m, 1024, 512, true, 128);
      skinny(table, m, 512, 1536, true, 80);
      skinny(table, m, 2048, 2048, false, 16);
    }
    skinny(table, 1, 256, 256, true, 1);
    skinny(table, 1, 64, 512, true, 1);
    skinny(table, 1, 512, 512, true, 1);
  }
}

}  // namespace
}  // namespace um

int main(int argc, char** argv) {
  const um::Kernels* table = &um::ref::kTable;
#ifdef UM_X86
  table = __builtin_cpu_supports("avx512f") ? &um::avx512::kTable : &um::avx2::kTable;
#endif
  std::string what;
  for (int i = 1; i < argc; ++i) {
#ifdef UM_X86
    if (std::strcmp(argv[i], "avx2") == 0) {
      table = &um::avx2::kTable;
      continue;
    }
    if (std::strcmp(argv[i], "avx512") == 0) continue;
#endif
    what = argv[i];
  }
  std::printf("%s, %d threads\n", table->name, omp_get_max_threads());
  um::run(*table, what);
  return 0;
}
