// See objective.h.
#include "train/objective.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>

#include "ops/launch.h"
#include "ops/loss.h"

namespace um {
namespace {

/// The target `ahead` rows further on in the same sequence, or -1.
std::vector<int32_t> shifted_targets(const Batch& batch, int64_t ahead) {
  std::vector<int32_t> shifted(batch.tokens.size(), -1);
  for (int64_t s = 0; s < batch.sequences(); ++s) {
    const int64_t end = batch.seq_offsets[static_cast<size_t>(s) + 1];
    for (int64_t t = batch.seq_offsets[static_cast<size_t>(s)]; t + ahead < end; ++t)
      shifted[static_cast<size_t>(t)] = batch.targets[static_cast<size_t>(t + ahead)];
  }
  return shifted;
}

int64_t count_targets(const std::vector<int32_t>& targets) {
  return std::count_if(targets.begin(), targets.end(), [](int32_t target) { return target >= 0; });
}

double sum(const Tensor& values) {
  double total = 0;
  for (const float value : values.to_vector()) total += static_cast<double>(value);
  return total;
}

double rms(const Tensor& x) {
  double squares = 0;
  launch(x.device(), SumSquares{.count = x.count(), .x = x.f32(), .result = &squares});
  return std::sqrt(squares / static_cast<double>(x.count()));
}

}  // namespace

std::vector<int32_t> mtp_targets(const Batch& batch, int64_t k) {
  return shifted_targets(batch, k + 1);
}

std::vector<int32_t> mtp_tokens(const Batch& batch, int64_t k) {
  std::vector<int32_t> tokens = shifted_targets(batch, k);
  for (int32_t& token : tokens) token = std::max(token, 0);
  return tokens;
}

double StepLosses::mtp_mean() const {
  return mtp.empty()
             ? 0
             : std::accumulate(mtp.begin(), mtp.end(), 0.0) / static_cast<double>(mtp.size());
}

StepObjective::StepObjective(const Model& model, std::span<const Batch> micro_batches,
                             const ObjectiveOptions& options)
    : model_(model), batches_(micro_batches), options_(options) {
  // A head without weight is not run.
  const int64_t heads = options.mtp_weight != 0 ? model.mtp_heads() : 0;
  mtp_targets_.resize(static_cast<size_t>(heads));
  losses_.mtp.resize(static_cast<size_t>(heads));
  int64_t tokens = 0;
  for (const Batch& batch : batches_) {
    targets_ += count_targets(batch.targets);
    for (int64_t k = 0; k < heads; ++k)
      mtp_targets_[static_cast<size_t>(k)] += count_targets(um::mtp_targets(batch, k));
    tokens += batch.size();
  }
  if (options_.balance) options_.balance->begin_step(tokens);
}

void StepObjective::add_loss(const Tensor& hidden, const std::vector<int32_t>& targets,
                             double weight, int64_t count, double z_weight, double* loss,
                             bool trunk) {
  if (count == 0) return;
  Device& device = model_.device();
  const auto rows = static_cast<int64_t>(targets.size());
  const std::vector<float> weights(targets.size(),
                                   static_cast<float>(weight / static_cast<double>(count)));
  const TokenLoss out = linear_cross_entropy(
      hidden, model_.head(), Tensor::from(device, {rows}, std::span<const int32_t>(targets)),
      Tensor::from(device, {rows}, std::span<const float>(weights)), static_cast<float>(z_weight));
  if (device.dry()) return;
  *loss += sum(out.loss) / static_cast<double>(count);
  if (!trunk) return;
  losses_.z += sum(out.z) / static_cast<double>(count);
  losses_.accuracy += sum(out.correct) / static_cast<double>(count);
}

void StepObjective::forward(const Batch& batch) {
  Device& device = model_.device();
  const Ragged rows = Ragged::full(device, batch.seq_offsets, batch.positions);
  std::vector<Tensor> states;
  ForwardOptions options{.balance = options_.balance,
                         .recompute = options_.recompute,
                         .states = options_.activation_rms ? &states : nullptr};
  auto ids = [&](const std::vector<int32_t>& tokens) {
    return Tensor::from(device, {rows.rows}, std::span<const int32_t>(tokens));
  };
  const TrunkOutput out = model_.trunk(ids(batch.tokens), rows, options);
  add_loss(out.hidden, batch.targets, 1.0, targets_, options_.z_weight, &losses_.lm, true);
  Tensor state = out.hidden;
  const auto heads = static_cast<int64_t>(mtp_targets_.size());
  for (int64_t k = 0; k < heads; ++k) {
    const MtpOutput head = model_.mtp(k, state, ids(mtp_tokens(batch, k)), rows, options);
    add_loss(head.hidden, um::mtp_targets(batch, k),
             options_.mtp_weight / static_cast<double>(heads), mtp_targets_[static_cast<size_t>(k)],
             0.0, &losses_.mtp[static_cast<size_t>(k)], false);
    state = head.state;
  }
  if (!states.empty() && losses_.activation_rms.empty())
    for (const Tensor& layer : states) losses_.activation_rms.push_back(rms(layer));
}

StepLosses StepObjective::run_with_gradients() {
  const bool wait = options_.balance != nullptr && options_.balance->spans_step();
  std::deque<Tape> tapes;
  for (const Batch& batch : batches_) {
    Tape& tape = tapes.emplace_back();
    {
      const Tape::Recording recording(&tape);
      forward(batch);
    }
    if (wait) continue;
    tape.backward();
    tapes.pop_back();
  }
  if (options_.balance) options_.balance->finish();
  while (!tapes.empty()) {
    tapes.back().backward();
    tapes.pop_back();
  }
  return finish();
}

StepLosses StepObjective::run() {
  for (const Batch& batch : batches_) forward(batch);
  if (options_.balance) options_.balance->finish();
  return finish();
}

StepLosses StepObjective::finish() {
  if (options_.balance) losses_.balance = options_.balance->value();
  return losses_;
}

}  // namespace um
