// See rollouts.h.
#include "post/rollouts.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/files.h"
#include "core/rng.h"
#include "data/permutation.h"
#include "models/config.h"

namespace um {
namespace {

constexpr const char* kRewards[] = {"right", "finished", "brief", "thought"};

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// By all that the files say.
std::string fingerprint_of(const std::vector<std::string>& paths) {
  constexpr uint64_t kMaxBytes = uint64_t{1} << 32;
  uint64_t hash = paths.size();
  for (const std::string& path : paths) hash = mix64(hash ^ hash_name(read_file(path, kMaxBytes)));
  return fmt::format("questions-{:016x}", hash);
}

Json to_json(const RolloutStats& stats) {
  Json rewards = Json::object();
  for (const auto& [name, value] : stats.rewards) rewards[name] = value;
  return {{"groups", stats.groups}, {"useful", stats.useful},   {"answers", stats.answers},
          {"waves", stats.waves},   {"right", stats.right},     {"tokens", stats.tokens},
          {"cut", stats.cut},       {"seconds", stats.seconds}, {"rewards", rewards}};
}

RolloutStats stats_of(const JsonObject& json) {
  constexpr int64_t kMost = int64_t{1} << 52;
  RolloutStats stats{.groups = json.integer("groups", 0, kMost),
                     .useful = json.integer("useful", 0, kMost),
                     .answers = json.integer("answers", 0, kMost),
                     .waves = json.integer("waves", 0, kMost),
                     .right = json.number("right", 0, 1),
                     .tokens = json.number("tokens", 0, 1e12),
                     .cut = json.number("cut", 0, 1),
                     .seconds = json.number("seconds", 0, 1e12)};
  for (const auto& [name, value] : json.object("rewards").json().items())
    if (value.is_number()) stats.rewards.emplace_back(name, value.get<double>());
  return stats;
}

}  // namespace

std::vector<Reward> parse_rewards(const std::vector<std::string>& texts) {
  std::vector<Reward> rewards;
  for (const std::string& text : texts) {
    const size_t equals = std::min(text.find('='), text.size());
    Reward reward{.name = text.substr(0, equals)};
    if (std::ranges::find(kRewards, reward.name) == std::end(kRewards))
      throw UsageError(fmt::format(
          "grpo.rewards: \"{}\": expected right, finished, brief or thought, with =WEIGHT",
          reward.name));
    const Json weight = Json::parse(text.substr(std::min(equals + 1, text.size())), nullptr, false);
    if (equals < text.size() && !weight.is_number())
      throw UsageError(fmt::format("grpo.rewards: \"{}\": expected a number as weight", text));
    if (weight.is_number()) reward.weight = weight.get<double>();
    if (reward.weight == 0)
      throw UsageError(fmt::format("grpo.rewards: \"{}\" weighs nothing: leave it out", text));
    rewards.push_back(reward);
  }
  if (rewards.empty()) throw UsageError("grpo.rewards: none");
  return rewards;
}

double reward_of(const std::string& name, const Question& question, const Answered& answer,
                 const GrpoOptions& options) {
  if (name == "right") return question.checker.check({answer.text, answer.calls}).right ? 1 : 0;
  if (name == "finished") return answer.cut() ? 0 : 1;
  if (name == "thought") return answer.reasoning.empty() ? 0 : 1;
  // brief: DAPO's soft punishment of length
  const auto free = static_cast<double>(options.max_tokens - options.overlong);
  const double over = static_cast<double>(answer.tokens) - free;
  return options.overlong > 0 ? -std::clamp(over / static_cast<double>(options.overlong), 0.0, 1.0)
                              : 0;
}

std::vector<float> advantages(const std::vector<std::vector<double>>& rewards,
                              const std::vector<Reward>& kinds, bool scale) {
  std::vector<double> sum(rewards.front().size(), 0.0);
  for (size_t k = 0; k < rewards.size(); ++k) {
    const double mean = mean_of(rewards[k]);
    double squares = 0;
    for (const double value : rewards[k]) squares += (value - mean) * (value - mean);
    const double deviation = std::sqrt(squares / static_cast<double>(rewards[k].size()));
    if (deviation < 1e-9) continue;
    for (size_t i = 0; i < sum.size(); ++i)
      sum[i] += kinds[k].weight * (rewards[k][i] - mean) / (scale ? deviation : 1);
  }
  return {sum.begin(), sum.end()};
}

Rollouts::Rollouts(const GrpoOptions& options, const std::filesystem::path& model, int64_t seq_len)
    : options_(options),
      directory_(model),
      seq_len_(seq_len),
      tokenizer_(Tokenizer::load(model)),
      rewards_(parse_rewards(options.rewards)) {
  if (options_.path.empty())
    throw UsageError("grpo.path: name at least one file of questions (ultramoe data tasks)");
  for (const std::string& path : options_.path)
    for (Question& question : read_questions(path))
      if (question.choices.empty())
        questions_.push_back(std::move(question));
      else
        left_out_.push_back(question.id +
                            ": of multiple choice, which is told apart by likelihood");
  UM_CHECK(!questions_.empty(), "{}: no question whose answer can be checked", options_.path[0]);
  fingerprint_ = fingerprint_of(options_.path);
  const bool brief =
      std::ranges::any_of(rewards_, [](const Reward& r) { return r.name == "brief"; });
  if (brief && (options_.overlong <= 0 || options_.overlong > options_.max_tokens))
    throw UsageError(fmt::format("grpo.overlong {}: the reward brief needs 1 to max_tokens ({})",
                                 options_.overlong, options_.max_tokens));
  begin_stage();
}

Rollouts::~Rollouts() = default;

void Rollouts::begin(const Model& model) {
  const int64_t waiting = options_.prompts * options_.group;
  engine_ = std::make_unique<Engine>(
      model,
      EngineOptions{.cache_type = DType::f32, .max_queue = std::max<int64_t>(waiting, 1024)});
  asker_ = std::make_unique<Asker>(*engine_, tokenizer_, directory_);
  unusable_.assign(questions_.size(), false);
  for (size_t i = 0; i < questions_.size(); ++i) {
    try {
      prompt_of(questions_[i]);
    } catch (const Error& error) {
      unusable_[i] = true;
      left_out_.push_back(error.what());
    }
  }
  UM_CHECK(std::ranges::count(unusable_, false) > 0, "no question can be asked: {}", left_out_[0]);
  for (size_t i = 0; i < questions_.size(); ++i)
    if (unusable_[i]) resting_[i] = true;
}

/// Ready to be answered. Throws Error where nothing is left to answer in.
Asker::Prompt Rollouts::prompt_of(const Question& question) const {
  Asker::Prompt prompt =
      asker_->prompt(question, options_.mode == "default" ? question.mode : options_.mode);
  UM_CHECK(std::ssize(prompt.ids) <= seq_len_, "{}: a prompt of {} tokens, train.seq_len is {}",
           question.id, prompt.ids.size(), seq_len_);
  return prompt;
}

void Rollouts::weights_changed() {
  if (engine_) engine_->weights_changed();
}

/// All questions that can be asked are tried again.
void Rollouts::begin_stage() {
  if (unusable_.empty())
    resting_.assign(questions_.size(), false);
  else
    resting_ = unusable_;
}

/// The next questions that do not rest, in an order of their own for each pass.
std::vector<size_t> Rollouts::choose(size_t count) {
  const uint64_t all = questions_.size();
  std::vector<size_t> chosen;
  if (std::ranges::count(resting_, false) == 0) begin_stage();
  for (uint64_t tried = 0; chosen.size() < count && tried < 2 * all; ++tried, ++drawn_) {
    const uint64_t key = mix64(static_cast<uint64_t>(options_.seed)) + drawn_ / all;
    const size_t question = Permutation(all, key)(drawn_ % all);
    if (!resting_[question] && std::ranges::find(chosen, question) == chosen.end())
      chosen.push_back(question);
  }
  return chosen;
}

std::vector<Rollouts::Group> Rollouts::sample(const std::vector<size_t>& questions) {
  std::vector<Group> groups;
  for (const size_t index : questions) {
    const Question& question = questions_[index];
    Group group{.question = index};
    group.prompt = prompt_of(question);
    const int64_t room = seq_len_ + 1 - std::ssize(group.prompt.ids);
    // At temperature 1 the sampled distribution is the policy that is trained.
    const AskOptions ask{.sampling = {.temperature = 1},
                         .max_tokens = std::min(options_.max_tokens, room),
                         .keep_tokens = true};
    for (int64_t i = 0; i < options_.group; ++i) {
      const uint64_t seed = mix64(mix64(static_cast<uint64_t>(options_.seed) + round_) ^
                                  mix64(stats_.groups + std::ssize(groups))) +
                            static_cast<uint64_t>(i);
      group.answers.push_back(asker_->ask(group.prompt, seed, ask));
    }
    groups.push_back(std::move(group));
  }
  engine_->run_until_idle();
  return groups;
}

/// The answers of a group with their advantages; none where they are all as good.
std::vector<Rollout> Rollouts::grade(const Group& group) {
  const Question& question = questions_[group.question];
  std::vector<std::vector<double>> values(rewards_.size());
  for (const auto& answer : group.answers) {
    if (answer->reason == FinishReason::error) fail("{}: {}", question.id, answer->text);
    stats_.right += reward_of("right", question, *answer, options_);
    stats_.tokens += static_cast<double>(answer->tokens);
    stats_.cut += answer->cut() ? 1 : 0;
    for (size_t k = 0; k < rewards_.size(); ++k) {
      values[k].push_back(reward_of(rewards_[k].name, question, *answer, options_));
      stats_.rewards[k].second += values[k].back();
    }
  }
  ++stats_.groups;
  stats_.answers += std::ssize(group.answers);
  const std::vector<float> gains = advantages(values, rewards_, options_.scale == "group");
  if (std::ranges::all_of(gains, [](float gain) { return gain == 0; })) {
    if (options_.mine) resting_[group.question] = true;
    return {};
  }
  ++stats_.useful;
  std::vector<Rollout> rollouts;
  for (size_t i = 0; i < gains.size(); ++i) {
    const Answered& answer = *group.answers[i];
    Rollout& one = rollouts.emplace_back();
    one.tokens = group.prompt.ids;
    one.prompt = std::ssize(one.tokens);
    one.tokens.insert(one.tokens.end(), answer.ids.begin(), answer.ids.end());
    one.logprobs = answer.logprobs;
    one.advantage = gains[i];
  }
  return rollouts;
}

std::vector<Rollout> Rollouts::next() {
  const auto start = std::chrono::steady_clock::now();
  stats_ = {};
  for (const Reward& reward : rewards_) stats_.rewards.emplace_back(reward.name, 0.0);
  if (round_ > 0 &&
      round_ * static_cast<uint64_t>(options_.updates) % static_cast<uint64_t>(options_.stage) <
          static_cast<uint64_t>(options_.updates))
    begin_stage();
  std::vector<Rollout> rollouts;
  for (; stats_.useful < options_.prompts && stats_.waves < options_.max_waves; ++stats_.waves)
    for (const Group& group :
         sample(choose(static_cast<size_t>(options_.prompts - stats_.useful)))) {
      std::vector<Rollout> more = grade(group);
      std::move(more.begin(), more.end(), std::back_inserter(rollouts));
      last_ = group;
    }
  UM_CHECK(
      !rollouts.empty(),
      "of {} questions none had answers that differ in reward ({:.0f}% are right): the questions "
      "are too hard or too easy for this model, or grpo.group is too small",
      stats_.groups, 100 * stats_.right / static_cast<double>(stats_.answers));
  ++round_;
  const auto answers = static_cast<double>(stats_.answers);
  stats_.right /= answers, stats_.tokens /= answers, stats_.cut /= answers;
  for (auto& [name, value] : stats_.rewards) value /= answers;
  stats_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return rollouts;
}

std::string Rollouts::example() const {
  if (last_.answers.empty()) return {};
  const Answered& answer = *last_.answers.front();
  const Question& question = questions_[last_.question];
  const bool right = reward_of("right", question, answer, options_) > 0;
  return tokenizer_.decode(last_.prompt.ids, false) + tokenizer_.decode(answer.ids, false) +
         (right ? "\n(right)" : "\n(wrong)");
}

Json Rollouts::state() const {
  Json resting = Json::array();
  for (size_t i = 0; i < resting_.size(); ++i)
    if (resting_[i]) resting.push_back(i);
  return {{"round", round_}, {"drawn", drawn_}, {"resting", resting}, {"stats", to_json(stats_)}};
}

void Rollouts::restore(const Json& state) {
  constexpr int64_t kMost = int64_t{1} << 52;
  const JsonObject object(state, "state of rollouts");
  round_ = static_cast<uint64_t>(object.integer("round", 0, kMost));
  drawn_ = static_cast<uint64_t>(object.integer("drawn", 0, kMost));
  stats_ = stats_of(object.object("stats"));
  begin_stage();
  for (const int64_t i : object.integers("resting", 0, questions() - 1))
    resting_[static_cast<size_t>(i)] = true;
}

}  // namespace um
