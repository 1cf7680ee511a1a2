// `ultramoe sft`: supervised fine-tuning on conversations.
#include "cli/commands.h"
#include "cli/terminal.h"
#include "cli/training_run.h"
#include "core/error.h"
#include "core/files.h"
#include "engine/generator.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "post/fine_tuning.h"
#include "train/run_checkpoint.h"

namespace um {
namespace {

constexpr const char* kFooter =
    "Example: ultramoe sft --model.from DIR --data.path chats.jsonl --out runs/sft\n"
    "Records have \"messages\", \"conversations\", \"instruction\" and \"output\", \"prompt\" and "
    "\"completion\",\n\"question\" and \"answer\", or \"text\" (docs/fine_tuning.md).\n\n";

constexpr size_t kShownLeftOut = 5;
constexpr const char* kLeftOutFile = "left_out.txt";

/// The model whose tokenizer and template count: of a run that goes on its last checkpoint.
std::filesystem::path find_origin(const TrainingCommand& command) {
  if (command.resume)
    if (const auto newest = latest_checkpoint(command.out)) return *newest;
  if (command.options.model.from.empty())
    throw UsageError("model.from: name the model to start from (a directory or .gguf file)");
  return find_model(command.options.model.from);
}

std::shared_ptr<const ChatData> read_data(const RunOptions& options, const ChatTokens& tokens) {
  Progress progress;
  auto data = std::make_shared<const ChatData>(
      *options.chat, tokens, options.train.seq_len, [&](int64_t records) {
        if (progress.due()) progress.show(fmt::format("reading: {} records", records));
      });
  progress.clear();
  for (const std::string& line : data->summary()) fmt::print("{}\n", line);
  return data;
}

/// The records that could not be read: the first of each file on the terminal, all of them in a
/// file of the run.
void tell_left_out(const ChatData& data, const std::filesystem::path& run) {
  std::string all;
  for (const ChatFile& file : data.files()) {
    for (size_t i = 0; i < file.left_out.size(); ++i) {
      all += file.left_out[i] + "\n";
      if (i < kShownLeftOut) fmt::print(stderr, "left out: {}\n", file.left_out[i]);
    }
    if (file.left_out.size() > kShownLeftOut)
      fmt::print(stderr, "left out: {} more of {}, see {}\n", file.left_out.size() - kShownLeftOut,
                 file.name, (run / kLeftOutFile).string());
  }
  if (!all.empty()) write_file_atomic(run / kLeftOutFile, all);
}

std::string answer(const Model& model, const ChatTokens& tokens, const std::string& question,
                   int64_t max_tokens) {
  const std::vector<int32_t> prompt = tokens.ask(question);
  Engine engine(model, {.cache_tokens = std::ssize(prompt) + max_tokens + 1});
  GenerateOptions options{.seed = 1, .max_tokens = max_tokens, .eos = tokens.ends().turn};
  options.sampling.temperature = 0;
  options.skip_special = false;
  return generate(engine, &tokens.tokenizer(), prompt, options).text;
}

void run(TrainingCommand& command, const Globals& globals) {
  command.read();
  RunOptions& options = command.options;
  if (!command.resume && options.chat->epochs > 0 &&
      options.train.steps != fine_tuning_options().train.steps)
    throw UsageError(
        "train.steps: data.epochs bounds the run; --data.epochs 0 leaves that to steps");
  // A run that goes on has its template in its checkpoint.
  const ChatTokens tokens = chat_tokens_of(
      find_origin(command), command.resume ? std::string() : options.chat->chat_template);
  const auto data = read_data(options, tokens);
  if (options.chat->epochs > 0) {
    options.train.steps = steps_of_epochs(options, data);
    fmt::print("{} epochs: {} steps\n", options.chat->epochs, options.train.steps);
  }
  if (options.log.sample_prompts.empty()) options.log.sample_prompts = data->questions();
  TrainerHooks hooks;
  hooks.sample = [&](const Model& model, const std::string& prompt, int64_t max_tokens) {
    return answer(model, tokens, prompt, max_tokens);
  };
  run_training(command, "sft", fine_tuning(options, data, tokens), hooks, globals,
               [&] { tell_left_out(*data, command.out); });
}

}  // namespace

void add_sft(CLI::App& app, Globals& globals) {
  CLI::App* command =
      add_command(app, "sft", "fine-tune a model on conversations, so that it chats", globals);
  auto state = std::make_shared<TrainingCommand>(fine_tuning_options());
  state->add_to(*command, "runs/sft");
  command->footer(std::string(kFooter) + kTrainingExitCodes);
  run_with(command, globals, [state, &globals] { run(*state, globals); });
}

}  // namespace um
