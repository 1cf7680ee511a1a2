// `ultramoe bench train|kernels`, and the options of all bench commands.
#include "cli/bench.h"

#include <algorithm>

#include "cli/bench_measure.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "core/rng.h"
#include "kernels/kernels.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/count.h"
#include "ops/precision.h"
#include "train/memory.h"
#include "train/objective.h"
#include "train/optimizer.h"

namespace um {
namespace {

/// Random tokens in full sequences: the shape of a training step, not its data.
Batch random_batch(const BenchOptions& options, int64_t vocab, uint64_t step) {
  const RandomStream random(7, step);
  Batch batch;
  batch.seq_offsets.push_back(0);
  for (int64_t s = 0; s < options.batch; ++s) {
    for (int64_t t = 0; t < options.seq_len; ++t) {
      const auto i = static_cast<uint64_t>(s * options.seq_len + t);
      batch.tokens.push_back(
          static_cast<int32_t>(random.bits(2 * i) % static_cast<uint64_t>(vocab)));
      batch.targets.push_back(
          static_cast<int32_t>(random.bits(2 * i + 1) % static_cast<uint64_t>(vocab)));
      batch.positions.push_back(static_cast<int32_t>(t));
    }
    batch.seq_offsets.push_back(batch.size());
  }
  return batch;
}

/// A model with its optimizer that takes training steps on random tokens.
class TrainingBench {
 public:
  TrainingBench(const BenchOptions& options, Device& device)
      : options_(options),
        config_(read_named_config(options.model)),
        balance_(BalanceScope::ep_group, 0.001, 0, 0) {
    TrainOptions train;
    train.batch = options.batch;
    train.seq_len = options.seq_len;
    train.recompute = options.recompute;
    if (config_.mtp_layers == 0) train.mtp_weight = 0;
    objective_ = std::make_unique<NextTokenObjective>(
        NextTokenOptions{.mtp_weight = train.mtp_weight, .z_weight = train.z_weight});
    check_memory(config_, train, plan_phases(train, 1), *objective_);
    model_ = make_model(config_, device);
    model_->params().initialize(1);
    optimizer_ = std::make_unique<Optimizer>(model_->params(), AdamWOptions{});
    balance_ = BalanceLoss(BalanceScope::ep_group, 0.001, model_->moe_layers(),
                           model_->trunk_moe_layers());
  }

  /// Forward, backward, clipping and update; the batch is made outside the clock.
  double step() {
    const Batch batch = random_batch(options_, config_.vocab, static_cast<uint64_t>(++steps_));
    return seconds_of([&] {
      model_->params().reset_grads();
      objective_->run(*model_, {&batch, 1},
                      {.gradients = true, .recompute = options_.recompute, .balance = &balance_});
      optimizer_->update(1e-3, steps_, optimizer_->grad_norm());
    });
  }

  const ModelConfig& config() const { return config_; }
  double tokens() const { return static_cast<double>(options_.batch * options_.seq_len); }
  double flops() const { return tokens() * training_flops(config_, options_.seq_len); }

 private:
  BenchOptions options_;
  ModelConfig config_;
  std::unique_ptr<Objective> objective_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Optimizer> optimizer_;
  BalanceLoss balance_;
  int64_t steps_ = 0;
};

void bench_train(const BenchOptions& options, Device& device) {
  MatmulCeiling ceiling(device);
  TrainingBench bench(options, device);
  for (int64_t i = 0; i < options.warmup; ++i) bench.step();
  std::vector<double> seconds;
  for (int64_t i = 0; i < options.steps; ++i) {
    if (i % 3 == 0) ceiling.measure();
    seconds.push_back(bench.step());
  }
  ceiling.measure();
  const double step = median(seconds), rate = bench.flops() / step;
  const double ratio = rate / ceiling.flops_per_s();
  if (options.json) {
    print_json({{"model", options.model},
                {"batch", options.batch},
                {"seq_len", options.seq_len},
                {"precision", operands_name(device.operands())},
                {"tokens_per_s", bench.tokens() / step},
                {"model_flops_per_s", rate},
                {"ceiling_flops_per_s", ceiling.flops_per_s()},
                {"ratio", ratio},
                {"peak_bytes", peak_resident_bytes()},
                {"step_ms_median", 1e3 * step},
                {"step_ms_min", 1e3 * *std::min_element(seconds.begin(), seconds.end())},
                {"kernels", device.kernels()->name}});
  } else {
    fmt::print(
        "{} on {}: {:.0f} tokens/s, {:.1f} GFLOP/s = {:.0f}% of this machine's f32 matmul "
        "({:.0f} GFLOP/s), {} at most\n",
        options.model, device.name(), bench.tokens() / step, rate / 1e9, 100 * ratio,
        ceiling.flops_per_s() / 1e9, bytes_text(static_cast<double>(peak_resident_bytes())));
  }
  if (!options.profile) return;
  Meter meter;
  double whole = 0;
  {
    const Metering metering(device, meter);
    for (int64_t i = 0; i < options.steps; ++i) whole += bench.step();
  }
  fmt::print("\nper step of {:.1f} ms, {:.1f} ms in kernels:\n",
             1e3 * whole / static_cast<double>(options.steps),
             1e3 * meter.total().seconds / static_cast<double>(options.steps));
  print_profile(meter, static_cast<double>(options.steps), ceiling.flops_per_s(), read_bandwidth());
}

/// Every op of a training step beside its floor.
void bench_kernels(const BenchOptions& options, Device& device) {
  MatmulCeiling ceiling(device);
  TrainingBench bench(options, device);
  for (int64_t i = 0; i < options.warmup; ++i) bench.step();
  Meter meter;
  {
    const Metering metering(device, meter);
    for (int64_t i = 0; i < options.steps; ++i) bench.step();
  }
  ceiling.measure(5);
  const double bandwidth = read_bandwidth(), steps = static_cast<double>(options.steps);
  if (!options.json) return print_profile(meter, steps, ceiling.flops_per_s(), bandwidth);
  nlohmann::ordered_json rows;
  for (const auto& [name, entry] : meter.entries())
    rows[name] = {{"calls", static_cast<double>(entry.calls) / steps},
                  {"seconds", entry.seconds / steps},
                  {"flops", entry.flops / steps},
                  {"bytes", entry.bytes / steps},
                  {"floor_seconds",
                   std::max(entry.flops / ceiling.flops_per_s(), entry.bytes / bandwidth) / steps}};
  print_json({{"model", options.model},
              {"ceiling_flops_per_s", ceiling.flops_per_s()},
              {"ceiling_bytes_per_s", bandwidth},
              {"kernels", rows}});
}

using Bench = void (*)(const BenchOptions&, Device&);

CLI::App* add_bench_command(CLI::App& family, const std::string& name, const std::string& help,
                            const std::string& model, Globals& globals, Bench bench,
                            const std::shared_ptr<BenchOptions>& options) {
  CLI::App* command = add_command(family, name, help, globals);
  options->model = model;
  command->add_option("--model", options->model, "preset, directory with config.json or .gguf file")
      ->capture_default_str();
  command->add_option("--warmup", options->warmup, "steps before the clock starts")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000));
  add_precision_option(command, options->precision);
  add_json_flag(command, options->json);
  run_with(command, globals, [=, &globals] {
    set_precision(options->precision, globals.device());
    bench(*options, globals.device());
  });
  return command;
}

void add_step_options(CLI::App* command, BenchOptions& options) {
  command->add_option("--batch", options.batch, "sequences per step")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  command->add_option("--seq-len", options.seq_len, "tokens per sequence")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 20));
  command->add_option("--steps", options.steps, "steps to time")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  command->add_flag("--recompute", options.recompute, "recompute activations");
}

void add_decode(CLI::App& family, Globals& globals) {
  auto options = std::make_shared<BenchOptions>();
  options->batch = 1;
  CLI::App* command = add_bench_command(family, "decode", "one token a step for each stream",
                                        "bench-small", globals, bench_decode, options);
  add_dtype_option(command, options->dtype);
  add_cache_dtype_option(command, options->cache_dtype);
  command->add_option("--batch", options->batch, "streams that decode together")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  command->add_option("--depth", options->depth, "tokens in the cache before the clock starts")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  command->add_option("--tokens", options->tokens, "steps to time")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  command->add_flag("--profile", options->profile, "also time every kernel");
  command->add_flag("--speculative", options->speculative,
                    "plain, speculative and naive speculative decoding of a trained model");
  command
      ->add_option("--prompts", options->text,
                   "with --speculative: a file with a prompt in each line (default: random)")
      ->type_name("FILE");
}

void add_prefill(CLI::App& family, Globals& globals) {
  auto options = std::make_shared<BenchOptions>();
  options->tokens = 512;
  options->steps = 5;
  options->warmup = 1;
  CLI::App* command = add_bench_command(family, "prefill", "a prompt in one forward", "bench-small",
                                        globals, bench_prefill, options);
  add_dtype_option(command, options->dtype);
  command->add_option("--tokens", options->tokens, "tokens of the prompt")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--steps", options->steps, "prompts to time")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  command->add_flag("--profile", options->profile, "also time every kernel");
}

}  // namespace

void add_bench(CLI::App& app, Globals& globals) {
  CLI::App* family = add_family(app, "bench", "measure speed beside the machine's ceilings");
  auto train = std::make_shared<BenchOptions>();
  CLI::App* command = add_bench_command(*family, "train", "training steps on random tokens",
                                        "bench-d256", globals, bench_train, train);
  add_step_options(command, *train);
  command->add_flag("--profile", train->profile, "also time every kernel");
  add_decode(*family, globals);
  add_prefill(*family, globals);
  auto kernels = std::make_shared<BenchOptions>();
  command = add_bench_command(*family, "kernels", "every op of a training step beside its floor",
                              "bench-d512", globals, bench_kernels, kernels);
  add_step_options(command, *kernels);
  add_bench_serve(*family, globals);
}

}  // namespace um
