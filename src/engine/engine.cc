// See engine.h. One step: requests come in, the scheduler shares out the rows, one forward of the
// trunk, choice of the tokens, drafts for the next step, delivery.
#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "core/free_memory.h"
#include "core/units.h"
#include "engine/scheduler.h"
#include "engine/step.h"
#include "models/count.h"
#include "ops/embedding.h"
#include "ops/launch.h"

namespace um {
namespace {

constexpr int64_t kDefaultCacheRows = 8192;
constexpr int64_t kLeastPromptRows = 16;  // of a step, whatever the time they take
constexpr int64_t kRetryDrafts = 64;  // tokens after which drafts that did not pay are tried again
constexpr double kRateWeight = 0.2;   // of the newest measurement of the prompt speed

/// Bytes of `pages` pages of the model and of the one that writes drafts.
double pool_bytes(const EngineOptions& options, const Model& model, int64_t pages) {
  int64_t bytes = kv_layout(model.config()).pool_bytes(pages, *options.cache_type);
  if (options.draft_model != nullptr)
    bytes += kv_layout(options.draft_model->config()).pool_bytes(pages, *options.cache_type);
  return static_cast<double>(bytes);
}

/// The pool's type and rows: those asked for, if they fit; else a context within a share of what is
/// free, and then no longer a context than that.
void size_pool(EngineOptions& options, const Model& model) {
  if (!options.cache_type) options.cache_type = model.default_cache_type();
  if (options.free_memory <= 0) options.free_memory = free_memory_bytes();
  const auto free = static_cast<double>(options.free_memory);
  if (options.cache_tokens > 0) {
    const double bytes = pool_bytes(options, model, KvPool::pages_for(options.cache_tokens));
    UM_CHECK(
        bytes <= free,
        "a KV cache of {} tokens in {} takes {}, {} are free: ask for fewer tokens or a smaller "
        "--cache-dtype",
        options.cache_tokens, cache_type_name(*options.cache_type), bytes_text(bytes),
        bytes_text(free));
    return;
  }
  const double sinks = pool_bytes(options, model, 0), one = pool_bytes(options, model, 1);
  const double pages = std::floor((kCacheShare * free - sinks) / (one - sinks));
  UM_CHECK(pages >= 1,
           "no room for a KV cache: {} tokens in {} take {}, and {:.0f}% of the free memory are "
           "{} (serve --cache-tokens may take more)",
           kPageRows, cache_type_name(*options.cache_type), bytes_text(one), 100 * kCacheShare,
           bytes_text(kCacheShare * free));
  const int64_t wanted = std::max(options.context, kDefaultCacheRows);
  options.cache_tokens = wanted;
  if (pages * kPageRows < static_cast<double>(wanted))
    options.cache_tokens = static_cast<int64_t>(pages) * kPageRows;
  options.context = std::min(options.context, options.cache_tokens);
}

EngineOptions resolve(EngineOptions options, const Model& model) {
  const int64_t longest = model.config().max_positions;
  options.context = options.context > 0 ? std::min(options.context, longest) : longest;
  if (options.max_batch < 1 || options.prefill_rows < 1 || options.max_queue < 1)
    throw UsageError("the engine's batch, prefill rows and queue are at least 1");
  const int64_t heads = model.mtp_heads();
  const int64_t unlimited = options.ngram_drafts || options.draft_model != nullptr ? 4 : 0;
  if (options.draft_tokens < 0) options.draft_tokens = heads > 0 ? heads : unlimited;
  for (const Model* one : {&model, options.draft_model}) {
    if (one == nullptr) continue;
    options.draft_tokens =
        std::min(options.draft_tokens, most_drafts(one->config().attention.conv_taps));
  }
  if (options.draft_model != nullptr && options.draft_model->config().vocab != model.config().vocab)
    throw UsageError(fmt::format("the draft model has {} tokens, the model {}",
                                 options.draft_model->config().vocab, model.config().vocab));
  size_pool(options, model);
  return options;
}

void check(const EngineRequest& request, const Model& model, int64_t limit) {
  const int64_t vocab = model.config().vocab;
  request.sampling.check();
  UM_CHECK(!request.prompt.empty(), "the prompt has no tokens");
  for (const int32_t id : request.prompt)
    UM_CHECK(id >= 0 && id < vocab,
             "the prompt has token {}, the model's vocabulary {}: they do not belong together", id,
             vocab);
  UM_CHECK(std::ssize(request.prompt) < limit,
           "the prompt has {} tokens, the context holds {} with the answer", request.prompt.size(),
           limit);
  for (const int32_t id : request.eos)
    UM_CHECK(id >= 0 && id < vocab, "the ending token {}: the model's vocabulary has {}", id,
             vocab);
  if (request.max_tokens < 1) throw UsageError("max_tokens is at least 1");
}

/// Says that a step is running.
class StepMark {
 public:
  explicit StepMark(std::atomic<bool>& running) : running_(running) { running_ = true; }
  ~StepMark() { running_ = false; }
  StepMark(const StepMark&) = delete;

 private:
  std::atomic<bool>& running_;
};

}  // namespace

class Engine::Impl {
 public:
  Impl(const Model& model, const EngineOptions& options)
      : model_(model),
        options_(resolve(options, model)),
        pool_(model.make_pool(KvPool::pages_for(options_.cache_tokens), *options_.cache_type)),
        scheduler_(
            options_, pool_.pages(), kPageRows,
            std::min(options_.context, pool_.pages() * kPageRows),
            pool_.conv_taps() > 0 ? Scheduler::CopyRows()
                                  : [this](int32_t from, int32_t to, int64_t rows) {
                                      copy_page_rows(pool_, from, to, rows);
                                    }) {
    if (options_.draft_model != nullptr)
      draft_pool_.emplace(options_.draft_model->make_pool(pool_.pages(), *options_.cache_type));
  }

  uint64_t submit(EngineRequest request, std::shared_ptr<RequestSink> sink);
  void cancel(uint64_t id);
  void drain();
  bool step();
  void run();
  void stop();
  void weights_changed();
  EngineStats stats() const;

  const Model& model_;
  const EngineOptions options_;

 private:
  void take_inbox();
  int64_t prompt_budget() const;
  /// Runs the model and counts its time.
  template <class Work>
  auto timed(const Work& work) {
    const auto begin = Clock::now();
    auto result = work();
    counters_.forward_s += seconds_between(begin, Clock::now());
    return result;
  }
  void run_plan(const std::vector<PlannedRows>& plan);
  static void read_prompt(ActiveRequest& request, int64_t begin, const Tensor& hidden);
  Tensor logits_of(const Model& model, const Tensor& hidden, const std::vector<int32_t>& rows);
  void choose(const std::vector<PlannedRows>& plan, const Tensor& hidden);
  void deliver(ActiveRequest& request, std::vector<TokenOutput>& outputs);
  void draft(const std::vector<PlannedRows>& plan, const Tensor& hidden, const StepBatch& batch);
  void draft_with_heads(const std::vector<PlannedRows>& plan, const std::vector<int64_t>& wanted,
                        const Tensor& hidden, const StepBatch& batch);
  void draft_with_model(const std::vector<PlannedRows>& plan, const std::vector<int64_t>& wanted);
  void push_drafts(const Model& model, const Tensor& hidden, const std::vector<int32_t>& rows,
                   const std::vector<ActiveRequest*>& requests);
  int64_t wanted_drafts(const ActiveRequest& request) const;
  void finish_done();
  void publish(double seconds);

  KvPool pool_;
  std::optional<KvPool> draft_pool_;  // the same pages, for the draft model
  Scheduler scheduler_;
  // Kept from step to step for their memory.
  StepBatch batch_;
  Tensor logit_rows_;
  std::vector<int32_t> wanted_rows_;
  std::vector<TokenOutput> outputs_;

  StepTimes times_;
  double prompt_rows_per_s_ = 0, draft_s_ = 0;
  EngineStats counters_;  // of the engine's thread

  std::atomic<bool> in_step_ = false;
  std::atomic<uint64_t> next_id_ = 1;
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable wake_;
  std::vector<std::unique_ptr<ActiveRequest>> inbox_;
  std::vector<uint64_t> cancelled_;
  EngineStats published_;
  int64_t open_ = 0;  // in the inbox, waiting or running
  bool draining_ = false, stopping_ = false;
};

uint64_t Engine::Impl::submit(EngineRequest request, std::shared_ptr<RequestSink> sink) {
  check(request, model_, scheduler_.limit());
  auto active = std::make_unique<ActiveRequest>(next_id_++, std::move(request), std::move(sink),
                                                model_.config().vocab);
  active->tokens.reserve(static_cast<size_t>(active->most_tokens(scheduler_.limit()) + 1));
  const uint64_t id = active->id;
  const std::lock_guard lock(mutex_);
  if (draining_) throw BusyError("the engine is shutting down");
  if (open_ >= options_.max_queue + options_.max_batch)
    throw BusyError(fmt::format("{} requests are open, the queue holds no more", open_));
  ++open_;
  inbox_.push_back(std::move(active));
  wake_.notify_all();
  return id;
}

void Engine::Impl::cancel(uint64_t id) {
  const std::lock_guard lock(mutex_);
  cancelled_.push_back(id);
  wake_.notify_all();
}

void Engine::Impl::drain() {
  const std::lock_guard lock(mutex_);
  draining_ = true;
}

void Engine::Impl::stop() {
  const std::lock_guard lock(mutex_);
  draining_ = stopping_ = true;
  wake_.notify_all();
}

EngineStats Engine::Impl::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats = published_;
  stats.waiting += std::ssize(inbox_);
  return stats;
}

/// New requests to the scheduler, and cancellations.
void Engine::Impl::take_inbox() {
  std::vector<uint64_t> cancelled;
  {
    const std::lock_guard lock(mutex_);
    for (auto& request : inbox_) scheduler_.enqueue(std::move(request));
    inbox_.clear();
    cancelled.swap(cancelled_);
  }
  if (cancelled.empty()) return;
  scheduler_.for_each([&](ActiveRequest& request) {
    if (std::ranges::find(cancelled, request.id) != cancelled.end())
      request.finish(FinishReason::cancelled);
  });
  finish_done();
  publish(0);  // there may be no step that would
}

/// Prompt rows of the next step: as many as are wanted, but where others decode no more than they
/// would want to wait for.
int64_t Engine::Impl::prompt_budget() const {
  if (!scheduler_.any_decoding() || prompt_rows_per_s_ == 0) return options_.prefill_rows;
  const auto rows = static_cast<int64_t>(options_.prefill_slice_s * prompt_rows_per_s_);
  return std::clamp(rows, std::min(kLeastPromptRows, options_.prefill_rows), options_.prefill_rows);
}

bool Engine::Impl::step() {
  const StepMark mark(in_step_);
  take_inbox();
  const auto begin = Clock::now();
  const std::vector<PlannedRows>& plan = scheduler_.plan(prompt_budget());
  if (plan.empty()) return false;
  try {
    run_plan(plan);
  } catch (const std::exception& error) {
    for (const PlannedRows& rows : plan) rows.request->finish(FinishReason::error, error.what());
  }
  ++counters_.steps;
  finish_done();
  publish(seconds_between(begin, Clock::now()));
  return true;
}

void Engine::Impl::run_plan(const std::vector<PlannedRows>& plan) {
  const auto begin = Clock::now();
  batch_.fill(pool_, plan);
  const StepBatch& batch = batch_;
  std::vector<Tensor> routes;
  const bool routed = std::ranges::any_of(
      plan, [](const auto& rows) { return rows.request->request.routed_experts; });
  const ForwardOptions forward{.cache = &batch.view(), .expert_ids = routed ? &routes : nullptr};
  const Tensor hidden =
      timed([&] { return model_.trunk(batch.tokens(), batch.ragged(), forward).hidden; });
  if (!routes.empty()) record_routes(plan, routes);
  int64_t row = 0;
  for (const PlannedRows& rows : plan) {
    // Drafts are not in the cache until they are accepted (deliver).
    rows.request->cached = std::min(rows.begin + rows.rows, rows.request->length());
    scheduler_.ran(rows);
    read_prompt(*rows.request, rows.begin, hidden.row_range(row, row + rows.rows));
    row += rows.rows;
  }
  choose(plan, hidden);
  const double seconds = seconds_between(begin, Clock::now());
  if (plan.back().prompt) {  // nothing but prompts: this is their speed
    const double rate = static_cast<double>(batch.ragged().rows) / seconds;
    prompt_rows_per_s_ +=
        prompt_rows_per_s_ == 0 ? rate : kRateWeight * (rate - prompt_rows_per_s_);
  } else if (!plan.front().prompt) {
    times_.add(batch.ragged().rows, seconds);
  }
  if (options_.draft_tokens > 0) draft(plan, hidden, batch);
}

/// Shows the rows that were run to who reads the prompt; at its end the request is done.
void Engine::Impl::read_prompt(ActiveRequest& request, int64_t begin, const Tensor& hidden) {
  if (!request.request.reader || request.done) return;
  try {
    request.request.reader->on_rows(begin, hidden);
  } catch (const Error& error) {
    request.finish(FinishReason::error, error.what());
  }
  if (!request.in_prompt()) request.finish(FinishReason::max_tokens);
}

/// Logits of some rows of a trunk's output.
Tensor Engine::Impl::logits_of(const Model& model, const Tensor& hidden,
                               const std::vector<int32_t>& rows) {
  return timed([&] {
    logit_rows_.renew(model.device(), {std::ssize(rows)}, DType::i32);
    std::ranges::copy(rows, logit_rows_.i32());
    return model.logits(embedding(logit_rows_, hidden));
  });
}

/// The next tokens of all requests that have come to their last known one.
void Engine::Impl::choose(const std::vector<PlannedRows>& plan, const Tensor& hidden) {
  wanted_rows_.clear();
  int32_t row = 0;
  for (const PlannedRows& rows : plan) {
    const auto drafts = static_cast<int32_t>(rows.request->drafts.size());
    const auto end = row + static_cast<int32_t>(rows.rows);
    if (rows.samples)
      for (int32_t i = end - 1 - drafts; i < end; ++i) wanted_rows_.push_back(i);
    row = end;
  }
  if (wanted_rows_.empty()) return;
  const Tensor logits = logits_of(model_, hidden, wanted_rows_);
  float* next = logits.f32();
  for (const PlannedRows& rows : plan) {
    if (!rows.samples) continue;
    ActiveRequest& request = *rows.request;
    const size_t places = request.drafts.size() + 1;
    try {
      choose_tokens(request, {next, places * static_cast<size_t>(logits.cols())}, outputs_);
    } catch (const Error& error) {
      outputs_.clear();
      request.finish(FinishReason::error, error.what());
    }
    next += places * static_cast<size_t>(logits.cols());
    deliver(request, outputs_);
  }
}

/// Gives the chosen tokens to the sink and takes them into the request's text.
void Engine::Impl::deliver(ActiveRequest& request, std::vector<TokenOutput>& outputs) {
  const int64_t drafts = std::ssize(request.drafts);
  const int64_t accepted = std::max<int64_t>(0, std::ssize(outputs) - 1);
  if (drafts > 0) {
    ++counters_.drafts;
    counters_.draft_tokens += drafts;
    request.stats.drafted += drafts;
    request.stats.accepted += accepted;
    request.acceptance.add(drafts, accepted);
    if (std::ssize(counters_.accepted_at) < drafts)
      counters_.accepted_at.resize(static_cast<size_t>(drafts));
    for (int64_t i = 0; i < accepted; ++i) ++counters_.accepted_at[static_cast<size_t>(i)];
  }
  request.drafts.clear();
  if (outputs.empty()) return;
  if (request.generated() == 0) request.first_token = Clock::now();
  request.cached += std::ssize(outputs) - 1;
  for (const TokenOutput& output : outputs) request.tokens.push_back(output.id);
  int64_t generated = std::ssize(outputs);
  const auto& eos = request.request.eos;
  if (std::ranges::find(eos, outputs.back().id) != eos.end()) {
    request.finish(FinishReason::eos);
    request.stats.end = std::move(outputs.back());
    outputs.pop_back();
  } else if (request.generated() >= request.request.max_tokens) {
    request.finish(FinishReason::max_tokens);
  } else if (request.length() >= scheduler_.limit()) {
    request.finish(FinishReason::context);
  }
  const size_t kept = outputs.empty() ? 0 : request.sink->on_tokens(outputs);
  if (kept < outputs.size()) {
    generated = static_cast<int64_t>(kept) + 1;  // drafts may stand behind what stopped it
    request.done = false;  // stopped by what it said, whatever else would have ended it
    request.finish(FinishReason::stop);
  }
  counters_.generated_tokens += generated;
  request.stats.generated_tokens += generated;
}

/// How many drafts the request is to have in the next step.
int64_t Engine::Impl::wanted_drafts(const ActiveRequest& request) const {
  if (request.done || !request.decoding() || !request.request.speculate) return 0;
  if (!options_.adapt_drafts || request.generated() % kRetryDrafts == 0)
    return options_.draft_tokens;
  const int64_t others = scheduler_.decoding() - 1;
  return best_draft_count(request.acceptance, times_, others, options_.draft_tokens, draft_s_);
}

/// Drafts for the next step.
void Engine::Impl::draft(const std::vector<PlannedRows>& plan, const Tensor& hidden,
                         const StepBatch& batch) {
  const auto begin = Clock::now();
  std::vector<int64_t> wanted;
  wanted.reserve(plan.size());
  for (const PlannedRows& rows : plan) wanted.push_back(wanted_drafts(*rows.request));
  if (options_.draft_model != nullptr) {
    draft_with_model(plan, wanted);
  } else if (model_.mtp_heads() > 0) {
    draft_with_heads(plan, wanted, hidden, batch);
  } else {
    for (size_t i = 0; i < plan.size(); ++i)
      plan[i].request->drafts = ngram_drafts(plan[i].request->tokens, wanted[i]);
  }
  const int64_t most = std::ranges::max(wanted);
  if (most == 0 || plan.front().prompt) return;
  const double each = seconds_between(begin, Clock::now()) / static_cast<double>(most);
  draft_s_ += draft_s_ == 0 ? each : kRateWeight * (each - draft_s_);
}

/// MTP head k turns the state at t and the token at t + k into a guess for the token after it
/// (docs/mtp.md). The heads run on all rows of the step, so that their own cache is
/// complete; rows of drafts that were refused are run in vain and written again when their turn
/// comes. A head's row whose token was a refused draft keeps what it had: that can cost an
/// acceptance, never a token.
void Engine::Impl::draft_with_heads(const std::vector<PlannedRows>& plan,
                                    const std::vector<int64_t>& wanted, const Tensor& hidden,
                                    const StepBatch& batch) {
  Tensor state = hidden;
  const int64_t heads = std::min(model_.mtp_heads(), options_.draft_tokens);
  for (int64_t k = 0; k < heads; ++k) {
    const Tensor tokens = batch.shifted_tokens(plan, k + 1);
    const MtpOutput out = timed(
        [&] { return model_.mtp(k, state, tokens, batch.ragged(), {.cache = &batch.view()}); });
    state = out.state;
    std::vector<int32_t> last;
    std::vector<ActiveRequest*> requests;
    for (size_t i = 0; i < plan.size(); ++i) {
      if (wanted[i] <= k) continue;
      last.push_back(batch.last_known_row(plan, i));
      requests.push_back(plan[i].request);
    }
    push_drafts(model_, out.hidden, last, requests);
  }
}

/// The draft model reads what is new to it and goes on from there, one token a forward. Its pool
/// has the pages of the trunk's: where a draft's page is not reserved yet, there is no draft.
void Engine::Impl::draft_with_model(const std::vector<PlannedRows>& plan,
                                    const std::vector<int64_t>& wanted) {
  const Model& model = *options_.draft_model;
  for (int64_t k = 0; k < options_.draft_tokens; ++k) {
    std::vector<PlannedRows> rows;
    std::vector<int32_t> last;
    std::vector<ActiveRequest*> requests;
    int32_t end = 0;
    for (size_t i = 0; i < plan.size(); ++i) {
      ActiveRequest& request = *plan[i].request;
      const int64_t length = request.length() + k;
      request.draft_cached = std::min(request.draft_cached, length - 1);
      if (wanted[i] <= k || std::ssize(request.pages) < KvPool::pages_for(length)) continue;
      rows.push_back({&request, request.draft_cached, length - request.draft_cached, false, true});
      end += static_cast<int32_t>(rows.back().rows);
      last.push_back(end - 1);
      requests.push_back(&request);
      request.draft_cached = length;
    }
    if (rows.empty()) return;
    const StepBatch batch(*draft_pool_, rows);
    const Tensor hidden = timed([&] {
      return model.trunk(batch.tokens(), batch.ragged(), {.cache = &batch.view()}).hidden;
    });
    push_drafts(model, hidden, last, requests);
  }
}

/// The most likely token of each row becomes the request's next draft.
void Engine::Impl::push_drafts(const Model& model, const Tensor& hidden,
                               const std::vector<int32_t>& rows,
                               const std::vector<ActiveRequest*>& requests) {
  if (rows.empty()) return;
  const Tensor logits = logits_of(model, hidden, rows);
  const float* next = logits.f32();
  for (ActiveRequest* request : requests) {
    request->drafts.push_back(greedy({next, static_cast<size_t>(logits.cols())}));
    next += logits.cols();
  }
}

void Engine::Impl::finish_done() {
  const auto now = Clock::now();
  for (const auto& request : scheduler_.take_done()) {
    RequestStats& stats = request->stats;
    const bool started = request->admitted != Clock::time_point();
    const bool spoke = request->first_token != Clock::time_point();
    stats.queue_s = seconds_between(request->arrived, started ? request->admitted : now);
    if (started)
      stats.prefill_s = seconds_between(request->admitted, spoke ? request->first_token : now);
    if (spoke) stats.decode_s = seconds_between(request->first_token, now);
    if (!stats.routed_experts.empty())  // refused drafts may stand behind the last row
      stats.routed_experts.resize(static_cast<size_t>(request->cached * model_.trunk_moe_layers() *
                                                      model_.config().moe.top_k));
    ++counters_.finished;
    request->sink->on_finish(request->reason, stats, request->error);
    const std::lock_guard lock(mutex_);
    --open_;
  }
}

void Engine::Impl::publish(double seconds) {
  counters_.step_s += seconds;
  if (const ExpertCache* experts = model_.params().expert_cache()) {
    counters_.expert_hits = experts->stats().hits;
    counters_.expert_misses = experts->stats().misses;
  }
  counters_.running = scheduler_.running();
  counters_.waiting = scheduler_.waiting();
  counters_.preemptions = scheduler_.preemptions();
  counters_.prompt_tokens = scheduler_.prompt_tokens();
  counters_.cached_prompt_tokens = scheduler_.cached_prompt_tokens();
  const PageCache& pages = scheduler_.pages();
  counters_.cache_rows = pages.pages() * kPageRows;
  counters_.cache_rows_used = (pages.pages() - pages.available()) * kPageRows;
  counters_.cache_rows_cached = pages.kept() * kPageRows;
  const std::lock_guard lock(mutex_);
  published_ = counters_;
}

void Engine::Impl::weights_changed() {
  UM_CHECK(!in_step_, "the weights changed while a step of the engine ran with them");
  scheduler_.forget_rows();
  model_.write_sinks(pool_);
  if (draft_pool_) options_.draft_model->write_sinks(*draft_pool_);
  publish(0);
}

void Engine::Impl::run() {
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) break;
    }
    if (step()) continue;
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return stopping_ || !inbox_.empty() || !cancelled_.empty(); });
  }
  take_inbox();
  scheduler_.for_each([](ActiveRequest& request) { request.finish(FinishReason::cancelled); });
  finish_done();
}

Engine::Engine(const Model& model, EngineOptions options)
    : impl_(std::make_unique<Impl>(model, options)) {}
Engine::~Engine() = default;

uint64_t Engine::submit(EngineRequest request, std::shared_ptr<RequestSink> sink) {
  return impl_->submit(std::move(request), std::move(sink));
}
void Engine::cancel(uint64_t id) {
  impl_->cancel(id);
}
void Engine::drain() {
  impl_->drain();
}
bool Engine::step() {
  return impl_->step();
}
void Engine::run() {
  impl_->run();
}
void Engine::stop() {
  impl_->stop();
}
void Engine::run_until_idle() {
  while (impl_->step()) continue;
}
void Engine::weights_changed() {
  impl_->weights_changed();
}
EngineStats Engine::stats() const {
  return impl_->stats();
}
const EngineOptions& Engine::options() const {
  return impl_->options_;
}
const Model& Engine::model() const {
  return impl_->model_;
}

std::string Engine::describe_cache() const {
  const EngineOptions& options = impl_->options_;
  const double bytes = pool_bytes(options, impl_->model_, KvPool::pages_for(options.cache_tokens));
  return fmt::format("KV cache of {} tokens in {}: {}, {:.1f}% of the free memory; context of {}",
                     options.cache_tokens, cache_type_name(*options.cache_type), bytes_text(bytes),
                     100 * bytes / static_cast<double>(options.free_memory),
                     std::min(options.context, options.cache_tokens));
}

}  // namespace um
