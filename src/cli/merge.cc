// `ultramoe merge`: several models made into one.
#include "models/merge.h"

#include <charconv>
#include <cmath>
#include <map>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/output_directory.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/json.h"
#include "core/paths.h"
#include "models/config.h"

namespace um {
namespace {

namespace fs = std::filesystem;

struct Flags {
  std::string method, base, out, dtype = "source";
  std::vector<std::string> models, groups;
  MergeRule rule;
  std::map<std::string, const CLI::Option*> options;  ///< those that not every method has
  bool normalize = false, no_normalize = false, json = false;
};

std::optional<double> number_of(std::string_view text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc() || at != end || !std::isfinite(value)) return {};
  return value;
}

/// MODEL or MODEL:WEIGHT. A number behind the last colon is the weight, unless there is a model of
/// the whole name.
void add_model(const std::string& text, MergeOptions& options) {
  const size_t colon = text.rfind(':');
  std::optional<double> weight;
  if (colon != std::string::npos && !path_exists(text)) weight = number_of(text.substr(colon + 1));
  if (weight && options.rule.method == MergeMethod::slerp)
    throw UsageError(
        fmt::format("{}: slerp has no weights; --t says how far it goes from the "
                    "first model to the second",
                    quote(text)));
  options.models.push_back(find_model(weight ? text.substr(0, colon) : text));
  if (options.rule.method != MergeMethod::slerp) options.rule.weights.push_back(weight.value_or(1));
}

/// Values of --group, one behind the other: each number begins a group.
std::vector<DeltaGroup> groups_of(const std::vector<std::string>& values) {
  std::vector<DeltaGroup> groups;
  for (const std::string& value : values) {
    if (const auto lambda = number_of(value))
      groups.push_back({.lambda = *lambda});
    else if (groups.empty())
      throw UsageError(fmt::format("--group: expected LAMBDA MODEL..., found {}", quote(value)));
    else
      groups.back().models.push_back(find_model(value));
  }
  return groups;
}

/// Throws UsageError for an option that the method does not have.
void check_flags(const Flags& flags) {
  const MergeMethod method = flags.rule.method;
  const bool deltas = method == MergeMethod::deltas, slerp = method == MergeMethod::slerp;
  const std::pair<const char*, bool> taken[] = {{"--base", needs_base(method)},
                                                {"--density", is_sparse(method)},
                                                {"--lambda", needs_base(method) && !deltas},
                                                {"--t", slerp},
                                                {"--seed", is_random(method)},
                                                {"--normalize", !slerp && !deltas},
                                                {"--no-normalize", !slerp && !deltas},
                                                {"--group", deltas},
                                                {"MODEL", !deltas}};
  for (const auto& [name, takes] : taken) {
    const bool given = flags.options.at(name)->count() > 0;
    if (given && !takes) throw UsageError(fmt::format("--method {} has no {}", flags.method, name));
    const std::string_view needed = name;
    if (!given && takes && (needed == "--base" || needed == "--group" || needed == "MODEL"))
      throw UsageError(fmt::format("--method {} needs {}", flags.method, name));
  }
  if (fs::path(flags.out).extension() == ".gguf")
    throw UsageError("--out names a directory; `ultramoe convert` makes a .gguf file of it");
}

MergeOptions options_of(const Flags& flags) {
  const fs::path base = flags.base.empty() ? fs::path() : find_model(flags.base);
  MergeOptions options;
  if (flags.rule.method == MergeMethod::deltas) {
    options = mean_of_deltas(groups_of(flags.groups), base);
  } else {
    options.rule = flags.rule;
    options.rule.normalize =
        flags.normalize || (normalizes(flags.rule.method) && !flags.no_normalize);
    options.base = base;
    for (const std::string& model : flags.models) add_model(model, options);
  }
  if (flags.dtype != "source") options.dtype = dtype_from_name(flags.dtype);
  return options;
}

void run(Flags& flags) {
  flags.rule.method = merge_method(flags.method);
  check_flags(flags);
  const MergeOptions options = options_of(flags);
  check_output_directory(flags.out, {});
  const Merge merge(options, flags.out);
  const auto bytes = bytes_text(static_cast<double>(merge.bytes()));
  Progress line;
  merge.write([&](uint64_t done, uint64_t) {
    if (line.due())
      line.show(fmt::format("{} of {}", bytes_text(static_cast<double>(done)), bytes));
  });
  line.clear();
  if (flags.json) {
    auto json = merge.record();
    json["out"] = flags.out;
    json["tensors"] = merge.tensors().size();
    json["bytes"] = merge.bytes();
    json["notes"] = merge.notes();
    return print_json(json);
  }
  fmt::print("{}  {} of {} model{}{}: {} tensors, {}\n", bold(flags.out), flags.method,
             options.models.size(), options.models.size() == 1 ? "" : "s",
             options.base.empty() ? "" : " and their base", merge.tensors().size(), bytes);
  for (const std::string& note : merge.notes()) fmt::print("  note: {}\n", note);
}

void add_rule_options(CLI::App* command, Flags& flags) {
  MergeRule& rule = flags.rule;
  const auto number = [&](const char* name, double& value, const char* help, double min,
                          double max) {
    flags.options[name] = command->add_option(name, value, help)
                              ->check(finite_number(min, max))
                              ->type_name("X")
                              ->capture_default_str();
  };
  number("--density", rule.density, "ties, dare_*: the share of each difference that stays", 1e-9,
         1);
  number("--lambda", rule.lambda, "methods with a base: factor on what is added to it", -kNoLimit,
         kNoLimit);
  number("--t", rule.t, "slerp: 0 is the first model, 1 the second", 0, 1);
  flags.options["--seed"] = command->add_option("--seed", rule.seed, "dare_*: of what is left out")
                                ->capture_default_str();
  CLI::Option* divides =
      command->add_flag("--normalize", flags.normalize,
                        "divide by the sum of the weights (the default of linear and ties)");
  flags.options["--normalize"] = divides;
  flags.options["--no-normalize"] =
      command->add_flag("--no-normalize", flags.no_normalize, "do not (the default of the others)")
          ->excludes(divides);
}

}  // namespace

void add_merge(CLI::App& app, Globals& globals) {
  CLI::App* command = add_command(
      app, "merge", "one model of several: mean, slerp, task arithmetic, TIES, DARE", globals);
  auto flags = std::make_shared<Flags>();
  flags->options["MODEL"] =
      command
          ->add_option("model", flags->models,
                       "models, each with its weight behind a colon if that is not 1")
          ->type_name(std::string(kModelType) + "[:WEIGHT]");
  command->add_option("--method", flags->method, "how (docs/merging.md has the formulas)")
      ->required()
      ->check(CLI::IsMember(merge_method_names()).description(""))
      ->type_name("METHOD");
  flags->options["--base"] =
      command->add_option("--base", flags->base, "what the models were trained from")
          ->type_name(kModelType);
  flags->options["--group"] = add_files_option(
      command, "--group", flags->groups,
      "deltas: LAMBDA MODEL..., a group whose mean difference to the base is added; repeat it");
  add_rule_options(command, *flags);
  command
      ->add_option("--dtype", flags->dtype,
                   "of the result; source: the widest that a tensor has in the models")
      ->check(CLI::IsMember({"source", "f32", "bf16", "f16"}).description(""))
      ->type_name("source|f32|bf16|f16")
      ->capture_default_str();
  command->add_option("--out", flags->out, "directory to write")->required()->type_name("DIR");
  add_json_flag(command, flags->json);
  run_with(command, globals, [flags] { run(*flags); });
}

}  // namespace um
