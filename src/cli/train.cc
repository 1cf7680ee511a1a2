// `ultramoe train`: a training run from a TOML file and flags.
#include <csignal>
#include <cstdio>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/output_directory.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/paths.h"
#include "core/unfinished.h"
#include "engine/generator.h"
#include "models/config.h"
#include "models/count.h"
#include "models/model_texts.h"
#include "text/tokenizer_hash.h"
#include "train/resume.h"
#include "train/trainer.h"

namespace um {
namespace {

volatile std::sig_atomic_t stop_signal = 0;

/// The first SIGINT, SIGTERM or SIGHUP asks for a checkpoint and a clean end; a second one ends the
/// process at once.
void request_stop(int signal) {
  stop_signal = signal;
  remove_unfinished_on_signals();
}

void stop_on_signals() {
  std::signal(SIGINT, request_stop);
  std::signal(SIGTERM, request_stop);
  if (std::signal(SIGHUP, request_stop) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);  // nohup
}

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
    "\nExit codes: 0 done, 1 failed, 2 wrong usage, 130, 143, 129 after SIGINT, SIGTERM, SIGHUP.";

struct TrainCommand {
  RunOptions options;
  Fields fields;
  std::unique_ptr<FieldFlags> flags;
  std::string out = "runs/train";
  bool resume = false;

  TrainCommand() { options.fields(fields); }
};

/// `about`: the last step is an estimate.
std::string step_line(const StepMetrics& m, int64_t last_step, bool about, double seconds_left) {
  std::string line =
      fmt::format("step {}/{}{}  loss {:.3f}", m.step, about ? "~" : "", last_step, m.loss);
  if (!m.mtp_loss.empty()) line += fmt::format("  mtp {:.3f}", m.mtp_loss[0]);
  if (m.val_loss) line += fmt::format("  val {:.3f}", *m.val_loss);
  return line + fmt::format("  norm {:.2f}{}  {} tok/s  ETA {}  {:.0f} GFLOP/s", m.grad_norm,
                            m.spike ? " (spike)" : "", short_count(m.tokens_per_s),
                            duration_text(seconds_left), m.model_flops_per_s / 1e9);
}

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

/// The options: of a run that goes on its own, then a file's, then the flags'.
void read_options(TrainCommand& command) {
  const std::filesystem::path saved = std::filesystem::path(command.out) / kRunFile;
  if (command.resume && path_exists(saved)) {
    UM_CHECK(!parse_toml(read_file(saved), saved.string()).empty(),
             "{}: no options in it, so the run's options are not known: put them there again, or "
             "delete the "
             "file and give them by --config or flags",
             saved.string());
    command.fields.read_file(saved);
  }
  command.flags->apply();
}

void run(TrainCommand& command, const Globals& globals) {
  read_options(command);
  if (!command.resume) check_output_directory(command.out, {Holding::run, Holding::tokenizer});
  RunOptions& options = command.options;
  Progress progress;
  TrainerHooks hooks;
  std::optional<Tokenizer> tokenizer;
  if (!options.data.path.empty() && has_tokenizer(options.data.path[0]))
    tokenizer = Tokenizer::load(options.data.path[0]);
  if (tokenizer && options.log.sample_prompts.empty()) options.log.sample_prompts = {"The"};
  if (tokenizer)
    hooks.sample = [&](const Model& model, const std::string& prompt, int64_t tokens) {
      return write_sample(model, *tokenizer, prompt, tokens);
    };
  hooks.progress = [&](const StepMetrics& m, int64_t last_step, double seconds_left) {
    if (progress.due() || m.step == 1 || m.step == last_step)
      progress.show(step_line(m, last_step, options.train.minutes > 0, seconds_left));
  };
  hooks.note = [&](const std::string& text) {
    progress.clear();
    fmt::print(stderr, "{}\n", text);
  };
  hooks.stage = [&](const std::string& text) {
    if (stderr_is_terminal()) progress.announce(text);
  };
  hooks.interrupted = [] { return stop_signal != 0; };
  hooks.command =
      fmt::format("ultramoe train --config {}/run.toml --out NEW_DIRECTORY", command.out);
  Trainer trainer(pretraining(options), options, command.out, globals.device(), command.resume,
                  hooks);
  progress.clear();
  const ParameterCount count = count_parameters(trainer.model().config());
  fmt::print("{}: {} parameters, {} active; on {}\nmemory of a step {}\n",
             architecture_name(trainer.model().config().family),
             short_count(static_cast<double>(count.total_with_mtp())),
             short_count(static_cast<double>(count.active())), globals.device().name(),
             trainer.memory().text());
  std::fflush(stdout);
  stop_on_signals();
  const RunState& state = trainer.state();
  const int64_t before = state.step;
  const auto checkpoint = trainer.run();
  progress.clear();
  const char* how = stop_signal != 0       ? "interrupted"
                    : state.step == before ? "nothing to do: this run was already complete"
                                           : "done";
  fmt::print("{} after {} steps, {} tokens, {}\ncheckpoint {}\n", how, state.step,
             short_count(static_cast<double>(state.tokens)), duration_text(state.seconds),
             checkpoint.string());
  if (stop_signal != 0) throw CLI::RuntimeError(128 + stop_signal);
}

}  // namespace

void add_train(CLI::App& app, Globals& globals) {
  CLI::App* command = add_command(app, "train", "train a model", globals);
  auto state = std::make_shared<TrainCommand>();
  command->add_option("--out", state->out, "directory of the run")->capture_default_str();
  command->add_flag("--resume", state->resume,
                    "go on from the run's newest checkpoint, with its options; flags change them");
  state->flags = std::make_unique<FieldFlags>(*command, state->fields);
  command->footer(kFooter);
  run_with(command, globals, [state, &globals] { run(*state, globals); });
}

}  // namespace um
