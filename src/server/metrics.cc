// See metrics.h.
#include "server/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace um {
namespace {

// vLLM's buckets, so that dashboards with fixed axes stay readable.
const std::vector<double> kFirstToken = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                         0.25,  0.5,   0.75, 1,    2.5,  5,    7.5,  10,
                                         20,    40,    80,   160,  640,  2560};
const std::vector<double> kInterToken = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
                                         0.15,  0.2,    0.3,   0.4,  0.5,   0.75, 1,     2.5,
                                         5,     7.5,    10,    20,   40,    80};
const std::vector<double> kSeconds = {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                      30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};
const std::vector<double> kTokens = {1,   2,    5,    10,   20,    50,    100,   200,
                                     500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};
constexpr std::array<const char*, 4> kReasons = {"stop", "length", "abort", "error"};

size_t reason_index(FinishReason reason) {
  switch (reason) {
    case FinishReason::eos:
    case FinishReason::stop:
      return 0;
    case FinishReason::max_tokens:
    case FinishReason::context:
      return 1;
    case FinishReason::cancelled:
      return 2;
    case FinishReason::error:
      break;
  }
  return 3;
}

void write_metric(std::string& out, const std::string& name, const char* type, const char* help,
                  const std::string& labels, double value) {
  out += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n{0}{{{3}}} {4}\n", name, help, type, labels,
                     value);
}

void write_engine(std::string& out, const EngineStats& stats, const std::string& labels) {
  const auto gauge = [&](const std::string& name, const char* help, double value) {
    write_metric(out, name, "gauge", help, labels, value);
  };
  const auto counter = [&](const std::string& name, const char* help, auto value) {
    write_metric(out, name, "counter", help, labels, static_cast<double>(value));
  };
  const auto rows = static_cast<double>(std::max<int64_t>(stats.cache_rows, 1));
  gauge("vllm:num_requests_running", "Requests that are being generated.",
        static_cast<double>(stats.running));
  gauge("vllm:num_requests_waiting", "Requests that wait.", static_cast<double>(stats.waiting));
  gauge("vllm:kv_cache_usage_perc", "Share of the KV cache in use (1: all).",
        static_cast<double>(stats.cache_rows_used) / rows);
  // vLLM's client library adds _total to the names in its source; dashboards have either.
  for (const char* end : {"", "_total"}) {
    counter("vllm:prefix_cache_queries" + std::string(end),
            "Prompt tokens looked up in the prefix cache.", stats.prompt_tokens);
    counter("vllm:prefix_cache_hits" + std::string(end), "Prompt tokens found in the prefix cache.",
            stats.cached_prompt_tokens);
  }
  counter("vllm:prompt_tokens_total", "Prompt tokens.", stats.prompt_tokens);
  counter("vllm:generation_tokens_total", "Generated tokens.", stats.generated_tokens);
  counter("vllm:num_preemptions_total", "Requests set back for want of cache.", stats.preemptions);
  counter("vllm:spec_decode_num_drafts_total", "Drafts that were verified.", stats.drafts);
  counter("vllm:spec_decode_num_draft_tokens_total", "Tokens in them.", stats.draft_tokens);
  int64_t accepted = 0;
  for (const int64_t count : stats.accepted_at) accepted += count;
  counter("vllm:spec_decode_num_accepted_tokens_total", "Draft tokens that were accepted.",
          accepted);
  const char* per_place = "vllm:spec_decode_num_accepted_tokens_per_pos_total";
  out += fmt::format("# HELP {0} Accepted draft tokens by place.\n# TYPE {0} counter\n", per_place);
  for (size_t i = 0; i < stats.accepted_at.size(); ++i)
    out += fmt::format("{}{{{},position=\"{}\"}} {}\n", per_place, labels, i, stats.accepted_at[i]);
  counter("ultramoe:expert_cache_hits_total", "Experts on disk that were in memory when wanted.",
          stats.expert_hits);
  counter("ultramoe:expert_cache_misses_total", "Experts that were read from disk.",
          stats.expert_misses);
  counter("ultramoe:engine_steps_total", "Forwards of the engine.", stats.steps);
  counter("ultramoe:engine_step_seconds_total", "Time in steps.", stats.step_s);
  counter("ultramoe:engine_forward_seconds_total", "Of that, inside the model.", stats.forward_s);
}

}  // namespace

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

void Histogram::add(double value, int64_t times) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[static_cast<size_t>(at)] += times;
  sum_ += value * static_cast<double>(times);
  count_ += times;
}

void Histogram::write(std::string& out, const std::string& name, const std::string& help,
                      const std::string& labels) const {
  out += fmt::format("# HELP {0} {1}\n# TYPE {0} histogram\n", name, help);
  int64_t below = 0;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    below += counts_[i];
    out += fmt::format("{}_bucket{{{},le=\"{}\"}} {}\n", name, labels, bounds_[i], below);
  }
  out +=
      fmt::format("{0}_bucket{{{1},le=\"+Inf\"}} {2}\n{0}_sum{{{1}}} {3}\n{0}_count{{{1}}} {2}\n",
                  name, labels, count_, sum_);
}

ServerMetrics::ServerMetrics()
    : first_token_(kFirstToken),
      inter_token_(kInterToken),
      end_to_end_(kSeconds),
      queue_(kSeconds),
      prefill_(kSeconds),
      decode_(kSeconds),
      inference_(kSeconds),
      prompt_length_(kTokens),
      answer_length_(kTokens) {}

void ServerMetrics::first_token(double seconds) {
  std::lock_guard lock(mutex_);
  first_token_.add(seconds);
}

void ServerMetrics::next_tokens(double seconds, int64_t tokens) {
  std::lock_guard lock(mutex_);
  inter_token_.add(seconds / static_cast<double>(tokens), tokens);
}

void ServerMetrics::finished(FinishReason reason, const RequestStats& stats, double seconds) {
  std::lock_guard lock(mutex_);
  ++success_[reason_index(reason)];
  if (reason == FinishReason::error || reason == FinishReason::cancelled) return;
  end_to_end_.add(seconds);
  queue_.add(stats.queue_s);
  prefill_.add(stats.prefill_s);
  decode_.add(stats.decode_s);
  inference_.add(stats.prefill_s + stats.decode_s);
  prompt_length_.add(static_cast<double>(stats.prompt_tokens));
  answer_length_.add(static_cast<double>(stats.generated_tokens));
}

void ServerMetrics::http_response(int status) {
  std::lock_guard lock(mutex_);
  ++responses_[static_cast<size_t>(std::clamp(status / 100, 0, 5))];
}

std::string ServerMetrics::text(const EngineStats& engine, const std::string& model) const {
  std::string name;
  for (const char c : model) {
    if (c == '"' || c == '\\') name += '\\';
    name += c == '\n' ? ' ' : c;
  }
  const std::string labels = fmt::format("model_name=\"{}\"", name);
  std::string out;
  write_engine(out, engine, labels);
  std::lock_guard lock(mutex_);
  const char* success = "vllm:request_success_total";
  out += fmt::format("# HELP {0} Finished requests by reason.\n# TYPE {0} counter\n", success);
  for (size_t i = 0; i < kReasons.size(); ++i)
    out += fmt::format("{}{{{},finished_reason=\"{}\"}} {}\n", success, labels, kReasons[i],
                       success_[i]);
  const char* http = "ultramoe:http_responses_total";
  out += fmt::format("# HELP {0} HTTP responses by class.\n# TYPE {0} counter\n", http);
  for (size_t i = 2; i < responses_.size(); ++i)
    out += fmt::format("{}{{{},status=\"{}xx\"}} {}\n", http, labels, i, responses_[i]);
  first_token_.write(out, "vllm:time_to_first_token_seconds", "To the first token.", labels);
  inter_token_.write(out, "vllm:inter_token_latency_seconds", "Between tokens.", labels);
  end_to_end_.write(out, "vllm:e2e_request_latency_seconds", "Whole requests.", labels);
  queue_.write(out, "vllm:request_queue_time_seconds", "Waiting.", labels);
  prefill_.write(out, "vllm:request_prefill_time_seconds", "To the first token, once begun.",
                 labels);
  decode_.write(out, "vllm:request_decode_time_seconds", "After the first token.", labels);
  inference_.write(out, "vllm:request_inference_time_seconds", "Prefill and decode.", labels);
  prompt_length_.write(out, "vllm:request_prompt_tokens", "Tokens of prompts.", labels);
  answer_length_.write(out, "vllm:request_generation_tokens", "Tokens of answers.", labels);
  return out;
}

}  // namespace um
