// What the report shows of a run, gathered in one pass over its files in bounded memory: series of
// any length are thinned while they are read.
#pragma once

#include <cstdint>
#include <deque>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "train/metrics.h"

namespace um {

/// A curve thinned to at most `max_buckets` buckets of equally many points. When they are full,
/// neighbours are merged, so the number of buckets stays between max/2 and max.
class ThinnedSeries {
 public:
  explicit ThinnedSeries(size_t max_buckets = 1000) : max_buckets_(max_buckets) {}
  void add(double x, double y);

  /// {x: [...], y: [...]}: the lowest and the highest point of each bucket, in order (at most two
  /// per bucket), so that no outlier is lost. Empty arrays if no y is finite.
  nlohmann::ordered_json envelope() const;
  /// The mean of each bucket. A bucket without a finite y is a gap (null).
  nlohmann::ordered_json means() const;
  /// The highest point of each bucket.
  nlohmann::ordered_json peaks() const;

 private:
  struct Bucket {
    double x_sum = 0, sum = 0;
    double x_low = 0, low = 0, x_high = 0, high = 0;
    size_t points = 0, finite = 0;
  };
  static void merge(Bucket& into, const Bucket& from);
  bool empty() const;

  size_t max_buckets_, width_ = 1;
  std::vector<Bucket> buckets_;
};

/// Many curves over the same steps (one per layer or expert), thinned to at most `max_columns`
/// columns of means.
class ThinnedMatrix {
 public:
  explicit ThinnedMatrix(size_t max_columns) : max_columns_(max_columns) {}
  /// The first call fixes the number of rows; later calls with another number are ignored.
  void add(double x, std::span<const float> values);

  size_t rows() const { return rows_; }
  size_t columns() const { return columns_.size(); }
  /// Mean of a cell, NaN if it had no finite value.
  double at(size_t row, size_t column) const;
  /// First step of each column, then the last step of all.
  std::vector<double> edges() const;
  /// {x: [mean step], y: [[per column] per row]}.
  nlohmann::ordered_json curves() const;

 private:
  struct Column {
    double first = 0, x_sum = 0;
    size_t points = 0;
    std::vector<float> sum;
    std::vector<uint32_t> finite;
  };
  size_t max_columns_, rows_ = 0, width_ = 1;
  double last_ = 0;
  std::vector<Column> columns_;
};

/// Everything the page needs of metrics.jsonl and samples.jsonl.
class RunData {
 public:
  void read(const std::filesystem::path& run_dir);
  void add(const StepMetrics& metrics);
  void add(const ValidationPoint& point);
  void add(Sample sample);
  /// The page's `metrics` object (docs/report.md).
  nlohmann::ordered_json to_json() const;

 private:
  void add_experts(const StepMetrics& metrics);
  nlohmann::ordered_json totals() const;
  nlohmann::ordered_json experts_json() const;
  nlohmann::ordered_json heat_json() const;
  nlohmann::ordered_json samples_json() const;

  ThinnedSeries loss_, validation_, grad_norm_, spike_limit_{500}, spikes_{300}, skipped_{300};
  ThinnedSeries lr_{500}, tokens_per_s_, flops_per_s_, balance_{500}, z_{500};
  ThinnedSeries tokens_{400}, time_{400};
  std::vector<ThinnedSeries> mtp_;
  ThinnedMatrix max_over_mean_{240}, entropy_{240}, dead_{240}, activation_{240}, heat_{200};
  std::vector<int> layers_;         ///< ids of the MoE layers
  std::vector<size_t> heat_sizes_;  ///< experts of each layer of the heat map
  std::vector<int> heat_layers_;
  std::vector<Sample> samples_;
  SpikeDetector detector_;
  StepMetrics last_;  ///< scalars of the last step
  ValidationPoint last_validation_, best_validation_;
  std::deque<StepMetrics> recent_;  ///< scalars of the last steps
  int64_t steps_ = 0, spike_count_ = 0, skipped_count_ = 0, not_finite_ = 0, unreadable_ = 0;
};

}  // namespace um
