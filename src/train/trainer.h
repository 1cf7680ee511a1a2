// The one training loop.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "core/files.h"
#include "ops/precision.h"
#include "train/memory.h"
#include "train/metrics.h"
#include "train/options.h"
#include "train/run_checkpoint.h"
#include "train/schedule.h"
#include "train/task.h"
#include "train/tensorboard.h"

namespace um {

/// What the loop asks of its surroundings.
struct TrainerHooks {
  /// Continues `prompt` with the present weights, for the samples of the report; may be empty.
  std::function<std::string(const Model&, const std::string& prompt, int64_t tokens)> sample;
  /// Shows a step on the terminal (every step; the hook chooses what to print). With minutes,
  /// `last_step` is an estimate.
  std::function<void(const StepMetrics&, int64_t last_step, double seconds_left)> progress;
  /// A line for the user: a step was skipped, the report could not be written.
  std::function<void(const std::string&)> note;
  /// Told of what may take long before the first step.
  std::function<void(const std::string&)> stage;
  /// Seconds on a clock that never goes back; empty: the machine's.
  std::function<double()> clock;
  /// Asked after every step; true ends the run with a checkpoint.
  std::function<bool()> interrupted;
  std::string command;  ///< for the model card
};

class Trainer {
 public:
  /// Prepares RUN for a task: a new run needs a directory without one; `resume` goes on from its
  /// newest checkpoint, which must be there and whole, and notes what `options` change of
  /// RUN/run.toml. Throws Error or UsageError for options that contradict each other, the run, the
  /// data or the machine, and for a run that another process is training.
  Trainer(TrainingTask task, RunOptions options, std::filesystem::path run_dir, Device& device,
          bool resume, TrainerHooks hooks);

  /// Trains to the end of the plan, or until interrupted; the last state is checkpointed either
  /// way. Returns the newest checkpoint.
  std::filesystem::path run();

  const Model& model() const { return *model_; }
  const RunState& state() const { return state_; }
  const TrainingMemory& memory() const { return memory_; }

 private:
  void prepare_resume(const std::filesystem::path& checkpoint);
  ModelConfig model_config(const std::filesystem::path& origin, bool resume);
  void check_phases(const ModelConfig& config);
  void open_data(const std::filesystem::path& origin, ModelConfig& config);
  void choose_texts(const std::filesystem::path& origin, const SourceDescription& data,
                    ModelConfig& config);
  void make_parts(const ModelConfig& config, Device& device);
  void load_or_initialize(const std::filesystem::path& origin);
  void open_outputs();
  void open_phase();
  void choose_operands();
  int64_t main_steps() const;
  void follow_time();
  int64_t estimated_end() const;
  double next_rate(double elapsed);
  void note(const std::string& text) const;
  void save();
  std::vector<Batch> next_batches();
  void step();
  void measure(const std::vector<Batch>& batches, const StepLosses& losses, double norm, double lr,
               double seconds, bool skipped);
  bool due(int64_t every) const;
  void after_step();
  void validate();
  void write_samples();
  void refresh_report(bool live);
  void skip(const std::vector<Batch>& batches);
  [[noreturn]] void explain_non_finite(const std::vector<Batch>& batches,
                                       const std::string& advice);
  StepOptions step_options(bool rms) const;
  void write_options();
  void write_card();
  bool is_complete() const { return state_.step >= phases_.back().end; }

  TrainingTask task_;
  RunOptions options_;
  std::filesystem::path run_dir_;
  TrainerHooks hooks_;
  std::unique_ptr<DirectoryLock> lock_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<BalanceLoss> balance_;
  std::unique_ptr<BatchSource> source_;  ///< of the present phase
  std::unique_ptr<MetricsWriter> metrics_;
  std::unique_ptr<TensorBoardWriter> tensorboard_;
  SpikeDetector spikes_;
  RunState state_;
  TrainingMemory memory_;
  Operands operands_ = Operands::f32;  ///< of a step's products; validation is in f32
  std::vector<Phase> phases_;
  const Phase* phase_ = nullptr;
  double report_seconds_ = 0;  ///< time of the last report
  int64_t skips_in_a_row_ = 0;
  int64_t saved_step_ = 0;       ///< of the last checkpoint of this process
  std::filesystem::path texts_;  ///< where the next checkpoint's tokenizer and its like come from
  std::filesystem::path last_checkpoint_;
};

/// The model's config with `set` ("field=value", value JSON or a bare word) applied. Throws
/// UsageError for a field that this architecture does not have, naming the nearest.
ModelConfig configure_model(const ModelOptions& options);

}  // namespace um
