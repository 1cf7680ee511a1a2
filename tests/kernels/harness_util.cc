// The op harness: guarded arrays, comparison of backends, finite differences.
#include "tests/kernels/harness_util.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <cstring>

#include "kernels/registry.h"

namespace um::test {
namespace {

// Odd, so that the data is never aligned to a vector; 0xff bytes are NaN as f32 and f64.
constexpr size_t kGuard = 64 + sizeof(double);
constexpr std::byte kCanary{0xff};

double element(const std::vector<std::byte>& bytes, size_t i, size_t size, auto type) {
  decltype(type) value;
  std::memcpy(&value, bytes.data() + i * size, size);
  return static_cast<double>(value);
}

bool close(double a, double b, double slack) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (std::isinf(a) || std::isinf(b)) return a == b;
  return std::abs(a - b) <= slack;
}

}  // namespace

std::vector<const Kernels*> vector_tables() {
  std::vector<const Kernels*> tables = available_kernels();
  tables.erase(tables.begin());
  return tables;
}

std::byte* OpHarness::Array::data() const {
  return memory.get() + kGuard;
}

template <class T>
T* OpHarness::add(Kind kind, const std::vector<T>& values, bool written) {
  Array array{kind, values.size() * sizeof(T), written, nullptr, {}};
  array.memory = std::make_unique<std::byte[]>(array.bytes + 2 * kGuard);
  std::memset(array.memory.get(), static_cast<int>(kCanary), array.bytes + 2 * kGuard);
  const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
  array.initial.assign(bytes, bytes + array.bytes);
  if (array.bytes) std::memcpy(array.data(), bytes, array.bytes);
  arrays_.push_back(std::move(array));
  return reinterpret_cast<T*>(arrays_.back().data());
}

template <class T>
std::vector<T> OpHarness::noise(int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  std::normal_distribution<double> normal(0, 3);
  for (T& value : values) value = static_cast<T>(normal(random_));
  return values;
}

float* OpHarness::input(int64_t count, float scale, float mean) {
  std::vector<float> values(static_cast<size_t>(count));
  std::normal_distribution<float> normal(mean, scale);
  for (float& value : values) value = normal(random_);
  return add(Kind::f32, values, false);
}
float* OpHarness::input(const std::vector<float>& values) {
  return add(Kind::f32, values, false);
}
int32_t* OpHarness::input(const std::vector<int32_t>& values) {
  return add(Kind::i32, values, false);
}
int64_t* OpHarness::input(const std::vector<int64_t>& values) {
  return add(Kind::i64, values, false);
}
int32_t* OpHarness::random_ids(int64_t count, int64_t below) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int32_t& id : ids) id = static_cast<int32_t>(random_() % static_cast<uint64_t>(below));
  return input(ids);
}
float* OpHarness::output(int64_t count) {
  return add(Kind::f32, noise<float>(count), true);
}
int32_t* OpHarness::output_i32(int64_t count) {
  return add(Kind::i32, noise<int32_t>(count), true);
}
int64_t* OpHarness::output_i64(int64_t count) {
  return add(Kind::i64, noise<int64_t>(count), true);
}
double* OpHarness::output_f64(int64_t count) {
  return add(Kind::f64, noise<double>(count), true);
}

OpHarness::Array& OpHarness::array_of(const void* data) {
  for (Array& array : arrays_) {
    if (array.data() == data) return array;
  }
  ADD_FAILURE() << "harness: not an array of this test";
  std::abort();
}

void OpHarness::restore() {
  for (Array& array : arrays_) {
    if (array.bytes) std::memcpy(array.data(), array.initial.data(), array.bytes);
  }
}

void OpHarness::check_memory(const char* backend) const {
  for (size_t n = 0; n < arrays_.size(); ++n) {
    const Array& array = arrays_[n];
    bool intact = true;
    for (size_t i = 0; i < kGuard; ++i) {
      intact = intact && array.memory[i] == kCanary;
      intact = intact && array.data()[array.bytes + i] == kCanary;
    }
    EXPECT_TRUE(intact) << backend << " wrote outside array " << n;
    if (array.written || !array.bytes) continue;
    EXPECT_EQ(std::memcmp(array.data(), array.initial.data(), array.bytes), 0)
        << backend << " changed its input, array " << n;
  }
}

OpHarness::Contents OpHarness::run_once(const Kernels& kernels, const Run& run) {
  restore();
  run(kernels);
  check_memory(kernels.name);
  Contents contents;
  for (const Array& array : arrays_) {
    contents.emplace_back(array.data(), array.data() + array.bytes);
  }
  return contents;
}

void OpHarness::compare(const Contents& expected, const Contents& found, const char* backend,
                        double tolerance, double scale) const {
  for (size_t n = 0; n < arrays_.size(); ++n) {
    const Array& array = arrays_[n];
    if (!array.written) continue;
    const bool exact = array.kind == Kind::i32 || array.kind == Kind::i64;
    const size_t size = array.kind == Kind::f32 || array.kind == Kind::i32 ? 4 : 8;
    auto at = [&](const std::vector<std::byte>& bytes, size_t i) {
      switch (array.kind) {
        case Kind::f32:
          return element(bytes, i, size, float{});
        case Kind::f64:
          return element(bytes, i, size, double{});
        case Kind::i32:
          return element(bytes, i, size, int32_t{});
        default:
          return element(bytes, i, size, int64_t{});
      }
    };
    const size_t count = array.bytes / size;
    double squares = 0, finite = 1;
    for (size_t i = 0; i < count; ++i) {
      const double value = at(expected[n], i);
      if (!std::isfinite(value)) continue;
      squares += value * value;
      finite += 1;
    }
    const double rms = std::sqrt(squares / finite);
    for (size_t i = 0; i < count; ++i) {
      const double want = at(expected[n], i), have = at(found[n], i);
      const double slack = exact ? 0 : tolerance * (std::abs(want) + rms + scale);
      ASSERT_TRUE(close(want, have, slack))
          << backend << ": array " << n << "[" << i << "] expected " << want << ", found " << have;
    }
  }
}

void OpHarness::expect_parity(const Run& run, double tolerance, double scale) {
  const Contents expected = run_once(ref::kTable, run);
  for (const Kernels* kernels : available_kernels()) {
    if (kernels == &ref::kTable) continue;
    compare(expected, run_once(*kernels, run), kernels->name, tolerance, scale);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

void OpHarness::expect_same_bits_for_threads(const Run& run) {
  const int threads = omp_get_max_threads();
  for (const Kernels* kernels : available_kernels()) {
    omp_set_num_threads(1);
    const Contents expected = run_once(*kernels, run);
    for (int n : {2, 3, 5}) {
      omp_set_num_threads(n);
      EXPECT_EQ(run_once(*kernels, run), expected) << kernels->name << ", " << n << " threads";
    }
    omp_set_num_threads(threads);
  }
}

void OpHarness::expect_rows_independent(int64_t rows, const RunRows& run) {
  for (const Kernels* kernels : available_kernels()) {
    const Contents expected = run_once(*kernels, [&](const Kernels& k) { run(k, 0, rows); });
    for (int64_t step : {1, 3}) {
      const Contents found = run_once(*kernels, [&](const Kernels& k) {
        for (int64_t row = 0; row < rows; row += step) run(k, row, std::min(step, rows - row));
      });
      EXPECT_EQ(found, expected) << kernels->name << ", " << step << " rows at a time";
    }
  }
}

void OpHarness::check_direction(const Run& forward, const Pair& input,
                                const std::vector<Pair>& outputs,
                                const std::vector<float>& gradient, bool dense, double tolerance,
                                double step) {
  std::normal_distribution<double> normal;
  std::vector<double> direction(static_cast<size_t>(input.count));
  if (dense) {
    for (double& d : direction) d = normal(random_);
  } else {
    direction[random_() % direction.size()] = 1;
  }
  auto loss = [&](double along) {
    restore();
    for (size_t i = 0; i < direction.size(); ++i) {
      input.value[i] += static_cast<float>(along * direction[i]);
    }
    forward(ref::kTable);
    double sum = 0;
    for (const Pair& output : outputs) {
      for (int64_t i = 0; i < output.count; ++i) {
        sum += static_cast<double>(output.value[i]) * output.gradient[i];
      }
    }
    return sum;
  };
  const double near = loss(step) - loss(-step), far = loss(2 * step) - loss(-2 * step);
  const double expected = (8 * near - far) / (12 * step);
  double found = 0, squares = 0, all = 0;
  for (size_t i = 0; i < direction.size(); ++i) {
    found += gradient[i] * direction[i];
    squares += gradient[i] * direction[i] * gradient[i] * direction[i];
    all += static_cast<double>(gradient[i]) * gradient[i];
  }
  const double scale = std::sqrt(std::max(squares, all / static_cast<double>(direction.size())));
  EXPECT_NEAR(found, expected, tolerance * (std::abs(expected) + scale))
      << (dense ? "dense" : "single") << " direction";
}

void OpHarness::expect_gradient(const Run& forward, const Run& backward,
                                const std::vector<Pair>& inputs, const std::vector<Pair>& outputs,
                                double tolerance, double step) {
  std::normal_distribution<float> normal;
  for (int trial = 0; trial < 6; ++trial) {
    for (const Pair& output : outputs) {
      Array& array = array_of(output.gradient);
      for (int64_t i = 0; i < output.count; ++i) output.gradient[i] = normal(random_);
      std::memcpy(array.initial.data(), array.data(), array.bytes);
    }
    restore();
    forward(ref::kTable);
    backward(ref::kTable);
    std::vector<std::vector<float>> gradients;
    for (const Pair& input : inputs) {
      gradients.emplace_back(input.gradient, input.gradient + input.count);
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      SCOPED_TRACE("input " + std::to_string(i) + ", trial " + std::to_string(trial));
      check_direction(forward, inputs[i], outputs, gradients[i], trial % 2 == 0, tolerance, step);
    }
  }
  restore();
}

}  // namespace um::test
