// `ultramoe convert`: a model in another file format.
#include "models/convert.h"

#include "cli/commands.h"
#include "cli/output_directory.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/output_file.h"
#include "models/checkpoint.h"
#include "models/config.h"

namespace um {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

struct Flags {
  std::string from, out, type = "auto";
  double shard_gb = 5;
  bool no_rotation = false, mapped = false, dry_run = false, json = false;
};

/// "model.layers.3.mlp.up_proj.weight and 12 more"
std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kShown = 3;
  std::string text;
  for (size_t i = 0; i < std::min(kShown, names.size()); ++i)
    text += (i > 0 ? ", " : "") + names[i];
  return names.size() > kShown ? text + fmt::format(" and {} more", names.size() - kShown) : text;
}

void print_plan(const Conversion& conversion, const Flags& flags) {
  fmt::print("{}  {}, {}\n", bold(flags.out), conversion.to_gguf() ? "GGUF" : "safetensors",
             bytes_text(static_cast<double>(conversion.bytes())));
  for (const auto& [types, step] : conversion.steps())
    fmt::print("  {:<40} {:>6} tensors {:>12}{}\n",
               types.first == types.second ? types.first : types.first + " → " + types.second,
               digits(static_cast<int64_t>(step.tensors)),
               bytes_text(static_cast<double>(step.bytes)), step.exact ? "" : "  rounded");
  if (!conversion.lost_tensors().empty())
    fmt::print("  lost: {} tensors: {}\n", conversion.lost_tensors().size(),
               listed(conversion.lost_tensors()));
  for (const std::string& note : conversion.notes()) fmt::print("  note: {}\n", note);
}

OrderedJson to_json(const Conversion& conversion, const Flags& flags) {
  OrderedJson steps = OrderedJson::array();
  for (const auto& [types, step] : conversion.steps())
    steps.push_back({{"from", types.first},
                     {"to", types.second},
                     {"tensors", step.tensors},
                     {"bytes", step.bytes},
                     {"exact", step.exact}});
  return {{"out", flags.out},
          {"format", conversion.to_gguf() ? "gguf" : "safetensors"},
          {"bytes", conversion.bytes()},
          {"steps", steps},
          {"lost", conversion.lost_tensors()},
          {"notes", conversion.notes()},
          {"written", !flags.dry_run}};
}

void check_output(const Conversion& conversion, const fs::path& out) {
  if (conversion.to_gguf())
    output_file(out);
  else
    check_output_directory(out, {});
}

Conversion::Progress shown_on(Progress& line) {
  return [&line](uint64_t done, uint64_t total) {
    if (!line.due()) return;
    line.show(fmt::format("{} of {}", bytes_text(static_cast<double>(done)),
                          bytes_text(static_cast<double>(total))));
  };
}

/// A model in the layout of memory.
void run_mapped(const Flags& flags) {
  const auto chosen = weights_of(flags.type);
  if (!chosen && flags.type != "auto")
    throw UsageError("--mapped: a model runs in auto, f32, bf16, w8a8 or w4a8, not in --type " +
                     flags.type);
  if (fs::path(flags.out).extension() == ".gguf")
    throw UsageError("--mapped: --out names a directory, not a .gguf file");
  const Conversion conversion(find_model(flags.from), flags.out, std::nullopt);
  const WeightTypes weights =
      chosen ? *chosen : stored_weights(conversion.config(), conversion.source());
  const int64_t bytes = weight_bytes(conversion.config(), weights);
  if (!flags.dry_run) check_output(conversion, flags.out);
  if (!flags.json)
    fmt::print("{}  in the layout of memory, most in {}, {}\n", bold(flags.out),
               format_name(weights.matrices), bytes_text(static_cast<double>(bytes)));
  Progress line;
  if (!flags.dry_run) conversion.write_mapped(weights, shown_on(line));
  if (flags.json)
    print_json({{"out", flags.out},
                {"format", "mapped"},
                {"weights", format_name(weights.matrices)},
                {"bytes", bytes},
                {"written", !flags.dry_run}});
}

void run(const Flags& flags) {
  if (flags.no_rotation && (flags.type != format_name(kW8Rows) || flags.mapped))
    throw UsageError("--no-rotation is for --type w8a8 in files for other programs");
  if (flags.mapped) return run_mapped(flags);
  std::optional<IntegerFiles> packed;
  for (const RowFormat& format : {kW8Rows, kW4Rows})
    if (flags.type == format_name(format))
      packed = flags.no_rotation ? without_rotation(format) : format;
  if (flags.type == "int8") packed = IntegerForm::int8;
  if (flags.type == "modelslim") packed = IntegerForm::modelslim;
  std::optional<BlockType> type;
  if (flags.type != "auto" && !packed) type = block_format(flags.type).type;
  if (!(flags.shard_gb >= 0 && flags.shard_gb <= 1e6))
    throw UsageError("--shard-size: expected 0 to 1000000 GB");
  const Conversion conversion(find_model(flags.from), flags.out, type, packed);
  if (!flags.dry_run) check_output(conversion, flags.out);
  if (!flags.json) print_plan(conversion, flags);
  if (!flags.dry_run) {
    Progress line;
    conversion.write(static_cast<uint64_t>(flags.shard_gb * 1e9), shown_on(line));
  }
  if (flags.json) print_json(to_json(conversion, flags));
}

}  // namespace

void add_convert(CLI::App& app, Globals& globals) {
  CLI::App* command = add_command(
      app, "convert", "a model in another format: safetensors to GGUF, and back", globals);
  auto flags = std::make_shared<Flags>();
  command->add_option("model", flags->from, "model directory or .gguf file")
      ->required()
      ->type_name(kModelType);
  command
      ->add_option("--out", flags->out, "what to write: a name that ends in .gguf, or a directory")
      ->required()
      ->type_name("DIR|FILE.gguf");
  command
      ->add_option(
          "--type", flags->type,
          "of matrices; auto: as they are stored, quantised ones in bf16; q8_0, q6_k, q4_k, q4_0: "
          "for GGUF only; w8a8, w4a8, int8 (a scale for each row), modelslim (the same): for "
          "directories")
      ->check(CLI::IsMember({"auto", "f32", "f16", "bf16", "q8_0", "q6_k", "q4_k", "q4_0", "w8a8",
                             "w4a8", "int8", "modelslim"})
                  .description(""))
      ->type_name("TYPE")
      ->capture_default_str();
  command
      ->add_option("--shard-size", flags->shard_gb, "largest safetensors file in GB; 0: no limit")
      ->type_name("GB")
      ->capture_default_str();
  command->add_flag("--mapped", flags->mapped,
                    "in the layout of memory, for this program only: used in place, so that it "
                    "starts at once and processes share it");
  command->add_flag("--no-rotation", flags->no_rotation,
                    "w8a8 for programs that know nothing of compressed-tensors' transform_config: "
                    "three times the error");
  command->add_flag("--dry-run", flags->dry_run, "only say what would be written, and what lost");
  add_json_flag(command, flags->json);
  run_with(command, globals, [flags] { run(*flags); });
}

}  // namespace um
