// See objective.h.
#include "train/objective.h"

#include <cmath>
#include <deque>
#include <numeric>
#include <optional>

#include "models/device_batch.h"
#include "ops/launch.h"
#include "ops/loss.h"

namespace um {
namespace {

/// The sum of what rows have, by the rows' weights.
double weighted_sum(const Tensor& values, std::span<const float> weights) {
  double total = 0;
  const std::vector<float> all = values.to_vector();
  for (size_t t = 0; t < all.size(); ++t)
    total +=
        static_cast<double>(all[t]) * (weights.empty() ? 1.0 : static_cast<double>(weights[t]));
  return total;
}

double rms(const Tensor& x) {
  double squares = 0;
  launch(x.device(), SumSquares{.count = x.count(), .x = x.f32(), .result = &squares});
  return std::sqrt(squares / static_cast<double>(x.count()));
}

/// A step of next-token losses that is being run.
class NextTokenStep {
 public:
  NextTokenStep(const Model& model, const NextTokenOptions& loss, const StepOptions& options,
                const StepTotals& totals)
      : model_(model), loss_(loss), options_(options), totals_(totals) {
    losses_.mtp.resize(totals.mtp_targets.size());
  }
  void forward(const Batch& batch);
  const StepLosses& losses() const { return losses_; }

 private:
  struct Targets {
    std::vector<int32_t> ids;
    std::vector<float> weights;
  };
  /// Adds the mean over `total`, times `weight`, to the objective; returns the rows' results,
  /// nothing where there is no target.
  std::optional<TokenLoss> add_loss(const DeviceBatch& batch, const Tensor& hidden,
                                    const Targets& targets, double weight, double total,
                                    double z_weight, double& loss);

  const Model& model_;
  const NextTokenOptions& loss_;
  const StepOptions& options_;
  const StepTotals& totals_;
  StepLosses losses_;
  size_t batches_run_ = 0;
};

std::optional<TokenLoss> NextTokenStep::add_loss(const DeviceBatch& batch, const Tensor& hidden,
                                                 const Targets& targets, double weight,
                                                 double total, double z_weight, double& loss) {
  if (total == 0) return {};
  std::vector<float> scaled(targets.ids.size(), static_cast<float>(weight / total));
  for (size_t t = 0; t < targets.weights.size(); ++t)
    scaled[t] = static_cast<float>(weight / total * static_cast<double>(targets.weights[t]));
  TokenLoss out = linear_cross_entropy(hidden, model_.head(), batch.per_row(targets.ids),
                                       batch.per_row(scaled), static_cast<float>(z_weight));
  if (model_.device().dry()) return {};
  loss += weighted_sum(out.loss, targets.weights) / total;
  return out;
}

void NextTokenStep::forward(const Batch& host) {
  const DeviceBatch batch(model_, host);
  std::vector<Tensor> states;
  const ForwardOptions forward{.balance = options_.balance,
                               .recompute = options_.recompute,
                               .states = options_.activation_rms ? &states : nullptr,
                               .routes = batch.routes()};
  const TrunkOutput out = model_.trunk(batch.tokens(), batch.rows(), forward);
  const Targets next{host.targets, host.weights};
  if (const auto rows =
          add_loss(batch, out.hidden, next, 1.0, totals_.targets, loss_.z_weight, losses_.lm)) {
    losses_.z += weighted_sum(rows->z, next.weights) / totals_.targets;
    if (options_.on_losses) options_.on_losses(batches_run_, rows->loss.to_vector());
    losses_.accuracy += weighted_sum(rows->correct, next.weights) / totals_.targets;
  }
  ++batches_run_;
  Tensor state = out.hidden;
  const size_t heads = losses_.mtp.size();
  for (size_t k = 0; k < heads; ++k) {
    const auto head = static_cast<int64_t>(k);
    const MtpOutput ahead = model_.mtp(head, state, batch.mtp_tokens(head), batch.rows(), forward);
    add_loss(batch, ahead.hidden, {mtp_targets(host, head), mtp_weights(host, head)},
             loss_.mtp_weight / static_cast<double>(heads), totals_.mtp_targets[k], 0.0,
             losses_.mtp[k]);
    state = ahead.state;
  }
  if (!states.empty() && losses_.activation_rms.empty())
    for (const Tensor& layer : states) losses_.activation_rms.push_back(rms(layer));
}

/// The totals of the batches themselves are means only of weights that add up.
void check_weights(std::span<const Batch> batches) {
  for (const Batch& batch : batches)
    for (const float weight : batch.weights)
      UM_CHECK(weight >= 0,
               "a target's weight is {}: a mean over weights below 0 needs its totals given",
               weight);
}

}  // namespace

double StepLosses::mtp_mean() const {
  return mtp.empty()
             ? 0
             : std::accumulate(mtp.begin(), mtp.end(), 0.0) / static_cast<double>(mtp.size());
}

StepTotals step_totals(std::span<const Batch> batches, int64_t heads) {
  StepTotals totals;
  totals.mtp_targets.resize(static_cast<size_t>(heads));
  for (const Batch& batch : batches) {
    check_sizes(batch);
    totals.tokens += batch.size();
    totals.targets += total_weight(batch.targets, batch.weights);
    for (int64_t k = 0; k < heads; ++k)
      totals.mtp_targets[static_cast<size_t>(k)] +=
          total_weight(mtp_targets(batch, k), mtp_weights(batch, k));
  }
  return totals;
}

void run_micro_batches(std::span<const Batch> batches, const StepOptions& options, int64_t tokens,
                       const std::function<void(const Batch&)>& forward) {
  BalanceLoss* balance = options.balance;
  if (balance != nullptr) balance->begin_step(tokens);
  const bool wait = balance != nullptr && balance->spans_step();
  std::deque<Tape> tapes;
  for (const Batch& batch : batches) {
    if (!options.gradients) {
      forward(batch);
      continue;
    }
    Tape& tape = tapes.emplace_back();
    {
      const Tape::Recording recording(&tape);
      forward(batch);
    }
    if (wait) continue;
    tape.backward();
    tapes.pop_back();
  }
  if (balance != nullptr) balance->finish();
  while (!tapes.empty()) {
    tapes.back().backward();
    tapes.pop_back();
  }
}

StepLosses NextTokenObjective::run(const Model& model, std::span<const Batch> batches,
                                   const StepOptions& options) const {
  // A head without weight is not run.
  const int64_t heads = options_.mtp_weight != 0 ? model.mtp_heads() : 0;
  if (options.totals == nullptr) check_weights(batches);
  const StepTotals totals =
      options.totals != nullptr ? *options.totals : step_totals(batches, heads);
  UM_CHECK(std::ssize(totals.mtp_targets) == heads, "totals of {} MTP heads, the objective runs {}",
           totals.mtp_targets.size(), heads);
  NextTokenStep step(model, options_, options, totals);
  run_micro_batches(batches, options, totals.tokens,
                    [&](const Batch& batch) { step.forward(batch); });
  StepLosses losses = step.losses();
  if (options.balance != nullptr) losses.balance = options.balance->value();
  return losses;
}

}  // namespace um
