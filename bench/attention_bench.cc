// Speed of attention and its gradient beside the machine's f32 matmul speed (oneDNN), measured in
// turn in the same run. Work is counted for the visible half of the scores: two products forward,
// five backward (the scores are computed again). Usage: attention_bench [avx2|avx512] [rounds]
// [part of a case's name]
#include <fmt/core.h>
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <oneapi/dnnl/dnnl.hpp>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace um {
namespace {

struct Case {
  std::string name;
  int64_t heads, kv_heads, qk_dim, rope_dim, v_dim;
  std::vector<int64_t> queries;
  int64_t past = 0;
  bool absorbed = false;
};

struct Buffers {
  std::vector<int64_t> q_offsets{0}, kv_offsets{0};
  std::vector<float> q, k, k_rope, v, out, lse, dq, dk, dk_rope, dv;
  AttentionGrad args;
  double pairs = 0, kv_bytes = 0;  ///< visible (query, key) pairs of one head; bytes of all keys

  explicit Buffers(const Case& c) {
    for (int64_t n : c.queries) {
      q_offsets.push_back(q_offsets.back() + n);
      kv_offsets.push_back(kv_offsets.back() + n + c.past);
      pairs += double(n) * (n + 1) / 2 + double(n) * c.past;
    }
    Attention& a = args.forward;
    a.heads = c.heads;
    a.kv_heads = c.kv_heads;
    a.qk_dim = c.qk_dim;
    a.rope_dim = c.rope_dim;
    a.v_dim = c.v_dim;
    a.sequences = int64_t(c.queries.size());
    a.q_offsets = q_offsets.data();
    a.kv_offsets = kv_offsets.data();
    a.ldq = c.heads * (c.qk_dim + c.rope_dim);
    a.ldk = c.kv_heads * c.qk_dim;
    a.k_head_stride = c.qk_dim;
    a.ld_k_rope = c.rope_dim;
    a.ldv = c.absorbed ? a.ldk : c.kv_heads * c.v_dim;
    a.v_head_stride = c.v_dim;
    a.ld_out = c.heads * c.v_dim;
    a.scale = 0.125f;
    const int64_t tokens = q_offsets.back(), keys = kv_offsets.back();
    a.q = fill(q, tokens * a.ldq);
    a.k = fill(k, keys * a.ldk);
    a.k_rope = fill(k_rope, keys * a.ld_k_rope);
    a.v = c.absorbed ? a.k : fill(v, keys * a.ldv);
    a.out = fill(out, tokens * a.ld_out);
    a.lse = fill(lse, tokens * a.heads);
    args.dout = a.out;
    args.dq = fill(dq, tokens * a.ldq);
    args.dk = fill(dk, keys * a.ldk);
    args.dk_rope = fill(dk_rope, keys * a.ld_k_rope);
    args.dv = fill(dv, keys * a.ldv);
    kv_bytes = 4.0 * keys * (a.ldk + a.ld_k_rope + (c.absorbed ? 0 : a.ldv));
  }

 private:
  static float* fill(std::vector<float>& to, int64_t count) {
    static std::mt19937 random(1);
    std::normal_distribution<float> normal;
    to.resize(count);
    for (float& x : to) x = normal(random);
    return to.data();
  }
};

/// Wall time; with one thread its processor time, which busy neighbours disturb less.
double now() {
  timespec t;
  clock_gettime(omp_get_max_threads() > 1 ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

double seconds(const std::function<void()>& run) {
  const double begin = now();
  run();
  return now() - begin;
}

/// A cache's rows in a narrow format.
struct NarrowCache {
  std::vector<uint16_t> bf16;
  std::vector<int8_t> i8;
  std::vector<float> scales;
  RowsView view;

  NarrowCache(const Kernels& kernels, const float* x, int64_t rows, int64_t width, bool int8) {
    if (int8) {
      const int64_t groups = int8_groups(width);
      i8.resize(rows * width);
      scales.resize(rows * groups);
      kernels.quantize_rows({.rows = rows,
                             .width = width,
                             .x = x,
                             .ldx = width,
                             .values = i8.data(),
                             .ld_values = width,
                             .scales = scales.data(),
                             .ld_scales = groups});
      view = {i8.data(), width, kInt8CacheRows, scales.data(), groups};
    } else {
      bf16.resize(rows * width);
      kernels.narrow_rows(
          {.rows = rows, .width = width, .x = x, .ldx = width, .y = bf16.data(), .ldy = width});
      view = {bf16.data(), width};
    }
  }
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Times the case over an f32, a bf16 and an int8 cache in turn; prints the medians, and the median
/// of each turn's speed relative to bf16's.
void measure_caches(const Kernels& kernels, const Case& c, const Buffers& b, int rounds) {
  const Attention& f32 = b.args.forward;
  const int64_t rows = b.kv_offsets.back();
  std::vector<NarrowCache> k, v;
  std::vector<Attention> all{f32};
  k.reserve(2), v.reserve(2);
  for (const bool int8 : {false, true}) {
    k.emplace_back(kernels, b.k.data(), rows, f32.ldk, int8);
    if (!c.absorbed) v.emplace_back(kernels, b.v.data(), rows, f32.ldv, int8);
    Attention a = f32;
    a.k = a.v = nullptr;
    a.narrow_k = k.back().view;
    a.narrow_v = c.absorbed ? a.narrow_k : v.back().view;
    all.push_back(a);
  }
  std::vector<double> times[3], speedups[3];
  for (int i = 0; i < rounds; i++) {
    for (int n = 0; n < 3; n++)
      times[n].push_back(seconds([&] { kernels.attention(all[size_t(n)]); }));
    for (int n = 0; n < 3; n++) speedups[n].push_back(times[1].back() / times[n].back());
  }
  const char* names[] = {"f32", "bf16", "int8"};
  for (int n = 0; n < 3; n++) {
    const auto bytes = [&](int64_t width) {
      const RowFormat format = n == 0 ? kF32Rows : n == 1 ? kBf16Rows : kInt8CacheRows;
      return double(format.row_bytes(width));
    };
    const double row = bytes(f32.ldk) + (c.absorbed ? 0 : bytes(f32.ldv));
    const double time = median(times[n]);
    fmt::print("    {:<5} cache {:5.0f} bytes a token  {:8.3f} ms {:5.1f} GB/s  {:5.2f} x bf16\n",
               names[n], row, time * 1e3, row * double(rows) / time / 1e9, median(speedups[n]));
  }
}

void measure(const Kernels& kernels, const Case& c, int rounds) {
  Buffers b(c);
  const Attention& a = b.args.forward;
  const int64_t n = 768;
  static std::vector<float> left(n * n, 1.0f), right(n * n, 1.0f), product(n * n);
  double gemm = 1e9, forward = 1e9, backward = 1e9;
  for (int i = 0; i < rounds; i++) {
    gemm = std::min(gemm, seconds([&] {
                      dnnl::sgemm('N', 'N', n, n, n, 1.0f, left.data(), n, right.data(), n, 0.0f,
                                  product.data(), n);
                    }));
    forward = std::min(forward, seconds([&] { kernels.attention(a); }));
    if (c.past == 0)
      backward = std::min(backward, seconds([&] { kernels.attention_grad(b.args); }));
  }
  const double qk = double(c.qk_dim + c.rope_dim), v = double(c.v_dim);
  const double ceiling = 2.0 * n * n * n / gemm / 1e9;
  const double forward_rate = 2 * b.pairs * c.heads * (qk + v) / forward / 1e9;
  const double backward_rate = 2 * b.pairs * c.heads * (3 * qk + 2 * v) / backward / 1e9;
  fmt::print("{:<22} ceiling {:6.1f}  forward {:8.3f} ms {:6.1f} GFLOP/s ({:3.0f}%)", c.name,
             ceiling, forward * 1e3, forward_rate, 100 * forward_rate / ceiling);
  if (c.past == 0) {
    fmt::print("  backward {:8.3f} ms {:6.1f} GFLOP/s ({:3.0f}%)\n", backward * 1e3, backward_rate,
               100 * backward_rate / ceiling);
  } else {
    fmt::print("  keys and values {:5.1f} GB/s\n", b.kv_bytes / forward / 1e9);
    measure_caches(kernels, c, b, rounds);
  }
}

std::vector<Case> cases() {
  std::vector<int64_t> documents;
  for (int64_t total = 0, i = 0; total < 2048; i++) {
    documents.push_back(std::min<int64_t>(20 + (i * 67) % 181, 2048 - total));
    total += documents.back();
  }
  return {
      {"8x256 mla 8 heads", 8, 8, 32, 32, 64, std::vector<int64_t>(8, 256)},
      {"8x256 mla 4 heads", 4, 4, 32, 32, 64, std::vector<int64_t>(8, 256)},
      {"1x256 mla 8 heads", 8, 8, 32, 32, 64, {256}},
      {"documents mla 8 heads", 8, 8, 32, 32, 64, documents},
      {"1024 gqa 8/2 d64", 8, 2, 64, 0, 64, {1024, 1024}},
      {"4096 gqa 8/2 d128", 8, 2, 128, 0, 128, {4096}},
      {"decode gqa 40/8 d128", 40, 8, 128, 0, 128, {1}, 8191},
      {"decode gqa x16", 16, 4, 128, 0, 128, std::vector<int64_t>(16, 1), 1023},
      {"decode bench-small", 16, 1, 288, 0, 256, {1}, 4095, true},
      {"decode bench-small 4", 16, 1, 288, 0, 256, {4}, 4092, true},
      {"decode bench-small x16", 16, 1, 288, 0, 256, std::vector<int64_t>(16, 1), 500, true},
      {"decode mla 16 heads", 16, 1, 576, 0, 512, {1}, 16383, true},
      {"decode mla 128 heads", 128, 1, 576, 0, 512, {1}, 4095, true},
      {"decode 4096 mla 16 heads", 16, 1, 576, 0, 512, {1}, 4095, true},
      {"decode 4096 gqa 40/8 d128", 40, 8, 128, 0, 128, {1}, 4095},
      {"decode 4096 gqa 9/3 d64", 9, 3, 64, 0, 64, {1}, 4095},
      {"decode 4096 mha 16 d128", 16, 16, 128, 0, 128, {1}, 4095},
  };
}

}  // namespace
}  // namespace um

int main(int argc, char** argv) {
  const um::Kernels* kernels = &um::ref::kTable;
#ifdef UM_X86
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) kernels = &um::avx2::kTable;
  const bool want_avx512 = argc < 2 || std::strcmp(argv[1], "avx2") != 0;
  if (want_avx512 && __builtin_cpu_supports("avx512dq")) kernels = &um::avx512::kTable;
#endif
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 20;
  fmt::print("{}, {} threads, best of {}\n", kernels->name, omp_get_max_threads(), rounds);
  for (const um::Case& c : um::cases()) {
    if (argc < 4 || c.name.find(argv[3]) != std::string::npos) um::measure(*kernels, c, rounds);
  }
  return 0;
}
