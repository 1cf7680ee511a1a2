// `ultramoe bench train|decode|kernels`: speed as a ratio to what the machine can do, in one run.
#include <algorithm>
#include <numeric>

#include "cli/bench_measure.h"
#include "cli/bench_speculative.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "core/rng.h"
#include "kernels/kernels.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/count.h"
#include "train/objective.h"
#include "train/optimizer.h"

namespace um {
namespace {

struct BenchOptions {
  std::string model = "bench-d256", dtype = "auto";
  int64_t batch = 8, seq_len = 256, steps = 10, warmup = 3;
  int64_t depth = 0, tokens = 32;
  bool json = false, profile = false, recompute = false, speculative = false;
  std::string text;
};

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
      batch.loss_weights.push_back(1.0f);
    }
    batch.seq_offsets.push_back(batch.size());
  }
  return batch;
}

/// Weights that are cheap to make: the time of a matmul does not depend on them.
void fill_cheaply(ParamStore& params, double std) {
  for (const auto& param : params.all()) {
    const bool bf16 = param->value.dtype() == DType::bf16;
    float* values = bf16 ? nullptr : param->value.f32();
    uint16_t* short_values = bf16 ? param->value.data<uint16_t>() : nullptr;
    const int64_t count = param->value.count();
    const auto scale = static_cast<float>(std * 1.7 / 32768.0);
    const float mean = param->decay ? 0.0f : 1.0f;
    const float spread = param->decay ? scale : 0.0f;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; ++i) {
      const auto bits = static_cast<uint32_t>(i) * 2654435761u;
      const float value = mean + spread * static_cast<float>(static_cast<int16_t>(bits >> 16));
      if (bf16)
        short_values[i] = bf16_from_f32(value);
      else
        values[i] = value;
    }
  }
}

/// A model with its optimizer that takes training steps on random tokens.
class TrainingBench {
 public:
  TrainingBench(const BenchOptions& options, Device& device)
      : options_(options),
        config_(read_config(find_model(options.model))),
        balance_(BalanceScope::ep_group, 0.001, 0, 0) {
    check_fits_memory(config_, DType::f32, 4, "bench train");
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
      const double mtp_weight = config_.mtp_layers > 0 ? 0.3 : 0.0;
      StepObjective(
          *model_, {&batch, 1},
          {.mtp_weight = mtp_weight, .recompute = options_.recompute, .balance = &balance_})
          .run_with_gradients();
      optimizer_->update(1e-3, steps_, optimizer_->grad_norm());
    });
  }

  const ModelConfig& config() const { return config_; }
  double tokens() const { return static_cast<double>(options_.batch * options_.seq_len); }
  double flops() const { return tokens() * training_flops(config_, options_.seq_len); }

 private:
  BenchOptions options_;
  ModelConfig config_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Optimizer> optimizer_;
  BalanceLoss balance_;
  int64_t steps_ = 0;
};

/// One row per kernel: time, share, and the time that its FLOPs or bytes need at least.
void print_profile(const Meter& meter, double steps, double ceiling, double bandwidth) {
  std::vector<std::pair<std::string, MeterEntry>> rows(meter.entries().begin(),
                                                       meter.entries().end());
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  const double total = meter.total().seconds;
  fmt::print("{:<24}{:>7}{:>10}{:>8}{:>10}{:>9}{:>11}{:>8}\n", "kernel", "calls", "ms", "share",
             "GFLOP/s", "GB/s", "floor ms", "floor");
  for (const auto& [name, entry] : rows) {
    const double floor = std::max(entry.flops / ceiling, entry.bytes / bandwidth);
    fmt::print("{:<24}{:>7.0f}{:>10.3f}{:>7.1f}%{:>10.1f}{:>9.1f}{:>11.3f}{:>7.0f}%\n", name,
               static_cast<double>(entry.calls) / steps, 1e3 * entry.seconds / steps,
               100 * entry.seconds / total, entry.flops / entry.seconds / 1e9,
               entry.bytes / entry.seconds / 1e9, 1e3 * floor / steps, 100 * floor / entry.seconds);
  }
  fmt::print(
      "floor: the larger of FLOPs / {:.0f} GFLOP/s and bytes / {:.1f} GB/s (cached data can be "
      "faster)\n",
      ceiling / 1e9, bandwidth / 1e9);
}

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

/// What `--dtype auto` means for a model without weights: as its config says, f32 for what we do
/// not compute with.
DType stored_type(const ModelConfig& config) {
  return config.dtype == DType::bf16 ? DType::bf16 : DType::f32;
}

/// Decode of one stream: one token a step on the cache.
void bench_decode(const BenchOptions& options, Device& device) {
  if (options.speculative)
    return bench_speculative({.model = options.model,
                              .text = options.text,
                              .tokens = options.tokens,
                              .json = options.json},
                             device);
  const ModelConfig config = read_config(find_model(options.model));
  const DType weights_type = weights_of(options.dtype).value_or(stored_type(config));
  check_fits_memory(config, weights_type, 1, "bench decode");
  const auto model = make_model(config, device, weights_type);
  fill_cheaply(model->params(), config.weight_init_std());
  KvPool pool =
      model->make_pool(KvPool::pages_for(options.depth + options.tokens + options.warmup + 1));
  std::vector<int32_t> pages(static_cast<size_t>(pool.pages()));
  std::iota(pages.begin(), pages.end(), 0);
  int64_t length = 0;
  const RandomStream random(3, 0);
  uint64_t drawn = 0;
  auto forward = [&](int64_t rows) {
    std::vector<int32_t> ids(static_cast<size_t>(rows));
    for (int32_t& id : ids)
      id = static_cast<int32_t>(random.bits(drawn++) % static_cast<uint64_t>(config.vocab));
    const KvSequence part{pages, length, rows, length < options.depth};
    const KvView view = KvView::make(pool, {&part, 1});
    const SequenceRows layout{length, rows};
    const TrunkOutput out =
        model->trunk(Tensor::from(device, {rows}, std::span<const int32_t>(ids)),
                     Ragged::batch(device, {&layout, 1}), {.cache = &view});
    length += rows;
    model->logits(out.hidden.row_range(rows - 1, rows));
  };
  for (int64_t left = options.depth; left > 0; left -= 512) forward(std::min<int64_t>(left, 512));
  for (int64_t i = 0; i < options.warmup; ++i) forward(1);
  const double before = read_bandwidth();
  std::vector<double> seconds;
  for (int64_t i = 0; i < options.tokens; ++i) seconds.push_back(seconds_of([&] { forward(1); }));
  const double bandwidth = median({before, read_bandwidth(), read_bandwidth()});
  const ParameterCount count = count_parameters(config);
  // All weights that a token uses, the output head too, but of the embedding one row.
  const int64_t unread = config.tie_embeddings ? 0 : count.embedding;
  const auto in_f32 = static_cast<double>(count.router + count.norms);
  const double weights = static_cast<double>(dtype_size(weights_type)) *
                             (static_cast<double>(count.active() - unread) - in_f32) +
                         4.0 * in_f32;
  const double kv = static_cast<double>(kv_bytes_per_token(config, DType::f32)) *
                    static_cast<double>(options.depth + options.tokens / 2);
  const double rate = 1.0 / median(seconds), ratio = rate * (weights + kv) / bandwidth;
  if (options.json)
    print_json({{"model", options.model},
                {"dtype", dtype_name(weights_type)},
                {"depth", options.depth},
                {"tokens_per_s", rate},
                {"bytes_per_token", weights + kv},
                {"ceiling_bytes_per_s", bandwidth},
                {"ratio", ratio},
                {"peak_bytes", peak_resident_bytes()}});
  else
    fmt::print(
        "{} in {} on {}: {:.1f} tokens/s, {:.1f} GB/s = {:.0f}% of this machine's read rate "
        "({:.1f} GB/s); {} read per token\n",
        options.model, dtype_name(weights_type), device.name(), rate, rate * (weights + kv) / 1e9,
        100 * ratio, bandwidth / 1e9, bytes_text(weights + kv));
  if (!options.profile) return;
  Meter meter;
  length = options.depth;
  {
    const Metering metering(device, meter);
    for (int64_t i = 0; i < options.tokens; ++i) forward(1);
  }
  MatmulCeiling ceiling(device);
  ceiling.measure();
  print_profile(meter, static_cast<double>(options.tokens), ceiling.flops_per_s(), bandwidth);
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
  command->add_option("--model", options->model, "preset or directory with config.json")
      ->capture_default_str();
  command->add_option("--warmup", options->warmup, "steps before the clock starts")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000));
  add_json_flag(command, options->json);
  run_with(command, globals, [=, &globals] { bench(*options, globals.device()); });
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

}  // namespace

void add_bench(CLI::App& app, Globals& globals) {
  CLI::App* family = add_family(app, "bench", "measure speed beside the machine's ceilings");
  auto train = std::make_shared<BenchOptions>();
  CLI::App* command = add_bench_command(*family, "train", "training steps on random tokens",
                                        "bench-d256", globals, bench_train, train);
  add_step_options(command, *train);
  command->add_flag("--profile", train->profile, "also time every kernel");
  auto decode = std::make_shared<BenchOptions>();
  command = add_bench_command(*family, "decode", "one stream, one token at a time", "bench-small",
                              globals, bench_decode, decode);
  add_dtype_option(command, decode->dtype);
  command->add_option("--depth", decode->depth, "tokens in the cache before the clock starts")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  command->add_option("--tokens", decode->tokens, "tokens to time")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  command->add_flag("--profile", decode->profile, "also time every kernel");
  command->add_flag("--speculative", decode->speculative,
                    "plain, speculative and naive speculative decoding of a trained model");
  command->add_option("--prompts", decode->text,
                      "with --speculative: a text whose parts are the prompts (default: random)")
      ->type_name("FILE");
  auto kernels = std::make_shared<BenchOptions>();
  command = add_bench_command(*family, "kernels", "every op of a training step beside its floor",
                              "bench-d512", globals, bench_kernels, kernels);
  add_step_options(command, *kernels);
}

}  // namespace um
