// See generator.h.
#include "engine/generator.h"

#include <algorithm>

#include "core/json.h"
#include "engine/text_stream.h"
#include "models/model_texts.h"

namespace um {
namespace {

/// Turns tokens into text and hands both on.
class TextSink : public RequestSink {
 public:
  TextSink(const Tokenizer* tokenizer, const std::vector<int32_t>& prompt,
           const GenerateOptions& options, const TokenCallback& on_token)
      : tokenizer_(tokenizer), show_end_(!options.skip_special), on_token_(on_token) {
    if (tokenizer != nullptr)
      stream_.emplace(*tokenizer, prompt, options.stop, options.skip_special);
  }

  size_t on_tokens(std::span<const TokenOutput> tokens) override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      result_.tokens.push_back(tokens[i].id);
      cancelled_ = !show(tokens[i].id, stream_ ? stream_->push(tokens[i].id) : std::string());
      if (cancelled_ || (stream_ && stream_->stopped())) return i;
    }
    return tokens.size();
  }

  void on_finish(FinishReason reason, const RequestStats& stats, std::string_view error) override {
    result_.reason = cancelled_ ? FinishReason::cancelled : reason;
    result_.stats = stats;
    error_ = error;
    if (!stream_ || stream_->stopped()) return;
    std::string rest = stream_->finish();
    if (show_end_ && stats.end && stats.end->id < tokenizer_->vocab_size())
      rest += tokenizer_->piece(stats.end->id);
    if (!rest.empty()) show(-1, rest);
  }

  /// Throws Error where the request failed.
  const Generation& result() const {
    if (result_.reason == FinishReason::error) throw Error(error_);
    return result_;
  }

 private:
  bool show(int32_t id, const std::string& text) {
    result_.text += text;
    return !on_token_ || on_token_(id, text);
  }

  const Tokenizer* tokenizer_;
  bool show_end_;
  const TokenCallback& on_token_;
  std::optional<TextStream> stream_;
  Generation result_;
  std::string error_;
  bool cancelled_ = false;
};

double rate(int64_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

}  // namespace

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::eos:
      return "eos";
    case FinishReason::stop:
      return "stop";
    case FinishReason::max_tokens:
      return "length";
    case FinishReason::context:
      return "context";
    case FinishReason::cancelled:
      return "cancelled";
    case FinishReason::error:
      break;
  }
  return "error";
}

double Generation::prefill_tokens_per_s() const {
  return rate(stats.prompt_tokens - stats.cached_tokens, stats.prefill_s);
}

double Generation::decode_tokens_per_s() const {
  return rate(stats.generated_tokens - 1, stats.decode_s);
}

Generation generate(Engine& engine, const Tokenizer* tokenizer, const std::vector<int32_t>& prompt,
                    const GenerateOptions& options, const TokenCallback& on_token,
                    const std::function<void()>& on_accepted) {
  UM_CHECK(tokenizer != nullptr || options.stop.empty(), "stop strings need a tokenizer");
  const auto sink = std::make_shared<TextSink>(tokenizer, prompt, options, on_token);
  engine.submit({.prompt = prompt,
                 .sampling = options.sampling,
                 .seed = options.seed,
                 .max_tokens = options.max_tokens,
                 .eos = options.eos},
                sink);
  if (on_accepted) on_accepted();
  engine.run_until_idle();
  return sink->result();
}

std::optional<SamplingOptions> sampling_defaults(const std::filesystem::path& model) {
  const Json json = generation_config_of(model);
  const JsonObject object(json, (model / "generation_config.json").string());
  if (!object.boolean_or("do_sample", false)) return std::nullopt;
  SamplingOptions sampling;
  sampling.temperature = object.number_or("temperature", 1.0, 0, 1000);
  sampling.top_k = object.integer_or("top_k", 0, 0);
  sampling.top_p = object.number_or("top_p", 1.0, 1e-9, 1);
  sampling.min_p = object.number_or("min_p", 0.0, 0, 1);
  sampling.typical_p = object.number_or("typical_p", 1.0, 1e-9, 1);
  sampling.repetition_penalty = object.number_or("repetition_penalty", 1.0, 0.01, 100);
  return sampling;
}

}  // namespace um
