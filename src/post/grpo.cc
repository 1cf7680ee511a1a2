// See grpo.h.
#include "post/grpo.h"

#include <algorithm>

#include "core/error.h"
#include "core/json.h"
#include "post/policy.h"

namespace um {
namespace {

void add_rollout(Batch& batch, const Rollout& one) {
  const auto length = static_cast<int64_t>(one.tokens.size()) - 1;
  for (int64_t i = 0; i < length; ++i) {
    const bool sampled = i + 1 >= one.prompt;
    const auto at = static_cast<size_t>(i);
    batch.tokens.push_back(one.tokens[at]);
    batch.targets.push_back(sampled ? one.tokens[at + 1] : -1);
    batch.positions.push_back(static_cast<int32_t>(i));
    batch.weights.push_back(sampled ? one.advantage : 0.0f);
    batch.sampled_logprobs.push_back(sampled ? one.logprobs[static_cast<size_t>(i + 1 - one.prompt)]
                                             : 0.0f);
  }
  batch.seq_offsets.push_back(batch.size());
}

Json to_json(const Rollout& one) {
  return {{"tokens", one.tokens},
          {"prompt", one.prompt},
          {"logprobs", one.logprobs},
          {"advantage", one.advantage}};
}

/// From a checkpoint's state, which is checked like any file.
Rollout rollout_of(const Json& json, int64_t vocab) {
  const JsonObject object(json, "state of rollouts: pending");
  Rollout one;
  for (const int64_t id : object.integers("tokens", 0, vocab - 1))
    one.tokens.push_back(static_cast<int32_t>(id));
  one.prompt = object.integer("prompt", 1, std::ssize(one.tokens));
  one.advantage = static_cast<float>(object.number("advantage", -1e9, 1e9));
  const Json* logprobs = object.find("logprobs");
  const auto sampled = one.tokens.size() - static_cast<size_t>(one.prompt);
  if (logprobs == nullptr || !logprobs->is_array() || logprobs->size() != sampled)
    object.wrong("logprobs", fmt::format("{} numbers", sampled));
  for (const Json& value : *logprobs) {
    if (!value.is_number()) object.wrong("logprobs", "numbers");
    one.logprobs.push_back(value.get<float>());
  }
  return one;
}

/// Micro-batches of rollouts: each sampling serves some updates, each with a part of its groups,
/// cut into train.accumulate batches.
class PolicyStream : public BatchSource {
 public:
  PolicyStream(std::shared_ptr<Rollouts> rollouts, std::shared_ptr<PolicyObjective> objective,
               const RunOptions& options, const Phase& phase, size_t index)
      : rollouts_(std::move(rollouts)),
        objective_(std::move(objective)),
        options_(*options.grpo),
        accumulate_(options.train.accumulate),
        seed_(options.grpo->seed + static_cast<int64_t>(index)),
        seq_len_(phase.seq_len) {}

  bool next(Batch& batch) override {
    if (part_ == parts()) {
      set_ = rollouts_->next();
      part_ = 0;
    }
    const int64_t update = part_ / accumulate_, piece = part_ % accumulate_;
    if (piece == 0) objective_->set_fresh(update == 0);
    const int64_t begin = first_of(update), all = first_of(update + 1) - begin;
    batch = {};
    batch.seq_offsets.assign(1, 0);
    for (int64_t i = all * piece / accumulate_; i < all * (piece + 1) / accumulate_; ++i)
      add_rollout(batch, set_[static_cast<size_t>(begin + i)]);
    ++part_;
    return true;
  }

  Json state() const override {
    Json state = rollouts_->state();
    state["corpora"] = rollouts_->fingerprint();
    state["seed"] = seed_;
    state["seq_len"] = seq_len_;
    state["part"] = part_;
    state["parts"] = parts();
    state["pending"] = Json::array();
    if (part_ < parts())
      for (const Rollout& one : set_) state["pending"].push_back(to_json(one));
    return state;
  }

  void restore(const Json& state) override {
    const JsonObject object(state, "state of rollouts");
    const Json* pending = object.find("pending");
    if (pending == nullptr || !pending->is_array()) object.wrong("pending", "a list");
    set_.clear();
    for (const Json& one : *pending)
      set_.push_back(rollout_of(one, rollouts_->tokenizer().vocab_size()));
    if (!set_.empty() && object.integer("parts") != parts())
      throw UsageError(
          "--resume: grpo.updates, grpo.group and train.accumulate cannot change while answers of "
          "the last sampling wait for their updates");
    part_ = set_.empty() ? 0 : object.integer("part", 0, parts() - 1);
    rollouts_->restore(state);
  }
  /// The pool and the samplings go on through all phases; answers that wait are left.
  void follow(const Json& state) override { rollouts_->restore(state); }

  SourceDescription describe() const override {
    return {.vocab_size = rollouts_->tokenizer().vocab_size(),
            .tokenizer_hash = rollouts_->tokenizer().hash(),
            .origin = options_.path[0],
            .facts = {{"Questions", fmt::format("{:L}", rollouts_->questions())}}};
  }

 private:
  int64_t groups() const { return std::ssize(set_) / options_.group; }
  /// Of this set: fewer where it has too few groups. None without a set.
  int64_t updates() const { return std::min(options_.updates, groups()); }
  int64_t parts() const { return updates() * accumulate_; }
  int64_t first_of(int64_t update) const { return groups() * update / updates() * options_.group; }

  std::shared_ptr<Rollouts> rollouts_;
  std::shared_ptr<PolicyObjective> objective_;
  GrpoOptions options_;
  int64_t accumulate_, seed_, seq_len_;
  std::vector<Rollout> set_;
  int64_t part_ = 0;  ///< of the set, that comes next
};

/// What would be passed over in silence is refused.
void check_options(const RunOptions& options) {
  const TrainOptions& train = options.train;
  const auto refuse = [](bool wrong, const char* message) {
    if (wrong) throw UsageError(message);
  };
  refuse(train.mtp_weight > 0 || train.z_weight > 0 || train.freeze != "none",
         "train.mtp_weight, z_weight and freeze: rewards train no MTP head and know no z-loss");
  refuse(train.accumulate > options.grpo->group,
         "train.accumulate: at most grpo.group, so that each batch has an answer");
  for (const PhaseOptions& phase : train.phases)
    refuse(phase.batch > 0 || phase.seq_len > 0,
           "train.phases: batch and seq_len are those of grpo's answers in all phases");
}

std::vector<std::pair<std::string, double>> measures_of(const RolloutStats& stats,
                                                        const PolicyStep& step) {
  const auto share = [](int64_t part, int64_t all) {
    return all == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(all);
  };
  std::vector<std::pair<std::string, double>> all = {
      {"answer_tokens", stats.tokens},
      {"clipped", step.clipped},
      {"cut", stats.cut},
      {"divergence", step.divergence},
      {"logprob_gap", step.gap},
      {"right", stats.right},
      {"sampling_s", stats.seconds},
      {"useful_groups", share(stats.useful, stats.groups)},
      {"waves", static_cast<double>(stats.waves)}};
  for (const auto& [name, value] : stats.rewards) all.emplace_back("reward_" + name, value);
  std::ranges::sort(all);
  return all;
}

}  // namespace

RunOptions grpo_options() {
  RunOptions options;
  options.grpo.emplace();
  TrainOptions& train = options.train;
  train.steps = 100;
  train.lr = 1e-6, train.final_lr = 1e-6, train.schedule = "constant";
  train.warmup = 5;
  train.batch = 64, train.seq_len = 512;
  train.weight_decay = 0, train.mtp_weight = 0;
  options.log.eval_every = 0;
  options.log.sample_every = 25, options.log.sample_tokens = 256;
  options.log.checkpoint_every = 50;
  return options;
}

int64_t answers_at_once(const RunOptions& options) {
  const GrpoOptions& rl = *options.grpo;
  const int64_t groups = (rl.prompts + rl.updates - 1) / rl.updates;
  return (groups * rl.group + options.train.accumulate - 1) / options.train.accumulate;
}

TrainingTask grpo(const RunOptions& options, std::shared_ptr<Rollouts> rollouts) {
  check_options(options);
  const GrpoOptions& rl = *options.grpo;
  const auto objective =
      std::make_shared<PolicyObjective>(PolicyOptions{.loss = rl.loss,
                                                      .clip_low = rl.clip_low,
                                                      .clip_high = rl.clip_high,
                                                      .max_tokens = rl.max_tokens});
  TrainingTask task;
  task.stream = [=](const Phase& phase, size_t index) {
    return std::make_unique<PolicyStream>(rollouts, objective, options, phase, index);
  };
  task.objective = objective;
  task.begin = [rollouts](const Model& model) { rollouts->begin(model); };
  task.updated = [rollouts] { rollouts->weights_changed(); };
  task.measures = [rollouts, objective] {
    return measures_of(rollouts->stats(), objective->last());
  };
  return task;
}

}  // namespace um
