// `ultramoe serve`: an OpenAI-compatible server and a chat page for one checkpoint.
#include "server/serve.h"

#include <mutex>

#include "cli/commands.h"
#include "cli/terminal.h"
#include "models/config.h"

namespace um {
namespace {

struct ServeCommand {
  std::string model, dtype = "auto", precision = "f32";
  ServeOptions options;
  Fields fields;
  std::unique_ptr<FieldFlags> flags;

  ServeCommand() { options.fields(fields); }
};

void run(ServeCommand& command, const Globals& globals) {
  command.flags->apply();
  command.options.resolve();
  set_precision(command.precision, globals.device());
  Progress line;
  std::mutex mutex;  // of the line on the terminal
  serve(
      command.options, find_model(command.model), globals.device(), weights_of(command.dtype),
      [&](const std::string& note) {
        const std::lock_guard lock(mutex);
        line.clear();
        fmt::print(stderr, "{}\n", note);
      },
      [&](uint64_t done, uint64_t all) {
        const std::lock_guard lock(mutex);
        show_loading(line, done, all);
      });
}

}  // namespace

void add_serve(CLI::App& app, Globals& globals) {
  CLI::App* command =
      add_command(app, "serve", "serve a model over HTTP, with a chat page", globals);
  auto state = std::make_shared<ServeCommand>();
  command
      ->add_option("model,--model", state->model,
                   "model directory or .gguf file (of a split one the first)")
      ->type_name(kModelType)
      ->required();
  add_dtype_option(command, state->dtype);
  add_precision_option(command, state->precision);
  state->flags = std::make_unique<FieldFlags>(*command, state->fields);
  run_with(command, globals, [state, &globals] { run(*state, globals); });
}

}  // namespace um
