// `ultramoe init`: a checkpoint with random weights.
#include "cli/commands.h"
#include "cli/output_directory.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/json.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/count.h"
#include "models/digests.h"
#include "models/model_texts.h"
#include "text/tokenizer.h"

namespace um {
namespace {

namespace fs = std::filesystem;

struct Flags {
  std::string preset, out, dtype, tokenizer;
  uint64_t seed = 1;
};

/// The directory, or the nearest one above it that exists.
fs::path existing_parent(fs::path path) {
  std::error_code ignored;
  path = fs::absolute(path);
  while (!fs::exists(path, ignored) && path.has_relative_path()) path = path.parent_path();
  return path;
}

void check_fits_disk(const ModelConfig& config, const fs::path& out) {
  const auto params = static_cast<double>(count_parameters(config).total_with_mtp());
  const double needed = params * static_cast<double>(dtype_size(config.dtype));
  std::error_code error;
  const fs::space_info space = fs::space(existing_parent(out), error);
  if (error) return;
  const auto free = static_cast<double>(space.available);
  UM_CHECK(needed <= free, "{}: the weights take {} ({} parameters in {}), the disk has {} left",
           out.string(), bytes_text(needed), short_count(params), dtype_name(config.dtype),
           bytes_text(free));
}

void init(const Flags& flags, const Globals& globals) {
  ModelConfig config = read_named_config(flags.preset);
  if (!flags.dtype.empty()) config.dtype = dtype_from_name(flags.dtype);
  UM_CHECK(config.dtype == DType::f32 || config.dtype == DType::bf16 || config.dtype == DType::f16,
           "--dtype {}: expected f32, bf16 or f16", flags.dtype);
  const fs::path out = flags.out;
  if (flags.tokenizer.empty())
    check_output_directory(out, {Holding::tokenizer});  // which becomes the model's
  else
    check_output_directory(out, {}, flags.tokenizer);
  check_fits_memory(config, DType::f32, 1, "init " + flags.preset);
  check_fits_disk(config, out);
  std::optional<Tokenizer> tokenizer;
  if (!flags.tokenizer.empty()) {
    tokenizer = Tokenizer::load(flags.tokenizer);
    UM_CHECK(tokenizer->vocab_size() <= config.vocab,
             "{}: the tokenizer has {} tokens, the model room for {}", flags.tokenizer,
             tokenizer->vocab_size(), config.vocab);
    clear_token_ids(config);
  }
  const auto model = make_model(config, globals.device());
  model->params().initialize(flags.seed);
  CheckpointDirectory output(out);
  if (tokenizer) tokenizer->save(out);
  save_model(*model, out);
  write_trained_for(out, "nothing");
  output.seal();
  output.keep();
  fmt::print("{}  {} parameters in {}, seed {}\n", bold(flags.out), digits(model->params().count()),
             dtype_name(config.dtype), flags.seed);
}

}  // namespace

void add_init(CLI::App& app, Globals& globals) {
  CLI::App* command = add_command(app, "init", "write a model with random weights", globals);
  auto flags = std::make_shared<Flags>();
  command
      ->add_option("--preset", flags->preset,
                   "preset, or directory with a config.json, or .gguf file for its shape")
      ->type_name("NAME")
      ->required();
  command->add_option("--out", flags->out, "directory to write")->type_name("DIR")->required();
  command->add_option("--seed", flags->seed, "seed of the weights")->capture_default_str();
  command->add_option("--dtype", flags->dtype, "f32, bf16 or f16 (default: the config's)");
  command->add_option("--tokenizer", flags->tokenizer, "tokenizer to put beside the weights")
      ->type_name("DIR");
  run_with(command, globals, [flags, &globals] { init(*flags, globals); });
}

}  // namespace um
