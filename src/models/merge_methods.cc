// See merge_methods.h.
#include "models/merge_methods.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <span>

#include "core/error.h"
#include "core/rng.h"

namespace um {
namespace {

using Row = std::vector<float>;

constexpr std::array<std::string_view, 7> kNames = {
    "linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties", "deltas"};
constexpr size_t kBins = size_t{1} << 16;
constexpr double kColinear = 0.9995;    // SLERP: cosine above which it is a straight line
constexpr double kLeastNorm = 1e-8;     // SLERP: a shorter tensor is not made a unit vector
constexpr double kLeastDelta = 1e-7;    // DARE: sums below it are not scaled
constexpr float kLeastWeights = 1e-8F;  // sums of weights below it do not divide

/// A float's magnitude as an integer: of the same order.
uint32_t magnitude_bits(float value) {
  return std::bit_cast<uint32_t>(value) & 0x7fffffffu;
}

/// Calls visit(row) for all rows of a tensor, by all threads.
template <class Visit>
void each_row(const StoredWeight& weight, const Visit& visit) {
  const int64_t rows = weight.rows();
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; ++row) visit(row);
}

/// A sum over the rows in their order, whichever thread has which.
template <class Of>
double sum_over_rows(const StoredWeight& weight, const Of& of_row) {
  std::vector<double> sums(static_cast<size_t>(weight.rows()));
  each_row(weight, [&](int64_t row) { sums[static_cast<size_t>(row)] = of_row(row); });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

Row read_row(const StoredWeight& weight, int64_t row) {
  Row values(static_cast<size_t>(weight.columns()));
  weight.read(row, 1, values.data());
  return values;
}

/// What a model adds to the base.
struct Delta {
  StoredWeight base, model;

  void read(int64_t row, const Row& from, float* out) const {
    model.read(row, 1, out);
    for (size_t c = 0; c < from.size(); ++c) out[c] -= from[c];
  }
  Row read(int64_t row) const {
    Row out(static_cast<size_t>(model.columns()));
    read(row, read_row(base, row), out.data());
    return out;
  }
};

/// TIES: the elements of largest magnitude stay, of equal ones the first.
struct Trim {
  uint32_t least = 0;                                        ///< magnitude_bits
  int64_t last_equal = std::numeric_limits<int64_t>::max();  ///< index of the last such element

  bool keeps(float value, int64_t index) const {
    const uint32_t bits = magnitude_bits(value);
    return bits > least || (bits == least && index <= last_equal);
  }
};

/// How many elements fall into each bin that `bin` gives a magnitude (kBins: none).
template <class Bin>
std::vector<int64_t> count_magnitudes(const Delta& delta, const Bin& bin) {
  std::vector<std::vector<int64_t>> of_thread(static_cast<size_t>(omp_get_max_threads()));
  each_row(delta.model, [&](int64_t row) {
    std::vector<int64_t>& counts = of_thread[static_cast<size_t>(omp_get_thread_num())];
    counts.resize(kBins + 1);
    for (const float value : delta.read(row)) ++counts[bin(magnitude_bits(value))];
  });
  std::vector<int64_t> sum(kBins);
  for (const std::vector<int64_t>& counts : of_thread)
    for (size_t i = 0; i < std::min(kBins, counts.size()); ++i) sum[i] += counts[i];
  return sum;
}

/// The bin of the `place`th element from the top; `place` becomes that within the bin.
uint32_t bin_at(const std::vector<int64_t>& counts, int64_t& place) {
  size_t bin = counts.size() - 1;
  for (; bin > 0 && place > counts[bin]; --bin) place -= counts[bin];
  return static_cast<uint32_t>(bin);
}

/// The index of the `place`th element of this magnitude.
int64_t index_of_equal(const Delta& delta, uint32_t magnitude, int64_t place) {
  std::vector<int64_t> equal(static_cast<size_t>(delta.model.rows()));
  each_row(delta.model, [&](int64_t row) {
    for (const float value : delta.read(row))
      equal[static_cast<size_t>(row)] += magnitude_bits(value) == magnitude ? 1 : 0;
  });
  int64_t row = 0;
  for (; place > equal[static_cast<size_t>(row)]; ++row) place -= equal[static_cast<size_t>(row)];
  const Row values = delta.read(row);
  size_t at = 0;
  while (magnitude_bits(values[at]) != magnitude || --place > 0) ++at;
  return row * delta.model.columns() + static_cast<int64_t>(at);
}

/// Keeps `count` elements. The threshold is found by counting, first by the upper half of the bits
/// of a magnitude, then by the lower: no copy is sorted.
Trim trim_to(const Delta& delta, int64_t count) {
  int64_t place = count;
  const auto upper = [](uint32_t bits) { return size_t{bits >> 16}; };
  const uint32_t high = bin_at(count_magnitudes(delta, upper), place);
  const auto lower = [high](uint32_t bits) {
    return bits >> 16 == high ? size_t{bits & 0xffffu} : kBins;
  };
  const std::vector<int64_t> counts = count_magnitudes(delta, lower);
  Trim trim;
  trim.least = high << 16 | bin_at(counts, place);
  if (place < counts[trim.least & 0xffffu])
    trim.last_equal = index_of_equal(delta, trim.least, place);
  return trim;
}

/// DARE: elements stay by chance, and are scaled so that the sum of magnitudes is as before.
struct Drop {
  RandomStream random{0, 0};
  double density = 1;
  float scale = 1;

  bool keeps(int64_t index) const { return random.uniform(static_cast<uint64_t>(index)) < density; }
};

Drop drop_of(uint64_t seed, std::string_view name, size_t model, double density) {
  return {.random = RandomStream(seed, mix64(hash_name(name) + model)), .density = density};
}

float scale_of(const Delta& delta, const Drop& drop) {
  const auto sum = [&](bool all) {
    return sum_over_rows(delta.model, [&](int64_t row) {
      double of_row = 0;
      int64_t index = row * delta.model.columns();
      for (const float value : delta.read(row)) {
        if (all || drop.keeps(index)) of_row += std::abs(double{value});
        ++index;
      }
      return of_row;
    });
  };
  const double before = sum(true), after = sum(false);
  return before < kLeastDelta || after < kLeastDelta ? 1.0F : static_cast<float>(before / after);
}

/// What rows of one merged tensor are computed from.
class TensorMerge {
 public:
  TensorMerge(const MergeRule& rule, const std::string& name,
              const std::optional<StoredWeight>& base, const std::vector<StoredWeight>& models)
      : rule_(rule),
        weights_(rule.weights.begin(), rule.weights.end()),
        lambda_(static_cast<float>(rule.lambda)),
        models_(models) {
    if (needs_base(rule.method)) base_ = base.value();
    if (rule.method == MergeMethod::slerp) prepare_slerp();
    if (is_sparse(rule.method) && rule.density < 1) prepare_sparse(name);
  }

  void read(int64_t row, float* out) const {
    if (needs_base(rule_.method)) return add_deltas(row, out);
    add_up(row, out);
    if (rule_.method == MergeMethod::linear && rule_.normalize) divide(out);
  }

 private:
  bool has_election() const {
    return rule_.method == MergeMethod::ties || rule_.method == MergeMethod::dare_ties;
  }

  void prepare_slerp();
  void prepare_sparse(const std::string& name);
  /// The weighted sum of the models.
  void add_up(int64_t row, float* out) const;
  void divide(float* out) const;
  void add_deltas(int64_t row, float* out) const;
  /// The differences of a row, weighted: [models, columns].
  Row weighted_deltas(int64_t row, const Row& base) const;
  void sparsify(size_t model, int64_t row, std::span<float> delta) const;

  MergeRule rule_;
  std::vector<float> weights_;  // SLERP finds its own
  float lambda_;
  StoredWeight base_;
  std::vector<StoredWeight> models_;
  std::vector<Trim> trims_;  // of each model, where TIES trims
  std::vector<Drop> drops_;  // where DARE drops
};

void TensorMerge::prepare_slerp() {
  const StoredWeight &a = models_.at(0), &b = models_.at(1);
  const auto dot = [](const StoredWeight& x, const StoredWeight& y) {
    return sum_over_rows(x, [&](int64_t row) {
      const Row u = read_row(x, row), v = read_row(y, row);
      return std::inner_product(u.begin(), u.end(), v.begin(), 0.0);
    });
  };
  const auto norm = [&](const StoredWeight& x) {
    const double length = std::sqrt(dot(x, x));
    return length > kLeastNorm ? length : 1.0;
  };
  const double t = rule_.t, cosine = std::clamp(dot(a, b) / norm(a) / norm(b), -1.0, 1.0);
  weights_ = {static_cast<float>(1 - t), static_cast<float>(t)};
  if (std::abs(cosine) > kColinear) return;
  const double angle = std::acos(cosine), sine = std::sin(angle);
  weights_ = {static_cast<float>(std::sin((1 - t) * angle) / sine),
              static_cast<float>(std::sin(t * angle) / sine)};
}

void TensorMerge::prepare_sparse(const std::string& name) {
  const int64_t elements = base_.rows() * base_.columns();
  const auto kept = static_cast<int64_t>(rule_.density * static_cast<double>(elements));
  for (size_t m = 0; m < models_.size(); ++m) {
    const Delta delta{base_, models_[m]};
    if (rule_.method == MergeMethod::ties) {
      trims_.push_back(trim_to(delta, std::max<int64_t>(1, kept)));
    } else {
      Drop drop = drop_of(rule_.seed, name, m, rule_.density);
      drop.scale = scale_of(delta, drop);
      drops_.push_back(drop);
    }
  }
}

void TensorMerge::add_up(int64_t row, float* out) const {
  const auto columns = static_cast<size_t>(models_[0].columns());
  std::fill_n(out, columns, 0.0F);
  for (size_t m = 0; m < models_.size(); ++m) {
    const Row values = read_row(models_[m], row);
    for (size_t c = 0; c < columns; ++c) out[c] += weights_[m] * values[c];
  }
}

void TensorMerge::divide(float* out) const {
  const float sum = std::accumulate(weights_.begin(), weights_.end(), 0.0F);
  for (int64_t c = 0; c < models_[0].columns(); ++c) out[c] /= sum;
}

void TensorMerge::sparsify(size_t model, int64_t row, std::span<float> delta) const {
  const int64_t first = row * base_.columns();
  for (size_t c = 0; c < delta.size(); ++c) {
    const int64_t index = first + static_cast<int64_t>(c);
    if (!trims_.empty() && !trims_[model].keeps(delta[c], index)) delta[c] = 0;
    if (!drops_.empty()) delta[c] = drops_[model].keeps(index) ? delta[c] * drops_[model].scale : 0;
  }
}

Row TensorMerge::weighted_deltas(int64_t row, const Row& base) const {
  const size_t columns = base.size();
  Row all(models_.size() * columns);
  for (size_t m = 0; m < models_.size(); ++m) {
    const auto delta = std::span(all).subspan(m * columns, columns);
    Delta{base_, models_[m]}.read(row, base, delta.data());
    sparsify(m, row, delta);
    for (float& value : delta) value *= weights_[m];
  }
  return all;
}

void TensorMerge::add_deltas(int64_t row, float* out) const {
  const Row base = read_row(base_, row);
  const Row deltas = weighted_deltas(row, base);
  const size_t columns = base.size(), models = models_.size();
  const float all = std::accumulate(weights_.begin(), weights_.end(), 0.0F);
  for (size_t c = 0; c < columns; ++c) {
    float sum = 0, divisor = std::abs(all) < kLeastWeights ? 1 : all;
    for (size_t m = 0; m < models; ++m) sum += deltas[m * columns + c];
    if (has_election()) {  // the sign of the sum is elected; who has another does not count
      const bool positive = sum >= 0;
      sum = divisor = 0;
      for (size_t m = 0; m < models; ++m) {
        const float value = deltas[m * columns + c];
        if (value == 0 || (value > 0) != positive) continue;
        sum += value;
        divisor += weights_[m];
      }
      if (divisor == 0) divisor = 1;
    }
    out[c] = base[c] + lambda_ * (rule_.normalize ? sum / divisor : sum);
  }
}

}  // namespace

std::vector<std::string> merge_method_names() {
  return {kNames.begin(), kNames.end()};
}

std::string_view merge_method_name(MergeMethod method) {
  return kNames.at(static_cast<size_t>(method));
}

MergeMethod merge_method(std::string_view name) {
  const auto at = std::ranges::find(kNames, name);
  if (at == kNames.end())
    throw UsageError(
        fmt::format("unknown method of merging {}; known: {}", name, fmt::join(kNames, ", ")));
  return static_cast<MergeMethod>(at - kNames.begin());
}

bool needs_base(MergeMethod method) {
  return method != MergeMethod::linear && method != MergeMethod::slerp;
}

bool is_sparse(MergeMethod method) {
  return method == MergeMethod::ties || is_random(method);
}

bool is_random(MergeMethod method) {
  return method == MergeMethod::dare_linear || method == MergeMethod::dare_ties;
}

bool normalizes(MergeMethod method) {
  return method == MergeMethod::linear || method == MergeMethod::ties;
}

bool dare_keeps(uint64_t seed, std::string_view name, size_t model, int64_t index, double density) {
  return drop_of(seed, name, model, density).keeps(index);
}

StoredWeight merged_weight(const MergeRule& rule, const std::string& name,
                           const std::optional<StoredWeight>& base,
                           const std::vector<StoredWeight>& models) {
  StoredWeight out;
  out.shape = models.at(0).shape;
  out.format = "F32";
  const int64_t columns = models[0].columns();
  out.bytes = static_cast<uint64_t>(models[0].rows() * columns) * sizeof(float);
  const auto merge = std::make_shared<const TensorMerge>(rule, name, base, models);
  out.read = [merge, columns](int64_t row, int64_t count, float* to) {
    for (int64_t i = 0; i < count; ++i) merge->read(row + i, to + i * columns);
  };
  return out;
}

}  // namespace um
