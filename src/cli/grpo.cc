// `ultramoe grpo`: reinforcement learning with verifiable rewards.
#include "post/grpo.h"

#include "cli/commands.h"
#include "cli/terminal.h"
#include "cli/training_run.h"
#include "core/error.h"
#include "models/config.h"
#include "text/tokenizer_hash.h"
#include "train/run_checkpoint.h"

namespace um {
namespace {

constexpr const char* kFooter =
    "Example: ultramoe data tasks --out q.jsonl --task addition --levels 1-3 --count 500\n"
    "         ultramoe grpo --model.from DIR --grpo.path q.jsonl --out runs/grpo\n\n";

void run(TrainingCommand& command, const Globals& globals) {
  command.read();
  RunOptions& options = command.options;
  if (options.model.from.empty())
    throw UsageError("model.from: name the model to start from (a directory or .gguf file)");
  const auto newest = command.resume ? latest_checkpoint(command.out) : std::nullopt;
  const std::filesystem::path origin = newest ? *newest : find_model(options.model.from);
  UM_CHECK(has_tokenizer(origin), "{}: has no tokenizer, which sampling needs", origin.string());
  const auto rollouts = std::make_shared<Rollouts>(*options.grpo, origin, options.train.seq_len);
  fmt::print("{} questions\n", rollouts->questions());
  options.train.batch = answers_at_once(options);
  options.log.sample_prompts = {"An answer of this step"};
  TrainerHooks hooks;
  hooks.sample = [rollouts](const Model&, const std::string&, int64_t) {
    return rollouts->example();
  };
  run_training(command, "grpo", grpo(options, rollouts), hooks, globals, [&] {
    const std::vector<std::string>& left_out = rollouts->left_out();
    if (!left_out.empty())
      fmt::print(stderr, "{} questions are left out; the first: {}\n", left_out.size(),
                 left_out[0]);
  });
}

}  // namespace

void add_grpo(CLI::App& app, Globals& globals) {
  CLI::App* command = add_command(
      app, "grpo", "train a model on its own answers to questions that can be checked", globals);
  auto state = std::make_shared<TrainingCommand>(grpo_options());
  state->add_to(*command, "runs/grpo");
  command->footer(std::string(kFooter) + kTrainingExitCodes);
  run_with(command, globals, [state, &globals] { run(*state, globals); });
}

}  // namespace um
