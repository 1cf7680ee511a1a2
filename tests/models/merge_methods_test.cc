// Merging one tensor: each method against its formula written out plainly, in doubles; DARE's
// masks; what it takes of memory.
#include "models/merge_methods.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>

#include "core/error.h"
#include "core/rng.h"

namespace um {
namespace {

using Values = std::vector<float>;

constexpr int64_t kRows = 37, kColumns = 53, kElements = kRows * kColumns;

/// A tensor [kRows, kColumns] in memory.
StoredWeight weight_of(const Values& values) {
  StoredWeight weight;
  weight.shape = {kRows, kColumns};
  weight.read = [values](int64_t row, int64_t count, float* out) {
    std::copy_n(values.begin() + row * kColumns, count * kColumns, out);
  };
  return weight;
}

/// Normal numbers; rounded to whole halves where many are to be equal.
Values random_values(uint64_t seed, bool coarse = false) {
  const RandomStream random(seed, 1);
  Values values(kElements);
  for (int64_t i = 0; i < kElements; ++i) {
    const double value = random.normal(static_cast<uint64_t>(i));
    values[static_cast<size_t>(i)] = static_cast<float>(coarse ? std::round(value * 2) / 2 : value);
  }
  return values;
}

Values read_all(const StoredWeight& weight) {
  Values values(static_cast<size_t>(weight.rows() * weight.columns()));
  weight.read(0, weight.rows(), values.data());
  return values;
}

struct Sources {
  Values base;
  std::vector<Values> models;

  Values merge(const MergeRule& rule, const std::string& name = "model.norm.weight") const {
    std::vector<StoredWeight> weights;
    for (const Values& model : models) weights.push_back(weight_of(model));
    return read_all(merged_weight(rule, name, weight_of(base), weights));
  }
};

Sources random_sources(size_t models, bool coarse = false) {
  Sources sources;
  sources.base = random_values(100, coarse);
  for (size_t m = 0; m < models; ++m) sources.models.push_back(random_values(m + 1, coarse));
  return sources;
}

/// Base plus the weighted differences, after `stays(model, index, delta)` has said what they are.
template <class Stays>
Values plain_formula(const Sources& sources, const MergeRule& rule, bool election, Stays stays) {
  Values out(kElements);
  for (size_t i = 0; i < out.size(); ++i) {
    std::vector<double> values;
    double sum = 0, positive = 0;
    for (size_t m = 0; m < sources.models.size(); ++m) {
      values.push_back(rule.weights[m] * stays(m, i, sources.models[m][i] - sources.base[i]));
      positive += values.back();
    }
    double divisor = 0;
    for (size_t m = 0; m < values.size(); ++m) {
      const bool agrees = positive >= 0 ? values[m] > 0 : values[m] < 0;
      if (election && !agrees) continue;
      sum += values[m];
      divisor += rule.weights[m];
    }
    if (std::abs(divisor) < 1e-8 || !rule.normalize) divisor = 1;
    out[i] = static_cast<float>(sources.base[i] + rule.lambda * sum / divisor);
  }
  return out;
}

void expect_near(const Values& found, const Values& expected, double tolerance = 2e-6) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], tolerance) << i;
}

TEST(MergeMethods, LinearIsTheWeightedMeanOrSum) {
  const Sources sources = random_sources(3);
  MergeRule rule{.weights = {1, 0.5, -0.25}};
  for (const bool normalize : {true, false}) {
    rule.normalize = normalize;
    Values expected(kElements);
    for (size_t i = 0; i < expected.size(); ++i)
      expected[i] = static_cast<float>(
          (sources.models[0][i] + 0.5 * sources.models[1][i] - 0.25 * sources.models[2][i]) /
          (normalize ? 1.25 : 1));
    expect_near(sources.merge(rule), expected);
  }
}

TEST(MergeMethods, TaskArithmeticAndDeltasAddDifferences) {
  const Sources sources = random_sources(3);
  const auto all = [](size_t, size_t, double delta) { return delta; };
  for (const MergeMethod method : {MergeMethod::task_arithmetic, MergeMethod::deltas})
    for (const bool normalize : {true, false}) {
      const MergeRule rule{
          .method = method, .weights = {0.7, 0.5, -0.3}, .normalize = normalize, .lambda = 0.8};
      expect_near(sources.merge(rule), plain_formula(sources, rule, false, all));
    }
  // Weights whose sum is nothing do not divide.
  const MergeRule rule{.method = MergeMethod::task_arithmetic, .weights = {1, 1, -2}};
  expect_near(sources.merge(rule), plain_formula(sources, rule, false, all));
}

double length_of(const Values& values) {
  return std::sqrt(std::inner_product(values.begin(), values.end(), values.begin(), 0.0));
}

TEST(MergeMethods, SlerpGoesAlongTheArc) {
  Sources sources = random_sources(2);
  for (Values& model : sources.models) {
    const double length = length_of(model);
    for (float& value : model) value = static_cast<float>(value / length);
  }
  const Values &a = sources.models[0], &b = sources.models[1];
  const double angle = std::acos(std::inner_product(a.begin(), a.end(), b.begin(), 0.0));
  const auto at = [&](double t) { return sources.merge({.method = MergeMethod::slerp, .t = t}); };
  expect_near(at(0), a, 1e-7);
  expect_near(at(1), b, 1e-7);
  for (const double t : {0.2, 0.5, 0.9}) {
    const Values found = at(t);
    EXPECT_NEAR(length_of(found), 1, 1e-6);  // it stays on the sphere
    EXPECT_NEAR(std::acos(std::inner_product(a.begin(), a.end(), found.begin(), 0.0)), t * angle,
                1e-5);
  }
}

TEST(MergeMethods, SlerpOfNearlyColinearTensorsIsAStraightLine) {
  Sources sources = random_sources(2);
  for (size_t i = 0; i < kElements; ++i)
    sources.models[1][i] = -2 * sources.models[0][i] + 0.01F * sources.base[i];
  Values expected(kElements);
  for (size_t i = 0; i < expected.size(); ++i)
    expected[i] = 0.75F * sources.models[0][i] + 0.25F * sources.models[1][i];
  expect_near(sources.merge({.method = MergeMethod::slerp, .t = 0.25}), expected);
  for (Values& model : sources.models) std::ranges::fill(model, 0.0F);  // no direction at all
  EXPECT_EQ(sources.merge({.method = MergeMethod::slerp}), sources.models[0]);
}

/// Which elements of each difference TIES keeps, by sorting: the largest, of equal ones the first.
std::vector<std::vector<bool>> largest_by_sorting(const Sources& sources, double density) {
  std::vector<std::vector<bool>> kept;
  for (const Values& model : sources.models) {
    std::vector<size_t> order(kElements);
    std::iota(order.begin(), order.end(), size_t{0});
    const auto size = [&](size_t i) { return std::abs(model[i] - sources.base[i]); };
    std::ranges::stable_sort(order, [&](size_t i, size_t j) { return size(i) > size(j); });
    const auto count = std::max<size_t>(1, static_cast<size_t>(density * kElements));
    kept.emplace_back(kElements, false);
    for (size_t i = 0; i < count; ++i) kept.back()[order[i]] = true;
  }
  return kept;
}

TEST(MergeMethods, TiesTrimsAndElects) {
  for (const bool coarse : {false, true})  // with many equal magnitudes, too
    for (const double density : {1.0, 0.5, 0.3, 0.01, 1e-6}) {
      SCOPED_TRACE(fmt::format("density {}{}", density, coarse ? ", coarse" : ""));
      const Sources sources = random_sources(3, coarse);
      const auto kept = largest_by_sorting(sources, density);
      for (const bool normalize : {true, false}) {
        const MergeRule rule{.method = MergeMethod::ties,
                             .weights = {1, 0.6, 0.3},
                             .normalize = normalize,
                             .density = density,
                             .lambda = 1.5};
        expect_near(sources.merge(rule),
                    plain_formula(sources, rule, true, [&](size_t m, size_t i, double delta) {
                      return kept[m][i] ? delta : 0;
                    }));
      }
    }
}

TEST(MergeMethods, DareDropsByItsMaskAndKeepsTheSumOfMagnitudes) {
  const Sources sources = random_sources(3);
  const std::string name = "model.norm.weight";
  for (const MergeMethod method : {MergeMethod::dare_linear, MergeMethod::dare_ties}) {
    const MergeRule rule{
        .method = method, .weights = {1, 0.6, 0.3}, .normalize = false, .density = 0.3, .seed = 7};
    const auto keeps = [&](size_t m, size_t i) {
      return dare_keeps(rule.seed, name, m, static_cast<int64_t>(i), rule.density);
    };
    std::vector<double> scales;
    for (size_t m = 0; m < sources.models.size(); ++m) {
      double before = 0, after = 0;
      for (size_t i = 0; i < kElements; ++i) {
        const double size = std::abs(sources.models[m][i] - sources.base[i]);
        before += size;
        after += keeps(m, i) ? size : 0;
      }
      scales.push_back(before / after);
    }
    const bool election = method == MergeMethod::dare_ties;
    expect_near(sources.merge(rule, name),
                plain_formula(sources, rule, election,
                              [&](size_t m, size_t i, double delta) {
                                return keeps(m, i) ? delta * scales[m] : 0;
                              }),
                1e-5);  // differences of 3 are scaled by more than 3
  }
}

TEST(MergeMethods, TheMaskOfDareHangsOnSeedTensorModelAndElementOnly) {
  constexpr int64_t kCount = 100000;
  const auto mask = [](uint64_t seed, const char* name, size_t model, double density) {
    std::vector<bool> kept(kCount);
    for (int64_t i = 0; i < kCount; ++i)
      kept[static_cast<size_t>(i)] = dare_keeps(seed, name, model, i, density);
    return kept;
  };
  const auto share = [](const std::vector<bool>& kept) {
    return static_cast<double>(std::count(kept.begin(), kept.end(), true)) / kCount;
  };
  for (const double density : {0.1, 0.5, 0.9})
    EXPECT_NEAR(share(mask(1, "a", 0, density)), density,
                4 * std::sqrt(density * (1 - density) / kCount));
  const auto one = mask(1, "a", 0, 0.5);
  EXPECT_EQ(one, mask(1, "a", 0, 0.5));
  for (const auto& other : {mask(2, "a", 0, 0.5), mask(1, "b", 0, 0.5), mask(1, "a", 1, 0.5)}) {
    std::vector<bool> both(kCount);
    for (size_t i = 0; i < both.size(); ++i) both[i] = one[i] && other[i];
    EXPECT_NEAR(share(both), 0.25, 4 * std::sqrt(0.25 * 0.75 / kCount));  // as two that know not
  }                                                                       // of each other
}

TEST(MergeMethods, BitsHangNeitherOnThreadsNorOnWhatIsReadAtATime) {
  const Sources sources = random_sources(3);
  const int threads = omp_get_max_threads();
  for (const std::string& name : merge_method_names()) {
    MergeRule rule{.method = merge_method(name), .weights = {1, 0.6, 0.3}};
    omp_set_num_threads(1);
    const Values one = sources.merge(rule);
    omp_set_num_threads(5);
    EXPECT_EQ(sources.merge(rule), one) << name;
    std::vector<StoredWeight> models;
    for (const Values& model : sources.models) models.push_back(weight_of(model));
    const StoredWeight merged =
        merged_weight(rule, "model.norm.weight", weight_of(sources.base), models);
    Values by_rows(kElements);
    for (int64_t row = kRows - 1; row >= 0; --row)
      merged.read(row, 1, by_rows.data() + row * kColumns);
    EXPECT_EQ(by_rows, one) << name;
  }
  omp_set_num_threads(threads);
}

TEST(MergeMethods, UnknownNamesAreListed) {
  for (const std::string& name : merge_method_names())
    EXPECT_EQ(merge_method_name(merge_method(name)), name);
  EXPECT_THROW(merge_method("tise"), UsageError);
}

/// The process's largest memory since the last call with `reset`; 0 where the system does not say.
int64_t peak_kb(bool reset) {
  if (reset) std::ofstream("/proc/self/clear_refs") << 5;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6));
  return 0;
}

/// Four models, of which each tensor has 32 MB, are merged in far less than one tensor.
TEST(MergeMethods, MemoryGrowsNeitherWithTensorsNorWithModelsSlow) {
  constexpr int64_t kTall = 8192, kWide = 1024, kTensorKb = kTall * kWide * 4 / 1024;
  const auto made = [](int64_t seed) {
    StoredWeight weight;
    weight.shape = {kTall, kWide};
    weight.read = [seed](int64_t row, int64_t count, float* out) {
      for (int64_t i = 0; i < count * kWide; ++i)
        out[i] = static_cast<float>((row * kWide + i + 7) * seed & 0xfffff);
    };
    return weight;
  };
  const std::vector<StoredWeight> models{made(7919), made(7927), made(7933), made(7937)};
  const int threads = omp_get_max_threads();
  omp_set_num_threads(2);
  for (const MergeMethod method : {MergeMethod::ties, MergeMethod::dare_ties}) {
    const int64_t before = peak_kb(true);
    if (before == 0) GTEST_SKIP() << "the system does not tell the largest memory";
    const StoredWeight merged =
        merged_weight({.method = method, .weights = {1, 1, 1, 1}}, "x", made(7907), models);
    Values row(kWide);
    for (int64_t r = 0; r < kTall; ++r) merged.read(r, 1, row.data());
    EXPECT_LT(peak_kb(false) - before, kTensorKb / 4) << merge_method_name(method);
  }
  omp_set_num_threads(threads);
}

}  // namespace
}  // namespace um
