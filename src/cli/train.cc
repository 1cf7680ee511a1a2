// `ultramoe train`: a training run from a TOML file and flags.
#include <cmath>
#include <csignal>
#include <cstdio>

#include "cli/commands.h"
#include "cli/terminal.h"
#include "engine/generator.h"
#include "models/config.h"
#include "models/count.h"
#include "text/tokenizer.h"
#include "train/run_card.h"
#include "train/trainer.h"

namespace um {
namespace {

volatile std::sig_atomic_t stop_requested = 0;

/// The first SIGINT or SIGTERM asks for a checkpoint and a clean end; a second one has its usual
/// effect.
void request_stop(int signal) {
  stop_requested = 1;
  std::signal(signal, SIG_DFL);
}

struct TrainCommand {
  RunOptions options;
  Fields fields;
  std::unique_ptr<FieldFlags> flags;
  std::string out = "runs/train";
  bool resume = false;

  TrainCommand() { options.fields(fields); }
};

std::string step_line(const StepMetrics& m, int64_t last_step, double seconds_left) {
  std::string line =
      last_step > 0 ? fmt::format("step {}/{}", m.step, last_step) : fmt::format("step {}", m.step);
  line += fmt::format("  loss {:.3f}", m.loss);
  if (!m.mtp_loss.empty()) line += fmt::format("  mtp {:.3f}", m.mtp_loss[0]);
  if (m.val_loss) line += fmt::format("  val {:.3f}", *m.val_loss);
  line += fmt::format("  norm {:.2f}{}  {} tok/s  {:.0f} GFLOP/s", m.grad_norm,
                      m.spike ? " (spike)" : "", short_count(m.tokens_per_s),
                      m.model_flops_per_s / 1e9);
  if (std::isfinite(seconds_left)) line += "  ETA " + duration_text(seconds_left);
  return line;
}

/// A short continuation for the report, by the model as it is.
std::string write_sample(const Model& model, const Tokenizer& tokenizer, const std::string& prompt,
                         int64_t tokens) {
  std::vector<int32_t> ids = tokenizer.encode(prompt, {.add_bos = true});
  Engine engine(model, {.cache_tokens = std::ssize(ids) + tokens + 1});
  GenerateOptions options{.sampling = {.temperature = 0.8, .top_k = 40}, .seed = 1};
  options.max_tokens = tokens;
  if (tokenizer.eos_id() >= 0) options.eos = {tokenizer.eos_id()};
  return generate(engine, &tokenizer, ids, options).text;
}

void run(TrainCommand& command, const Globals& globals) {
  command.flags->apply();
  RunOptions& options = command.options;
  Progress progress;
  TrainerHooks hooks;
  std::optional<Tokenizer> tokenizer;
  if (!options.data.path.empty()) {
    const auto directory = tokenizer_directory(options.data.path[0]);
    if (!directory.empty()) tokenizer = Tokenizer::load(directory);
  }
  if (tokenizer && options.log.sample_prompts.empty()) options.log.sample_prompts = {"The"};
  if (tokenizer)
    hooks.sample = [&](const Model& model, const std::string& prompt, int64_t tokens) {
      return write_sample(model, *tokenizer, prompt, tokens);
    };
  hooks.progress = [&](const StepMetrics& m, int64_t last_step, double seconds_left) {
    if (progress.due() || m.step == 1 || m.step == last_step)
      progress.show(step_line(m, last_step, seconds_left));
  };
  hooks.note = [&](const std::string& text) {
    progress.clear();
    fmt::print(stderr, "{}\n", text);
  };
  hooks.interrupted = [] { return stop_requested != 0; };
  hooks.command =
      fmt::format("ultramoe train --config {}/run.toml --out NEW_DIRECTORY", command.out);
  Trainer trainer(options, command.out, globals.device(), command.resume, hooks);
  const ParameterCount count = count_parameters(trainer.model().config());
  fmt::print("{}: {} parameters, {} active; on {}\n",
             architecture_name(trainer.model().config().family),
             short_count(static_cast<double>(count.total_with_mtp())),
             short_count(static_cast<double>(count.active())), globals.device().name());
  std::fflush(stdout);
  std::signal(SIGINT, request_stop);
  std::signal(SIGTERM, request_stop);
  const auto checkpoint = trainer.run();
  progress.clear();
  const RunState& state = trainer.state();
  fmt::print("{} after {} steps, {} tokens, {}\ncheckpoint {}\n",
             stop_requested ? "interrupted" : "done", state.step,
             short_count(static_cast<double>(state.tokens)), duration_text(state.seconds),
             checkpoint.string());
}

}  // namespace

void add_train(CLI::App& app, Globals& globals) {
  CLI::App* command = add_command(app, "train", "train a model", globals);
  auto state = std::make_shared<TrainCommand>();
  command->add_option("--out", state->out, "directory of the run")->capture_default_str();
  command->add_flag("--resume", state->resume, "go on from the run's newest checkpoint");
  state->flags = std::make_unique<FieldFlags>(*command, state->fields);
  run_with(command, globals, [state, &globals] { run(*state, globals); });
}

}  // namespace um
