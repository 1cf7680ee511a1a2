// See training_run.h.
#include "cli/training_run.h"

#include <csignal>
#include <cstdio>

#include "cli/output_directory.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/paths.h"
#include "core/unfinished.h"
#include "models/config.h"
#include "models/count.h"
#include "train/resume.h"

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

/// `about`: the last step is an estimate.
std::string step_line(const StepMetrics& m, int64_t last_step, bool about, double seconds_left) {
  std::string line =
      fmt::format("step {}/{}{}  loss {:.3f}", m.step, about ? "~" : "", last_step, m.loss);
  if (!m.mtp_loss.empty()) line += fmt::format("  mtp {:.3f}", m.mtp_loss[0]);
  for (const auto& [name, value] : m.measures)
    if (name == "right" || name == "useful_groups") line += fmt::format("  {} {:.2f}", name, value);
  if (m.val_loss) line += fmt::format("  val {:.3f}", *m.val_loss);
  return line + fmt::format("  norm {:.2f}{}  {} tok/s  ETA {}  {:.0f} GFLOP/s", m.grad_norm,
                            m.spike ? " (spike)" : "", short_count(m.tokens_per_s),
                            duration_text(seconds_left), m.model_flops_per_s / 1e9);
}

}  // namespace

const char* const kTrainingExitCodes =
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 130, 143, 129 after SIGINT, SIGTERM, SIGHUP.";

TrainingCommand::TrainingCommand(RunOptions defaults) : options(std::move(defaults)) {
  options.fields(fields);
}

void TrainingCommand::add_to(CLI::App& command, const std::string& directory) {
  out = directory;
  command.add_option("--out", out, "directory of the run")->capture_default_str();
  command.add_flag("--resume", resume,
                   "go on from the run's newest checkpoint, with its options; flags change them");
  flags = std::make_unique<FieldFlags>(command, fields);
}

void TrainingCommand::read() {
  const std::filesystem::path saved = std::filesystem::path(out) / kRunFile;
  if (resume && path_exists(saved)) {
    UM_CHECK(!parse_toml(read_file(saved), saved.string()).empty(),
             "{}: no options in it, so the run's options are not known: put them there again, or "
             "delete the "
             "file and give them by --config or flags",
             saved.string());
    fields.read_file(saved);
  }
  flags->apply();
  if (!resume) check_output_directory(out, {Holding::run, Holding::tokenizer});
}

void run_training(const TrainingCommand& command, const std::string& name, TrainingTask task,
                  TrainerHooks hooks, const Globals& globals,
                  const std::function<void()>& on_begin) {
  const RunOptions& options = command.options;
  Progress progress;
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
      fmt::format("ultramoe {} --config {}/run.toml --out NEW_DIRECTORY", name, command.out);
  Trainer trainer(std::move(task), options, command.out, globals.device(), command.resume, hooks);
  if (on_begin) on_begin();
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

}  // namespace um
