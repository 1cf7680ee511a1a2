// `ultramoe debug`: all logits or all gradients of some sequences, to compare with another
// implementation.
#include "train/debug.h"

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/output_file.h"
#include "models/checkpoint.h"
#include "models/config.h"

namespace um {
namespace {

struct Flags {
  std::string model, tokens, out;
  double mtp_weight = 0, balance_weight = 0;
};

void add_common(CLI::App* command, Flags& flags) {
  add_model_option(command, flags.model);
  command->add_option("--tokens", flags.tokens, "JSON list of lists of token ids, run as one batch")
      ->type_name("FILE")
      ->required();
  command->add_option("--out", flags.out, "safetensors file to write")
      ->type_name("FILE")
      ->required();
}

std::unique_ptr<Model> load(const Flags& flags, const Globals& globals, Sequences& sequences) {
  output_file(flags.out);  // before the work, not after it
  auto model = load_model(find_model(flags.model), globals.device());
  sequences = read_sequences(flags.tokens, model->config().vocab);
  return model;
}

}  // namespace

void add_debug(CLI::App& app, Globals& globals) {
  CLI::App* family = add_family(app, "debug", "write logits or gradients for comparison");

  auto flags = std::make_shared<Flags>();
  CLI::App* logits = add_command(*family, "logits", "logits of every token and MTP head", globals);
  add_common(logits, *flags);
  run_with(logits, globals, [flags, &globals] {
    Sequences sequences;
    const auto model = load(*flags, globals, sequences);
    write_debug_logits(*model, sequences, flags->out);
    fmt::print("{}\n", flags->out);
  });

  CLI::App* grads =
      add_command(*family, "grads", "losses, and the gradient of every tensor", globals);
  add_common(grads, *flags);
  grads->add_option("--mtp-weight", flags->mtp_weight, "weight of the MTP loss in the total")
      ->check(finite_number(-kNoLimit, kNoLimit))
      ->capture_default_str();
  grads
      ->add_option("--balance-weight", flags->balance_weight,
                   "weight of the expert balance loss in the total")
      ->check(finite_number(-kNoLimit, kNoLimit))
      ->capture_default_str();
  run_with(grads, globals, [flags, &globals] {
    Sequences sequences;
    const auto model = load(*flags, globals, sequences);
    write_debug_grads(*model, sequences, flags->mtp_weight, flags->balance_weight, flags->out);
    fmt::print("{}\n", flags->out);
  });
}

}  // namespace um
