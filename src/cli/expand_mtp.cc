// `ultramoe expand-mtp`: more multi-token-prediction heads for a trained model.
#include "models/expand_mtp.h"

#include "cli/commands.h"
#include "cli/output_directory.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/digests.h"
#include "models/model_texts.h"

namespace um {
namespace {

namespace fs = std::filesystem;

struct Flags {
  std::string model, out, init = "copy";
  int64_t heads = 2;
  uint64_t seed = 1;
};

void run(const Flags& flags, const Globals& globals) {
  const fs::path from = find_model(flags.model), out = flags.out;
  check_output_directory(out, {});
  const auto model = load_model(from, globals.device());
  const HeadInit init = flags.init == "copy" ? HeadInit::copy : HeadInit::random;
  const int64_t before = model->mtp_heads();
  const auto grown = expand_mtp(*model, flags.heads, init, flags.seed);
  CheckpointDirectory output(out);
  copy_model_texts(from, out);
  save_model(*grown, out);
  write_trained_for(out, trained_for(from));
  output.seal();
  output.keep();
  fmt::print("{}  {} MTP heads, {} of them new ({})\n", flags.out, flags.heads,
             flags.heads - before, flags.init == "copy" ? "copies of head 1" : "random");
  fmt::print(
      "train them:  ultramoe train --model.from {} --train.freeze first_head --data.path "
      "DATA --out RUN\n",
      flags.out);
}

}  // namespace

void add_expand_mtp(CLI::App& app, Globals& globals) {
  CLI::App* command =
      add_command(app, "expand-mtp", "more draft heads for a model that has one", globals);
  auto flags = std::make_shared<Flags>();
  command->add_option("model", flags->model, "model directory or .gguf file")
      ->required()
      ->type_name(kModelType);
  command->add_option("--heads", flags->heads, "MTP heads it is to have")
      ->check(CLI::Range(int64_t{2}, int64_t{16}).description(""))
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--out", flags->out, "directory of the new checkpoint")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--init", flags->init, "the new heads: copies of head 1, or random (a control)")
      ->check(CLI::IsMember({"copy", "random"}).description(""))
      ->type_name("copy|random")
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "of random heads")->capture_default_str();
  run_with(command, globals, [flags, &globals] { run(*flags, globals); });
}

}  // namespace um
