// See commands.h.
#include "cli/commands.h"

#include <omp.h>

#include "cli/arguments.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/fields.h"
#include "models/checkpoint.h"
#include "ops/devices.h"
#include "ops/precision.h"

namespace um {
namespace {

void refuse_mistakes(const CLI::App* command) {
  for (; command != nullptr; command = command->get_parent()) {
    refuse_extras(*command);
    refuse_repeats(*command);
  }
}

}  // namespace

Device& Globals::device() const {
  return kernels.empty() ? cpu_device() : cpu_device(kernels);
}

int Globals::thread_count() const {
  return threads > 0 ? threads : omp_get_max_threads();
}

CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& help,
                      Globals& globals) {
  CLI::App* command = parent.add_subcommand(name, help);
  command->allow_extras();  // refused with a suggestion, see run_with
  command->footer("");
  command->add_option("--threads", globals.threads, "processor threads to use (0: one per core)")
      ->type_name("N")
      ->check(CLI::Range(0, 1024).description(""))
      ->group("Machine");
  command
      ->add_option("--kernels", globals.kernels, "kernel table: avx512, avx2, ref (default: best)")
      ->type_name("NAME")
      ->group("Machine");
  return command;
}

CLI::App* add_family(CLI::App& parent, const std::string& name, const std::string& help) {
  CLI::App* family = parent.add_subcommand(name, help);
  family->allow_extras();
  family->footer("");
  family->require_subcommand(1);
  return family;
}

void run_with(CLI::App* command, const Globals& globals, std::function<void()> action) {
  command->callback([command, &globals, action = std::move(action)] {
    refuse_mistakes(command);
    if (globals.threads > 0) omp_set_num_threads(globals.threads);
    action();
  });
}

CLI::Option* add_model_option(CLI::App* command, std::string& model) {
  return command
      ->add_option("--model", model, "model directory or .gguf file (of a split one the first)")
      ->type_name(kModelType)
      ->required();
}

CLI::Option* add_dtype_option(CLI::App* command, std::string& dtype) {
  return command
      ->add_option("--dtype", dtype,
                   "weights in memory; auto: as they are stored; w8a8, w4a8: integers of 8 and 4 "
                   "bits, multiplied with activations in int8")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "w8a8", "w4a8"}))
      ->type_name("auto|f32|bf16|w8a8|w4a8")
      ->capture_default_str();
}

std::optional<WeightTypes> weights_of(const std::string& dtype) {
  for (const RowFormat& format : {kF32Rows, kBf16Rows, kW8Rows, kW4Rows})
    if (dtype == format_name(format)) return WeightTypes(format);
  return std::nullopt;
}

CLI::Option* add_precision_option(CLI::App* command, std::string& precision) {
  return command
      ->add_option("--precision", precision,
                   "what operands of products are rounded to, in f32 sums; auto: bf16 where it is "
                   "measured to be fast")
      ->check(CLI::IsMember({"f32", "bf16", "auto"}))
      ->type_name("f32|bf16|auto")
      ->capture_default_str();
}

void set_precision(const std::string& precision, Device& device) {
  const Precision chosen = choose_precision(precision);
  device.set_operands(chosen.operands);
  if (!chosen.note.empty()) fmt::print(stderr, "{}\n", dim(chosen.note, true));
}

void WeightFlags::add_to(CLI::App* command) {
  add_dtype_option(command, dtype);
  add_precision_option(command, precision);
  command
      ->add_option("--expert-memory", expert_memory,
                   "memory for routed experts, in GB; the others stay on disk (0: all of them, or "
                   "as many as fit)")
      ->check(finite_number(0, kNoLimit))
      ->type_name("GB")
      ->capture_default_str();
}

std::unique_ptr<Model> WeightFlags::load(const std::filesystem::path& path, Device& device) const {
  set_precision(precision, device);
  std::vector<std::string> notes;
  Progress line;
  auto model = load_model(path, device, &notes, weights_of(dtype), expert_bytes_of(expert_memory),
                          [&](uint64_t done, uint64_t all) { show_loading(line, done, all); });
  line.clear();
  constexpr size_t kShown = 5;
  if (notes.size() > kShown) {
    notes[kShown - 1] =
        fmt::format("and {} more (see ultramoe inspect)", notes.size() - kShown + 1);
    notes.resize(kShown);
  }
  notes.push_back(describe_weights(*model));
  notes.push_back(describe_experts(*model));
  for (const std::string& note : notes)
    if (!note.empty()) fmt::print(stderr, "{}\n", dim(note, true));
  return model;
}

CLI::Option* add_cache_dtype_option(CLI::App* command, std::string& dtype) {
  return command
      ->add_option("--cache-dtype", dtype,
                   "type of the KV cache; auto: bf16, or f32 where the weights are")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "int8"}))
      ->type_name("auto|f32|bf16|int8")
      ->capture_default_str();
}

CLI::Option* add_json_flag(CLI::App* command, bool& json) {
  return command->add_flag("--json", json, "print one JSON object on standard output");
}

}  // namespace um
