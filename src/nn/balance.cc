// See balance.h.
#include "nn/balance.h"

#include <array>
#include <cstring>
#include <utility>

#include "ops/launch.h"

namespace um {

BalanceScope balance_scope_from_name(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, BalanceScope>, 6> kNames{
      {{"none", BalanceScope::none},
       {"sequence", BalanceScope::sequence},
       {"micro_batch", BalanceScope::micro_batch},
       {"ep_group", BalanceScope::ep_group},
       {"global", BalanceScope::global},
       {"bias", BalanceScope::bias}}};
  for (const auto& [known, scope] : kNames)
    if (known == name) return scope;
  throw UsageError(fmt::format(
      "balance: expected none, sequence, micro_batch, ep_group, global or bias, found \"{}\"",
      name));
}

BalanceLoss::BalanceLoss(BalanceScope scope, double alpha, int64_t layers, int64_t loss_layers)
    : scope_(scope),
      alpha_(alpha),
      loss_layers_(loss_layers),
      loads_(static_cast<size_t>(layers)),
      pending_(static_cast<size_t>(layers)) {}

void BalanceLoss::begin_step(int64_t tokens) {
  step_tokens_ = tokens;
  for (LayerLoad& load : loads_) load = {};
  for (Pending& pending : pending_) pending = {};
}

std::shared_ptr<BalanceTerm> BalanceLoss::term(int64_t layer) {
  auto term = std::make_shared<BalanceTerm>();
  term->wanted = layer < loss_layers_ && alpha_ != 0 && scope_ != BalanceScope::none &&
                 scope_ != BalanceScope::bias;
  return term;
}

void BalanceLoss::add_scope(int64_t layer, const int64_t* counts, const double* score_sums,
                            int64_t tokens, int64_t top_k, float* coefficients) {
  LayerLoad& load = loads_[static_cast<size_t>(layer)];
  const auto experts = static_cast<double>(load.counts.size());
  if (tokens == 0) return;
  double loss = 0;
  for (size_t i = 0; i < load.counts.size(); ++i) {
    const double fraction = experts * static_cast<double>(counts[i]) /
                            (static_cast<double>(top_k) * static_cast<double>(tokens));
    loss += fraction * score_sums[i] / static_cast<double>(tokens);
    if (coefficients != nullptr)
      coefficients[i] = static_cast<float>(alpha_ * fraction / static_cast<double>(step_tokens_) /
                                           static_cast<double>(loss_layers_));
  }
  load.loss += loss * static_cast<double>(tokens) / static_cast<double>(step_tokens_);
}

void BalanceLoss::observe(int64_t layer, const Routing& routing, const Ragged& rows, bool normalize,
                          const std::shared_ptr<BalanceTerm>& term) {
  if (std::exchange(term->observed, true)) return;
  Device& device = routing.scores.device();
  const int64_t experts = routing.scores.cols(), tokens = routing.ids.rows();
  const int64_t top_k = routing.ids.cols();
  const bool by_sequence = scope_ == BalanceScope::sequence;
  const int64_t groups = by_sequence ? rows.sequences : 1;
  std::vector<double> sums(static_cast<size_t>(groups * experts));
  std::vector<int64_t> counts(sums.size());
  launch(device, BalanceStats{.tokens = tokens,
                              .experts = experts,
                              .top_k = top_k,
                              .sequences = groups,
                              .normalize = normalize,
                              .scores = routing.scores.f32(),
                              .ids = routing.ids.i32(),
                              .sequence_of = by_sequence ? rows.sequence_of.i32() : nullptr,
                              .score_sums = sums.data(),
                              .counts = counts.data()});
  LayerLoad& load = loads_[static_cast<size_t>(layer)];
  load.counts.resize(static_cast<size_t>(experts));
  for (size_t i = 0; i < counts.size(); ++i)
    load.counts[i % static_cast<size_t>(experts)] += counts[i];
  if (spans_step()) {
    Pending& pending = pending_[static_cast<size_t>(layer)];
    pending.score_sums.resize(static_cast<size_t>(experts));
    for (size_t i = 0; i < sums.size(); ++i) pending.score_sums[i] += sums[i];
    pending.tokens += tokens;
    pending.top_k = top_k;
    if (term->wanted) pending.terms.push_back(term);
    return;
  }
  float* coefficients = nullptr;
  if (term->wanted) {
    term->coefficients = Tensor::empty(device, {groups, experts});
    term->per_sequence = by_sequence;
    coefficients = term->coefficients.f32();
  }
  const int64_t* offsets = rows.q_offsets.i64();
  for (int64_t s = 0; s < groups; ++s) {
    const int64_t size = by_sequence && offsets != nullptr ? offsets[s + 1] - offsets[s] : tokens;
    add_scope(layer, counts.data() + s * experts, sums.data() + s * experts, size, top_k,
              coefficients == nullptr ? nullptr : coefficients + s * experts);
  }
}

void BalanceLoss::finish() {
  if (!spans_step()) return;
  for (size_t layer = 0; layer < pending_.size(); ++layer) {
    Pending& pending = pending_[layer];
    if (pending.tokens == 0) continue;
    std::vector<float> coefficients(loads_[layer].counts.size());
    add_scope(static_cast<int64_t>(layer), loads_[layer].counts.data(), pending.score_sums.data(),
              pending.tokens, pending.top_k, coefficients.data());
    for (const auto& term : pending.terms) {
      // The routers' nodes read the term only in the backward pass, which has not begun.
      term->coefficients = Tensor::from(*term->device, {static_cast<int64_t>(coefficients.size())},
                                        std::span<const float>(coefficients));
    }
  }
}

double BalanceLoss::value() const {
  double sum = 0;
  for (int64_t i = 0; i < loss_layers_; ++i) sum += loads_[static_cast<size_t>(i)].loss;
  return loss_layers_ == 0 ? 0 : sum / static_cast<double>(loss_layers_);
}

void update_router_bias(const Tensor& bias, const std::vector<int64_t>& counts, double rate) {
  float* values = bias.f32();
  double mean = 0;
  for (const int64_t count : counts) mean += static_cast<double>(count);
  mean /= static_cast<double>(counts.size());
  for (size_t i = 0; values != nullptr && i < counts.size(); ++i) {
    const auto load = static_cast<double>(counts[i]);
    values[i] += static_cast<float>(load < mean ? rate : load > mean ? -rate : 0.0);
  }
}

}  // namespace um
