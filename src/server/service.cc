// See service.h.
#include "server/service.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "models/checkpoint.h"
#include "models/config.h"
#include "server/api_error.h"

namespace um {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Turns one answer's tokens into text on the engine's thread, which must know at once when a stop
/// string is complete, and hands it to the channel. `stops`: the model's own beside the request's;
/// they end a text as an end token does.
class AnswerSink : public RequestSink {
 public:
  AnswerSink(const Tokenizer& tokenizer, const ChatMarks& marks, const AnswerRequest& request,
             const std::vector<std::string>& stops, std::shared_ptr<Channel> channel, size_t answer,
             ServerMetrics& metrics)
      : stream_(tokenizer, marks, request.prompt, with_stops(request.text, stops)),
        asked_(request.text.stop),
        include_stop_(request.include_stop),
        want_tokens_(request.want_tokens),
        channel_(std::move(channel)),
        answer_(answer),
        metrics_(metrics) {}

  size_t on_tokens(std::span<const TokenOutput> tokens) override {
    measure(static_cast<int64_t>(tokens.size()));
    AnswerUpdate update;
    size_t kept = 0;
    for (; kept < tokens.size(); ++kept) {
      update.delta.append(stream_.push(tokens[kept].id));
      if (stream_.stopped()) break;
      if (want_tokens_) update.tokens.push_back(tokens[kept]);
    }
    if (stopped_as_asked() && include_stop_) update.delta.content += stream_.matched();
    update.token_count = static_cast<int64_t>(kept) + (stream_.stopped() ? 1 : 0);
    update.reasoning_tokens = stream_.reasoning_tokens();
    wanted_ = channel_->add(answer_, std::move(update));
    return wanted_ ? kept : 0;
  }

  void on_finish(FinishReason reason, const RequestStats& stats, std::string_view error) override {
    AnswerUpdate update;
    if (stopped_as_asked()) update.stop_reason = stream_.matched();
    if (!stream_.stopped()) update.delta = stream_.finish();
    update.finished = true;
    update.reason = reason;
    if (reason == FinishReason::stop && !wanted_) update.reason = FinishReason::cancelled;
    update.stats = stats;
    update.error = error;
    update.reasoning_tokens = stream_.reasoning_tokens();
    update.called_tools = stream_.called();
    metrics_.finished(update.reason, stats, seconds_since(start_));
    channel_->add(answer_, std::move(update));
  }

 private:
  static AnswerOptions with_stops(AnswerOptions options, const std::vector<std::string>& stops) {
    options.stop.insert(options.stop.end(), stops.begin(), stops.end());
    return options;
  }
  bool stopped_as_asked() const {
    return stream_.stopped() && std::ranges::find(asked_, stream_.matched()) != asked_.end();
  }
  void measure(int64_t tokens) {
    if (std::exchange(any_, true))
      metrics_.next_tokens(seconds_since(last_), tokens);
    else
      metrics_.first_token(seconds_since(start_));
    last_ = Clock::now();
  }

  AnswerStream stream_;
  std::vector<std::string> asked_;  // stop strings of the request
  bool include_stop_, want_tokens_, any_ = false, wanted_ = true;
  std::shared_ptr<Channel> channel_;
  size_t answer_;
  ServerMetrics& metrics_;
  Clock::time_point start_ = Clock::now(), last_ = start_;
};

/// Tells the channel when a prompt has been read.
class ReadSink : public RequestSink {
 public:
  ReadSink(std::shared_ptr<Channel> channel, size_t text)
      : channel_(std::move(channel)), text_(text) {}
  size_t on_tokens(std::span<const TokenOutput>) override { return 0; }
  void on_finish(FinishReason reason, const RequestStats& stats, std::string_view error) override {
    AnswerUpdate update;
    update.finished = true;
    update.reason = reason;
    update.stats = stats;
    update.error = error;
    channel_->add(text_, std::move(update));
  }

 private:
  std::shared_ptr<Channel> channel_;
  size_t text_;
};

uint64_t random_seed() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return random();
}

std::string name_of(const ServeOptions& options, const std::filesystem::path& directory) {
  if (!options.model_name.empty()) return options.model_name;
  std::error_code ignored;
  const auto path = std::filesystem::weakly_canonical(directory, ignored);
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

}  // namespace

OpenAnswers::OpenAnswers(Service& service, size_t answers, size_t max_bytes)
    : service_(service),
      channel_(std::make_shared<Channel>(answers, max_bytes)),
      answers_(answers) {
  std::lock_guard lock(service_.mutex_);
  ++service_.open_;
}

OpenAnswers::~OpenAnswers() {
  channel_->close();
  for (const uint64_t id : ids_) service_.engine_->cancel(id);
  service_.ended();
}

Service::Service(const ServeOptions& options, std::filesystem::path directory)
    : options_(options),
      directory_(std::move(directory)),
      name_(name_of(options, directory_)),
      started_at_(std::chrono::duration_cast<std::chrono::seconds>(
                      std::chrono::system_clock::now().time_since_epoch())
                      .count()),
      responses_(static_cast<size_t>(options.stored_responses),
                 static_cast<size_t>(options.stored_response_bytes)) {}

Service::~Service() {
  stop();
}

void Service::load(Device& device, std::optional<WeightTypes> weights,
                   std::vector<std::string>* warnings) {
  tokenizer_ = Tokenizer::load(directory_);
  if (warnings != nullptr)
    warnings->insert(warnings->end(), tokenizer_->warnings().begin(), tokenizer_->warnings().end());
  template_ = ChatTemplate::load(directory_, *tokenizer_);
  marks_ = ChatMarks::of(*tokenizer_, *template_);
  if (!is_base_model(directory_) && !marks_.fault.empty() && warnings != nullptr)
    warnings->push_back(marks_.fault);
  else if (!is_base_model(directory_) && !marks_.calls.readable() && warnings != nullptr)
    warnings->push_back(
        "no tools: the chat template writes calls in a form that is not known here, so requests "
        "with "
        "tools are refused");
  const auto progress = [this](uint64_t done, uint64_t all) {
    loaded_bytes_ = done;
    weight_bytes_ = all;
  };
  model_ = load_model(directory_, device, warnings, weights,
                      expert_bytes_of(options_.expert_memory), progress);
  ends_ = find_ends(model_->config(), *tokenizer_, directory_, &*template_);
  stops_ = find_stops(directory_);
  base_ = is_base_model(directory_);
  // A base model may have no template, but not one that is broken.
  if (warnings != nullptr && !template_->fault().empty() &&
      (!base_ || !template_->source().empty()))
    warnings->push_back("no chat: " + template_->fault());
  limits_ = {.sampling = sampling_defaults(directory_).value_or(SamplingOptions{}),
             .mode = parse_optional_mode(options_.mode),
             .vocab = model_->config().vocab,
             .max_n = options_.max_n};
  formats_ = std::make_unique<Formats>(*tokenizer_, marks_, ends_.text);
  if (!options_.draft_model.empty()) {
    const std::filesystem::path draft = find_model(options_.draft_model);
    require_tokenizer_of(draft, tokenizer_->hash(), directory_.string(), kSameTokenizer);
    draft_ = load_model(draft, device, warnings, weights, kAllExperts, progress);
  }
  EngineOptions engine = options_.engine;
  engine.cache_type = cache_type_of(options_.cache_dtype);
  engine.draft_model = draft_.get();
  engine_ = std::make_unique<Engine>(*model_, engine);
  thread_ = std::thread([this] { engine_->run(); });
  state_ = State::kReady;
}

void Service::require_ready() const {
  const auto [done, all] = loading();
  if (state_ == State::kLoading)
    throw ApiError(503, fmt::format("the model is still being loaded{}",
                                    all == 0 ? "" : fmt::format(": {} %", 100 * done / all)));
  if (state_ != State::kReady) throw ApiError(503, "the server is shutting down");
}

void Service::drain(double seconds) {
  const State before = state_.exchange(State::kDraining);
  if (before == State::kLoading) return;
  engine_->drain();
  std::unique_lock lock(mutex_);
  all_ended_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return open_ == 0; });
}

void Service::stop() {
  state_ = State::kStopped;
  if (!thread_.joinable()) return;
  engine_->stop();
  thread_.join();
}

void Service::ended() {
  std::lock_guard lock(mutex_);
  if (--open_ == 0) all_ended_.notify_all();
}

bool Service::can_think() const {
  return !base_ && template_->can_think();
}

bool Service::can_switch_thinking() const {
  return !base_ && template_->can_switch_thinking();
}

int64_t Service::context() const {
  const int64_t longest = model_->config().max_positions;
  const int64_t asked = engine_->options().context;
  return asked > 0 ? std::min(asked, longest) : longest;
}

Tokenizer Service::bounded_tokenizer() const {
  return tokenizer_->bounded({.max_tokens = context()});
}

EngineStats Service::engine_stats() const {
  if (state_ == State::kLoading) return {};  // first of all: load() writes what follows
  return engine_ != nullptr ? engine_->stats() : EngineStats{};
}

void Service::check_prompt(const std::vector<int32_t>& prompt, const std::string& field) const {
  if (prompt.empty()) bad_field(field, "it has no tokens");
  if (std::ssize(prompt) >= context())
    throw ApiError(400,
                   fmt::format("This model's maximum context length is {} tokens, the prompt has "
                               "{}: shorten it",
                               context(), prompt.size()),
                   field, "context_length_exceeded");
}

/// A word also counts behind a space, where its first token is another one.
TokenLimits Service::limits_of(const GenerationParams& params) const {
  TokenLimits limits{.allowed = params.allowed_token_ids};
  for (const std::string& word : params.bad_words)
    for (const std::string& text : {word, " " + word}) {
      std::vector<int32_t> ids = tokenizer_->encode(text);
      if (!ids.empty()) limits.bad.push_back(std::move(ids));
    }
  return limits;
}

EngineRequest Service::engine_request(const GenerationParams& params, const AnswerRequest& request,
                                      uint64_t seed) const {
  EngineRequest engine;
  engine.prompt = request.prompt;
  engine.sampling = params.sampling;
  engine.seed = seed;
  const int64_t room = context() - std::ssize(request.prompt);
  engine.max_tokens = params.max_tokens < 0 ? room : std::min(params.max_tokens, room);
  // A constraint ends the answer where it is complete, whatever else was asked for.
  const bool held = request.constraint != nullptr;
  engine.min_tokens = held ? 0 : std::min(params.min_tokens, engine.max_tokens);
  if (!params.ignore_eos || held) engine.eos = request.chat ? ends_.turn : ends_.text;
  engine.eos.insert(engine.eos.end(), params.stop_token_ids.begin(), params.stop_token_ids.end());
  engine.top_logprobs = params.top_logprobs;
  engine.routed_experts = params.routed_experts;
  engine.priority = -params.priority;
  engine.constraint = limit_tokens(held ? request.constraint->clone() : nullptr, limits_of(params));
  return engine;
}

void Service::submit(OpenAnswers& open, EngineRequest request, std::shared_ptr<RequestSink> sink) {
  try {
    open.ids_.push_back(engine_->submit(std::move(request), std::move(sink)));
  } catch (const BusyError& error) {
    require_ready();
    throw ApiError(429, error.what());
  } catch (const Error& error) {
    throw ApiError(400, error.what());
  }
}

std::unique_ptr<OpenAnswers> Service::generate(const GenerationParams& params,
                                               std::vector<AnswerRequest> prompts) {
  require_ready();
  for (const AnswerRequest& prompt : prompts) check_prompt(prompt.prompt, prompt.field);
  const size_t n = static_cast<size_t>(params.n), answers = prompts.size() * n;
  auto generation =
      std::make_unique<OpenAnswers>(*this, answers, static_cast<size_t>(options_.max_unread_bytes));
  const uint64_t seed = params.seed ? *params.seed : random_seed();
  const auto stops = params.ignore_eos ? std::vector<std::string>() : stops_;
  for (size_t p = 0; p < prompts.size(); ++p)
    for (size_t i = 0; i < n; ++i)
      submit(*generation, engine_request(params, prompts[p], seed + i),
             std::make_shared<AnswerSink>(*tokenizer_, marks_, prompts[p], stops,
                                          generation->channel_, p * n + i, metrics_));
  return generation;
}

std::unique_ptr<OpenAnswers> Service::read(std::span<const Reading> texts) {
  require_ready();
  for (const Reading& text : texts) check_prompt(text.ids, text.field);
  auto open = std::make_unique<OpenAnswers>(*this, texts.size(),
                                            static_cast<size_t>(options_.max_unread_bytes));
  for (size_t i = 0; i < texts.size(); ++i)
    submit(*open, {.prompt = texts[i].ids, .reader = texts[i].reader},
           std::make_shared<ReadSink>(open->channel_, i));
  return open;
}

}  // namespace um
