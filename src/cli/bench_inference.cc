// `ultramoe bench decode|prefill`: a model of random weights that only runs.
#include <algorithm>
#include <cstdio>
#include <numeric>

#include "cli/bench.h"
#include "cli/bench_measure.h"
#include "cli/bench_speculative.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "core/rng.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/count.h"
#include "nn/expert_cache.h"
#include "ops/precision.h"

namespace um {
namespace {

/// What `--dtype auto` means for a model without weights: as its config says, f32 for what we do
/// not compute with.
RowFormat stored_format(const ModelConfig& config) {
  return config.dtype == DType::bf16 ? kBf16Rows : kF32Rows;
}

/// A row of integers that stand for about `spread` times the noise of 16 bits.
template <class Noise>
RowCodes cheap_codes(const RowFormat& format, int64_t cols, float spread, const Noise& noise) {
  const int64_t bits = row_type_bits(format.type);
  RowCodes row;
  row.codes.resize(static_cast<size_t>(cols));
  for (int64_t i = 0; i < cols; ++i)
    row.codes[static_cast<size_t>(i)] =
        static_cast<uint8_t>((noise(i) >> (16 - bits)) + (1 << (bits - 1)));
  row.scales.assign(static_cast<size_t>(format.scales(cols)),
                    spread * static_cast<float>(1 << (16 - bits)));
  return row;
}

/// Weights that are cheap to make, of the right size and without pattern, so that tokens choose
/// different experts.
void fill_cheaply(ParamStore& params, double std) {
  uint32_t salt = 0;
  for (const auto& param : params.all()) {
    const Rows rows = param->weight();
    const int64_t cols = rows.cols();
    const float mean = param->decay ? 0.0f : 1.0f;
    const float spread = param->decay ? static_cast<float>(std * 1.7 / 32768.0) : 0.0f;
    salt += 0x9e3779b9u;
    const auto noise = [&](int64_t row, int64_t i) {
      uint32_t bits = static_cast<uint32_t>(row * cols + i) + salt;
      bits = (bits ^ (bits >> 16)) * 0x7feb352du;
      bits = (bits ^ (bits >> 15)) * 0x846ca68bu;
      return static_cast<int16_t>(bits >> 16);
    };
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows.rows(); ++row) {
      if (rows.format.is_panels()) {
        rows.write_codes(
            row, cheap_codes(rows.format, cols, spread, [&](int64_t i) { return noise(row, i); }));
        continue;
      }
      std::vector<float> values(static_cast<size_t>(cols));
      for (int64_t i = 0; i < cols; ++i)
        values[static_cast<size_t>(i)] = mean + spread * static_cast<float>(noise(row, i));
      rows.write(row, 1, values.data());
    }
  }
}

/// Streams of equal length that get random tokens together.
class Streams {
 public:
  Streams(const BenchOptions& options, Device& device, int64_t streams, int64_t capacity,
          const std::string& what)
      : config_(read_named_config(options.model)),
        weights_(weights_of(options.dtype).value_or(stored_format(config_))),
        streams_(streams) {
    check_fits_memory(config_, weights_, 1, what);
    model_ = make_model(config_, device, weights_);
    fill_cheaply(model_->params(), config_.weight_init_std());
    cache_type_ = cache_type_of(options.cache_dtype).value_or(model_->default_cache_type());
    const int64_t each = KvPool::pages_for(capacity);
    pool_ = std::make_unique<KvPool>(model_->make_pool(streams * each, cache_type_));
    pages_.resize(static_cast<size_t>(streams * each));
    std::iota(pages_.begin(), pages_.end(), 0);
  }

  const ModelConfig& config() const { return config_; }
  std::string weights() const { return format_name(weights_.matrices); }
  DType cache_type() const { return cache_type_; }

  /// Each stream gets `rows` new rows; logits of its last.
  void forward(int64_t rows, bool prompt, BalanceLoss* observer = nullptr) {
    Device& device = model_->device();
    const size_t each = pages_.size() / static_cast<size_t>(streams_);
    std::vector<KvSequence> parts;
    for (int64_t s = 0; s < streams_; ++s)
      parts.push_back(
          {std::span(pages_).subspan(static_cast<size_t>(s) * each, each), length_, rows, prompt});
    const KvView view = KvView::make(*pool_, parts);
    const std::vector<SequenceRows> layout(static_cast<size_t>(streams_), {length_, rows});
    std::vector<int32_t> ids(static_cast<size_t>(streams_ * rows));
    for (int32_t& id : ids)
      id = static_cast<int32_t>(random_.bits(drawn_++) % static_cast<uint64_t>(config_.vocab));
    const TrunkOutput out =
        model_->trunk(Tensor::from(device, {streams_ * rows}, std::span<const int32_t>(ids)),
                      Ragged::batch(device, layout), {.cache = &view, .balance = observer});
    length_ += rows;
    const int64_t last = streams_ * rows;
    model_->logits(rows == 1 ? out.hidden : out.hidden.row_range(last - 1, last));
  }

  /// Fills the cache with prompts of `depth` tokens.
  void fill(int64_t depth) {
    constexpr int64_t kChunk = 512;
    while (length_ < depth)
      forward(std::min(kChunk / std::min(kChunk, streams_), depth - length_), true);
  }

  void truncate(int64_t length) { length_ = length; }

  /// Experts, summed over the layers, whose weights one more step reads.
  int64_t experts_read() {
    BalanceLoss observer(BalanceScope::none, 0, model_->moe_layers(), 0);
    observer.begin_step(streams_);
    forward(1, false, &observer);
    int64_t read = 0;
    for (const LayerLoad& load : observer.loads())
      read +=
          std::count_if(load.counts.begin(), load.counts.end(), [](int64_t n) { return n > 0; });
    return read;
  }

  /// Bytes of weights that a forward reads when it visits so many experts: all of the others, the
  /// output head too, but of a separate embedding next to nothing.
  double weight_bytes_read(int64_t experts_read) const {
    const int64_t expert =
        ExpertCache::expert_bytes(weights_.matrices, config_.hidden, config_.moe.expert_width);
    int64_t bytes = experts_read * expert;
    for (const auto& param : model_->params().all())
      if (is_read(*param)) bytes += param->weight().bytes();
    return static_cast<double>(bytes);
  }

 private:
  /// Whether every forward reads the whole parameter.
  bool is_read(const Param& param) const {
    int64_t layer = -1;
    std::sscanf(param.name.c_str(), "model.layers.%ld.", &layer);
    const bool gathered = param.name == "model.embed_tokens.weight" && !config_.tie_embeddings;
    const bool routed = param.name.find(".mlp.experts.") != std::string::npos;
    return layer < config_.layers && !gathered && !routed;
  }

  ModelConfig config_;
  WeightTypes weights_;
  int64_t streams_, length_ = 0;
  std::unique_ptr<Model> model_;
  DType cache_type_ = DType::f32;
  std::unique_ptr<KvPool> pool_;
  std::vector<int32_t> pages_;
  RandomStream random_{3, 0};
  uint64_t drawn_ = 0;
};

}  // namespace

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

void bench_decode(const BenchOptions& options, Device& device) {
  if (options.speculative)
    return bench_speculative({.model = options.model,
                              .text = options.text,
                              .tokens = options.tokens,
                              .weights = weights_of(options.dtype),
                              .json = options.json},
                             device);
  // One step more than timed and warmed up counts the experts.
  Streams streams(options, device, options.batch,
                  options.depth + options.tokens + options.warmup + 1, "bench decode");
  streams.fill(options.depth);
  for (int64_t i = 0; i < options.warmup; ++i) streams.forward(1, false);
  const double before = read_bandwidth();
  std::vector<double> seconds;
  for (int64_t i = 0; i < options.tokens; ++i)
    seconds.push_back(seconds_of([&] { streams.forward(1, false); }));
  const double bandwidth = median({before, read_bandwidth(), read_bandwidth()});
  const auto batch = static_cast<double>(options.batch);
  const DType cache = streams.cache_type();
  const double kv = static_cast<double>(kv_bytes_per_token(streams.config(), cache)) *
                    static_cast<double>(options.depth + options.tokens / 2);
  const double bytes = streams.weight_bytes_read(streams.experts_read()) / batch + kv;
  const double rate = batch / median(seconds), ratio = rate * bytes / bandwidth;
  if (options.json)
    print_json({{"model", options.model},
                {"dtype", streams.weights()},
                {"precision", operands_name(device.operands())},
                {"cache_dtype", cache_type_name(cache)},
                {"batch", options.batch},
                {"depth", options.depth},
                {"tokens_per_s", rate},
                {"bytes_per_token", bytes},
                {"ceiling_bytes_per_s", bandwidth},
                {"ratio", ratio},
                {"peak_bytes", peak_resident_bytes()}});
  else
    fmt::print(
        "{} in {}, cache in {}, on {}, {} at a time: {:.1f} tokens/s, {:.1f} GB/s = {:.0f}% of "
        "this machine's read rate ({:.1f} GB/s); {} read per token\n",
        options.model, streams.weights(), cache_type_name(cache), device.name(), options.batch,
        rate, rate * bytes / 1e9, 100 * ratio, bandwidth / 1e9, bytes_text(bytes));
  if (!options.profile) return;
  Meter meter;
  streams.truncate(options.depth);
  {
    const Metering metering(device, meter);
    for (int64_t i = 0; i < options.tokens; ++i) streams.forward(1, false);
  }
  MatmulCeiling ceiling(device);
  ceiling.measure();
  print_profile(meter, static_cast<double>(options.tokens), ceiling.flops_per_s(), bandwidth);
}

void bench_prefill(const BenchOptions& options, Device& device) {
  Streams streams(options, device, 1, options.tokens, "bench prefill");
  const ModelConfig& config = streams.config();
  const auto prompt = [&] {
    streams.truncate(0);
    streams.forward(options.tokens, true);
  };
  MatmulCeiling ceiling(device);
  for (int64_t i = 0; i < options.warmup; ++i) prompt();
  std::vector<double> seconds;
  for (int64_t i = 0; i < options.steps; ++i) {
    ceiling.measure();
    seconds.push_back(seconds_of(prompt));
  }
  ceiling.measure();
  const auto tokens = static_cast<double>(options.tokens);
  // The output head runs for the last token only.
  const double head = 2.0 * static_cast<double>(config.vocab * config.hidden);
  const double flops = tokens * forward_flops(config, options.tokens).trunk() - (tokens - 1) * head;
  const double step = median(seconds), ratio = flops / step / ceiling.flops_per_s();
  const ParameterCount count = count_parameters(config);
  const int64_t experts = count.experts / std::max<int64_t>(1, expert_parameters(config));
  const double bytes = streams.weight_bytes_read(experts) / tokens, bandwidth = read_bandwidth();
  if (options.json)
    print_json({{"model", options.model},
                {"dtype", streams.weights()},
                {"precision", operands_name(device.operands())},
                {"tokens", options.tokens},
                {"tokens_per_s", tokens / step},
                {"bytes_per_token", bytes},
                {"ceiling_bytes_per_s", bandwidth},
                {"model_flops_per_s", flops / step},
                {"ceiling_flops_per_s", ceiling.flops_per_s()},
                {"ratio", ratio},
                {"peak_bytes", peak_resident_bytes()}});
  else
    fmt::print(
        "{} in {} on {}: {:.0f} tokens/s in a prompt of {}, {:.1f} GFLOP/s = {:.0f}% of this "
        "machine's f32 matmul ({:.0f} GFLOP/s)\n",
        options.model, streams.weights(), device.name(), tokens / step, options.tokens,
        flops / step / 1e9, 100 * ratio, ceiling.flops_per_s() / 1e9);
  if (!options.profile) return;
  Meter meter;
  {
    const Metering metering(device, meter);
    for (int64_t i = 0; i < options.steps; ++i) prompt();
  }
  print_profile(meter, static_cast<double>(options.steps), ceiling.flops_per_s(), bandwidth);
}

}  // namespace um
