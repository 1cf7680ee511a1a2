// `ultramoe train`: a training run from a TOML file and flags.
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/training_run.h"
#include "engine/generator.h"
#include "models/model_texts.h"
#include "text/tokenizer_hash.h"
#include "train/task.h"

namespace um {
namespace {

constexpr const char* kFooter =
    "Phases after the main one are written in the --config file, in turn (0 or left out: see\n"
    "docs/training.md, and configs/phases.toml for a whole file):\n"
    "  [[train.phases]]\n"
    "  steps = 60           # updates in this phase\n"
    "  batch = 2            # sequences per micro-batch\n"
    "  seq_len = 1024       # longest sequence, tokens\n"
    "  lr = 4e-4            # learning rate at the start\n"
    "  final_lr = 1e-5      # and at the end\n"
    "  schedule = \"linear\"  # or cosine, constant\n"
    "  rope_theta = 1e5     # RoPE base\n"
    "\n";

/// A short continuation for the report, by the model as it is.
std::string write_sample(const Model& model, const Tokenizer& tokenizer, const std::string& prompt,
                         int64_t tokens) {
  std::vector<int32_t> ids = encode_prompt(tokenizer, prompt);
  Engine engine(model, {.cache_tokens = std::ssize(ids) + tokens + 1});
  GenerateOptions options{.sampling = {.temperature = 0.8, .top_k = 40}, .seed = 1};
  options.max_tokens = tokens;
  options.eos = find_ends(model.config(), tokenizer, {}).text;
  return generate(engine, &tokenizer, ids, options).text;
}

void run(TrainingCommand& command, const Globals& globals) {
  command.read();
  RunOptions& options = command.options;
  TrainerHooks hooks;
  std::optional<Tokenizer> tokenizer;
  if (!options.data.path.empty() && has_tokenizer(options.data.path[0]))
    tokenizer = Tokenizer::load(options.data.path[0]);
  if (tokenizer && options.log.sample_prompts.empty()) options.log.sample_prompts = {"The"};
  if (tokenizer)
    hooks.sample = [&](const Model& model, const std::string& prompt, int64_t tokens) {
      return write_sample(model, *tokenizer, prompt, tokens);
    };
  run_training(command, "train", pretraining(options), hooks, globals);
}

}  // namespace

void add_train(CLI::App& app, Globals& globals) {
  CLI::App* command = add_command(app, "train", "train a model", globals);
  auto state = std::make_shared<TrainingCommand>(RunOptions{});
  state->add_to(*command, "runs/train");
  command->footer(std::string(kFooter) + kTrainingExitCodes);
  run_with(command, globals, [state, &globals] { run(*state, globals); });
}

}  // namespace um
