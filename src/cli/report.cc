// `ultramoe report`: the HTML report of a training run.
#include "train/report.h"

#include "cli/commands.h"
#include "core/error.h"

namespace um {

void add_report(CLI::App& app, Globals& globals) {
  CLI::App* command =
      add_command(app, "report", "write the HTML report of a training run", globals);
  auto run = std::make_shared<std::string>();
  command->add_option("run", *run, "directory of the run")->type_name("RUN")->required();
  run_with(command, globals, [run] { fmt::print("{}\n", write_report(*run).string()); });
}

}  // namespace um
