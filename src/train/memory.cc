// See memory.h.
#include "train/memory.h"

#include <algorithm>

#include "core/units.h"
#include "models/checkpoint.h"
#include "models/expand_mtp.h"
#include "train/optimizer.h"

namespace um {
namespace {

/// Sequences of full length, which need the most (but for attention sinks: each sequence has its
/// own copy, and a real batch has more sequences).
Batch full_batch(const Phase& phase) {
  const auto rows = static_cast<size_t>(phase.batch * phase.seq_len);
  Batch batch;
  batch.tokens.resize(rows);
  batch.targets.resize(rows);
  batch.positions.resize(rows);
  for (size_t i = 0; i < rows; ++i)
    batch.positions[i] = static_cast<int32_t>(static_cast<int64_t>(i) % phase.seq_len);
  for (int64_t s = 0; s <= phase.batch; ++s) batch.seq_offsets.push_back(s * phase.seq_len);
  return batch;
}

/// A model with its optimizer on a dry device of its own.
class DryTraining {
 public:
  DryTraining(const ModelConfig& config, const TrainOptions& options, const Objective& objective)
      : options_(options),
        objective_(objective),
        device_("dry", nullptr),
        model_(make_model(config, device_)) {
    memory_.weights = used();
    if (options.freeze != "none") freeze_trunk(*model_, options.freeze == "first_head" ? 1 : 0);
    for (const auto& param : model_->params().all())
      if (param->trainable && !param->buffer)
        memory_.gradients += static_cast<double>(Allocator::class_bytes(param->value.bytes()));
    optimizer_ = std::make_unique<Optimizer>(model_->params(), AdamWOptions{});
    memory_.optimizer = used() - memory_.weights;
  }

  /// Without activations.
  const TrainingMemory& memory() const { return memory_; }

  /// Micro-batches whose tapes live at once: several only where the balance scope spans the step.
  int64_t batches_at_once() const { return balance().spans_step() ? options_.accumulate : 1; }

  /// Less than the activations take: one tensor of the residual stream.
  double least_activations(const Phase& phase) const {
    return sizeof(float) * static_cast<double>(batches_at_once()) *
           static_cast<double>(phase.batch) * static_cast<double>(phase.seq_len) *
           static_cast<double>(model_->config().hidden);
  }

  double activations(const Phase& phase) {
    BalanceLoss balance_loss = balance();
    const std::vector<Batch> batches(static_cast<size_t>(batches_at_once()), full_batch(phase));
    const StepOptions step_options{
        .gradients = true, .recompute = options_.recompute, .balance = &balance_loss};
    for (int step = 0; step < 2; ++step) {  // the first still makes the gradients
      model_->params().reset_grads();
      objective_.run(*model_, batches, step_options);
    }
    return static_cast<double>(device_.allocator().peak_bytes()) - used();
  }

 private:
  BalanceLoss balance() const {
    return {balance_scope_from_name(options_.balance), options_.balance_weight,
            model_->moe_layers(),
            options_.mtp_weight > 0 ? model_->moe_layers() : model_->trunk_moe_layers()};
  }
  double used() { return static_cast<double>(device_.allocator().used_bytes()); }

  const TrainOptions& options_;
  const Objective& objective_;
  Device device_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Optimizer> optimizer_;
  TrainingMemory memory_;
};

/// The phase with the most tokens in a micro-batch.
const Phase& largest(const std::vector<Phase>& phases) {
  return *std::max_element(phases.begin(), phases.end(), [](const Phase& a, const Phase& b) {
    return a.batch * a.seq_len < b.batch * b.seq_len;
  });
}

std::string advice(const TrainOptions& options, int64_t batches_at_once) {
  std::string text = "lower train.batch or train.seq_len";
  if (!options.recompute) text += ", or set train.recompute";
  if (batches_at_once > 1)
    text += ", or train.balance to micro_batch (ep_group and global keep all micro-batches)";
  return text;
}

}  // namespace

std::string TrainingMemory::text() const {
  return fmt::format("{}: weights {}, gradients {}, optimizer {}, activations {}",
                     bytes_text(total()), bytes_text(weights), bytes_text(gradients),
                     bytes_text(optimizer), bytes_text(activations));
}

TrainingMemory check_memory(const ModelConfig& config, const TrainOptions& options,
                            const std::vector<Phase>& phases, const Objective& objective) {
  const auto available = static_cast<double>(memory_bytes());
  const Phase& phase = largest(phases);
  DryTraining training(config, options, objective);
  TrainingMemory memory = training.memory();
  UM_CHECK(memory.total() <= available,
           "training needs {} without activations (weights {}, gradients {}, optimizer {}), this "
           "machine has {}: take a smaller model",
           bytes_text(memory.total()), bytes_text(memory.weights), bytes_text(memory.gradients),
           bytes_text(memory.optimizer), bytes_text(available));
  memory.activations = training.least_activations(phase);
  const bool hopeless = memory.total() > available;  // not even a batch of tokens may be made
  if (!hopeless) memory.activations = training.activations(phase);
  UM_CHECK(memory.total() <= available,
           "training needs {}{} ({} sequences of {} tokens), this machine has {}: {}",
           hopeless ? "more than " : "", memory.text(), digits(phase.batch), digits(phase.seq_len),
           bytes_text(available), advice(options, training.batches_at_once()));
  return memory;
}

}  // namespace um
