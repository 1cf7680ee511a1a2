// What the commands that train share: their options, the terminal's progress, signals, the result.
#pragma once

#include <memory>
#include <string>

#include "cli/commands.h"
#include "core/fields.h"
#include "train/trainer.h"

namespace um {

struct TrainingCommand {
  RunOptions options;
  Fields fields;
  std::unique_ptr<FieldFlags> flags;
  std::string out;
  bool resume = false;

  explicit TrainingCommand(RunOptions defaults);
  TrainingCommand(const TrainingCommand&) = delete;

  /// --out, --resume and a flag for each field.
  void add_to(CLI::App& command, const std::string& directory);
  /// The options: of a run that goes on its own, then a file's, then the flags'. A new run's
  /// directory must hold nothing that it would replace.
  void read();
};

/// Trains until the end of the plan or a signal, and says what came of it. `hooks` may have a
/// `sample`; the rest is ours. `name`: of the command. `on_begin` is called when the run's
/// directory is there.
void run_training(const TrainingCommand& command, const std::string& name, TrainingTask task,
                  TrainerHooks hooks, const Globals& globals,
                  const std::function<void()>& on_begin = {});

/// For the help of such a command.
extern const char* const kTrainingExitCodes;

}  // namespace um
