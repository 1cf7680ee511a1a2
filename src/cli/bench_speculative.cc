// See bench_speculative.h.
#include "cli/bench_speculative.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <sstream>

#include "cli/bench_measure.h"
#include "cli/input.h"
#include "cli/terminal.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "text/tokenizer.h"

namespace um {
namespace {

using Ids = std::vector<int32_t>;

/// What one way of decoding took, over all prompts.
struct Result {
  std::vector<Ids> tokens;
  double seconds = 0;    ///< of all steps after the prompt
  double forward_s = 0;  ///< of that, inside the model
  int64_t steps = 0, generated = 0, drafted = 0, accepted = 0;

  double tokens_per_s() const { return static_cast<double>(generated) / seconds; }
  double outside_us() const { return 1e6 * (seconds - forward_s) / static_cast<double>(steps); }
  double length() const { return static_cast<double>(generated) / static_cast<double>(steps); }
};

struct Gather : RequestSink {
  size_t on_tokens(std::span<const TokenOutput> outputs) override {
    for (const TokenOutput& output : outputs) tokens.push_back(output.id);
    return outputs.size();
  }
  void on_finish(FinishReason, const RequestStats& s, std::string_view message) override {
    stats = s;
    UM_CHECK(message.empty(), "{}", message);
  }
  Ids tokens;
  RequestStats stats;
};

/// One prompt through the engine; the prompt's own steps are not counted.
void run_engine(const Model& model, const Ids& prompt, const SpeculativeBenchOptions& options,
                int64_t drafts, Result& result) {
  Engine engine(model,
                {.cache_tokens = std::ssize(prompt) + options.tokens + 64, .draft_tokens = drafts});
  const auto sink = std::make_shared<Gather>();
  engine.submit({.prompt = prompt, .sampling = {.temperature = 0}, .max_tokens = options.tokens},
                sink);
  while (sink->tokens.empty() && engine.step()) continue;
  const EngineStats before = engine.stats();
  engine.run_until_idle();
  const EngineStats after = engine.stats();
  result.seconds += after.step_s - before.step_s;
  result.forward_s += after.forward_s - before.forward_s;
  result.steps += after.steps - before.steps;
  result.generated += std::ssize(sink->tokens) - 1;
  result.drafted += sink->stats.drafted;
  result.accepted += sink->stats.accepted;
  result.tokens.push_back(sink->tokens);
}

/// Speculative decoding as it is first written: every forward makes its batch and its page table
/// anew, hidden states and whole distributions come to the host, and each draft is a forward of
/// its own over rows that are gathered again. Kept to compare with.
class NaiveLoop {
 public:
  NaiveLoop(const Model& model, int64_t heads, int64_t capacity)
      : model_(model),
        heads_(heads),
        pool_(model.make_pool(KvPool::pages_for(capacity), model.default_cache_type())) {}

  Ids run(const Ids& prompt, int64_t tokens, Result& result) {
    Ids text = prompt, drafts;
    int64_t cached = 0;
    double forward_before = 0;
    auto begin = std::chrono::steady_clock::now();
    while (std::ssize(text) - std::ssize(prompt) < tokens) {
      const bool is_prompt = cached == 0;
      Ids rows(text.begin() + cached, text.end());
      rows.insert(rows.end(), drafts.begin(), drafts.end());
      std::vector<float> hidden =
          forward(rows, cached, is_prompt, [&](const auto& ids, auto& layout, auto& view) {
            return model_.trunk(ids, layout, {.cache = &view}).hidden;
          });
      const int64_t first = std::ssize(text) - 1 - cached;
      const int64_t begin_row = cached;
      for (size_t i = 0;; ++i) {
        const Ids next = {most_likely(row(hidden, first + static_cast<int64_t>(i)))};
        text.push_back(next[0]);
        if (i == drafts.size() || drafts[i] != next[0]) break;
        ++result.accepted;
      }
      cached = std::ssize(text) - 1;
      drafts = draft(text, begin_row, std::move(hidden), is_prompt);
      result.drafted += std::ssize(drafts);
      if (is_prompt) {  // the clock starts behind it
        begin = std::chrono::steady_clock::now();
        forward_before = forward_s_;
        result.drafted -= std::ssize(drafts);
      } else {
        ++result.steps;
      }
    }
    result.seconds += seconds_since(begin);
    result.forward_s += forward_s_ - forward_before;
    result.generated += std::ssize(text) - std::ssize(prompt) - 1;
    text.resize(prompt.size() + static_cast<size_t>(tokens));
    return {text.begin() + std::ssize(prompt), text.end()};
  }

 private:
  static double seconds_since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  /// A forward with everything about its batch made anew; the result comes to the host.
  template <class Run>
  std::vector<float> forward(const Ids& ids, int64_t past, bool prompt, const Run& run) {
    Ids pages(static_cast<size_t>(pool_.pages()));
    for (size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<int32_t>(i);
    const SequenceRows rows{past, std::ssize(ids)};
    const KvSequence sequence{pages, past, std::ssize(ids), prompt};
    const Ragged layout = Ragged::batch(model_.device(), std::span(&rows, 1));
    const KvView view = KvView::make(pool_, std::span(&sequence, 1));
    const Tensor tokens = Tensor::from(model_.device(), {std::ssize(ids)}, std::span(ids));
    const auto begin = std::chrono::steady_clock::now();
    const Tensor out = run(tokens, layout, view);
    forward_s_ += seconds_since(begin);
    return out.to_vector();
  }

  std::vector<float> row(const std::vector<float>& all, int64_t index) const {
    const int64_t width = model_.config().hidden;
    return {all.begin() + index * width, all.begin() + (index + 1) * width};
  }

  /// The most likely token, by way of the whole distribution.
  int32_t most_likely(const std::vector<float>& hidden) {
    const Tensor state =
        Tensor::from(model_.device(), {1, std::ssize(hidden)}, std::span<const float>(hidden));
    const auto begin = std::chrono::steady_clock::now();
    const Tensor out = model_.logits(state);
    forward_s_ += seconds_since(begin);
    const std::vector<float> logits = out.to_vector();
    std::vector<Candidate> all = candidates(logits, {});
    return std::ranges::max_element(all, {}, &Candidate::probability)->id;
  }

  /// One forward per head over the rows that were kept.
  Ids draft(const Ids& text, int64_t begin_row, std::vector<float> state, bool prompt) {
    const int64_t rows = std::ssize(text) - 1 - begin_row, width = model_.config().hidden;
    Ids drafts, known = text;
    state.resize(static_cast<size_t>(rows * width));
    for (int64_t k = 0; k < heads_; ++k) {
      const Ids ids(known.begin() + begin_row + k + 1, known.begin() + begin_row + k + 1 + rows);
      std::vector<float> output;
      state = forward(ids, begin_row, prompt, [&](const auto& tokens, auto& layout, auto& view) {
        const Tensor in =
            Tensor::from(model_.device(), {rows, width}, std::span<const float>(state));
        const MtpOutput out = model_.mtp(k, in, tokens, layout, {.cache = &view});
        output = out.hidden.to_vector();
        return out.state;
      });
      drafts.push_back(most_likely(row(output, rows - 1)));
      known.push_back(drafts.back());
    }
    return drafts;
  }

  const Model& model_;
  const int64_t heads_;
  KvPool pool_;
  double forward_s_ = 0;
};

/// The lines of a text, or random tokens.
std::vector<Ids> make_prompts(const SpeculativeBenchOptions& options, const ModelConfig& config) {
  const auto longest = static_cast<size_t>(options.prompt_tokens);
  std::vector<Ids> prompts;
  if (options.text.empty()) {
    const RandomStream random(11, 0);
    for (uint64_t i = 0; std::ssize(prompts) < options.prompts; ++i) {
      Ids ids(longest);
      for (size_t t = 0; t < longest; ++t)
        ids[t] = static_cast<int32_t>(random.bits(i * longest + t) %
                                      static_cast<uint64_t>(config.vocab));
      prompts.push_back(ids);
    }
    return prompts;
  }
  const Tokenizer tokenizer = Tokenizer::load(find_model(options.model));
  std::istringstream lines(read_input("", options.text, "prompts"));
  for (std::string line; std::getline(lines, line) && std::ssize(prompts) < options.prompts;) {
    if (line.empty()) continue;
    Ids ids = encode_prompt(tokenizer, line);
    ids.resize(std::min(ids.size(), longest));
    prompts.push_back(ids);
  }
  UM_CHECK(!prompts.empty(), "{}: no line with text", options.text);
  return prompts;
}

/// The three ways in one round over all prompts, in turn.
struct Round {
  Result plain, fused, naive;
};

Round run_round(const Model& model, const std::vector<Ids>& prompts, int64_t heads,
                const SpeculativeBenchOptions& options) {
  Round round;
  for (const Ids& prompt : prompts) {
    run_engine(model, prompt, options, 0, round.plain);
    run_engine(model, prompt, options, heads, round.fused);
    NaiveLoop loop(model, heads, std::ssize(prompt) + options.tokens + heads + 2);
    round.naive.tokens.push_back(loop.run(prompt, options.tokens, round.naive));
  }
  UM_CHECK(round.plain.tokens == round.fused.tokens && round.plain.tokens == round.naive.tokens,
           "speculative decoding gave other tokens than plain decoding");
  return round;
}

/// Medians over the rounds; ratios are taken within a round.
void print(const SpeculativeBenchOptions& options, const std::vector<Round>& rounds) {
  const auto middle = [&](const auto& figure) {
    std::vector<double> values;
    for (const Round& round : rounds) values.push_back(figure(round));
    return median(values);
  };
  const double accepted = middle([](const Round& r) {
    return static_cast<double>(r.fused.accepted) /
           static_cast<double>(std::max<int64_t>(r.fused.drafted, 1));
  });
  const double speedup =
      middle([](const Round& r) { return r.fused.tokens_per_s() / r.plain.tokens_per_s(); });
  const double plain = middle([](const Round& r) { return r.plain.tokens_per_s(); });
  const double fused = middle([](const Round& r) { return r.fused.tokens_per_s(); });
  const double naive = middle([](const Round& r) { return r.naive.tokens_per_s(); });
  const double plain_us = middle([](const Round& r) { return r.plain.outside_us(); });
  const double fused_us = middle([](const Round& r) { return r.fused.outside_us(); });
  const double naive_us = middle([](const Round& r) { return r.naive.outside_us(); });
  const double length = middle([](const Round& r) { return r.fused.length(); });
  if (options.json) {
    print_json({{"model", options.model},
                {"rounds", options.rounds},
                {"plain_tokens_per_s", plain},
                {"tokens_per_s", fused},
                {"naive_tokens_per_s", naive},
                {"speedup", speedup},
                {"acceptance", accepted},
                {"tokens_per_step", length},
                {"outside_us", fused_us},
                {"naive_outside_us", naive_us}});
    return;
  }
  fmt::print("plain        {:7.1f} tokens/s, {:6.1f} us per step outside model forwards\n", plain,
             plain_us);
  fmt::print(
      "speculative  {:7.1f} tokens/s, {:6.1f} us, {:.2f} tokens per step, {:.0f} % of "
      "drafts accepted: {:.2f} times plain\n",
      fused, fused_us, length, 100 * accepted, speedup);
  fmt::print("naive loop   {:7.1f} tokens/s, {:6.1f} us: {:.1f} times the engine's\n", naive,
             naive_us, naive_us / fused_us);
}

}  // namespace

void bench_speculative(const SpeculativeBenchOptions& options, Device& device) {
  const auto model = load_model(find_model(options.model), device, nullptr, options.weights);
  const int64_t most =
      std::min(model->mtp_heads(), most_drafts(model->config().attention.conv_taps));
  const int64_t heads = options.drafts < 0 ? most : std::min(options.drafts, most);
  UM_CHECK(heads > 0, "{}: the model has no MTP heads to draft with", options.model);
  const std::vector<Ids> prompts = make_prompts(options, model->config());
  std::vector<Round> rounds;
  for (int64_t i = 0; i < options.rounds; ++i)
    rounds.push_back(run_round(*model, prompts, heads, options));
  print(options, rounds);
}

}  // namespace um
