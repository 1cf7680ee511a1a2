// `ultramoe quantize`: a model in integers, from calibration text, with a report of what that
// costs.
#include <algorithm>
#include <cmath>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/terminal.h"
#include "core/checksum.h"
#include "core/error.h"
#include "core/files.h"
#include "core/paths.h"
#include "core/unfinished.h"
#include "data/text_file.h"
#include "engine/compare.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "quant/bits.h"
#include "quant/report.h"
#include "text/tokenizer.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxTextBytes = uint64_t{1} << 30;
constexpr int64_t kLeastTokens = 1024;  // of calibration
constexpr int64_t kBatchTokens = 4096;
constexpr int64_t kChoiceTokens = 4096;  // that --scheme auto takes gradients of
constexpr const char* kBaseFile = "quantize_base.tmp";
constexpr const char* kWeightsOnly = "w4a16";  // the scheme that leaves activations as they are

struct Flags {
  std::string model, out, scheme = "w4a8", method;
  std::vector<std::string> calibration, evaluation;
  int64_t calibration_tokens = 16384, evaluation_tokens = 8192, context = 512, min_inputs = 256;
  int64_t group = 0;  ///< of 4 bits; 0: as the scheme has it
  double bits = 4.75;
  bool bits_given = false, no_rotation = false, json = false;
};

/// The token ids of texts, one behind the other.
std::vector<int32_t> tokens_of(const Tokenizer& tokenizer, const std::vector<std::string>& files) {
  std::vector<int32_t> ids;
  for (const std::string& file : files) {
    const std::string text = read_text_file(file, kMaxTextBytes);
    UM_CHECK(!text.empty(), "{}: no text", file);
    const std::vector<int32_t> more = tokenizer.encode(text, {.add_bos = tokenizer.add_bos()});
    ids.insert(ids.end(), more.begin(), more.end());
  }
  return ids;
}

/// Text to calibrate with and, apart from it, text to measure with.
struct Texts {
  std::vector<int32_t> calibration, evaluation;
};

/// Without text of its own, the last tenth is kept for measuring.
Texts read_texts(const Flags& flags, const Tokenizer& tokenizer) {
  Texts texts;
  if (!flags.calibration.empty()) texts.calibration = tokens_of(tokenizer, flags.calibration);
  if (!flags.evaluation.empty()) {
    texts.evaluation = tokens_of(tokenizer, flags.evaluation);
  } else {
    const auto kept = texts.calibration.end() - std::ssize(texts.calibration) / 10;
    texts.evaluation.assign(kept, texts.calibration.end());
    texts.calibration.erase(kept, texts.calibration.end());
  }
  UM_CHECK(flags.calibration.empty() || std::ssize(texts.calibration) >= kLeastTokens,
           "calibration text: {} tokens{}; at least {} are needed, some ten thousand are good",
           texts.calibration.size(),
           flags.evaluation.empty() ? " after a tenth is kept for measuring" : "", kLeastTokens);
  const auto limit = static_cast<size_t>(flags.evaluation_tokens);
  if (texts.evaluation.size() > limit) texts.evaluation.resize(limit);
  return texts;
}

/// Windows of `context` tokens, spread evenly over the text, at most `most` tokens of them.
std::vector<Batch> batches_of(const std::vector<int32_t>& ids, int64_t context, int64_t most) {
  const int64_t windows = std::ssize(ids) / context;
  UM_CHECK(windows > 0, "calibration text: {} tokens are fewer than a --context of {}", ids.size(),
           context);
  const int64_t taken = most > 0 ? std::clamp<int64_t>(most / context, 1, windows) : windows;
  std::vector<Batch> batches;
  for (int64_t i = 0; i < taken; ++i) {
    if (batches.empty() || std::ssize(batches.back().tokens) + context > kBatchTokens)
      batches.emplace_back();
    const auto begin = static_cast<size_t>(i * windows / taken * context);
    add_sequence(batches.back(), std::span(ids).subspan(begin, static_cast<size_t>(context)));
  }
  return batches;
}

int64_t count_tokens(const std::vector<Batch>& batches) {
  int64_t count = 0;
  for (const Batch& batch : batches) count += std::ssize(batch.tokens);
  return count;
}

uint64_t hash_of(const std::vector<Batch>& batches) {
  uint64_t hash = 0;
  for (const Batch& batch : batches)
    hash = (hash * 1000003 + crc32_of(std::as_bytes(std::span(batch.tokens)))) * 1000003 +
           crc32_of(std::as_bytes(std::span(batch.seq_offsets)));
  return hash;
}

RoundMethod method_of(const Flags& flags) {
  if (flags.method.empty()) return flags.calibration.empty() ? RoundMethod::ssz : RoundMethod::gptq;
  const RoundMethod method = round_method(flags.method);
  if (needs_inputs(method) && flags.calibration.empty())
    throw UsageError(fmt::format("--method {} needs --calib TEXT", flags.method));
  return method;
}

void check_flags(const Flags& flags) {
  const bool choose = flags.scheme == "auto";
  if (choose && flags.calibration.empty())
    throw UsageError("--scheme auto needs --calib TEXT, to see where bits count");
  if (flags.bits_given && !choose)
    throw UsageError(fmt::format("--bits is for --scheme auto; {} has its own", flags.scheme));
  if (flags.group > 0 && !flags.scheme.starts_with("w4"))
    throw UsageError(
        fmt::format("--group is for --scheme w4a8 and w4a16; {} has its own", flags.scheme));
  if (flags.no_rotation && flags.scheme.starts_with("w4"))
    throw UsageError(fmt::format("--no-rotation is for 8 bits; {} is not rotated", flags.scheme));
  if (flags.context < 16) throw UsageError("--context: expected at least 16 tokens");
  if (flags.calibration_tokens < 0 || flags.evaluation_tokens < 0 || flags.min_inputs < 1)
    throw UsageError("--calib-tokens, --eval-tokens, --min-inputs: expected positive numbers");
}

void check_memory(int64_t bytes, int64_t tokens) {
  const auto needed = static_cast<double>(bytes);
  const auto there = static_cast<double>(memory_bytes());
  UM_CHECK(needed <= 0.9 * there,
           "quantising takes {:.1f} GB for the largest layer and {} tokens of calibration, this "
           "machine has {:.1f} GB; fewer --calib-tokens take less",
           needed / 1e9, tokens, there / 1e9);
}

/// The one format of a scheme.
RowFormat format_of(const Flags& flags) {
  RowFormat format = flags.scheme == format_name(kW8Rows) ? kW8Rows : kW4Rows;
  if (flags.group > 0) format.group = flags.group;
  return flags.no_rotation ? without_rotation(format) : format;
}

/// The formats of --scheme into `options`.
void choose_formats(const Flags& flags, const fs::path& model, const std::vector<int32_t>& text,
                    int64_t context, Device& device, Progress& line, QuantizeOptions& options) {
  options.formats = format_of(flags);
  if (flags.scheme != "auto") return;
  Quantization::check_target(flags.out);
  const Conversion plan(model, flags.out, {}, kW4Rows);
  std::vector<Batch> batches = batches_of(text, context, kChoiceTokens);
  const int64_t tokens = count_tokens(batches);
  check_memory(bit_choice_bytes(plan.config(), tokens), tokens);
  BitChoice choice =
      choose_bits(plan, std::move(batches), flags.bits, device, [&](int64_t step, int64_t steps) {
        if (line.due())
          line.show(fmt::format(
              "where bits count: {} of {}  {}", step + 1, steps,
              eta_text(line.seconds(), static_cast<double>(step), static_cast<double>(steps))));
      });
  options.formats = std::move(choice.formats);
  if (flags.no_rotation)
    for (auto& [name, format] : options.formats.others) format = without_rotation(format);
  options.losses = std::move(choice.losses);
}

/// A file that goes at the end, also when a signal or an exception is that.
class PassingFile {
 public:
  explicit PassingFile(fs::path path) : path_(std::move(path)) { add_unfinished(path_); }
  PassingFile(const PassingFile&) = delete;
  PassingFile& operator=(const PassingFile&) = delete;
  ~PassingFile() {
    std::error_code ignored;
    fs::remove(path_, ignored);
    keep_unfinished(path_);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// The copy beside the original, on text that was not calibrated with.
class Measurement {
 public:
  Measurement(const Flags& flags, const ModelConfig& config, const Tokenizer* tokenizer,
              const std::vector<int32_t>& tokens)
      : flags_(flags) {
    const int64_t context = std::min(flags.context, config.max_positions);
    if (tokenizer != nullptr && tokenizer->add_bos()) bos_ = tokenizer->bos_id();
    if (std::ssize(tokens) < context)
      note_ = tokens.empty() ? "Not measured: no text (--calib or --eval)."
                             : fmt::format(
                                   "Not measured: {} tokens of text are fewer than a "
                                   "context of {}.",
                                   tokens.size(), context);
    else if (weight_bytes(config, DType::f32) > memory_bytes() * 8 / 10)
      note_ = "Not measured: the original does not fit this machine's memory.";
    else
      text_ = ChunkedText::cut(with_bos(tokens), context, bos_);
  }

  const std::string& note() const { return note_; }
  std::optional<DivergenceReport> measure(Device& device, Progress& line) const {
    if (!note_.empty()) return {};
    const PassingFile file(fs::path(flags_.out) / kBaseFile);
    Estimate of_original;
    {
      line.announce("measuring the original");
      const auto base = load_model(flags_.model, device, nullptr, kF32Rows);
      of_original = save_base_file(*base, text_, file.path());
    }
    line.announce("measuring the copy");
    // What w4a16 is for keeps activations in 16 bits.
    const auto copy = load_model(
        flags_.out, device, nullptr,
        flags_.scheme == kWeightsOnly ? std::optional<WeightTypes>(kBf16Rows) : std::nullopt);
    DivergenceReport report = compare_with_base(*copy, BaseFile(file.path()), bos_);
    // The file has rounded probabilities, which are a little too good for the original.
    report.base_perplexity = of_original;
    report.ratio.value = report.perplexity.value / of_original.value;
    report.log_ratio.value = std::log(report.ratio.value);
    return report;
  }

 private:
  /// Each chunk begins with BOS where the text does.
  std::vector<int32_t> with_bos(std::vector<int32_t> tokens) const {
    if (bos_ >= 0 && tokens.front() != bos_) tokens.insert(tokens.begin(), bos_);
    return tokens;
  }

  const Flags& flags_;
  int32_t bos_ = -1;
  std::string note_;
  ChunkedText text_;
};

void print_report(const QuantizeReport& report, const std::optional<DivergenceReport>& quality,
                  const fs::path& out) {
  const auto row = [](const char* label, const std::string& text) {
    fmt::print("  {:<16}{}\n", label, text);
  };
  fmt::print("{}\n", bold(out.string()));
  row("size", fmt::format("{}, {:.3f} of {}", bytes_text(static_cast<double>(report.bytes)),
                          static_cast<double>(report.bytes) /
                              static_cast<double>(std::max<uint64_t>(report.source_bytes, 1)),
                          bytes_text(static_cast<double>(report.source_bytes))));
  row("bits",
      fmt::format("{:.2f} per weight of {} matrices, with scales; {:.2f} of the whole model",
                  mean_bits(report.matrices), report.matrices.size(), report.whole_bits()));
  row("as they were",
      fmt::format("{} matrices: embedding, head, routers, and rows of no whole groups",
                  report.kept.size()));
  if (!report.options.losses.empty()) {
    double loss = 0;
    for (const auto& [name, expected] : report.options.losses) loss += expected;
    row("of 8 bits", fmt::format("{} matrices; KL divergence expected by gradients: {:.4f}",
                                 report.options.formats.others.size(), loss));
  }
  const auto noted = std::ranges::count_if(
      report.matrices, [](const QuantizedMatrix& m) { return !m.note.empty(); });
  if (noted > 0)
    row("not as asked", fmt::format("{} matrices: the report says which, and why", noted));
  if (!report.quality_note.empty()) row("quality", report.quality_note);
  if (quality) {
    row("perplexity",
        fmt::format("{:.4f}, of the original {:.4f} ({:+.2f} %)", quality->perplexity.value,
                    quality->base_perplexity.value, 100 * (quality->ratio.value - 1)));
    row("KL divergence",
        bold(fmt::format("{:.6f} ± {:.6f}", quality->kl.mean.value, quality->kl.mean.uncertainty)) +
            " nats from the original");
    row("first choice", fmt::format("{:.2f} % are the original's", 100 * quality->same_top.value));
    row("over", digits(quality->tokens) + " tokens");
  }
  row("report", (out / "quantization.html").string());
}

/// Writes the report, and what says that the model is complete.
void finish(Quantization& quantization, const QuantizeReport& report, const fs::path& out) {
  std::string_view missing = "report";
  try {
    write_report(report, out);
    missing = "digests";
    quantization.finish();
  } catch (const Error& error) {
    fail("{}: all weights are written, but not the {}: {}; the same command goes on from here",
         out.string(), missing, error.what());
  }
}

void run(const Flags& flags, Device& device) {
  check_flags(flags);
  const RoundMethod method = method_of(flags);
  const fs::path model = find_model(flags.model);
  const int64_t context = std::min(flags.context, read_config(model).max_positions);
  std::optional<Tokenizer> tokenizer;
  Texts texts;
  if (!flags.calibration.empty() || !flags.evaluation.empty()) {
    tokenizer = load_tokenizer(model);
    texts = read_texts(flags, *tokenizer);
  }
  std::vector<Batch> batches;
  if (!texts.calibration.empty())
    batches = batches_of(texts.calibration, context, flags.calibration_tokens);
  Progress line;
  QuantizeReport report;
  report.scheme = flags.scheme;
  report.options.method = method;
  report.options.min_rows = flags.min_inputs;
  report.options.texts = hash_of(batches);
  report.calibration_tokens = count_tokens(batches);
  choose_formats(flags, model, texts.calibration, context, device, line, report.options);
  Quantization quantization(model, flags.out, report.options, device);
  check_memory(quantization.memory_bytes(report.calibration_tokens), report.calibration_tokens);
  const Measurement measurement(flags, quantization.conversion().config(),
                                tokenizer ? &*tokenizer : nullptr, texts.evaluation);
  if (quantization.conversion().from_integers())
    line.warn("the model's weights are quantised already: they are rounded a second time");
  if (const int64_t there = quantization.finished_layers(); there > 0)
    line.announce(fmt::format("from an earlier run: {} layer{}", there, there == 1 ? "" : "s"));
  report.matrices = quantization.run(std::move(batches), [&](const QuantizeStep& step) {
    if (line.due())
      line.show(fmt::format("layer {} of {}: {}  {}", std::min(step.layer + 1, step.layers),
                            step.layers, step.what,
                            eta_text(line.seconds(), static_cast<double>(step.layer),
                                     static_cast<double>(step.layers))));
  });
  report.name = model_name(model);
  report.source_bytes = quantization.conversion().source().total_bytes();
  report.bytes = quantization.conversion().bytes();
  report.kept = quantization.conversion().unpacked();
  report.values = quantization.conversion().values();
  report.quality_note = measurement.note();
  std::optional<DivergenceReport> quality;
  std::string failure;
  try {
    quality = measurement.measure(device, line);
  } catch (const Error& error) {  // the model is there all the same
    failure = error.what();
    report.quality_note = fmt::format("Not measured: {}", failure);
  }
  if (quality) report.quality = to_json(*quality);
  report.seconds = line.seconds();
  finish(quantization, report, flags.out);
  line.clear();
  if (flags.json)
    print_json(to_json(report));
  else
    print_report(report, quality, flags.out);
  UM_CHECK(
      failure.empty(),
      "{}: the model and its report are complete, but it was not measured: {}; `ultramoe eval` "
      "does that (--save-logits of the original, --kl-base)",
      flags.out, failure);
}

}  // namespace

void add_quantize(CLI::App& app, Globals& globals) {
  CLI::App* command =
      add_command(app, "quantize",
                  "a model in integers of 8 or 4 bits, with a report of what it costs", globals);
  auto flags = std::make_shared<Flags>();
  command->add_option("model", flags->model, "model directory or .gguf file")
      ->required()
      ->type_name(kModelType);
  command->add_option("--out", flags->out, "directory to write; a run that was ended goes on there")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--scheme", flags->scheme,
                   "integers: of 8 bits in groups of 64, of 4 in groups of 32, or of either where "
                   "it counts; w4a16: those of 4 bits, measured with activations in 16 bits, for "
                   "programs that keep them so")
      ->check(CLI::IsMember({"w8a8", "w4a8", kWeightsOnly, "auto"}).description(""))
      ->type_name("w8a8|w4a8|w4a16|auto")
      ->capture_default_str();
  command->add_option("--group", flags->group, "with w4a8, w4a16: channels that share a scale")
      ->check(CLI::IsMember({32, 64, 128}).description(""))
      ->type_name("32|64|128");
  command->add_flag("--no-rotation", flags->no_rotation,
                    "8 bits for programs that know nothing of compressed-tensors' "
                    "transform_config: three times the error");
  CLI::Option* bits =
      command
          ->add_option("--bits", flags->bits,
                       "with --scheme auto: bits per quantised weight, with scales, at most")
          ->check(CLI::Range(4.5, 8.25).description(""))
          ->type_name("B")
          ->capture_default_str();
  command
      ->add_option("--method", flags->method,
                   "rtn: nearest; ssz: scales of least error; sszw: weighed by the inputs; gptq: "
                   "columns make up for each other (with --calib the default, else ssz)")
      ->check(CLI::IsMember({"rtn", "ssz", "sszw", "gptq"}).description(""))
      ->type_name("METHOD");
  add_files_option(
      command, "--calib", flags->calibration,
      "texts that run through the model, to see what its matrices are multiplied with");
  command
      ->add_option("--calib-tokens", flags->calibration_tokens,
                   "tokens of them, spread evenly (0: all)")
      ->type_name("N")
      ->capture_default_str();
  add_files_option(command, "--eval", flags->evaluation,
                   "texts to measure with (default: the last tenth of --calib)");
  command->add_option("--eval-tokens", flags->evaluation_tokens, "tokens of them at most")
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--context", flags->context, "tokens that the model sees at once")
      ->type_name("N")
      ->capture_default_str();
  command
      ->add_option("--min-inputs", flags->min_inputs,
                   "a matrix that meets fewer tokens is rounded without them (experts)")
      ->type_name("N")
      ->capture_default_str();
  add_json_flag(command, flags->json);
  run_with(command, globals, [flags, bits, &globals] {
    flags->bits_given = bits->count() > 0;
    run(*flags, globals.device());
  });
}

}  // namespace um
