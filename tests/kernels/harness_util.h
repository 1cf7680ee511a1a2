// The op harness. A test makes its arrays here, fills an argument struct with their addresses once,
// and asks for checks; each check puts the arrays back to their first contents before every run:
//   parity         every backend of this machine gives what `ref` gives, within a tolerance, and
//                  touches neither its inputs nor anything beside its outputs;
//   thread bits    the same bits for 1, 2, 3 and 5 threads;
//   row bits       a row's bits do not depend on the rows around it;
//   gradient       the reference's gradient agrees with finite differences of its forward.
// Outputs start with random contents, so `accumulate` on and off are both visible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "kernels/kernels.h"

namespace um::test {

/// Sizes around the vector widths, for loops over odd shapes.
inline const std::vector<int64_t> kOddSizes{1, 3, 7, 8, 15, 16, 17, 33, 64, 100};

/// The kernel tables that run here, without the reference.
std::vector<const Kernels*> vector_tables();

class OpHarness {
 public:
  using Run = std::function<void(const Kernels&)>;
  using RunRows = std::function<void(const Kernels&, int64_t first, int64_t count)>;
  /// A tensor and its gradient, of `count` elements.
  struct Pair {
    Pair(const float* v, const float* g, int64_t n)
        : value(const_cast<float*>(v)), gradient(const_cast<float*>(g)), count(n) {}
    float* value;
    float* gradient;
    int64_t count;
  };

  explicit OpHarness(uint64_t seed = 1) : random_(seed) {}

  /// Standard normal values times `scale` plus `mean`.
  float* input(int64_t count, float scale = 1, float mean = 0);
  float* input(const std::vector<float>& values);
  int32_t* input(const std::vector<int32_t>& values);
  int64_t* input(const std::vector<int64_t>& values);
  /// Integers in [0, below).
  int32_t* random_ids(int64_t count, int64_t below);

  float* output(int64_t count);
  int32_t* output_i32(int64_t count);
  int64_t* output_i64(int64_t count);
  double* output_f64(int64_t count);

  /// Values may differ by tolerance * (|value| + root mean square of the array + scale); integers
  /// not. Give a scale where results cancel: the size of the terms they are sums of.
  void expect_parity(const Run& run, double tolerance = 2e-6, double scale = 0);
  void expect_same_bits_for_threads(const Run& run);
  /// run(kernels, 0, rows) against rows one by one and in threes.
  void expect_rows_independent(int64_t rows, const RunRows& run);
  /// For each input pair: backward's gradient along random directions (all elements, or one)
  /// against the five-point difference quotient of Σ outputs · their gradients, which are drawn at
  /// random.
  void expect_gradient(const Run& forward, const Run& backward, const std::vector<Pair>& inputs,
                       const std::vector<Pair>& outputs, double tolerance = 3e-4,
                       double step = 0.02);

  std::mt19937_64& random() { return random_; }

 private:
  enum class Kind { f32, f64, i32, i64 };
  struct Array {
    Kind kind;
    size_t bytes;
    bool written;
    std::unique_ptr<std::byte[]> memory;  // guard, data, guard
    std::vector<std::byte> initial;
    std::byte* data() const;
  };
  using Contents = std::vector<std::vector<std::byte>>;

  template <class T>
  T* add(Kind kind, const std::vector<T>& values, bool written);
  template <class T>
  std::vector<T> noise(int64_t count);
  Array& array_of(const void* data);
  void restore();
  void check_memory(const char* backend) const;
  Contents run_once(const Kernels& kernels, const Run& run);
  void compare(const Contents& expected, const Contents& found, const char* backend,
               double tolerance, double scale) const;
  void check_direction(const Run& forward, const Pair& input, const std::vector<Pair>& outputs,
                       const std::vector<float>& gradient, bool dense, double tolerance,
                       double step);

  std::mt19937_64 random_;
  std::vector<Array> arrays_;
};

}  // namespace um::test
