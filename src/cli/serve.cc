// `ultramoe serve`: an OpenAI-compatible server and a chat page for one checkpoint.
#include "server/serve.h"

#include "cli/commands.h"
#include "models/config.h"

namespace um {
namespace {

struct ServeCommand {
  std::string model, dtype = "auto";
  ServeOptions options;
  Fields fields;
  std::unique_ptr<FieldFlags> flags;

  ServeCommand() { options.fields(fields); }
};

void run(ServeCommand& command, const Globals& globals) {
  command.flags->apply();
  command.options.resolve();
  serve(command.options, find_model(command.model), globals.device(), weights_of(command.dtype),
        [](const std::string& line) { fmt::print(stderr, "{}\n", line); });
}

}  // namespace

void add_serve(CLI::App& app, Globals& globals) {
  CLI::App* command =
      add_command(app, "serve", "serve a model over HTTP, with a chat page", globals);
  auto state = std::make_shared<ServeCommand>();
  command->add_option("model,--model", state->model, "checkpoint directory or .gguf file")
      ->type_name("DIR")
      ->required();
  add_dtype_option(command, state->dtype);
  state->flags = std::make_unique<FieldFlags>(*command, state->fields);
  run_with(command, globals, [state, &globals] { run(*state, globals); });
}

}  // namespace um
