// What a training run records: one JSON line per step in RUN/metrics.jsonl, samples of generated
// text in RUN/samples.jsonl, and the rules that judge them (gradient spikes, expert load).
//
// A number that is not finite is written as `null` and read back as NaN. Readers tolerate a torn
// last line, which is all that a killed run can leave behind.
#pragma once

#include <cmath>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace um {

/// How one MoE layer's tokens were spread over its experts in one step.
struct ExpertLoad {
  int layer = 0;             ///< index of the layer in the trunk
  double max_over_mean = 0;  ///< busiest expert / mean; 1 = perfect balance, E = everything on one
  double entropy = 0;        ///< of the load distribution in nats, divided by ln E; 1 = uniform
  int dead = 0;              ///< experts that got no token
  std::vector<float> fractions;  ///< [E] share of the layer's tokens; sums to 1. May be left empty
                                 ///< on most steps of a model with very many experts.
};

/// Summarises token counts per expert `counts[E]` of `layer`. All zero (no token) gives NaN ratios.
ExpertLoad expert_load(int layer, std::span<const int64_t> counts);

/// Everything recorded about one optimizer step. NaN or an empty list means "not measured".
struct StepMetrics {
  int64_t step = 0;    ///< 1 = the first update
  double time_s = 0;   ///< seconds of training since the run's first start, resumes added up
  int64_t tokens = 0;  ///< training tokens seen up to and including this step
  double loss = NAN;   ///< mean next-token cross-entropy, nats per token
  std::optional<double> val_loss;  ///< same on the held-out split, when measured at this step
  std::vector<double> mtp_loss;    ///< per multi-token-prediction head, nats per token
  double balance_loss = NAN;       ///< before its weight
  double z_loss = NAN;             ///< before its weight
  double grad_norm = NAN;          ///< global, before clipping
  bool spike = false;              ///< see SpikeDetector
  bool skipped = false;            ///< the update was not applied (NaN or Inf)
  double lr = NAN;
  double tokens_per_s = NAN;
  double model_flops_per_s = NAN;
  std::vector<ExpertLoad> moe;         ///< per MoE layer
  std::vector<double> activation_rms;  ///< RMS of the residual stream after each layer
  std::vector<std::pair<std::string, double>> measures;  ///< of the task: reward, length, …
};

/// A held-out loss measured after `step`.
struct ValidationPoint {
  int64_t step = 0;
  int64_t tokens = 0;
  double loss = NAN;
  std::vector<std::pair<std::string, double>> parts = {};  ///< the same by source, where several
};

/// A text generated at `step`.
struct Sample {
  int64_t step = 0;
  std::string prompt, text;
};

/// One line of metrics.jsonl, without the newline. Exact: `parse_step(to_json_line(m))` equals `m`.
std::string to_json_line(const StepMetrics& metrics);
std::string to_json_line(const ValidationPoint& point);
std::string to_json_line(const Sample& sample);

/// What a line of metrics.jsonl holds. Both empty: not a line of ours (torn, damaged, foreign).
struct MetricsLine {
  std::optional<StepMetrics> step;
  std::optional<ValidationPoint> validation;
};
MetricsLine parse_metrics_line(std::string_view line);
std::optional<Sample> parse_sample_line(std::string_view line);

/// Calls `visit(line)` for each line of `path`; a missing file has none. Lines longer than 16 MiB
/// are dropped, not stored.
void for_each_line(const std::filesystem::path& path,
                   const std::function<void(std::string_view)>& visit);

/// The rule for a gradient spike: norm > factor x the median of the last `window` norms before it.
/// No verdict before `kMinimum` norms are known. A norm that is not finite is a spike and does not
/// enter the window. (docs/dssn.md: the spike rate of DSSN + TinyInit.)
class SpikeDetector {
 public:
  static constexpr size_t kMinimum = 10;
  explicit SpikeDetector(size_t window = 100, double factor = 2.0)
      : window_(window), factor_(factor) {}

  /// Judges `norm`, then lets it count for the next ones.
  bool observe(double norm);
  /// Feeds the norms of RUN/metrics.jsonl, so that a resumed run judges as an unbroken one.
  void replay(const std::filesystem::path& run_dir);

  /// The norm above which the last observed one was a spike; NaN while there is no verdict.
  double limit() const { return limit_; }
  int64_t steps() const { return steps_; }
  int64_t spikes() const { return spikes_; }
  /// Spikes per step, 0 before the first step.
  double rate() const {
    return steps_ == 0 ? 0 : static_cast<double>(spikes_) / static_cast<double>(steps_);
  }

 private:
  size_t window_;
  double factor_, limit_ = NAN;
  std::deque<double> norms_;
  int64_t steps_ = 0, spikes_ = 0;
};

/// Appends to RUN/metrics.jsonl and RUN/samples.jsonl. Each line is one write(2), so a killed run
/// loses at most the line it was writing.
class MetricsWriter {
 public:
  /// Starts a run (`resumed_step` 0: both files begin empty) or goes on after `resumed_step`: lines
  /// of later steps and unreadable lines are removed first. Throws Error if the files cannot be
  /// written.
  explicit MetricsWriter(const std::filesystem::path& run_dir, int64_t resumed_step = 0);
  MetricsWriter(const MetricsWriter&) = delete;
  MetricsWriter& operator=(const MetricsWriter&) = delete;
  ~MetricsWriter();

  void write(const StepMetrics& metrics);
  void write(const ValidationPoint& point);
  void write(const Sample& sample);
  /// Forces both files to disk, for use beside a checkpoint: the metrics then reach as far as it.
  void sync();

 private:
  std::filesystem::path metrics_path_, samples_path_;
  int metrics_ = -1, samples_ = -1;
};

}  // namespace um
