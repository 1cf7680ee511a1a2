// The sub-commands: one file and one function each, listed in main.cc. Also what they share: the
// options that every command takes, and how a command is made and run.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/device.h"
#include "core/dtype.h"
#include "models/model.h"

namespace um {

/// Options of every command.
struct Globals {
  std::string kernels;  ///< kernel table; empty = the best one here
  int threads = 0;      ///< 0 = one per core

  /// The CPU device that `kernels` names. Throws UsageError for a name that is not there.
  Device& device() const;
  int thread_count() const;
};

/// Adds a command that takes the global options. Give it an action with `run_with`.
CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& help,
                      Globals& globals);
/// Adds a command that only has commands of its own, like `data`.
CLI::App* add_family(CLI::App& parent, const std::string& name, const std::string& help);
/// What the command does once its options are read. Options that do not exist or contradict each
/// other are refused first.
void run_with(CLI::App* command, const Globals& globals, std::function<void()> action);

/// What options that name a model take, as their type in help texts.
inline constexpr const char* kModelType = "DIR|FILE.gguf";
/// --model: a checkpoint.
CLI::Option* add_model_option(CLI::App* command, std::string& model);
/// --dtype auto|f32|bf16|w8a8|w4a8: the format in which a model keeps its matrices; `weights_of`
/// gives what load_model takes (nothing: as the checkpoint stores them).
CLI::Option* add_dtype_option(CLI::App* command, std::string& dtype);
std::optional<WeightTypes> weights_of(const std::string& dtype);
/// --precision f32|bf16|auto: what the operands of products are rounded to while the command runs.
CLI::Option* add_precision_option(CLI::App* command, std::string& precision);
/// Sets it on the device, and says what was chosen where that is not f32 as asked for.
void set_precision(const std::string& precision, Device& device);
/// --dtype, --precision and --expert-memory, of the commands that run a model.
struct WeightFlags {
  std::string dtype = "auto", precision = "f32";
  double expert_memory = 0;  // GB

  void add_to(CLI::App* command);
  /// Loads a model. Says on standard error how far it has come where that takes time, what is odd
  /// about the checkpoint, and where the experts are if not all are in memory.
  std::unique_ptr<Model> load(const std::filesystem::path& path, Device& device) const;
};
/// --cache-dtype auto|f32|bf16|int8: the type of the KV cache.
CLI::Option* add_cache_dtype_option(CLI::App* command, std::string& dtype);
/// --json
CLI::Option* add_json_flag(CLI::App* command, bool& json);

void add_inspect(CLI::App& app, Globals& globals);
void add_init(CLI::App& app, Globals& globals);
void add_tokenizer(CLI::App& app, Globals& globals);
void add_data(CLI::App& app, Globals& globals);
void add_train(CLI::App& app, Globals& globals);
void add_sft(CLI::App& app, Globals& globals);
void add_grpo(CLI::App& app, Globals& globals);
void add_report(CLI::App& app, Globals& globals);
void add_eval(CLI::App& app, Globals& globals);
void add_expand_mtp(CLI::App& app, Globals& globals);
void add_merge(CLI::App& app, Globals& globals);
void add_quantize(CLI::App& app, Globals& globals);
void add_convert(CLI::App& app, Globals& globals);
void add_generate(CLI::App& app, Globals& globals);
void add_chat(CLI::App& app, Globals& globals);
void add_serve(CLI::App& app, Globals& globals);
void add_bench(CLI::App& app, Globals& globals);
void add_bench_serve(CLI::App& family, Globals& globals);
void add_debug(CLI::App& app, Globals& globals);
void add_info(CLI::App& app, Globals& globals);

}  // namespace um
