// Rollouts: groups of answers to questions, sampled by the serving engine from the weights that are
// being trained, rewarded, and turned into advantages. A pool of questions follows what the policy
// can do: one that it always or never solves teaches nothing, and rests until the next stage.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/batch.h"
#include "engine/engine.h"
#include "post/ask.h"
#include "train/options.h"

namespace um {

/// One answer to learn from.
struct Rollout {
  std::vector<int32_t> tokens = {};  ///< prompt and answer
  int64_t prompt = 0;                ///< tokens of the prompt
  std::vector<float> logprobs = {};  ///< of the answer's tokens, when they were sampled
  float advantage = 0;
};

/// Means over what was sampled for a step, useful or not.
struct RolloutStats {
  int64_t groups = 0, useful = 0, answers = 0, waves = 0;
  double right = 0, tokens = 0, cut = 0, seconds = 0;
  std::vector<std::pair<std::string, double>> rewards = {};  ///< each one's mean, before its weight
};

/// A reward by name, from what an answer is.
struct Reward {
  std::string name;
  double weight = 1;
};
/// "right=1", "brief=0.5": throws UsageError for names that there are not.
std::vector<Reward> parse_rewards(const std::vector<std::string>& texts);
double reward_of(const std::string& name, const Question& question, const Answered& answer,
                 const GrpoOptions& options);

/// The advantages of a group: each reward minus its mean in the group, divided by its standard
/// deviation where `scale`, times its weight; summed over the rewards (of each apart, so that one
/// with a wide range does not drown another). All zero where no reward differs. [rewards][answers]
std::vector<float> advantages(const std::vector<std::vector<double>>& rewards,
                              const std::vector<Reward>& kinds, bool scale);

class Rollouts {
 public:
  /// Reads the questions. Throws Error for files without any, UsageError for wrong options.
  /// `model`: the directory whose tokenizer and template are used.
  Rollouts(const GrpoOptions& options, const std::filesystem::path& model, int64_t seq_len);
  ~Rollouts();

  /// From now on it samples from this model.
  void begin(const Model& model);
  /// Its weights have changed.
  void weights_changed();

  /// The answers of the next set of updates, group by group: about options.prompts × group of them.
  /// Throws Error where no question gives answers that differ.
  std::vector<Rollout> next();
  const RolloutStats& stats() const { return stats_; }
  /// The last group's question and first answer as they are (special tokens spelled out).
  std::string example() const;

  const Tokenizer& tokenizer() const { return tokenizer_; }
  /// Identifies the questions.
  const std::string& fingerprint() const { return fingerprint_; }
  /// The questions that are not asked, a line each with the reason.
  const std::vector<std::string>& left_out() const { return left_out_; }
  int64_t questions() const { return std::ssize(questions_); }
  /// Where it stands between two calls of next().
  Json state() const;
  void restore(const Json& state);

 private:
  struct Group {
    size_t question = 0;
    Asker::Prompt prompt = {};
    std::vector<std::shared_ptr<const Answered>> answers = {};
  };
  Asker::Prompt prompt_of(const Question& question) const;
  std::vector<size_t> choose(size_t count);
  std::vector<Group> sample(const std::vector<size_t>& questions);
  std::vector<Rollout> grade(const Group& group);
  void begin_stage();

  GrpoOptions options_;
  std::filesystem::path directory_;
  int64_t seq_len_;
  Tokenizer tokenizer_;
  std::vector<Question> questions_;
  std::vector<Reward> rewards_;
  std::string fingerprint_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Asker> asker_;
  std::vector<std::string> left_out_;
  std::vector<bool> unusable_;  ///< by question: cannot be asked
  std::vector<bool> resting_;   ///< by question: taught nothing in this stage, or cannot be asked
  uint64_t round_ = 0;          ///< calls of next()
  uint64_t drawn_ = 0;          ///< questions tried, resting ones included
  RolloutStats stats_;
  Group last_;
};

}  // namespace um
